//! Summaries as bars: plain SVG, small enough to be read in a diff.

use super::cases::Measure;
use super::summary::Summary;
use super::table::significant;

const WIDTH: f64 = 760.0;
/// Where bars begin.
const LEFT: f64 = 190.0;
/// Length of a case's longest bar.
const LONGEST: f64 = 400.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const TITLE: f64 = 46.0;

/// One group of bars per case, each to its own scale.
pub(crate) fn svg(summaries: &[Summary]) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    for summary in summaries {
        y = group(&mut body, summary, y);
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// Draws a case from `y` on; gives where the next begins.
fn group(body: &mut String, summary: &Summary, mut y: f64) -> f64 {
    let unit = match summary.measure {
        Measure::Pass => "seconds per pass over the rows",
        Measure::Call => "seconds, first centroids included",
        Measure::Process => "seconds of the whole process",
    };
    let Summary { name, rows, dimension, clusters, .. } = summary;
    body.push_str(&format!(
        "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{}</text>\n",
        y + 18.0,
        escaped(&format!("{name}: {rows} x {dimension}, k = {clusters}"))
    ));
    body.push_str(&format!("<text x=\"10\" y=\"{}\" fill=\"#666\" font-size=\"11\">{unit}</text>\n", y + 34.0));
    y += TITLE;
    let longest = summary.entries.iter().map(|entry| entry.measured).fold(f64::MIN_POSITIVE, f64::max);
    for entry in summary.entries.iter().filter(|entry| entry.error.is_none()) {
        let ours = entry.contender.starts_with("coterie");
        let fill = if ours { "#1f6feb" } else { "#b6bdc6" };
        let length = entry.measured / longest * LONGEST;
        let times = entry.ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2}x)"));
        let star = if entry.own_start { "*" } else { "" };
        let middle = y + 13.5;
        body.push_str(&format!(
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}{star}</text>\n",
            LEFT - 8.0,
            escaped(&entry.contender)
        ));
        body.push_str(&format!(
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\n"
        ));
        body.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{middle}\">{}{times}</text>\n",
            LEFT + length + 6.0,
            significant(entry.measured)
        ));
        y += BAR + GAP;
    }
    y + 12.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::k_means;
    use crate::bench::summary::{sum_up, tests::line};

    #[test]
    fn bars_are_as_long_as_times() {
        let case = &k_means()[0];
        let lines = [line(case.name, "coterie-every-row", 1, 5.0, 10), line(case.name, "faiss", 1, 20.0, 10)];
        let drawn = svg(&[sum_up(case, &lines).unwrap()]);
        assert!(drawn.contains("width=\"100.0\" height=\"18\" fill=\"#1f6feb\""), "{drawn}");
        assert!(drawn.contains("width=\"400.0\" height=\"18\" fill=\"#b6bdc6\""), "{drawn}");
        assert!(drawn.contains(">2.00 (4.00x)<"), "{drawn}");
        assert_eq!(drawn.matches("<text").count(), drawn.matches("</text>").count());
    }

    #[test]
    fn text_cannot_be_markup() {
        assert_eq!(escaped("a<b & c>d"), "a&lt;b &amp; c&gt;d");
    }
}
