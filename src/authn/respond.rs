//! From a row of the truth table to the decision: what is forwarded, replied or sent to the login.
//!
//! Owns: the way from what is known to a [`Row`], and from its [`Action`] to a [`Decision`]. Must not: choose the action, ask or
//! remember anything.

use std::rc::Rc;

use crate::authn::edits::Forward;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::identity::Identity;
use crate::authn::login::{flow, state};
use crate::authn::policy::{self, Action, Authorization, Path, Presented, Row};
use crate::authn::provider::Request;
use crate::authn::reply::{self, Decision, ReplyContext};
use crate::authn::report::Reason;
use crate::authn::request::credential::AuthScheme;
use crate::authn::request::outpost;
use crate::authn::session::content::Session;
use crate::authn::sessions;
use crate::authn::verdict::{self, Judgement, Source, Verdict};
use crate::base::header::HeaderValue;

/// The row of the truth table. `known`: the verdict on the credential, if there is one.
pub(crate) fn row(
    request: Request<'_>,
    path: Path,
    presented: Presented,
    session: policy::Session,
    known: Option<&Judgement>,
) -> Row {
    let intercepts = request.provider.settings.intercept_header_auth;
    Row {
        path,
        presented,
        session,
        verdict: verdict::in_policy(known.map(|known| &known.outcome)),
        intercepts,
    }
}

/// Does what the truth table says. `scheme`: what the client sent. What the table cannot say is answered as a fault of the
/// filter's own.
pub(crate) fn decision(
    request: Request<'_>,
    row: Row,
    scheme: Option<AuthScheme>,
    session: Option<&Session>,
    judgement: Judgement,
) -> Decision {
    let Judgement { outcome, source } = judgement;
    let (reason, source) = match (row.path, row.action()) {
        (Path::Preflight, _) => (Reason::Preflight, Source::None),
        (Path::Open, Action::Anonymous { .. }) => (Reason::OpenPath, Source::None),
        (Path::Open, Action::AsSession { .. }) => (Reason::OpenPath, Source::Session),
        (Path::Open, _) => (Reason::OpenPath, source),
        (Path::Protected, Action::AsSession { .. }) => (Reason::Ok, Source::Session),
        (Path::Protected, _) => (Reason::Ok, source),
    };
    let mut decision = judged(request, row, scheme, session, outcome);
    let report = decision.report_mut();
    (report.source, report.row) = (source, Some(row));
    // A reply has its own.
    if matches!(decision, Decision::Forward(_)) {
        decision.report_mut().reason = reason;
    }
    decision
}

fn judged(
    request: Request<'_>,
    row: Row,
    scheme: Option<AuthScheme>,
    session: Option<&Session>,
    outcome: Result<Verdict, Fault>,
) -> Decision {
    match (row.action(), session, outcome) {
        (Action::AsCredential { session: has_session }, _, Ok(Verdict::Vouched(identity))) => {
            let cookies = if has_session { sessions::new_cookie(request, &identity) } else { None };
            forward(request, Authorization::Removed, identity, cookies)
        }
        (Action::AsSession { authorization }, Some(session), _) => {
            let cookies = sessions::renewed_cookie(request, session);
            forward(request, authorization, Rc::clone(&session.identity), cookies)
        }
        (Action::Anonymous { authorization }, _, _) => {
            Decision::Forward(Forward::anonymous(request, authorization))
        }
        (Action::Login, _, Ok(Verdict::Refused(rejection))) => send_to_login(request, scheme, rejection),
        (Action::Reject, _, Ok(Verdict::Refused(rejection))) => {
            reply::reject(&ReplyContext::of(request, scheme), rejection)
        }
        (Action::Unavailable, _, Err(fault)) => reply::fail(&ReplyContext::of(request, None), fault),
        _ => reply::broken(),
    }
}

fn forward(
    request: Request<'_>,
    authorization: Authorization,
    identity: Rc<Identity>,
    cookies: Option<Vec<HeaderValue>>,
) -> Decision {
    if identity.is_first_forward() {
        request.provider.unowned_names.warn_of(&identity, request.config);
    }
    let mut forward = Forward::identified(request, authorization, identity);
    forward.set_cookies = cookies.unwrap_or_default();
    Decision::Forward(forward)
}

/// `302` for what can show a login page, `401` for everything else.
fn send_to_login(request: Request<'_>, scheme: Option<AuthScheme>, rejection: Rejection) -> Decision {
    let Request { view, provider, .. } = request;
    let context = ReplyContext::of(request, scheme);
    // Nobody need wait before a login.
    let rejection = if matches!(rejection, Rejection::Throttled { .. }) {
        Rejection::Throttled { retry_after: None }
    } else {
        rejection
    };
    if !view.is_navigation() {
        return reply::reject(&context, rejection);
    }
    if let Some(decision) = flow::begin(request, &rejection) {
        return decision;
    }
    if outpost::is_outpost_path(view) {
        return reply::reject(&context, rejection);
    }
    let url = state::outpost_start_url(&provider.settings, view);
    reply::redirect(&context, &url, Vec::new(), Reason::Login, &rejection)
}

/// If authentik has ended the request's session, the answer takes its cookie back, unless it brings a new one.
pub(crate) fn take_session_back(request: Request<'_>, decision: Decision) -> Decision {
    let Some(keys) = request.provider.sessions.as_ref().filter(|_| request.session_end.is_some()) else {
        return decision;
    };
    let cleared = keys.session.clear(&request.view.cookies);
    match decision {
        Decision::Forward(mut forward) => {
            if forward.set_cookies.is_empty() {
                forward.set_cookies = cleared;
            }
            Decision::Forward(forward)
        }
        Decision::Reply(mut reply) => {
            reply.headers.extend(cleared.into_iter().map(|value| ("set-cookie", value)));
            Decision::Reply(reply)
        }
    }
}
