//! One credential on its way to a verdict: Basic is exchanged for a token, and from there on there is one road.
//!
//! Owns: who is asked, in what order, and what each answer means for the credential. Each step consumes the stage
//! before it, so that none runs twice.
//! Must not: know of requests (one inquiry serves all that wait for it), send, or remember anything.

use super::Env;
use super::credential::Credential;
use super::fault::{Fault, Rejection};
use super::keyring::{Activity, KeyRing};
use super::provider::{self, Answer, Call, Exchanged, Introspected};
use super::secret::Secret;
use super::verifier::{self, Shape, TokenRejection, VerifiedIdentity};
use crate::config::{BearerVerification, Config, Provider};

/// What an inquiry may look at.
pub(super) struct Facts<'a> {
    pub(super) config: &'a Config,
    pub(super) provider: &'a Provider,
    pub(super) keyring: &'a KeyRing,
    pub(super) env: &'a Env<'a>,
}

/// Where the token came from decides whose fault it is when it does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The client brought it.
    Client,
    /// authentik issued it a moment ago, for a Basic credential.
    TokenEndpoint,
}

/// What an inquiry waits for, with what it needs to go on.
#[derive(Debug)]
pub(super) enum Stage {
    /// The token endpoint's answer.
    Exchange,
    /// The provider's keys.
    Keys { token: Secret<String>, source: Source },
    /// The introspection endpoint's answer.
    Introspection { token: Secret<String>, source: Source },
}

/// What comes next.
pub(super) enum Progress {
    /// The inquiry is over.
    Done(Outcome),
    /// This call is to be sent; its answer goes to [`Stage::answered`].
    Ask(Call, Stage),
    /// The provider's keys are wanted; [`Stage::answered`] is not for this one, [`Stage::keys_fetched`] is.
    AwaitKeys(Stage),
}

/// What authentik, or the filter in its name, says of a credential.
pub(super) type Outcome = Result<Result<VerifiedIdentity, Rejection>, Fault>;

/// Begins: asks authentik, or judges at once what can be judged without it.
pub(super) fn begin(credential: &Credential, facts: &Facts<'_>) -> Progress {
    match credential {
        Credential::Basic { username, password } => {
            let call = provider::exchange_call(facts.config, facts.provider, username, password.expose());
            Progress::Ask(call, Stage::Exchange)
        }
        Credential::Bearer(token) => judge(token.clone(), Source::Client, facts),
    }
}

/// Whether a Bearer token could be judged without a call: the keys are at hand and nothing else must be asked.
/// `None`: it could not.
pub(super) fn judge_without_call(
    credential: &Credential,
    facts: &Facts<'_>,
) -> Option<Result<VerifiedIdentity, Rejection>> {
    match credential {
        Credential::Basic { .. } => None,
        Credential::Bearer(token) => match judge(token.clone(), Source::Client, facts) {
            Progress::Done(Ok(verdict)) => Some(verdict),
            Progress::Done(Err(_)) | Progress::Ask(..) | Progress::AwaitKeys(_) => None,
        },
    }
}

impl Stage {
    /// The answer to the call has come.
    pub(super) fn answered(self, answer: &Answer, facts: &Facts<'_>) -> Progress {
        match self {
            Self::Exchange => match provider::read_exchange(answer) {
                Ok(Exchanged::Token(token)) => judge(token, Source::TokenEndpoint, facts),
                Ok(Exchanged::Refused) => Progress::Done(Ok(Err(Rejection::Refused))),
                Err(fault) => Progress::Done(Err(fault)),
            },
            Self::Introspection { token, source } => {
                Progress::Done(read_introspection(&token, source, answer, facts))
            }
            // No call is out for this stage; an answer to nothing decides nothing.
            Self::Keys { .. } => Progress::Done(Err(Fault::NoKeys)),
        }
    }

    /// Keys were fetched, or could not be.
    pub(super) fn keys_fetched(self, facts: &Facts<'_>) -> Progress {
        match self {
            Self::Keys { token, source } => judge(token, source, facts),
            Self::Exchange | Self::Introspection { .. } => Progress::Done(Err(Fault::NoKeys)),
        }
    }
}

