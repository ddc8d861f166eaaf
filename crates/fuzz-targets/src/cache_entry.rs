//! Any bytes in Envoy's shared data, which every filter with the same `vm_id` may write.
//!
//! Input: a byte that says which entry and how it is authenticated, a byte for the credential, the entry's content.
//!
//! Promised: what does not bear our own authenticator is as good as nothing; an entry that does is for one credential, one
//! format, one time. No entry turns a request away that would pass without it, but for our own definite no.

use authentik_proxy_wasm::authn::provider::fingerprint::ProviderKeys;
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::request::credential::Credential;
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::config::Config;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::Mac as _;
use serde_json::{Value, json};

use super::Seen;
use super::authentik::{self, PASSWORD, USERNAME};
use super::worker::{NOW, Request, Worker, configuration, provider, username};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "raw verdict: nothing",
    "another's verdict: nothing",
    "our verdict: an identity",
    "our verdict: a refusal",
    "our verdict: nothing",
    "raw keys: nothing",
    "our keys: taken over",
    "our keys: nothing",
    "lease held",
    "lease free",
];

/// Version, kind, fresh until, vouched, end, fingerprint, length of the token: then token and claims.
const HEAD_BYTES: usize = 1 + 1 + 8 + 8 + 8 + 32 + 4;
const FINGERPRINT: core::ops::Range<usize> = 26..58;
/// Nobody's password: what authentik says of it is no, so an identity can only come from shared data.
const WRONG: &str = "not-alices-password";

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let [kind, choices, content @ ..] = data else { return seen };
    let password = if choices & 1 == 1 { PASSWORD } else { WRONG };
    let mut worker = Worker::new(&configuration(&[provider("demo", &json!({}))], &json!({})));
    let keys = keys_of(worker.config());
    let others = keys_of(
        Worker::new(&configuration(&[provider("demo", &json!({"client_secret": "x"}))], &json!({}))).config(),
    );
    let credential =
        Credential::Basic { username: USERNAME.to_owned(), password: Secret::new(password.to_owned()) };
    let fingerprint = keys.fingerprint(&credential).0;
    let mut content = content.to_vec();
    if choices & 2 == 2 && content.len() >= HEAD_BYTES {
        content[FINGERPRINT].copy_from_slice(&fingerprint);
    }
    let authenticated = |keys: &ProviderKeys| {
        let mac = keys.slot_mac(&content).finalize().into_bytes();
        [&content[..], &mac].concat()
    };
    let authenticated_keys = |keys: &ProviderKeys| {
        let mac = keys.key_set_mac(&content).finalize().into_bytes();
        [&content[..], &mac].concat()
    };
    let (name, entry) = match kind % 7 {
        0 => ("/verdict/", content.clone()),
        1 => ("/verdict/", authenticated(&others)),
        2 => ("/verdict/", authenticated(&keys)),
        3 => ("/keys/", content.clone()),
        4 => ("/keys/", authenticated_keys(&others)),
        5 => ("/keys/", authenticated_keys(&keys)),
        _ => ("/lease/", content.clone()),
    };
    worker.world.planted = Some(Box::new(move |asked| asked.contains(name).then(|| entry.clone())));
    let is_alice = password == PASSWORD;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{USERNAME}:{password}")));
    let request = Request::get(b"demo.example.test", b"/").with(b"authorization", basic.as_bytes());

    match kind % 7 {
        0 | 1 => {
            let decision = worker.ask(&request, &authentik::answer);
            assert_eq!(username(&decision), is_alice.then_some(USERNAME), "an entry of others has a say");
            seen.insert(if kind % 7 == 0 { "raw verdict: nothing" } else { "another's verdict: nothing" });
        }
        2 => {
            let is_for_us =
                content.len() >= HEAD_BYTES && content[0] == 3 && content[FINGERPRINT] == fingerprint;
            let is_fresh = is_for_us && u64_at(&content, 2) > NOW;
            // What our own entry says is said without a call.
            let decision = worker.send(&request);
            match decision.as_ref().map(|decision| (username(decision), decision)) {
                Some((Some(name), _)) => {
                    assert!(is_fresh && content[1] == 1, "an identity of an entry that is none");
                    assert_eq!(Some(name), said_user(&content).as_deref());
                    seen.insert("our verdict: an identity");
                }
                Some((None, Decision::Reply(reply))) => {
                    assert!(
                        is_fresh && [1, 2, 3, 4].contains(&content[1]),
                        "a refusal of an entry that is none"
                    );
                    assert_eq!(reply.status == 403, content[1] == 1, "{}", reply.log.message);
                    seen.insert("our verdict: a refusal");
                }
                Some((None, Decision::Forward(_))) => panic!("forwarded without identity"),
                None => {
                    seen.insert("our verdict: nothing");
                }
            }
        }
        3..=5 => {
            let is_fetched = fetches_keys(&mut worker);
            let says_keys = content.len() > 8
                && u64_at(&content, 0) <= NOW
                && serde_json::from_slice::<Value>(&content[8..]).is_ok();
            assert!(is_fetched || kind % 7 == 5 && says_keys, "keys of others are taken over");
            seen.insert(match (kind % 7, is_fetched) {
                (5, false) => "our keys: taken over",
                (5, true) => "our keys: nothing",
                _ => "raw keys: nothing",
            });
        }
        _ => {
            let is_fetched = fetches_keys(&mut worker);
            let until = if content.len() >= 9 { u64_at(&content, 0) } else { 0 };
            let is_held = (NOW + 1..=NOW + 3700).contains(&until);
            assert_eq!(is_fetched, !is_held, "a lease until {until}");
            seen.insert(if is_held { "lease held" } else { "lease free" });
            // Whoever forges a lease can hold this worker up for no longer than a call and a lease last.
            let bearer = format!("Bearer {}", authentik::good_token());
            let request = Request::get(b"demo.example.test", b"/").with(b"authorization", bearer.as_bytes());
            // One that says that a fetch has failed is a 503 at once.
            let is_failed = is_held && content.last() == Some(&2);
            assert_eq!(worker.send(&request).is_some(), is_failed);
            worker.calls();
            if is_held {
                worker.tick(8);
                assert!(worker.waiting().is_empty(), "a forged lease lets requests wait for ever");
            }
        }
    }
    seen
}

fn keys_of(config: &Config) -> ProviderKeys {
    ProviderKeys::derive(config, &config.providers[0], &0_usize.to_be_bytes()).expect("HMAC takes any key")
}

fn u64_at(content: &[u8], start: usize) -> u64 {
    u64::from_be_bytes(content[start..start + 8].try_into().unwrap())
}

/// Whether the first tick asks authentik for the keys.
fn fetches_keys(worker: &mut Worker) -> bool {
    worker.tick(0);
    !worker.calls().is_empty()
}

/// The user name in an entry's claims. What nobody reads of them need not be UTF-8.
fn said_user(content: &[u8]) -> Option<String> {
    let length = u32::from_be_bytes(content[HEAD_BYTES - 4..HEAD_BYTES].try_into().unwrap());
    let claims = content.get(HEAD_BYTES + usize::try_from(length).unwrap()..)?;
    let claims: Value = serde_json::from_str(&String::from_utf8_lossy(claims)).ok()?;
    claims["preferred_username"].as_str().map(str::to_owned)
}
