//! Requests written to a socket byte by byte: any header name, value and path, each on a connection of its own, so that
//! requests spread over Envoy's workers. Judges nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Longer than Envoy's own timeouts: whoever waits so long hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// The value of `Authorization` for user name and password.
pub(super) fn basic(username: &str, password: &str) -> String {
    encoded(format!("{username}:{password}"))
}

/// `Basic` with whatever is to be in there.
pub(super) fn encoded(content: impl AsRef<[u8]>) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(content))
}

/// The value of `Authorization` for a token.
pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A request, unsent.
pub(super) struct Request {
    port: u16,
    host: String,
    start: Vec<u8>,
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(port: u16, method: &str, target: impl AsRef<[u8]>) -> Self {
        let start = [method.as_bytes(), b" ", target.as_ref(), b" HTTP/1.1\r\n"].concat();
        let host = format!("127.0.0.1:{port}");
        Self { port, host, start, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.extend([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    pub(super) fn headers<'a>(self, pairs: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Self {
        pairs.into_iter().fold(self, |request, (name, value)| request.header(name, value))
    }

    pub(super) fn authorization(self, value: impl AsRef<[u8]>) -> Self {
        self.header("authorization", value)
    }

    /// With `Content-Length`.
    pub(super) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        let length = self.body.len().to_string();
        self.header("content-length", length)
    }

    /// With `Transfer-Encoding: chunked`, a chunk for each part.
    pub(super) fn chunks(mut self, parts: &[&[u8]]) -> Self {
        for part in parts {
            self.body.extend([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        self.body.extend(b"0\r\n\r\n");
        self.header("transfer-encoding", "chunked")
    }

    /// Sends it all and reads the answer.
    pub(super) fn send(self) -> Answer {
        let body = self.body.clone();
        let mut stream = self.open();
        // The answer may come before the body was taken: both ways at once.
        let mut sending = stream.try_clone().expect("a second handle");
        let writer = thread::spawn(move || {
            // Envoy may have answered and closed.
            let _ = sending.write_all(&body);
        });
        let answer = Answer::read(&mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Both);
        writer.join().expect("the writer does not panic");
        answer
    }

    /// Sends all but the body and keeps the connection.
    pub(super) fn open(self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("Envoy accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let host = format!("host: {}\r\nconnection: close\r\n", self.host);
        let head = [&self.start, host.as_bytes(), &self.headers, b"\r\n"].concat();
        // Envoy may refuse a head before it is whole.
        let _ = stream.write_all(&head);
        stream
    }
}

/// A connection that is kept for any number of requests; all of them meet the same worker.
pub(super) struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub(super) fn open(port: u16) -> Self {
        Self::of(TcpStream::connect(("127.0.0.1", port)).expect("Envoy accepts connections"))
    }

    pub(super) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a connection");
        Self { stream }
    }

    pub(super) fn get_as(&mut self, authorization: &str) -> Answer {
        self.get_at("127.0.0.1", authorization)
    }

    /// For this host. One at a time: Envoy takes no pipeline of requests that it answers itself.
    pub(super) fn get_at(&mut self, host: &str, authorization: &str) -> Answer {
        self.get_with(host, &[("authorization", authorization)])
    }

    /// For this host, with these headers.
    pub(super) fn get_with(&mut self, host: &str, headers: &[(&str, &str)]) -> Answer {
        self.get_target(host, "/", headers)
    }

    /// The same for another target than `/`.
    pub(super) fn get_target(&mut self, host: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(&format!("GET {target}"), host, headers, "")
    }

    /// `start`: method and target. A body has its `content-length`.
    pub(super) fn send(&mut self, start: &str, host: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if !body.is_empty() {
            lines.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let message = format!("{start} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n{body}");
        self.stream.write_all(message.as_bytes()).expect("Envoy takes requests");
        Answer::read(&mut self.stream)
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn new(status: u16, headers: Vec<(String, String)>, body: &[u8]) -> Self {
        Self { status, headers, body: String::from_utf8_lossy(body).into_owned() }
    }

    /// Everything that came on a connection until its end: one answer and nothing else.
    pub(super) fn only(bytes: &[u8]) -> Result<Self, String> {
        match Self::parse(bytes) {
            Some((answer, length)) if length == bytes.len() => Ok(answer),
            Some((answer, _)) => Err(format!("more than one answer, the first is {answer:?}")),
            None => Err(format!("no whole answer in {} bytes", bytes.len())),
        }
    }

    /// Reads one answer, an interim one (`100`) included.
    pub(super) fn read(stream: &mut TcpStream) -> Self {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            if let Some((answer, _)) = Self::parse(&bytes) {
                return answer;
            }
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
                end => panic!("no whole answer, {end:?} after: {}", String::from_utf8_lossy(&bytes)),
            }
        }
    }

    /// With its length in bytes; `None` until all of it is there.
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let body = &bytes[end + 4..];
        let (status, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status: u16 = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let headers: Vec<_> = rest
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        answer.body = String::from_utf8_lossy(body.get(..length)?).into_owned();
        Some((answer, end + 4 + length))
    }

    /// All header lines, in their order.
    pub(super) fn lines(&self) -> &[(String, String)] {
        &self.headers
    }

    /// All values of a header.
    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body of JSON")
    }
}
