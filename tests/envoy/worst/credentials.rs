//! Credentials that are expensive to read, to verify or to turn away.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::super::wire::{basic, bearer, encoded};
use super::site::{ASKED, Asking, FEDERATED, HS, Input, LAX, OPEN, RS};
use crate::support::authentik::{Generation, Key, TokenSpec};

/// What the filter reads of `Authorization` at most, in bytes.
const LONGEST: usize = 16 << 10;
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
        Input::new("Bearer, three parts of base64 that is no JSON, 16 KiB", 401, |it| {
            let part = BASE64_URL_SAFE_NO_PAD.encode(it.text(4_000));
            ask(it, RS, &bearer(&format!("{part}.{part}.{part}")))
        }),
        Input::new("Bearer, five parts (JWE), 16 KiB", 401, |it| {
            ask(
                it,
                RS,
                &bearer(
                    &[it.text(3_000), it.text(3_000), it.text(3_000), it.text(3_000), it.text(3_000)]
                        .join("."),
                ),
            )
        }),
        Input::new("JWT, header of 11 KiB with nested members", 401, |it| {
            let nested = nested(100);
            let members: Vec<_> =
                (0..JSON / (nested.len() + 10)).map(|number| format!("\"m{number}\":{nested}")).collect();
            ask(
                it,
                RS,
                &bearer(&jwt(
                    &format!("{{\"alg\":\"RS256\",\"kid\":\"{}\",{}}}", it.number, members.join(",")),
                    "{}",
                )),
            )
        }),
        Input::new("JWT, claims nested 100 deep, 11 KiB", 401, |it| {
            let nested = nested(100);
            let members: Vec<_> =
                (0..JSON / (nested.len() + 10)).map(|number| format!("\"m{number}\":{nested}")).collect();
            ask(it, RS, &bearer(&jwt(HEADER, &format!("{{\"n\":{},{}}}", it.number, members.join(",")))))
        }),
        Input::new("JWT, claims nested 5,000 deep", 401, |it| {
            ask(it, RS, &bearer(&jwt(HEADER, &format!("{{\"n\":{},\"m\":{}", it.number, "[".repeat(5_000)))))
        }),
        Input::new("JWT, claims of 1,500 members", 401, |it| {
            let members: Vec<_> = (0..1_500).map(|number| format!("\"{number}\":0")).collect();
            ask(it, RS, &bearer(&jwt(HEADER, &format!("{{\"n\":{},{}}}", it.number, members.join(",")))))
        }),
        Input::new("JWT, exp with 11,000 digits", 401, |it| {
            let digits = "9".repeat(JSON - 100);
            ask(it, RS, &bearer(&jwt(HEADER, &format!("{{\"n\":{},\"exp\":1.{digits}}}", it.number))))
        }),
        Input::new("JWT, claims of escapes", 401, |it| {
            ask(
                it,
                RS,
                &bearer(&jwt(
                    HEADER,
                    &format!("{{\"n\":{},\"sub\":\"{}\"}}", it.number, "\\u00e9".repeat(JSON / 6)),
                )),
            )
        }),
    ]
}

/// They have the provider's issuer, audience and times, so that everything is looked at.
fn of_signatures() -> Vec<Input> {
    vec![
        Input::new("RS256, wrong signature", 401, |it| forged(it, "rs", TokenSpec::new())),
        Input::new("RS256, wrong signature, 16 KiB, 900 groups", 401, |it| {
            forged(it, "rs", TokenSpec::new().claim("groups", groups(900)))
        }),
        Input::new("RS256, wrong signature, 16 KiB, 700 user attributes", 401, |it| {
            forged(it, "rs", TokenSpec::new().claim("ak_proxy", attributes(700)))
        }),
        Input::new("ES256, wrong signature", 401, |it| forged(it, "es", TokenSpec::new())),
        Input::new("ES384, wrong signature", 401, |it| forged(it, "es384", TokenSpec::new())),
        Input::new("ES512 (P-521), wrong signature", 401, |it| forged(it, "es512", TokenSpec::new())),
        Input::new("HS256, wrong signature", 401, |it| forged(it, "hs", TokenSpec::new())),
        Input::new("HS256, wrong signature, 16 KiB", 401, |it| {
            forged(it, "hs", TokenSpec::new().claim("groups", groups(900)))
        }),
        Input::new("RS256, a kid that nobody has", 401, |it| {
            let spec = TokenSpec::new().signed_by(Key::Rs256(Generation::B)).header("kid", it.text(40));
            forged(it, "rs", spec)
        }),
        Input::new("RS256, a kid of 11 KiB", 401, |it| {
            let spec = TokenSpec::new().signed_by(Key::Rs256(Generation::B)).header("kid", it.text(10_000));
            forged(it, "rs", spec)
        }),
    ]
}

fn of_the_header() -> Vec<Input> {
    vec![
        Input::new("Basic, 16 KiB that is no base64", 401, |it| {
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
            let token = it.forged("rs", TokenSpec::new().claim("groups", groups(600)));
            ask(it, RS, &encoded(format!("goauthentik.io/token:{token}")))
        }),
        Input::new("introspected, opaque, 16 KiB", 401, |it| ask(it, ASKED, &bearer(&it.text(LONGEST - 7)))),
        Input::new("federated, foreign JWT of 12 KiB, authentik refuses it", 401, |it| {
            let claims = json!({"iss": "https://ci.example.test", "sub": it.number, "aud": "authentik", "exp": 9_000_000_000_i64, "groups": groups(600)});
            ask(it, FEDERATED, &bearer(&jwt(HEADER, &claims.to_string())))
        }),
        Input::new("open path, 60 KiB of commas in Authorization", 200, |it| public(it, &",".repeat(58_000))),
        Input::new("open path, 20,000 words in Authorization", 200, |it| public(it, &"YTpi ".repeat(11_600))),
        Input::new("open path, 400 JWTs in Authorization", 200, |it| {
            let token = jwt("{}", &json!({"iss": "https://ci.example.test", "n": it.number}).to_string());
            public(it, &format!("{token} ").repeat(58_000 / (token.len() + 1)))
        }),
        Input::new("open path, one JWT of 58 KiB in Authorization", 200, |it| {
            public(it, &jwt("{}", &format!("{{\"n\":{},\"m\":[{}1]}}", it.number, "1,".repeat(21_000))))
        }),
        Input::new("open path, Basic of 58 KiB with a JWT", 200, |it| {
            let token = jwt("{}", &format!("{{\"n\":{},\"m\":[{}1]}}", it.number, "1,".repeat(15_000)));
            public(it, &format!("Basic {}", BASE64_STANDARD.encode(format!("goauthentik.io/token:{token}"))))
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

/// With a signature of nothing.
fn jwt(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.{}", "A".repeat(342))
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn groups(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("group-{number:04}")).collect()
}

fn attributes(count: usize) -> Value {
    let attributes: serde_json::Map<_, _> =
        (0..count).map(|number| (format!("a{number:04}"), json!(number))).collect();
    json!({"user_attributes": {"additionalHeaders": attributes}})
}
