//! What the results say: scores with confidence intervals, differences, costs.

mod markdown;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use abyme_core::Usage;
use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    intervals::{Interval, sign_test},
    result::{Outcome, TaskResult},
    setting::Setting,
    tasks::{TaskEntry, Tasks},
};

/// What the results of an evaluation say. `Display` is Markdown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The file of tasks.
    pub tasks: String,
    /// How often each setting answers each task.
    pub repetitions: u32,
    /// What all tries of all starts cost in US dollars, those that do not count and the judge included, as
    /// far as that is known.
    pub total_cost: Option<f64>,
    /// What the judge cost of that.
    pub judge_cost: Option<f64>,
    /// Each setting over all tasks.
    pub settings: Vec<Row>,
    /// Each setting over each group of tasks, where there are several groups.
    pub groups: Vec<Row>,
    /// Settings beside those that they are compared with: over all tasks, then over each group.
    pub comparisons: Vec<Comparison>,
}

/// One setting over some tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The group of the tasks; none for all tasks.
    pub group: Option<String>,
    /// The name of the setting.
    pub setting: String,
    /// The tasks that have a result.
    pub tasks: usize,
    /// The tries that have a result.
    pub tries: usize,
    /// The tries that are missing.
    pub missing: usize,
    /// The mean of the scores of the tasks; the score of a task is the mean of its tries.
    pub score: Option<f64>,
    /// Its 95 % confidence interval over tasks.
    pub interval: Option<Interval>,
    /// Tries with the full score.
    pub right: usize,
    /// Tries without an answer, which count as wrong.
    pub failed: usize,
    /// Tries whose inputs were too long for the model, which count as wrong.
    pub too_long: usize,
    /// Tries for which a part of the inputs was left out.
    pub truncated: usize,
    /// US dollars of all tries that have a result, without the judge; as far as it is known.
    pub cost: Option<f64>,
    /// US dollars of one of them, in the mean.
    pub mean_cost: Option<f64>,
    /// Tries of which it is not known what they cost.
    pub unknown_costs: usize,
    /// Tokens of requests of a try, in the mean.
    pub mean_input_tokens: Option<f64>,
    /// Tokens of replies of a try, in the mean.
    pub mean_output_tokens: Option<f64>,
    /// Model calls of a try, in the mean.
    pub mean_calls: Option<f64>,
    /// Seconds of a try: the median.
    pub median_seconds: Option<f64>,
}

/// Two settings on the tasks that both have results of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The group of the tasks; none for all tasks.
    pub group: Option<String>,
    /// The setting.
    pub setting: String,
    /// The one that it is compared with.
    pub baseline: String,
    /// The tasks that both have results of.
    pub tasks: usize,
    /// The mean of the differences of the tasks' scores: positive where the setting is better.
    pub difference: f64,
    /// Its 95 % confidence interval, by bootstrap over tasks.
    pub interval: Option<Interval>,
    /// Tasks on which the setting has a higher score.
    pub better: usize,
    /// Tasks on which it has a lower one.
    pub worse: usize,
    /// The two-sided sign test of these two numbers.
    pub p: f64,
}

/// The results that count, by setting and task.
type CountedResults<'a> = HashMap<(&'a str, &'a str), Vec<&'a TaskResult>>;

impl Report {
    pub(crate) fn new(
        tasks: &Tasks,
        settings: &[Arc<Setting>],
        lines: &[TaskResult],
        repetitions: u32,
    ) -> Self {
        let counted = counted(tasks, settings, lines, repetitions);
        let mut groups: IndexMap<&str, Vec<&TaskEntry>> = IndexMap::new();
        for entry in tasks.entries() {
            groups.entry(&entry.group).or_default().push(entry);
        }
        if groups.len() < 2 {
            groups.clear();
        }
        let all: Vec<_> = tasks.entries().iter().collect();
        let mut scopes = vec![(None, all)];
        scopes.extend(groups.into_iter().map(|(group, entries)| (Some(group.to_owned()), entries)));
        let (mut rows, mut comparisons) = (Vec::new(), Vec::new());
        for (group, entries) in &scopes {
            for setting in settings {
                rows.push(row(group.clone(), setting.name(), entries, &counted, repetitions));
            }
            for setting in settings {
                let Some(baseline) = setting.compared_with() else { continue };
                comparisons.extend(comparison(group.clone(), setting.name(), baseline, entries, &counted));
            }
        }
        let (whole, groups) = rows.into_iter().partition(|row| row.group.is_none());
        let sum =
            |of: &dyn Fn(&TaskResult) -> Usage| lines.iter().map(of).fold(Usage::default(), |a, b| a + b);
        Self {
            tasks: tasks.path().display().to_string(),
            repetitions,
            total_cost: sum(&|line| line.usage + line.judge_usage.unwrap_or_default()).cost,
            judge_cost: sum(&|line| line.judge_usage.unwrap_or_default()).cost,
            settings: whole,
            groups,
            comparisons,
        }
    }

