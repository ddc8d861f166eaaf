use serde_json::{Value, json};

use super::*;
use crate::authn::cache::shared::tests::{Memory, at};

fn config(secrets: &Value) -> Config {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "cookie_secret": secrets, "external_host": "https://app.example.test",
        }],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Worker {
    list: EndedList,
    common: Rc<Common>,
}

impl Worker {
    fn new(secrets: &Value) -> Self {
        let config = config(secrets);
        let revalidation = Some(RefCell::new(RevalidationList::new(&config, "events").unwrap()));
        let common = Rc::new(Common { revalidation, ..Common::default() });
        Self { list: EndedList::new(&config, &config.providers[0], &common).unwrap(), common }
    }

    fn revalidate(&self, who: Revalidate<'_>, now: u64) {
        self.common.revalidation.as_ref().unwrap().borrow_mut().note(who, 1_000, at(now));
    }

    fn end(&mut self, who: Who<'_>, now: u64, memory: &Memory) {
        self.list.end(who, at(now), Cause::SignOut, &env(memory, now));
    }

    fn look(&mut self, env: &Env<'_>) {
        self.list.sync(env);
        self.common.revalidation.as_ref().unwrap().borrow_mut().sync(env);
    }

    fn session(&self, claims: &Claims, begun: u64, vouched: u64, now: u64) -> Standing {
        let since = Since { begun: at(begun), vouched: at(vouched), is_of_password: false };
        self.list.of_session(&Checked::default(), claims, since, at(now))
    }

    fn verdict(&self, claims: &Claims, vouched: u64, now: u64, is_of_password: bool) -> Standing {
        let since = Since { begun: at(vouched), vouched: at(vouched), is_of_password };
        self.list.of_verdict(&Checked::default(), claims, since, at(now))
    }
}

fn claims(value: Value) -> Claims {
    serde_json::from_value(value).unwrap()
}

fn alice() -> Claims {
    claims(json!({"sub": "7", "preferred_username": "alice", "sid": "phone"}))
}

fn env(memory: &Memory, seconds: u64) -> Env<'_> {
    Env { now: at(seconds), host: memory }
}

#[test]
fn session_ends_by_its_sid_and_a_user_by_the_sub() {
    let memory = Memory::default();
    let mut worker = Worker::new(&json!(SECRET));
    worker.end(Who::Session("phone"), 10, &memory);
    let laptop = claims(json!({"sub": "7", "preferred_username": "alice", "sid": "laptop"}));
    let of_a_credential = claims(json!({"sub": "7", "preferred_username": "alice"}));
    assert_eq!(worker.session(&alice(), 10, 10, 11), Standing::Over);
    assert_eq!(worker.session(&alice(), 11, 11, 12), Standing::Good, "authentik may use its session again");
    assert_eq!(worker.session(&laptop, 1, 1, 11), Standing::Good);
    worker.end(Who::User("7"), 20, &memory);
    for claims in [&alice(), &laptop, &of_a_credential] {
        assert_eq!(worker.session(claims, 20, 20, 21), Standing::Over);
        assert_eq!(worker.session(claims, 21, 21, 21), Standing::Good);
    }
    let sam = claims(json!({"sub": "8", "preferred_username": "alice", "sid": "7"}));
    assert_eq!(worker.session(&sam, 1, 1, 21), Standing::Good, "a sid is no sub");
}

/// authentik says of a token what it is worth; a session has nobody else who says it.
#[test]
fn token_of_a_session_that_has_ended_must_be_confirmed() {
    let memory = Memory::default();
    let mut worker = Worker::new(&json!(SECRET));
    worker.end(Who::Session("phone"), 10, &memory);
    worker.end(Who::User("7"), 10, &memory);
    assert_eq!(worker.verdict(&alice(), 10, 11, false), Standing::Unconfirmed);
    assert_eq!(worker.verdict(&alice(), 11, 11, false), Standing::Good, "authentik has confirmed it since");
    let of_a_credential = claims(json!({"sub": "7", "preferred_username": "alice"}));
    assert_eq!(worker.verdict(&of_a_credential, 1, 11, true), Standing::Good, "a sign-out ends sessions");
}

#[test]
fn session_begins_after_what_the_list_has_of_its_user() {
    let memory = Memory::default();
    let mut worker = Worker::new(&json!(SECRET));
    assert_eq!(worker.list.beginning(&alice(), at(5)), at(5));
    worker.end(Who::User("7"), 10, &memory);
    let later = Timestamp::from_millis(at(10).millis() + 1);
    // The clock of the Envoy that said so is ahead.
    for now in [5, 9, 10] {
        assert_eq!(worker.list.beginning(&alice(), at(now)), later);
    }
    assert_eq!(worker.list.beginning(&alice(), at(11)), at(11));
}

#[test]
fn list_outlives_a_rotation_of_the_cookie_secret() {
    let memory = Memory::default();
    const NEW: &str = "fedcba9876543210fedcba9876543210";
    let mut before = Worker::new(&json!(SECRET));
    before.end(Who::User("7"), 10, &memory);
    let mut after = Worker::new(&json!([NEW, SECRET]));
    after.look(&env(&memory, 11));
    assert_eq!(after.session(&alice(), 9, 9, 12), Standing::Over);
    let mut without = Worker::new(&json!(NEW));
    without.look(&env(&memory, 11));
    assert_eq!(without.session(&alice(), 9, 9, 12), Standing::Good, "its sessions do not open any more");
}

