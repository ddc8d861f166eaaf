//! Draws requests: credential × session × host × path × marks of a navigation × planted cookies × forged headers and
//! trailers.
//!
//! Owns: what each part is by the contract, beside its bytes.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::authentik::Authentik;
use super::credentials::{Authorization, Subject, pick};
use super::sessions::{Cookie, Jar};
use super::site::{HOSTS, Host, PATHS, Place, ProviderId, SEAL_VALUE, Site};

/// How a request looks, and what that means.
#[derive(Debug)]
pub(super) struct Marks {
    method: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// It can follow a redirect to a login page.
    pub(super) is_navigation: bool,
    pub(super) is_preflight: bool,
    /// Another site has caused it: no new session.
    pub(super) is_cross_site: bool,
}

const fn marks(
    method: &'static str,
    headers: &'static [(&'static str, &'static str)],
    is_navigation: bool,
) -> Marks {
    Marks { method, headers, is_navigation, is_preflight: false, is_cross_site: false }
}

const ALL_MARKS: &[Marks] = &[
    marks("GET", &[], true),
    marks("HEAD", &[("accept", "*/*")], true),
    marks("GET", &[("accept", "text/html,application/json;q=0.5"), ("sec-fetch-mode", "navigate")], true),
    Marks {
        is_cross_site: true,
        ..marks("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")], true)
    },
    marks("GET", &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")], false),
    marks("GET", &[("x-requested-with", "XMLHttpRequest")], false),
    marks("GET", &[("accept", "application/json")], false),
    marks("POST", &[], false),
    marks("DELETE", &[], false),
    marks("GET", &[("upgrade", "websocket"), ("connection", "Upgrade")], false),
    marks("GET", &[("upgrade", "websocket"), ("connection", "Upgrade, x-authentik-username")], false),
    marks("POST", &[("content-type", "application/grpc"), ("te", "trailers")], false),
    Marks {
        is_preflight: true,
        ..marks(
            "OPTIONS",
            &[("origin", "https://elsewhere.test"), ("access-control-request-method", "PUT")],
            false,
        )
    },
    marks("OPTIONS", &[], false),
];

/// What the application answers, and whether a cookie may be added for a request with `Authorization`, and for one without.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) may_set_with: bool,
    pub(super) may_set_without: bool,
}

const RESPONSES: &[Response] = &[
    Response { headers: &[(":status", "200")], may_set_with: true, may_set_without: false },
    Response {
        headers: &[(":status", "200"), ("cache-control", "private, max-age=5"), ("set-cookie", "theme=dark")],
        may_set_with: true,
        may_set_without: true,
    },
    Response {
        headers: &[(":status", "200"), ("cache-control", "no-store")],
        may_set_with: true,
        may_set_without: true,
    },
    Response {
        headers: &[(":status", "200"), ("cache-control", "public, max-age=60")],
        may_set_with: false,
        may_set_without: false,
    },
];

/// Headers that only the filter may set, in odd spellings, and some that are the client's own.
const FORGED: [(&str, &str); 14] = [
    ("x-authentik-username", "admin"),
    ("X-Authentik-Username", "admin"),
    ("x_authentik_username", "admin"),
    ("x-authentik_groups", "admins"),
    ("x.authentik.uid", "0"),
    ("x-authentik-jwt", "e30.e30.e30"),
    ("x-authentik-anything", "1"),
    ("x-authentik-seal", "forged"),
    ("X_Authentik_Seal", SEAL_VALUE),
    ("x-tenant", "red"),
    ("X_Tenant", "red"),
    ("x.tenant", "red"),
    ("x-role", "root"),
    ("x_role", "root"),
];

/// Cookies beside the session's: of other providers and of no provider, in every shape, and the application's own.
const PLANTED: [&str; 12] = [
    "authentik_proxy_0a1b2c3d=planted",
    "__Host-authentik_proxy_0a1b2c3d=planted",
    "authentik_proxy_FFFFFFFF_0=planted",
    "__Host-authentik_proxy_0a1b2c3d_8=planted",
    "authentik_proxy_0a1b2c3d_login=planted",
    "__Host-authentik_proxy_0a1b2c3d_login_1=planted",
    "theme=dark",
    "authentik_proxy=own",
    "authentik_proxy_0a1b2c3d4=own",
    "authentik_proxy_0a1b2c3d_other=own",
    "session=\"a b\"",
    "empty=",
];

