//! The ways in which requests that wait can end. Owns what each client must be told then.

/// What ends the waiting, and where the requests go then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// authentik refuses the password: `401`.
    Refused,
    /// The same without interception: a browser is sent to log in, `302`.
    Redirected,
    /// authentik answers with a server error: `503`.
    Failing,
    /// The connection to authentik is reset: `503`.
    Reset,
    /// authentik accepts the password: the application answers.
    Forwarded,
    /// The same, and the route has a `direct_response`.
    ForwardedToDirectResponse,
    /// The same, and the route's cluster does not exist: Envoy's own `503`.
    ForwardedToNowhere,
    /// A forged token names a key that authentik would have to be asked for, and it does not answer: `503`.
    WithoutKeys,
}

impl Scene {
    pub(super) const ALL: [Self; 8] = [
        Self::Refused,
        Self::Redirected,
        Self::Failing,
        Self::Reset,
        Self::Forwarded,
        Self::ForwardedToDirectResponse,
        Self::ForwardedToNowhere,
        Self::WithoutKeys,
    ];

    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Forwarded | Self::ForwardedToDirectResponse => 200,
            Self::Redirected => 302,
            Self::Refused => 401,
            Self::Failing | Self::Reset | Self::ForwardedToNowhere | Self::WithoutKeys => 503,
        }
    }

    /// What the filter has to do with the answer, by a header that nobody else sends.
    pub(super) const fn header(self) -> &'static str {
        match self {
            Self::Refused => "www-authenticate",
            Self::Redirected => "location",
            Self::Failing | Self::Reset | Self::WithoutKeys => "retry-after",
            // The session of the new credential.
            Self::Forwarded | Self::ForwardedToDirectResponse | Self::ForwardedToNowhere => "set-cookie",
        }
    }

    pub(super) const fn target(self) -> &'static str {
        match self {
            Self::ForwardedToDirectResponse => "/direct",
            Self::ForwardedToNowhere => "/nowhere",
            _ => "/",
        }
    }
}
