//! What an operator sees of each request: one counter grows by one, and the access log names it.

use std::collections::BTreeMap;

use fake_authentik::{ALICE, Authentik, Fault, INTROSPECT, OUTPOST_PROVIDERS, TOKEN, TokenSpec};
use serde_json::{Value, json};

use super::outpost::without_application;
use super::place::{Place, eventually, provider};
use super::wire::{Answer, Request, basic, bearer, encoded};

const REQUESTS: &str = "authentik_proxy_requests_total";
const SKIPPED: &str = "/open";

/// All series of one metric, each by the values of its labels.
fn series(place: &Place, metric: &str, labels: &[&str]) -> BTreeMap<String, u64> {
    let scrape = place.envoy.admin("/stats/prometheus").expect("a scrape");
    let lines =
        scrape.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} "));
    let label = |set: &str, name: &str| {
        let value =
            set.split_once(&format!("authentik_{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
        value.unwrap_or_else(|| panic!("no label {name}: {set}")).to_owned()
    };
    lines
        .map(|(set, value)| {
            let words: Vec<_> = labels.iter().map(|name| label(set, name)).collect();
            (words.join(" "), value.parse().expect("a number"))
        })
        .collect()
}

fn requests(place: &Place) -> BTreeMap<String, u64> {
    series(place, REQUESTS, &["provider", "outcome", "reason", "source"])
}

/// The request adds one to this series, and to no other.
#[track_caller]
fn counts(place: &Place, request: Request, expected: &str) -> Answer {
    let before = requests(place);
    let answer = request.send();
    let after = requests(place);
    let grown: BTreeMap<_, _> = after
        .iter()
        .map(|(name, value)| (name.as_str(), value - before.get(name).copied().unwrap_or(0)))
        .filter(|(_, growth)| *growth > 0)
        .collect();
    assert_eq!(grown, BTreeMap::from([(expected, 1)]), "{answer:?}");
    answer
}

fn session_of(answer: &Answer) -> String {
    let cookies = answer.headers("set-cookie");
    let pairs = cookies.iter().filter_map(|line| line.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

#[test]
fn each_decision_adds_one_to_its_own_series_and_to_no_other() {
    let place = Place::new(|options| {
        options
            .concurrency(1)
            .configure("/providers/0/skip_path_regex", format!("^{SKIPPED}"))
            .configure("/allow_cors_preflight", true)
            .configure("/throttle", json!({"failures": 2}))
    });
    let authentik = &place.authentik;
    place.await_keys("demo");
    let good = authentik.issue("demo", "alice");
    let navigation = || place.get("/").header("accept", "text/html");

    counts(&place, navigation(), "demo login login none");
    counts(&place, place.get("/").header("sec-fetch-mode", "cors"), "demo denied no_credential none");
    counts(&place, place.get_as(encoded("no colon")), "demo denied unusable_credential none");
    let first = counts(&place, place.get_as(bearer(&good)), "demo allowed ok local");
    counts(&place, place.get_as(bearer(&good)), "demo allowed ok cache");
    counts(&place, place.get("/").header("cookie", session_of(&first)), "demo allowed ok session");
    counts(&place, place.get_as(basic("alice", ALICE)), "demo allowed ok exchange");
    counts(&place, place.get_as(basic("alice", ALICE)), "demo allowed ok cache");
    counts(&place, place.get_as(basic("alice", "one")), "demo denied refused exchange");
    counts(&place, place.get_as(basic("alice", "one")), "demo denied refused cache");
    counts(&place, place.get_as(basic("alice", "two")), "demo denied refused exchange");
    counts(&place, place.get_as(basic("alice", "three")), "demo denied throttled none");
    let expired = authentik.mint("demo", TokenSpec::new().claim_in("exp", -1));
    counts(&place, place.get_as(bearer(&expired)), "demo denied invalid_token local");
    let nameless = authentik.mint("demo", TokenSpec::new().claim("preferred_username", ""));
    counts(&place, place.get_as(bearer(&nameless)), "demo denied incomplete_identity local");

    counts(&place, place.get(SKIPPED), "demo open open_path none");
    counts(&place, place.get(SKIPPED).header("cookie", session_of(&first)), "demo open open_path session");
    counts(&place, place.get(SKIPPED).authorization(bearer(&good)), "demo open open_path cache");
    let preflight = place.request("OPTIONS", "/").header("origin", "https://app.example.test");
    let preflight = preflight.header("access-control-request-method", "POST");
    counts(&place, preflight, "demo open preflight none");
    counts(&place, place.get("/outpost.goauthentik.io/ping"), "demo open ping none");
    counts(&place, place.get("/outpost.goauthentik.io/other"), "demo denied not_found none");
    counts(&place, place.get("/outpost.goauthentik.io/start"), "demo login login none");
    counts(&place, place.get("/outpost.goauthentik.io/callback?code=x"), "demo denied login_failed none");
    counts(&place, place.get("/outpost.goauthentik.io/sign_out"), "demo login signed_out none");
    let logout = place.request("POST", "/outpost.goauthentik.io/backchannel_logout");
    counts(&place, logout, "demo denied backchannel_logout_refused none");

    authentik.fault(TOKEN, Fault::ServerError405);
    counts(&place, place.get_as(place.newcomer("unlucky")), "demo unavailable unavailable none");
}

#[test]
fn introspection_and_unknown_hosts_have_series_of_their_own() {
    let place = Place::of(&[
        provider("demo", "app.example.test", json!({"bearer_verification": "introspection"})),
        provider("rs", "rs.example.test", json!({})),
    ]);
    let good = place.authentik.issue("demo", "alice");
    let at = |host: &str, token: &str| place.get_as(bearer(token)).host(host);
    counts(&place, at("app.example.test", &good), "demo allowed ok introspection");
    counts(&place, at("app.example.test", "opaque-token"), "demo denied inactive_token introspection");
    counts(&place, at("elsewhere.example.test", &good), "none denied unknown_host none");
}

#[test]
fn calls_to_authentik_are_counted_and_timed() {
    let place = Place::new(|options| options.concurrency(1));
    place.await_keys("demo");
    place.admits(place.get_as(basic("alice", ALICE)));
    place.turns_away(place.get_as(basic("alice", "wrong")), 401);
    place.authentik.fault(TOKEN, Fault::ServerError405);
    place.turns_away(place.get_as(place.newcomer("unlucky")), 503);
    let calls = series(&place, "authentik_proxy_authentik_calls_total", &["endpoint", "result"]);
    for (name, least) in [("token ok", 1), ("token refused", 1), ("token failed", 1), ("jwks ok", 1)] {
        assert!(calls.get(name).is_some_and(|count| *count >= least), "{name}: {calls:?}");
    }
    assert_eq!(calls.get("introspection ok"), None);
    // Envoy shows a histogram at the end of its flush interval.
    let count = "authentik_proxy_authentik_call_milliseconds_count";
    eventually("the durations are shown", || {
        series(&place, count, &["endpoint"]).get("token").is_some_and(|count| *count >= 3)
    });
}

#[test]
fn gauges_show_load_keys_and_configuration() {
    let place = Place::new(|options| options.concurrency(2));
    place.await_keys("demo");
    place.admits(place.get_as(basic("alice", ALICE)));
    let gauge = |name: &str| {
        let scrape = place.envoy.admin("/stats/prometheus").expect("a scrape");
        let line = scrape.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    // Two workers and the main thread.
    eventually("all report", || {
        series(&place, "authentik_proxy_config_info", &["version", "digest"]).into_values().eq([3])
    });
    assert_eq!(gauge("authentik_proxy_waiting_requests"), Some(0));
    assert_eq!(gauge("authentik_proxy_pending_calls"), Some(0));
    assert!(gauge("authentik_proxy_call_limit").is_some_and(|limit| limit >= 12));
    eventually("the verdict is counted", || gauge("authentik_proxy_cache_entries") == Some(1));
    assert!(series(&place, "authentik_proxy_keys_age_seconds", &["provider"]).contains_key("demo"));
}

/// The tests of `monitoring::live` see that there is none without a token.
#[test]
fn age_of_the_list_begins_anew_with_each_reading_and_grows_while_there_is_none() {
    let authentik = Authentik::start();
    let envoy = without_application(&authentik);
    let age = || {
        let scrape = envoy.admin("/stats/prometheus").expect("a scrape");
        let value =
            scrape.lines().find_map(|line| line.strip_prefix("authentik_proxy_config_age_seconds{} "));
        value.map(|value| value.parse::<u64>().expect("seconds"))
    };
    eventually("the list has an age", || age().is_some_and(|age| age <= 2));
    authentik.fault(OUTPOST_PROVIDERS, Fault::ServerError405);
    eventually("it grows", || age().is_some_and(|age| age >= 4));
    authentik.clear_faults();
    eventually("it begins anew", || age().is_some_and(|age| age <= 2));
}

#[test]
fn a_thousand_providers_have_a_bounded_number_of_series() {
    let entry = |number: usize| {
        json!({
            "assigned_application_slug": format!("app-{number}"), "client_id": "demo-client-id",
            "client_secret": "s", "cookie_secret": "c".repeat(32),
            "external_host": format!("http://app-{number}.example.test"),
        })
    };
    let providers: Vec<Value> = (0..1_000).map(entry).collect();
    let place = Place::new(|options| options.concurrency(1).configure("/providers", providers));
    for number in [0, 199, 200, 999] {
        place.get("/").host(&format!("app-{number}.example.test")).send();
    }
    let requests = requests(&place);
    assert_eq!(requests.get("app-0 login login none"), Some(&1));
    assert_eq!(requests.get("app-199 login login none"), Some(&1));
    assert_eq!(requests.get("other login login none"), Some(&2), "those beyond share a series");
    assert!(requests.len() < 200 * 8, "{} series", requests.len());
}

#[test]
fn access_log_names_user_reason_source_and_provider_and_no_query() {
    let place = Place::new(|options| options.concurrency(1));
    let id = "5f0c3c2a-9d1e-4b7a-8a55-0d9f5d7c1a11";
    place.admits(place.get_as(basic("alice", ALICE)).header("x-request-id", id));
    place.turns_away(place.get("/page?token=not-for-the-log").header("sec-fetch-mode", "cors"), 401);
    place.await_log(&["GET / 200 via_upstream user=alice reason=ok source=exchange provider=demo id="]);
    place.await_log(&[
        "GET /page 401 authentik_no_credential user=- reason=no_credential source=none provider=demo id=",
    ]);
    assert!(!place.envoy.log().contains("not-for-the-log"));
}

/// The format for machines stands in a comment of `envoy.yaml`.
pub(super) fn json_format() -> BTreeMap<String, String> {
    let file = include_str!("../../envoy.yaml");
    let (_, rest) = file.split_once("# json_format:\n").expect("the format");
    let lines = rest.lines().map_while(|line| line.trim_start().strip_prefix("#   "));
    lines
        .map(|line| line.split_once(": ").expect("a field"))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[test]
fn json_access_log_of_envoy_yaml_names_the_same() {
    let format = json_format();
    assert!(format.len() > 8 && !format.values().any(|value| value == "%PATH%"), "{format:?}");
    let place = Place::new(|options| {
        options
            .concurrency(1)
            .manager("/access_log/0/typed_config/log_format", json!({"json_format": format}))
    });
    place.turns_away(place.get("/page?token=not-for-the-log").header("sec-fetch-mode", "cors"), 401);
    place.await_log(&["\"reason\":\"no_credential\""]);
    let log = place.envoy.log();
    let line = log.lines().find(|line| line.contains("\"reason\":\"no_credential\"")).expect("a line");
    let entry: Value = serde_json::from_str(line).expect("JSON");
    for (name, value) in [
        ("method", json!("GET")),
        ("path", json!("/page")),
        ("status", json!(401)),
        ("details", json!("authentik_no_credential")),
        ("user", Value::Null),
        ("source", json!("none")),
        ("provider", json!("demo")),
    ] {
        assert_eq!(entry[name], value, "{name} in {line}");
    }
    assert!(entry["id"].is_string() && !log.contains("not-for-the-log"), "{line}");
}

/// W3C Trace Context and B3: a call to authentik belongs to the trace of the request that causes it.
#[test]
fn calls_carry_the_trace_context_of_their_request() {
    let place = Place::new(|options| {
        options.concurrency(1).configure("/providers/0/bearer_verification", "introspection")
    });
    place.await_keys("demo");
    let context = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=value"),
        ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"),
    ];
    let good = place.authentik.issue("demo", "alice");
    place.admits(place.get_as(basic("alice", ALICE)).headers(&context));
    place.admits(place.get_as(bearer(&good)).headers(&context));
    // A value that no call could have.
    place.admits(place.get_as(place.newcomer("carol")).header("tracestate", b"caf\xe9"));
    let calls = place.authentik.calls();
    let of = |path: &str| calls.iter().filter(|call| call.path == path).collect::<Vec<_>>();
    let values = |call: &fake_authentik::Call, name: &str| {
        let named = call.headers.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    for call in [of(TOKEN)[0], of(INTROSPECT)[0]] {
        for (name, value) in context {
            assert_eq!(values(call, name), [value], "{name} of {}", call.path);
        }
        assert_eq!(values(call, "x-request-id").len(), 1, "{}", call.path);
    }
    assert_eq!(values(of(TOKEN)[1], "tracestate"), [""; 0]);
    assert_ne!(values(of(TOKEN)[0], "x-request-id"), values(of(TOKEN)[1], "x-request-id"));
}