/// A request, before it is sent.
pub(super) struct Draft {
    pub(super) host: &'static Host,
    pub(super) place: Place,
    pub(super) marks: &'static Marks,
    pub(super) authorization: Authorization,
    /// The values of cookies that have the name of the provider's session.
    pub(super) sessions: Vec<String>,
    /// In their order, cookie lines among them.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    pub(super) body: Option<&'static str>,
    pub(super) response: &'static Response,
    /// The client goes before the application has answered.
    pub(super) leaves_early: bool,
}

impl Draft {
    /// `recent`: credentials that were sent lately.
    pub(super) fn draw(
        site: &Site,
        authentik: &Authentik,
        jar: &Jar,
        recent: &[Subject],
        now: u64,
        random: &mut StdRng,
    ) -> Self {
        let host = draw_host(site, random);
        let (path, place) = draw_path(random);
        let marks = ALL_MARKS.choose(random).expect("a table");
        let (sessions, mut cookies, origin) = match draw_sessions(site, jar, host, now, random) {
            // Who signs out has no session: else it would end others of the jar, at each worker at another moment.
            _ if signs_out(path) => (Vec::new(), Vec::new(), None),
            drawn => drawn,
        };
        let own = origin.and_then(|cookie| cookie.origin.as_ref()).filter(|_| random.gen_bool(0.3));
        let again = recent.choose(random).filter(|_| random.gen_bool(0.4));
        let authorization = match own.or(again) {
            Some(subject) => Authorization::of(subject, authentik, random),
            None => Authorization::draw(site.has_guesser, authentik, random),
        };
        for _ in 0..random.gen_range(0..4) {
            let place = random.gen_range(0..=cookies.len());
            cookies.insert(place, pick(&PLANTED, random).to_owned());
        }
        let mut headers: Vec<(String, Vec<u8>)> = vec![
            (":method".to_owned(), marks.method.into()),
            (":scheme".to_owned(), "https".into()),
            (":authority".to_owned(), host.spelling.into()),
            (":path".to_owned(), path.into()),
            ("user-agent".to_owned(), "walk".into()),
        ];
        headers.extend(marks.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        headers.extend(authorization.value.iter().map(|value| ("authorization".to_owned(), value.clone())));
        // One line, or a line for each.
        if random.gen_bool(0.7) && !cookies.is_empty() {
            headers.push(("cookie".to_owned(), cookies.join("; ").into_bytes()));
        } else {
            headers.extend(cookies.into_iter().map(|cookie| ("cookie".to_owned(), cookie.into_bytes())));
        }
        for _ in 0..random.gen_range(0..4_usize).saturating_sub(1) {
            let (name, value) = FORGED[random.gen_range(0..FORGED.len())];
            headers.push((name.to_owned(), value.into()));
        }
        let has_trailers = random.gen_bool(0.2);
        Self {
            host,
            place,
            marks,
            sessions,
            trailers: if has_trailers { draw_trailers(&headers, random) } else { Vec::new() },
            authorization,
            headers,
            body: (has_trailers || random.gen_bool(0.1)).then_some("a body"),
            response: RESPONSES.choose(random).expect("a table"),
            leaves_early: random.gen_bool(0.1),
        }
    }

    /// For whoever reads what led to a failure.
    pub(super) fn shown(&self) -> String {
        let lines = |lines: &[(String, Vec<u8>)]| -> String {
            lines.iter().map(|(name, value)| format!("\n        {name}: {}", value.escape_ascii())).collect()
        };
        let trailers = if self.trailers.is_empty() {
            String::new()
        } else {
            format!("\n      trailers{}", lines(&self.trailers))
        };
        format!("{:?} of {:?}{}{trailers}", self.place, self.host.provider, lines(&self.headers))
    }

    /// What of it no log may show.
    pub(super) fn secrets(&self) -> Vec<String> {
        let values = self.headers.iter().filter(|(name, _)| name == "authorization");
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        let words = values
            .flat_map(|(_, value)| text(value).split([' ', ',']).map(str::to_owned).collect::<Vec<_>>());
        words.filter(|word| word.len() >= 16).collect()
    }

    /// With these headers only, `GET` of this path on this host.
    pub(super) fn plain(host: &'static Host, path: &'static str, headers: Vec<(String, Vec<u8>)>) -> Self {
        let pseudo =
            [(":method", "GET"), (":scheme", "https"), (":authority", host.spelling), (":path", path)];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        Self {
            host,
            place: Place::Protected,
            marks: &ALL_MARKS[0],
            authorization: Authorization {
                value: None,
                presented: super::credentials::Presented::Absent,
                names_authentik: false,
            },
            sessions: Vec::new(),
            headers: pseudo.into_iter().chain(headers).collect(),
            trailers: Vec::new(),
            body: None,
            response: &RESPONSES[0],
            leaves_early: false,
        }
    }
}

/// Tried with sessions in `scenarios::sign_out`, `module::workers` and `envoy::endings`.
fn signs_out(path: &str) -> bool {
    path.contains("/sign_out") || path.contains("X-authentik-logout")
}

fn draw_path(random: &mut StdRng) -> (&'static str, Place) {
    let wanted = random.gen_range(0..100);
    let is_wanted = |place: &Place| match place {
        Place::Protected => wanted < 70,
        Place::Open => (70..92).contains(&wanted),
        Place::Outpost(_) => wanted >= 92,
    };
    let paths: Vec<_> = PATHS.iter().filter(|(_, place)| is_wanted(place)).collect();
    **paths.choose(random).expect("a table")
}

/// Mostly one of the busiest provider.
fn draw_host(site: &Site, random: &mut StdRng) -> &'static Host {
    let fits = |wanted: Option<ProviderId>| HOSTS.iter().filter(move |host| host.provider == wanted);
    let hosts: Vec<_> = match random.gen_range(0..100) {
        0..=3 => fits(None).collect(),
        4..=59 => fits(Some(site.busiest)).collect(),
        _ => HOSTS.iter().filter(|host| host.provider.is_some()).collect(),
    };
    hosts.choose(random).expect("a table")
}