#[test]
fn full_list_lets_nobody_pass() {
    let memory = Memory::default();
    let mut worker = Worker::new(&json!(SECRET));
    worker.end(Who::Session("phone"), 10, &memory);
    worker.end(Who::User("8"), 11, &memory);
    // One look for all of them: each that is told alone takes its time.
    for number in 0..table::MAX_ENTRIES - 1 {
        worker.list.tables[0].note(USER, &format!("user {number}"), at(20), at(90_000));
    }
    worker.look(&env(&memory, 20));
    let mut other = Worker::new(&json!(SECRET));
    other.look(&env(&memory, 21));
    let bob = claims(json!({"sub": "none", "preferred_username": "bob", "sid": "bob's"}));
    for worker in [&worker, &other] {
        assert_eq!(worker.session(&alice(), 9, 9, 22), Standing::Unconfirmed, "her entry had no room");
        assert_eq!(worker.session(&bob, 10, 10, 22), Standing::Unconfirmed);
        assert_eq!(worker.session(&bob, 10, 11, 22), Standing::Good, "authentik has confirmed it");
        assert_eq!(worker.session(&bob, 11, 11, 22), Standing::Good);
        assert_eq!(worker.verdict(&bob, 10, 22, false), Standing::Unconfirmed);
    }
    // authentik cannot say of a user that he has signed out here: what was begun before is over.
    worker.end(Who::Session("further"), 23, &memory);
    assert_eq!(worker.session(&bob, 11, 22, 24), Standing::Over);
    assert_eq!(worker.session(&bob, 12, 12, 24), Standing::Good);
}

#[test]
fn what_is_good_is_looked_up_once_until_there_is_news() {
    let memory = Memory::default();
    let mut worker = Worker::new(&json!(SECRET));
    worker.look(&env(&memory, 0));
    let checked = Checked::default();
    let since = Since { begun: at(1), vouched: at(1), is_of_password: false };
    let standing = |worker: &Worker, claims: &Claims| worker.list.of_session(&checked, claims, since, at(12));
    assert_eq!(standing(&worker, &alice()), Standing::Good);
    worker.list.tables[0].note(USER, "7", at(10), at(100));
    assert_eq!(standing(&worker, &alice()), Standing::Good, "nobody has looked");
    worker.look(&env(&memory, 11));
    assert_eq!(standing(&worker, &alice()), Standing::Over);
    assert_eq!(standing(&worker, &claims(json!({"sub": "8"}))), Standing::Good);
    worker.revalidate(Revalidate::Everybody, 5);
    worker.look(&env(&memory, 12));
    assert_eq!(standing(&worker, &claims(json!({"sub": "8"}))), Standing::Unconfirmed);
}

/// Who is meant by each entry: with and without `ak_user_pk` in the token.
#[test]
fn entry_of_the_revalidation_list_means_those_it_names() {
    let keyed = claims(json!({"sub": "7", "preferred_username": "alice", "ak_user_pk": 4}));
    let as_text = claims(json!({"sub": "7", "preferred_username": "alice", "ak_user_pk": "4"}));
    let unkeyed = claims(json!({"sub": "7", "preferred_username": "alice", "ak_user_pk": ["4"]}));
    let sam = claims(json!({"sub": "8", "preferred_username": "sam", "ak_user_pk": 5}));
    let hash = "0123456789abcdef".repeat(4);
    let unkeyed_sam = claims(json!({"sub": hash, "preferred_username": "sam"}));
    for (who, expected) in [
        (Revalidate::Username("alice"), [true, true, true, false, false]),
        (Revalidate::Subject("7"), [true, true, true, false, false]),
        (Revalidate::Key(4), [true, true, false, false, false]),
        (Revalidate::Unkeyed, [false, false, true, false, true]),
        (Revalidate::Unhashed, [false, false, true, false, false]),
        (Revalidate::Everybody, [true; 5]),
        (Revalidate::Passwords, [false; 5]),
    ] {
        let memory = Memory::default();
        let mut worker = Worker::new(&json!(SECRET));
        worker.revalidate(who, 10);
        worker.look(&env(&memory, 10));
        for (claims, is_meant) in [&keyed, &as_text, &unkeyed, &sam, &unkeyed_sam].into_iter().zip(expected) {
            // authentik is asked when it has finished, and not before.
            for (vouched, now, is_unconfirmed) in
                [(9, 12, false), (9, 13, is_meant), (12, 13, is_meant), (13, 13, false), (13, 99, false)]
            {
                let expected = if is_unconfirmed { Standing::Unconfirmed } else { Standing::Good };
                assert_eq!(worker.session(claims, 9, vouched, now), expected, "{who:?}: {claims:?} {now}");
                assert_eq!(
                    worker.verdict(claims, vouched, now, false),
                    expected,
                    "{who:?}: {claims:?} {now}"
                );
            }
        }
    }
}

#[test]
fn what_was_granted_for_a_password_is_granted_anew() {
    let memory = Memory::default();
    let mut worker = Worker::new(&json!(SECRET));
    worker.revalidate(Revalidate::Passwords, 10);
    worker.look(&env(&memory, 10));
    let checked = Checked::default();
    let of_password =
        |begun: u64| Since { begun: at(begun), vouched: at(begun.max(50)), is_of_password: true };
    let session =
        |begun: u64, now: u64| worker.list.of_session(&checked, &alice(), of_password(begun), at(now));
    assert_eq!(
        [session(9, 12), session(9, 13), session(13, 13)],
        [Standing::Good, Standing::Over, Standing::Good]
    );
    let verdict = |vouched: u64, now: u64| worker.verdict(&alice(), vouched, now, true);
    assert_eq!(
        [verdict(9, 12), verdict(9, 13), verdict(13, 13)],
        [Standing::Good, Standing::Unconfirmed, Standing::Good]
    );
    assert_eq!(worker.verdict(&alice(), 9, 13, false), Standing::Good);
}
