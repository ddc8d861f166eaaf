//! The application behind the filter: it answers every request with JSON that shows the request as it
//! arrived, so that a test reads the forwarded headers in the response, duplicates included:
//! `{"method", "path", "headers": [[name, value], …], "body_bytes", "trailers": [[name, value], …]}`. It
//! remembers what it showed. The request chooses the answer where a test needs one: `/status/404` the status,
//! `?set-cookie=…` and the like the response headers. `/events` shows the request as the first of server-sent
//! events and goes on for ever; `/socket` as the first message of a WebSocket, and then sends back what it gets (both with the
//! feature `streams`).

#[cfg(feature = "streams")]
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
#[cfg(feature = "streams")]
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
#[cfg(feature = "streams")]
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
#[cfg(feature = "streams")]
use axum::routing::any;
#[cfg(feature = "streams")]
use futures_util::stream::{StreamExt as _, once, pending};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::server::Server;

/// The response headers that a request may choose by its query.
const CHOSEN: [&str; 6] =
    ["cache-control", "content-type", "location", "set-cookie", "vary", "www-authenticate"];

type Shown = Arc<Mutex<Vec<Value>>>;

/// The running application; it stops when dropped.
pub struct App {
    shown: Shown,
    server: Server,
}

impl App {
    /// Starts it on any free port.
    pub fn start() -> Self {
        Self::start_on(0).expect("a free port on loopback")
    }

    /// Starts it on this port.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start_on(port: u16) -> std::io::Result<Self> {
        let shown = Shown::default();
        let router = Router::new();
        #[cfg(feature = "streams")]
        let router = router.route("/events", any(events)).route("/socket", any(socket));
        let router = router.fallback(show).with_state(shown.clone());
        Ok(Self { shown, server: Server::start(router, port)? })
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.server.authority()
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// How many requests reached the application.
    pub fn count(&self) -> usize {
        self.shown.lock().unwrap().len()
    }

    /// Hands over every request that reached the application since the last time, and forgets them.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.shown.lock().unwrap())
    }

    /// Every request that reached the application, as it was shown.
    pub fn requests(&self) -> Vec<Value> {
        self.shown.lock().unwrap().clone()
    }
}

/// Takes in the whole request and remembers it.
async fn see(shown: Shown, request: Request) -> Value {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.ok();
    let trailers = body.as_ref().and_then(|body| body.trailers().cloned()).unwrap_or_default();
    let seen = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.to_string(),
        "headers": pairs(&parts.headers),
        "body_bytes": body.map_or(0, |body| body.to_bytes().len()),
        "trailers": pairs(&trailers),
    });
    shown.lock().unwrap().push(seen.clone());
    seen
}

fn pairs(headers: &HeaderMap) -> Vec<(&str, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

#[cfg(feature = "streams")]
async fn events(State(shown): State<Shown>, request: Request) -> Response {
    let first = Event::default().data(see(shown, request).await.to_string());
    Sse::new(once(async { Ok::<_, Infallible>(first) }).chain(pending())).into_response()
}

#[cfg(feature = "streams")]
async fn socket(upgrade: WebSocketUpgrade, State(shown): State<Shown>, request: Request) -> Response {
    let first = see(shown, request).await.to_string();
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        let mut message = Message::from(first);
        while socket.send(message).await.is_ok() {
            let Some(Ok(next)) = socket.recv().await else { return };
            message = next;
        }
    })
}

async fn show(State(shown): State<Shown>, request: Request) -> Response {
    let uri = request.uri().clone();
    let seen = see(shown, request).await;
    let json = HeaderValue::from_static("application/json");
    let mut response = ([(CONTENT_TYPE, json)], seen.to_string()).into_response();
    *response.status_mut() = status(uri.path());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if let (Some(name), Ok(value)) =
            (CHOSEN.into_iter().find(|it| *it == name), HeaderValue::from_str(&value))
        {
            let name = HeaderName::from_static(name);
            if name == "content-type" {
                response.headers_mut().remove(&name);
            }
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn status(path: &str) -> StatusCode {
    path.strip_prefix("/status/")
        .and_then(|code| code.parse().ok())
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::OK)
}

/// The values of a header in what the application showed, in their order.
pub fn header_values(shown: &Value, name: &str) -> Vec<String> {
    shown["headers"]
        .as_array()
        .expect("the application shows its headers")
        .iter()
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str().expect("a header value").to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{App, header_values};
    use crate::client::client;

    #[test]
    fn shows_the_request_as_it_arrived() {
        let app = App::start();
        let url = format!("http://{}/a/b?c=%2F", app.authority());
        let request = client().post(url).header("X-Twice", "1").header("X-Twice", "2").body("four");
        let shown: serde_json::Value = request.header("X-Odd", &b"\xff"[..]).send().unwrap().json().unwrap();
        assert_eq!(
            (&shown["method"], &shown["path"], &shown["body_bytes"]),
            (&json!("POST"), &json!("/a/b?c=%2F"), &json!(4))
        );
        assert_eq!(header_values(&shown, "x-twice"), ["1", "2"]);
        assert_eq!(header_values(&shown, "x-odd"), ["\u{fffd}"]);
        assert_eq!((app.count(), app.requests()), (1, vec![shown]));
    }

    #[test]
    fn answers_as_the_request_chooses() {
        let app = App::start();
        let url = format!(
            "http://{}/status/404?set-cookie=a%3D1&set-cookie=b&cache-control=public",
            app.authority()
        );
        let answer = client().get(url).send().unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b"]);
        assert_eq!(answer.headers()["cache-control"], "public");
    }
}
