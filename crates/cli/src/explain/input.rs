//! What `explain` is given: the request, the answers, the secrets.
//!
//! Owns: their forms. Must not: show a line of one of them in a message.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::Path;

use authentik_proxy_wasm::authn::authentik::call::Answer;
use authentik_proxy_wasm::base::secret::Secret;

/// Stands for a secret that nobody has said.
const UNKNOWN: &str = "a-secret-that-is-not-set-and-that-nobody-knows-0123456789abcdef";

/// Why nothing is explained.
pub(super) enum Problem {
    /// Exit code 1: of the configuration, one line each.
    Faults(Vec<String>),
    /// Exit code 2.
    CannotRun(String),
}

pub(super) fn cannot(option: &str, file: impl Display, what: impl Display) -> Problem {
    Problem::CannotRun(format!("{option}: {file}: {what}"))
}

pub(super) fn read(file: &Path, option: &str) -> Result<String, Problem> {
    fs::read_to_string(file).map_err(|error| cannot(option, file.display(), error))
}

/// A request as Envoy hands it over: pseudo headers first, names in lower case.
pub(super) struct Request {
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the head of a request (RFC 9112 §2.1). What comes after an empty line is its body, which the filter does not see.
pub(super) fn request(file: &Path) -> Result<Request, Problem> {
    let option = "--request";
    let bytes = fs::read(file).map_err(|error| cannot(option, file.display(), error))?;
    let at = |line: usize, what: &str| cannot(option, format!("{}:{line}", file.display()), what);
    let mut lines = head_lines(&bytes).enumerate().map(|(index, line)| (index.saturating_add(1), line));
    let (_, first) = lines.next().unwrap_or_default();
    let words: Vec<_> = first.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1" | b"HTTP/1.0"] = words[..] else {
        return Err(at(1, "must be a request line such as GET /path HTTP/1.1"));
    };
    if !is_token(method) {
        return Err(at(1, "the method must be a name such as GET"));
    }
    if target.first() != Some(&b'/') || !target.iter().all(|byte| byte.is_ascii_graphic()) {
        return Err(at(1, "the target must be a path that begins with / and has no blanks"));
    }
    let mut authority = None;
    let mut headers = Vec::new();
    for (number, line) in lines {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon
            .and_then(|colon| line.split_at_checked(colon))
            .filter(|(name, _)| is_token(name))
            .ok_or_else(|| at(number, "must be a header such as Name: value"))?;
        let value = value.get(1..).unwrap_or_default().trim_ascii().to_vec();
        if value.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(at(number, "has a control character that no header has"));
        }
        let name = name.to_ascii_lowercase();
        if name == b"host" {
            if authority.replace(value).is_some() {
                return Err(at(number, "is a second Host: Envoy refuses such a request"));
            }
        } else {
            headers.push((name, value));
        }
    }
    let authority = authority.ok_or_else(|| at(1, "has no Host: Envoy refuses such a request"))?;
    let pseudo = [(":authority", authority), (":path", target.to_vec()), (":method", method.to_vec())];
    let pseudo = pseudo.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value));
    Ok(Request { headers: pseudo.chain(headers).collect() })
}

/// The lines up to an empty one, whatever ends them.
fn head_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.take_while(|line| !line.is_empty())
}

/// RFC 9110 §5.6.2.
fn is_token(name: &[u8]) -> bool {
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_sign)
}

/// A response of authentik: a body, which has status 200, or all of it.
pub(super) fn answer(file: &Path) -> Result<Answer, Problem> {
    let option = "--answer, --keys";
    let bytes = fs::read(file).map_err(|error| cannot(option, file.display(), error))?;
    if !bytes.starts_with(b"HTTP/") {
        return Ok(Answer::Response { status: 200, retry_after: None, date: None, body: Secret::new(bytes) });
    }
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    let mut lines = head_lines(&bytes);
    let status = lines.next().map(text).unwrap_or_default();
    let status = status.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    let status = status.filter(|status| (200..=599).contains(status));
    let status = status.ok_or_else(|| cannot(option, file.display(), "has no status from 200 to 599"))?;
    let retry_after = lines.map(text).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse::<u64>().ok())?
    });
    let ends = [(&b"\r\n\r\n"[..], 4), (b"\n\n", 2)];
    let body = ends.iter().find_map(|(end, length)| {
        let start = bytes.windows(*length).position(|window| window == *end)?;
        bytes.get(start.saturating_add(*length)..)
    });
    Ok(Answer::Response {
        status,
        retry_after,
        date: None,
        body: Secret::new(body.unwrap_or_default().to_vec()),
    })
}

/// Where the configuration's secrets come from.
pub(super) struct Environment {
    file: BTreeMap<String, String>,
    missing: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// What the file has counts before the environment of this process.
    pub(super) fn read(secrets: Option<&Path>) -> Result<Self, Problem> {
        let mut file = BTreeMap::new();
        if let Some(path) = secrets {
            for (index, line) in read(path, "--secrets-file")?.lines().enumerate() {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let Some((name, value)) = line.split_once('=') else {
                    let place = format!("{}:{}", path.display(), index.saturating_add(1));
                    return Err(cannot("--secrets-file", place, "must be NAME=value"));
                };
                file.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(Self { file, missing: RefCell::default() })
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        let set = self.file.get(name).cloned().or_else(|| std::env::var(name).ok());
        Some(set.filter(|value| !value.is_empty()).unwrap_or_else(|| {
            self.missing.borrow_mut().insert(name.to_owned());
            UNKNOWN.to_owned()
        }))
    }

    /// The variables that were asked for and are not set.
    pub(super) fn missing(&self) -> Vec<String> {
        self.missing.borrow().iter().cloned().collect()
    }
}
