//! Providers from authentik's list, while traffic flows: what changes there changes here, and nobody else notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fake_authentik::{Authentik, Call, Fault, OUTPOST_PROVIDERS, OUTPOST_TOKEN, TOKEN};
use local_envoy::EnvoyOptions;
use serde_json::{Value, json};

use super::place::{Place, eventually, username};
use super::wire::{Answer, Request, basic};

const DEMO: &str = "app.localtest:8080";

/// The smallest configuration there is, with what every test here needs.
fn from_authentik(options: EnvoyOptions) -> EnvoyOptions {
    options
        .configure("/providers", Value::Null)
        .configure("/authentik/token", OUTPOST_TOKEN)
        .configure("/authentik/outpost_refresh_seconds", 1)
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

/// What became of requests of one kind, in their order: each answer once for as long as it stayed the same.
type History = Vec<u16>;

/// Sends the request again and again until it is to stop. How many there were, and their history.
fn traffic(until: &AtomicBool, request: impl Fn() -> Request) -> (usize, History) {
    let (mut count, mut history) = (0, History::new());
    while !until.load(Ordering::Relaxed) {
        let status = request().send().status;
        count += 1;
        if history.last() != Some(&status) {
            history.push(status);
        }
        thread::sleep(Duration::from_millis(2));
    }
    (count, history)
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
    eventually("the list is read", || get("stays.test").send().status == 200);
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

    let stop = AtomicBool::new(false);
    let port = place.envoy.port();
    let took = |what: &str, mut is_so: Box<dyn FnMut() -> bool + '_>| {
        let start = Instant::now();
        eventually(what, &mut is_so);
        println!("{what}: after {} ms", start.elapsed().as_millis());
    };
    let histories = thread::scope(|scope| {
        let run = |host: &'static str, target: &'static str, (name, value): (&'static str, &str)| {
            let (stop, value) = (&stop, value.to_owned());
            scope.spawn(move || {
                traffic(stop, || Request::new(port, "GET", target).host(host).header(name, &value))
            })
        };
        let with_credential = ("authorization", credential.as_str());
        let flows = [
            run("stays.test", "/", with_credential),
            run("stays.test", "/", ("cookie", &session)),
            run("secret.test", "/", with_credential),
            run("open.test", "/public", ("accept", "application/json")),
            run("goes.test", "/", with_credential),
            run("comes.test", "/", with_credential),
        ];
        add(&place.authentik, "comes");
        took("added", Box::new(|| get("comes.test").send().status == 200));
        place.authentik.edit_proxy("open", |proxy| proxy.skip_path_regex = "^/public".to_owned());
        took(
            "skip_path_regex changed",
            Box::new(|| place.get("/public").host("open.test").send().status == 200),
        );
        place.authentik.edit_proxy("open", |proxy| proxy.mode = "proxy");
        took(
            "mode changed",
            Box::new(|| {
                !loopback::header_values(&get("open.test").send().json(), "x-forwarded-host").is_empty()
            }),
        );
        let secret = "another-client-secret-0123456789abcdef0123456789abcdef";
        place.authentik.edit_provider("secret", |provider| provider.client_secret = secret.to_owned());
        let newcomer = basic("bob-who-is-new", "bob-who-is-new-app-password");
        place.authentik.edit_user("bob-who-is-new", |_| {});
        took(
            "client_secret changed",
            Box::new(|| place.get_as(&newcomer).host("secret.test").send().status == 200),
        );
        place
            .authentik
            .edit_outpost("demo-outpost", |outpost| outpost.providers.retain(|slug| *slug != "goes"));
        took("removed", Box::new(|| get("goes.test").send().status == 400));
        // The other worker, too.
        thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        flows.map(|flow| flow.join().unwrap())
    });
    let counts: Vec<_> = histories.iter().map(|(count, _)| *count).collect();
    let histories: Vec<_> = histories.into_iter().map(|(_, history)| history).collect();
    println!("requests: {counts:?}");
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    assert_eq!(histories[..2], [[200], [200]], "a provider that stays");
    assert_eq!(
        histories[2],
        [200],
        "a credential that was good under the old secret is good under the new one"
    );
    assert_eq!(histories[3], [401, 200], "open from then on");
    assert_eq!(histories[4], [200, 400], "removed for good");
    assert_eq!(histories[5], [400, 200], "there from then on");
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
