//! Providers from authentik's list, while traffic flows: what changes there changes here, and nobody else notices.

use std::cmp::Ordering as CmpOrdering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fake_authentik::{Authentik, Call, Fault, OUTPOST_PROVIDERS, OUTPOST_TOKEN, Outpost, TOKEN};
use local_envoy::{Envoy, EnvoyOptions};
use serde_json::{Value, json};

use super::place::{Place, eventually, username};
use super::wire::{Answer, Request};

const DEMO: &str = "app.localtest:8080";
/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1";

/// The smallest configuration there is, with what every test here needs.
fn from_authentik(options: EnvoyOptions) -> EnvoyOptions {
    options
        .configure("/providers", Value::Null)
        .configure("/authentik/token", OUTPOST_TOKEN)
        .configure("/authentik/outpost_refresh_seconds", 1)
}

/// An Envoy whose providers come from this authentik, that reads its event log, and that has no application behind it.
pub(crate) fn without_application(authentik: &Authentik) -> Envoy {
    let options = from_authentik(EnvoyOptions::new(&authentik.authority(), NOBODY));
    Envoy::start(options.configure("/authentik/events", json!({"token": OUTPOST_TOKEN})))
}

fn two_applications() -> Authentik {
    let authentik = Authentik::start();
    add(&authentik, "wiki");
    authentik
}

/// A provider with an application of this slug, at `<slug>.test`, which the outpost has.
fn add(authentik: &Authentik, slug: &'static str) {
    authentik.add_proxy_provider(slug, &format!("http://{slug}.test"));
    authentik.edit_outpost("demo-outpost", |outpost| outpost.providers.push(slug));
}

