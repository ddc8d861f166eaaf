//! When a session ends, and where: three Envoys with two workers each read one event log. Somebody's session or credential ends in
//! each of the ways that there are, and every Envoy is asked again and again from then on. The times are printed, and
//! `docs/sign-out.md` has them; what is asserted is that it ends, and that nobody else is ever refused.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{panicking, scope, sleep};
use std::time::{Duration, Instant};

use fake_authentik::{
    Actor, Authentik, EVENTS, Fault, INTROSPECT, OUTPOST_TOKEN, Permission, SERVICE_TOKEN, TokenSpec,
};
use local_envoy::Envoy;
use loopback::App;
use serde_json::json;

use super::place::{Place, assert_sound, eventually, options, provider, session_cookie};
use super::wire::{Answer, Connection, Request, basic, bearer};

const DEMO: &str = "app.localtest:8080";
/// The provider there has `revalidate_seconds`.
const CHECKED: &str = "checked.test";
/// The least that is allowed.
const INTERVAL_SECONDS: u64 = 5;
/// An ending that takes so long does not come.
const BOUND: Duration = Duration::from_secs(3 * INTERVAL_SECONDS + 10);
/// So many answers in a row come from both workers.
const IN_A_ROW: usize = 16;
const PAUSE: Duration = Duration::from_millis(100);
const WORKERS: usize = 2;
/// Most calls that a worker has under way.
const CALLS: usize = 2;
const BACKCHANNEL: &str = "/outpost.goauthentik.io/backchannel_logout";

/// How a client gets in.
#[derive(Clone)]
struct Pass {
    name: &'static str,
    host: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Pass {
    fn new(name: &'static str, host: &'static str, header: &'static str, value: &str) -> Self {
        Self { name, host, headers: vec![(header, value.to_owned())] }
    }

    fn cookie(name: &'static str, host: &'static str, value: &str) -> Self {
        Self::new(name, host, "cookie", value)
    }

    fn credential(name: &'static str, host: &'static str, value: &str) -> Self {
        Self::new(name, host, "authorization", value)
    }

    fn with_cookie(mut self, value: &str) -> Self {
        self.headers.push(("cookie", value.to_owned()));
        self
    }

    fn send(&self, port: u16) -> Answer {
        let request = Request::new(port, "GET", "/").host(self.host);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    }

    /// Whether it is good at this Envoy. An answer that says neither is a fault.
    #[track_caller]
    fn is_good(&self, port: u16) -> bool {
        let answer = self.send(port);
        match answer.status {
            200 => true,
            302 | 401 => false,
            _ => panic!("{}: {answer:?}", self.name),
        }
    }
}

struct Scene {
    authentik: Authentik,
    envoys: [Envoy; 3],
    _app: App,
}

impl Scene {
    fn new() -> Self {
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
        let envoys = [(); 3].map(|()| start());
        // A first reading has two calls.
        eventually("each Envoy reads the log", || authentik.count(EVENTS) >= 2 * envoys.len());
        Self { authentik, envoys, _app: app }
    }

    fn ports(&self) -> [u16; 3] {
        self.envoys.each_ref().map(Envoy::port)
    }

    /// A user's Basic credential; nobody has seen the user before.
    fn newcomer(&self, username: &str) -> String {
        self.authentik.edit_user(username, |_| {});
        basic(username, &format!("{username}-app-password"))
    }

