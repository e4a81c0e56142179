//! How a run looks while it goes: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use coterie_worker::standalone::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// Least time between two lines of the same stage.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows the events of a run.
pub(crate) enum Display {
    Quiet,
    Bar(ProgressBar),
    Lines { stage: String, last: Instant },
}

impl Display {
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { stage: String::new(), last: Instant::now() };
        }
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:9} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Bar(bar)
    }

    pub(crate) fn show(&mut self, event: Event<'_>) {
        match event {
            // What goes wrong is said even when progress is not.
            Event::Log(line) => self.line(line),
            Event::Died { role, how } => self.line(&format!("{} ended ({how}) and is started again", role.name())),
            Event::Started { name, pid } => {
                if let Self::Lines { .. } = self {
                    self.line(&format!("started {name} (pid {pid})"));
                }
            }
            Event::Progress(Some(progress)) => self.progress(progress),
            Event::Progress(None) => {}
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }

    fn line(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Self::Quiet | Self::Lines { .. } => eprintln!("{line}"),
        }
    }

    fn progress(&mut self, progress: &Progress) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                let (done, total) = position(progress);
                bar.set_length(total);
                bar.set_position(done);
                bar.set_prefix(progress.run.stage.to_lowercase());
                bar.set_message(describe(progress));
            }
            Self::Lines { stage, last } => {
                if *stage != progress.run.stage || last.elapsed() >= LINE_EVERY {
                    stage.clone_from(&progress.run.stage);
                    *last = Instant::now();
                    eprintln!("{}: {}", progress.run.stage.to_lowercase(), describe(progress));
                }
            }
        }
    }
}

/// How far the stage is and how far it goes: rows once their number is known, splits before.
fn position(progress: &Progress) -> (u64, u64) {
    let Progress { run, step_rows, .. } = progress;
    if run.rows == 0 {
        return (u64::from(run.splits_done), u64::from(run.splits_total.max(1)));
    }
    let done = (*step_rows).min(run.rows);
    if matches!(run.stage.as_str(), "Iterate" | "Hash") {
        let passes = u64::from(run.max_iterations.max(1));
        return (u64::from(run.iteration) * run.rows + done, passes * run.rows);
    }
    (done, run.rows)
}

fn describe(progress: &Progress) -> String {
    let progress = &progress.run;
    let mut parts = Vec::new();
    if progress.restarts > 1 && (progress.stage == "Init" || progress.stage == "Iterate") {
        parts.push(format!("restart {}/{}", progress.restart, progress.restarts));
    }
    if progress.stage == "Iterate" {
        parts.push(format!("iteration {}/{}", progress.iteration, progress.max_iterations));
        parts.extend(progress.inertia.map(|inertia| format!("inertia {inertia:.6e}")));
    } else if progress.stage == "Hash" && progress.max_iterations > 1 {
        parts.push(format!("pass {}/{}", progress.iteration + 1, progress.max_iterations));
    } else {
        parts.push(format!("splits {}/{}", progress.splits_done, progress.splits_total));
    }
    if progress.rows > 0 {
        parts.push(format!("{} rows", progress.rows));
    }
    if progress.rows_per_second > 0.0 {
        parts.push(format!("{} rows/s", thousands(progress.rows_per_second)));
        if progress.stage == "Iterate" && progress.rows > 0 {
            let left = f64::from(progress.max_iterations - progress.iteration.min(progress.max_iterations));
            let seconds = left * progress.rows as f64 / progress.rows_per_second;
            parts.push(format!("at most {} left", duration(seconds)));
        }
    }
    parts.push(format!("{} workers", progress.workers));
    parts.join(", ")
}

fn thousands(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.1} G", value / 1e9),
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e3 => format!("{:.1} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use coterie_crds::run::RunProgress;

    use super::*;

    #[test]
    fn describes_an_iteration() {
        let run = RunProgress {
            stage: "Iterate".into(),
            iteration: 3,
            max_iterations: 10,
            restart: 1,
            restarts: 1,
            inertia: Some(1234.5),
            rows: 1000,
            rows_per_second: 2000.0,
            workers: 4,
            splits_done: 2,
            splits_total: 8,
            ..RunProgress::default()
        };
        let mut progress = Progress { run, step_rows: 250, ..Progress::default() };
        assert_eq!(
            describe(&progress),
            "iteration 3/10, inertia 1.234500e3, 1000 rows, 2.0 k rows/s, at most 3.5 s left, 4 workers"
        );
        assert_eq!(position(&progress), (3_250, 10_000));
        progress.run.rows = 0;
        assert_eq!(position(&progress), (2, 8));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(3.25), "3.2 s");
        assert_eq!(duration(125.0), "2 min 5 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
