use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { lease: 100, expected_workers: 2, patience: 1_000, split_failures: 2 };

fn session(splits: usize) -> Session {
    Session::new(vec![1; splits], LIMITS, Millis(0))
}

fn work(session: &mut Session, id: WorkerId, now: u64) -> Vec<Lot> {
    match session.poll(id, Millis(now)).unwrap() {
        Poll::Work(_, lots) => lots,
        Poll::Idle => Vec::new(),
    }
}

/// A contribution of one worker's own.
fn contribute(session: &mut Session, id: WorkerId, step: StepId, lots: &[Lot], now: Millis) -> Result<Verdict, Fenced> {
    session.contribute(id, step, &[(id, lots.to_vec())], now)
}

#[test]
fn splits_wait_for_the_expected_workers_and_are_shared_evenly() {
    let mut session = session(6);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    assert_eq!(session.poll(a, Millis(0)), Ok(Poll::Idle));
    let b = session.register("b", Millis(1));
    let (of_a, of_b) = (work(&mut session, a, 1), work(&mut session, b, 1));
    assert_eq!((of_a.len(), of_b.len()), (3, 3));
    let all: BTreeSet<u32> = of_a.iter().chain(&of_b).map(|lot| lot.split).collect();
    assert_eq!(all, (0..6).collect());
}

#[test]
fn patience_ends_and_those_present_begin() {
    let mut session = session(3);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(950));
    assert_eq!(session.poll(a, Millis(999)), Ok(Poll::Idle));
    assert_eq!(work(&mut session, a, 1_000).len(), 3);
}

#[test]
fn a_contribution_counts_once_and_only_for_the_current_step() {
    let mut session = session(2);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let b = session.register("b", Millis(0));
    let lots = work(&mut session, a, 0);
    assert_eq!(contribute(&mut session, a, StepId(1), &lots, Millis(0)), Ok(Verdict::Accepted));
    assert_eq!(contribute(&mut session, a, StepId(1), &lots, Millis(0)), Ok(Verdict::Dropped), "twice");
    assert_eq!(contribute(&mut session, b, StepId(1), &lots, Millis(0)), Ok(Verdict::Dropped), "not its split");
    let of_b = work(&mut session, b, 0);
    assert_eq!(contribute(&mut session, b, StepId(7), &of_b, Millis(0)), Ok(Verdict::Dropped), "another step");
    let doubled = [of_b.clone(), of_b.clone()].concat();
    assert_eq!(contribute(&mut session, b, StepId(1), &doubled, Millis(0)), Ok(Verdict::Dropped), "listed twice");
    assert!(!session.complete());
    assert_eq!(contribute(&mut session, b, StepId(1), &of_b, Millis(0)), Ok(Verdict::Accepted));
    assert!(session.complete());
}

#[test]
fn shares_that_were_merged_count_together_or_not_at_all() {
    let mut session = session(4);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let b = session.register("b", Millis(0));
    assert_eq!(session.owners(), [a, b]);
    let (of_a, of_b) = (work(&mut session, a, 0), work(&mut session, b, 0));
    let (share_a, share_b) = ((a, of_a.clone()), (b, of_b.clone()));
    let merged = |session: &mut Session, shares: &[(WorkerId, Vec<Lot>)]| {
        session.contribute(a, StepId(1), shares, Millis(0)).unwrap()
    };
    assert_eq!(merged(&mut session, &[]), Verdict::Dropped, "nothing");
    assert_eq!(merged(&mut session, &[share_a.clone(), (a, of_b.clone())]), Verdict::Dropped, "in another's name");
    assert_eq!(merged(&mut session, &[share_a.clone(), share_b.clone(), share_b.clone()]), Verdict::Dropped, "twice");
    assert_eq!(session.done(), 0, "nothing of all that");
    assert_eq!(contribute(&mut session, b, StepId(1), &of_b, Millis(0)), Ok(Verdict::Accepted));
    assert_eq!(
        merged(&mut session, &[share_a.clone(), share_b.clone()]),
        Verdict::Dropped,
        "b has sent its own already"
    );
    assert_eq!(session.done(), of_b.len());
    assert_eq!(merged(&mut session, &[share_a]), Verdict::Accepted);
    assert!(session.complete());

    session.begin(StepId(2), Millis(1));
    let (of_a, of_b) = (work(&mut session, a, 1), work(&mut session, b, 1));
    session.leave(b);
    let stale = session.contribute(a, StepId(2), &[(a, of_a), (b, of_b)], Millis(2));
    assert_eq!(stale, Ok(Verdict::Dropped), "b has left: its splits are given to a");
}

