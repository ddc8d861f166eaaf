//! One credential on its way to a verdict: Basic is exchanged for a token, and from there on there is one road.
//!
//! Owns: who is asked, in what order, and what each answer means for the credential. Each step consumes the stage
//! before it, so that none runs twice.
//! Must not: know of requests (one verification serves all that wait for it), send, or remember anything.

use std::rc::Rc;

use crate::authn::authentik::call::{Answer, Call};
use crate::authn::authentik::{self, Exchanged, Introspected};
use crate::authn::cache::miss::Miss;
use crate::authn::cache::verdicts::Outcome;
use crate::authn::ended::{Checked, EndedList, Since, Standing};
use crate::authn::env::Env;
use crate::authn::fault::{Fault, Grant, LoginFailure, Rejection};
use crate::authn::jwt::claims::{Claims, NumericDate};
use crate::authn::jwt::rejection::{NotVerified, TokenRejection};
use crate::authn::jwt::verifier::{self, Shape, VerifiedIdentity};
use crate::authn::provider::Provider;
use crate::authn::provider::key_ring::{Activity, KeyRing};
use crate::authn::request::credential::Credential;
use crate::authn::request::trace::TraceContext;
use crate::authn::verdict::Source;
use crate::authn::verification::limit::Priority;
use crate::authn::verification::rate_limit::Attempt;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::base::token::Token;
use crate::config::{self, BearerVerification, Config};

/// What a verification may look at.
pub(crate) struct Facts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) provider: &'a config::Provider,
    pub(crate) key_ring: &'a KeyRing,
    pub(crate) ended: &'a EndedList,
    pub(crate) env: &'a Env<'a>,
}

/// A token that is being judged.
#[derive(Debug)]
pub(crate) struct Candidate {
    text: Token,
    brought_by: BroughtBy,
    /// The ID token that came with it.
    id_token: Option<Secret<String>>,
    /// What its claims must have: it is the end of a login.
    nonce: Option<String>,
}

impl Candidate {
    const fn of_client(text: Token) -> Self {
        Self { text, brought_by: BroughtBy::Client, id_token: None, nonce: None }
    }

    fn text(&self) -> &str {
        self.text.expose()
    }
}

/// Where a token came from decides whose fault it is when it does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BroughtBy {
    /// The client brought it.
    Client,
    /// authentik issued it a moment ago.
    TokenEndpoint,
}

/// What a verification waits for, with what it needs to go on.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The token endpoint's answer. `nonce`: what the token of a login must have.
    Exchange { nonce: Option<String>, grant: Grant },
    /// The provider's keys.
    Keys(Candidate),
    /// The introspection endpoint's answer.
    Introspection(Candidate),
}

/// One credential on its way, and where it stands.
pub(crate) struct PendingVerification {
    pub(crate) stage: Stage,
    /// Since when it waits for keys, if it does.
    pub(crate) since: Timestamp,
    /// The number of its call; `None`: it waits for keys.
    pub(crate) call: Option<u64>,
    pub(crate) priority: Priority,
    pub(crate) miss: Miss,
    pub(crate) attempt: Option<Attempt>,
    /// Of the request that began it.
    pub(crate) trace: TraceContext,
}

impl PendingVerification {
    pub(crate) fn awaits_keys_of(&self, provider: &Rc<Provider>) -> bool {
        matches!(self.stage, Stage::Keys(_)) && Rc::ptr_eq(self.miss.provider(), provider)
    }
}

/// What comes next.
pub(crate) enum Progress {
    /// The verification is over.
    Done(Outcome),
    /// This call is to be sent; its answer goes to [`Stage::answered`].
    Ask(Call, Stage),
    /// The provider's keys are wanted; [`Stage::answered`] is not for this one, [`Stage::keys_fetched`] is.
    AwaitKeys(Stage),
}

/// Begins: asks authentik, or judges at once what can be judged without it.
pub(crate) fn begin(credential: &Credential<'_>, facts: &Facts<'_>) -> Progress {
    match credential {
        Credential::Basic { username, password } => {
            let call = authentik::exchange_call(facts.config, facts.provider, username, password.expose());
            Progress::Ask(call, Stage::Exchange { nonce: None, grant: Grant::Password })
        }
        Credential::Bearer(token) => judge(Candidate::of_client(token.keep()), facts),
        Credential::Session(token) => introspect(Candidate::of_client(token.clone()), facts),
        Credential::Code(code) => {
            let call = authentik::code_call(facts.config, facts.provider, code);
            Progress::Ask(call, Stage::Exchange { nonce: Some(code.nonce.clone()), grant: Grant::Code })
        }
    }
}

