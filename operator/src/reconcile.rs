//! Observe, plan, carry out: what is done whenever a job or one of its objects changes, or its time has come.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use coterie_crds::ClusteringJob;
use coterie_operator_core::{Observed, Plan, Settings};
use futures::{StreamExt, channel::mpsc::UnboundedSender, future};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{
        controller::{self, Action, Controller},
        reflector::ObjectRef,
    },
};
use tokio::sync::{Semaphore, watch};

use crate::{
    execute::{Executor, Report},
    failure::{Class, Failure, chain},
    memory::Memory,
    metrics::{Metrics, Outcome},
    observe::{Guarded, Stores, Watches},
    poll::Poller,
    traffic::Watcher,
};

/// Changes that come this close together are handled together.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// How soon a job is planned again for a reason that no watch will tell.
const SOON: Duration = Duration::from_millis(200);

/// Longest time between two looks at a job. Nothing should depend on it, and clocks may jump.
const RESYNC: Duration = Duration::from_secs(15 * 60);

/// How often jobs are counted, and what is remembered of deleted ones is dropped.
const SWEEP: Duration = Duration::from_secs(10);

/// What all reconciliations share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) executor: Executor,
    pub(crate) poller: Poller,
    pub(crate) watcher: Watcher,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
    /// Bounds the reconciliations at work in all namespaces together.
    pub(crate) permits: Semaphore,
    pub(crate) concurrency: u16,
}

/// What the reconciliations of one set of watches share.
struct Context {
    shared: Arc<Shared>,
    stores: Stores,
    /// Asks for a reconciliation.
    trigger: UnboundedSender<ObjectRef<Guarded>>,
}

/// Reconciles the jobs that these watches show until told to stop, and the reconciliations at work are over.
pub(crate) async fn run(shared: Arc<Shared>, watched: Vec<(Stores, Watches)>, stop: watch::Receiver<bool>) {
    let mut contexts = Vec::new();
    let mut controllers = Vec::new();
    for (stores, watches) in watched {
        let (trigger, triggered) = futures::channel::mpsc::unbounded();
        let context = Arc::new(Context { shared: shared.clone(), stores, trigger });
        contexts.push(context.clone());
        let config = controller::Config::default().debounce(DEBOUNCE).concurrency(shared.concurrency);
        let controller = Controller::for_stream(watches.jobs, context.stores.jobs.clone())
            .reconcile_on(watches.children)
            .reconcile_on(triggered)
            .with_config(config)
            .graceful_shutdown_on(stopped(stop.clone()))
            .run(reconcile, |job, failure, context| Action::requeue(retry(&job, failure, &context)), context)
            // Failures are told where they happen; a job that is gone by its turn is none.
            .for_each(|_| future::ready(()));
        controllers.push(controller);
    }
    tokio::select! {
        _ = future::join_all(controllers) => {}
        () = sweep(&contexts) => {}
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left to say stop: that is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Forgets deleted jobs, and counts the others.
async fn sweep(contexts: &[Arc<Context>]) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let Some(first) = contexts.first() else { continue };
        for context in contexts {
            if context.stores.ready().await.is_err() {
                return future::pending().await;
            }
        }
        let jobs: Vec<_> = contexts.iter().flat_map(|context| context.stores.jobs.state()).collect();
        let uids: HashSet<String> = jobs.iter().filter_map(|job| job.uid()).collect();
        first.shared.memory.retain(&uids);
        first.shared.poller.retain(&uids);
        first.shared.watcher.retain(&uids);
        first.shared.metrics.jobs(jobs.len());
    }
}