    /// The report as JSON, indented.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Every field can be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// The results of these very tasks and settings, the last of each try.
fn counted<'a>(
    tasks: &'a Tasks,
    settings: &[Arc<Setting>],
    lines: &'a [TaskResult],
    repetitions: u32,
) -> CountedResults<'a> {
    let hashes: HashSet<_> =
        settings.iter().map(|setting| (setting.name().to_owned(), setting.hash())).collect();
    let known: HashSet<_> =
        tasks.entries().iter().map(|entry| (entry.id.as_str(), entry.hash.as_str())).collect();
    let mut last = IndexMap::new();
    for line in lines {
        let is_of_setting = hashes.contains(&(line.setting.clone(), line.setting_hash.clone()));
        let is_of_task = known.contains(&(line.task.as_str(), line.task_hash.as_str()));
        if line.outcome.counts() && is_of_setting && is_of_task && line.repetition <= repetitions {
            last.insert((line.setting.as_str(), line.task.as_str(), line.repetition), line);
        }
    }
    let mut counted = CountedResults::new();
    for ((setting, task, _), line) in last {
        counted.entry((setting, task)).or_default().push(line);
    }
    counted
}

/// The mean score of a setting on a task.
fn score_of(counted: &CountedResults<'_>, setting: &str, task: &str) -> Option<f64> {
    let tries = counted.get(&(setting, task))?;
    mean(tries.iter().map(|line| line.score.unwrap_or_default()))
}

fn row(
    group: Option<String>,
    setting: &str,
    entries: &[&TaskEntry],
    counted: &CountedResults<'_>,
    repetitions: u32,
) -> Row {
    let of_tasks = entries.iter().filter_map(|entry| counted.get(&(setting, entry.id.as_str())));
    let tries: Vec<_> = of_tasks.flatten().copied().collect();
    let scores: Vec<_> = entries.iter().filter_map(|entry| score_of(counted, setting, &entry.id)).collect();
    let count = |is: &dyn Fn(&TaskResult) -> bool| tries.iter().filter(|line| is(line)).count();
    let costs: Vec<_> = tries.iter().filter_map(|line| line.usage.cost).collect();
    let tokens = |of: &dyn Fn(&Usage) -> Option<u64>| {
        mean(tries.iter().filter_map(|line| of(&line.usage)).map(|count| count as f64))
    };
    Row {
        group,
        setting: setting.to_owned(),
        tasks: scores.len(),
        tries: tries.len(),
        missing: (entries.len() * repetitions as usize).saturating_sub(tries.len()),
        score: mean(scores.iter().copied()),
        interval: Interval::of(&scores),
        right: count(&|line| line.score.is_some_and(|score| score > 1.0 - 1e-9)),
        failed: count(&|line| line.outcome == Outcome::Failed),
        too_long: count(&|line| line.outcome == Outcome::TooLong),
        truncated: count(&|line| line.kept_share.is_some()),
        cost: costs.iter().copied().reduce(|a, b| a + b),
        mean_cost: mean(costs.iter().copied()),
        unknown_costs: count(&|line| line.usage.cost.is_none()),
        mean_input_tokens: tokens(&|usage| usage.input_tokens),
        mean_output_tokens: tokens(&|usage| usage.output_tokens),
        mean_calls: tokens(&|usage| Some(usage.calls)),
        median_seconds: median(tries.iter().map(|line| line.seconds)),
    }
}

fn comparison(
    group: Option<String>,
    setting: &str,
    baseline: &str,
    entries: &[&TaskEntry],
    counted: &CountedResults<'_>,
) -> Option<Comparison> {
    let difference = |entry: &&TaskEntry| {
        let scores = score_of(counted, setting, &entry.id).zip(score_of(counted, baseline, &entry.id));
        scores.map(|(own, other)| own - other)
    };
    let differences: Vec<_> = entries.iter().filter_map(difference).collect();
    let count = |is: &dyn Fn(f64) -> bool| differences.iter().filter(|value| is(**value)).count();
    let (better, worse) = (count(&|value| value > 1e-9), count(&|value| value < -1e-9));
    Some(Comparison {
        group,
        setting: setting.to_owned(),
        baseline: baseline.to_owned(),
        tasks: differences.len(),
        difference: mean(differences.iter().copied())?,
        interval: Interval::bootstrap(&differences),
        better,
        worse,
        p: sign_test(better, worse),
    })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The middle one, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
