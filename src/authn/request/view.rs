//! A request's headers, as bytes, read once.
//!
//! Owns: the host's serialised header map ([`HeaderBlock`]), the one scan over it ([`RequestView`]), what counts
//! as a navigation, a gRPC call, a CORS preflight, and which kind of body a client wants to read.
//! Must not: interpret the credential, or trust a header to say where the request came from.

use std::collections::BTreeSet;

use crate::authn::request::cookies;
use crate::base::{header, secret};

/// The host's serialised header map: a count, the lengths of all names and values, then each followed by NUL
/// (Proxy-Wasm ABI 0.2.1). It has credentials and cookies in it: it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderBlock(Vec<u8>);

impl Drop for HeaderBlock {
    fn drop(&mut self) {
        secret::wipe(&mut self.0);
    }
}

/// Shows the length only.
impl core::fmt::Debug for HeaderBlock {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "[{} bytes]", self.0.len())
    }
}

impl HeaderBlock {
    /// Takes what the host returned.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Serialises pairs as the host does.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let size = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        for (name, value) in &pairs {
            bytes.extend_from_slice(&size(name));
            bytes.extend_from_slice(&size(value));
        }
        for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(part);
            bytes.push(0);
        }
        Self(bytes)
    }

    /// The serialised map.
    pub fn into_bytes(mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }

    /// Its length in bytes.
    pub const fn size(&self) -> usize {
        self.0.len()
    }

    /// The pairs in the order of the map; `None` where the block is not in its format.
    pub fn pairs(&self) -> Option<Pairs<'_>> {
        let (count, rest) = self.0.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (sizes, data) = rest.split_at_checked(count.checked_mul(8)?)?;
        Some(Pairs { sizes, data })
    }
}

/// The pairs of a [`HeaderBlock`]. A pair that is cut off ends the iteration with an error.
#[derive(Debug)]
pub struct Pairs<'a> {
    sizes: &'a [u8],
    data: &'a [u8],
}

/// The host's header map is not in its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedBlock;

impl<'a> Pairs<'a> {
    fn size(&mut self) -> Option<usize> {
        let (size, rest) = self.sizes.split_first_chunk::<4>()?;
        self.sizes = rest;
        usize::try_from(u32::from_le_bytes(*size)).ok()
    }

    fn part(&mut self, size: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.data.split_at_checked(size)?;
        let (_nul, rest) = rest.split_first()?;
        self.data = rest;
        Some(part)
    }

    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (name, value) = (self.size()?, self.size()?);
        Some((self.part(name)?, self.part(value)?))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), MalformedBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.sizes.is_empty() {
            return None;
        }
        let pair = self.pair().ok_or(MalformedBlock);
        if pair.is_err() {
            self.sizes = &[];
        }
        Some(pair)
    }
}

/// The `Authorization` header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization<'a> {
    /// There is none.
    None,
    /// There is one.
    One(&'a [u8]),
    /// There are several: which one would the application read?
    Several,
}

/// What the core needs to know of a request. Borrowed from its [`HeaderBlock`].
#[derive(Debug)]
pub struct RequestView<'a> {
    /// `:method`; empty when it is not there.
    pub method: &'a [u8],
    /// `:path` with the query; empty when it is not there (`CONNECT`).
    pub target: &'a [u8],
    /// `:authority`; empty when it is not there.
    pub authority: &'a [u8],
    /// The credential, unread.
    pub authorization: Authorization<'a>,
    /// Every cookie of every `cookie` line, each `name=value`.
    pub cookies: Vec<&'a [u8]>,
    /// Names of the owned headers that the client sent, as it spelt them: each once, though it can send thousands.
    pub owned: BTreeSet<&'a [u8]>,
    accept: &'a [u8],
    content_type: &'a [u8],
    sec_fetch_mode: &'a [u8],
    sec_fetch_site: &'a [u8],
    requested_with: &'a [u8],
    upgrade: &'a [u8],
    /// Envoy leaves it to requests that ask for an upgrade only.
    connection: &'a [u8],
    request_id: &'a [u8],
    origin: Option<&'a [u8]>,
    has_requested_method: bool,
    block: &'a HeaderBlock,
}

impl<'a> RequestView<'a> {
    /// Scans the headers once. `owned_headers` are the operator's names, normalised.
    ///
    /// # Errors
    /// The host's map is not in its format.
    pub fn read(block: &'a HeaderBlock, owned_headers: &[String]) -> Result<Self, MalformedBlock> {
        let mut view = Self {
            method: b"",
            target: b"",
            authority: b"",
            authorization: Authorization::None,
            cookies: Vec::new(),
            owned: BTreeSet::new(),
            accept: b"",
            content_type: b"",
            sec_fetch_mode: b"",
            sec_fetch_site: b"",
            requested_with: b"",
            upgrade: b"",
            connection: b"",
            request_id: b"",
            origin: None,
            has_requested_method: false,
            block,
        };
        for pair in block.pairs().ok_or(MalformedBlock)? {
            let (name, value) = pair?;
            view.note(name, value, owned_headers);
        }
        Ok(view)
    }

