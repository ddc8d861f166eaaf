//! Header maps as Envoy keeps them, and their form on the ABI.
//!
//! Names are lower-case bytes, values are bytes. A header that Envoy holds
//! "inline" has one value: a second line is joined to the first by a comma.
//! Everything else keeps its lines, and a look-up sees the first of them.
//! `host` is another name of `:authority`; pseudo headers come first.

use std::fmt;

/// Whose headers these are: decides which of them are inline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request's headers; `host` is `:authority`.
    Request,
    /// A response's headers.
    Response,
    /// Trailers: none of them are inline.
    Trailers,
}

/// An ordered header map of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderMap {
    kind: Kind,
    lines: Vec<(Vec<u8>, Vec<u8>)>,
}

const INLINE_BOTH: &[&str] = &[
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];
const INLINE_REQUEST: &[&str] = &[
    ":authority",
    ":method",
    ":path",
    ":protocol",
    ":scheme",
    "accept",
    "accept-encoding",
    "authorization",
    "expect",
    "grpc-timeout",
    "origin",
    "referer",
    "te",
    "user-agent",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];
const INLINE_RESPONSE: &[&str] =
    &[":status", "date", "etag", "grpc-message", "grpc-status", "location", "server", "vary"];

impl HeaderMap {
    /// An empty map.
    pub fn new(kind: Kind) -> Self {
        Self { kind, lines: Vec::new() }
    }

    /// A map of these lines, added one by one as a codec adds what it reads.
    pub fn from_lines<N: AsRef<[u8]>, V: AsRef<[u8]>>(kind: Kind, lines: &[(N, V)]) -> Self {
        let mut map = Self::new(kind);
        for (name, value) in lines {
            map.add(name.as_ref(), value.as_ref());
        }
        map
    }

    /// The first value under this name, in whatever case it is asked for.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.get_all(name).into_iter().next()
    }

    /// All values under this name, in order.
    pub fn get_all(&self, name: impl AsRef<[u8]>) -> Vec<&[u8]> {
        let name = self.canonical(name.as_ref());
        self.lines.iter().filter(|(n, _)| *n == name).map(|(_, value)| value.as_slice()).collect()
    }

    /// True if there is a header of this name.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// The lines in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True if there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a line; joins it to an inline header that is there already.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = self.canonical(name);
        if self.is_inline(&name)
            && let Some((_, present)) = self.lines.iter_mut().find(|(n, _)| *n == name)
        {
            present.push(b',');
            present.extend_from_slice(value);
            return;
        }
        let place = if name.starts_with(b":") {
            self.lines.iter().position(|(n, _)| !n.starts_with(b":")).unwrap_or(self.lines.len())
        } else {
            self.lines.len()
        };
        self.lines.insert(place, (name, value.to_vec()));
    }

    /// Removes all lines of this name.
    pub fn remove(&mut self, name: &[u8]) {
        let name = self.canonical(name);
        self.lines.retain(|(n, _)| *n != name);
    }

    /// Makes this the only line of its name.
    pub fn replace(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// The first header that Envoy's codec would not put on the wire.
    pub fn first_invalid(&self) -> Option<&[u8]> {
        let name_ok = |name: &[u8]| {
            let token = name.strip_prefix(b":").unwrap_or(name);
            !token.is_empty()
                && token.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
        };
        let value_ok = |value: &[u8]| value.iter().all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f));
        self.iter().find(|(name, value)| !name_ok(name) || !value_ok(value)).map(|(name, _)| name)
    }

    /// The map as the ABI carries it; empty for an empty map, as Envoy does.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let word = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let mut bytes = word(self.lines.len()).to_vec();
        for (name, value) in &self.lines {
            bytes.extend_from_slice(&word(name.len()));
            bytes.extend_from_slice(&word(value.len()));
        }
        for (name, value) in &self.lines {
            for part in [name, value] {
                bytes.extend_from_slice(part);
                bytes.push(0);
            }
        }
        bytes
    }

    /// Reads the ABI's form; `None` if it does not hold what it announces.
    pub(crate) fn decode(kind: Kind, bytes: &[u8]) -> Option<Self> {
        let mut map = Self::new(kind);
        if bytes.is_empty() {
            return Some(map);
        }
        let word = |at: usize| {
            let four = bytes.get(at..at.checked_add(4)?)?;
            usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
        };
        let count = word(0)?;
        let mut at = count.checked_mul(8)?.checked_add(4)?;
        for line in 0..count {
            let (name_size, value_size) = (word(4 + line * 8)?, word(8 + line * 8)?);
            let name = bytes.get(at..at.checked_add(name_size)?)?;
            at += name_size + 1;
            let value = bytes.get(at..at.checked_add(value_size)?)?;
            at += value_size + 1;
            map.add(name, value);
        }
        Some(map)
    }

    fn canonical(&self, name: &[u8]) -> Vec<u8> {
        let name = name.to_ascii_lowercase();
        if self.kind == Kind::Request && name == b"host" { b":authority".to_vec() } else { name }
    }

    fn is_inline(&self, name: &[u8]) -> bool {
        let own: &[&str] = match self.kind {
            Kind::Request => INLINE_REQUEST,
            Kind::Response => INLINE_RESPONSE,
            Kind::Trailers => return false,
        };
        INLINE_BOTH.iter().chain(own).any(|inline| inline.as_bytes() == name)
    }
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter().map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii())),
            )
            .finish()
    }
}
