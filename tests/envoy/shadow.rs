//! Shadow mode in the real Envoy, behind a stand-in for the outpost: every planted disagreement is counted once under its
//! name, and no byte of a request or an answer differs from an Envoy without the filter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::{fs, thread};

use fake_authentik::gate::{GATE_FAILS, Gate, ONLY_GATE_OPENS, WITH_BASIC};
use fake_authentik::{ALICE, Authentik, Fault, TOKEN};
use local_envoy::module::root;
use local_envoy::{Envoy, EnvoyOptions};
use loopback::App;
use serde_json::{Value, json};

use super::place::{Place, eventually, options, provider};
use super::wire::{Answer, Connection, basic, bearer};
use crate::module::fixture::Dice;

const HOST: &str = "app.example.test";
const CLIENTS: u64 = 4;
/// Of each client, while authentik answers and while it does not.
const REQUESTS: [usize; 2] = [4_000, 1_000];
/// A cookie that the gate knows, and the filter does not open.
const SESSION: &str = "authentik_proxy_2a97516c=session-of-the-gate";
/// Headers that the filter would take away: an application gets them as before.
const OWNED: [(&str, &str); 3] =
    [("x-authentik-extra", "as it was"), ("X_Authentik_Other", "as it was"), ("connection", "keep-alive")];

/// What the gate sends beside its identity headers.
const OF_THE_GATE: [&str; 4] = ["authorization", "x-tenant", "x-number", "x-flag"];

