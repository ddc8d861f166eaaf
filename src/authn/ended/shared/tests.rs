use super::*;
use crate::authn::cache::shared::tests::{Memory, Nothing, at};
use crate::authn::env::Host;

const KINDS: &[u8] = b"su";

fn table(owner: &str) -> SharedTable {
    SharedTable::derive("secret", "ended", owner, KINDS).unwrap()
}

fn env(host: &dyn Host, seconds: u64) -> Env<'_> {
    Env { now: at(seconds), host }
}

#[test]
fn what_one_worker_notes_the_others_know_at_their_next_look() {
    let memory = Memory::default();
    let (mut one, mut two) = (table("demo"), table("demo"));
    assert!(!one.sync(&env(&memory, 0)), "there is nothing");
    one.note(b's', "session", at(1), at(100));
    assert!(one.sync(&env(&memory, 1)));
    assert_eq!(two.at(b's', "session"), None);
    assert!(two.sync(&env(&memory, 2)));
    assert_eq!(two.at(b's', "session"), Some(at(1)));
    assert!(!two.sync(&env(&memory, 3)), "there is nothing new");
    assert_eq!([two.at(b'u', "session"), two.at(b's', "other")], [None, None]);
    assert!(!table("other").sync(&env(&memory, 3)), "another owner has a list of its own");
}

/// Both look before either writes: the one that comes later must not overwrite the other's.
#[test]
fn workers_that_note_at_one_time_lose_nothing() {
    struct Between<'a>(&'a Memory, core::cell::RefCell<Option<SharedTable>>);

    impl Host for Between<'_> {
        fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }
        fn shared(&self, name: &str) -> Option<crate::authn::env::Shared> {
            let read = self.0.shared(name);
            if let Some(mut other) = self.1.borrow_mut().take() {
                other.note(b'u', "user", at(2), at(100));
                other.sync(&env(self.0, 2));
            }
            read
        }
        fn share(&self, _: &str, _: &[u8]) {}
        fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
            self.0.share_if(name, value, version)
        }
        fn random(&self, _: &mut [u8]) -> bool {
            false
        }
        fn source_address(&self) -> Option<String> {
            None
        }
    }

    for has_value in [false, true] {
        let memory = Memory::default();
        if has_value {
            let mut before = table("demo");
            before.note(b's', "before", at(0), at(100));
            before.sync(&env(&memory, 0));
        }
        let mut one = table("demo");
        one.note(b's', "session", at(1), at(100));
        one.sync(&env(&Between(&memory, Some(table("demo")).into()), 1));
        for mut worker in [one, table("demo")] {
            worker.sync(&env(&memory, 3));
            assert_eq!(worker.at(b's', "session"), Some(at(1)), "{has_value}");
            assert_eq!(worker.at(b'u', "user"), Some(at(2)), "{has_value}");
        }
    }
}

#[test]
fn value_that_is_not_ours_ends_all_that_began_before_it() {
    let memory = Memory::default();
    let mut one = table("demo");
    one.note(b's', "session", at(1), at(100));
    one.sync(&env(&memory, 1));
    let name = one.name.clone();
    let ours = memory.shared(&name).unwrap().value;
    let flipped = |place: usize| {
        let mut value = ours.clone();
        value[place] ^= 1;
        value
    };
    let forged =
        [b"".to_vec(), b"x".to_vec(), vec![0; 32], ours[1..].to_vec(), ours[..ours.len() - 1].to_vec()];
    for value in forged.into_iter().chain((0..ours.len()).map(flipped)) {
        memory.share(&name, &value);
        let mut new = table("demo");
        new.sync(&env(&memory, 7));
        assert_eq!([new.evicted(b's'), new.evicted(b'u')], [Some(at(7)); 2], "{value:?}");
        // A worker that has looked before loses nothing, and puts it right.
        memory.share(&name, &value);
        one.sync(&env(&memory, 8));
        assert_eq!(one.at(b's', "session"), Some(at(1)));
        let mut next = table("demo");
        next.sync(&env(&memory, 9));
        assert_eq!(next.at(b's', "session"), Some(at(1)));
    }
}

#[test]
fn shared_value_has_no_name_in_it() {
    let memory = Memory::default();
    let mut one = table("demo-client-id");
    one.note(b'u', "alice-the-user", at(1), at(100));
    one.sync(&env(&memory, 1));
    let value = memory.shared(&one.name).unwrap().value;
    let text = format!("{} {}", String::from_utf8_lossy(&value), one.name);
    for secret in ["alice", "demo-client-id", "secret"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn without_shared_data_a_worker_knows_what_it_noted_itself() {
    let memory = Memory::default();
    let mut one = table("demo");
    one.note(b's', "session", at(1), at(100));
    one.sync(&env(&Nothing, 1));
    assert_eq!(one.at(b's', "session"), Some(at(1)));
    // What could not be told is told later.
    one.sync(&env(&memory, 2));
    let mut two = table("demo");
    two.sync(&env(&memory, 3));
    assert_eq!(two.at(b's', "session"), Some(at(1)));
}
