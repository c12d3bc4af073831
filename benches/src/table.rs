//! Results as tables: aligned for a terminal, or as Markdown.

use crate::{
    record::{Point, Record, Row, ScenarioRecord},
    units::Unit,
    units::{count, percent, times},
};

/// A head and rows of the same length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    /// Leaves out empty columns.
    pub(crate) fn compact(mut self) -> Self {
        let filled: Vec<bool> =
            (0..self.head.len()).map(|column| self.rows.iter().any(|row| !row[column].is_empty())).collect();
        for row in std::iter::once(&mut self.head).chain(&mut self.rows) {
            let mut column = filled.iter();
            row.retain(|_| column.next().copied().unwrap_or(false));
        }
        self
    }

    /// For a terminal: columns are aligned, the last one is as long as it is.
    pub(crate) fn text(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for row in lines() {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            text.push_str("  ");
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |row: &[String]| {
            let cells = row.iter().map(|cell| cell.replace('|', "\\|"));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        line(&self.head) + &rule + &self.rows.iter().map(|row| line(row)).collect::<String>()
    }
}

/// The results of a scenario. A quick run is not compared with the goals.
pub(crate) fn results(scenario: &ScenarioRecord, quick: bool) -> Table {
    let axis = scenario.axis.as_deref().unwrap_or_default();
    // The column names the floor, which differs from scenario to scenario and says what the ratio means.
    let floor =
        scenario.points.iter().find_map(|point| point.first_floor()).map(|row| format!("× {}", row.system));
    let floor = floor.as_deref().unwrap_or_default();
    let head = [axis, "system", "kind", "median", "p95", "CPU", "n", floor, "than best peer", "goal", "note"];
    let mut table = Table::new(&head);
    for point in &scenario.points {
        for row in &point.rows {
            table.row(cells(scenario.unit, point, row, quick));
        }
    }
    table.compact()
}

fn cells(unit: Unit, point: &Point, row: &Row, quick: bool) -> Vec<String> {
    let stats = row.stats(unit);
    let of_stats = |show: &dyn Fn(crate::stats::Stats) -> String| stats.map(show).unwrap_or_default();
    let against = |other: Option<f64>, show: &dyn Fn(f64, f64) -> String| match (stats, other) {
        (Some(stats), Some(other)) if other > 0.0 && stats.median > 0.0 => show(stats.median, other),
        _ => String::new(),
    };
    let peer = point.best_peer(unit).map(|(median, _)| median).filter(|_| row.kind.is_ours());
    vec![
        point.at.map(count).unwrap_or_default(),
        row.system.clone(),
        row.kind.word().to_owned(),
        of_stats(&|stats| unit.show(stats.median)),
        of_stats(&|stats| if stats.count > 1 { unit.show(stats.p95) } else { String::new() }),
        row.cpu_time(unit).map(|cpu| Unit::Seconds.show(cpu)).unwrap_or_default(),
        of_stats(&|stats| stats.count.to_string()),
        against(point.first_floor().and_then(Row::median), &|value, floor| times(value / floor)),
        against(peer, &|value, peer| better(unit.times_worse(value, peer))),
        goal(unit, row, quick),
        row.problem.clone().unwrap_or_default(),
    ]
}

/// All rows that are ours beside the best of the others. A quick run is not compared with the goals.
pub(crate) fn summary(record: &Record) -> Table {
    let mut table = Table::new(&["scenario", "at", "system", "ours", "best peer", "floor", "ratio", "goal"]);
    for scenario in &record.scenarios {
        let unit = scenario.unit;
        for point in &scenario.points {
            let peer = point.best_peer(unit);
            let floor = point.first_floor().and_then(|row| Some((row.median()?, row.system.as_str())));
            let other = |other: Option<(f64, &str)>| {
                other.map(|(median, name)| format!("{} {name}", unit.show(median))).unwrap_or_default()
            };
            for row in point.rows.iter().filter(|row| row.kind.is_ours()) {
                let Some(ours) = row.median() else { continue };
                let ratio = peer.or(floor).filter(|(than, _)| ours > 0.0 && *than > 0.0);
                table.row(vec![
                    scenario.name.clone(),
                    point.at.map(count).unwrap_or_default(),
                    row.system.clone(),
                    unit.show(ours),
                    other(peer),
                    other(floor),
                    ratio.map(|(than, _)| times(unit.times_worse(ours, than))).unwrap_or_default(),
                    goal(unit, row, record.quick),
                ]);
            }
        }
    }
    table.compact()
}

/// Whether the goal of a row is met; nothing without one.
fn goal(unit: Unit, row: &Row, quick: bool) -> String {
    let Some(goal) = row.goal.filter(|_| !quick) else { return String::new() };
    let ratio = row.goal_ratio.as_ref().map(|ratio| format!(" ({ratio})")).unwrap_or_default();
    let shown = format!("{}{ratio}", unit.show(goal));
    match row.stats(unit) {
        Some(stats) => verdict(unit, stats.median, goal, &shown),
        None => format!("not met: {shown}"),
    }
}

/// A ratio of ours to a peer's, as words.
fn better(times_worse: f64) -> String {
    if times_worse <= 1.0 {
        format!("{} better", times(1.0 / times_worse))
    } else {
        format!("{} worse", times(times_worse))
    }
}

/// Whether a goal is met, and by how much not.
fn verdict(unit: Unit, median: f64, goal: f64, shown: &str) -> String {
    let worse = unit.times_worse(median, goal);
    // A value that rounds to the goal meets it.
    if worse <= 1.005 {
        return format!("met: {shown}");
    }
    if worse >= 2.0 {
        return format!("short of {shown}: {}", times(worse));
    }
    let short = if unit.more_is_better() { 1.0 - median / goal } else { worse - 1.0 };
    format!("short of {shown} by {}", percent(short))
}

/// The systems that took part.
pub(crate) fn systems(record: &Record) -> Table {
    let mut table = Table::new(&["system", "kind", "version", "not here because"]);
    for system in &record.systems {
        let problem = system.problem.clone().unwrap_or_default();
        table.row(vec![system.name.clone(), system.kind.word().to_owned(), system.version.clone(), problem]);
    }
    table.compact()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        Kind,
        tests::{record, row, scenario},
    };

    fn sample() -> ScenarioRecord {
        let mut wasm = row("wasm", Kind::Backend, &[0.002, 0.002, 0.003]);
        wasm.goal = Some(0.0015);
        let mut docker = row("docker", Kind::Backend, &[0.001]);
        docker.problem = Some("it died".into());
        docker.goal = Some(0.01);
        let peers = [row("dspy", Kind::Peer, &[0.050]), row("rlms", Kind::Peer, &[0.010])];
        let mut rows = vec![wasm, docker, row("pipe", Kind::Floor, &[0.001])];
        rows.extend(peers);
        scenario(Unit::Seconds, vec![Point { at: Some(1000), rows }])
    }

    #[test]
    fn a_terminal_gets_aligned_columns() {
        let expected = "\
\x20 megabytes  system  kind     median   p95      n  × pipe  than best peer  goal                    \
\x20 note
  1 000      wasm    backend  2.00 ms  2.90 ms  3  2.00×   5.00× better    short of 1.50 ms by 33 %
  1 000      docker  backend                                               not met: 10.0 ms        \
\x20 it died
  1 000      pipe    floor    1.00 ms           1  1.00×
  1 000      dspy    peer     50.0 ms           1  50.0×
  1 000      rlms    peer     10.0 ms           1  10.0×
";
        assert_eq!(results(&sample(), false).text(), expected);
    }

    #[test]
    fn a_quick_run_is_not_held_against_goals() {
        assert!(!results(&sample(), true).text().contains("goal"));
    }

    #[test]
    fn markdown_leaves_out_empty_columns_and_escapes() {
        let rows = vec![row("a|b", Kind::Backend, &[1.0])];
        let table = results(&scenario(Unit::PerSecond, vec![Point { at: None, rows }]), false);
        assert_eq!(
            table.markdown(),
            "| system | kind | median | n |\n|---|---|---|---|\n| a\\|b | backend | 1.00 /s | 1 |\n"
        );
    }

    #[test]
    fn goals_are_met_or_missed_in_either_direction() {
        let of = |unit: Unit, median, goal| verdict(unit, median, goal, &unit.show(goal));
        assert_eq!(of(Unit::Seconds, 0.0005, 0.0005), "met: 500 µs");
        assert_eq!(of(Unit::PerSecond, 2100.0, 2000.0), "met: 2 000 /s");
        assert_eq!(of(Unit::PerSecond, 1500.0, 2000.0), "short of 2 000 /s by 25 %");
        assert_eq!(of(Unit::PerSecond, 500.0, 2000.0), "short of 2 000 /s: 4.00×");
        assert_eq!((better(0.1), better(2.0)), ("10.0× better".into(), "2.00× worse".into()));
    }

    #[test]
    fn a_system_that_is_not_here_says_why() {
        let text = systems(&record(Vec::new())).text();
        assert!(text.contains("docker") && text.contains("no engine answers"), "{text}");
    }

    #[test]
    fn the_summary_has_our_rows_beside_the_best_of_the_others() {
        let mut sample = sample();
        sample.points[0].rows[0].goal_ratio = Some("0.15× rlms".into());
        let mut record = record(vec![sample]);
        let expected = "\
| scenario | at | system | ours | best peer | floor | ratio | goal |
|---|---|---|---|---|---|---|---|
| cell | 1 000 | wasm | 2.00 ms | 10.0 ms rlms | 1.00 ms pipe | 0.20× | \
short of 1.50 ms (0.15× rlms) by 33 % |
";
        assert_eq!(summary(&record).markdown(), expected);
        record.quick = true;
        assert!(!summary(&record).markdown().contains("goal"));
    }

    #[test]
    fn processor_time_has_a_column() {
        let mut wasm = row("wasm", Kind::Backend, &[0.002]);
        (wasm.cpu, wasm.wall) = (1.0, 2.0);
        let table = results(&scenario(Unit::Seconds, vec![Point { at: None, rows: vec![wasm] }]), false);
        assert_eq!(
            table.markdown(),
            "| system | kind | median | CPU | n |\n|---|---|---|---|---|\n\
             | wasm | backend | 2.00 ms | 1.00 ms | 1 |\n"
        );
    }
}
