//! Credentials that are expensive to read, to verify or to turn away.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fake_authentik::{Generation, Key, TokenSpec};
use serde_json::{Map, Value, json};

use super::super::wire::{basic, bearer, encoded};
use super::site::{ASKED, Asking, BLOCK, FEDERATED, HS, Input, LAX, LONGEST, OPEN, RS};

/// Room in such a header for JSON that becomes base64.
const JSON: usize = 11 << 10;

pub(super) fn inputs() -> Vec<Input> {
    let mut inputs = of_tokens();
    inputs.extend(of_signatures());
    inputs.extend(of_the_header());
    inputs
}

fn of_tokens() -> Vec<Input> {
    vec![
        Input::new("Bearer, opaque, 16 KiB", 401, |it| ask(it, RS, &bearer(&it.text(LONGEST - 7)))),
        Input::new("Bearer, 16 KiB of dots", 401, |it| {
            ask(it, RS, &bearer(&format!("{}{}", it.number, ".".repeat(LONGEST - 20))))
        }),
        Input::new("Bearer, three parts of base64 that is not JSON, 16 KiB", 401, |it| {
            let part = BASE64_URL_SAFE_NO_PAD.encode(it.text(4_000));
            ask(it, RS, &bearer(&[part.as_str(); 3].join(".")))
        }),
        Input::new("Bearer, five parts (JWE), 16 KiB", 401, |it| {
            let part = it.text(3_000);
            ask(it, RS, &bearer(&[part.as_str(); 5].join(".")))
        }),
        Input::new("JWT, header of 11 KiB with nested members", 401, |it| {
            let header = object(it, &format!(r#""alg":"RS256",{}"#, nested_members()));
            ask(it, RS, &bearer(&jwt(&header, "{}", SIGNATURE)))
        }),
        Input::new("JWT, claims nested 100 deep, 11 KiB", 401, |it| with_claims(it, &nested_members())),
        Input::new("JWT, claims nested 4,000 deep", 401, |it| {
            with_claims(it, &format!(r#""m":{}{}"#, "[".repeat(4_000), "]".repeat(4_000)))
        }),
        Input::new("JWT, claims of 1,500 members", 401, |it| {
            let members: Vec<_> = (0..1_500).map(|number| format!(r#""{number}":0"#)).collect();
            with_claims(it, &members.join(","))
        }),
        Input::new("JWT, exp with 11,000 digits", 401, |it| {
            with_claims(it, &format!(r#""exp":1.{}"#, "9".repeat(JSON - 100)))
        }),
        Input::new("JWT, claims of escapes", 401, |it| {
            with_claims(it, &format!(r#""sub":"{}""#, r"\u00e9".repeat(JSON / 6)))
        }),
    ]
}

/// They have the provider's issuer, audience and times, so that everything is looked at.
fn of_signatures() -> Vec<Input> {
    vec![
        Input::new("RS256, wrong signature", 401, |it| forged(it, "rs", TokenSpec::new())),
        Input::new("RS256, wrong signature, 15 KiB, 700 groups", 401, |it| {
            forged(it, "rs", TokenSpec::new().claim("groups", groups(700)))
        }),
        Input::new("RS256, wrong signature, 15 KiB, 650 user attributes", 401, |it| {
            forged(it, "rs", TokenSpec::new().claim("ak_proxy", attributes(650)))
        }),
        Input::new("ES256, wrong signature", 401, |it| forged(it, "es", TokenSpec::new())),
        Input::new("ES384, wrong signature", 401, |it| forged(it, "es384", TokenSpec::new())),
        Input::new("ES512 (P-521), wrong signature", 401, |it| forged(it, "es512", TokenSpec::new())),
        Input::new("HS256, wrong signature", 401, |it| forged(it, "hs", TokenSpec::new())),
        Input::new("HS256, wrong signature, 15 KiB", 401, |it| {
            forged(it, "hs", TokenSpec::new().claim("groups", groups(700)))
        }),
        Input::new("RS256, unknown kid", 401, |it| {
            let spec = TokenSpec::new().signed_by(Key::Rs256(Generation::B)).header("kid", it.text(40));
            forged(it, "rs", spec)
        }),
        Input::new("RS256, a kid of 10 KB", 401, |it| {
            let spec = TokenSpec::new().signed_by(Key::Rs256(Generation::B)).header("kid", it.text(10_000));
            forged(it, "rs", spec)
        }),
    ]
}

fn of_the_header() -> Vec<Input> {
    vec![
        Input::new("Basic, 16 KiB that is not base64", 401, |it| {
            ask(it, HS, &format!("Basic {}!", it.text(LONGEST - 7)))
        }),
        Input::new("Basic, 12 KiB, control character at the end", 401, |it| {
            ask(it, HS, &encoded(format!("alice:{}\u{7}", it.text(12_000))))
        }),
        Input::new("Basic, password of 12 KiB, authentik refuses it", 401, |it| {
            ask(it, HS, &basic("alice", &it.text(12_000)))
        }),
        Input::new("Basic, user name of 12 KiB, authentik refuses it", 401, |it| {
            ask(it, HS, &basic(&it.text(12_000), "x"))
        }),
        Input::new("Basic, wrong password, sent to log in", 302, |it| {
            ask(it, LAX, &basic("alice", &it.text(20)))
        }),
        Input::new("token user, JWT of 12 KiB, wrong signature", 401, |it| {
            let token = it.forged("rs", TokenSpec::new().claim("groups", groups(550)));
            ask(it, RS, &encoded(format!("goauthentik.io/token:{token}")))
        }),
        Input::new("introspected, opaque, 16 KiB", 401, |it| ask(it, ASKED, &bearer(&it.text(LONGEST - 7)))),
        Input::new("federated, foreign JWT of 12 KiB, authentik refuses it", 401, |it| {
            let issuer = r#""iss":"https://ci.example.test","aud":"authentik","exp":9000000000,"groups":"#;
            let claims = object(it, &format!("{issuer}{}", json!(groups(550))));
            ask(it, FEDERATED, &bearer(&jwt(HEADER, &claims, SIGNATURE)))
        }),
        Input::new("open path, 60 KiB of commas in Authorization", 200, |it| public(it, &",".repeat(BLOCK))),
        Input::new("open path, 11,600 words in Authorization", 200, |it| public(it, &"YTpi ".repeat(11_600))),
        Input::new("open path, 700 JWTs in Authorization", 200, |it| {
            let token = jwt("{}", &object(it, r#""iss":"https://ci.example.test""#), "A");
            public(it, &format!("{token} ").repeat(BLOCK / (token.len() + 1)))
        }),
        Input::new("open path, one JWT of 58 KiB in Authorization", 200, |it| {
            public(it, &jwt("{}", &object(it, &format!(r#""m":[{}1]"#, "1,".repeat(21_000))), SIGNATURE))
        }),
        Input::new("open path, Basic of 58 KiB with a JWT", 200, |it| {
            let token = jwt("{}", &object(it, &format!(r#""m":[{}1]"#, "1,".repeat(15_000))), SIGNATURE);
            public(it, &encoded(format!("goauthentik.io/token:{token}")))
        }),
        Input::new("1,000 Authorization lines", 401, |it| {
            let request = it.get(HS, "/");
            (0..1_000)
                .fold(request, |request, number| request.authorization(format!("Bearer {number}")))
                .send()
                .status
        }),
    ]
}

/// No signature.
const SIGNATURE: &str = "bm8gc2lnbmF0dXJl";
const HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

fn ask(asking: &Asking<'_>, host: &str, authorization: &str) -> u16 {
    asking.get(host, "/").authorization(authorization).send().status
}

fn public(asking: &Asking<'_>, authorization: &str) -> u16 {
    asking.get(OPEN, "/public/a").authorization(authorization).send().status
}

fn forged(asking: &Asking<'_>, slug: &str, spec: TokenSpec) -> u16 {
    ask(asking, &format!("{slug}.test"), &bearer(&asking.forged(slug, spec)))
}

fn jwt(header: &str, claims: &str, signature: &str) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.{signature}")
}

/// A token with these claims and no good signature.
fn with_claims(asking: &Asking<'_>, claims: &str) -> u16 {
    ask(asking, RS, &bearer(&jwt(HEADER, &object(asking, claims), SIGNATURE)))
}

/// JSON with these members, another one each time.
fn object(asking: &Asking<'_>, members: &str) -> String {
    format!(r#"{{"n":{},{members}}}"#, asking.number)
}

/// Members that are nested as deep as the filter reads, 11 KiB.
fn nested_members() -> String {
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let members: Vec<_> =
        (0..JSON / (nested.len() + 10)).map(|number| format!(r#""m{number}":{nested}"#)).collect();
    members.join(",")
}

fn groups(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("group-{number:04}")).collect()
}

fn attributes(count: usize) -> Value {
    let attributes: Map<_, _> = (0..count).map(|number| (format!("a{number:04}"), json!(number))).collect();
    json!({"user_attributes": {"additionalHeaders": attributes}})
}
