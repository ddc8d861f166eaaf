//! Ten thousand tokens, of every algorithm and changed in every way of [`kinds`], before three judges: the built module in
//! the real Envoy, whose BoringSSL checks signatures; the core, which checks RS256 and ES256 itself (feature `portable`) and
//! asks a RustCrypto host for ES384 and ES512; and the crate `jsonwebtoken`, which has no ES512. All of them must decide as
//! is true by construction.
//!
//! Nothing that was changed may pass, but for two changes that make other good tokens ([`Kind::WithoutKid`],
//! [`Kind::NegatedS`]). The same seed makes the same changes at the same places; the times in the tokens, and so the
//! signatures, are of the moment. No token is sent twice, so that none is known from before.

mod changes;
mod forgeries;
mod implementations;
mod kinds;
mod numbers;
mod public_key;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use fake_authentik::Authentik;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use self::changes::Workshop;
use self::implementations::{Core, Decision, Jsonwebtoken, Judged, Settings};
use self::kinds::{Kind, PLAN};
use self::tokens::Algorithm;
use super::place::{Place, jwks, provider};

/// Another seed, other changes.
const SEED: u64 = 20_261_124;
const TOKENS: usize = 10_000;
/// Of each algorithm, and of each kind of change to each algorithm that it is done to.
const MIN_OF_ALGORITHM: usize = 1_000;
const MIN_OF_KIND: usize = 10;
/// Signatures of each public-key algorithm that come as far as the check itself, and are not refused by their form.
const MIN_CHECKED: usize = 400;
const CONNECTIONS: usize = 8;
const CORES: usize = 2;

/// One token, and what must become of it.
pub(super) struct Case {
    algorithm: Algorithm,
    kind: Kind,
    /// Where and how, without any of the token.
    place: String,
    token: String,
    truth: Decision,
}

#[test]
fn ten_thousand_tokens_are_judged_rightly_by_the_host_s_cryptography_and_without_it() {
    let mut settings = Settings::default();
    let place = Place::new(|options| {
        let providers = Algorithm::ALL.map(|one| provider(one.slug(), &one.host(), json!({})));
        let mut options = options
            .concurrency(2)
            .configure("/providers", providers.to_vec())
            .configure("/session", json!({"enabled": false}))
            // However long it takes: keys are fetched once, and a token that names an unknown one is refused at once.
            .configure("/jwks", json!({"refresh_seconds": 86_400, "min_refresh_interval_seconds": 3600}));
        options.set_manager("access_log", json!([]));
        settings.configuration = options.configuration.clone();
        settings.environment = options.environment.clone();
        options
    });
    for algorithm in Algorithm::ALL {
        place.await_keys(algorithm.slug());
    }
    let cases = make_all(&place.authentik);
    let all = judge_all(&place, &settings, &cases);
    compare(&cases, &all);
    count(&cases, &all);

    // The application's word, and authentik's: who passed went on, and nobody but the keys was asked for.
    let passing = cases.iter().filter(|case| case.truth != Decision::Refused).count();
    assert_eq!(place.app.count(), passing);
    let mut calls: Vec<_> = place.authentik.calls().into_iter().map(|call| call.path).collect();
    calls.sort();
    let mut expected = Algorithm::ALL.map(|one| jwks(one.slug()));
    expected.sort();
    assert_eq!(calls, expected);
}

/// As [`PLAN`] has them. Each algorithm's come from a generator of its own: threads change nothing.
fn make_all(authentik: &Authentik) -> Vec<Case> {
    thread::scope(|scope| {
        let made = Algorithm::ALL.map(|algorithm| scope.spawn(move || make(authentik, algorithm)));
        made.into_iter().flat_map(|one| one.join().expect("the tokens are made")).collect()
    })
}

fn make(authentik: &Authentik, algorithm: Algorithm) -> Vec<Case> {
    let column = algorithm as usize;
    let random = StdRng::seed_from_u64(SEED + column as u64);
    let mut workshop = Workshop::new(authentik, algorithm, random);
    let (mut cases, mut known) = (Vec::new(), BTreeSet::new());
    for (kind, counts) in PLAN {
        let (mut made, mut tries) = (0, 0);
        while made < counts[column] {
            tries += 1;
            assert!(tries < 50 + 20 * counts[column], "{algorithm:?} {kind:?}: too few that are distinct");
            let Some(change) = workshop.make(kind, made) else { continue };
            if known.insert(change.token.clone()) {
                let (place, token, truth) = (change.place, change.token, change.truth);
                cases.push(Case { algorithm, kind, place, token, truth });
                made += 1;
            }
        }
    }
    cases
}

