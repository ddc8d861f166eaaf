use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::authn::cache::shared::tests::at;
use crate::authn::session::cipher::tests::Counter;

/// A configuration with one provider, and the keys of its sessions.
fn settings() -> (Config, SealingKeys) {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "cookie_secret": "0123456789abcdef0123456789abcdef",
            "external_host": "https://app.example.test",
        }],
    });
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    let keys = SealingKeys::derive(&config.providers[0]).unwrap();
    (config, keys)
}

fn identity(token: &str, claims: &str, vouched: Timestamp, config: &Config) -> Identity {
    let verified =
        verifier::restored(Token::new(token.to_owned()), claims.as_bytes(), vouched, vouched).unwrap();
    Identity::new(verified, &config.providers[0], config).unwrap()
}

/// Seals and opens a session with this token, claims, origin and ID token. Returns the four as text.
fn seal_and_open(token: &str, claims: &str, origin: &Origin, id_token: Option<&str>) -> [String; 4] {
    let (config, keys) = settings();
    let context = (&config, &*config.providers[0], &keys);
    let identity = identity(token, claims, at(5), &config);
    let sealed = seal(&identity, origin, id_token, context, at(10), &Counter::new()).unwrap();
    assert!(open(sealed.value.as_bytes(), context, sealed.expires).is_none(), "it has ended");
    let session = open(sealed.value.as_bytes(), context, at(10)).unwrap();
    let verified = session.identity.verified();
    assert_eq!((verified.vouched(), session.expires), (at(5), sealed.expires));
    let id_token = session.id_token.as_ref().map(|token| token.expose().clone());
    [
        verified.token().expose().to_owned(),
        session.identity.username().to_owned(),
        format!("{:?}", session.origin),
        id_token.unwrap_or_default(),
    ]
}

