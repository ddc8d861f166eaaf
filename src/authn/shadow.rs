//! Shadow mode (`docs/design.md` §2.10): what the filter would have done with a request, compared with what the gate in
//! front of it did.
//!
//! Owns: whether a gate let a request through, the result of a comparison and its words, and THE TABLE of differences that
//! are intended ([`Difference`]).
//! Must not: judge a request ([`super::Authenticator`] does, as always), change one, or keep a value of a header.

use std::borrow::Cow;

use crate::authn::edits::Forward;
use crate::authn::fault::Fault;
use crate::authn::policy::Path;
use crate::authn::provider::Request;
use crate::authn::reply::log_line::{self, LogLine};
use crate::authn::reply::{self, Decision, Reply, ReplyContext};
use crate::authn::report::{self, Reason, Report};
use crate::authn::request::outpost;
use crate::authn::request::view::{Authorization, HeaderBlock, RequestView};
use crate::authn::session::cookies;
use crate::base::header::IdentityHeader;
use crate::config::{Config, ProviderId};

/// What the gate did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The request passed the gate.
    Allowed,
    /// The gate answered the request: a denial, or a redirect to the login.
    Refused,
    /// The gate got no answer from its authorization server.
    Failed,
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The filter would have done the same, but for intended differences.
    Agree,
    /// The gate let the request through, and the filter would not have.
    WouldDeny,
    /// The gate refused the request, and the filter would have let it through.
    WouldAllow,
    /// Both let the request through, with different identity headers.
    OtherIdentity,
    /// The request has a session cookie of the gate's, which does not open with the filter.
    SessionOfGate,
    /// The filter does not see what the gate judged.
    NotComparable,
    /// The filter or the gate could get no answer from authentik.
    Unavailable,
    /// The request did not pass a gate: it was answered with `503`.
    NoGate,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Agree,
        Self::WouldDeny,
        Self::WouldAllow,
        Self::OtherIdentity,
        Self::SessionOfGate,
        Self::NotComparable,
        Self::Unavailable,
        Self::NoGate,
    ];

    /// Its word, in metric, access log and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::WouldDeny => "would_deny",
            Self::WouldAllow => "would_allow",
            Self::OtherIdentity => "other_identity",
            Self::SessionOfGate => "session_of_gate",
            Self::NotComparable => "not_comparable",
            Self::Unavailable => "unavailable",
            Self::NoGate => "no_gate",
        }
    }

    /// Whether users would notice the filter in the gate's place.
    pub const fn is_disagreement(self) -> bool {
        match self {
            Self::WouldDeny | Self::WouldAllow | Self::OtherIdentity => true,
            Self::Agree | Self::SessionOfGate | Self::NotComparable | Self::Unavailable | Self::NoGate => {
                false
            }
        }
    }
}

/// THE TABLE of intended differences between the outpost and the filter. They are no disagreements; everything else is
/// one. `docs/moving-over.md` says each to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// `x-authentik-jwt`: each gate gets a token of its own.
    TokenOfItsOwn,
    /// `x-authentik-meta-version`: each names its own version.
    Version,
    /// `x-authentik-meta-outpost`: each has a name of its own.
    OutpostName,
    /// An identity header without a value: the filter sends it empty, a gate may leave it out.
    EmptyHeader,
    /// A refused request gets a redirect to the login from one, and `401` or `403` from the other.
    RefusalForm,
    /// On a path of `skip_path_regex` the filter sends the identity of a known user, and the outpost none.
    OpenPathIdentity,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TokenOfItsOwn,
        Self::Version,
        Self::OutpostName,
        Self::EmptyHeader,
        Self::RefusalForm,
        Self::OpenPathIdentity,
    ];

    /// Its name on the page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenOfItsOwn => "token_of_its_own",
            Self::Version => "version",
            Self::OutpostName => "outpost_name",
            Self::EmptyHeader => "empty_header",
            Self::RefusalForm => "refusal_form",
            Self::OpenPathIdentity => "open_path_identity",
        }
    }

    /// The difference that explains why this header differs. `gate`: its value behind the gate, if it is there.
    fn of_header(name: &str, gate: Option<&[u8]>, own: &[u8]) -> Option<Self> {
        match IdentityHeader::ALL.into_iter().find(|header| header.name() == name) {
            Some(IdentityHeader::Jwt) => Some(Self::TokenOfItsOwn),
            Some(IdentityHeader::MetaVersion) => Some(Self::Version),
            Some(IdentityHeader::MetaOutpost) => Some(Self::OutpostName),
            Some(_) if gate.is_none() && own.is_empty() => Some(Self::EmptyHeader),
            Some(_) | None => None,
        }
    }
}