/// What became of each of them.
struct Verdicts {
    in_envoy: Vec<Decision>,
    in_core: Vec<Judged>,
    /// `None`: it cannot say.
    by_jsonwebtoken: Vec<Option<Decision>>,
}

/// Before all judges, at the same time.
fn judge_all(place: &Place, settings: &Settings, cases: &[Case]) -> Verdicts {
    thread::scope(|scope| {
        let in_envoy =
            scope.spawn(|| each(cases, CONNECTIONS, || |case: &Case| implementations::of_envoy(place, case)));
        let in_core = each(cases, CORES, || {
            let mut core = Core::new(settings, &place.authentik);
            move |case: &Case| core.judge(case)
        });
        let by_jsonwebtoken = each(cases, CORES, || {
            let judge = Jsonwebtoken::new(&place.authentik);
            move |case: &Case| judge.judge(case)
        });
        Verdicts { in_envoy: in_envoy.join().expect("Envoy judges"), in_core, by_jsonwebtoken }
    })
}

/// Spreads the cases over so many judges, each in a thread of its own.
fn each<V: Send, J: FnMut(&Case) -> V>(
    cases: &[Case],
    judges: usize,
    judge: impl Fn() -> J + Sync,
) -> Vec<V> {
    let judge = &judge;
    let mut all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..judges)
            .map(|first| {
                scope.spawn(move || {
                    let mut judge = judge();
                    let own = cases.iter().enumerate().skip(first).step_by(judges);
                    own.map(|(number, case)| (number, judge(case))).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a judge")).collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, judged)| judged).collect()
}

/// Of what is wrong, one of each kind is shown, and how many there are.
fn compare(cases: &[Case], Verdicts { in_envoy, in_core, by_jsonwebtoken }: &Verdicts) {
    let counts = [cases.len(), in_envoy.len(), in_core.len(), by_jsonwebtoken.len()];
    assert_eq!(counts, [TOKENS; 4]);
    let mut wrong: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (index, Case { algorithm, kind, place, truth, .. }) in cases.iter().enumerate() {
        let (envoy, core) = (&in_envoy[index], &in_core[index].decision);
        let other = by_jsonwebtoken[index].as_ref();
        if envoy != truth || core != truth || other.is_some_and(|other| other != truth) {
            let line =
                format!("{place}: Envoy {envoy:?}, core {core:?}, jsonwebtoken {other:?}, true is {truth:?}");
            wrong.entry((algorithm, kind)).or_default().push(line);
        }
    }
    let shown: String = wrong
        .iter()
        .map(|((algorithm, kind), all)| {
            format!("{algorithm:?}, {kind:?} ({} times), {}\n", all.len(), all[0])
        })
        .collect();
    let count: usize = wrong.values().map(Vec::len).sum();
    assert_eq!(count, 0, "not decided alike and rightly:\n{shown}");
}

/// That these were the tokens that the test is about, whatever became of the generator.
fn count(cases: &[Case], verdicts: &Verdicts) {
    let (mut kinds, mut algorithms, mut checked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let (mut distinct, mut by_jsonwebtoken) = (BTreeSet::new(), BTreeMap::new());
    for (index, case) in cases.iter().enumerate() {
        *kinds.entry((case.algorithm, case.kind)).or_insert(0) += 1;
        *algorithms.entry(case.algorithm).or_insert(0) += 1;
        *checked.entry(case.algorithm).or_insert(0) += usize::from(verdicts.in_core[index].is_checked);
        *by_jsonwebtoken.entry(case.algorithm).or_insert(0) +=
            usize::from(verdicts.by_jsonwebtoken[index].is_some());
        distinct.insert((case.algorithm, &case.token));
    }
    assert_eq!(distinct.len(), TOKENS);
    for algorithm in Algorithm::ALL {
        assert!(algorithms[&algorithm] >= MIN_OF_ALGORITHM, "{algorithm:?}: {}", algorithms[&algorithm]);
        let least = if algorithm == Algorithm::Hs256 { 0 } else { MIN_CHECKED };
        assert!(checked[&algorithm] >= least, "{algorithm:?}: {} were checked", checked[&algorithm]);
        let of_other = by_jsonwebtoken[&algorithm];
        let least = if algorithm == Algorithm::Es512 { 0 } else { MIN_OF_ALGORITHM };
        assert!(of_other >= least, "{algorithm:?}: jsonwebtoken judged {of_other}");
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_done_to(algorithm)) {
            let count = kinds.get(&(algorithm, kind)).copied().unwrap_or(0);
            assert!(count >= MIN_OF_KIND, "{algorithm:?}, {kind:?}: {count}");
        }
    }
}
