//! The application behind the filter: it answers every request with JSON that shows the request as it
//! arrived, so that a test reads the forwarded headers in the response, duplicates included:
//! `{"method", "path", "headers": [[name, value], …], "body_bytes"}`. It remembers what it showed.
//! The request chooses the answer where a test needs one: `/status/404` the status, `?set-cookie=…` and the
//! like the response headers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::server::Server;

/// The response headers that a request may choose by its query.
const CHOSEN: [&str; 6] =
    ["cache-control", "content-type", "location", "set-cookie", "vary", "www-authenticate"];

const LARGEST_BODY: usize = 64 << 20;

type Shown = Arc<Mutex<Vec<Value>>>;

/// The running application; it stops when dropped.
pub(crate) struct App {
    shown: Shown,
    server: Server,
}

impl App {
    pub(crate) fn start() -> Self {
        Self::start_on(0).expect("a free port on loopback")
    }

    pub(crate) fn start_on(port: u16) -> std::io::Result<Self> {
        let shown = Shown::default();
        let router = Router::new().fallback(show).with_state(shown.clone());
        Ok(Self { shown, server: Server::start(router, port)? })
    }

    /// `127.0.0.1:port`.
    pub(crate) fn authority(&self) -> String {
        self.server.authority()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// How many requests reached the application.
    pub(crate) fn count(&self) -> usize {
        self.shown.lock().unwrap().len()
    }

    /// Hands over every request that reached the application since the last time, and forgets them.
    pub(crate) fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.shown.lock().unwrap())
    }

    /// Every request that reached the application, as it was shown.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.shown.lock().unwrap().clone()
    }
}

async fn show(State(shown): State<Shown>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body_bytes = to_bytes(body, LARGEST_BODY).await.map_or(0, |bytes| bytes.len());
    let headers: Vec<(&str, _)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let seen = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.to_string(),
        "headers": headers,
        "body_bytes": body_bytes,
    });
    shown.lock().unwrap().push(seen.clone());

    let mut response = axum::Json(seen).into_response();
    *response.status_mut() = status(parts.uri.path());
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
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
pub(crate) fn header_values(shown: &Value, name: &str) -> Vec<String> {
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
    use crate::support::client::client;

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
