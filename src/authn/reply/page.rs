//! The few pages that a person sees.
//!
//! Owns: their words, looks, links and headers: self-contained HTML without scripts.
//! Must not: show anything of a request but its identifier, which is reduced to letters, digits and dashes, and its own path,
//! as a link; repeat a request of the login flow, whose code is good once; link to another origin.

use crate::authn::fault::Rejection;
use crate::authn::request::outpost;
use crate::authn::request::view::RequestView;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";

/// The one style sheet; [`HEADERS`] has its hash. Its colours have a contrast of 4.5 at least (WCAG 2.2, 1.4.3).
const STYLE: &str = "\
    :root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#57606a;--link:#0a53be}\
    @media(prefers-color-scheme:dark){:root{--back:#0f1216;--card:#1a1e24;--text:#e8eaed;--soft:#a3abb5;--link:#8ab8ff}}\
    body{margin:0;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif}\
    main{max-width:32rem;margin:12vh auto 1rem;padding:.5rem 1.5rem;background:var(--card);\
    border-radius:.5rem;overflow-wrap:anywhere}\
    h1{font-size:1.4rem;line-height:1.3}\
    a{color:var(--link);padding:.25rem 0}\
    a:focus-visible{outline:3px solid;outline-offset:3px}\
    small{color:var(--soft)}";

/// Headers of a reply with a page. Neither a script nor a form nor anything from elsewhere belongs to it, and no page may
/// frame it (CSP Level 3). Pages that it links to do not get its path (Referrer Policy).
pub(crate) const HEADERS: [(&str, &str); 2] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'sha256-P9IQlmm11b520T//rDpRcn8XD7DcCi68s1/3bAm5Eto='; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("referrer-policy", "no-referrer"),
];

/// Longest path with query that a page links to, in bytes.
const MAX_PATH_BYTES: usize = 2048;

/// Where a page leads.
#[derive(Debug, Default)]
pub(crate) struct Links<'a> {
    /// "Try again": the path asked for. `None`: a link cannot ask for the same, or must not.
    pub(crate) path: Option<&'a str>,
    /// Where the login leads to which the request belongs: "Try again" begins another.
    pub(crate) return_url: Option<&'a str>,
    /// Sessions are on, and so is the sign-out.
    pub(crate) has_sign_out: bool,
}

impl<'a> Links<'a> {
    /// Of a request, without sign-out.
    pub(crate) fn of(view: &RequestView<'a>) -> Self {
        Self { path: own_path(view), return_url: None, has_sign_out: false }
    }

    /// Where "Try again" leads, for an attribute: an absolute path of the request's own origin.
    fn retry_path(&self) -> Option<String> {
        let login = || self.return_url.map(|url| escaped(&outpost::start_path(url)));
        self.path.map(escaped).or_else(login)
    }
}

/// What a page says beside its status.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notice<'a> {
    /// Nothing.
    None,
    /// When the request may come again, in seconds.
    RetryAfter(u64),
    /// The name of the account that is signed in, if it has one.
    Account(Option<&'a str>),
}

impl<'a> Notice<'a> {
    /// Of a rejection.
    pub(crate) fn of(rejection: &'a Rejection) -> Self {
        if let Rejection::Throttled { retry_after: Some(seconds) } = rejection {
            Self::RetryAfter(*seconds)
        } else if let Rejection::Incomplete(incomplete) = rejection {
            Self::Account(incomplete.account.as_deref())
        } else {
            Self::None
        }
    }
}

/// The request's path with query, where a link to it asks for the same again and for nothing else: browsers read `//` and
/// `\` as the beginning of a host, and skip control characters.
fn own_path<'a>(view: &RequestView<'a>) -> Option<&'a str> {
    let target = core::str::from_utf8(view.target).ok()?;
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && byte != b'\\';
    let is_own = matches!(view.method, b"GET" | b"HEAD")
        && target.starts_with('/')
        && !target.starts_with("//")
        && target.len() <= MAX_PATH_BYTES
        && target.bytes().all(is_plain)
        && !outpost::is_outpost_path(view)
        && !outpost::has_parameter(view.target);
    is_own.then_some(target)
}

/// The page for a status.
pub(crate) fn render(
    status: u16,
    title: &str,
    request_id: &str,
    links: &Links<'_>,
    notice: Notice<'_>,
) -> String {
    let status_text = status.to_string();
    let text = match status {
        400 => {
            "The sign-in did not work. Go back to the application and try again; if this page comes again, your \
                browser may be refusing cookies."
        }
        401 => "You need to sign in, and this request could not be sent to the login page.",
        403 => {
            "You are signed in, but your account lacks what this application needs. Please tell its administrator."
        }
        404 => "There is nothing here.",
        429 => "Too many attempts. Please wait a minute.",
        _ => "Signing in is not possible at the moment.",
    };
    let retry_path = if matches!(status, 400 | 503) { links.retry_path() } else { None };
    let retry_after = match notice {
        Notice::RetryAfter(seconds) => seconds.to_string(),
        Notice::None | Notice::Account(_) => String::new(),
    };
    let mut html = String::with_capacity(2048);
    push(&mut html, &[HEAD, "<title>", title, "</title><style>", STYLE, "</style>"]);
    let repeats = retry_path.as_ref().filter(|_| !retry_after.is_empty());
    if let Some(path) = repeats {
        push(&mut html, &["<meta http-equiv=\"refresh\" content=\"", &retry_after, ";url=", path, "\">"]);
    }
    push(&mut html, &["</head><body><main><h1>", &status_text, " ", title, "</h1><p>", text]);
    if repeats.is_some() {
        let unit = if retry_after == "1" { " second." } else { " seconds." };
        push(&mut html, &[" This page tries again by itself after ", &retry_after, unit]);
    } else if status == 503 {
        push(&mut html, &[" Please try again in a few seconds."]);
    }
    if let Some(path) = &retry_path {
        push(&mut html, &["</p><p><a href=\"", path, "\">Try again</a>"]);
    }
    if let (Notice::Account(account), true) = (notice, links.has_sign_out) {
        push(&mut html, &["</p><p>"]);
        if let Some(account) = account {
            // The name may be written from right to left.
            push(&mut html, &["Signed in as <bdi>", &escaped(account), "</bdi> · "]);
        }
        push(&mut html, &["<a href=\"", outpost::PATH, "/sign_out\">Use another account</a>"]);
    }
    if !request_id.is_empty() {
        push(&mut html, &["</p><p><small>Reference number: <code>", request_id, "</code></small>"]);
    }
    push(&mut html, &["</p></main></body></html>\n"]);
    html
}

/// Not inlined: a copy at each call is a kilobyte of the module.
#[inline(never)]
fn push(html: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| html.push_str(part));
}

/// Text as the content of an element, or of an attribute in double quotes.
#[inline(never)]
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests;
