//! Calls that a filter makes to a cluster, and the answers a test gives.
//!
//! Validation is Envoy's: an unknown cluster or a missing pseudo header is a
//! bad argument; no endpoints, or a header that cannot go on the wire, is an
//! internal failure. Both are told at once and nothing is called back.

use std::time::Duration;

use crate::header_map::{HeaderMap, Kind};
use crate::status::Status;
use crate::world::WorldState;

/// Names a call within its VM: the ABI's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub(crate) u32);

/// A call that waits for its answer.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// Its name, for [`Vm::answer`](crate::Vm::answer).
    pub id: CallId,
    /// The cluster that it goes to.
    pub cluster: String,
    /// What the filter sent, with `content-length`; without what Envoy's router adds.
    pub headers: HeaderMap,
    /// What the filter sent as a body.
    pub body: Vec<u8>,
    /// `None` if the filter set none (0): such a call waits for ever.
    pub timeout: Option<Duration>,
    pub(crate) root: u32,
}

/// How a call ends.
#[derive(Clone, Debug)]
pub enum CallAnswer {
    /// The cluster's answer.
    Response {
        /// Replaces any `:status` among the headers.
        status: u16,
        /// Header lines, in their order.
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        /// The whole body.
        body: Vec<u8>,
    },
    /// Reset in the middle of the body, or a body beyond Envoy's limit: no headers, no body.
    Reset,
    /// Connection refused, a TLS failure, or a reset before the headers: Envoy's own 503.
    ConnectFailure,
    /// Envoy's own 504.
    Timeout,
}

impl CallAnswer {
    /// A JSON document with this status.
    pub fn json(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::Response {
            status,
            headers: vec![
                (b"content-type".to_vec(), b"application/json".to_vec()),
                (b"x-envoy-upstream-service-time".to_vec(), b"3".to_vec()),
            ],
            body: body.as_ref().to_vec(),
        }
    }

    /// What the filter will read; `None` after a reset.
    pub(crate) fn into_message(self) -> Option<(HeaderMap, Vec<u8>)> {
        let own = |status: &str, body: &str| {
            let length = body.len().to_string();
            let lines = [(":status", status), ("content-length", &length), ("content-type", "text/plain")];
            Some((HeaderMap::from_lines(Kind::Response, &lines), body.as_bytes().to_vec()))
        };
        match self {
            Self::Response { status, headers, body } => {
                let mut map = HeaderMap::from_lines(Kind::Response, &headers);
                map.replace(b":status", status.to_string().as_bytes());
                Some((map, body))
            }
            Self::Reset => None,
            Self::ConnectFailure => own(
                "503",
                "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
            ),
            Self::Timeout => own("504", "upstream request timeout"),
        }
    }
}

/// Judges a call as Envoy does before it sends anything.
pub(crate) fn validate(
    world: &WorldState,
    cluster: &[u8],
    headers: &HeaderMap,
    timeout: i32,
) -> Result<(), Status> {
    let complete = [":method", ":path", ":authority"].iter().all(|name| headers.contains(name));
    if timeout < 0 || !world.clusters.contains(cluster) || !complete {
        return Err(Status::BadArgument);
    }
    if world.without_endpoints.contains(cluster) || headers.first_invalid().is_some() {
        return Err(Status::InternalFailure);
    }
    Ok(())
}
