//! What may become of a request, and what became of it. Knows nothing of how one is sent.

use std::fmt;

use loopback::header_values;
use serde_json::Value;

use super::super::wire::Answer;

/// Names a request, in the request; the filter has no business with it.
pub(super) const NUMBER: &str = "x-soak";

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The application saw it, as this user's.
    As(String),
    /// The application saw it, as nobody's.
    Anonymous,
    /// Envoy or the filter answered with this status.
    Status(u16),
    /// The same for gRPC.
    Grpc(u16),
    /// Expected only: `302`, or a fault of the client's.
    Refused,
    /// The client went without waiting for an answer.
    Left,
}

impl Outcome {
    pub(super) fn named(username: &str) -> Self {
        Self::As(username.to_owned())
    }

    pub(super) const fn is_forwarded(&self) -> bool {
        matches!(self, Self::As(_) | Self::Anonymous)
    }

    /// What an answer says, if it is the one to the request of this number.
    pub(super) fn of(answer: &Answer, number: u64) -> Result<Self, String> {
        match (answer.status, answer.header("grpc-status")) {
            (200, Some(status)) => {
                Ok(Self::Grpc(status.parse().map_err(|_| "an odd grpc-status".to_owned())?))
            }
            (200, None) => Self::shown(&answer.body, number),
            (status, _) => Ok(Self::Status(status)),
        }
    }

    /// The same for a body of the application's. What it was told of the user is judged where the application saw it.
    pub(super) fn shown(body: &str, number: u64) -> Result<Self, String> {
        let shown: Value =
            serde_json::from_str(body).map_err(|_| "200, and not from the application".to_owned())?;
        if header_values(&shown, NUMBER) != [number.to_string()] {
            return Err("the answer to another request".to_owned());
        }
        Ok(match header_values(&shown, "x-authentik-username").as_slice() {
            [] => Self::Anonymous,
            names => Self::As(names.join(", ")),
        })
    }

    fn is_one_of(&self, allowed: &[Self]) -> bool {
        let is_refused = matches!(self, Self::Status(302 | 400..=499));
        allowed.contains(self) || (is_refused && allowed.contains(&Self::Refused))
    }
}

/// As the table has it: by status.
impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::As(_) | Self::Anonymous => formatter.write_str("200"),
            Self::Status(status) => write!(formatter, "{status}"),
            Self::Grpc(status) => write!(formatter, "grpc {status}"),
            Self::Refused => formatter.write_str("refused"),
            Self::Left => formatter.write_str("left"),
        }
    }
}

/// Something that goes on for a while, in which a request may have one of two outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aspect {
    /// authentik does not answer as it should.
    Outage,
    /// The key pair of `es` has changed, and not every worker knows.
    Keys,
    /// The client secret of `demo` has changed at authentik, and not yet in every worker's configuration.
    Secret,
    /// A user was disabled no longer ago than `revalidate_seconds` allow.
    Leaving,
}

/// Every outcome that is right.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    always: Outcome,
    meanwhile: Vec<(Aspect, Outcome)>,
}

impl Expected {
    pub(super) fn only(outcome: Outcome) -> Self {
        Self { always: outcome, meanwhile: Vec::new() }
    }

    pub(super) fn user(username: &str) -> Self {
        Self::only(Outcome::named(username))
    }

    pub(super) fn status(status: u16) -> Self {
        Self::only(Outcome::Status(status))
    }

    pub(super) fn during(mut self, aspect: Aspect, outcome: Outcome) -> Self {
        self.meanwhile.push((aspect, outcome));
        self
    }

    /// Somebody must be asked, and an outage is `503`.
    pub(super) fn asked(self) -> Self {
        self.during(Aspect::Outage, Outcome::Status(503))
    }

    /// Whether all is well with the request itself.
    pub(super) fn hopes_to_pass(&self) -> bool {
        self.always.is_forwarded()
    }

    /// What was right for a request that met these.
    pub(super) fn allowed(&self, met: impl Fn(Aspect) -> bool) -> Vec<Outcome> {
        let meanwhile = self.meanwhile.iter().filter(|(aspect, _)| met(*aspect)).map(|(_, outcome)| outcome);
        std::iter::once(&self.always).chain(meanwhile).cloned().collect()
    }
}

/// Whether this was right; `seen` is what the application says of it, once for each time that it saw it.
pub(super) fn judge(allowed: &[Outcome], got: &Outcome, seen: &[Outcome]) -> Result<(), String> {
    if !got.is_one_of(allowed) && *got != Outcome::Left {
        return Err(format!("got {got:?}"));
    }
    let may_be_seen = match got {
        Outcome::Left => seen.len() <= 1 && seen.iter().all(|it| it.is_one_of(allowed)),
        got if got.is_forwarded() => seen == [got.clone()],
        _ => seen.is_empty(),
    };
    if may_be_seen { Ok(()) } else { Err(format!("got {got:?}, and the application saw {seen:?}")) }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Anonymous, Left, Refused, Status};
    use super::{Aspect, Expected, Outcome, judge};

    fn alice() -> Outcome {
        Outcome::named("alice")
    }

    #[test]
    fn unexpected_outcome_fails_the_soak() {
        let allowed = [alice(), Status(503)];
        assert_eq!(judge(&allowed, &alice(), &[alice()]), Ok(()));
        assert_eq!(judge(&allowed, &Status(503), &[]), Ok(()));
        for got in [Status(401), Anonymous, Outcome::named("eve"), Refused] {
            assert!(judge(&allowed, &got, &[]).is_err(), "{got:?}");
        }
    }

    #[test]
    fn the_application_must_have_seen_just_what_was_forwarded() {
        let allowed = [alice(), Status(401)];
        let seen = [&[][..], &[Anonymous], &[Outcome::named("eve")], &[alice(), alice()]];
        for seen in seen {
            assert!(judge(&allowed, &alice(), seen).is_err(), "{seen:?}");
        }
        assert!(judge(&allowed, &Status(401), &[alice()]).is_err(), "answered and forwarded");
        assert_eq!(judge(&allowed, &Left, &[]), Ok(()));
        assert_eq!(judge(&allowed, &Left, &[alice()]), Ok(()));
        assert!(judge(&allowed, &Left, &[Anonymous]).is_err());
        assert!(judge(&[Status(401)], &Left, &[alice()]).is_err());
    }

    #[test]
    fn outage_excuses_only_requests_that_met_it() {
        let expected = Expected::user("alice").asked();
        assert_eq!(expected.allowed(|_| false), [alice()]);
        assert_eq!(expected.allowed(|aspect| aspect == Aspect::Outage), [alice(), Status(503)]);
        for (status, is_refusal) in [(302, true), (400, true), (431, true), (200, false), (503, false)] {
            assert_eq!(judge(&[Refused], &Status(status), &[]).is_ok(), is_refusal, "{status}");
        }
    }
}
