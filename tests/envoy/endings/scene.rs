//! Three Envoys with one configuration, and who asks at them: whose pass ends, and the others, who must never be refused.
//! Judges one answer at a time; what is to end, and by what, is in `endings.rs`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{panicking, sleep};
use std::time::Duration;

use fake_authentik::{Authentik, EVENTS, Permission, SERVICE_TOKEN};
use local_envoy::Envoy;
use loopback::App;
use serde_json::json;

use super::super::place::{assert_sound, eventually, options, provider, session_cookie};
use super::super::wire::{Answer, Request, basic};

pub(super) const DEMO: &str = "app.localtest:8080";
/// The provider there has `revalidate_seconds`.
pub(super) const CHECKED: &str = "checked.test";
/// The least that is allowed.
pub(super) const INTERVAL_SECONDS: u64 = 5;
pub(super) const WORKERS: usize = 2;
/// Most calls that a worker has under way.
pub(super) const CALLS: usize = 2;
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How a client gets in.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Pass {
    pub(super) fn new(name: &'static str, host: &'static str, header: &'static str, value: &str) -> Self {
        Self { name, host, headers: vec![(header, value.to_owned())] }
    }

    pub(super) fn cookie(name: &'static str, host: &'static str, value: &str) -> Self {
        Self::new(name, host, "cookie", value)
    }

    pub(super) fn credential(name: &'static str, host: &'static str, value: &str) -> Self {
        Self::new(name, host, "authorization", value)
    }

    pub(super) fn with_cookie(mut self, value: &str) -> Self {
        self.headers.push(("cookie", value.to_owned()));
        self
    }

    pub(super) fn send(&self, port: u16) -> Answer {
        let request = Request::new(port, "GET", "/").host(self.host);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    }

    /// Whether it is good at this Envoy. An answer that says neither is a fault.
    #[track_caller]
    pub(super) fn is_good(&self, port: u16) -> bool {
        let answer = self.send(port);
        match answer.status {
            200 => true,
            302 | 401 => false,
            _ => panic!("{}: {answer:?}", self.name),
        }
    }
}

pub(super) struct Scene {
    pub(super) authentik: Authentik,
    pub(super) envoys: [Envoy; 3],
    _app: App,
}

impl Scene {
    pub(super) fn new() -> Self {
        let (authentik, app) = (Authentik::start(), App::start());
        authentik.add_proxy_provider("checked", &format!("http://{CHECKED}"));
        authentik.permit(SERVICE_TOKEN, &[Permission::ViewEvent, Permission::AddEvent, Permission::ViewUser]);
        let start = || {
            let providers = vec![
                provider("demo", DEMO, json!({})),
                provider("checked", CHECKED, json!({"revalidate_seconds": 2})),
            ];
            let events = json!({"token": SERVICE_TOKEN, "interval_seconds": INTERVAL_SECONDS});
            let options = options(&authentik, &app)
                .configure("/providers", providers)
                .configure("/authentik/events", events)
                .configure("/authentik/max_concurrent_calls", CALLS)
                .plugin("allow_on_headers_stop_iteration", true)
                .concurrency(WORKERS.try_into().unwrap());
            Envoy::start(options)
        };
        // One after the other: an Envoy ends with the thread that started it.
        let envoys = [(); 3].map(|()| start());
        // A first reading has two calls.
        eventually("each Envoy reads the log", || authentik.count(EVENTS) >= 2 * envoys.len());
        Self { authentik, envoys, _app: app }
    }

    pub(super) fn ports(&self) -> [u16; 3] {
        self.envoys.each_ref().map(Envoy::port)
    }

    /// A user's Basic credential; nobody has seen the user before.
    pub(super) fn newcomer(&self, username: &str) -> String {
        self.authentik.edit_user(username, |_| {});
        basic(username, &format!("{username}-app-password"))
    }

    /// Logs in at this Envoy. The session's cookie, and the session at authentik.
    #[track_caller]
    pub(super) fn log_in(&self, port: u16, (slug, host): (&str, &str), username: &str) -> (String, String) {
        self.newcomer(username);
        let begun = Request::new(port, "GET", "/").host(host).header("accept", "text/html").send();
        let location = begun.header("location").unwrap_or_else(|| panic!("no login: {begun:?}"));
        let callback = self.authentik.approve(location, username);
        let target = callback.strip_prefix(&format!("http://{host}")).expect("its own host");
        let cookies: Vec<_> =
            begun.headers("set-cookie").into_iter().filter_map(|it| it.split(';').next()).collect();
        let answer = Request::new(port, "GET", target).host(host).header("cookie", cookies.join("; ")).send();
        let sid = self.authentik.sessions_of(username).pop().expect("a session at authentik");
        (session_of(slug, &answer), sid)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !panicking() {
            self.envoys.iter_mut().for_each(|envoy| assert_sound(envoy, false));
        }
    }
}

#[track_caller]
pub(super) fn session_of(slug: &str, answer: &Answer) -> String {
    let begin = format!("{}=", session_cookie(slug));
    let cookies = answer.headers("set-cookie").into_iter();
    let cookie = cookies.filter_map(|it| it.split(';').next()).find(|it| it.starts_with(&begin));
    cookie.unwrap_or_else(|| panic!("no session: {answer:?}")).to_owned()
}

/// Those who have nothing to do with what ends. Each Envoy is asked for each of them all the time.
#[derive(Default)]
pub(super) struct Others {
    pub(super) passes: Mutex<Vec<Pass>>,
    pub(super) answers: Mutex<BTreeMap<(&'static str, u16), usize>>,
    is_over: AtomicBool,
}

impl Others {
    pub(super) fn add(&self, pass: Pass) {
        self.passes.lock().unwrap().push(pass);
    }

    /// From now on it may end.
    pub(super) fn let_go(&self, name: &str) {
        self.passes.lock().unwrap().retain(|pass| pass.name != name);
    }

    /// Nobody of them was refused until now.
    #[track_caller]
    pub(super) fn assert_good(&self) {
        let answers = self.answers.lock().unwrap().clone();
        assert!(answers.keys().all(|(_, status)| *status == 200), "{answers:?}");
    }

    pub(super) fn ask(&self, port: u16) {
        while !self.is_over.load(Ordering::SeqCst) {
            let passes = self.passes.lock().unwrap().clone();
            for pass in passes {
                // `let_go` has to win over a request that it meets.
                let status = pass.send(port).status;
                if self.passes.lock().unwrap().iter().any(|it| it.name == pass.name) {
                    *self.answers.lock().unwrap().entry((pass.name, status)).or_default() += 1;
                }
                sleep(PAUSE / 5);
            }
        }
    }
}

/// Whoever asks for the others must end, also when the test fails.
pub(super) struct Asking<'a>(pub(super) &'a Others);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

#[track_caller]
pub(super) fn assert_good_everywhere<'a>(scene: &Scene, passes: impl IntoIterator<Item = &'a Pass>) {
    for pass in passes {
        for port in scene.ports() {
            for _ in 0..4 {
                assert!(pass.is_good(port), "{}", pass.name);
            }
        }
    }
}
