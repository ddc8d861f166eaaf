//! The artefact, as Envoy loads it, in the in-process host: hostile input, several workers, the host's corners.
//! One subject a file. What a request is told in the plain cases is the scenarios' business.

mod answers;
mod artefact;
mod attributes;
mod backchannel;
mod bad_requests;
mod bodies;
mod bounds;
mod budget;
mod configurations;
mod doctor;
mod events;
pub(crate) mod fixture;
mod key_sets;
mod log_lines;
mod outpost;
mod seal;
mod secrets;
mod shadow;
mod shared_keys;
mod single_flight;
mod splitting;
mod tokens;
mod workers;
