//! The operator around the core: caches that lag, a plan carried out write by write, and a memory that a crash wipes out.

use coterie_crds::ClusteringJob;
use coterie_crds::names::label;
use coterie_crds::run::RunProgress;
use coterie_operator_core::plan::{Deletion, Kind, Object, ObjectRef, Poll, TrafficPoll};
use coterie_operator_core::traffic::Traffic;
use coterie_operator_core::{Action, Children, Observed, Plan, Refusal, Settings, plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use super::apiserver::{Refused, Server, Stored};
use super::deployments::serves;
use super::jobs::{index, phase};
use super::kubelet;
use super::training::is_worse;

/// Name of the job in every world.
pub const NAME: &str = "songs";

/// Number of watched kinds.
pub const KINDS: usize = 9;

/// Wait after a failed write.
const BACKOFF: SignedDuration = SignedDuration::from_secs(2);

/// What happens to a write on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It does not arrive.
    Lost,
    /// It is done, and the answer does not arrive.
    Unanswered,
}

/// One process of the operator.
#[derive(Clone, Debug)]
pub struct Operator {
    settings: Settings,
    observed: Observed,
    exists: bool,
    cursors: [usize; KINDS],
    in_flight: Option<InFlight>,
    dirty: bool,
    wake: Option<Timestamp>,
    retry: Option<Timestamp>,
    poll: Option<Poll>,
    traffic: Option<TrafficPoll>,
    /// When the interval began in which the canary's traffic is counted.
    interval: Option<Timestamp>,
    refusals_generation: Option<i64>,
    /// A version of the job that an own write replaced: nothing is planned for it any more.
    replaced: Option<String>,
}

#[derive(Clone, Debug)]
struct InFlight {
    plan: Plan,
    next: usize,
    job: ClusteringJob,
}

/// What a step did.
#[derive(Clone, Debug)]
pub enum Step {
    /// A write was tried: what, and what came of it.
    Wrote(Write, Result<(), Refused>),
    /// The plan is done.
    Done,
}

/// A write.
#[derive(Clone, Debug)]
pub enum Write {
    /// Of the status.
    Status,
    /// An action of the plan.
    Action(Box<Action>),
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status => write!(f, "status"),
            Self::Action(action) => write!(f, "{}", describe(action)),
        }
    }
}

/// An action in short.
pub fn describe(action: &Action) -> String {
    match action {
        Action::Create(object) => format!("create {}", object.reference()),
        Action::CreateIdentity(meta) => format!("create identity {}", meta.name.clone().unwrap_or_default()),
        Action::Apply(object) => format!("apply {}", object.reference()),
        Action::Delete(deletion) => format!("delete {}", deletion.object),
    }
}

impl Operator {
    /// A process that has just listed everything.
    pub fn new(server: &Server, settings: Settings) -> Self {
        let job: ClusteringJob = ClusteringJob::new(NAME, super::user::first_spec());
        let observed =
            Observed { job, children: Children::default(), progress: None, traffic: None, refusals: Vec::new() };
        let mut operator = Self {
            settings,
            observed,
            exists: false,
            cursors: [0; KINDS],
            in_flight: None,
            dirty: true,
            wake: None,
            retry: None,
            poll: None,
            traffic: None,
            interval: None,
            refusals_generation: None,
            replaced: None,
        };
        operator.catch_up(server);
        operator
    }

    /// What this process believes.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Hears of the next events of one kind, at most `limit`.
    pub fn hear(&mut self, server: &Server, kind: usize, limit: usize) {
        let Observed { job, children, progress, traffic, refusals } = &mut self.observed;
        let cursor = &mut self.cursors[kind];
        let heard = match kind {
            0 => {
                let log = &ClusteringJob::table(server).log;
                let end = log.len().min(cursor.saturating_add(limit));
                let news = *cursor < end;
                if let Some((_, latest)) = log[*cursor..end].last() {
                    self.exists = latest.is_some();
                    if let Some(latest) = latest {
                        if job.metadata.uid != latest.metadata.uid {
                            (*progress, self.poll) = (None, None);
                            (*traffic, self.traffic) = (None, None);
                            refusals.clear();
                        }
                        *job = ClusteringJob::clone(latest);
                    }
                    if self.refusals_generation != job.metadata.generation {
                        refusals.clear();
                    }
                }
                *cursor = end;
                news
            }
            1 => follow::<ConfigMap>(server, &mut children.config_maps, cursor, limit),
            2 => follow::<Service>(server, &mut children.services, cursor, limit),
            3 => follow::<Job>(server, &mut children.jobs, cursor, limit),
            4 => follow::<Pod>(server, &mut children.pods, cursor, limit),
            5 => follow::<Deployment>(server, &mut children.deployments, cursor, limit),
            6 => follow::<HorizontalPodAutoscaler>(server, &mut children.autoscalers, cursor, limit),
            7 => follow::<PodDisruptionBudget>(server, &mut children.disruption_budgets, cursor, limit),
            _ => follow::<NetworkPolicy>(server, &mut children.network_policies, cursor, limit),
        };
        self.dirty |= heard;
    }

