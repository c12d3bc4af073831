//! Figures over many runs: a table for people, CSV and JSON for programs.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use crate::{chart, figures::RunFigures};

/// The figures of many runs, one by one or in groups.
///
/// `Display` is a table for people.
///
/// ```
/// # use abyme_core::Trajectory;
/// use abyme_view::{GroupBy, RunFigures, Stats};
///
/// # fn example(records: &[(String, Trajectory)]) {
/// let runs = records.iter().map(|(name, record)| RunFigures::of(name, record)).collect();
/// let stats = Stats::new(runs).group_by(GroupBy::Model);
/// println!("{stats}");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stats {
    runs: Vec<RunFigures>,
    by: Option<GroupBy>,
}

/// What runs of one group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupBy {
    /// The model that plans.
    Model,
    /// What their caller calls them.
    Label,
}

/// Runs that have something in common: sums of what they used, and medians of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many they are.
    pub runs: usize,
    /// How many of them the model ended by itself.
    pub complete: usize,
    /// Sums.
    pub input_tokens: Option<u64>,
    /// Sum, of the tokens of requests from a provider's cache.
    pub cached_tokens: Option<u64>,
    /// Sum.
    pub output_tokens: Option<u64>,
    /// Sum, in US dollars.
    pub cost: Option<f64>,
    /// Sum, in seconds.
    pub wall_seconds: f64,
    /// The medians of a run.
    pub median: Median,
}

/// The medians of the runs of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Median {
    /// Turns.
    pub turns: f64,
    /// Sub-calls.
    pub sub_calls: f64,
    /// Children.
    pub children: f64,
    /// Tokens of requests.
    pub input_tokens: Option<f64>,
    /// Tokens of replies.
    pub output_tokens: Option<f64>,
    /// US dollars.
    pub cost: Option<f64>,
    /// Seconds of the whole run.
    pub wall_seconds: f64,
    /// Seconds of its model.
    pub model_seconds: f64,
    /// Seconds of Python.
    pub python_seconds: f64,
    /// Seconds of host calls.
    pub call_seconds: f64,
    /// Other seconds.
    pub other_seconds: f64,
}

impl Stats {
    /// The figures of these runs, one by one.
    #[must_use]
    pub fn new(runs: Vec<RunFigures>) -> Self {
        Self { runs, by: None }
    }

    /// Puts runs together that have this in common.
    #[must_use]
    pub fn group_by(mut self, by: impl Into<Option<GroupBy>>) -> Self {
        self.by = by.into();
        self
    }

    /// The runs.
    #[must_use]
    pub fn runs(&self) -> &[RunFigures] {
        &self.runs
    }