/// Whether a Bearer token could be judged without a call: the keys are at hand and nothing else must be asked.
/// `None`: it could not.
pub(crate) fn judge_without_call(
    credential: &Credential<'_>,
    facts: &Facts<'_>,
) -> Option<Result<VerifiedIdentity, Rejection>> {
    match credential {
        Credential::Basic { .. } | Credential::Session(_) | Credential::Code(_) => None,
        Credential::Bearer(token) => match judge(Candidate::of_client(token.keep()), facts) {
            Progress::Done(Ok(verdict)) => Some(verdict),
            Progress::Done(Err(_)) | Progress::Ask(..) | Progress::AwaitKeys(_) => None,
        },
    }
}

impl Stage {
    /// Where the verdict comes from that this stage ends with.
    pub(crate) const fn source(&self) -> Source {
        match self {
            Self::Exchange { .. } | Self::Keys(Candidate { brought_by: BroughtBy::TokenEndpoint, .. }) => {
                Source::Exchange
            }
            Self::Keys(Candidate { brought_by: BroughtBy::Client, .. }) => Source::Local,
            Self::Introspection(_) => Source::Introspection,
        }
    }

    /// The answer to the call has come.
    pub(crate) fn answered(self, answer: &Answer, facts: &Facts<'_>) -> Progress {
        match self {
            Self::Exchange { nonce, grant } => match authentik::read_exchange(answer, grant) {
                Ok(Exchanged::Tokens(text, id_token)) => {
                    judge(Candidate { text, brought_by: BroughtBy::TokenEndpoint, id_token, nonce }, facts)
                }
                Ok(Exchanged::Refused) => Progress::Done(Ok(Err(Rejection::Refused(grant)))),
                Err(fault) => Progress::Done(Err(fault)),
            },
            Self::Introspection(token) => Progress::Done(read_introspection(token, answer, facts)),
            // No call is out for this stage; an answer to nothing decides nothing.
            Self::Keys(_) => Progress::Done(Err(Fault::NoKeys)),
        }
    }

    /// Keys were fetched, or could not be.
    pub(crate) fn keys_fetched(self, facts: &Facts<'_>) -> Progress {
        match self {
            Self::Keys(token) => judge(token, facts),
            Self::Exchange { .. } | Self::Introspection(_) => Progress::Done(Err(Fault::NoKeys)),
        }
    }
}

/// The trunk: every token passes here, wherever it came from.
fn judge(token: Candidate, facts: &Facts<'_>) -> Progress {
    let verification = match token.brought_by {
        BroughtBy::Client => facts.provider.bearer_verification,
        BroughtBy::TokenEndpoint => match verifier::shape(token.text()) {
            // authentik encrypts for a key that only it has.
            Shape::Jwe => BearerVerification::Introspection,
            Shape::Jws | Shape::Opaque => BearerVerification::Local,
        },
    };
    let may_be_foreign = token.brought_by == BroughtBy::Client && facts.provider.federated_bearer;
    let asks = may_be_foreign || verification == BearerVerification::Introspection;
    // The local checks refuse it too.
    if asks && verifier::is_logout_token(token.text()) {
        return Progress::Done(rejected(TokenRejection::LogoutToken, token.brought_by));
    }
    if may_be_foreign && verifier::is_issued_elsewhere(token.text(), &facts.provider.issuer) {
        return exchange_foreign(&token, facts);
    }
    if verification == BearerVerification::Introspection {
        return introspect(token, facts);
    }
    let Some(keys) = facts.key_ring.current(facts.env.now, &facts.config.jwks) else {
        return await_keys(token, facts);
    };
    let verified = match verifier::verify(&token.text, keys, facts.provider, facts.config, facts.env) {
        Ok(verified) => Ok(verified),
        Err(NotVerified::Rejected(rejection)) => Err(rejection),
        Err(NotVerified::Uncheckable) => return Progress::Done(Err(Fault::NoSignatureCheck)),
    };
    match verified {
        Ok(verified)
            if token.brought_by == BroughtBy::Client
                && (facts.provider.revalidate_seconds > 0 || facts.is_unconfirmed(verified.claims())) =>
        {
            introspect(token, facts)
        }
        Ok(verified) => Progress::Done(vouched(verified, token)),
        Err(TokenRejection::UnknownKey) if facts.may_await_keys() => await_keys(token, facts),
        Err(rejection)
            if verification == BearerVerification::LocalThenIntrospection && rejection.is_undecidable() =>
        {
            introspect(token, facts)
        }
        Err(rejection) => Progress::Done(match facts.key_ring.last_fault() {
            // The key may be a new one, and authentik cannot say: that is not the client's fault.
            Some(fault) if rejection == TokenRejection::UnknownKey => Err(fault),
            Some(_) | None => rejected(rejection, token.brought_by),
        }),
    }
}

