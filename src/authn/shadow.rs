//! Shadow mode (`docs/design.md` §2.10): what the filter would have done with a request, compared with what the gate in
//! front of it did.
//!
//! Owns: whether a gate let a request through, the result of a comparison and its words, and THE TABLE of differences that
//! are intended ([`Difference`]).
//! Must not: judge a request ([`super::Authenticator`] does, as always), change one, or keep a value of a header.

use std::rc::Rc;

use crate::authn::edits::Forward;
use crate::authn::fault::Fault;
use crate::authn::identity::Identity;
use crate::authn::policy::Path;
use crate::authn::provider::directory::Found;
use crate::authn::provider::{Provider, Request};
use crate::authn::reply::log_line::LogLine;
use crate::authn::reply::{self, Decision, Reply, ReplyContext};
use crate::authn::report::{self, Reason, Report};
use crate::authn::request::outpost;
use crate::authn::request::view::{Authorization, RequestView};
use crate::authn::session::cookies;
use crate::authn::step::Step;
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

/// What comes of a request in shadow mode.
#[derive(Debug)]
pub enum Observed {
    /// The request goes on, or was answered by the gate; it is counted.
    Compared(Comparison),
    /// The same, later: the judgement waits for authentik.
    Waiting,
    /// The provider is switched: the request is judged, and the decision counts.
    Switched,
    /// No gate let the request through, or its headers cannot be read: it is answered, and not judged.
    Refused(Reply),
}

/// What is known of a request before it is judged. `None`: it is to be judged. Shadow mode is never the only gate: a request
/// that passed none is answered. `request`: `None` where no provider answers for its host.
pub(crate) fn entry(
    gate: Gate,
    request: Option<Request<'_>>,
    view: &RequestView<'_>,
    config: &Config,
) -> Option<Observed> {
    let is_named = |request: &Request<'_>, name: &String| *name == request.provider.settings.name;
    let switched = config.shadow.iter().flat_map(|shadow| &shadow.switched);
    if request.is_some_and(|request| switched.into_iter().any(|name| is_named(&request, name))) {
        return Some(Observed::Switched);
    }
    let is_login_flow = outpost::is_outpost_path(view) || has_login_parameter(view);
    let finding = match gate {
        Gate::Failed => Finding::Unavailable,
        // A code is good once: it is the gate's.
        Gate::Refused if is_login_flow => Finding::NotComparable,
        Gate::Refused => return None,
        // The way to the outpost itself, which needs no identity.
        Gate::Allowed if outpost::is_outpost_path(view) => Finding::NotComparable,
        Gate::Allowed if !has_passed_gate(request, view, config) => {
            return Some(Observed::Refused(without_gate(request, view, config)));
        }
        Gate::Allowed if is_login_flow || has_new_authorization(request, view) => Finding::NotComparable,
        Gate::Allowed => return None,
    };
    let provider = request.map(|request| request.provider.id);
    Some(Observed::Compared(Comparison::unjudged(provider, finding)))
}

/// Its gate has left its mark, or needs not: the filter leaves the path open too.
fn has_passed_gate(request: Option<Request<'_>>, view: &RequestView<'_>, config: &Config) -> bool {
    let Some(shadow) = &config.shadow else { return false };
    let is_header =
        |(name, value): &(&[u8], &[u8])| *name == shadow.gate_header.as_bytes() && !value.is_empty();
    let has_header = view.collected().iter().any(is_header);
    has_header || request.is_some_and(|request| request.path() != Path::Protected)
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
    /// The provider of the request's host.
    pub provider: Option<ProviderId>,
    /// The result.
    pub finding: Finding,
    /// What there is to say of the filter's own decision. `None`: the request was not judged.
    pub report: Option<Report>,
    /// What the log may say of the comparison. `None`: nothing.
    pub line: Option<ShadowLine>,
}

