//! The filter in the real Envoy, with the repository's own `envoy.yaml`, between the stand-in authentik and an
//! application that shows what reached it. One subject per file; [`place`] is where they happen, [`wire`] is how they
//! ask. An Envoy costs a second, so a test keeps one for all that it has to say about its subject.

mod application;
mod basic;
mod bearer;
mod bodies;
mod bypass;
mod cache;
mod capabilities;
mod configuration;
mod crowd;
mod crowds;
mod deployed;
mod differential;
mod doctor;
mod faults;
mod federated;
mod flood;
mod hostile;
mod hosts;
mod http2;
mod introspection;
mod metrics;
mod moving_over;
mod outage;
pub(crate) mod outpost;
mod panics;
mod place;
mod rate_limit;
mod replies;
mod revocation;
mod rotation;
mod scaling;
mod scripts;
mod seal;
mod secrets;
mod shadow;
mod single_flight;
pub(crate) mod soak;
mod splitting;
mod stopping;
mod streams;
mod stripping;
mod waiting;
mod wire;
mod worst;
