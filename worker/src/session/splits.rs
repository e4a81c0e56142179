//! Ownership of splits and what the current step still lacks.

use std::collections::BTreeMap;

use super::{Lot, WorkerId};

#[derive(Debug)]
struct Split {
    weight: u64,
    owner: Option<WorkerId>,
    attempt: u32,
    /// Counted in the current step.
    done: bool,
    /// Transient failures in the current step.
    failures: u32,
}

/// All splits of a run.
#[derive(Debug)]
pub(super) struct Splits(Vec<Split>);

impl Splits {
    pub(super) fn new(weights: Vec<u64>) -> Self {
        let fresh = |weight: u64| Split { weight: weight.max(1), owner: None, attempt: 0, done: false, failures: 0 };
        Self(weights.into_iter().map(fresh).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn open(&self) -> usize {
        self.0.iter().filter(|split| !split.done).count()
    }

    /// Starts a new step: nothing is done.
    pub(super) fn reopen(&mut self) {
        for split in &mut self.0 {
            split.done = false;
            split.failures = 0;
        }
    }

    /// Frees all splits of a worker that is gone.
    pub(super) fn orphan(&mut self, id: WorkerId) {
        for split in self.0.iter_mut().filter(|split| split.owner == Some(id)) {
            split.free();
        }
    }

    /// Frees one split that failed at its owner. Returns its failures in this step, or `None` if the lot is out of date.
    pub(super) fn release(&mut self, id: WorkerId, lot: Lot) -> Option<u32> {
        let split = self.0.get_mut(lot.split as usize)?;
        if split.owner != Some(id) || split.attempt != lot.attempt || split.done {
            return None;
        }
        split.free();
        split.failures += 1;
        Some(split.failures)
    }

    /// Gives each free split to the worker with the least weight. Heavy splits first, so that loads come out even.
    pub(super) fn place(&mut self, live: &[WorkerId]) {
        if live.is_empty() {
            return;
        }
        let mut load = self.load(live);
        let mut free: Vec<usize> = (0..self.0.len()).filter(|at| self.0[*at].owner.is_none()).collect();
        free.sort_by_key(|at| (std::cmp::Reverse(self.0[*at].weight), *at));
        for at in free {
            let lightest = load.iter().min_by_key(|(id, weight)| (**weight, **id)).map(|(id, _)| *id);
            if let Some(id) = lightest {
                *load.entry(id).or_default() += self.0[at].weight;
                self.0[at].owner = Some(id);
            }
        }
    }

    /// Moves splits from the most to the least loaded worker while that narrows the gap by more than a tenth of the
    /// mean load: a worker that came back gets its share again, and splits do not wander for nothing.
    pub(super) fn rebalance(&mut self, live: &[WorkerId]) {
        self.place(live);
        if live.len() < 2 {
            return;
        }
        let mut load = self.load(live);
        let slack = load.values().sum::<u64>() / (10 * live.len() as u64);
        loop {
            let Some((&light, &least)) = load.iter().min_by_key(|(id, weight)| (**weight, **id)) else { return };
            let Some((&heavy, &most)) = load.iter().max_by_key(|(id, weight)| (**weight, **id)) else { return };
            let gap = most - least;
            let fits = |split: &&mut Split| split.owner == Some(heavy) && split.weight < gap;
            let Some(split) = self.0.iter_mut().filter(fits).max_by_key(|split| split.weight.min(gap - split.weight))
            else {
                return;
            };
            if split.weight.min(gap - split.weight) <= slack {
                return;
            }
            load.insert(heavy, most - split.weight);
            load.insert(light, least + split.weight);
            split.free();
            split.owner = Some(light);
        }
    }

    /// What a worker still owes the current step. A worker polls only when it is idle, so splits it was told of before
    /// and has not contributed were lost on the way, in one direction or the other.
    pub(super) fn owed(&self, id: WorkerId) -> Vec<Lot> {
        let owed = |(_, split): &(usize, &Split)| split.owner == Some(id) && !split.done;
        self.0
            .iter()
            .enumerate()
            .filter(owed)
            .map(|(at, split)| Lot { split: at as u32, attempt: split.attempt })
            .collect()
    }

    /// Counts all lots of all shares, or none of them if any is not owned by its worker at that attempt, is counted already, or
    /// is listed twice.
    pub(super) fn close(&mut self, shares: &[(WorkerId, Vec<Lot>)]) -> bool {
        let mut seen = std::collections::BTreeSet::new();
        let valid = shares.iter().flat_map(|(id, lots)| lots.iter().map(move |lot| (*id, lot))).all(|(id, lot)| {
            seen.insert(lot.split)
                && self
                    .0
                    .get(lot.split as usize)
                    .is_some_and(|split| split.owner == Some(id) && split.attempt == lot.attempt && !split.done)
        });
        if valid {
            for split in seen {
                self.0[split as usize].done = true;
            }
        }
        valid
    }

    /// Workers that own splits, ascending.
    pub(super) fn owners(&self) -> Vec<WorkerId> {
        let owners: std::collections::BTreeSet<WorkerId> = self.0.iter().filter_map(|split| split.owner).collect();
        owners.into_iter().collect()
    }

    fn load(&self, live: &[WorkerId]) -> BTreeMap<WorkerId, u64> {
        let mut load: BTreeMap<WorkerId, u64> = live.iter().map(|id| (*id, 0)).collect();
        for split in &self.0 {
            if let Some(weight) = split.owner.and_then(|id| load.get_mut(&id)) {
                *weight += split.weight;
            }
        }
        load
    }
}

impl Split {
    fn free(&mut self) {
        self.owner = None;
        self.attempt += 1;
    }
}
