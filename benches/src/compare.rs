//! Tells whether something changed between two runs, or only the machine's noise did.
//!
//! Two things have to agree before a change is believed: the samples differ more than chance would have it
//! (Mann-Whitney), and the medians differ by more than floors and peers do, whose code is the same in both
//! runs.

use crate::{
    record::{Kind, Record, Row, ScenarioRecord},
    stats::{FEWEST, median, same_by_chance},
    table::Table,
    units::Unit,
    units::{count, percent, times},
};

/// There are two hundred rows: with the usual 0.05 ten of them would be wrong by chance.
const CHANCE: f64 = 0.005;
/// Changes below this part are never believed: a run of the same program on a quiet machine differs by that
/// much.
const LEAST: f64 = 0.03;

/// How one row compares.
struct Change {
    scenario: String,
    at: String,
    system: String,
    kind: Kind,
    unit: Unit,
    before: Vec<f64>,
    now: Vec<f64>,
    medians: (f64, f64),
}

/// The comparison, for a terminal.
pub(crate) fn compare(before: &Record, now: &Record, name: &str) -> String {
    let changes = changes(before, now);
    let drift = drift(&changes);
    let mut table = Table::new(&["scenario", "at", "system", name, "now", "verdict"]);
    for change in &changes {
        table.row(vec![
            change.scenario.clone(),
            change.at.clone(),
            change.system.clone(),
            change.unit.show(change.medians.0),
            change.unit.show(change.medians.1),
            change.verdict(drift),
        ]);
    }
    let mut text = format!("compared with `{name}` of {} (commit {})\n", before.time, before.machine.commit);
    for (what, was, is) in [
        ("processor", &before.machine.processor, &now.machine.processor),
        ("system", &before.machine.system, &now.machine.system),
    ] {
        if was != is {
            text.push_str(&format!("  another {what}, so that nothing below is about the code: {was}\n"));
        }
    }
    if before.quick || now.quick {
        text.push_str("  a quick run has one sample each, which tells nothing\n");
    }
    text.push_str(&table.compact().text());
    for row in lost(before, now) {
        text.push_str(&format!("  {row}\n"));
    }
    text.push_str(&format!(
        "  changes below {} are taken for noise: {}\n",
        percent(drift),
        if drift > LEAST {
            "floors and peers, whose code is the same, moved that much"
        } else {
            "no two runs are the same"
        }
    ));
    text
}

impl Change {
    /// How many times worse it is now: 2 is half as good.
    fn worse(&self) -> f64 {
        self.unit.times_worse(self.medians.1, self.medians.0)
    }

    fn verdict(&self, noise: f64) -> String {
        let worse = self.worse();
        if !worse.is_finite() || worse <= 0.0 {
            return "no difference seen".to_owned();
        }
        let is_small = (worse - 1.0).abs().min((1.0 / worse - 1.0).abs()) < noise;
        match same_by_chance(&self.before, &self.now) {
            _ if is_small => "no difference seen".to_owned(),
            None if self.before.len().min(self.now.len()) < 2 => format!("{}, in one sample", self.words()),
            None => format!("{}, but fewer than {FEWEST} samples", self.words()),
            Some(chance) if chance < CHANCE => self.words(),
            Some(_) => "no difference seen".to_owned(),
        }
    }

    fn words(&self) -> String {
        let (was, is) = self.medians;
        let (up, down) = match self.unit {
            Unit::Seconds => ("slower", "faster"),
            Unit::PerSecond => ("faster", "slower"),
            Unit::Bytes | Unit::Share => ("more", "less"),
        };
        let word = if is > was { up } else { down };
        let part = (is / was - 1.0).abs();
        if part < 1.0 {
            format!("{word} by {}", percent(part))
        } else {
            format!("{word}, {}", times(is / was))
        }
    }
}

fn changes(before: &Record, now: &Record) -> Vec<Change> {
    let mut changes = Vec::new();
    for scenario in &now.scenarios {
        for point in &scenario.points {
            for row in &point.rows {
                let was = find(before, scenario, point.at, row);
                let medians = was.and_then(|was| was.median().zip(row.median()));
                let (Some(was), Some(medians)) = (was, medians) else { continue };
                changes.push(Change {
                    scenario: scenario.name.clone(),
                    at: point.at.map(count).unwrap_or_default(),
                    system: row.system.clone(),
                    kind: row.kind,
                    unit: scenario.unit,
                    before: was.samples.clone(),
                    now: row.samples.clone(),
                    medians,
                });
            }
        }
    }
    changes
}

/// Rows that were measured before, and could not be measured now.
fn lost(before: &Record, now: &Record) -> Vec<String> {
    let mut lost = Vec::new();
    for scenario in &now.scenarios {
        for point in &scenario.points {
            for row in &point.rows {
                let was = find(before, scenario, point.at, row).and_then(Row::median);
                if let (Some(_), Some(problem)) = (was, &row.problem) {
                    lost.push(format!("{}: {} has no result any more: {problem}", scenario.name, row.system));
                }
            }
        }
    }
    lost
}

