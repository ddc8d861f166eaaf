//! The endpoint of OpenID Connect Back-Channel Logout 1.0: `POST /outpost.goauthentik.io/backchannel_logout`.
//!
//! Owns: the form that authentik posts, whose sessions a logout token ends, and the reply. Whether the token is authentik's
//! is [`crate::authn::jwt::logout_token`]'s.
//! Must not: let a request through, set a cookie, or say to the client what was wrong.

use crate::authn::ended::Who;
use crate::authn::ended::tally::Cause;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::jwt::logout_token::{LogoutRejection, LogoutToken};
use crate::authn::provider::Request;
use crate::authn::reply::{self, Decision, ReplyContext};
use crate::authn::request::view::RequestView;
use crate::base::token::Token;

const PARAMETER: &str = "logout_token";

/// The one logout token of a form. What is not UTF-8 or not encoded well ends up in a token that is no JWS. `None`: the body
/// is not a form with exactly one.
pub(crate) fn token(view: &RequestView<'_>, body: &[u8]) -> Option<Token> {
    if !view.is_form() {
        return None;
    }
    let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == PARAMETER);
    let (_, token) = tokens.next()?;
    let is_only = tokens.next().is_none();
    is_only.then(|| Token::new(token.into_owned()))
}

/// What is known of a logout token becomes a reply, and the sessions that it names end.
pub(crate) fn finish(
    request: Request<'_>,
    verdict: Result<Result<LogoutToken, LogoutRejection>, Fault>,
) -> Decision {
    let context = ReplyContext::of(request, None);
    match verdict {
        Ok(Ok(token)) => match end(request, &token) {
            Ok(()) => reply::bare::logged_out(&context),
            Err(rejection) => reply::reject(&context, Rejection::Logout(rejection)),
        },
        Ok(Err(rejection)) => reply::reject(&context, Rejection::Logout(rejection)),
        Err(fault) => reply::fail(&context, fault),
    }
}

/// Ends the session that the token names, else those of its user. The session is over whenever it began; of the user those
/// are that began before the token was issued, to the second: a later login is not authentik's to mean.
fn end(request: Request<'_>, token: &LogoutToken) -> Result<(), LogoutRejection> {
    let Request { env, provider, .. } = request;
    if !provider.is_new_logout(&token.jti, token.until, env) {
        return Err(LogoutRejection::Replayed);
    }
    match (&token.sid, &token.sub) {
        (Some(sid), _) => provider.end(Who::Session(sid), env.now, Cause::BackchannelLogout, env),
        (None, Some(sub)) => {
            provider.end(Who::User(sub), token.issued.plus(1).min(env.now), Cause::BackchannelLogout, env)
        }
        (None, None) => return Err(LogoutRejection::NobodyNamed),
    }
    Ok(())
}