/// One kind of request, and what is to be counted of it.
struct Kind {
    finding: &'static str,
    start: &'static str,
    host: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

fn kind(finding: &'static str, start: &'static str, headers: &[(&'static str, &str)]) -> Kind {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Kind { finding, start, host: HOST, headers, body: "" }
}

fn as_user(finding: &'static str, authorization: &str) -> Kind {
    kind(finding, "GET /", &[("authorization", authorization)])
}

/// Two Envoys behind one gate: one with the filter in shadow mode, and one without it.
struct Scene {
    place: Place,
    plain: Envoy,
    gate: Gate,
    /// Behind the Envoy without the filter.
    app: App,
}

fn scene(change: impl Fn(EnvoyOptions) -> EnvoyOptions) -> Scene {
    let authentik = Authentik::start();
    let gate = Gate::start(&authentik);
    let (app, other) = (App::start(), App::start());
    let providers = json!([
        provider("demo", HOST, json!({"skip_path_regex": "^/public", "name": "demo"})),
        provider("hs", WITH_BASIC, json!({"basic_auth_enabled": true, "name": "hs"})),
    ]);
    let with_filter = |options: EnvoyOptions| {
        let mut options = options.unsealed().behind(gate.cluster(), Gate::filter(&OF_THE_GATE));
        options.set_manager("preserve_external_request_id", json!(true));
        change(options.concurrency(2).configure("/providers", providers.clone()))
    };
    let shadow = |options: EnvoyOptions| {
        options
            .configure("/shadow", json!({}))
            .configure("/cache", json!({"ttl_seconds": 3600, "negative_ttl_seconds": 300}))
    };
    let envoy = Envoy::start(shadow(with_filter(options(&authentik, &app))));
    let plain = Envoy::start(with_filter(options(&authentik, &other)).without_filter());
    let place = Place { authentik, app, envoy, may_panic: false };
    place.await_keys("demo");
    Scene { place, plain, gate, app: other }
}

/// The counter of shadow mode by provider and result, without the zeros.
fn counted(place: &Place) -> BTreeMap<String, u64> {
    let scrape = place.envoy.admin("/stats/prometheus").expect("a scrape");
    let label = |set: &str, name: &str| {
        let value = set.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
        value.unwrap_or_default().to_owned()
    };
    let lines = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("authentik_proxy_shadow_total{")?.split_once("} "));
    lines
        .map(|(set, value)| {
            let name = format!("{} {}", label(set, "authentik_provider"), label(set, "authentik_result"));
            (name, value.parse().expect("a number"))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// What a client sees, but for what Envoy's clock says.
fn visible(answer: &Answer) -> (u16, Vec<&(String, String)>, &str) {
    let is_of_the_clock = |name: &str| ["date", "x-envoy-upstream-service-time"].contains(&name);
    let lines = answer.lines().iter().filter(|(name, _)| !is_of_the_clock(name)).collect();
    (answer.status, lines, &answer.body)
}

/// Sends each of these to both Envoys.
fn send(kind: &Kind, number: &str, shadow: &mut Connection, plain: &mut Connection) {
    let mut headers = vec![("x-request-id", number)];
    headers.extend(OWNED);
    headers.extend(kind.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let [observed, expected] =
        [shadow, plain].map(|connection| connection.send(kind.start, kind.host, &headers, kind.body));
    if kind.finding == "no_gate" {
        assert_eq!((observed.status, expected.status), (503, 200), "{observed:?}");
    } else {
        assert_eq!(visible(&observed), visible(&expected), "{}", kind.start);
    }
}

fn kinds(scene: &Scene) -> Vec<Kind> {
    let Scene { place, gate, .. } = scene;
    let authentik = &place.authentik;
    let identity = |username: &str| gate.identity(authentik, username);
    let lets_in = |authorization: &str, username: &str| {
        gate.lets_in(authorization, &identity(username));
        authorization.to_owned()
    };
    let password = |username: &str| basic(username, &format!("{username}-app-password-0123456789abcdef"));
    for username in ["frank", "grace"] {
        authentik.edit_user(username, |user| {
            user.app_passwords.push(format!("{username}-app-password-0123456789abcdef"))
        });
    }
    // authentik has disabled dave, and the gate has not heard of it.
    let revoked = lets_in(&password("dave"), "dave");
    // The gate has other groups for frank.
    let other = password("frank");
    let mut groups = identity("frank");
    groups
        .iter_mut()
        .filter(|(name, _)| name == "x-authentik-groups")
        .for_each(|(_, value)| "admins".clone_into(value));
    gate.lets_in(&other, &groups);
    gate.lets_in(SESSION, &identity("alice"));
    let alice = lets_in(&basic("alice", ALICE), "alice");
    let token = lets_in(&bearer(&authentik.issue("demo", "alice")), "alice");
    let eve = lets_in(&password("eve"), "eve");
    let wrong: Vec<_> =
        (0..8).map(|number| as_user("agree", &basic("alice", &format!("wrong-{number}")))).collect();
    let mut kinds = vec![
        as_user("agree", &alice),
        as_user("agree", &alice),
        as_user("agree", &token),
        as_user("agree", &eve),
        Kind { body: "a=b", ..kind("agree", "POST /form", &[("authorization", &alice)]) },
        kind("agree", "GET /", &[("accept", "text/html")]),
        kind("agree", "GET /", &[("accept", "application/json")]),
        Kind { body: "a=b", ..kind("agree", "POST /", &[]) },
        kind("agree", "GET /public/a", &[]),
        kind("agree", "GET /public/a", &[("authorization", &alice)]),
        kind("agree", "GET /", &[("authorization", "Digest x")]),
        as_user("agree", &password("bob")),
        as_user("would_deny", &revoked),
        as_user("would_allow", &password("grace")),
        as_user("other_identity", &other),
        kind("session_of_gate", "GET /", &[("cookie", SESSION)]),
        kind(
            "session_of_gate",
            "GET /",
            &[("cookie", SESSION), ("authorization", "Bearer of-the-application")],
        ),
        kind("agree", "GET /", &[("cookie", SESSION), ("authorization", &alice)]),
        kind("not_comparable", "GET /outpost.goauthentik.io/start?rd=x", &[]),
        kind("not_comparable", "GET /?X-authentik-auth-callback=true&code=x&state=y", &[]),
        Kind { host: WITH_BASIC, ..as_user("not_comparable", &alice) },
        kind("unavailable", "GET /gate-fails", &[("authorization", &alice)]),
        kind("no_gate", "GET /only-the-gate-opens", &[]),
    ];
    assert!(kinds.iter().any(|kind| kind.start.ends_with(GATE_FAILS)));
    assert!(kinds.iter().any(|kind| kind.start.ends_with(ONLY_GATE_OPENS)));
    kinds.extend(wrong);
    kinds
}

/// Sends so many requests of each client, and counts what is to be found.
fn run(scene: &Scene, round: usize, pick: impl Fn(&mut Dice) -> Kind + Sync) -> BTreeMap<String, u64> {
    let expected = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (expected, pick) = (&expected, &pick);
            scope.spawn(move || {
                let mut dice = Dice::new(client * 100 + round as u64);
                let (shadow, plain) = (scene.place.envoy.port(), scene.plain.port());
                let (mut shadow, mut plain) = (Connection::open(shadow), Connection::open(plain));
                for number in 0..REQUESTS[round] {
                    let kind = pick(&mut dice);
                    send(&kind, &format!("{round}-{client}-{number}"), &mut shadow, &mut plain);
                    let provider = if kind.host == WITH_BASIC { "hs" } else { "demo" };
                    *expected.lock().unwrap().entry(format!("{provider} {}", kind.finding)).or_insert(0) += 1;
                    if number % 100 == 0 {
                        scene.place.app.take();
                        scene.app.take();
                    }
                }
            });
        }
    });
    expected.into_inner().unwrap()
}

#[test]
fn twenty_thousand_requests_are_counted_as_planted_and_not_a_byte_differs() {
    let scene = scene(|options| options);
    let kinds = kinds(&scene);
    let any = |dice: &mut Dice| {
        let Kind { finding, start, host, headers, body } = &kinds[dice.below(kinds.len())];
        Kind { finding, start, host, headers: headers.clone(), body }
    };
    let mut expected = run(&scene, 0, any);
    // Everything that can be known is known by now. Then authentik fails, and the gate lives from its cache.
    scene.place.authentik.fault(TOKEN, Fault::ServerError405);
    let newcomers: Vec<_> =
        (0..200).map(|number| basic("newcomer", &format!("app-password-{number}"))).collect();
    let newcomer = scene.gate.identity(&scene.place.authentik, "alice");
    newcomers.iter().for_each(|authorization| scene.gate.lets_in(authorization, &newcomer));
    let failing = run(&scene, 1, |dice| {
        if dice.below(2) == 0 {
            as_user("unavailable", &newcomers[dice.below(newcomers.len())])
        } else {
            any(dice)
        }
    });
    for (name, count) in failing {
        *expected.entry(name).or_insert(0) += count;
    }
    let total: u64 = expected.values().sum();
    assert_eq!(total, 20_000);
    eventually("every request is counted", || counted(&scene.place).values().sum::<u64>() >= total);
    assert_eq!(counted(&scene.place), expected);
    let findings: BTreeSet<_> = expected.keys().filter_map(|name| name.split(' ').next_back()).collect();
    assert_eq!(findings.len(), 8, "each result was planted: {findings:?}");
    lines_are_few_and_name_what_differs(&scene.place.envoy.log());
}

/// At most ten lines a minute and worker, each with the reference number, the reason and the names of the headers.
fn lines_are_few_and_name_what_differs(log: &str) {
    let mut per_minute: BTreeMap<&str, u32> = BTreeMap::new();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains(" shadow=") && line.contains("[info]")).collect();
    assert!(!lines.is_empty(), "{log}");
    for line in lines {
        let minute = line.get(1..17).expect("the time");
        *per_minute.entry(minute).or_default() += 1;
        let headers = line.split("headers=").nth(1).and_then(|rest| rest.split(' ').next());
        let expected = if line.contains("shadow=other_identity") { "x-authentik-groups" } else { "-" };
        assert_eq!(headers, Some(expected), "{line}");
        let id = line.split(" id=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let is_ours = ["0-", "1-"].iter().any(|round| id.starts_with(round)) && id.split('-').count() == 3;
        assert!(is_ours && line.contains(" provider=demo "), "{line}");
        let reason = match line.split("shadow=").nth(1).and_then(|rest| rest.split(' ').next()) {
            Some("would_deny") => "reason=refused",
            Some("would_allow" | "other_identity") => "reason=ok",
            other => panic!("{other:?}: {line}"),
        };
        assert!(line.contains(reason), "{line}");
        assert!(!line.contains("admins"), "no value: {line}");
    }
    assert!(per_minute.values().all(|count| *count <= 20), "two workers: {per_minute:?}");
}

/// What `authentik-proxy-wasm compare` and the tests of dashboard and rules read. `METRICS=write` records both again.
const RECORDED_LOG: &str = "tests/data/shadow/access.log";
const RECORDED_SCRAPE: &str = "tests/data/metrics/shadow.txt";

#[test]
fn access_log_names_the_result_of_each_request_that_is_known_by_then() {
    let format = super::metrics::json_format();
    let scene = scene(|options| {
        options.manager("/access_log/0/typed_config/log_format", json!({"json_format": format}))
    });
    let kinds = kinds(&scene);
    // After the first round the filter knows each credential.
    let mut expected = BTreeMap::new();
    for round in ["first", "second"] {
        let (mut shadow, mut plain) =
            (Connection::open(scene.place.envoy.port()), Connection::open(scene.plain.port()));
        for (number, kind) in kinds.iter().enumerate() {
            let id = format!("{round}-{number}");
            send(kind, &id, &mut shadow, &mut plain);
            expected.insert(id, kind.finding);
        }
        let total = expected.len() as u64;
        eventually("every request is counted", || counted(&scene.place).values().sum::<u64>() == total);
    }
    let is_entry = |line: &&str| line.starts_with('{') && line.ends_with('}');
    eventually("the access log has every request", || {
        scene.place.envoy.log().lines().filter(is_entry).count() == expected.len()
    });
    let log = scene.place.envoy.log();
    let lines: Vec<_> = log.lines().filter(is_entry).collect();
    let mut unknown = 0;
    for line in &lines {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let id = entry["id"].as_str().expect("a reference number");
        match entry["shadow"].as_str() {
            Some(finding) => assert_eq!(finding, expected[id], "{line}"),
            None => {
                assert!(id.starts_with("first-"), "{line}");
                unknown += 1;
            }
        }
        assert!(entry["user"].is_null(), "the gate's user is not ours to name: {line}");
    }
    assert!(unknown < kinds.len() / 2, "{unknown}");
    let scrape = scene.place.envoy.admin("/stats/prometheus").expect("a scrape");
    let metric: String = scrape
        .lines()
        .filter(|line| line.contains("authentik_proxy_shadow_total"))
        .map(|line| format!("{line}\n"))
        .collect();
    if std::env::var_os("METRICS").is_some_and(|it| it == "write") {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::create_dir_all(root().join("tests/data/shadow")).unwrap();
        fs::write(root().join(RECORDED_LOG), text).unwrap();
        let head = "# Recorded by METRICS=write from Envoy in shadow mode: the metric of comparisons.\n";
        fs::write(root().join(RECORDED_SCRAPE), format!("{head}{metric}")).unwrap();
    }
    let names = |text: &str| -> BTreeSet<String> {
        let series = text.lines().filter(|line| line.starts_with("authentik_proxy_"));
        series.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let recorded = fs::read_to_string(root().join(RECORDED_SCRAPE)).expect("a recorded scrape");
    assert_eq!(names(&metric), names(&recorded), "METRICS=write records the scrape again");
}

/// `deploy/shadow/envoy`, step by step: `app.example.com` moves, `shop.example.com` stays.
#[test]
fn hosts_are_switched_as_the_manifests_have_it() {
    let (authentik, app) = (Authentik::start(), App::start());
    let gate = Gate::start(&authentik);
    let alice = basic("alice", ALICE);
    gate.lets_in(&alice, &gate.identity(&authentik, "alice"));
    let start = |step: &str, change: fn(EnvoyOptions) -> EnvoyOptions| {
        let text = fs::read_to_string(root().join(format!("deploy/shadow/envoy/{step}.yaml"))).unwrap();
        let mut options = options(&authentik, &app);
        options.bootstrap = serde_yaml_ng::from_str(&text).unwrap();
        let filters = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
        let filters = options.bootstrap.pointer(filters).unwrap().as_array().unwrap();
        let filter = filters.iter().find(|filter| filter["name"] == "authentik").unwrap();
        let value = filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap();
        options.configuration = serde_json::from_str(value).unwrap();
        options.configuration["authentik"]["host"] = json!(authentik.public_base());
        for (index, (name, slug)) in [("app", "demo"), ("shop", "hs")].into_iter().enumerate() {
            let settings = &mut options.configuration["providers"][index];
            settings["name"] = json!(name);
            settings["assigned_application_slug"] = json!(slug);
            settings["client_id"] = json!(format!("{slug}-client-id"));
        }
        options.set_cluster("authentik", &authentik.authority());
        options.set_cluster("app", &app.authority());
        options.set_cluster("outpost", &gate.authority());
        Envoy::start(change(options))
    };
    let ask = |envoy: &Envoy, host: &str, headers: &[(&str, &str)]| {
        let answer = Connection::open(envoy.port()).get_with(host, headers);
        let shown =
            (answer.status == 200).then(|| super::place::one(&answer.json(), "x-authentik-meta-outpost"));
        assert!(!answer.body.contains("seal-of-the-tests"), "{answer:?}");
        (answer.status, shown)
    };
    let (good, none) = ([("authorization", alice.as_str())], [("accept", "application/json")]);
    let of_gate = (200, Some("authentik Embedded Outpost".to_owned()));
    let of_filter = (200, Some("envoy".to_owned()));

    let beside = start("1-beside", |options| options);
    for host in ["app.example.com", "shop.example.com"] {
        assert_eq!(ask(&beside, host, &good), of_gate);
        assert_eq!(ask(&beside, host, &none), (401, None));
    }
    // Between the two steps there is no gate, and the filter still observes.
    let between = start("2-one-host", |options| options.configure("/shadow/switched", json!([])));
    assert_eq!(ask(&between, "app.example.com", &good), (503, None));
    assert_eq!(ask(&between, "shop.example.com", &good), of_gate);

    let one_host = start("2-one-host", |options| options);
    assert_eq!(ask(&one_host, "app.example.com", &good), of_filter);
    assert_eq!(ask(&one_host, "app.example.com", &none), (401, None));
    let forged = [("x-authentik-username", "admin"), ("accept", "application/json")];
    assert_eq!(ask(&one_host, "app.example.com", &forged), (401, None));
    assert_eq!(ask(&one_host, "shop.example.com", &good), of_gate);
    // Should the filter be missing, the seal closes the host that has no gate.
    let missing = start("2-one-host", EnvoyOptions::without_filter);
    assert_eq!(ask(&missing, "app.example.com", &good), (403, None));
    assert_eq!(ask(&missing, "shop.example.com", &good), of_gate);
}