/// What becomes of a request before it is judged.
#[derive(Debug)]
pub enum Entry {
    /// The request is judged.
    Judged,
    /// The request is not judged: this is the result.
    Known(Option<ProviderId>, Finding),
    /// No gate let the request through, or its headers cannot be read: it is answered, and not judged.
    Refused(Reply),
}

/// Whether a request is to be judged. Shadow mode is never the only gate: a request that passed none is answered.
/// `request`: `None` where no provider answers for its host.
pub(crate) fn entry(
    gate: Gate,
    request: Option<Request<'_>>,
    view: &RequestView<'_>,
    config: &Config,
) -> Entry {
    let provider = request.map(|request| request.provider.id);
    let is_login_flow = outpost::is_outpost_path(view) || has_login_parameter(view);
    let known = |finding| Entry::Known(provider, finding);
    match gate {
        Gate::Failed => known(Finding::Unavailable),
        // A code is good once: it is the gate's.
        Gate::Refused if is_login_flow => known(Finding::NotComparable),
        Gate::Refused => Entry::Judged,
        // The way to the outpost itself, which needs no identity.
        Gate::Allowed if outpost::is_outpost_path(view) => known(Finding::NotComparable),
        Gate::Allowed if !has_passed_gate(request, view, config) => {
            Entry::Refused(without_gate(request, view, config))
        }
        Gate::Allowed if is_login_flow || has_new_authorization(request, view) => {
            known(Finding::NotComparable)
        }
        Gate::Allowed => Entry::Judged,
    }
}

/// Its gate has left its mark, or needs not: the filter leaves the path open too.
fn has_passed_gate(request: Option<Request<'_>>, view: &RequestView<'_>, config: &Config) -> bool {
    let is_open = || request.is_some_and(|request| request.path() != Path::Protected);
    let Some(shadow) = &config.shadow else { return false };
    view.pairs().any(|(name, value)| name == shadow.gate_header.as_bytes() && !value.is_empty()) || is_open()
}

/// A parameter of the outpost's in the query, such as `X-authentik-auth-callback`.
fn has_login_parameter(view: &RequestView<'_>) -> bool {
    let query = view.target.get(view.path().len()..).unwrap_or_default();
    !query.is_empty() && outpost::has_parameter(query)
}

/// With Send-HTTP-Basic the gate may have put the application's password into the place of the client's credential. It is
/// no app password, and authentik is not asked about it.
fn has_new_authorization(request: Option<Request<'_>>, view: &RequestView<'_>) -> bool {
    let is_basic = |value: &[u8]| value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
    let is_sent = match view.authorization {
        Authorization::None => false,
        Authorization::One(value) => is_basic(value),
        Authorization::Several => true,
    };
    is_sent && request.is_some_and(|request| request.provider.settings.basic_auth.is_some())
}

fn without_gate(request: Option<Request<'_>>, view: &RequestView<'_>, config: &Config) -> Reply {
    let context = match request {
        Some(request) => ReplyContext::of(request, None),
        None => ReplyContext::without_provider(view, config),
    };
    reply::fail_reply(&context, Fault::NoGate)
}

/// What the filter would have done, beside what the gate did.
#[derive(Debug)]
pub struct Comparison {
    /// The result.
    pub finding: Finding,
    /// What there is to say of the filter's own decision.
    pub report: Report,
    /// For [`Finding::OtherIdentity`]: the names of the headers that differ, never their values.
    pub differing: Vec<Cow<'static, str>>,
    /// `x-request-id`.
    pub id: String,
    /// Why the filter would have answered the request.
    pub reply: Option<LogLine>,
}

