//! One world: a server, its controllers, one or two operators, a user; and a seeded schedule of what each does when.

use std::collections::BTreeSet;
use std::fmt::Display;

use coterie_crds::ClusteringJob;
use coterie_crds::spec::ConcurrencyPolicy;
use coterie_operator_core::{Observed, Plan, Settings};
use jiff::{SignedDuration, Timestamp};

use super::apiserver::Server;
use super::controllers::Controllers;
use super::dice::Dice;
use super::operator::{Fault, KINDS, NAME, Operator, Step, Write, describe};
use super::oracles;
use super::user::{Wish, Wishes, brief, rough_hands, wish};

/// Plans until the end must be reached.
const PATIENCE: usize = 300;

/// Moves of controllers in one world; ordinary ones need some hundreds, a few some thousands.
const MOVES: usize = 20_000;

/// Plans at rest that must all be empty.
const RESTS: usize = 20;

/// Without a write for this long, all that was begun is done: longer than replicas stay after a switch, and than the outcome of a run whose pods are gone
/// is waited for.
const SETTLED: SignedDuration = SignedDuration::from_secs(40);

/// Times of the schedule until the end must be reached, where runs take longer than a time is away from the next.
const DAYS: usize = 6;

/// What to do with each observation and the plan made for it.
pub type Watcher<'a> = &'a mut dyn FnMut(&Observed, &Plan);

/// A world in the middle of its history.
pub struct World<'a> {
    /// The API server.
    pub server: Server,
    /// Kubernetes.
    pub controllers: Controllers,
    operators: Vec<Operator>,
    dice: Dice,
    queued: bool,
    /// Whether there was ever a second operator.
    rivalry: bool,
    /// Runs that a plan knew of whose schedule allows runs at the same time: they go on together without it.
    together: BTreeSet<String>,
    /// Objects that were deleted by hand.
    lost: BTreeSet<String>,
    /// Whether the Service was ever pointed elsewhere by hand.
    bent: bool,
    plans: usize,
    moves: usize,
    trace: Option<Vec<String>>,
    watcher: Option<Watcher<'a>>,
    crash_after: Option<u64>,
}

/// How a world ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What the server holds.
    pub server: Server,
    /// Whether a run failed that was meant to succeed.
    pub unlucky: bool,
    /// Plans that were made.
    pub plans: usize,
    /// What happened, when it was asked for.
    pub trace: Vec<String>,
    /// What broke.
    pub broken: Option<String>,
}

/// The time at which every world begins.
fn beginning() -> Timestamp {
    "2026-01-05T00:02:00Z".parse().unwrap()
}

/// Settings of every operator, unless a scenario says otherwise.
pub fn settings() -> Settings {
    Settings::new("coterie:test")
}

impl<'a> World<'a> {
    /// A world before anything happens.
    pub fn new(seed: u64, queued: bool, traced: bool) -> Self {
        let server = Server::new(beginning());
        Self {
            operators: vec![Operator::new(&server, settings())],
            server,
            controllers: Controllers::default(),
            dice: Dice::new(seed, 2),
            queued,
            rivalry: false,
            together: BTreeSet::new(),
            lost: BTreeSet::new(),
            bent: false,
            plans: 0,
            moves: 0,
            trace: traced.then(Vec::new),
            watcher: None,
            crash_after: None,
        }
    }