#[test]
fn session_round_trips_through_its_cookie() {
    // Line feeds wherever authentik could put one: they do not end the legend.
    let claims = json!({
        "sub": "7", "preferred_username": "alice", "name": "A\nB", "groups": ["\n{}\n"], "exp": at(100).seconds(),
    });
    let claims = claims.to_string();
    let jws = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(&claims));
    for token in [&*jws, "opaque", "a.b.c.d.e", "", "\n", "two\nlines", "\"quoted\\", "é"] {
        for origin in [Origin::Login, Origin::Token, Origin::Credential([7; 32])] {
            for id_token in [None, Some("a.b.c")] {
                assert_eq!(
                    seal_and_open(token, &claims, &origin, id_token),
                    [token, "alice", &format!("{origin:?}"), id_token.unwrap_or_default()]
                );
            }
        }
    }
}

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// An access token or ID token of a login as authentik writes it: its claims in their order, names and identifiers as long as
/// usual. Returns its claims too.
fn recorded(groups: &[String], algorithm: &str, is_id_token: bool) -> (String, String) {
    let bytes = |of: &str| Sha256::digest(of.as_bytes());
    let hex = |of: &str| bytes(of).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let name = |of: &str| hex(of)[..40].to_owned();
    let groups = serde_json::to_string(groups).unwrap();
    let mut claims = format!(
        r#"{{"iss":"https://login.company.test/application/o/intranet/","sub":"{}","aud":"{}","exp":1800003600,"iat":1800000000,"auth_time":1799999990,"acr":"goauthentik.io/providers/oauth2/default","amr":["pwd"],"nonce":"{}","sid":"{}","jti":"{}","ak_proxy":{{"user_attributes":{{"settings":{{"locale":"en"}}}},"is_superuser":false}},"email":"alice.miller@company.test","email_verified":false,"entitlements":[],"roles":[],"name":"Alice Miller","given_name":"Alice Miller","preferred_username":"alice.miller","nickname":"alice.miller","groups":{groups}"#,
        hex("sub"),
        name("client"),
        name("nonce"),
        hex("session"),
        name("jti"),
    );
    if !is_id_token {
        claims.push_str(&format!(
            r#","azp":"{}","uid":"{}","scope":"email entitlements ak_proxy profile openid""#,
            name("client"),
            name("uid"),
        ));
    }
    claims.push('}');
    let (header, parts) = match algorithm {
        "HS256" => (r#"{"alg":"HS256","typ":"JWT"}"#.to_owned(), 1),
        _ => {
            let kid = BASE64_URL_SAFE_NO_PAD.encode([bytes("key"), bytes("id")].concat());
            (format!(r#"{{"alg":"RS256","kid":"{kid}","typ":"JWT"}}"#), 8)
        }
    };
    let signature: Vec<u8> = (0..parts).flat_map(|part| bytes(&format!("{is_id_token} {part}"))).collect();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    ([header.as_bytes(), claims.as_bytes(), &signature].map(encode).join("."), claims)
}

/// Length of the session cookie of a user in these groups: of a login, and of an app password.
fn sizes(groups: &[String], algorithm: &str) -> (usize, usize) {
    let (config, keys) = settings();
    let context = (&config, &*config.providers[0], &keys);
    let (access_token, claims) = recorded(groups, algorithm, false);
    let (id_token, _) = recorded(groups, algorithm, true);
    let identity = identity(&access_token, &claims, NOW, &config);
    let size = |origin: &Origin, id_token: Option<&str>| {
        let sealed = seal(&identity, origin, id_token, context, NOW, &Counter::new()).unwrap();
        let session = open(sealed.value.as_bytes(), context, NOW).unwrap();
        assert_eq!(session.identity.verified().token().expose(), access_token);
        assert_eq!(session.id_token.as_ref().map(|token| token.expose().as_str()), id_token);
        sealed.value.len()
    };
    (size(&Origin::Login, Some(&id_token)), size(&Origin::Credential([0x5a; 32]), None))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("group-{number:03}")).collect()
}

/// Names such as directories have: a place, a department, a role and a number.
fn of_a_directory(count: usize) -> Vec<String> {
    let name = |number: usize| {
        let pick = |words: &[&str], salt: &str| {
            let byte = Sha256::digest(format!("{salt}{number}"))[0];
            words[usize::from(byte) % words.len()].to_owned()
        };
        let place = pick(&["berlin", "paris", "austin", "osaka"], "place");
        let department =
            pick(&["finance", "support", "platform", "legal", "sales", "research"], "department");
        let role = pick(&["admins", "editors", "readers"], "role");
        format!("{place}-{department}-{role}-{number:03}")
    };
    (0..count).map(name).collect()
}

/// The bounds are those of the table of sizes in docs/design.md. Browsers keep 4,096 bytes of a cookie; more goes into parts.
#[test]
fn cookie_sizes_are_within_their_bounds() {
    let named = ["authentik Admins", "engineering", "grafana-editors"].map(str::to_owned);
    for (groups, hs256, rs256) in [
        (named.to_vec(), (900, 850), (1_700, 1_350)),
        (numbered(3), (900, 850), (1_700, 1_350)),
        (numbered(100), (1_450, 1_400), (2_250, 1_900)),
        (of_a_directory(100), (2_350, 2_300), (3_150, 2_800)),
        (numbered(1_000), (6_350, 6_200), (7_150, 6_700)),
        (of_a_directory(1_000), (14_390, 14_190), (15_180, 14_690)),
    ] {
        for (algorithm, (login, credential)) in [("HS256", hs256), ("RS256", rs256)] {
            let sizes = sizes(&groups, algorithm);
            let count = groups.len();
            assert!((login - 100..=login).contains(&sizes.0), "{algorithm}, {count} groups: {sizes:?}");
            assert!(
                (credential - 100..=credential).contains(&sizes.1),
                "{algorithm}, {count} groups: {sizes:?}"
            );
        }
    }
}

/// What is sealed with our key and is no packed content. All of it is authentic: another version may have sealed it.
#[test]
fn sealed_bytes_that_are_no_packed_session_are_no_session() {
    let (config, keys) = settings();
    let context = (&config, &*config.providers[0], &keys);
    let (token, claims) = recorded(&numbered(3), "HS256", false);
    let identity = identity(&token, &claims, NOW, &config);
    let span = Span { begun: NOW, expires: NOW.plus(60) };
    let content = content(&identity, &Origin::Login, None, span).unwrap();
    let packed = packing::pack(content.expose()).unwrap();
    let opens = |sealed: &[u8]| {
        let value = keys.seal(Purpose::Session, sealed, &Counter::new()).unwrap();
        open(value.as_bytes(), context, NOW).is_some()
    };
    assert!(opens(packed.expose()));
    assert!(!opens(content.expose()), "the form before, which was not packed");
    for length in 0..packed.expose().len() {
        assert!(!opens(&packed.expose()[..length]), "cut to {length} bytes");
    }
    let size = u32::try_from(packing::MAX_CONTENT_BYTES).unwrap();
    let letters = [&[0x1f, b'a', 1, 0][..], &[0xff; 20_000], &[0]].concat();
    for size in [size, size + 1, u32::MAX] {
        assert!(!opens(&[&[1][..], &size.to_le_bytes(), &letters].concat()), "five million letters");
    }
}

/// It is sealed at every first sight of a token, and its client sends the token as well.
#[test]
fn session_of_a_token_is_packed_only_where_it_would_not_fit_into_one_cookie() {
    let (config, keys) = settings();
    let context = (&config, &*config.providers[0], &keys);
    let size = |count: usize, origin: &Origin| {
        let (token, claims) = recorded(&numbered(count), "RS256", false);
        let identity = identity(&token, &claims, NOW, &config);
        let sealed = seal(&identity, origin, None, context, NOW, &Counter::new()).unwrap();
        let session = open(sealed.value.as_bytes(), context, NOW).unwrap();
        assert_eq!(session.identity.verified().token().expose(), token);
        sealed.value.len()
    };
    let credential = Origin::Credential([7; 32]);
    assert!(size(3, &Origin::Token) > size(3, &credential) + 500);
    assert!(size(100, &Origin::Token) < 3_800);
    assert!(size(200, &Origin::Token) < size(200, &credential));
    assert!((0..250).all(|count| size(count, &Origin::Token) <= 3_800), "one cookie");
}

#[test]
fn session_that_could_not_be_unpacked_is_not_sealed() {
    let (config, keys) = settings();
    let context = (&config, &*config.providers[0], &keys);
    let seal = |name_bytes: usize| {
        let claims = json!({"sub": "7", "preferred_username": "alice", "name": "n".repeat(name_bytes), "exp": 1_800_000_100});
        let claims = claims.to_string();
        let identity = identity("opaque", &claims, NOW, &config);
        seal(&identity, &Origin::Token, None, context, NOW, &Counter::new()).map(|sealed| sealed.value)
    };
    let value = seal(packing::MAX_CONTENT_BYTES - 1_000).unwrap();
    assert!(open(value.as_bytes(), context, NOW).is_some());
    assert_eq!(seal(packing::MAX_CONTENT_BYTES), Err(Fault::UnencodableSession));
}
