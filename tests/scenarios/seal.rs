//! The seal: on every request that goes on, whoever sent it and on whatever path, and on nothing else.

use serde_json::{Value, json};

use super::{
    Observed, PASSWORD, Reply, Start, ask, basic, configuration, granting, jar, log_in, on_both, refusing,
    request, token,
};

const SEAL: &str = "the-seal-of-the-scenarios";
const FOREIGN: &str = "Negotiate abc";

/// What a client may send of it: a guess, the value itself, any spelling of the name.
const SENT: [(&str, &str); 6] = [
    ("x-authentik-seal", "a-guess-of-the-client"),
    ("x-authentik-seal", SEAL),
    ("x-authentik-seal", ""),
    ("x_authentik_seal", SEAL),
    ("x.authentik.seal", SEAL),
    ("x-authentik_seal", "a-guess-of-the-client"),
];

fn sealed(provider: &Value, rest: &Value) -> String {
    let mut rest = rest.clone();
    rest["seal"] = json!({"values": [SEAL, "the-seal-before-that-one"]});
    configuration(provider, &rest)
}

/// It went on, with the seal once and under its own name.
#[track_caller]
fn assert_sealed(observed: &Observed) {
    assert!(matches!(observed, Observed::Forwarded(_)), "{observed:?}");
    assert_eq!(observed.headers("x-authentik-seal"), [SEAL], "{observed:?}");
    let others = SENT.iter().map(|(name, _)| *name).filter(|name| *name != "x-authentik-seal");
    for name in others {
        assert!(!observed.names().contains(&name), "{name}: {observed:?}");
    }
}

#[test]
fn every_request_that_goes_on_carries_the_seal() {
    on_both(|start| {
        let provider = json!({"skip_path_regex": "^/public", "intercept_header_auth": false});
        let configuration = sealed(&provider, &json!({"allow_cors_preflight": true}));
        let (of_login, of_credential) = sessions(start, &configuration);
        let (good, bearer) = (basic("alice", PASSWORD), format!("Bearer {}", token(&json!({}))));
        let preflight =
            [(":method", "OPTIONS"), ("origin", "https://a"), ("access-control-request-method", "PUT")];
        let roads: [&[(&str, &str)]; 16] = [
            &[("authorization", &good)],
            &[("authorization", &bearer)],
            &[(":method", "POST"), ("authorization", &good)],
            &[
                ("authorization", &good),
                ("upgrade", "websocket"),
                ("connection", "upgrade, x-authentik-seal"),
            ],
            &[("cookie", &of_login)],
            &[("cookie", &of_login), ("authorization", FOREIGN)],
            &[("cookie", &of_login), ("authorization", &good)],
            &[("cookie", &of_credential)],
            &[("cookie", &of_credential), ("authorization", &good)],
            &[("cookie", &of_credential), ("authorization", FOREIGN)],
            &[(":path", "/public/x")],
            &[(":path", "/public/x"), ("authorization", &good)],
            &[(":path", "/public/x"), ("authorization", FOREIGN)],
            &[(":path", "/public/x"), ("cookie", &of_login)],
            &preflight,
            &[&preflight[..], &[("authorization", &good)]].concat(),
        ];
        for road in roads {
            let mut subject = start(&configuration);
            for headers in [road.to_vec(), [road, &SENT].concat(), [&SENT, road].concat()] {
                assert_sealed(&ask(&mut *subject, &headers, &granting(json!({}))));
            }
        }
    });
}

