//! When a session ends, and where: three Envoys with two workers each read one event log. Somebody's session or credential ends in
//! each of the ways that there are, and every Envoy is asked again and again from then on. The times are printed, and
//! `docs/sign-out.md` has them; what is asserted is that it ends, and that nobody else is ever refused.

mod scene;

use std::sync::OnceLock;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use fake_authentik::{
    Actor, Authentik, Fault, INTROSPECT, OUTPOST_TOKEN, Permission, SERVICE_TOKEN, TokenSpec,
};
use serde_json::json;

use self::scene::{
    Asking, CALLS, CHECKED, DEMO, INTERVAL_SECONDS, Others, PAUSE, Pass, Scene, WORKERS,
    assert_good_everywhere, session_of,
};
use super::place::{Place, eventually};
use super::wire::{Connection, bearer};

/// An ending that takes so long does not come.
const BOUND: Duration = Duration::from_secs(3 * INTERVAL_SECONDS + 10);
/// So many answers in a row come from both workers.
const IN_A_ROW: usize = 16;
const BACKCHANNEL: &str = "/outpost.goauthentik.io/backchannel_logout";

/// An act, and what ends with it.
struct Ending<'a> {
    how: &'static str,
    act: Box<dyn Fn() + 'a>,
    passes: Vec<Pass>,
}

impl<'a> Ending<'a> {
    fn new(how: &'static str, passes: &[&Pass], act: impl Fn() + 'a) -> Self {
        Self { how, act: Box::new(act), passes: passes.iter().map(|pass| (*pass).clone()).collect() }
    }
}

/// When an Envoy refuses first after the act, and from when on it refuses always.
fn ends(how: &str, pass: &Pass, port: u16, act: &OnceLock<Instant>) -> [Duration; 2] {
    let (begun, mut first, mut row) = (Instant::now(), None, Vec::new());
    while row.len() < IN_A_ROW {
        let sent = act.get().map(Instant::elapsed);
        let too_long = sent.map_or(begun.elapsed(), |sent| sent) > BOUND;
        assert!(!too_long, "{how}: {} is good for more than {BOUND:?}", pass.name);
        match (pass.is_good(port), act.get()) {
            (true, _) => row.clear(),
            (false, None) => panic!("{how}: {} has ended before", pass.name),
            (false, Some(_)) => {
                let sent = sent.unwrap_or_default();
                first.get_or_insert(sent);
                row.push(sent);
            }
        }
        sleep(PAUSE);
    }
    [first.unwrap_or_default(), row[0]]
}

/// Does it all, and asks each Envoy for each pass from before its act on. The times.
fn watch(scene: &Scene, endings: &[Ending<'_>]) -> Vec<String> {
    let acts: Vec<_> = endings.iter().map(|_| OnceLock::new()).collect();
    scope(|scope| {
        let mut watching = Vec::new();
        for (Ending { how, passes, .. }, act) in endings.iter().zip(&acts) {
            for pass in passes {
                let at = |port| scope.spawn(move || ends(how, pass, port, act));
                watching.push((how, pass.name, scene.ports().map(at)));
            }
        }
        sleep(PAUSE * 5);
        for (ending, act) in endings.iter().zip(&acts) {
            act.set(Instant::now()).expect("once");
            (ending.act)();
        }
        let seconds =
            |[first, all]: [Duration; 2]| format!("{:.1}-{:.1} s", first.as_secs_f32(), all.as_secs_f32());
        let times = watching.into_iter().map(|(how, name, row)| {
            let row = row.map(|it| seconds(it.join().unwrap()));
            format!("{how}, {name}: {}", row.join(", "))
        });
        times.collect()
    })
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
        for phase in [sessions_and_users_end, app_passwords_end] {
            for line in phase(&scene, &others) {
                println!("{line}");
            }
            others.assert_good();
        }
        let most = hundred_users_are_confirmed(&scene);
        println!("a hundred users are confirmed: at most {most} calls at one time");
        assert!((2..=scene.envoys.len() * WORKERS * CALLS).contains(&most), "{most}");
    });
    others.assert_good();
    let answers = others.answers.into_inner().unwrap();
    println!("others: {answers:?}");
    assert!(answers.len() >= 8 && answers.values().all(|count| *count > 10), "{answers:?}");
}

