//! The words of `explain`.
//!
//! Owns: what is shown of a decision, and what only by its length. Must not: show a token, a credential, a cookie, the seal, or what
//! comes from a user's attributes.

use authentik_proxy_wasm::authn::edits::Forward;
use authentik_proxy_wasm::authn::policy::{Action, Authorization, Path, Presented, Row, Session, Verdict};
use authentik_proxy_wasm::authn::reply::{Decision, Reply};
use authentik_proxy_wasm::authn::report::Report;
use authentik_proxy_wasm::base::header::HeaderValue;

use super::worker::{Asked, Came, End};

/// Lines of a name and a text.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn add(&mut self, name: &str, text: impl AsRef<str>) {
        // Of what a client or authentik wrote.
        let text: String = text.as_ref().chars().filter(|sign| !sign.is_control()).collect();
        self.0.push_str(&format!("{name:<10} {text}\n"));
    }

    pub(super) fn call(&mut self, call: &Asked) {
        let Asked { method, url, is_for_keys, form, is_answered } = call;
        let form = if form.is_empty() { String::new() } else { format!(" ({})", form.join(", ")) };
        let answer = match (is_answered, is_for_keys) {
            (true, true) => "answered with --keys",
            (true, false) => "answered with --answer",
            (false, true) => "not answered: give the answer with --keys",
            (false, false) => "not answered: give the answer with --answer",
        };
        self.add("call", format!("{method} {url}{form}: {answer}"));
    }

    pub(super) fn decision(&mut self, came: &Came, providers: &[String]) {
        match &came.end {
            End::Decided(decision) => {
                self.report(decision.report(), providers);
                match decision {
                    Decision::Forward(forward) => self.forward(forward),
                    Decision::Reply(reply) => self.reply(reply),
                }
            }
            End::Waits(None) => {
                self.add("decision", "waits for authentik's word on the session or the login");
            }
            End::Waits(Some(row)) => {
                self.add("row", row_text(*row));
                self.add("action", action_text(row.action()));
                self.add("decision", "waits for authentik; then, by its verdict:");
                for verdict in [
                    Verdict::Vouched,
                    Verdict::Refused,
                    Verdict::Incomplete,
                    Verdict::RateLimited,
                    Verdict::Unavailable,
                ] {
                    let action = action_text(Row { verdict, ..*row }.action());
                    self.add("", format!("{}: {action}", verdict_text(verdict)));
                }
            }
        }
    }

    fn report(&mut self, report: &Report, providers: &[String]) {
        let provider = report.provider.and_then(|id| providers.get(id)).map_or("none", String::as_str);
        self.add("provider", provider);
        match report.row {
            Some(row) => {
                self.add("row", row_text(row));
                self.add("action", action_text(row.action()));
            }
            None => self.add("row", "none: the request is answered before the decision table is read"),
        }
        self.add("outcome", report.reason.outcome().as_str());
        self.add("reason", report.reason.as_str());
        self.add("source", report.source.as_str());
    }

    fn forward(&mut self, forward: &Forward) {
        self.add("decision", "forward");
        for name in &forward.remove {
            self.add("removed", String::from_utf8_lossy(name));
        }
        for (name, value) in &forward.replace {
            let is_shown = name != "cookie";
            self.set(name, value, is_shown);
        }
        if let Some(identity) = &forward.identity {
            for (name, value) in identity.overriding_headers() {
                self.set(name, value, false);
            }
            for (name, value) in identity.identity_headers() {
                self.set(name, value, name != "x-authentik-jwt");
            }
        }
        if let Some((name, value)) = forward.seal() {
            self.set(name, value, false);
        }
        for cookie in &forward.set_cookies {
            self.add("response", format!("set-cookie: {}", cookie_text(cookie)));
        }
    }

    fn set(&mut self, name: &str, value: &HeaderValue, is_shown: bool) {
        let value = if is_shown { shown(value) } else { length(value) };
        self.add("set", format!("{name}: {value}"));
    }

    fn reply(&mut self, reply: &Reply) {
        let grpc = reply.grpc_status.map(|status| format!(", grpc-status {status}")).unwrap_or_default();
        self.add("decision", format!("reply {}{grpc}", reply.status));
        self.add("log", reply.log_line());
        for (name, value) in &reply.headers {
            let value = match *name {
                "set-cookie" => cookie_text(value),
                "location" => url_text(value),
                _ => shown(value),
            };
            self.add("header", format!("{name}: {value}"));
        }
        self.add("body", format!("[{} bytes]", reply.body.len()));
    }
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn length(value: &HeaderValue) -> String {
    format!("[{} bytes]", value.as_bytes().len())
}

/// Name and attributes; the value by its length.
fn cookie_text(cookie: &HeaderValue) -> String {
    let text = shown(cookie);
    let (pair, attributes) = text.split_once(';').unwrap_or((&text, ""));
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    format!("{name}=[{} bytes];{attributes}", value.len())
}

/// A URL without the values of its query, which are of one login.
fn url_text(url: &HeaderValue) -> String {
    let text = shown(url);
    let Some((start, query)) = text.split_once('?') else { return text };
    let names: Vec<_> = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).collect();
    format!("{start}?[{}]", names.join(", "))
}

fn row_text(row: Row) -> String {
    let Row { path, presented, session, verdict, intercepts } = row;
    let path = match path {
        Path::Protected => "path needs authentication",
        Path::Open => "open path (skip_path_regex)",
        Path::Preflight => "CORS preflight (allow_cors_preflight)",
    };
    let presented = match presented {
        Presented::Absent => "no credential",
        Presented::Malformed => "malformed credential",
        Presented::Credential => "credential",
    };
    let session = match session {
        Session::None => "no session",
        Session::OfLogin => "session of a login",
        Session::OfThisCredential => "session of this credential",
        Session::OfAnotherCredential => "session of another credential",
        Session::OfThisCredentialUnconfirmed => "session of this credential, unconfirmed",
    };
    let intercepts = if intercepts { "on" } else { "off" };
    format!(
        "{path}; {presented}; {session}; verdict: {}; intercept_header_auth {intercepts}",
        verdict_text(verdict)
    )
}

const fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unknown => "unknown",
        Verdict::Vouched => "authentik vouches for its user",
        Verdict::Refused => "refused",
        Verdict::Incomplete => "authentik vouches for somebody without a name",
        Verdict::RateLimited => "rate limited",
        Verdict::Unavailable => "authentik cannot say",
    }
}

fn action_text(action: Action) -> String {
    let of = |authorization| match authorization {
        Authorization::Removed => "Authorization removed",
        Authorization::Untouched => "Authorization as it is, unless it is a token of this authentik",
    };
    match action {
        Action::Ask => "ask authentik".to_owned(),
        Action::AsCredential { session: true } => {
            "forward as the user of the credential, Authorization removed, with a session cookie if it may have one"
                .to_owned()
        }
        Action::AsCredential { session: false } => {
            "forward as the user of the credential, Authorization removed".to_owned()
        }
        Action::AsSession { authorization } => {
            format!("forward as the user of the session, {}", of(authorization))
        }
        Action::Anonymous { authorization } => format!("forward without identity, {}", of(authorization)),
        Action::Login => "to the login, or 401 for what cannot show it".to_owned(),
        Action::Reject => "answer 401, 403 or 429".to_owned(),
        Action::Unavailable => "answer 503".to_owned(),
    }
}
