//! authentik's header authentication as a Proxy-Wasm filter.
//!
//! Two layers. [`filter`](crate) (the shell, in Wasm only) knows Envoy and holds no policy; [`authn`] (the core) knows
//! authentik and no host: no clock, no randomness, no I/O. The core is made of rooms. An arrow is an import, and all lead
//! down; `tests/architecture.rs` holds them to it.
//!
//! ```text
//!   filter     Envoy's callbacks, host calls
//!     │ headers, answers, ticks              ▲ a Decision, calls to authentik
//!     ▼                                      │
//!   authn      the flow: authenticate, resume, tick
//!     ├─ shadow        shadow mode: a decision compared with what another gate did
//!     ├─ respond       a row of the truth table -> reply, redirect or forwarded request
//!     │    ├─ login        start, callback, sign-out
//!     │    ├─ reply        status codes, challenges, bodies
//!     │    └─ edits        what a forwarded request loses and gains
//!     ├─ sessions      which session a request has, which cookie a response brings
//!     ├─ verification  a credential -> a verdict: single flight, calls out, rate limit
//!     │    └─ cache        verdicts in this worker and between workers
//!     ├─ events        authentik's event log: what has ended there, and what other Envoys must know
//!     ├─ provider_list the providers of an outpost, as authentik's API lists them
//!     ├─ provider      one provider: its keys, found by host
//!     │    └─ session      the sealed cookie
//!     ├─ authentik     its endpoints: build the call, read the answer
//!     ├─ report        what a decision is called in metrics and logs
//!     ├─ verdict, fault, identity     what is known of a user, and what went wrong
//!     ├─ request       headers, credential, open paths
//!     ├─ ended         what has ended before its time, and what must be confirmed
//!     ├─ jwt           tokens, keys, signatures
//!     ├─ policy        THE TRUTH TABLE, one pure function
//!     └─ env           what the core may ask of its host
//!   config     raw JSON -> Config
//!   base       secrets, time, hosts, header names and values
//! ```
//!
//! Where to start: `docs/design.md`, then [`authn`], from [`authn::Authenticator::authenticate`] downwards.

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