/// The same row of another run.
fn find<'a>(record: &'a Record, scenario: &ScenarioRecord, at: Option<u64>, row: &Row) -> Option<&'a Row> {
    let is_same = |other: &&ScenarioRecord| other.name == scenario.name && other.unit == scenario.unit;
    let point = record.scenarios.iter().find(is_same)?.points.iter().find(|point| point.at == at)?;
    point.rows.iter().find(|other| other.system == row.system && other.kind == row.kind)
}

/// How much the rows moved whose code cannot have changed: floors and peers.
fn drift(changes: &[Change]) -> f64 {
    let unchanged = changes.iter().filter(|change| !change.kind.is_ours());
    let moved: Vec<f64> =
        unchanged.map(|change| (change.worse() - 1.0).abs()).filter(|moved| moved.is_finite()).collect();
    median(&moved).unwrap_or(0.0).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        Point,
        tests::{record, row, scenario},
    };

    /// Twenty samples around a value, a part of it apart.
    fn around(value: f64) -> Vec<f64> {
        (0..20).map(|step| value * (1.0 + 0.001 * f64::from(step))).collect()
    }

    fn run(unit: Unit, rows: Vec<Row>) -> Record {
        record(vec![scenario(unit, vec![Point { at: None, rows }])])
    }

    fn line_of(text: &str, system: &str) -> String {
        text.lines().find(|line| line.contains(system)).unwrap().to_owned()
    }

    fn verdict(unit: Unit, before: &[f64], now: &[f64]) -> String {
        let run = |samples: &[f64]| run(unit, vec![row("wasm", Kind::Backend, samples)]);
        let line = line_of(&compare(&run(before), &run(now), "main"), "wasm");
        line.rsplit("  ").next().unwrap().to_owned()
    }

    #[test]
    fn a_change_that_is_none_is_not_reported() {
        let noisy: Vec<f64> = (0..20).map(|step| 1.0 + 0.5 * f64::from((step * 7) % 20) / 20.0).collect();
        let other: Vec<f64> = noisy.iter().map(|sample| sample + 0.04).collect();
        assert_eq!(verdict(Unit::Seconds, &noisy, &other), "no difference seen");
        assert_eq!(verdict(Unit::Seconds, &around(1.0), &around(1.02)), "no difference seen");
        assert_eq!(verdict(Unit::Seconds, &[0.0; 9], &[0.0; 9]), "no difference seen");
    }

    #[test]
    fn a_change_has_a_direction_in_every_unit() {
        assert_eq!(verdict(Unit::Seconds, &around(1.0), &around(0.88)), "faster by 12 %");
        assert_eq!(verdict(Unit::Seconds, &around(1.0), &around(1.25)), "slower by 25 %");
        assert_eq!(verdict(Unit::Seconds, &around(1.0), &around(3.0)), "slower, 3.00×");
        assert_eq!(verdict(Unit::PerSecond, &around(1.0), &around(1.25)), "faster by 25 %");
        assert_eq!(verdict(Unit::Bytes, &around(1.0), &around(0.5)), "less by 50 %");
    }

    #[test]
    fn few_samples_give_no_verdict() {
        assert_eq!(
            verdict(Unit::Seconds, &[1.0, 1.0], &[2.0, 1.9]),
            "slower by 95 %, but fewer than 7 samples"
        );
        assert_eq!(verdict(Unit::Seconds, &[1.0], &[0.5]), "faster by 50 %, in one sample");
    }

    #[test]
    fn what_moves_the_floors_is_the_machine() {
        let rows = |ours, floor| {
            vec![row("wasm", Kind::Backend, &around(ours)), row("pipe", Kind::Floor, &around(floor))]
        };
        let text = compare(&run(Unit::Seconds, rows(1.0, 1.0)), &run(Unit::Seconds, rows(1.15, 1.2)), "main");
        assert!(line_of(&text, "wasm").ends_with("no difference seen"), "{text}");
        assert!(text.contains("changes below 20 % are taken for noise: floors"), "{text}");
    }

    #[test]
    fn what_fails_now_is_said() {
        let before = run(Unit::Seconds, vec![row("docker", Kind::Backend, &[1.0])]);
        let mut now = before.clone();
        now.scenarios[0].points[0].rows[0].problem = Some("it died".into());
        let text = compare(&before, &now, "main");
        assert!(text.contains("cell: docker has no result any more: it died"), "{text}");
    }

    #[test]
    fn rows_of_one_run_only_are_left_out_and_another_machine_is_said() {
        let before = run(Unit::Seconds, vec![row("docker", Kind::Backend, &[1.0])]);
        let mut now = run(Unit::Seconds, vec![row("wasm", Kind::Backend, &[1.0])]);
        now.machine.processor = "another".into();
        let text = compare(&before, &now, "main");
        assert!(!text.contains("wasm") && text.contains("another processor"), "{text}");
    }
}
