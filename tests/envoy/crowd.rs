//! Many requests that are on their way at one time: over HTTP/1.1 with a connection for each, over HTTP/2 in one burst
//! over a few connections. Reads every answer and makes sure that there is exactly one for each request. Judges nothing.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::http2;
use super::wire::Answer;

/// Longer than Envoy's own timeouts: a request that waits longer is lost.
const PATIENCE: Duration = Duration::from_secs(90);
/// Requests on one HTTP/2 connection.
const STREAMS: usize = 250;
/// Room for all answers of one connection, in bytes: none of them waits for another to be read.
const WINDOW: u32 = 16 << 20;

/// What this process may open, if it may have so many: several tests run at one time.
const OPEN_FILES: u64 = 65_536;

/// How a crowd comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A GET, unsent.
#[derive(Clone)]
pub(super) struct Get {
    pub(super) host: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

/// Requests that were sent.
pub(super) struct Crowd {
    runtime: Runtime,
    answers: Vec<JoinHandle<Result<Answer, String>>>,
}

impl Crowd {
    /// Sends them all at once. Whether they have arrived is Envoy's to say.
    pub(super) fn send(port: u16, protocol: Protocol, requests: Vec<Get>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let answers = match protocol {
            Protocol::Http1 => {
                make_room_for_connections(requests.len());
                requests.into_iter().map(|request| runtime.spawn(over_http1(port, request))).collect()
            }
            Protocol::Http2 => runtime.block_on(over_http2(port, requests)),
        };
        Self { runtime, answers }
    }

    /// The answers, in the order of the requests. An error is a request that was not answered exactly once.
    pub(super) fn answers(self) -> Vec<Result<Answer, String>> {
        let Self { runtime, answers } = self;
        let all = runtime.block_on(async { timeout(PATIENCE, join_all(answers)).await });
        let all = all.unwrap_or_else(|_| panic!("not all were answered within {PATIENCE:?}"));
        all.into_iter().map(|answer| answer.expect("a client does not panic")).collect()
    }
}

/// Both ends of every connection to Envoy, to the application and to authentik may be in this process.
fn make_room_for_connections(count: usize) {
    let needed = 4 * count as u64 + 1_000;
    let limit = rlimit::increase_nofile_limit(OPEN_FILES).expect("the limit of open files can be read");
    assert!(limit >= needed, "{needed} open files are needed and {limit} allowed: raise `ulimit -Hn`");
}

async fn over_http1(port: u16, request: Get) -> Result<Answer, String> {
    let Get { host, target, headers } = request;
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n");
    let bytes = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        io::Result::Ok(bytes)
    };
    Answer::only(&bytes.await.map_err(|error| error.to_string())?)
}

/// A stream has one answer, or the connection is in error.
async fn over_http2(port: u16, requests: Vec<Get>) -> Vec<JoinHandle<Result<Answer, String>>> {
    let mut answers = Vec::new();
    for share in requests.chunks(STREAMS) {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("Envoy accepts connections");
        let handshake =
            h2::client::Builder::new().initial_connection_window_size(WINDOW).handshake::<_, Bytes>(stream);
        let (mut client, connection) = handshake.await.expect("Envoy speaks HTTP/2");
        tokio::spawn(connection);
        for Get { host, target, headers } in share {
            let mut request = http::Request::get(format!("http://{host}{target}"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            client = client.ready().await.expect("a connection");
            let sent = client.send_request(request.body(()).expect("a request"), true);
            let (response, _) = sent.expect("the request is sent");
            answers.push(tokio::spawn(async { http2::answer(response).await.map_err(|it| it.to_string()) }));
        }
    }
    answers
}