    /// Hears of everything.
    pub fn catch_up(&mut self, server: &Server) {
        for kind in 0..KINDS {
            self.hear(server, kind, usize::MAX);
        }
    }

    /// Whether there is a reason to plan.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_current() && self.in_flight.is_none() && (self.dirty || self.timer().is_some_and(|at| at <= now))
    }

    /// Whether the job is there, and not known to be another by now.
    fn is_current(&self) -> bool {
        let version = self.observed.job.metadata.resource_version.as_ref();
        self.exists && (self.replaced.is_none() || self.replaced.as_ref() != version)
    }

    /// Whether a plan is being carried out.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When to plan again without news.
    pub fn timer(&self) -> Option<Timestamp> {
        if !self.exists {
            return None;
        }
        let poll = self.poll.as_ref().map(|poll| poll.at);
        [self.wake, self.retry, poll, self.interval_end()].into_iter().flatten().min()
    }

    /// Whether the last plan could not be carried out.
    pub fn must_retry(&self) -> bool {
        self.exists && self.retry.is_some()
    }

    /// Stops asking coordinators.
    pub fn forget_poll(&mut self) {
        self.poll = None;
    }

    /// Plans, when the job exists; carrying it out is [`Self::step`]'s.
    pub fn plan(&mut self, server: &Server) -> Option<Plan> {
        if !self.is_current() || self.in_flight.is_some() {
            return None;
        }
        self.ask(server);
        self.count(server);
        let made = plan(&self.observed, &self.settings, server.now);
        self.dirty = false;
        self.retry = None;
        self.wake = made.wake;
        self.poll.clone_from(&made.poll);
        let which = |poll: &Option<TrafficPoll>| poll.as_ref().map(|poll| (poll.version.clone(), poll.since));
        if which(&self.traffic) != which(&made.traffic) {
            self.interval = made.traffic.as_ref().map(|_| server.now);
        }
        self.traffic.clone_from(&made.traffic);
        let writes = made.status.is_some() || !made.actions.is_empty();
        self.in_flight = writes.then(|| InFlight { plan: made.clone(), next: 0, job: self.observed.job.clone() });
        Some(made)
    }

    fn interval_end(&self) -> Option<Timestamp> {
        self.interval?.checked_add(self.traffic.as_ref()?.interval).ok()
    }

    /// Tells what the canary answered, when an interval is over: as its model is.
    fn count(&mut self, server: &Server) {
        let (Some(poll), Some(from)) = (&self.traffic, self.interval) else { return };
        if self.interval_end().is_none_or(|end| server.now < end) {
            return;
        }
        let deployment = server.get::<Deployment>(&format!("{NAME}-{}", poll.version));
        let config = deployment.and_then(|deployment| serves(server, deployment));
        let errors = if config.is_some_and(|config| is_worse(&config.digest)) { 500 } else { 1 };
        self.observed.traffic = Some(Traffic {
            version: poll.version.clone(),
            from,
            until: server.now,
            requests: 1000,
            errors,
            latency_millis: Some(5.0),
            rows: 0,
            reassigned: 0,
        });
        self.interval = Some(server.now);
    }

    /// Asks the coordinator, when it is time.
    fn ask(&mut self, server: &Server) {
        let Some(poll) = self.poll.take_if(|poll| poll.at <= server.now) else { return };
        let address = Some(poll.pod_ip.as_str());
        let coordinator = server.all::<Pod>().values().find(|pod| {
            index(pod) == 0
                && phase(pod) == "Running"
                && pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) == address
        });
        self.observed.progress = coordinator.and_then(|pod| kubelet::config(server, pod)).map(|config| RunProgress {
            run: config.run,
            epoch: 1,
            stage: "Iterate".to_owned(),
            iteration: u32::try_from(server.now.as_second() % 300).unwrap_or_default(),
            max_iterations: 300,
            restart: 1,
            restarts: 1,
            inertia: Some(43.0),
            iteration_seconds: 1.0,
            rows: 1000,
            rows_per_second: 1000.0,
            workers: config.job.workers,
            splits_done: 1,
            splits_total: 4,
        });
    }

    /// Tries the next write of the plan.
    pub fn step(&mut self, server: &mut Server, fault: Fault) -> Step {
        let Some(in_flight) = &mut self.in_flight else { return Step::Done };
        let position = in_flight.next;
        in_flight.next += 1;
        let first = usize::from(in_flight.plan.status.is_some());
        let write = if position < first {
            Write::Status
        } else if let Some(action) = in_flight.plan.actions.get(position - first) {
            Write::Action(Box::new(action.clone()))
        } else {
            self.in_flight = None;
            return Step::Done;
        };
        let mut result =
            if fault == Fault::Lost { Err(Refused::Conflict) } else { carry_out(server, &write, in_flight) };
        let version = in_flight.job.metadata.resource_version.as_ref();
        let stored = server.get::<ClusteringJob>(NAME).and_then(|job| job.metadata.resource_version.as_ref());
        if matches!(write, Write::Status) && result.is_ok() && fault != Fault::Unanswered && stored != version {
            self.replaced = version.cloned();
        }
        server.operator_writes += u64::from(result.is_ok());
        if fault == Fault::Unanswered {
            result = Err(Refused::Conflict);
        }
        if let Err(refused) = &result {
            match (refused, &write) {
                // Tried again only for another generation; what was refused is part of the next observation.
                (Refused::Invalid(message), Write::Action(action)) => {
                    let generation = in_flight.job.metadata.generation;
                    if let Some(object) = reference(action)
                        && generation == self.observed.job.metadata.generation
                    {
                        self.refusals_generation = generation;
                        let refusal = Refusal { object, message: message.clone() };
                        if !self.observed.refusals.contains(&refusal) {
                            self.observed.refusals.push(refusal);
                            self.dirty = true;
                        }
                    }
                }
                _ => self.retry = server.now.checked_add(BACKOFF).ok(),
            }
            self.in_flight = None;
        }
        Step::Wrote(write, result)
    }
}

