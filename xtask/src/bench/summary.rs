//! Medians and ratios of runs.

use std::collections::BTreeMap;

use super::cases::{Case, Measure};
use super::lines::{Line, Run, SameLabels, What};
use super::machine::Machine;

/// A case, summed up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) measure: Measure,
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) threads: usize,
    pub(crate) rows: u64,
    pub(crate) dimension: u64,
    pub(crate) clusters: u32,
    pub(crate) rounds: u32,
    pub(crate) entries: Vec<Entry>,
    pub(crate) same_labels: Option<SameLabels>,
}

/// A contender in a case: medians over the rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) contender: String,
    pub(crate) version: String,
    /// What the case measures, in seconds.
    pub(crate) measured: f64,
    /// The median over the rounds of this time by that of the case's first contender in the same round.
    pub(crate) ratio: Option<f64>,
    pub(crate) seconds: f64,
    /// Nothing where the first centroids were given or the peer does not tell.
    pub(crate) init_seconds: Option<f64>,
    pub(crate) cpu_seconds: f64,
    pub(crate) iterations: f64,
    /// The most of all rounds.
    pub(crate) peak_rss_bytes: u64,
    /// The most of all rounds, as one disturbed run is enough to doubt a median of few.
    pub(crate) other_cpus: f64,
    pub(crate) inertia: Option<f64>,
    /// Whether it began elsewhere than at the given first centroids.
    pub(crate) own_start: bool,
    /// Why there are no figures.
    pub(crate) error: Option<String>,
}

/// Sums up the lines of a case; `None` when there are none.
pub(crate) fn sum_up(case: &Case, lines: &[Line]) -> Option<Summary> {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.case == case.name).collect();
    let first = lines.first()?;
    let runs: Vec<&Run> =
        lines.iter().filter_map(|line| if let What::Run(run) = &line.what { Some(&**run) } else { None }).collect();
    let baseline = case.contenders.first().map_or("", |contender| contender.name());
    let of = |name: &str| -> Vec<&Run> { runs.iter().copied().filter(|run| run.contender == name).collect() };
    let reference: BTreeMap<u32, f64> =
        of(baseline).into_iter().filter_map(|run| Some((run.round, measured(case.measure, run)?))).collect();
    let entries = case.contenders.iter().map(|contender| (contender.name(), of(contender.name())));
    Some(Summary {
        name: case.name,
        about: case.about,
        measure: case.measure,
        date: first.date.clone(),
        machine: first.machine.clone(),
        threads: first.threads,
        rows: first.rows,
        dimension: first.dimension,
        clusters: first.clusters,
        rounds: runs.iter().map(|run| run.round).max().unwrap_or(0),
        entries: entries
            .filter(|(_, runs)| !runs.is_empty())
            .map(|(name, runs)| entry(case, name, &runs, &reference))
            .collect(),
        same_labels: lines
            .iter()
            .find_map(|line| if let What::SameLabels(same) = &line.what { Some(same.clone()) } else { None }),
    })
}

fn entry(case: &Case, name: &str, runs: &[&Run], reference: &BTreeMap<u32, f64>) -> Entry {
    let figures: Vec<_> = runs.iter().filter_map(|run| run.figures.as_ref()).collect();
    let error = runs.iter().find_map(|run| run.error.clone());
    let (Some(last), None) = (figures.last(), &error) else {
        return Entry {
            contender: name.to_owned(),
            error: error.or(Some("no figures".to_owned())),
            ..Entry::default()
        };
    };
    let ratios: Vec<f64> =
        runs.iter().filter_map(|run| Some(measured(case.measure, run)? / reference.get(&run.round)?)).collect();
    let middle = |values: Vec<f64>| median(values).unwrap_or_default();
    Entry {
        contender: name.to_owned(),
        version: last.version.clone(),
        measured: middle(runs.iter().filter_map(|run| measured(case.measure, run)).collect()),
        ratio: median(ratios),
        seconds: middle(figures.iter().map(|figures| figures.seconds).collect()),
        init_seconds: median(
            figures.iter().filter(|figures| !figures.given_start).filter_map(|figures| figures.init_seconds).collect(),
        ),
        cpu_seconds: middle(figures.iter().map(|figures| figures.cpu_seconds).collect()),
        iterations: middle(figures.iter().map(|figures| f64::from(figures.iterations)).collect()),
        peak_rss_bytes: figures.iter().map(|figures| figures.peak_rss_bytes).max().unwrap_or(0),
        other_cpus: figures.iter().map(|figures| figures.other_cpus).fold(0.0, f64::max),
        inertia: median(runs.iter().filter_map(|run| run.inertia).collect()),
        own_start: case.is_given() && !last.given_start,
        error: None,
    }
}

/// The time that is compared.
fn measured(measure: Measure, run: &Run) -> Option<f64> {
    let figures = run.figures.as_ref()?;
    Some(match measure {
        Measure::Pass => figures.seconds / f64::from(figures.passes.max(1)),
        Measure::Call => figures.seconds,
        Measure::Process => run.wall_seconds,
    })
}

/// The value in the middle, or the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::cases::k_means;
    use crate::bench::lines::Figures;

    pub(crate) fn line(case: &str, contender: &str, round: u32, seconds: f64, passes: u32) -> Line {
        let figures = Figures {
            seconds,
            passes,
            iterations: 10,
            cpu_seconds: 2.0 * seconds,
            given_start: true,
            ..Figures::default()
        };
        let run = Run {
            contender: contender.to_owned(),
            round,
            wall_seconds: seconds + 1.0,
            inertia: Some(4e9),
            figures: Some(figures),
            error: None,
        };
        Line {
            date: "2026-01-02".into(),
            machine: Machine { cpu: "Processor 1".into(), cores: 2 },
            quick: false,
            threads: 2,
            case: case.to_owned(),
            rows: 1_000_000,
            dimension: 128,
            clusters: 256,
            what: What::Run(Box::new(run)),
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    /// Time per pass, not per iteration: scikit-learn makes one more pass than it has iterations.
    #[test]
    fn ratios_are_within_rounds() {
        let case = &k_means()[0];
        let lines: Vec<Line> = [(1, 10.0, 22.0), (2, 20.0, 44.0), (3, 10.0, 33.0)]
            .into_iter()
            .flat_map(|(round, ours, theirs)| {
                [
                    line(case.name, "coterie-every-row", round, ours, 10),
                    line(case.name, "scikit-learn", round, theirs, 11),
                ]
            })
            .collect();
        let summary = sum_up(case, &lines).unwrap();
        let [ours, theirs] = &summary.entries[..] else { panic!("two contenders") };
        assert_eq!((ours.measured, ours.ratio), (1.0, Some(1.0)));
        assert_eq!((theirs.measured, theirs.ratio), (3.0, Some(2.0)));
        assert_eq!(summary.rounds, 3);
        assert_eq!(sum_up(&k_means()[1], &lines), None);
    }

    #[test]
    fn a_failure_leaves_no_figures() {
        let case = &k_means()[0];
        let mut failed = line(case.name, "faiss", 1, 1.0, 10);
        if let What::Run(run) = &mut failed.what {
            (run.figures, run.error) = (None, Some("it broke".into()));
        }
        let summary = sum_up(case, &[line(case.name, "coterie-every-row", 1, 1.0, 10), failed]).unwrap();
        assert_eq!(summary.entries[1].error.as_deref(), Some("it broke"));
        assert_eq!(summary.entries[1].ratio, None);
    }
}