#[test]
fn a_stalled_worker_loses_its_splits_and_its_late_contribution_is_fenced() {
    let mut session = session(4);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let b = session.register("b", Millis(0));
    let of_a = work(&mut session, a, 0);
    session.heartbeat(b, Millis(90)).unwrap();
    assert_eq!(session.expire(Millis(101)), vec!["a".to_owned()]);
    let of_b = work(&mut session, b, 101);
    assert_eq!(of_b.len(), 4, "its own and those of the lost worker");
    assert_eq!(contribute(&mut session, a, StepId(1), &of_a, Millis(102)), Err(Fenced(a)));
    assert_eq!(contribute(&mut session, b, StepId(1), &of_b, Millis(102)), Ok(Verdict::Accepted));
    assert!(session.complete());
}

#[test]
fn what_a_lost_worker_had_contributed_still_counts() {
    let mut session = session(4);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let b = session.register("b", Millis(0));
    let of_a = work(&mut session, a, 0);
    contribute(&mut session, a, StepId(1), &of_a, Millis(0)).unwrap();
    session.leave(a);
    assert_eq!(work(&mut session, b, 1).len(), 2, "only its own: the rest is done");
    session.begin(StepId(2), Millis(2));
    assert_eq!(work(&mut session, b, 2).len(), 4);
}

#[test]
fn a_process_that_comes_back_under_its_name_replaces_its_earlier_self_at_once() {
    let mut session = session(2);
    session.begin(StepId(1), Millis(0));
    let old = session.register("a", Millis(0));
    let _ = session.register("b", Millis(0));
    let lots = work(&mut session, old, 0);
    let new = session.register("a", Millis(1));
    assert_eq!(session.live(), 2);
    assert_eq!(contribute(&mut session, old, StepId(1), &lots, Millis(1)), Err(Fenced(old)));
    assert_eq!(work(&mut session, new, 1).len(), 1);
}

#[test]
fn a_returning_worker_gets_its_share_back_at_the_next_step() {
    let mut session = session(8);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let b = session.register("b", Millis(0));
    session.leave(a);
    assert_eq!(work(&mut session, b, 0).len(), 8);
    let a = session.register("a", Millis(1));
    assert_eq!(work(&mut session, a, 1).len(), 0);
    session.begin(StepId(2), Millis(2));
    assert_eq!((work(&mut session, a, 2).len(), work(&mut session, b, 2).len()), (4, 4));
}

#[test]
fn a_lost_answer_is_repeated() {
    let mut session = session(2);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let _ = session.register("b", Millis(0));
    assert_eq!(work(&mut session, a, 0), work(&mut session, a, 1));
}

#[test]
fn a_failing_split_goes_elsewhere_and_in_the_end_ends_the_run() {
    let mut session = session(1);
    session.begin(StepId(1), Millis(0));
    let a = session.register("a", Millis(0));
    let b = session.register("b", Millis(0));
    let lots = work(&mut session, a, 0);
    assert_eq!(session.fail(a, StepId(1), &lots, Millis(0)), Ok(AfterFailure::Retry));
    assert_eq!(contribute(&mut session, a, StepId(1), &lots, Millis(0)), Ok(Verdict::Dropped));
    let lots = work(&mut session, b, 0);
    assert_eq!(lots.len(), 1);
    assert_eq!(session.fail(b, StepId(1), &lots, Millis(0)), Ok(AfterFailure::Retry));
    let lots = work(&mut session, a, 0);
    assert_eq!(session.fail(a, StepId(1), &lots, Millis(0)), Ok(AfterFailure::GiveUp(0)));
}

#[test]
fn a_pause_of_the_coordinator_is_not_held_against_the_workers() {
    let mut session = session(1);
    let a = session.register("a", Millis(0));
    session.forgive(Millis(5_000));
    assert_eq!(session.expire(Millis(5_050)), Vec::<String>::new());
    assert_eq!(session.heartbeat(a, Millis(5_050)), Ok(()));
    session.forgive(Millis(1_000));
    assert_eq!(session.expire(Millis(5_151)), vec!["a".to_owned()], "never more than a lease");
}