/// The trunk: every token passes here, wherever it came from.
fn judge(token: Secret<String>, source: Source, facts: &Facts<'_>) -> Progress {
    let verification = match (source, verifier::shape(token.expose())) {
        // authentik encrypts for a key that only it has.
        (Source::TokenEndpoint, Shape::Jwe) => BearerVerification::Introspection,
        (Source::TokenEndpoint, Shape::Jws | Shape::Opaque) => BearerVerification::Local,
        (Source::Client, _) => facts.provider.bearer_verification,
    };
    let may_be_foreign = source == Source::Client && facts.provider.federated_bearer;
    if may_be_foreign && verifier::is_issued_elsewhere(token.expose(), &facts.provider.issuer) {
        return exchange_foreign(&token, facts);
    }
    if verification == BearerVerification::Introspection {
        return introspect(token, source, facts);
    }
    let Some(keys) = facts.keyring.current(facts.env.now, &facts.config.jwks) else {
        return await_keys(token, source, facts);
    };
    match verifier::verify(token.expose(), keys, facts.provider, facts.config, facts.env) {
        Ok(_) if source == Source::Client && facts.provider.revalidate_seconds > 0 => {
            introspect(token, source, facts)
        }
        Ok(verified) => Progress::Done(Ok(Ok(verified))),
        Err(TokenRejection::UnknownKey) if facts.may_fetch_keys() => await_keys(token, source, facts),
        Err(rejection)
            if verification == BearerVerification::LocalThenIntrospection && rejection.is_undecidable() =>
        {
            introspect(token, source, facts)
        }
        // The key may be a new one, and authentik cannot say: that is not the client's fault.
        Err(TokenRejection::UnknownKey) if facts.keyring.last_fault().is_some() => {
            Progress::Done(Err(facts.keyring.last_fault().unwrap_or(Fault::NoKeys)))
        }
        Err(rejection) => Progress::Done(rejected(rejection, source)),
    }
}

impl Facts<'_> {
    fn may_fetch_keys(&self) -> bool {
        self.keyring.may_fetch(self.env.now, &self.config.jwks)
    }
}

fn await_keys(token: Secret<String>, source: Source, facts: &Facts<'_>) -> Progress {
    if facts.may_fetch_keys() || facts.keyring.activity() != Activity::Idle {
        Progress::AwaitKeys(Stage::Keys { token, source })
    } else {
        Progress::Done(Err(facts.keyring.last_fault().unwrap_or(Fault::NoKeys)))
    }
}

/// A JWT of another issuer: authentik says whether it federates it, by issuing a token of this provider for it.
fn exchange_foreign(token: &Secret<String>, facts: &Facts<'_>) -> Progress {
    if verifier::unverified_expiry(token.expose()).is_some_and(|expiry| expiry <= facts.env.now) {
        return Progress::Done(Ok(Err(Rejection::Token(TokenRejection::Expired))));
    }
    Progress::Ask(provider::assertion_call(facts.config, facts.provider, token.expose()), Stage::Exchange)
}

fn introspect(token: Secret<String>, source: Source, facts: &Facts<'_>) -> Progress {
    let call = provider::introspection_call(facts.config, facts.provider, token.expose());
    Progress::Ask(call, Stage::Introspection { token, source })
}

fn read_introspection(token: &Secret<String>, source: Source, answer: &Answer, facts: &Facts<'_>) -> Outcome {
    match provider::read_introspection(answer)? {
        Introspected::Active(body) => {
            match verifier::introspected(token.expose(), body, facts.config, facts.env) {
                Ok(verified) => Ok(Ok(verified)),
                Err(rejection) => rejected(rejection, source),
            }
        }
        Introspected::Inactive => match source {
            Source::Client => Ok(Err(Rejection::Inactive)),
            Source::TokenEndpoint => Err(Fault::IssuedTokenInactive),
        },
    }
}

fn rejected(rejection: TokenRejection, source: Source) -> Outcome {
    match source {
        Source::Client => Ok(Err(Rejection::Token(rejection))),
        Source::TokenEndpoint => Err(Fault::IssuedToken(rejection)),
    }
}