impl Comparison {
    /// One line for the log, without secrets. `provider`: its name.
    pub fn log_line(&self, provider: &str) -> String {
        let Self { finding, report: Report { reason, source, .. }, differing, id, reply } = self;
        let (provider, id) = (log_line::value(provider), log_line::value(id));
        let headers = log_line::value(&differing.join(","));
        let message = reply.as_ref().map_or("the filter lets the request through", |line| &line.message);
        format!(
            "provider={provider} shadow={} reason={} source={} id={id} headers={headers} message={message:?}",
            finding.as_str(),
            reason.as_str(),
            source.as_str(),
        )
    }
}

/// Compares the decision on a request with what the gate did. `block`: the request as it came from the gate.
pub fn compare(gate: Gate, block: &HeaderBlock, decision: &Decision, config: &Config) -> Comparison {
    let report = *decision.report();
    let (reply, forward) = match decision {
        Decision::Reply(reply) => (Some(reply.log.clone()), None),
        Decision::Forward(forward) => (None, Some(forward)),
    };
    let mut comparison =
        Comparison { finding: Finding::Unavailable, report, differing: Vec::new(), id: String::new(), reply };
    let Ok(view) = RequestView::read(block, &config.owned_headers) else { return comparison };
    comparison.id = view.request_id().to_owned();
    if let (Gate::Allowed, Some(forward)) = (gate, forward) {
        comparison.differing =
            differences(&view, forward).filter(|(_, why)| why.is_none()).map(|(name, _)| name).collect();
    }
    comparison.finding =
        finding(gate, report.reason, !comparison.differing.is_empty(), cookies::has_own(&view.cookies));
    if comparison.finding != Finding::OtherIdentity {
        comparison.differing.clear();
    }
    comparison
}

/// The result. `has_cookie`: whether the gate may have let the request in by a session of its own.
const fn finding(gate: Gate, reason: Reason, has_differing: bool, has_cookie: bool) -> Finding {
    use report::Outcome::{Allowed, Denied, Login, Open, Unavailable};
    match (gate, reason.outcome()) {
        (Gate::Failed, _) | (_, Unavailable) => Finding::Unavailable,
        (Gate::Allowed, Allowed) if !has_differing => Finding::Agree,
        (Gate::Allowed, Allowed | Denied | Login) if has_cookie => Finding::SessionOfGate,
        (Gate::Allowed, Allowed) => Finding::OtherIdentity,
        (Gate::Allowed, Denied | Login) => Finding::WouldDeny,
        // Difference::OpenPathIdentity
        (Gate::Allowed, Open) => Finding::Agree,
        (Gate::Refused, Allowed | Open) => Finding::WouldAllow,
        // Difference::RefusalForm
        (Gate::Refused, Denied | Login) => Finding::Agree,
    }
}

/// The identity headers that are not on the request as the filter would set them, each with the intended difference that
/// explains it. `authorization` and the authority are no identity headers.
fn differences<'a>(
    view: &'a RequestView<'_>,
    forward: &'a Forward,
) -> impl Iterator<Item = (Cow<'static, str>, Option<Difference>)> + 'a {
    let identity = forward.identity.iter();
    let headers =
        identity.flat_map(|identity| identity.identity_headers().iter().chain(identity.overriding_headers()));
    let compared = headers.filter(|(name, _)| !matches!(&**name, "authorization" | ":authority"));
    compared.filter_map(|(name, value)| {
        let own = value.as_bytes();
        let mut behind_gate =
            view.pairs().filter(|(sent, _)| *sent == name.as_bytes()).map(|(_, value)| value);
        let gate = behind_gate.next();
        // A second one of the name is not what the filter would send.
        let is_same = gate == Some(own) && behind_gate.next().is_none();
        (!is_same).then(|| (name.clone(), Difference::of_header(name, gate, own)))
    })
}

#[cfg(test)]
mod tests;
