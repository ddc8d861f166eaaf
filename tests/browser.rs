//! Sessions and the browser's login flow in the real Envoy, with the repository's own `envoy.yaml`, between the
//! stand-in authentik and an application that shows what reached it. [`place`] is where it happens, [`navigator`] is
//! a browser without a screen: it keeps cookies and follows nothing. [`chromium`] is a real one. One subject per file.

mod chromium;
mod chromium_driver;
mod credentials;
mod domain;
mod endings;
mod failures;
mod large;
mod login;
pub(crate) mod navigator;
mod pages;
mod place;
mod replicas;
mod sign_out;
mod tampering;
