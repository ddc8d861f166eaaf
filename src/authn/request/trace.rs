//! The trace context of a request, which its calls to authentik carry on.
//!
//! Owns: which headers that are, and what of a client's may be in a call. Must not: make a span of its own.

use crate::authn::request::view::RequestView;
use crate::base::header::HeaderValue;

/// W3C Trace Context, B3 in its single form, and Envoy's name for the request.
const NAMES: [&str; 4] = ["traceparent", "tracestate", "b3", "x-request-id"];
/// Longest value that is carried on, in bytes: what W3C Trace Context §3.3.1.5 asks for `tracestate`.
const MAX_BYTES: usize = 512;

/// The headers of it that the request has. A value that is no plain ASCII is none: a call with it could not be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct TraceContext(Vec<(&'static str, HeaderValue)>);

impl TraceContext {
    /// The first of each name.
    pub(crate) fn of(view: &RequestView<'_>) -> Self {
        let mut headers: Vec<(&'static str, HeaderValue)> = Vec::new();
        for (name, value) in view.pairs() {
            let Some(known) = NAMES.into_iter().find(|known| known.as_bytes() == name) else { continue };
            let is_plain = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
            let is_first = headers.iter().all(|(other, _)| *other != known);
            if is_plain && is_first && (1..=MAX_BYTES).contains(&value.len()) {
                headers.push((known, HeaderValue::cleaned(value)));
            }
        }
        Self(headers)
    }

    pub(crate) fn headers(&self) -> &[(&'static str, HeaderValue)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::request::view::HeaderBlock;

    #[test]
    fn only_plain_values_of_known_names_are_carried_on() {
        let long = "x".repeat(513);
        let pairs: [(&[u8], &[u8]); 9] = [
            (b":method", b"GET"),
            (b":path", b"/"),
            (b":authority", b"app.example.test"),
            (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (b"traceparent", b"00-ffffffffffffffffffffffffffffffff-b7ad6b7169203331-01"),
            (b"tracestate", long.as_bytes()),
            (b"b3", b"caf\xe9"),
            (b"x-request-id", b"5f0c3c2a"),
            (b"x-other", b"1"),
        ];
        let block = HeaderBlock::from_pairs(pairs);
        let view = RequestView::read(&block, &[]).unwrap();
        let context = TraceContext::of(&view);
        let headers: Vec<_> =
            context.headers().iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        assert_eq!(headers, [("traceparent", pairs[3].1), ("x-request-id", &b"5f0c3c2a"[..])]);
    }
}
