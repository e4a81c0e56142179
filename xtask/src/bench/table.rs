//! Summaries as tables that can be read in a terminal and in Markdown.

use super::cases::Measure;
use super::lines::Steps;
use super::machine::QUIET;
use super::summary::{Entry, Summary};

/// Titles of the columns.
fn head(measure: Measure) -> [&'static str; 9] {
    let measured = match measure {
        Measure::Pass => "s per pass",
        Measure::Call => "s",
        Measure::Process => "s, process",
    };
    ["", measured, "times the first", "of it init, s", "iterations", "CPU s", "peak MiB", "inertia", "others' CPUs"]
}

/// Cells as a Markdown table, columns aligned; the first row is the head.
pub(super) fn grid(cells: &[Vec<String>]) -> String {
    let mut text = String::new();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
    for (number, row) in cells.iter().enumerate() {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(column, (cell, &width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        text.push_str(&format!("| {} |\n", padded.join(" | ")));
        if number == 0 {
            let rule = |(column, &width): (usize, &usize)| {
                if column == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
            };
            let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
            text.push_str(&format!("|{}|\n", rules.join("|")));
        }
    }
    text
}

/// The summary as a Markdown section.
pub(crate) fn markdown(summary: &Summary) -> String {
    let Summary { name, about, rows, dimension, clusters, threads, rounds, .. } = summary;
    let mut text = format!(
        "### {name}\n\n{about}; {rows} x {dimension}, k = {clusters}, {threads} threads, median of {rounds} {}.\n\n",
        if *rounds == 1 { "round" } else { "rounds" }
    );
    let mut cells: Vec<Vec<String>> = vec![head(summary.measure).map(str::to_owned).to_vec()];
    cells.extend(summary.entries.iter().map(row));
    text.push_str(&grid(&cells));
    for entry in &summary.entries {
        if let Some(error) = &entry.error {
            text.push_str(&format!("\n{} failed: {error}\n", entry.contender));
        }
    }
    if summary.entries.iter().any(|entry| entry.own_start) {
        text.push_str("\n\\* takes no given centroids: as many iterations from a start of its own.\n");
    }
    let disturbed: Vec<&str> =
        summary.entries.iter().filter(|entry| entry.other_cpus > QUIET).map(|entry| entry.contender.as_str()).collect();
    if !disturbed.is_empty() {
        text.push_str(&format!("\nDisturbed by others, so not to be relied on: {}.\n", disturbed.join(", ")));
    }
    if let Some(same) = &summary.same_labels {
        let agreement = match same.differing {
            0 => format!("the same final label for all {} rows", same.rows),
            differing => format!(
                "the same final label for all but {differing} of {} rows, whose two distances differ by at most {:.1e} of themselves",
                same.rows, same.largest_gap
            ),
        };
        text.push_str(&format!(
            "\nFrom scikit-learn's own first centroids: {agreement} ({} iterations, scikit-learn {}).\n",
            same.our_iterations, same.their_iterations
        ));
        let Steps { steps, differing, largest_gap, means_off } = same.by_steps;
        text.push_str(&format!(
            "Step by step, both from the same centroids each time ({steps} assignments): at most {differing} labels of an assignment differ, whose two distances differ by at most \
             {largest_gap:.1e} of themselves; our next centroids are the exact means but for {means_off:.1e} of the largest number.\n"
        ));
    }
    text
}

fn row(entry: &Entry) -> Vec<String> {
    let name = [entry.contender.as_str(), entry.version.as_str()].join(" ").trim().to_owned();
    let name = if entry.own_start { format!("{name} \\*") } else { name };
    if entry.error.is_some() {
        return std::iter::once(name).chain(std::iter::repeat_n("-".to_owned(), 8)).collect();
    }
    let number = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), show);
    vec![
        name,
        significant(entry.measured),
        number(entry.ratio, |ratio| format!("{ratio:.2}")),
        number(entry.init_seconds, significant),
        format!("{}", entry.iterations),
        significant(entry.cpu_seconds),
        format!("{}", entry.peak_rss_bytes >> 20),
        number(entry.inertia, |inertia| format!("{inertia:.4e}")),
        format!("{:.2}", entry.other_cpus),
    ]
}

/// Three significant digits, without an exponent.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::k_means;
    use crate::bench::summary::{sum_up, tests::line};

    #[test]
    fn a_section_for_readers() {
        let case = &k_means()[0];
        let mut lines = [line(case.name, "coterie-every-row", 1, 5.0, 10), line(case.name, "superkmeans", 1, 30.0, 10)];
        if let crate::bench::lines::What::Run(run) = &mut lines[1].what {
            let figures = run.figures.as_mut().unwrap();
            (figures.given_start, figures.other_cpus) = (false, 0.5);
        }
        let expected = "\
### fixed-d128-k256

10 iterations from given centroids, overlapping mixture; 1000000 x 128, k = 256, 2 threads, median of 1 round.

|                   | s per pass | times the first | of it init, s | iterations | CPU s | peak MiB |  inertia | others' CPUs |
|-------------------|-----------:|----------------:|--------------:|-----------:|------:|---------:|---------:|-------------:|
| coterie-every-row |      0.500 |            1.00 |             - |         10 |  10.0 |        0 | 4.0000e9 |         0.00 |
| superkmeans \\*    |       3.00 |            6.00 |             - |         10 |  60.0 |        0 | 4.0000e9 |         0.50 |

\\* takes no given centroids: as many iterations from a start of its own.

Disturbed by others, so not to be relied on: superkmeans.
";
        assert_eq!(markdown(&sum_up(case, &lines).unwrap()), expected);
    }

    #[test]
    fn three_digits_are_enough() {
        let shown = [0.0, 0.000_123_45, 0.012_345, 0.123_45, 1.234_5, 12.345, 123.45, 1234.5].map(significant);
        assert_eq!(shown, ["0", "0.000123", "0.0123", "0.123", "1.23", "12.3", "123", "1234"]);
    }
}
