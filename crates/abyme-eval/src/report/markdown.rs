//! A report for people.

use std::fmt;

use super::{Comparison, Report, Row};
use crate::intervals::{Interval, Method};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Evaluation of {}\n", cell(&self.tasks))?;
        match self.repetitions {
            1 => f.write_str("Each setting answers each task once.")?,
            repetitions => write!(f, "Each setting answers each task {repetitions} times.")?,
        }
        if let Some(cost) = self.total_cost {
            write!(f, " All tries of all starts cost {}", dollars(Some(cost)))?;
            if let Some(judge) = self.judge_cost {
                write!(f, ", of which the judge {}", dollars(Some(judge)))?;
            }
            f.write_str(".")?;
        }
        f.write_str("\n\n## All tasks\n\n")?;
        table(f, false, self.settings.iter())?;
        if !self.groups.is_empty() {
            f.write_str("\n## By group\n\n")?;
            table(f, true, self.groups.iter())?;
        }
        if !self.comparisons.is_empty() {
            f.write_str("\n## Differences\n\n")?;
            f.write_str(
                "| tasks | setting | compared with | n | difference | 95 % interval | better | worse | p |\n",
            )?;
            f.write_str("|---|---|---|--:|--:|--:|--:|--:|--:|\n")?;
            self.comparisons.iter().try_for_each(|comparison| difference(f, comparison))?;
        }
        f.write_str("\n## How to read this\n\n")?;
        self.notes(f)
    }
}

impl Report {
    fn notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = || self.settings.iter();
        let by = |method| rows().filter_map(|row| row.interval).any(|interval| interval.method == method);
        f.write_str("- A score is from 0 to 1, and that of a setting is the mean over tasks.")?;
        if by(Method::Wilson) {
            f.write_str(" Where all scores of tasks are 0 or 1, the interval is Wilson's.")?;
        }
        if by(Method::Bootstrap) {
            f.write_str(" Where they are not, it is a bootstrap over tasks (10 000 samples, fixed seed).")?;
        }
        f.write_str("\n")?;
        if !self.comparisons.is_empty() {
            f.write_str(
                "- Differences are paired: over the tasks that both settings have results of, with a \
                 bootstrap over tasks. p is the two-sided sign test of better and worse.\n",
            )?;
        }
        f.write_str(
            "- Costs, tokens, calls and times are those of tries that have a result. Tokens, calls \
                     and costs of a try are means; its time is the median.\n",
        )?;
        for row in rows() {
            let name = cell(&row.setting);
            let mut note = |count: usize, text: &str| match count {
                0 => Ok(()),
                count => writeln!(f, "- {name}: {count} of {} tries {text}.", row.tries),
            };
            note(row.too_long, "were too long for the model; they count as wrong")?;
            note(row.truncated, "had the middle of their inputs left out, so that they fit")?;
            note(row.failed, "ended without an answer; they count as wrong")?;
            note(row.unknown_costs, "do not say what they cost")?;
            if row.missing > 0 {
                writeln!(f, "- {name}: {} tries are missing; they do not count.", row.missing)?;
            }
        }
        Ok(())
    }
}

fn table<'a>(
    f: &mut fmt::Formatter<'_>,
    has_groups: bool,
    rows: impl Iterator<Item = &'a Row>,
) -> fmt::Result {
    if has_groups {
        f.write_str("| tasks ")?;
    }
    f.write_str("| setting | n | score | 95 % interval | right | too long | failed ")?;
    f.write_str("| cost | per try | tokens in | out | calls | time |\n")?;
    if has_groups {
        f.write_str("|---")?;
    }
    f.write_str("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")?;
    for row in rows {
        if has_groups {
            write!(f, "| {} ", scope(row.group.as_deref()))?;
        }
        writeln!(
            f,
            "| {} | {} | {} | {} | {}/{} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&row.setting),
            row.tasks,
            number(row.score, 3),
            interval(row.interval),
            row.right,
            row.tries,
            row.too_long,
            row.failed,
            dollars(row.cost),
            dollars(row.mean_cost),
            number(row.mean_input_tokens, 0),
            number(row.mean_output_tokens, 0),
            number(row.mean_calls, 1),
            row.median_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
        )?;
    }
    Ok(())
}

fn difference(f: &mut fmt::Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    writeln!(
        f,
        "| {} | {} | {} | {} | {:+.3} | {} | {} | {} | {:.3} |",
        scope(comparison.group.as_deref()),
        cell(&comparison.setting),
        cell(&comparison.baseline),
        comparison.tasks,
        comparison.difference,
        interval(comparison.interval),
        comparison.better,
        comparison.worse,
        comparison.p
    )
}

fn scope(group: Option<&str>) -> String {
    match group {
        None => "all".to_owned(),
        Some("") => "(no group)".to_owned(),
        Some(group) => cell(group),
    }
}

/// A name in a cell of a table.
fn cell(name: &str) -> String {
    let plain: String = name.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    plain.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(|| "-".to_owned(), |Interval { low, high, .. }| format!("{low:.3} to {high:.3}"))
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"))
}

fn dollars(cost: Option<f64>) -> String {
    cost.map_or_else(|| "-".to_owned(), |dollars| format!("${dollars:.4}"))
}