fn sessions_and_users_end(scene: &Scene, others: &Others) -> Vec<String> {
    let authentik = &scene.authentik;
    let [first, second, _] = scene.ports();
    let session = |name, cookie: &str| Pass::cookie(name, DEMO, cookie);
    let demo = |username: &str| {
        let (cookie, sid) = scene.log_in(second, ("demo", DEMO), username);
        (session("session", &cookie), sid)
    };
    let ((phone, _), (laptop, _)) = (demo("ada"), demo("ada"));
    let (deleted, deleted_sid) = demo("ben");
    let (untold, untold_sid) = demo("dan");
    let (left, left_sid) = demo("eli");
    let (kept, _) = demo("eli");
    let credential = |name, username| Pass::credential(name, DEMO, &scene.newcomer(username));
    let ((disabled, _), disabled_basic) = (demo("fay"), credential("credential", "fay"));
    let ((changed, _), (reset, _)) = (demo("gus"), demo("hal"));
    let (expired, expired_sid) = scene.log_in(second, ("checked", CHECKED), "cyd");
    let expired = Pass::cookie("session", CHECKED, &expired);
    scene.newcomer("ida");
    let (revoked, unseen) = (authentik.issue("checked", "ida"), authentik.issue("demo", "ida"));
    let revoked_pass = Pass::credential("token", CHECKED, &bearer(&revoked));
    let of_revoked = session_of("checked", &revoked_pass.send(first));
    let of_revoked = Pass::cookie("session", CHECKED, &of_revoked);
    let stay = [
        ("a session that nobody tells of", &untold),
        ("another session of a user who signs out at authentik", &kept),
        ("the credential of a user with a new password", &credential("", "gus")),
        ("a session whose password an administrator sets", &reset),
        ("a revoked token that nobody asks about", &Pass::credential("", DEMO, &bearer(&unseen))),
    ];
    for (name, pass) in stay {
        let pass = Pass { name, ..pass.clone() };
        assert_good_everywhere(scene, [&pass]);
        others.add(pass);
    }
    authentik.set_sign_out_lag(Duration::from_millis(150));

    let sign_out = || {
        let mut worker = Connection::open(first);
        let cookie = [("cookie", phone.headers[0].1.as_str())];
        let answer = worker.get_target(DEMO, "/outpost.goauthentik.io/sign_out", &cookie);
        assert_eq!(answer.status, 302, "{answer:?}");
        assert_eq!(worker.get_with(DEMO, &cookie).status, 302, "the worker knows it at once");
        let (again, _) = scene.log_in(first, ("demo", DEMO), "ada");
        others.add(Pass::cookie("a login after the sign-out", DEMO, &again));
    };
    let delete = || {
        authentik.delete_session(&deleted_sid);
        let token = authentik.logout_token("demo", Some(&deleted_sid), TokenSpec::new().user("ben"));
        let answer = Authentik::post_logout_token_to(first, DEMO, BACKCHANNEL, &token).expect("an answer");
        assert_eq!(answer.0, 200, "{answer:?}");
    };
    authentik.delete_session(&untold_sid);
    authentik.revoke(&unseen);
    authentik.set_password("hal", "another password");
    let times = watch(
        scene,
        &[
            Ending::new("sign-out at the first Envoy", &[&phone, &laptop], sign_out),
            Ending::new("session deleted, back-channel logout at the first Envoy", &[&deleted], delete),
            Ending::new("session deleted, revalidate_seconds 2", &[&expired], || {
                authentik.delete_session(&expired_sid);
            }),
            Ending::new("sign-out at authentik", &[&left], || authentik.sign_out(&left_sid)),
            Ending::new("user disabled", &[&disabled, &disabled_basic], || authentik.disable_user("fay")),
            Ending::new("password changed by the user", &[&changed], || {
                authentik.change_password("gus", "another password");
            }),
            Ending::new("token revoked, revalidate_seconds 2", &[&revoked_pass, &of_revoked], || {
                authentik.revoke(&revoked);
            }),
        ],
    );
    // What comes next lets authentik be asked about them.
    others.let_go("a session that nobody tells of");
    others.let_go("a revoked token that nobody asks about");
    times
}

fn app_passwords_end(scene: &Scene, others: &Others) -> Vec<String> {
    let [first, _, _] = scene.ports();
    let pass = |username| Pass::credential("credential", DEMO, &scene.newcomer(username));
    let (gone, other) = (pass("jon"), pass("kim"));
    let session = |pass: &Pass, name| Pass::cookie(name, DEMO, &session_of("demo", &pass.send(first)));
    others.add(Pass { name: "an app password beside one that is deleted", ..other.clone() });
    let (own, alone) =
        (session(&gone, "its session"), session(&other, "another app password's session alone"));
    let delete = || scene.authentik.delete_app_password("jon", "jon-app-password", Actor::Administrator);
    watch(scene, &[Ending::new("app password deleted", &[&gone, &own, &alone], delete)])
}

/// A user is changed, and the token may not ask who it is. How many calls were under way at one time, at the most.
fn hundred_users_are_confirmed(scene: &Scene) -> usize {
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
    authentik.most_at_once(INTROSPECT)
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