fn reference(action: &Action) -> Option<ObjectRef> {
    match action {
        Action::Create(object) | Action::Apply(object) => Some(object.reference()),
        Action::Delete(deletion) => Some(deletion.object.clone()),
        Action::CreateIdentity(_) => None,
    }
}

fn follow<T: Stored>(server: &Server, list: &mut Vec<T>, cursor: &mut usize, limit: usize) -> bool {
    let log = &T::table(server).log;
    let end = log.len().min(cursor.saturating_add(limit));
    let events = &log[*cursor..end];
    *cursor = end;
    for (at, (name, object)) in events.iter().enumerate() {
        if events[at + 1..].iter().any(|(later, _)| later == name) {
            continue; // what counts is the last
        }
        let ours = |object: &T| {
            object.meta().labels.as_ref().and_then(|labels| labels.get(label::JOB)).is_some_and(|job| job == NAME)
        };
        let position = list.binary_search_by(|present| present.meta().name.as_ref().cmp(&Some(name)));
        match (position, object.as_ref().filter(|object| ours(object))) {
            (Ok(position), Some(object)) => list[position] = T::clone(object),
            (Ok(position), None) => drop(list.remove(position)),
            (Err(position), Some(object)) => list.insert(position, T::clone(object)),
            (Err(_), None) => {}
        }
    }
    !events.is_empty()
}

