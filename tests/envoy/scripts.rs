//! What a script in a browser can make of the filter's replies.

use fake_authentik::ALICE;
use serde_json::json;

use super::place::Place;
use super::wire::{Answer, basic};

const ALLOWED: &str = "https://spa.example.test";

fn cors(answer: &Answer) -> [Vec<&str>; 3] {
    ["access-control-allow-origin", "access-control-allow-credentials", "vary"]
        .map(|name| answer.headers(name))
}

#[test]
fn a_script_of_an_allowed_origin_reads_its_401_and_is_asked_for_no_password() {
    let place = Place::new(|options| options.configure("/allow_cors_origins", json!([ALLOWED])));
    for (origin, expected) in [
        (ALLOWED, [vec![ALLOWED], vec!["true"], vec!["Origin"]]),
        ("https://evil.test", [vec![], vec![], vec![]]),
    ] {
        let script = || place.get("/").header("origin", origin).header("sec-fetch-mode", "cors");
        for (request, status) in [
            (script(), 401),
            (script().authorization(basic("alice", "wrong")), 401),
            (place.get("/").header("origin", origin), 302),
        ] {
            let answer = place.turns_away(request, status);
            assert_eq!(cors(&answer), expected, "{answer:?}");
            let challenges = answer.headers("www-authenticate");
            assert_eq!(challenges, ["Bearer realm=\"demo\""][..usize::from(status == 401)], "{answer:?}");
        }
        // Of what goes on, the application says who may read it.
        let answer = script().authorization(basic("alice", ALICE)).send();
        assert_eq!((answer.status, cors(&answer)), (200, [vec![], vec![], vec![]]));
    }
}
