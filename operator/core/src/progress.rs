//! What the coordinator answers, as the status shows it, at a bounded rate.

use coterie_crds::run::RunProgress;
use coterie_crds::status::{ModelStatus, RunState, RunStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::context::Context;
use crate::results::{real, whole};

/// Takes the newest answer over, if it is about this run and the last one is old enough.
pub(crate) fn update(run: &mut RunStatus, context: &Context<'_>, id: &str) {
    let Some(progress) = context.observed.progress.as_ref().filter(|progress| progress.run == id) else { return };
    if let Some(last) = &run.observed_time
        && context.now < last.0 + context.settings.progress_interval
    {
        return;
    }
    let RunProgress {
        run: _,
        epoch: _,
        stage,
        iteration,
        max_iterations,
        restart,
        restarts,
        inertia,
        iteration_seconds,
        rows,
        rows_per_second,
        workers,
        splits_done,
        splits_total,
    } = progress;
    run.progress = match stage.as_str() {
        "Iterate" if *restarts > 1 => format!("Iterate {iteration}/{max_iterations} of {restart}/{restarts}"),
        "Iterate" => format!("Iterate {iteration}/{max_iterations}"),
        "Hash" if *max_iterations > 1 => format!("Hash {iteration}/{max_iterations}"),
        _ if *splits_total > 0 => format!("{stage} {}%", u64::from(*splits_done) * 100 / u64::from(*splits_total)),
        _ => stage.clone(),
    };
    run.iteration = Some(i64::from(*iteration));
    run.max_iterations = Some(i64::from(*max_iterations));
    run.inertia = inertia.map(real);
    run.rows = (*rows > 0).then(|| whole(*rows));
    run.rows_per_second = Some(rows_per_second.round() as i64);
    run.workers = Some(i64::from(*workers));
    let restarts_left = restarts.saturating_sub(*restart);
    let passes =
        f64::from(max_iterations.saturating_sub(*iteration)) + f64::from(restarts_left) * f64::from(*max_iterations);
    run.estimated_completion_time =
        if *iteration_seconds > 0.0 { later(context.now, passes * iteration_seconds) } else { None };
    run.observed_time = Some(context.time());
}

fn later(now: Timestamp, seconds: f64) -> Option<Time> {
    let wait = SignedDuration::try_from_secs_f64(seconds.round()).ok()?;
    now.checked_add(wait).ok().map(Time)
}

/// A run that does not compute has no speed.
pub(crate) fn pause(run: &mut RunStatus) {
    run.rows_per_second = None;
    run.workers = None;
    run.estimated_completion_time = None;
    run.progress = match run.state {
        RunState::Suspended => "Suspended".to_owned(),
        RunState::Starting | RunState::Running | RunState::Succeeded | RunState::Failed | RunState::Cancelled => {
            "Starting".to_owned()
        }
    };
}

/// The last word on a run.
pub(crate) fn finished(state: RunState, iteration: Option<i64>, result: Option<&ModelStatus>) -> String {
    match (state, result) {
        (RunState::Succeeded, Some(model)) if model.metrics.iterations == 0 => "Done".to_owned(),
        (RunState::Succeeded, Some(model)) => format!("Done after {} passes", model.metrics.iterations),
        (RunState::Cancelled, _) => "Cancelled".to_owned(),
        (RunState::Failed, _) => iteration.map_or("Failed".to_owned(), |pass| format!("Failed after {pass} passes")),
        (RunState::Succeeded | RunState::Starting | RunState::Suspended | RunState::Running, _) => String::new(),
    }
}