async fn reconcile(job: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Failure> {
    let shared = &context.shared;
    if context.stores.ready().await.is_err() {
        return Err(Failure::bug("wait for the watches", "a watch has ended"));
    }
    let _permit = shared.permits.acquire().await;
    let begun = Instant::now();
    let (outcome, result) = match &job.0 {
        Ok(job) => step(job, &context).await,
        Err(invalid) => {
            shared.metrics.malformed();
            let (namespace, name) = (invalid.metadata.namespace.as_deref(), invalid.metadata.name.as_deref());
            tracing::warn!(namespace, name, error = invalid.error, "the job cannot be read; it gets nothing");
            (Outcome::Malformed, Ok(Action::await_change()))
        }
    };
    shared.metrics.reconciled(outcome, begun.elapsed());
    result
}

/// One turn of one job.
async fn step(job: &ClusteringJob, context: &Context) -> (Outcome, Result<Action, Failure>) {
    let Context { shared, stores, trigger } = context;
    let (uid, version) = (job.uid().unwrap_or_default(), job.metadata.resource_version.as_deref());
    if shared.memory.is_replaced(&uid, version) {
        return (Outcome::Waited, Ok(Action::requeue(SOON)));
    }
    let now = Timestamp::now();
    let plan = match decide(&stores.observe(job, &shared.memory), &shared.settings, now) {
        Ok(plan) => plan,
        Err(failure) => return ended(job, context, failed(failure)),
    };
    let report = shared.executor.execute(job, &plan).await;
    let answered = {
        let (shared, trigger) = (shared.clone(), trigger.clone());
        let (uid, job) = (uid.clone(), reference(job));
        move |progress| {
            if shared.memory.set_progress(&uid, progress) {
                // An error means that reconciling has ended.
                let _ = trigger.unbounded_send(job.clone());
            }
        }
    };
    shared.poller.follow(&uid, plan.poll.as_ref(), now, answered);
    let judged = {
        let (shared, trigger) = (shared.clone(), trigger.clone());
        let (uid, job) = (uid.clone(), reference(job));
        move |traffic| {
            shared.memory.set_traffic(&uid, traffic);
            let _ = trigger.unbounded_send(job.clone());
        }
    };
    shared.watcher.follow(&uid, plan.traffic.as_ref(), judged);
    let (outcome, result) = ended(job, context, report);
    (outcome, result.map(|action| earlier(action, &plan, now)))
}

/// Plans. A defect that shows with one job must not end the work on the others.
fn decide(observed: &Observed, settings: &Settings, now: Timestamp) -> Result<Plan, Failure> {
    catch_unwind(AssertUnwindSafe(|| coterie_operator_core::plan(observed, settings, now))).map_err(|_| {
        Failure::bug("plan", "the planner panicked; please report this with the job's manifest and status")
    })
}

/// Keeps and tells what became of a plan.
fn ended(job: &ClusteringJob, context: &Context, report: Report) -> (Outcome, Result<Action, Failure>) {
    let shared = &context.shared;
    let (uid, metadata) = (job.uid().unwrap_or_default(), &job.metadata);
    let version = metadata.resource_version.as_deref();
    let news = shared.memory.record(&uid, version, metadata.generation, &report);
    let changed = report.replaced || !report.written.is_empty();
    if news {
        let _ = context.trigger.unbounded_send(reference(job));
    }
    let Some(failure) = report.failure else {
        let outcome = if changed { Outcome::Changed } else { Outcome::Settled };
        // Slowly, what was refused is tried again.
        let refused = !shared.memory.refusals(&uid, metadata.generation).is_empty();
        let resync = if refused { crate::backoff::REFUSED } else { RESYNC };
        return (outcome, Ok(Action::requeue(resync)));
    };
    shared.metrics.failed(failure.class);
    let (namespace, name, error) = (metadata.namespace.as_deref(), metadata.name.as_deref(), chain(&failure));
    match failure.class {
        Class::Stale => tracing::debug!(namespace, name, error, "the observation was stale"),
        Class::Transient => tracing::warn!(namespace, name, error, "a step failed and is tried again"),
        Class::Refused => tracing::warn!(namespace, name, error, "the API server refuses a step"),
        Class::NotLeading => tracing::warn!(namespace, name, error, "nothing more is written"),
        Class::Bug => tracing::error!(namespace, name, error, "a step failed by a defect"),
    }
    (Outcome::Failed, Err(failure))
}

fn failed(failure: Failure) -> Report {
    Report { failure: Some(failure), ..Report::default() }
}

fn reference(job: &ClusteringJob) -> ObjectRef<Guarded> {
    ObjectRef::new(&job.name_any()).within(&job.namespace().unwrap_or_default())
}

/// The action, or one that comes at the time that the plan asks for.
fn earlier(action: Action, plan: &Plan, now: Timestamp) -> Action {
    let Some(wake) = plan.wake else { return action };
    let ahead = Duration::try_from(wake.duration_since(now)).unwrap_or_default();
    if ahead < RESYNC { Action::requeue(ahead) } else { action }
}

/// When a failed job is tried again, unless something changes before.
fn retry(job: &Guarded, failure: &Failure, context: &Context) -> Duration {
    context.shared.memory.delay(&job.uid().unwrap_or_default(), failure)
}