    /// Logs in at this Envoy. The session's cookie, and the session at authentik.
    #[track_caller]
    fn log_in(&self, port: u16, (slug, host): (&str, &str), username: &str) -> (String, String) {
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
fn session_of(slug: &str, answer: &Answer) -> String {
    let begin = format!("{}=", session_cookie(slug));
    let cookies = answer.headers("set-cookie").into_iter();
    let cookie = cookies.filter_map(|it| it.split(';').next()).find(|it| it.starts_with(&begin));
    cookie.unwrap_or_else(|| panic!("no session: {answer:?}")).to_owned()
}

/// Those who have nothing to do with what ends. Each Envoy is asked for each of them all the time.
#[derive(Default)]
struct Others {
    passes: Mutex<Vec<Pass>>,
    answers: Mutex<BTreeMap<(&'static str, u16), usize>>,
    is_over: AtomicBool,
}

impl Others {
    fn add(&self, pass: Pass) {
        self.passes.lock().unwrap().push(pass);
    }

    /// From now on it may end.
    fn let_go(&self, name: &str) {
        self.passes.lock().unwrap().retain(|pass| pass.name != name);
    }

    fn ask(&self, port: u16) {
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
struct Asking<'a>(&'a Others);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// Something that ends, from this moment on.
struct Ending {
    how: &'static str,
    since: Instant,
    pass: Pass,
}

impl Ending {
    /// When an Envoy refuses first, and from when on it refuses always.
    fn watch(&self, port: u16) -> [Duration; 2] {
        let (mut first, mut row) = (None, Vec::new());
        while row.len() < IN_A_ROW {
            let sent = self.since.elapsed();
            assert!(sent < BOUND, "{}, {}: not within {BOUND:?}", self.how, self.pass.name);
            if self.pass.is_good(port) {
                row.clear();
            } else {
                first.get_or_insert(sent);
                row.push(sent);
            }
            sleep(PAUSE);
        }
        [first.unwrap_or_default(), row[0]]
    }
}

/// Watches them all at all Envoys, and prints the times.
fn watch(scene: &Scene, endings: &[Ending]) {
    let times = scope(|scope| {
        let at = |ending: &'_ Ending, port| ending.watch(port);
        let watching: Vec<_> = endings
            .iter()
            .map(|ending| scene.ports().map(|port| scope.spawn(move || at(ending, port))))
            .collect();
        watching.into_iter().map(|row| row.map(|it| it.join().unwrap())).collect::<Vec<_>>()
    });
    for (ending, row) in endings.iter().zip(times) {
        let row = row.map(|[first, all]| format!("{:.1}-{:.1} s", first.as_secs_f32(), all.as_secs_f32()));
        println!("{}, {}: {}", ending.how, ending.pass.name, row.join(", "));
    }
}

#[track_caller]
fn assert_good_everywhere<'a>(scene: &Scene, passes: impl IntoIterator<Item = &'a Pass>) {
    for pass in passes {
        for port in scene.ports() {
            for _ in 0..4 {
                assert!(pass.is_good(port), "{}", pass.name);
            }
        }
    }
}

#[test]
fn what_ends_ends_at_three_envoys_and_nobody_else_is_refused() {
    let scene = Scene::new();
    let others = Others::default();
    let [first, second, third] = scene.ports();
    let (witness, _) = scene.log_in(second, ("demo", DEMO), "wim");
    let credential = scene.newcomer("wim");
    others.add(Pass::cookie("a session", DEMO, &witness));
    others.add(Pass::credential("a credential", DEMO, &credential));
    let own = session_of("demo", &Pass::credential("", DEMO, &credential).send(third));
    others.add(Pass::credential("a credential with its session", DEMO, &credential).with_cookie(&own));
    let (checked, _) = scene.log_in(first, ("checked", CHECKED), "wim");
    others.add(Pass::cookie("a session that is confirmed", CHECKED, &checked));
    assert_good_everywhere(&scene, others.passes.lock().unwrap().iter());
    scope(|scope| {
        let _asking = Asking(&others);
        for port in scene.ports() {
            let others = &others;
            scope.spawn(move || others.ask(port));
        }
        sessions_and_users_end(&scene, &others);
        app_password_ends(&scene);
        hundred_users_are_confirmed_within_the_limit(&scene);
    });
    let answers = others.answers.into_inner().unwrap();
    println!("others: {answers:?}");
    assert!(answers.keys().all(|(_, status)| *status == 200), "{answers:?}");
    assert!(answers.len() >= 8 && answers.values().all(|count| *count > 20), "{answers:?}");
}

fn sessions_and_users_end(scene: &Scene, others: &Others) {
    let authentik = &scene.authentik;
    let [first, second, _] = scene.ports();
    let demo = |username: &str| scene.log_in(second, ("demo", DEMO), username);
    let (phone, (laptop, _)) = (demo("ada").0, demo("ada"));
    let (deleted, deleted_sid) = demo("ben");
    let (untold, untold_sid) = demo("dan");
    let (left, left_sid) = demo("eli");
    let (kept, _) = demo("eli");
    let (disabled, disabled_basic) = (demo("fay").0, scene.newcomer("fay"));
    let (changed, changed_basic) = (demo("gus").0, scene.newcomer("gus"));
    let (reset, _) = demo("hal");
    let (expired, expired_sid) = scene.log_in(second, ("checked", CHECKED), "cyd");
    scene.newcomer("ida");
    let (revoked, unseen) = (authentik.issue("checked", "ida"), authentik.issue("demo", "ida"));
    let revoked_pass = Pass::credential("token", CHECKED, &bearer(&revoked));
    let of_revoked = session_of("checked", &revoked_pass.send(first));
    let stay = [
        Pass::cookie("a session that nobody tells of", DEMO, &untold),
        Pass::cookie("another session of a user who signs out at authentik", DEMO, &kept),
        Pass::credential("the credential of a user with a new password", DEMO, &changed_basic),
        Pass::cookie("a session whose password an administrator sets", DEMO, &reset),
        Pass::credential("a revoked token that nobody asks about", DEMO, &bearer(&unseen)),
    ];
    assert_good_everywhere(scene, &stay);
    stay.into_iter().for_each(|pass| others.add(pass));
    let session = |cookie: &str, host| Pass::cookie("session", host, cookie);
    let credential = |credential: &str| Pass::credential("credential", DEMO, credential);
    let passes = [&phone, &laptop, &deleted, &left, &disabled, &changed].map(|cookie| session(cookie, DEMO));
    assert_good_everywhere(scene, &passes);
    let on_checked = [&expired, &of_revoked].map(|cookie| session(cookie, CHECKED));
    assert_good_everywhere(scene, on_checked.iter().chain([&revoked_pass, &credential(&disabled_basic)]));
    authentik.set_sign_out_lag(Duration::from_millis(150));

    let mut endings = Vec::new();
    let mut ends = |how: &'static str, act: &dyn Fn(), passes: &[Pass]| {
        let since = Instant::now();
        act();
        endings.extend(passes.iter().map(|pass| Ending { how, since, pass: pass.clone() }));
    };
    let sign_out = || {
        let mut worker = Connection::open(first);
        let cookie = [("cookie", phone.as_str())];
        let answer = worker.get_target(DEMO, "/outpost.goauthentik.io/sign_out", &cookie);
        assert_eq!(answer.status, 302, "{answer:?}");
        assert_eq!(worker.get_with(DEMO, &cookie).status, 302, "the worker knows it at once");
        let (again, _) = scene.log_in(first, ("demo", DEMO), "ada");
        others.add(Pass::cookie("a login after the sign-out", DEMO, &again));
    };
    ends("sign-out at the first Envoy", &sign_out, &[session(&phone, DEMO), session(&laptop, DEMO)]);
    let delete = || {
        authentik.delete_session(&deleted_sid);
        let token = authentik.logout_token("demo", Some(&deleted_sid), TokenSpec::new().user("ben"));
        let answer = Authentik::post_logout_token_to(first, DEMO, BACKCHANNEL, &token).expect("an answer");
        assert_eq!(answer.0, 200, "{answer:?}");
    };
    ends("session deleted, back-channel logout at the first Envoy", &delete, &[session(&deleted, DEMO)]);
    authentik.delete_session(&untold_sid);
    let delete = || authentik.delete_session(&expired_sid);
    ends("session deleted, revalidate_seconds 2", &delete, &[session(&expired, CHECKED)]);
    ends("sign-out at authentik", &|| authentik.sign_out(&left_sid), &[session(&left, DEMO)]);
    let of_disabled = [session(&disabled, DEMO), credential(&disabled_basic)];
    ends("user disabled", &|| authentik.disable_user("fay"), &of_disabled);
    let change = || authentik.change_password("gus", "another password");
    ends("password changed by the user", &change, &[session(&changed, DEMO)]);
    authentik.set_password("hal", "another password");
    authentik.revoke(&unseen);
    let of_revoked = [revoked_pass, session(&of_revoked, CHECKED)];
    ends("token revoked, revalidate_seconds 2", &|| authentik.revoke(&revoked), &of_revoked);
    watch(scene, &endings);
    // What comes next lets authentik be asked about them.
    others.let_go("a session that nobody tells of");
    others.let_go("a revoked token that nobody asks about");
}

fn app_password_ends(scene: &Scene) {
    let [first, _, _] = scene.ports();
    let pass = |username| Pass::credential("credential", DEMO, &scene.newcomer(username));
    let (gone, other) = (pass("jon"), pass("kim"));
    let session = |pass: &Pass, name| Pass::cookie(name, DEMO, &session_of("demo", &pass.send(first)));
    let sessions = [session(&gone, "its session"), session(&other, "another app password's session alone")];
    assert_good_everywhere(scene, sessions.iter().chain([&gone]));
    let since = Instant::now();
    scene.authentik.delete_app_password("jon", "jon-app-password", Actor::Administrator);
    let ending = |pass| Ending { how: "app password deleted", since, pass };
    watch(scene, &sessions.into_iter().chain([gone]).map(ending).collect::<Vec<_>>());
    assert_good_everywhere(scene, [&other]);
}

/// A user is changed, and the token may not ask who it is.
fn hundred_users_are_confirmed_within_the_limit(scene: &Scene) {
    let authentik = &scene.authentik;
    let [first, ..] = scene.ports();
    let users: Vec<_> = (0..100)
        .map(|number| {
            let username = format!("one-of-a-hundred-{number}");
            scene.newcomer(&username);
            let token = authentik.issue("demo", &username);
            let answer = Pass::credential("", DEMO, &bearer(&token)).send(first);
            (token, Pass::cookie("a session of a hundred", DEMO, &session_of("demo", &answer)))
        })
        .collect();
    authentik.permit(SERVICE_TOKEN, &[Permission::ViewEvent, Permission::AddEvent]);
    authentik.fault(INTROSPECT, Fault::Delay(Duration::from_millis(50)));
    authentik.forget_calls();
    authentik.enable_user("kim");
    let is_asked = |token: &str| {
        let calls = authentik.calls();
        calls.iter().any(|call| call.path == INTROSPECT && call.field("token") == Some(token))
    };
    let ports = scene.ports();
    eventually("each Envoy has read it", || {
        users.iter().zip(ports).all(|((token, pass), port)| {
            assert!(pass.is_good(port));
            is_asked(token)
        })
    });
    // The other worker looks once a second.
    sleep(Duration::from_millis(1100));
    scope(|scope| {
        for (number, (_, pass)) in users.iter().enumerate() {
            scope.spawn(move || {
                for turn in 0..ports.len() {
                    assert!(pass.is_good(ports[(number + turn) % ports.len()]), "{number}");
                }
            });
        }
    });
    assert!(users.iter().all(|(token, _)| is_asked(token)), "everybody is confirmed");
    let most = authentik.most_at_once(INTROSPECT);
    println!("a hundred users are confirmed: at most {most} calls at one time");
    assert!((2..=scene.envoys.len() * WORKERS * CALLS).contains(&most), "{most}");
}

#[test]
fn token_without_permission_ends_nothing_and_is_named() {
    let place = Place::new(|options| {
        let events = json!({"token": OUTPOST_TOKEN, "interval_seconds": INTERVAL_SECONDS});
        options.configure("/authentik/events", events).concurrency(WORKERS.try_into().unwrap())
    });
    let credential = place.newcomer("lea");
    let session = session_of("demo", &place.get_as(&credential).send());
    place.authentik.disable_user("eve");
    place.await_log(&["authentik shows no event at all", "authentik_events.view_event"]);
    for _ in 0..IN_A_ROW {
        place.admits(place.get("/").header("cookie", &session));
        place.admits(place.get_as(&credential));
    }
}