/// Cookies of another replica: of a login, and of a credential.
fn sessions(start: Start<'_>, configuration: &str) -> (String, String) {
    let of_login = log_in(&mut *start(configuration), "alice");
    let mut replica = start(configuration);
    ask(&mut *replica, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
    (of_login, jar(&replica.respond(&[])))
}

#[test]
fn a_confirmed_session_and_a_stale_verdict_carry_the_seal() {
    on_both(|start| {
        let configuration =
            sealed(&json!({"revalidate_seconds": 30}), &json!({"cache": {"stale_seconds": 60}}));
        let (of_login, _) = sessions(start, &configuration);
        let mut subject = start(&configuration);
        subject.advance(31);
        let cookie = [&SENT[..], &[("cookie", &*of_login)]].concat();
        assert!(subject.send(&request(&cookie)).is_none(), "authentik is asked");
        assert_sealed(&subject.answer(&granting(json!({}))).unwrap());

        let credential = basic("alice", PASSWORD);
        let good = [&SENT[..], &[("authorization", &*credential)]].concat();
        ask(&mut *subject, &good, &granting(json!({})));
        subject.advance(31);
        assert!(subject.send(&request(&good)).is_none(), "authentik is asked again");
        assert_sealed(&subject.answer(&|_| Reply::Reset).expect("bridged"));
    });
}

#[test]
fn no_reply_carries_the_seal() {
    on_both(|start| {
        let mut subject = start(&sealed(&json!({}), &json!({})));
        let bad = basic("alice", "wrong");
        let requests: [(&[(&str, &str)], u16); 5] = [
            (&[], 302),
            (&[(":method", "POST"), ("accept", "text/html")], 401),
            (&[(":path", "/outpost.goauthentik.io/ping")], 204),
            (&[(":path", "/outpost.goauthentik.io/another")], 404),
            (&[("authorization", &bad)], 401),
        ];
        for (headers, status) in requests {
            let observed = ask(&mut *subject, &[headers, &SENT].concat(), &refusing);
            assert_eq!(observed.status(), status, "{observed:?}");
            assert!(!format!("{observed:?}").contains(SEAL), "{observed:?}");
        }
        let observed = ask(&mut *subject, &[("authorization", &basic("bob", "x"))], &|_| Reply::Reset);
        assert!(observed.status() == 503 && !format!("{observed:?}").contains(SEAL), "{observed:?}");
    });
}

#[test]
fn a_seal_of_another_name_is_taken_from_clients_too() {
    on_both(|start| {
        let rest = json!({"seal": {"header": "X-Gate", "values": [SEAL]}});
        let configuration = configuration(&json!({"skip_path_regex": "^/public"}), &rest);
        for headers in
            [vec![("authorization", basic("alice", PASSWORD))], vec![(":path", "/public".to_owned())]]
        {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
            let sent = [("x-gate", "a-guess"), ("x-gate", SEAL), ("x_gate", SEAL), ("x.gate", "a-guess")];
            let headers: Vec<_> = headers.chain(sent).collect();
            let observed = ask(&mut *start(&configuration), &headers, &granting(json!({})));
            assert_eq!(observed.headers("x-gate"), [SEAL], "{observed:?}");
            assert!(
                !observed.names().contains(&"x_gate") && !observed.names().contains(&"x.gate"),
                "{observed:?}"
            );
        }
    });
}

#[test]
fn without_the_setting_there_is_no_seal_and_a_client_s_own_goes() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({"skip_path_regex": "^/public"}), &json!({})));
        let observed = subject.send(&request(&[&[(":path", "/public")], &SENT[..]].concat())).unwrap();
        assert_eq!(observed.status(), 200);
        assert!(!observed.names().iter().any(|name| name.contains("seal")), "{observed:?}");
    });
}

#[test]
fn no_claim_sets_the_seal() {
    on_both(|start| {
        for header in ["x-authentik-seal", "x-gate"] {
            let upper = header.to_ascii_uppercase();
            for name in [header.replace('-', "_"), header.replacen('-', ".", 1), header.to_owned(), upper] {
                let proxy = json!({
                    "user_attributes": {"additionalHeaders": {&name: "forged"}, header: "forged"},
                    "host_header": "forged.test", "backend_override": "forged", header: "forged",
                });
                let rest = json!({"seal": {"header": header, "values": [SEAL]}});
                let mut subject = start(&configuration(&json!({}), &rest));
                let credential = basic("alice", PASSWORD);
                let changes = json!({"ak_proxy": proxy, header: "forged"});
                let observed = ask(&mut *subject, &[("authorization", &credential)], &granting(changes));
                assert_eq!(observed.headers(header), [SEAL], "{observed:?}");
                assert!(!observed.headers(&name).contains(&"forged"), "{name}: {observed:?}");
                assert!(
                    observed.header(":authority") == Some("forged.test"),
                    "the claims were read: {observed:?}"
                );
            }
        }
    });
}
