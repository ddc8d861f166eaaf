//! Requests of a scene: many, bounded in number, and nothing is known of an answer but its status.
//!
//! Owns: the connections. Must not: be used to test anything.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

/// How long an answer may take. The filter's own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most requests at one time; those beyond are left out.
const MOST: usize = 256;

/// What was answered since the last look.
#[derive(Default)]
pub(crate) struct Answers {
    statuses: Mutex<BTreeMap<u16, usize>>,
    under_way: AtomicUsize,
}

impl Answers {
    /// Sends one request with this `Authorization` in a thread of its own.
    pub(crate) fn send<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        port: u16,
        authorization: String,
    ) {
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        thread::Builder::new()
            .spawn_scoped(scope, move || {
                // 0: Envoy closed the connection.
                let status = get(port, &authorization).unwrap_or(0);
                *self.statuses.lock().expect("no panic holds it").entry(status).or_default() += 1;
                self.under_way.fetch_sub(1, Ordering::Relaxed);
            })
            .expect("a thread");
    }

    /// `200 × 12, 503 × 3` since the last look.
    pub(crate) fn summary(&self) -> String {
        let statuses = std::mem::take(&mut *self.statuses.lock().expect("no panic holds it"));
        let words: Vec<_> = statuses.iter().map(|(status, count)| format!("{status} × {count}")).collect();
        if words.is_empty() { "no answer".to_owned() } else { words.join(", ") }
    }
}

/// The status of an answer to `GET /`.
fn get(port: u16, authorization: &str) -> Option<u16> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        connection,
        "GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: {authorization}\r\n\
         accept: application/json\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}
