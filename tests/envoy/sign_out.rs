//! A sign-out ends all sessions of the user in all workers of the Envoy, and nobody else's.

use super::place::{Place, eventually, one};
use super::wire::{Answer, Request};

fn session_of(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// The count of endings for this reason, over all workers.
fn endings(place: &Place, reason: &str) -> u64 {
    let scrape = place.envoy.admin("/stats/prometheus").expect("a scrape");
    let begin = format!("authentik_proxy_ended_sessions_total{{authentik_reason=\"{reason}\"}} ");
    scrape.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok()).unwrap_or(0)
}

#[test]
fn sign_out_ends_the_users_sessions_on_every_worker_and_no_other() {
    let place = Place::new(|options| options.concurrency(4));
    let [alice, sam] = ["alice-signs-out", "sam-stays"].map(|name| place.newcomer(name));
    let session = |credential: &str| session_of(&place.get_as(credential).send());
    let (phone, laptop, sams) = (session(&alice), session(&alice), session(&sam));
    let with = |cookie: &str| -> Request { place.get("/").header("cookie", cookie) };
    // Each request is a new connection, so all workers see some.
    for cookie in [&phone, &laptop, &sams] {
        for _ in 0..20 {
            place.admits(with(cookie));
        }
    }
    let signed_out = place.get("/outpost.goauthentik.io/sign_out").header("cookie", &phone).send();
    assert_eq!(signed_out.status, 302);
    for cookie in [&phone, &laptop] {
        eventually("the session has ended on every worker", || {
            (0..20).all(|_| with(cookie).send().status == 302)
        });
    }
    for _ in 0..20 {
        let shown = place.admits(with(&sams));
        assert_eq!(one(&shown, "x-authentik-username"), "sam-stays");
    }
    // The credential is good, and its new session too.
    let again = session(&alice);
    for _ in 0..20 {
        place.admits(with(&again));
    }
    eventually("it is counted", || endings(&place, "sign_out") == 1);
    assert_eq!(endings(&place, "relay"), 0);
}