fn session_of(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn cluster_host_and_token_serve_every_application_of_the_outpost() {
    let authentik = two_applications();
    let configuration = json!({"authentik": {
        "cluster": "authentik",
        "host": authentik.public_base(),
        "token": OUTPOST_TOKEN,
    }});
    let place = Place::around(authentik, |options| options.configure("", configuration).unsealed());
    let alice = place.newcomer("alice-of-both");
    for (host, slug) in [(DEMO, "demo"), ("wiki.test", "wiki")] {
        eventually("the list is read", || place.get_as(&alice).host(host).send().status == 200);
        let shown = place.admits(place.get_as(&alice).host(host));
        assert_eq!(super::place::one(&shown, "x-authentik-meta-app"), slug);
    }
    place.turns_away(place.get_as(&alice).host("other.test"), 400);
}

/// What became of requests of one kind: the answers in each phase. Phase 2n is before change n, 2n + 1 while workers learn of it.
type History = BTreeMap<usize, BTreeSet<u16>>;

/// Sends the request again and again until there is no phase any more. How many there were, and what became of them.
fn traffic(phase: &AtomicUsize, request: impl Fn() -> Request) -> (usize, History) {
    let (mut count, mut history) = (0, History::new());
    loop {
        let begun = phase.load(Ordering::SeqCst);
        if begun == OVER {
            return (count, history);
        }
        let status = request().send().status;
        // It belongs to the phase that it has seen whole, else to the one in which workers differ.
        let ended = phase.load(Ordering::SeqCst);
        if begun == ended {
            history.entry(begun).or_default().insert(status);
        }
        count += 1;
        thread::sleep(Duration::from_millis(2));
    }
}

const OVER: usize = usize::MAX;

/// One answer before this change and another one after it, and never one of them on the wrong side.
#[track_caller]
fn assert_changes_once(history: &History, change: usize, [old, new]: [u16; 2]) {
    for (phase, answers) in history {
        let expected: BTreeSet<_> = match phase.cmp(&(2 * change + 1)) {
            CmpOrdering::Less => [old].into(),
            CmpOrdering::Equal => [old, new].into(),
            CmpOrdering::Greater => [new].into(),
        };
        assert!(answers.is_subset(&expected), "phase {phase}: {answers:?}, not {expected:?}");
    }
}

#[test]
fn changes_in_authentik_count_within_the_interval_and_touch_nothing_else() {
    let authentik = two_applications();
    for slug in ["stays", "secret", "open", "goes"] {
        add(&authentik, slug);
    }
    let place = Place::around(authentik, |options| from_authentik(options).concurrency(2));
    let credential = place.newcomer("alice-who-stays");
    let get = |host: &str| place.get_as(&credential).host(host);
    eventually("both workers have the list", || (0..20).all(|_| get("stays.test").send().status == 200));
    let session = session_of(&get("stays.test").send());
    for host in ["secret.test", "open.test", "goes.test"] {
        place.admits(get(host));
    }
    let exchanges = |slug: &str| {
        let client_id = format!("{slug}-client-id");
        let is_its = |call: &&Call| call.path == TOKEN && call.field("client_id") == Some(client_id.as_str());
        place.authentik.calls().iter().filter(is_its).count()
    };
    let before = exchanges("stays");

    let phase = AtomicUsize::new(0);
    let change = |what: &str, edit: &dyn Fn(), is_so: &dyn Fn() -> bool| {
        phase.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        edit();
        // Twenty connections meet both workers.
        eventually(what, || (0..20).all(|_| is_so()));
        println!("{what}: on both workers after {} ms", start.elapsed().as_millis());
        phase.fetch_add(1, Ordering::SeqCst);
    };
    let port = place.envoy.port();
    let flows = thread::scope(|scope| {
        let run = |host: &'static str, target: &'static str, (name, value): (&'static str, &str)| {
            let (phase, value) = (&phase, value.to_owned());
            scope.spawn(move || {
                traffic(phase, || Request::new(port, "GET", target).host(host).header(name, &value))
            })
        };
        let with_credential = ("authorization", credential.as_str());
        let flows = [
            run("stays.test", "/", with_credential),
            run("stays.test", "/", ("cookie", &session)),
            run("secret.test", "/", with_credential),
            run("comes.test", "/", with_credential),
            run("open.test", "/public", ("accept", "application/json")),
            run("goes.test", "/", with_credential),
        ];
        let (authentik, status) = (&place.authentik, |request: Request| request.send().status);
        change("added", &|| add(authentik, "comes"), &|| status(get("comes.test")) == 200);
        change(
            "skip_path_regex changed",
            &|| authentik.edit_proxy("open", |proxy| proxy.skip_path_regex = "^/public".to_owned()),
            &|| status(place.get("/public").host("open.test")) == 200,
        );
        let forwarded_host =
            || loopback::header_values(&get("open.test").send().json(), "x-forwarded-host").len();
        change("mode changed", &|| authentik.edit_proxy("open", |proxy| proxy.mode = "proxy"), &|| {
            forwarded_host() == 1
        });
        let newcomer = place.newcomer("bob-who-is-new");
        let secret = "another-client-secret-0123456789abcdef0123456789abcdef";
        change(
            "client_secret changed",
            &|| authentik.edit_provider("secret", |provider| provider.client_secret = secret.to_owned()),
            &|| status(place.get_as(&newcomer).host("secret.test")) == 200,
        );
        let remove = |outpost: &mut Outpost| outpost.providers.retain(|slug| *slug != "goes");
        change("removed", &|| authentik.edit_outpost("demo-outpost", remove), &|| {
            status(get("goes.test")) == 400
        });
        thread::sleep(Duration::from_millis(500));
        phase.store(OVER, Ordering::SeqCst);
        flows.map(|flow| flow.join().unwrap())
    });
    let counts: Vec<_> = flows.iter().map(|(count, _)| *count).collect();
    println!("requests: {counts:?}");
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    let [credential, session, secret, comes, open, goes] = flows.map(|(_, history)| history);
    // Also a credential that was good under the old secret is good under the new one.
    for stays in [&credential, &session, &secret] {
        assert!(stays.len() >= 5 && stays.values().all(|answers| *answers == [200].into()), "{stays:?}");
    }
    assert_changes_once(&comes, 0, [400, 200]);
    assert_changes_once(&open, 1, [401, 200]);
    assert_changes_once(&goes, 4, [200, 400]);
    assert_eq!(exchanges("stays"), before, "what is known of a provider that stays is known on");
    assert!((1..=2).contains(&exchanges("comes")), "at most one exchange a worker: {}", exchanges("comes"));
}

#[test]
fn authentik_that_cannot_be_read_changes_nothing_that_is_known() {
    let mut place = Place::around(two_applications(), from_authentik);
    let alice = place.newcomer("alice-who-knows");
    eventually("the list is read", || place.get_as(&alice).host("wiki.test").send().status == 200);
    for (fault, line) in [
        (Fault::Status(500, Vec::new(), String::new()), "authentik is unavailable: status 500"),
        (Fault::Garbage, "is not what it should be"),
        (Fault::Huge(40 << 20), "is longer than authentik.max_response_bytes"),
    ] {
        place.authentik.fault(OUTPOST_PROVIDERS, fault);
        let asked = place.calls_to(OUTPOST_PROVIDERS);
        eventually("the list is asked for", || place.calls_to(OUTPOST_PROVIDERS) > asked + 1);
        place.admits(place.get_as(&alice).host("wiki.test"));
        if line.contains("500") {
            place.await_log(&["could not be read", line, "the providers stay as they are"]);
        }
        place.authentik.clear_faults();
        eventually("the list is read again", || {
            let asked = place.calls_to(OUTPOST_PROVIDERS);
            thread::sleep(Duration::from_millis(1500));
            place.calls_to(OUTPOST_PROVIDERS) > asked
        });
    }
    place.authentik.edit_outpost("demo-outpost", |outpost| outpost.token = Some("another-token".to_owned()));
    let asked = place.calls_to(OUTPOST_PROVIDERS);
    eventually("the token is refused", || place.calls_to(OUTPOST_PROVIDERS) > asked + 1);
    place.admits(place.get_as(&alice).host("wiki.test"));
    place.authentik.down();
    assert_eq!(username(&place.admits(place.get_as(&alice).host("wiki.test"))), "alice-who-knows");
}

#[test]
fn until_the_first_list_nobody_passes_and_the_log_says_why() {
    let authentik = two_applications();
    authentik.edit_outpost("demo-outpost", |outpost| outpost.token = Some("another-token".to_owned()));
    let place = Place::around(authentik, from_authentik);
    let alice = place.newcomer("alice-who-waits");
    let refused = place.turns_away(place.get_as(&alice).host("wiki.test"), 503);
    assert!(refused.header("retry-after").is_some());
    place.await_log(&["could not be read", "authentik.token is refused (403)"]);
    place.authentik.edit_outpost("demo-outpost", |outpost| outpost.token = Some(OUTPOST_TOKEN.to_owned()));
    eventually("the list is read", || place.get_as(&alice).host("wiki.test").send().status == 200);
}