    /// The groups, in the order of their first runs; none where runs are shown one by one.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let Some(by) = self.by else { return Vec::new() };
        let mut groups: IndexMap<&str, Vec<&RunFigures>> = IndexMap::new();
        for run in &self.runs {
            let name = match by {
                GroupBy::Model => &run.model,
                GroupBy::Label => run.label.as_deref().unwrap_or("(no label)"),
            };
            groups.entry(name).or_default().push(run);
        }
        groups.into_iter().map(|(name, runs)| group(name, &runs)).collect()
    }

    /// All runs as one group.
    #[must_use]
    pub fn all(&self) -> Group {
        group("all", &self.runs.iter().collect::<Vec<_>>())
    }

    /// The runs, their groups if there are any, and all together, as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::json!({"runs": self.runs, "all": self.all()});
        if self.by.is_some() {
            json["groups"] = serde_json::json!(self.groups());
        }
        json.to_string()
    }

    /// The runs, or their groups, as CSV under a line with the names of the columns.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let rows: Vec<_> = match self.by {
            None => self.runs.iter().map(|run| flat("", &serde_json::json!(run))).collect(),
            Some(_) => self.groups().iter().map(|group| flat("", &serde_json::json!(group))).collect(),
        };
        let header = rows.first().map(|row| row.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let header = header.map(|names| names.join(",") + "\n");
        let line = |row: &Vec<(String, String)>| {
            row.iter().map(|(_, cell)| quoted(cell)).collect::<Vec<_>>().join(",") + "\n"
        };
        header.into_iter().chain(rows.iter().map(line)).collect()
    }

    /// Where the time of each run, or of the median run of each group, went, as a picture in SVG.
    #[must_use]
    pub fn chart(&self) -> String {
        let bar =
            |name: &str, seconds: [f64; 4], note: String| chart::Bar { name: name.to_owned(), seconds, note };
        let bars: Vec<_> = match self.by {
            None => {
                let of_run = |run: &RunFigures| {
                    let seconds =
                        [run.model_seconds, run.python_seconds, run.call_seconds, run.other_seconds];
                    let note = [seconds_text(run.wall_seconds), cost_text(run.cost)];
                    bar(run.name(), seconds, note.join("  "))
                };
                self.runs.iter().map(of_run).collect()
            }
            Some(_) => {
                let of_group = |group: &Group| {
                    let Median { model_seconds, python_seconds, call_seconds, other_seconds, .. } =
                        group.median;
                    let seconds = [model_seconds, python_seconds, call_seconds, other_seconds];
                    let note = [seconds_text(group.median.wall_seconds), cost_text(group.median.cost)];
                    bar(&format!("{} ({})", group.name, group.runs), seconds, note.join("  "))
                };
                self.groups().iter().map(of_group).collect()
            }
        };
        let title = if self.by.is_some() { "Time of the median run" } else { "Time of each run" };
        chart::svg(title, &bars)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let header = [
            "run",
            "model",
            "status",
            "turns",
            "sub-calls",
            "children",
            "in",
            "cached",
            "out",
            "cost",
            "time",
            "model",
            "Python",
            "calls",
        ];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        rows.extend(self.runs.iter().map(|run| {
            vec![
                shown(run.name()),
                shown(&run.model),
                run.status.clone(),
                run.turns.to_string(),
                run.sub_calls.to_string(),
                run.children.to_string(),
                count_text(run.input_tokens),
                count_text(run.cached_tokens),
                count_text(run.output_tokens),
                cost_text(run.cost),
                seconds_text(run.wall_seconds),
                seconds_text(run.model_seconds),
                seconds_text(run.python_seconds),
                seconds_text(run.call_seconds),
            ]
        }));
        if self.runs.len() > 1 {
            let all = self.all();
            let sum = |of: fn(&RunFigures) -> usize| self.runs.iter().map(of).sum::<usize>().to_string();
            let seconds = |of: fn(&RunFigures) -> f64| seconds_text(self.runs.iter().map(of).sum());
            rows.push(vec![
                format!("{} runs", all.runs),
                String::new(),
                format!("{} complete", all.complete),
                sum(|run| run.turns),
                sum(|run| run.sub_calls),
                sum(|run| run.children),
                count_text(all.input_tokens),
                count_text(all.cached_tokens),
                count_text(all.output_tokens),
                cost_text(all.cost),
                seconds(|run| run.wall_seconds),
                seconds(|run| run.model_seconds),
                seconds(|run| run.python_seconds),
                seconds(|run| run.call_seconds),
            ]);
            let Median { turns, sub_calls, children, input_tokens, output_tokens, cost, .. } = all.median;
            let cached =
                median_of(self.runs.iter().filter_map(|run| run.cached_tokens.map(|count| count as f64)));
            let tokens = |count: Option<f64>| count_text(count.map(|count| count.round() as u64));
            rows.push(vec![
                "median".to_owned(),
                String::new(),
                String::new(),
                turns.to_string(),
                sub_calls.to_string(),
                children.to_string(),
                tokens(input_tokens),
                tokens(cached),
                tokens(output_tokens),
                cost_text(cost),
                seconds_text(all.median.wall_seconds),
                seconds_text(all.median.model_seconds),
                seconds_text(all.median.python_seconds),
                seconds_text(all.median.call_seconds),
            ]);
        }
        rows
    }

    fn group_rows(&self, by: GroupBy) -> Vec<Vec<String>> {
        let name = match by {
            GroupBy::Model => "model",
            GroupBy::Label => "label",
        };
        let header = [
            name,
            "runs",
            "complete",
            "turns",
            "sub-calls",
            "in",
            "cached",
            "out",
            "cost",
            "cost/run",
            "time/run",
            "model",
            "Python",
            "calls",
        ];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        let groups = self.groups();
        let all = (groups.len() > 1).then(|| self.all());
        rows.extend(groups.into_iter().chain(all).map(|group| {
            vec![
                shown(&group.name),
                group.runs.to_string(),
                group.complete.to_string(),
                group.median.turns.to_string(),
                group.median.sub_calls.to_string(),
                count_text(group.input_tokens),
                count_text(group.cached_tokens),
                count_text(group.output_tokens),
                cost_text(group.cost),
                cost_text(group.median.cost),
                seconds_text(group.median.wall_seconds),
                seconds_text(group.median.model_seconds),
                seconds_text(group.median.python_seconds),
                seconds_text(group.median.call_seconds),
            ]
        }));
        rows
    }
}

fn group(name: &str, runs: &[&RunFigures]) -> Group {
    let count = |of: fn(&RunFigures) -> Option<u64>| {
        runs.iter().filter_map(|run| of(run)).reduce(|sum, count| sum + count)
    };
    let median =
        |of: &dyn Fn(&RunFigures) -> f64| median_of(runs.iter().map(|run| of(run))).unwrap_or_default();
    let some_median = |of: fn(&RunFigures) -> Option<f64>| median_of(runs.iter().filter_map(|run| of(run)));
    Group {
        name: name.to_owned(),
        runs: runs.len(),
        complete: runs.iter().filter(|run| run.is_complete()).count(),
        input_tokens: count(|run| run.input_tokens),
        cached_tokens: count(|run| run.cached_tokens),
        output_tokens: count(|run| run.output_tokens),
        cost: runs.iter().filter_map(|run| run.cost).reduce(|sum, cost| sum + cost),
        wall_seconds: runs.iter().map(|run| run.wall_seconds).sum(),
        median: Median {
            turns: median(&|run| run.turns as f64),
            sub_calls: median(&|run| run.sub_calls as f64),
            children: median(&|run| run.children as f64),
            input_tokens: some_median(|run| run.input_tokens.map(|count| count as f64)),
            output_tokens: some_median(|run| run.output_tokens.map(|count| count as f64)),
            cost: some_median(|run| run.cost),
            wall_seconds: median(&|run| run.wall_seconds),
            model_seconds: median(&|run| run.model_seconds),
            python_seconds: median(&|run| run.python_seconds),
            call_seconds: median(&|run| run.call_seconds),
            other_seconds: median(&|run| run.other_seconds),
        },
    }
}

