//! Explores the operator's core: random worlds with conflicts, stale reads, lost writes, crashes between any two writes and rough hands must come
//! to rest in the state that the user asked for.
//!
//! `EXPLORE_COUNT=n` sets the number of worlds, `EXPLORE_FROM=n` the first seed, `EXPLORE_SEED=n` shows what happens in one.
#![allow(clippy::unwrap_used)] // a test says what went wrong by panicking

#[path = "explore/mod.rs"]
#[allow(unreachable_pub, dead_code, unused_imports)] // shared by several tests, each of which uses a part
mod explore;

#[path = "explore/laws.rs"]
mod laws;

#[path = "explore/scenarios.rs"]
mod scenarios;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use coterie_crds::status::CanaryState;
use coterie_operator_core::{Observed, Plan};
use explore::oracles;
use explore::user::Wishes;
use explore::world::{Ending, World};

/// Worlds that are tried.
const COUNT: u64 = 100_000;

/// Failures after which no more are looked for, unless `EXPLORE_FAILURES` says otherwise.
const ENOUGH: u64 = 10;

/// Of so many worlds, one is compared with its calm twin.
const COMPARED: u64 = 8;

/// The world of a seed.
fn world(seed: u64, traced: bool) -> Ending {
    let wishes = Wishes::of(seed);
    World::new(seed, wishes.queued, traced).explore(&wishes)
}

/// What is wrong with a world, if anything. Some worlds are held against the same wishes without faults.
fn fault(seed: u64) -> (usize, Option<String>) {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let ending = world(seed, false);
        if ending.broken.is_some() || ending.unlucky || !seed.is_multiple_of(COMPARED) {
            return (ending.plans, ending.broken);
        }
        let wishes = Wishes::of(seed);
        let calm = World::new(seed, wishes.queued, false).calm(&wishes);
        let differs = oracles::face(&ending.server).zip(oracles::face(&calm.server)).and_then(|(face, calm_face)| {
            (face != calm_face && !calm.unlucky).then(|| format!("{face:?}, without faults {calm_face:?}"))
        });
        let broken = calm.broken.map(|broken| format!("without any fault: {broken}"));
        (ending.plans + calm.plans, broken.or(differs))
    }));
    match tried {
        Ok(ending) => ending,
        Err(panic) => {
            let message = panic.downcast_ref::<String>().cloned();
            (0, Some(format!("panic: {}", message.unwrap_or_default())))
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_world_comes_to_rest() {
    if let Some(seed) = number("EXPLORE_SEED") {
        let ending = world(seed, true);
        println!("{}\n{:?}", ending.trace.join("\n"), ending.broken);
        assert!(ending.broken.is_none(), "seed {seed}");
        return;
    }
    let count = number("EXPLORE_COUNT").unwrap_or(COUNT);
    let first = number("EXPLORE_FROM").unwrap_or_default();
    let (next, plans) = (AtomicU64::new(first), AtomicUsize::new(0));
    let enough = number("EXPLORE_FAILURES").unwrap_or(ENOUGH);
    let broken: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || broken.lock().unwrap().len() as u64 >= enough {
                        break;
                    }
                    let (made, fault) = fault(seed);
                    plans.fetch_add(made, Ordering::Relaxed);
                    broken.lock().unwrap().extend(fault.map(|fault| (seed, fault)));
                }
            });
        }
    });
    println!("{count} worlds, {} plans", plans.into_inner());
    let broken = broken.into_inner().unwrap();
    for (seed, fault) in &broken {
        println!("EXPLORE_SEED={seed}: {fault}");
    }
    assert!(broken.is_empty(), "see above; EXPLORE_SEED shows the history of one");
}

/// What is not tried proves nothing.
#[test]
fn worlds_have_canaries_of_every_kind() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..300 {
        let wishes = Wishes::of(seed);
        let mut watcher = |_: &Observed, plan: &Plan| {
            let serving = plan.status.as_ref().and_then(|status| status.serving.as_ref());
            if let Some(canary) = serving.and_then(|serving| serving.canary.as_ref()) {
                *seen.entry((canary.state, canary.step, canary.weight > 0)).or_insert(0) += 1;
            }
        };
        World::new(seed, wishes.queued, false).watched(&mut watcher).explore(&wishes);
    }
    use CanaryState::{Paused, Promoting, Rejected, Starting};
    for expected in [
        (Starting, 1, false),
        (Paused, 1, true),
        (Starting, 2, true),
        (Paused, 2, true),
        (Promoting, 2, true),
        (Rejected, 1, false),
        (Rejected, 2, false),
    ] {
        assert!(seen.contains_key(&expected), "{expected:?} is not among {seen:?}");
    }
}

#[test]
fn a_seed_repeats_its_world() {
    for seed in 0..100 {
        assert!(world(seed, true).trace == world(seed, true).trace, "seed {seed}");
    }
}
