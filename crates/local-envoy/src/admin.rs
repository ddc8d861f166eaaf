//! HTTP as far as the interfaces of Envoy and Prometheus for operators need it: one request on a connection, and the whole
//! answer.
//!
//! Owns: the exchange. Must not: be used for requests that are tested.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request without a body to `host:port` and returns status and body of the answer.
///
/// # Errors
/// The connection fails, or the answer is not HTTP or is cut off.
pub fn ask(authority: &str, method: &str, target: &str) -> io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(authority)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(
        connection,
        "{method} {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let head = head.to_ascii_lowercase();
    let body = if head.contains("\r\ntransfer-encoding: chunked") { joined(body)? } else { body.to_owned() };
    Some((status, body))
}

/// The text of a chunked body; `None` if it is cut off.
fn joined(mut chunks: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(text);
        }
        text.push_str(rest.get(..size)?);
        chunks = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nLIVE\n";
        assert_eq!(parse(plain), Some((200, "LIVE\n".to_owned())));
        let chunked = "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na\r\nb\r\nb\r\n0123456789a\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Some((503, "a\r\nb0123456789a".to_owned())));
        for cut in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\na\r\n"] {
            assert_eq!(parse(cut), None, "{cut:?}");
        }
    }
}