/// The middle one, or the mean of the two in the middle.
fn median_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The fields of an object, those of objects in it under both names.
fn flat(prefix: &str, json: &serde_json::Value) -> Vec<(String, String)> {
    let fields = json.as_object().into_iter().flatten();
    let cells = fields.flat_map(|(name, value)| match value {
        serde_json::Value::Object(_) => flat(&format!("{name}_"), value),
        serde_json::Value::Null => vec![(format!("{prefix}{name}"), String::new())],
        serde_json::Value::String(text) => vec![(format!("{prefix}{name}"), text.clone())],
        value => vec![(format!("{prefix}{name}"), value.to_string())],
    });
    cells.collect()
}

/// A cell of CSV, as RFC 4180 has it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// A name on a line of a table.
fn shown(name: &str) -> String {
    const MOST: usize = 36;
    let name: String = name.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    match name.chars().count() {
        0..=MOST => name,
        count => format!("…{}", name.chars().skip(count - MOST + 1).collect::<String>()),
    }
}

fn count_text(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

fn cost_text(cost: Option<f64>) -> String {
    cost.map_or_else(|| "-".to_owned(), |dollars| format!("${dollars:.4}"))
}

fn seconds_text(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, texts) = match self.by {
            None => (self.rows(), 3),
            Some(by) => (self.group_rows(by), 1),
        };
        let columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < texts { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            f.write_str(line.trim_end())?;
            if index + 1 < rows.len() {
                f.write_str("\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(label: &str, model: &str, turns: usize, seconds: f64, cost: Option<f64>) -> RunFigures {
        RunFigures {
            file: "a.jsonl".to_owned(),
            label: Some(label.to_owned()),
            model: model.to_owned(),
            status: "submitted".to_owned(),
            turns,
            wall_seconds: seconds,
            model_seconds: seconds,
            cost,
            ..RunFigures::default()
        }
    }

    fn three() -> Stats {
        Stats::new(vec![
            run("one, \"two\"", "m1", 2, 1.0, Some(0.5)),
            run("b", "m2", 4, 3.0, None),
            run("c", "m1", 9, 10.0, Some(1.0)),
        ])
    }

    #[test]
    fn sums_and_medians_are_of_what_is_known() {
        let all = three().all();
        assert_eq!((all.runs, all.complete, all.cost, all.input_tokens), (3, 3, Some(1.5), None));
        assert_eq!((all.median.turns, all.median.wall_seconds, all.median.cost), (4.0, 3.0, Some(0.75)));
        assert_eq!(median_of([4.0, 1.0].into_iter()), Some(2.5));
    }

    #[test]
    fn runs_are_grouped_in_their_order() {
        let stats = three().group_by(GroupBy::Model);
        let groups: Vec<_> = stats.groups().into_iter().map(|group| (group.name, group.runs)).collect();
        assert_eq!(groups, [("m1".to_owned(), 2), ("m2".to_owned(), 1)]);
        let table = stats.to_string();
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(
            (lines.len(), &lines[1][..3], &lines[3][..3]),
            (4, &["m1", "2", "2"][..], &["all", "3", "3"][..])
        );
    }

    #[test]
    fn a_cell_of_csv_may_hold_anything() {
        let csv = three().to_csv();
        let lines: Vec<_> = csv.lines().collect();
        assert!(lines[0].starts_with("file,run,label,task,model,status,turns,"), "{csv}");
        assert!(lines[1].starts_with("a.jsonl,,\"one, \"\"two\"\"\",,m1,submitted,2,"), "{csv}");
        assert_eq!(lines.len(), 4);
        let groups = three().group_by(GroupBy::Label).to_csv();
        assert!(groups.starts_with("name,runs,complete,") && groups.contains(",median_turns,"), "{groups}");
    }

    #[test]
    fn the_chart_has_a_bar_for_each_run_and_no_markup_of_theirs() {
        let svg = Stats::new(vec![run("<script>", "m", 1, 2.0, None), run("b", "m", 1, 1.0, None)]).chart();
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script"), "{svg}");
        assert_eq!(svg.matches("class=\"model\"").count(), 3, "two bars and the legend: {svg}");
    }
}
