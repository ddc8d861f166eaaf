//! One HTTP stream: what the client sent, how far it has come, how it ended.
//!
//! Only the state and the shape of answers live here; `drive.rs` moves it.
//! A stream's header maps are readable while Envoy would let them be read.

use std::collections::{BTreeMap, VecDeque};

use crate::header_map::{HeaderMap, Kind};

/// Names a stream within its VM: the ABI's context id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

/// What a client sends.
#[derive(Clone, Debug)]
pub struct Request {
    headers: HeaderMap,
    body: VecDeque<Vec<u8>>,
    trailers: Option<HeaderMap>,
}

impl Request {
    /// A request of these header lines, pseudo headers among them.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Self {
        let headers = HeaderMap::from_lines(Kind::Request, headers);
        Self { headers, body: VecDeque::new(), trailers: None }
    }

    /// `GET https://app.example.com<path>`.
    pub fn get(path: &str) -> Self {
        Self::new(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "app.example.com"),
            (":path", path),
        ])
    }

    /// Adds a header line, as the client's next line.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// Makes this the only line of its name; also for pseudo headers.
    pub fn replace(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.replace(name.as_ref(), value.as_ref());
        self
    }

    /// Adds a piece of body; each piece is a callback of its own.
    pub fn with_body(mut self, piece: impl AsRef<[u8]>) -> Self {
        self.body.push_back(piece.as_ref().to_vec());
        self
    }

    /// Ends the request with trailers.
    pub fn with_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(mut self, trailers: &[(N, V)]) -> Self {
        self.trailers = Some(HeaderMap::from_lines(Kind::Trailers, trailers));
        self
    }
}

/// How a request ended, as far as it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Paused, or gone before it was decided.
    Pending,
    /// The upstream has it: the headers as they went, the body as far as it went.
    Forwarded {
        /// The request headers as they went on.
        headers: HeaderMap,
        /// The request body.
        body: Vec<u8>,
    },
    /// Answered here. For gRPC the status is 200 and `grpc_status` says the rest.
    Replied {
        /// The status on the wire.
        status: u16,
        /// The response headers, `:status` among them.
        headers: HeaderMap,
        /// The response body; empty for HEAD.
        body: Vec<u8>,
        /// `Some` if the client speaks gRPC.
        grpc_status: Option<u32>,
        /// What the access log calls the response code details.
        details: Vec<u8>,
    },
    /// 503 because the VM is dead.
    Failed,
}

/// A reply in the host's words, before it is a response.
#[derive(Clone, Debug)]
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) grpc_status: i32,
    pub(crate) details: Vec<u8>,
}

/// A reply that was sent.
#[derive(Clone, Debug)]
pub(crate) struct SentReply {
    pub(crate) body: Vec<u8>,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) details: Vec<u8>,
}

/// How a stream is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is not.
    No,
    /// Nothing moves until it is resumed.
    All,
    /// Nothing goes on, yet what comes is shown to the filter.
    ThisPart,
}

/// What is shown to the filter next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Headers,
    Body,
    Trailers,
    Nothing,
}

/// One stream.
pub(crate) struct Stream {
    pub(crate) root: u32,
    pub(crate) request: HeaderMap,
    pub(crate) request_open: bool,
    pub(crate) coming: VecDeque<Vec<u8>>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) trailers_open: bool,
    pub(crate) next: Part,
    pub(crate) held: Held,
    /// The filter is in a request callback of this stream.
    pub(crate) deciding: bool,
    pub(crate) forwarded: Option<(HeaderMap, Vec<u8>)>,
    pub(crate) response: Option<HeaderMap>,
    pub(crate) response_open: bool,
    pub(crate) response_body: Vec<u8>,
    pub(crate) reply: Option<SentReply>,
    pub(crate) failed: bool,
    /// In `on_log` all maps can be read and none written.
    pub(crate) logging: bool,
    pub(crate) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Stream {
    pub(crate) fn new(root: u32, request: Request) -> Self {
        Self {
            root,
            request: request.headers,
            request_open: false,
            coming: request.body,
            body: Vec::new(),
            trailers: request.trailers,
            trailers_open: false,
            next: Part::Headers,
            held: Held::No,
            deciding: false,
            forwarded: None,
            response: None,
            response_open: false,
            response_body: Vec::new(),
            reply: None,
            failed: false,
            logging: false,
            filter_state: BTreeMap::new(),
        }
    }

    /// Nothing of the request matters any more.
    pub(crate) fn is_over(&self) -> bool {
        self.failed || self.reply.is_some()
    }

    pub(crate) fn outcome(&self) -> Outcome {
        if self.failed {
            return Outcome::Failed;
        }
        if let (Some(reply), Some(headers)) = (&self.reply, &self.response) {
            let status = headers.get(":status").and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
            return Outcome::Replied {
                status: status.expect("a reply has a status"),
                headers: headers.clone(),
                body: reply.body.clone(),
                grpc_status: reply.grpc_status,
                details: reply.details.clone(),
            };
        }
        match &self.forwarded {
            Some((headers, body)) => Outcome::Forwarded { headers: headers.clone(), body: body.clone() },
            None => Outcome::Pending,
        }
    }

    /// The response that Envoy makes of a reply to this request, and its body.
    pub(crate) fn render(&self, reply: &LocalReply) -> (HeaderMap, Vec<u8>, Option<u32>) {
        let mut headers = HeaderMap::new(Kind::Response);
        for (name, value) in reply.headers.iter().filter(|(name, _)| *name != b":status") {
            headers.add(name, value);
        }
        let content_type = self.request.get("content-type").unwrap_or_default();
        if content_type == b"application/grpc" || content_type.starts_with(b"application/grpc+") {
            let grpc_status =
                u32::try_from(reply.grpc_status).unwrap_or_else(|_| grpc_status_of(reply.status));
            headers.replace(b":status", b"200");
            headers.replace(b"content-type", b"application/grpc");
            headers.remove(b"content-length");
            headers.replace(b"grpc-status", grpc_status.to_string().as_bytes());
            if !reply.body.is_empty() {
                headers.replace(b"grpc-message", &percent_encode(&reply.body));
            }
            return (headers, Vec::new(), Some(grpc_status));
        }
        headers.replace(b":status", reply.status.to_string().as_bytes());
        if reply.body.is_empty() {
            headers.remove(b"content-length");
            headers.remove(b"content-type");
        } else {
            headers.replace(b"content-length", reply.body.len().to_string().as_bytes());
            if !headers.contains("content-type") {
                headers.add(b"content-type", b"text/plain");
            }
        }
        let body = if self.request.get(":method") == Some(b"HEAD") { Vec::new() } else { reply.body.clone() };
        (headers, body, None)
    }
}

/// What Envoy makes of an HTTP status towards a gRPC client.
fn grpc_status_of(http: u32) -> u32 {
    match http {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn percent_encode(message: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for byte in message {
        match byte {
            b'%' => encoded.extend_from_slice(b"%25"),
            b' '..=b'~' => encoded.push(*byte),
            _ => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    encoded
}