impl Facts<'_> {
    /// Whether authentik must say of a token that is good by itself that it still is. Its `iat` is by authentik's clock.
    fn is_unconfirmed(&self, claims: &Claims) -> bool {
        let issued = claims.iat.map_or(0, |NumericDate(issued)| issued.seconds());
        let issued = Timestamp::from_seconds(issued.saturating_sub(self.config.clock_skew_seconds));
        let since = Since { begun: issued, vouched: issued, is_of_password: false };
        self.ended.of_verdict(&Checked::default(), claims, since, self.env.now) == Standing::Unconfirmed
    }

    /// Whether newer keys may come: they are being fetched, here or by another worker, or may be.
    fn may_await_keys(&self) -> bool {
        self.key_ring.activity() != Activity::Idle || self.key_ring.may_fetch(self.env.now, &self.config.jwks)
    }
}

fn await_keys(token: Candidate, facts: &Facts<'_>) -> Progress {
    if facts.may_await_keys() {
        Progress::AwaitKeys(Stage::Keys(token))
    } else {
        Progress::Done(Err(facts.key_ring.last_fault().unwrap_or(Fault::NoKeys)))
    }
}

/// A JWT of another issuer: authentik says whether it federates it, by issuing a token of this provider for it.
fn exchange_foreign(token: &Candidate, facts: &Facts<'_>) -> Progress {
    if verifier::unverified_expiry(token.text()).is_some_and(|expiry| expiry <= facts.env.now) {
        return Progress::Done(Ok(Err(Rejection::Token(TokenRejection::Expired))));
    }
    let call = authentik::assertion_call(facts.config, facts.provider, token.text());
    Progress::Ask(call, Stage::Exchange { nonce: None, grant: Grant::Assertion })
}

fn introspect(token: Candidate, facts: &Facts<'_>) -> Progress {
    let call = authentik::introspection_call(facts.config, facts.provider, token.text());
    Progress::Ask(call, Stage::Introspection(token))
}

fn read_introspection(token: Candidate, answer: &Answer, facts: &Facts<'_>) -> Outcome {
    match authentik::read_introspection(answer)? {
        Introspected::Active(body) => {
            match verifier::introspected(&token.text, body, facts.provider, facts.config, facts.env) {
                Ok(verified) => vouched(verified, token),
                // These are authentik's own words, not the client's.
                Err(TokenRejection::Claims) => Err(Fault::BadAnswer { status: 200 }),
                Err(rejection) => rejected(rejection, token.brought_by),
            }
        }
        Introspected::Inactive => match token.brought_by {
            BroughtBy::Client => Ok(Err(Rejection::Inactive)),
            BroughtBy::TokenEndpoint => Err(Fault::IssuedTokenInactive),
        },
    }
}

/// The end of the road. A token of a login must be the answer to that very login (OpenID Connect Core §3.1.3.7).
fn vouched(verified: VerifiedIdentity, token: Candidate) -> Outcome {
    if token.nonce.is_some() && token.nonce != verified.claims().nonce {
        return Ok(Err(Rejection::LoginFailed(LoginFailure::Nonce)));
    }
    Ok(Ok(verified.with_id_token(token.id_token)))
}

fn rejected(rejection: TokenRejection, brought_by: BroughtBy) -> Outcome {
    match brought_by {
        BroughtBy::Client => Ok(Err(Rejection::Token(rejection))),
        BroughtBy::TokenEndpoint => Err(Fault::IssuedToken(rejection)),
    }
}
