//! One exchange over HTTP/2 on a connection of its own: a head, a body, trailers; what no higher client sends. Judges
//! nothing.

use h2::client::{ResponseFuture, handshake};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use super::wire::Answer;

/// A request, unsent.
pub(super) struct Exchange {
    port: u16,
    host: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    trailers: Vec<(&'static str, String)>,
}

impl Exchange {
    pub(super) fn post(port: u16, path: &str) -> Self {
        let host = format!("127.0.0.1:{port}");
        Self {
            port,
            host,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(super) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub(super) fn trailer(mut self, name: &'static str, value: &str) -> Self {
        self.trailers.push((name, value.to_owned()));
        self
    }

    /// Sends it all and reads the answer.
    pub(super) fn send(self) -> Answer {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.exchange()).expect("an answer over HTTP/2")
    }

    async fn exchange(self) -> Result<Answer, h2::Error> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("Envoy accepts connections");
        let (client, connection) = handshake(stream).await?;
        tokio::spawn(connection);
        let uri = format!("http://{}{}", self.host, self.path);
        let mut request = http::Request::post(uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(()).expect("a request");
        let (response, mut sending) = client.ready().await?.send_request(request, false)?;
        // An answer may come before the body was taken: then Envoy resets what is left of it.
        let _ = sending.send_data(self.body.into(), self.trailers.is_empty());
        if !self.trailers.is_empty() {
            let trailers = self.trailers.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), value.parse().expect("a header value"))
            });
            let _ = sending.send_trailers(trailers.collect());
        }
        answer(response).await
    }
}

/// All of an answer.
pub(super) async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        bytes.extend_from_slice(&chunk);
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Ok(Answer::new(head.status.as_u16(), headers.collect(), &bytes))
}
