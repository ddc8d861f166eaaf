//! What a request that goes on loses and gets.
//!
//! Owns: [`Forward`], and the only ways to make one. Must not: decide whether a request goes on.

use core::cell::LazyCell;
use std::borrow::Cow;
use std::rc::Rc;

use crate::authn::identity::Identity;
use crate::authn::jwt::verifier;
use crate::authn::policy::Authorization;
use crate::authn::provider::Request;
use crate::authn::report::{Reason, Report};
use crate::authn::request::credential;
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::session::cookies;
use crate::base::header::{self, Header, HeaderValue};
use crate::config::{Config, Mode, Seal};

/// Changes to a request that goes on, in this order: remove, replace, add the identity's headers, set the seal.
#[derive(Debug)]
pub struct Forward {
    /// Names to remove, as the client spelt them.
    pub remove: Vec<Cow<'static, [u8]>>,
    /// Headers to replace, of this request.
    pub replace: Vec<Header>,
    /// `Set-Cookie` lines for the response, unless shared caches may keep it.
    pub set_cookies: Vec<HeaderValue>,
    /// Whether the client sent `Authorization`: it decides what shared caches may keep.
    pub has_authorization: bool,
    /// What is counted and logged of it.
    pub report: Report,
    /// Who it is; `None` on paths that need no authentication.
    pub identity: Option<Rc<Identity>>,
    /// Private, so that nothing can be forwarded without the seal that the configuration asks for.
    seal: Option<Rc<Seal>>,
}

impl Forward {
    /// The header that says that the filter judged the request: set last, in place of any other of its name.
    pub fn seal(&self) -> Option<(&str, &HeaderValue)> {
        self.seal.as_ref().map(|seal| (seal.header.as_str(), &seal.value))
    }

    /// Without identity. A token of this authentik is never the application's own, whatever `authorization` says.
    pub(crate) fn anonymous(request: Request<'_>, authorization: Authorization) -> Self {
        let mut forward = base(request);
        if authorization == Authorization::Removed || has_token_of_this_authentik(request) {
            forward.remove.push(Cow::Borrowed(b"authorization"));
        }
        forward
    }

    /// As this user. What the client sent under another spelling of a name that the identity sets goes.
    pub(crate) fn identified(
        request: Request<'_>,
        authorization: Authorization,
        identity: Rc<Identity>,
    ) -> Self {
        let mut forward = Self::anonymous(request, authorization);
        forward.remove.extend(other_spellings(request.view, identity.overriding_headers()));
        forward.identity = Some(identity);
        forward
    }
}

/// What every request that goes on loses and gets, with identity or without.
fn base(request: Request<'_>) -> Forward {
    let Request { view, config, .. } = request;
    let mut forward = Forward {
        remove: view.owned.iter().map(|name| Cow::Owned(name.to_vec())).collect(),
        replace: Vec::new(),
        set_cookies: Vec::new(),
        has_authorization: view.has_authorization(),
        report: Report::new(Some(request.provider.id), Reason::Ok),
        identity: None,
        seal: config.seal.clone(),
    };
    match cookies::without_own(&view.cookies) {
        cookies::Remaining::Untouched => {}
        cookies::Remaining::Nothing => forward.remove.push(Cow::Borrowed(b"cookie")),
        cookies::Remaining::Value(value) => forward.replace.push((Cow::Borrowed("cookie"), value)),
    }
    if let Some(judged) = request.authority {
        forward.replace.push((Cow::Borrowed(":authority"), HeaderValue::cleaned(judged.to_string())));
    }
    if request.provider.settings.mode == Mode::Proxy {
        let host: Header = (Cow::Borrowed("x-forwarded-host"), HeaderValue::cleaned(view.authority));
        forward.remove.extend(other_spellings(view, core::slice::from_ref(&host)));
        forward.replace.push(host);
    }
    if view.names_connection_options() {
        forward.replace.push((Cow::Borrowed("connection"), HeaderValue::cleaned("upgrade")));
    }
    forward
}

fn has_token_of_this_authentik(request: Request<'_>) -> bool {
    let Request { view, config, .. } = request;
    let base = LazyCell::new(|| config.authentik.base.to_string());
    let issuers = || config.providers.iter().map(|provider| provider.issuer.as_str());
    credential::mentions_token(view.authorization, |token| verifier::is_issued_here(&base, issuers(), token))
}

/// What the client sent under another spelling of these names: `X_Tenant` beside `x-tenant`.
fn other_spellings(view: &RequestView<'_>, set: &[Header]) -> Vec<Cow<'static, [u8]>> {
    let normal: Vec<_> = set.iter().map(|(name, _)| (name.as_bytes(), header::normalise(name))).collect();
    if normal.is_empty() {
        return Vec::new();
    }
    let is_other =
        |sent: &&[u8]| normal.iter().any(|(name, normal)| sent != name && header::spells(sent, normal));
    view.names().filter(is_other).map(|name| Cow::Owned(name.to_vec())).collect()
}

/// The names of trailers that must not go on: a client could say there what it may not in the headers, or say again
/// what the filter has `set` in them. Credential and cookies belong into the headers (RFC 9110 §6.5.1). `None` where the
/// host's map is not in its format.
pub fn forbidden_trailers(trailers: &HeaderBlock, set: &[&str], config: &Config) -> Option<Vec<Vec<u8>>> {
    let set: Vec<_> = set.iter().map(|name| header::normalise(name)).collect();
    let is_forbidden = |name: &[u8]| {
        header::is_owned(name, &config.owned_headers)
            || header::spells(name, "authorization")
            || header::spells(name, "cookie")
            || set.iter().any(|set| header::spells(name, set))
    };
    let pairs: Result<Vec<_>, _> = trailers.pairs()?.collect();
    let forbidden = pairs.ok()?.into_iter().filter(|(name, _)| is_forbidden(name));
    Some(forbidden.map(|(name, _)| name.to_vec()).collect())
}