fn carry_out(server: &mut Server, write: &Write, in_flight: &InFlight) -> Result<(), Refused> {
    let uid = in_flight.job.metadata.uid.as_ref();
    match write {
        Write::Status => {
            let status = in_flight.plan.status.clone().ok_or(Refused::NotFound)?;
            server.apply_status(NAME, in_flight.job.metadata.resource_version.as_ref(), status)
        }
        Write::Action(action) => match action.as_ref() {
            Action::Create(object) => create(server, object),
            Action::CreateIdentity(meta) => {
                match server.create(Secret { metadata: meta.as_ref().clone(), ..Secret::default() }) {
                    Err(Refused::AlreadyExists) => Ok(()),
                    result => result,
                }
            }
            Action::Apply(object) => apply(server, object, uid),
            Action::Delete(deletion) => match delete(server, deletion, uid) {
                Err(Refused::NotFound) => Ok(()),
                result => result,
            },
        },
    }
}

fn create(server: &mut Server, object: &Object) -> Result<(), Refused> {
    match object {
        Object::ConfigMap(object) => server.create(ConfigMap::clone(object)),
        Object::Service(object) => server.create(Service::clone(object)),
        Object::Job(object) => server.create(Job::clone(object)),
        Object::Deployment(object) => server.create(Deployment::clone(object)),
        Object::HorizontalPodAutoscaler(object) => server.create(HorizontalPodAutoscaler::clone(object)),
        Object::PodDisruptionBudget(object) => server.create(PodDisruptionBudget::clone(object)),
        Object::NetworkPolicy(object) => server.create(NetworkPolicy::clone(object)),
    }
}

fn apply(server: &mut Server, object: &Object, uid: Option<&String>) -> Result<(), Refused> {
    match object {
        Object::ConfigMap(object) => apply_own(server, object.as_ref(), uid),
        Object::Service(object) => apply_own(server, object.as_ref(), uid),
        Object::Job(object) => apply_own(server, object.as_ref(), uid),
        Object::Deployment(object) => apply_own(server, object.as_ref(), uid),
        Object::HorizontalPodAutoscaler(object) => apply_own(server, object.as_ref(), uid),
        Object::PodDisruptionBudget(object) => apply_own(server, object.as_ref(), uid),
        Object::NetworkPolicy(object) => apply_own(server, object.as_ref(), uid),
    }
}

/// Applies, unless the name is somebody else's.
fn apply_own<T: Stored>(server: &mut Server, object: &T, uid: Option<&String>) -> Result<(), Refused> {
    let meta = object.meta();
    let present = meta.name.as_ref().and_then(|name| server.get::<T>(name));
    if let Some(present) = present.filter(|_| meta.resource_version.is_none()) {
        let owner = present.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        if owner.map(|owner| &owner.uid) != uid {
            // What an earlier job of the same name left is about to be collected.
            let of_earlier_job = owner.is_some_and(|owner| owner.name == NAME);
            let foreign = Refused::Invalid("the name belongs to somebody else".to_owned());
            return Err(if of_earlier_job { Refused::Conflict } else { foreign });
        }
    }
    server.apply(object)
}

fn owns<T: Stored>(server: &Server, name: &str, owner: Option<&String>) -> bool {
    let owners = server.get::<T>(name).map(|object| object.meta().owner_references.iter().flatten());
    owners.into_iter().flatten().any(|found| Some(&found.uid) == owner)
}

fn delete(server: &mut Server, deletion: &Deletion, owner: Option<&String>) -> Result<(), Refused> {
    let Deletion { object, uid, resource_version } = deletion;
    let (name, uid, version) = (object.name.as_str(), uid.as_ref(), resource_version.as_ref());
    match object.kind {
        Kind::ConfigMap => server.delete::<ConfigMap>(name, uid, version),
        Kind::Secret => server.delete::<Secret>(name, uid, version),
        Kind::Service => server.delete::<Service>(name, uid, version),
        // One that the caches have not shown is looked at first.
        Kind::Job if uid.is_none() && !owns::<Job>(server, name, owner) => Ok(()),
        Kind::Job => server.delete_foreground::<Job>(name, uid, version),
        Kind::Deployment => server.delete::<Deployment>(name, uid, version),
        Kind::HorizontalPodAutoscaler => server.delete::<HorizontalPodAutoscaler>(name, uid, version),
        Kind::PodDisruptionBudget => server.delete::<PodDisruptionBudget>(name, uid, version),
        Kind::NetworkPolicy => server.delete::<NetworkPolicy>(name, uid, version),
    }
}
