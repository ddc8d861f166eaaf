//! The ways in which authentik, or the network before it, fails to answer. A fault takes the place of an answer
//! that the endpoints would give; which calls it meets is decided in `authentik.rs`. An authentik that refuses
//! connects is not a fault but `down`.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use tokio::sync::Semaphore;

use super::answers::{dressed, html, server_error_on_post, with};
use loopback::Cut;

/// What happens to a call instead of an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The answer comes, this much later.
    Delay(Duration),
    /// The answer comes once the gate is open.
    Held(Gate),
    /// This happens once the gate is open.
    HeldThen(Gate, Box<Self>),
    /// The request is read and never answered.
    Hang,
    /// The connection closes without an answer.
    Reset,
    /// The connection closes in the middle of the answer's body.
    ResetMidBody,
    /// This status, with these headers and this body.
    Status(u16, Vec<(String, String)>, String),
    /// The 405 that a server error on a POST becomes.
    ServerError405,
    /// A page of HTML with this status, as the front server sends it.
    Html(u16),
    /// 200 that says it is JSON and is not.
    Garbage,
    /// 200 with JSON of at least so many bytes.
    Huge(usize),
    /// 200 without a body.
    EmptyBody,
}

/// Closed until a test opens it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A gate that holds whoever comes.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// For everything that waits or will come.
    pub fn open(&self) {
        self.0.add_permits(1);
    }

    /// Whoever passes hands the one permit on.
    async fn passed(&self) {
        let _permit = self.0.acquire().await;
    }
}

impl Fault {
    /// The answer in place of authentik's own; `None` when that one still comes.
    pub(super) async fn answer(self, cut: &Cut) -> Option<Response> {
        match self {
            Self::Delay(time) => {
                tokio::time::sleep(time).await;
                None
            }
            Self::Held(gate) => {
                gate.passed().await;
                None
            }
            Self::HeldThen(gate, then) => {
                gate.passed().await;
                Box::pin(then.answer(cut)).await
            }
            Self::Hang => std::future::pending().await,
            Self::Reset => {
                cut.now();
                Some(html(200))
            }
            Self::ResetMidBody => {
                cut.after(2_000);
                Some(huge(64 << 10))
            }
            Self::Status(status, headers, body) => {
                let answer = dressed(status, "application/json", body);
                Some(headers.iter().fold(answer, |answer, (name, value)| with(answer, name, value)))
            }
            Self::ServerError405 => Some(server_error_on_post()),
            Self::Html(status) => Some(html(status)),
            Self::Garbage => {
                Some(dressed(200, "application/json", "{\"access_token\": \u{fffd}<html>".to_owned()))
            }
            Self::Huge(bytes) => Some(huge(bytes)),
            Self::EmptyBody => Some(dressed(200, "application/json", String::new())),
        }
    }
}

fn huge(bytes: usize) -> Response {
    let padding = "a".repeat(bytes);
    let body = format!(r#"{{"active": true, "keys": [], "access_token": "{padding}"}}"#);
    dressed(200, "application/json", body)
}
