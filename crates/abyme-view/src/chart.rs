//! A picture of where time went: a bar for each run, in SVG.

use std::fmt::Write;

use crate::page::escaped;

/// A run or a group.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// Of the model, Python, host calls, and all else.
    pub(crate) seconds: [f64; 4],
    /// What stands behind it.
    pub(crate) note: String,
}

const PARTS: [(&str, &str); 4] =
    [("model", "model"), ("python", "Python"), ("calls", "calls"), ("other", "other")];

/// The longest are shown.
const MAX_BARS: usize = 60;
/// Characters of a name.
const MAX_NAME_CHARS: usize = 34;

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 250.0;
const LONGEST: f64 = 460.0;
const TOP: f64 = 74.0;
const STEP: f64 = 24.0;

const STYLE: &str = "\
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #22211f; }
.title { font-size: 15px; font-weight: 600; }
.quiet { fill: #5f5b54; }
.paper { fill: #fbfaf8; }
.model { fill: #4c74b0; } .python { fill: #4f8f6b; } .calls { fill: #c28a36; } .other { fill: #c9c4ba; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e2dd; } .quiet { fill: #a5a19a; } .paper { fill: #1b1b1d; }
  .model { fill: #7fa3db; } .python { fill: #79b995; } .calls { fill: #dcab5e; } .other { fill: #55535a; }
}";

pub(crate) fn svg(title: &str, bars: &[Bar]) -> String {
    let total = |bar: &Bar| bar.seconds.iter().sum::<f64>();
    let mut shown: Vec<_> = bars.iter().collect();
    let is_cut = shown.len() > MAX_BARS;
    if is_cut {
        shown.sort_by(|a, b| total(b).total_cmp(&total(a)));
        shown.truncate(MAX_BARS);
    }
    let longest = shown.iter().map(|bar| total(bar)).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let title = match is_cut {
        true => format!("{title}: the {MAX_BARS} longest of {}", bars.len()),
        false => title.to_owned(),
    };
    let height = TOP + STEP * shown.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">{title}</text>\n",
        title = escaped(&title),
    );
    // Writing to a string does not fail.
    for (index, (class, name)) in PARTS.iter().enumerate() {
        let x = LEFT + 90.0 * index as f64;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"46\" width=\"10\" height=\"10\" rx=\"2\"/>\
             <text class=\"quiet\" x=\"{}\" y=\"55\">{name}</text>",
            x + 16.0
        );
    }
    for (index, bar) in shown.iter().enumerate() {
        let y = TOP + STEP * index as f64;
        let name: String = match bar.name.chars().count() {
            0..=MAX_NAME_CHARS => bar.name.clone(),
            count => format!("…{}", bar.name.chars().skip(count + 1 - MAX_NAME_CHARS).collect::<String>()),
        };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 12.0,
            y + 12.0,
            escaped(&name)
        );
        let mut x = LEFT;
        for ((class, _), seconds) in PARTS.iter().zip(bar.seconds) {
            let width = LONGEST * seconds / longest;
            if width > 0.0 {
                let _ = writeln!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"14\"/>"
                );
            }
            x += width;
        }
        let _ = writeln!(
            svg,
            "<text class=\"quiet\" x=\"{:.1}\" y=\"{}\">{}</text>",
            x + 10.0,
            y + 12.0,
            escaped(&bar.note)
        );
    }
    svg.push_str("</svg>\n");
    svg
}