/// What the log says of a comparison.
#[derive(Debug)]
pub struct ShadowLine {
    /// For [`Finding::OtherIdentity`]: the names of the headers that differ, with commas, never their values.
    pub differing: String,
    /// The status of the filter's reply; 200 where the filter lets the request through.
    pub status: u16,
    /// Why the filter would have decided so.
    pub log: LogLine,
}

impl Comparison {
    /// Of a request that was not judged.
    pub const fn unjudged(provider: Option<ProviderId>, finding: Finding) -> Self {
        Self { provider, finding, report: None, line: None }
    }

    /// One line for the log, without secrets.
    pub fn log_line(&self) -> Option<String> {
        let ShadowLine { differing, status, log } = self.line.as_ref()?;
        let line = log.render(*status, self.report.as_ref()?);
        let headers = if differing.is_empty() { "-" } else { differing };
        Some(format!("shadow={} headers={headers} {line}", self.finding.as_str()))
    }
}

/// The name of a request's provider; empty: there is none.
pub(crate) fn name_of(found: Option<&Found<Rc<Provider>>>) -> &str {
    found.map_or("", |found| &found.provider.settings.name)
}

/// Compares the decision on a request with what the gate did. `provider`: the name of its provider, for the log.
pub(crate) fn observed(gate: Gate, view: &RequestView<'_>, step: Step, provider: &str) -> Observed {
    match step {
        Step::Waiting => Observed::Waiting,
        // Only a path of the outpost has a body that is read, and such a path is not judged.
        Step::AwaitBody => Observed::Compared(Comparison::unjudged(None, Finding::NotComparable)),
        Step::Decided(decision) => Observed::Compared(compare(gate, view, decision, provider)),
    }
}

fn compare(gate: Gate, view: &RequestView<'_>, decision: Decision, provider: &str) -> Comparison {
    let report = *decision.report();
    let differing = match &decision {
        Decision::Forward(Forward { identity: Some(identity), .. }) => differing(view, identity),
        Decision::Forward(_) | Decision::Reply(_) => String::new(),
    };
    let finding = finding(gate, report.reason, !differing.is_empty(), cookies::has_own(&view.cookies));
    let is_logged = finding.is_disagreement() || finding == Finding::Unavailable;
    let line = is_logged.then(|| {
        let differing = if finding == Finding::OtherIdentity { differing } else { String::new() };
        match decision {
            Decision::Reply(reply) => ShadowLine { differing, status: reply.status, log: reply.log },
            Decision::Forward(_) => ShadowLine { differing, status: 200, log: passed(view, provider) },
        }
    });
    Comparison { provider: report.provider, finding, report: Some(report), line }
}

/// A request that the filter lets through.
fn passed(view: &RequestView<'_>, provider: &str) -> LogLine {
    LogLine {
        level: log::Level::Info,
        provider: provider.to_owned(),
        id: view.request_id().to_owned(),
        message: "the filter lets the request through".to_owned(),
    }
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

/// The names of the identity headers that are not on the request as the filter would set them, without intended differences.
/// `authorization` and the authority are no identity headers.
fn differing(view: &RequestView<'_>, identity: &Identity) -> String {
    let mut differing = String::new();
    let pairs = view.collected();
    for (name, value) in identity.identity_headers().iter().chain(identity.overriding_headers()) {
        let own = value.as_bytes();
        let mut sent = pairs.iter().filter(|(sent, _)| *sent == name.as_bytes()).map(|(_, value)| *value);
        let gate = sent.next();
        // A second one of the name is not what the filter would send.
        let is_same = gate == Some(own) && sent.next().is_none();
        let is_compared = !matches!(&**name, "authorization" | ":authority");
        if is_compared && !is_same && Difference::of_header(name, gate, own).is_none() {
            if !differing.is_empty() {
                differing.push(',');
            }
            differing.push_str(name);
        }
    }
    differing
}

#[cfg(test)]
mod tests;