    /// Shows every plan to somebody.
    pub fn watched(mut self, watcher: Watcher<'a>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// Lets the operator crash once, after so many writes.
    pub fn crash_after(mut self, writes: u64) -> Self {
        self.crash_after = Some(writes);
        self
    }

    /// Replaces the operator by one of other settings.
    pub fn upgrade(&mut self, settings: Settings) {
        self.operators = vec![Operator::new(&self.server, settings)];
    }

    /// The history of a seed, with faults.
    pub fn explore(mut self, wishes: &Wishes) -> Ending {
        let outcome = self.chaos(wishes).and_then(|()| self.quiet()).and_then(|()| self.rest());
        self.ending(outcome)
    }

    /// The same wishes without any fault.
    pub fn calm(mut self, wishes: &Wishes) -> Ending {
        let mut outcome = Ok(());
        for timed in &wishes.wishes {
            self.pass(timed.after);
            self.wish(&timed.wish);
            outcome = outcome.and_then(|()| self.quiet());
        }
        let outcome = outcome.and_then(|()| self.rest());
        self.ending(outcome)
    }

    fn ending(self, outcome: Result<(), String>) -> Ending {
        Ending {
            server: self.server,
            unlucky: self.controllers.unlucky,
            plans: self.plans,
            trace: self.trace.unwrap_or_default(),
            broken: outcome.err(),
        }
    }

    fn note<T: Display>(&mut self, what: impl FnOnce() -> T) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.server.now, what()));
        }
    }

    /// Time goes on.
    pub fn pass(&mut self, seconds: i64) {
        self.server.now += SignedDuration::from_secs(seconds);
    }

    /// A wish of the user comes true.
    pub fn wish(&mut self, wished: &Wish) {
        self.note(|| match wished {
            Wish::Spec(spec) => format!("user: {}", brief(spec)),
            Wish::Delete(foreground) => format!("user: delete (foreground: {foreground})"),
        });
        wish(&mut self.server, wished, self.queued);
    }

    /// Everything at once, in any order, with faults.
    fn chaos(&mut self, wishes: &Wishes) -> Result<(), String> {
        for timed in &wishes.wishes {
            self.pass(timed.after);
            self.wish(&timed.wish);
            for _ in 0..self.dice.below(wishes.disturbances) {
                self.disturb()?;
            }
        }
        Ok(())
    }

    fn disturb(&mut self) -> Result<(), String> {
        let who = self.dice.below(self.operators.len());
        match self.dice.below(100) {
            0..45 => self.operate(who)?,
            45..60 => {
                let (kind, limit) = (self.dice.below(KINDS), *self.dice.pick(&[1, 2, 5, usize::MAX]));
                self.operators[who].hear(&self.server, kind, limit);
            }
            60..84 => {
                for _ in 0..=self.dice.below(4) {
                    self.control(false);
                }
            }
            84..89 => {
                let seconds = *self.dice.pick(&[1, 3, 10, 20, 60, 61, 700, 5000]);
                self.pass(seconds);
            }
            89..94 => {
                if let Some(done) = rough_hands(&mut self.controllers, &mut self.server, &mut self.dice) {
                    self.lost.extend(done.strip_prefix("delete ConfigMap ").map(str::to_owned));
                    self.bent |= done.starts_with("point Service");
                    self.note(|| done);
                }
            }
            94..98 => {
                self.note(|| format!("operator {who}: crashes and starts"));
                self.operators[who] = Operator::new(&self.server, settings());
            }
            // A leader that does not know it was followed by another.
            _ if self.operators.len() < 2 => {
                self.note(|| "a second operator starts");
                self.rivalry = true;
                self.operators.push(Operator::new(&self.server, settings()));
            }
            _ => drop(self.operators.remove(0)),
        }
        Ok(())
    }

    /// A plan, or the next write of one.
    fn operate(&mut self, who: usize) -> Result<(), String> {
        if self.operators[who].is_busy() {
            let fault = match self.dice.below(100) {
                0..5 => Fault::Lost,
                5..9 => Fault::Unanswered,
                _ => Fault::None,
            };
            return self.write(who, fault);
        }
        for kind in 0..KINDS {
            // Each cache has a lag of its own, often none.
            let limit = *self.dice.pick(&[0, 1, 3, usize::MAX, usize::MAX, usize::MAX]);
            self.operators[who].hear(&self.server, kind, limit);
        }
        if self.operators[who].is_due(self.server.now) || self.dice.chance(5) {
            self.plan(who)?;
        }
        Ok(())
    }

    fn plan(&mut self, who: usize) -> Result<Option<Plan>, String> {
        let Some(plan) = self.operators[who].plan(&self.server) else { return Ok(None) };
        self.plans += 1;
        self.note(|| {
            let actions: Vec<String> = plan.actions.iter().map(describe).collect();
            let events: Vec<&str> = plan.events.iter().map(|event| event.message.as_str()).collect();
            let status = plan.status.as_ref().map_or("as it is".to_owned(), summary);
            format!(
                "operator {who} plans: status {status}; {actions:?}; {events:?}; wake {:?}",
                plan.wake.map(|at| at.to_string())
            )
        });
        let observed = self.operators[who].observed();
        if let Some(watcher) = &mut self.watcher {
            watcher(observed, &plan);
        }
        oracles::plan(observed, &plan)?;
        self.controllers.unlucky |= oracles::is_late(&plan)?;
        let schedule = observed.job.spec.schedule.as_ref();
        if schedule.is_some_and(|schedule| schedule.concurrency_policy == ConcurrencyPolicy::Allow) {
            let runs = observed.job.status.iter().chain(&plan.status).filter_map(|status| status.run.as_ref());
            self.together.extend(runs.map(|run| run.name.clone()));
        }
        Ok(Some(plan))
    }

    fn write(&mut self, who: usize, fault: Fault) -> Result<(), String> {
        let step = self.operators[who].step(&mut self.server, fault);
        if let Step::Wrote(write, result) = step {
            let done = result.is_ok();
            self.note(|| format!("operator {who} writes {write}: {fault:?}, {result:?}"));
            if let Write::Action(action) = write {
                oracles::server(&self.server, &action, &self.together, self.rivalry)?;
                if !self.bent {
                    oracles::stored(&self.server, &self.controllers.models)?;
                }
                if done && !self.rivalry {
                    oracles::canary(&self.server, &action)?;
                }
            }
        }
        Ok(())
    }

    /// Carries a whole plan out.
    fn finish(&mut self, who: usize) -> Result<(), String> {
        while self.operators[who].is_busy() {
            self.write(who, Fault::None)?;
            if self.crash_after.is_some_and(|writes| self.server.operator_writes >= writes) {
                self.crash_after = None;
                self.operators[who] = Operator::new(&self.server, settings());
            }
        }
        Ok(())
    }

    /// One move of a controller; whether there was one.
    fn control(&mut self, first: bool) -> bool {
        let moves = self.controllers.moves(&self.server);
        if moves.is_empty() {
            return false;
        }
        let chosen = if first { &moves[0] } else { self.dice.pick(&moves) };
        self.moves += 1;
        self.note(|| format!("{chosen:?}"));
        self.controllers.carry_out(&mut self.server, chosen, &mut self.dice);
        true
    }

    /// Faults end; everybody goes on until nobody has anything to do.
    pub fn quiet(&mut self) -> Result<(), String> {
        self.note(|| "quiet");
        self.operators.truncate(1);
        self.finish(0)?;
        self.operators[0].catch_up(&self.server);
        let (limit, mut polls, mut days) = (self.plans + PATIENCE, 0, DAYS);
        let (mut version, mut moved) = (0, self.server.now);
        loop {
            if version != self.server.version() {
                (version, moved) = (self.server.version(), self.server.now);
            }
            if self.plans > limit {
                return Err(format!("no end after {PATIENCE} plans"));
            }
            if self.moves > MOVES {
                return Err(format!("no end after {MOVES} moves of Kubernetes' controllers"));
            }
            if self.control(true) {
                continue;
            }
            let operator = &mut self.operators[0];
            operator.catch_up(&self.server);
            if operator.is_due(self.server.now) {
                self.plan(0)?;
                self.finish(0)?;
                continue;
            }
            let mut timers: Vec<Timestamp> = Controllers::timer(&self.server).into_iter().collect();
            if polls < 3 {
                polls += usize::from(operator.timer().is_some());
            } else {
                operator.forget_poll();
            }
            timers.extend(operator.timer());
            let Some(next) = timers.into_iter().min() else { break };
            // The next time of the schedule is another day's work, unless this day's is not done.
            if let Some(tick) = self.next_schedule().filter(|tick| next >= *tick) {
                let settled = Controllers::timer(&self.server).is_none() && tick.duration_since(moved) > SETTLED;
                if !self.operators[0].must_retry() && (settled || days == 0) {
                    break;
                }
                days -= 1;
            }
            self.server.now = next.max(self.server.now);
        }
        Ok(())
    }

    fn next_schedule(&self) -> Option<Timestamp> {
        self.server.get::<ClusteringJob>(NAME)?.status.as_ref()?.next_schedule_time.as_ref().map(|time| time.0)
    }

    /// At the end, nothing is written however often and late it is planned again.
    pub fn rest(&mut self) -> Result<(), String> {
        let luck = oracles::Luck { failed: self.controllers.unlucky, lost: &self.lost, rivalry: self.rivalry };
        oracles::end(&self.server, &luck)?;
        let (version, writes) = (self.server.version(), self.server.operator_writes);
        // Up to the schedule's next time, where there is one.
        let next = self.next_schedule().map_or(36_000, |next| next.duration_since(self.server.now).as_secs() - 1);
        let pause = (next / i64::try_from(RESTS).unwrap_or(1)).max(0);
        for _ in 0..RESTS {
            let Some(plan) = self.plan(0)? else { break };
            self.finish(0)?;
            if plan.status.is_some() || !plan.actions.is_empty() || !plan.events.is_empty() {
                return Err(format!(
                    "a plan at rest: {:?} {:?}",
                    plan.actions.iter().map(describe).collect::<Vec<_>>(),
                    plan.status
                ));
            }
            self.pass(pause);
        }
        if (version, writes) != (self.server.version(), self.server.operator_writes) {
            return Err("writes at rest".to_owned());
        }
        Ok(())
    }
}

/// A status in short.
pub fn summary(status: &coterie_crds::status::ClusteringJobStatus) -> String {
    let truths: Vec<String> = status
        .conditions
        .iter()
        .filter(|condition| condition.status == "True")
        .map(|condition| format!("{}({})", condition.type_, condition.reason))
        .collect();
    let run = status.run.as_ref().map(|run| format!("{} {:?}", run.name, run.state)).unwrap_or_default();
    let model = status.model.as_ref().map(|model| format!("{} {}", model.version, model.digest)).unwrap_or_default();
    let serving =
        status.serving.as_ref().map(|s| format!("{:?}/{:?}", s.version, s.candidate_version)).unwrap_or_default();
    format!("[{} run {run}; model {model}; serving {serving}]", truths.join(" "))
}