/// What can happen to a session.
#[derive(Clone, Debug)]
enum Happening {
    Register(u8),
    Poll(u8),
    Contribute(u8),
    /// The first merges the second's into its own.
    Merge(u8, u8),
    /// An old contribution arrives once more.
    Replay(usize),
    Leave(u8),
    Fail(u8),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => (0u8..4).prop_map(Happening::Register),
        6 => (0u8..4).prop_map(Happening::Poll),
        6 => (0u8..4).prop_map(Happening::Contribute),
        4 => (0u8..4, 0u8..4).prop_map(|(who, other)| Happening::Merge(who, other)),
        2 => (0usize..64).prop_map(Happening::Replay),
        1 => (0u8..4).prop_map(Happening::Leave),
        1 => (0u8..4).prop_map(Happening::Fail),
        3 => (0u64..80).prop_map(Happening::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens, every step counts each split exactly once, and a worker that stays finishes the run.
    #[test]
    fn every_step_counts_each_split_exactly_once(
        weights in prop::collection::vec(0u64..50, 1..12),
        happenings in prop::collection::vec(happening(), 0..200),
    ) {
        let splits = weights.len();
        let mut session = Session::new(weights, LIMITS, Millis(0));
        let mut now = 0;
        let mut step = 1;
        session.begin(StepId(step), Millis(now));
        let mut ids: BTreeMap<u8, WorkerId> = BTreeMap::new();
        let mut tasks: BTreeMap<u8, (StepId, Vec<Lot>)> = BTreeMap::new();
        let mut sent: Vec<(WorkerId, StepId, Vec<Lot>)> = Vec::new();
        let mut counted: BTreeSet<u32> = BTreeSet::new();
        let count = |counted: &mut BTreeSet<u32>, lots: &[Lot]| {
            for lot in lots {
                prop_assert!(counted.insert(lot.split), "split {} counted twice", lot.split);
            }
            Ok(())
        };
        for happening in happenings {
            match happening {
                Happening::Register(who) => {
                    ids.insert(who, session.register(&format!("worker-{who}"), Millis(now)));
                    tasks.remove(&who);
                }
                Happening::Poll(who) => {
                    if let Some(Ok(Poll::Work(step, lots))) = ids.get(&who).map(|id| session.poll(*id, Millis(now))) {
                        tasks.insert(who, (step, lots));
                    }
                }
                Happening::Contribute(who) => {
                    if let (Some(id), Some((of, lots))) = (ids.get(&who), tasks.remove(&who)) {
                        if contribute(&mut session, *id, of, &lots, Millis(now)) == Ok(Verdict::Accepted) {
                            count(&mut counted, &lots)?;
                        }
                        sent.push((*id, of, lots));
                    }
                }
                Happening::Merge(who, other) => {
                    let share = |who: &u8| Some((*ids.get(who)?, tasks.get(who)?.clone()));
                    if let (Some((id, (of, lots))), Some((below, (of_below, lots_below)))) = (share(&who), share(&other)) {
                        let shares = [(id, lots.clone()), (below, lots_below.clone())];
                        // Workers merge what is of the same step.
                        if of == of_below
                            && session.contribute(id, of, &shares, Millis(now)) == Ok(Verdict::Accepted)
                        {
                            count(&mut counted, &lots)?;
                            count(&mut counted, &lots_below)?;
                        }
                        // Whether they hear of it or not, both send their own again.
                    }
                }
                Happening::Replay(at) => {
                    if !sent.is_empty() {
                        let (id, of, lots) = sent[at % sent.len()].clone();
                        if contribute(&mut session, id, of, &lots, Millis(now)) == Ok(Verdict::Accepted) {
                            count(&mut counted, &lots)?;
                        }
                    }
                }
                Happening::Leave(who) => {
                    if let Some(id) = ids.remove(&who) {
                        session.leave(id);
                    }
                }
                Happening::Fail(who) => {
                    if let (Some(id), Some((of, lots))) = (ids.get(&who), tasks.remove(&who)) {
                        let _ = session.fail(*id, of, &lots, Millis(now));
                    }
                }
                Happening::Pass(millis) => {
                    now += millis;
                    session.expire(Millis(now));
                }
            }
            prop_assert_eq!(session.done(), counted.len());
            prop_assert_eq!(session.complete(), counted.len() == splits);
            if session.complete() {
                counted.clear();
                step += 1;
                session.begin(StepId(step), Millis(now));
            }
        }
        // One worker that stays finishes the step, whatever went before.
        now += 10_000;
        session.expire(Millis(now));
        let last = session.register("the last", Millis(now));
        if let Poll::Work(of, lots) = session.poll(last, Millis(now)).unwrap() {
            prop_assert_eq!(contribute(&mut session, last, of, &lots, Millis(now)), Ok(Verdict::Accepted));
            count(&mut counted, &lots)?;
        }
        prop_assert!(session.complete());
    }
}
