//! The values of `x-authentik-meta-*`: every user of a provider has the same.
//!
//! Owns: what is in them. Must not: know who gets them ([`crate::authn::identity::Identity`] does).

use crate::base::header::HeaderValue;
use crate::base::url::BaseUrl;

/// Made once for each provider; a clone of a value copies nothing.
#[derive(Debug)]
pub struct MetaHeaders {
    /// `x-authentik-meta-jwks`: where the provider's keys are.
    pub jwks: HeaderValue,
    /// `x-authentik-meta-outpost`
    pub outpost: HeaderValue,
    /// `x-authentik-meta-provider`
    pub provider: HeaderValue,
    /// `x-authentik-meta-app`
    pub app: HeaderValue,
    /// `x-authentik-meta-version`
    pub version: HeaderValue,
}

impl MetaHeaders {
    /// The values for the provider of this name, whose application has this slug.
    pub(super) fn new(authentik: &BaseUrl, outpost: &str, name: &str, slug: &str) -> Self {
        Self {
            jwks: value(&format!("{authentik}/application/o/{slug}/jwks/")),
            outpost: value(outpost),
            provider: value(name),
            app: value(slug),
            version: value(concat!("goauthentik.io/outpost/", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// One function of the module, not five copies.
#[inline(never)]
fn value(text: &str) -> HeaderValue {
    HeaderValue::cleaned(text).shared()
}
