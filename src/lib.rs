//! authentik's header authentication as a Proxy-Wasm filter.
//!
//! ```text
//!  RequestView ─> Credential ─> cache? shared slot? ── hit ──────────────────┐
//!                     │  miss                                                v
//!       Bearer ───────┼──> verifier(KeySet, now) ───────> VerifiedIdentity ─> Decision ─> host
//!       Basic  ───────┴──> Call(token endpoint) ─answer─> verifier ──┘         ^
//!       nothing / unusable ──────────────────────────────> Rejection ──────────┘
//! ```
//!
//! Two layers, and arrows go down only:
//!
//! * [`filter`](crate) (the shell, in Wasm only) knows Envoy: it reads headers as bytes, calls the core, does what the
//!   [`authn::decision::Decision`] says, sends the calls that the core wants and hands their answers back. It holds no
//!   policy.
//! * [`authn`] (the core) knows authentik and no host: no `proxy_wasm`, no clock, no randomness, no I/O. It is tested
//!   natively, in milliseconds.
//!
//! [`config`] turns the plugin configuration into what both work with.
//!
//! Where to start: [`authn`], from [`authn::Authenticator::authenticate`] downwards.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        clippy::wildcard_enum_match_arm,
        reason = "a test panics to fail; without `test` the same code is checked in full"
    )
)]

pub mod authn;
pub mod base;
pub mod config;
#[cfg(target_arch = "wasm32")]
mod filter;