/// The values under the session's own name, the cookies as they are sent, and the one whose credential may be sent too.
fn draw_sessions<'a>(
    site: &Site,
    jar: &'a Jar,
    host: &Host,
    now: u64,
    random: &mut StdRng,
) -> (Vec<String>, Vec<String>, Option<&'a Cookie>) {
    // Where nobody answers the name does not matter.
    let provider = host.provider.unwrap_or_default();
    let name = site.providers[provider].cookie();
    let own = |random: &mut StdRng| jar.draw(provider, true, now, random);
    let other = |random: &mut StdRng| jar.draw(provider, false, now, random);
    let under = |values: Vec<&str>| -> (Vec<String>, Vec<String>) {
        let cookies = values.iter().map(|value| format!("{name}={value}")).collect();
        (values.into_iter().map(str::to_owned).collect(), cookies)
    };
    match random.gen_range(0..100) {
        0..=24 => (Vec::new(), Vec::new(), None),
        25..=29 => {
            let (values, cookies) = under(vec!["garbage"]);
            (values, cookies, None)
        }
        // Another provider's, under our name and under its own.
        30..=37 => match other(random) {
            Some(cookie) => {
                let (values, mut cookies) = under(vec![&cookie.value]);
                let their_name = site.providers[cookie.provider].cookie();
                cookies.push(format!("{their_name}_0={}", cookie.value));
                (values, cookies, Some(cookie))
            }
            None => (Vec::new(), Vec::new(), None),
        },
        // Two, the first of which may be none.
        38..=45 => match (own(random), own(random)) {
            (Some(one), Some(two)) => {
                let first = if random.gen_bool(0.5) { "garbage" } else { &one.value };
                let (values, cookies) = under(vec![first, &two.value]);
                (values, cookies, Some(two))
            }
            _ => (Vec::new(), Vec::new(), None),
        },
        _ => match own(random) {
            Some(cookie) => {
                let (values, cookies) = under(vec![&cookie.value]);
                (values, cookies, Some(cookie))
            }
            None => (Vec::new(), Vec::new(), None),
        },
    }
}

/// What is forged as a header may be forged as a trailer too, credential and cookies included.
fn draw_trailers(headers: &[(String, Vec<u8>)], random: &mut StdRng) -> Vec<(String, Vec<u8>)> {
    let mut trailers: Vec<_> = vec![("x-checksum".to_owned(), b"1".to_vec())];
    let again = headers.iter().filter(|(name, _)| name == "authorization" || name == "cookie");
    trailers.extend(again.filter(|_| random.gen_bool(0.5)).cloned());
    for _ in 0..random.gen_range(0..4) {
        let (name, value) = FORGED[random.gen_range(0..FORGED.len())];
        trailers.push((name.to_owned(), value.into()));
    }
    if random.gen_bool(0.3) {
        trailers.push(("x-forwarded-host".to_owned(), b"elsewhere.test".to_vec()));
    }
    trailers
}