    fn note(&mut self, name: &'a [u8], value: &'a [u8], owned_headers: &[String]) {
        match name {
            b":method" => self.method = value,
            b":path" => self.target = value,
            b":authority" => self.authority = value,
            b"authorization" => {
                self.authorization = match self.authorization {
                    Authorization::None => Authorization::One(value),
                    Authorization::One(_) | Authorization::Several => Authorization::Several,
                }
            }
            b"cookie" => self.cookies.extend(cookies::pairs(value)),
            b"accept" => self.accept = value,
            b"content-type" => self.content_type = value,
            b"sec-fetch-mode" => self.sec_fetch_mode = value,
            b"sec-fetch-site" => self.sec_fetch_site = value,
            b"x-requested-with" => self.requested_with = value,
            b"upgrade" => self.upgrade = value,
            b"connection" => self.connection = value,
            b"x-request-id" => self.request_id = value,
            // Of several none is believed: no configured origin is empty.
            b"origin" => self.origin = Some(if self.origin.is_none() { value } else { b"" }),
            b"access-control-request-method" => self.has_requested_method = true,
            _ => {}
        }
        if header::is_owned(name, owned_headers) {
            self.owned.insert(name);
        }
    }

    /// The names of all headers.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.pairs().map(|(name, _)| name)
    }

    /// All headers, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.block.pairs().into_iter().flatten().flatten()
    }

    /// The same, taken apart once for many look-ups.
    #[inline(never)]
    pub(crate) fn collected(&self) -> Vec<(&'a [u8], &'a [u8])> {
        let mut collected = Vec::new();
        for pair in self.block.pairs().into_iter().flatten() {
            let Ok(pair) = pair else { break };
            collected.push(pair);
        }
        collected
    }

    /// The path without query. Only this is ever matched against `skip_path_regex`.
    pub fn path(&self) -> &'a [u8] {
        self.target.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// `x-request-id`, if it is one: letters, digits and dashes. Else empty.
    pub fn request_id(&self) -> &'a str {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let id = self.request_id;
        core::str::from_utf8(id).ok().filter(|_| id.len() <= 64 && id.iter().all(is_plain)).unwrap_or("")
    }

    /// Whether there is an `Authorization` header, whatever is in it: RFC 9111 §3.5 asks no more.
    pub const fn has_authorization(&self) -> bool {
        match self.authorization {
            Authorization::None => false,
            Authorization::One(_) | Authorization::Several => true,
        }
    }

    /// Whether another site has caused the request (Fetch Metadata `Sec-Fetch-Site`): a link or a form with a user name and
    /// password in its URL, for example.
    pub fn is_cross_site(&self) -> bool {
        self.sec_fetch_site == b"cross-site"
    }

    /// Whether the body is a form (`application/x-www-form-urlencoded`), with parameters or without.
    pub fn is_form(&self) -> bool {
        let media_type = self.content_type.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }

    /// A gRPC call, by its content type.
    pub fn is_grpc(&self) -> bool {
        starts_with(self.content_type, b"application/grpc")
    }

    /// Whether the next hop is told to take headers away (RFC 9110 §7.6.1): `Connection: upgrade, x-authentik-username`.
    pub fn names_connection_options(&self) -> bool {
        !self.connection.is_empty() && !self.connection.eq_ignore_ascii_case(b"upgrade")
    }

    /// Fetch standard §3.2.2: a preflight is an `OPTIONS` with these two headers; it never has a credential.
    pub fn is_cors_preflight(&self) -> bool {
        self.method == b"OPTIONS" && self.origin.is_some() && self.has_requested_method
    }

    /// `Origin` (RFC 6454 §7); empty where there are several.
    pub const fn origin(&self) -> Option<&'a [u8]> {
        self.origin
    }

    /// Sent by a page's script or as a part of a page, as far as the request says so.
    pub fn is_script(&self) -> bool {
        let is_fetch = !self.sec_fetch_mode.is_empty() && self.sec_fetch_mode != b"navigate";
        is_fetch || self.requested_with.eq_ignore_ascii_case(b"XMLHttpRequest")
    }

    /// What a browser's address bar could have sent, or a client that says nothing of itself: it can follow a
    /// redirect to a login page.
    pub fn is_navigation(&self) -> bool {
        let is_get = matches!(self.method, b"GET" | b"HEAD");
        let is_websocket = self.upgrade.eq_ignore_ascii_case(b"websocket");
        let wants_json_only = self.accepts(b"json") && !self.accepts(b"text/html");
        is_get && !self.is_script() && !is_websocket && !self.is_grpc() && !wants_json_only
    }

    /// The kind of body that the client can read.
    pub fn body_kind(&self) -> BodyKind {
        if self.accepts(b"text/html") {
            BodyKind::Html
        } else if self.accepts(b"json") {
            BodyKind::Json
        } else {
            BodyKind::Text
        }
    }

    fn accepts(&self, what: &[u8]) -> bool {
        self.accept.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what))
    }
}

/// The kind of body that a client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`
    Json,
    /// `text/html`
    Html,
    /// `text/plain`
    Text,
}

fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests;
