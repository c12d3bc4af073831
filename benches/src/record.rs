//! The record of a benchmark run: everything, as JSON, so that it can be compared, drawn and doubted later.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    stats::{self, Stats},
    units::Unit,
};

/// The system counts processor time in steps of 0.01 s: less than this is mostly error.
const LEAST_CPU: f64 = 0.1;

/// A benchmark run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When it began, in UTC: `2026-11-20T18:30:00Z`.
    pub(crate) time: String,
    pub(crate) seconds: f64,
    pub(crate) arguments: Vec<String>,
    /// Whether everything ran once only, so that the numbers mean nothing.
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    #[serde(rename = "subjects")]
    pub(crate) systems: Vec<SystemRecord>,
    pub(crate) scenarios: Vec<ScenarioRecord>,
}

/// A system that took part, or could not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SystemRecord {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The Python of a backend, the release of a peer.
    pub(crate) version: String,
    /// Why it is not here.
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Backend,
    Loop,
    Peer,
    Floor,
}

impl Kind {
    /// Whether it is Abyme that does the work.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Backend | Self::Loop)
    }

    /// As tables call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Loop => "loop",
            Self::Peer => "peer",
            Self::Floor => "floor",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioRecord {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) workload: String,
    pub(crate) unit: Unit,
    /// What is varied.
    pub(crate) axis: Option<String>,
    pub(crate) points: Vec<Point>,
}

/// One value on the axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) at: Option<u64>,
    pub(crate) rows: Vec<Row>,
}

/// What one system did there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(rename = "subject")]
    pub(crate) system: String,
    pub(crate) kind: Kind,
    /// In the order they were taken.
    pub(crate) samples: Vec<f64>,
    pub(crate) goal: Option<f64>,
    /// What the goal is a multiple of: "0.80× pyeryx".
    #[serde(default)]
    pub(crate) goal_ratio: Option<String>,
    /// Seconds of processor time that all samples took together, here and in processes below. 0: not known.
    #[serde(default)]
    pub(crate) cpu: f64,
    /// Seconds that all samples took together, with what is not timed in them.
    #[serde(default)]
    pub(crate) wall: f64,
    /// Why it took no part, or dropped out.
    pub(crate) problem: Option<String>,
    /// Whether that problem is a failure, and not a limit that was known.
    pub(crate) failed: bool,
}

impl Row {
    /// A system of which nothing was measured yet.
    pub(crate) fn of(system: String, kind: Kind) -> Self {
        Self {
            system,
            kind,
            samples: Vec::new(),
            goal: None,
            goal_ratio: None,
            cpu: 0.0,
            wall: 0.0,
            problem: None,
            failed: false,
        }
    }

    /// The processor time of the work that the median is of, in seconds. `None` where it is not known, or was
    /// too little to be counted.
    pub(crate) fn cpu_time(&self, unit: Unit) -> Option<f64> {
        let processors =
            if self.cpu >= LEAST_CPU && self.wall > 0.0 { self.cpu / self.wall } else { return None };
        match unit {
            Unit::Seconds => Some(self.median()? * processors),
            Unit::PerSecond => Some(processors / self.median()?),
            Unit::Bytes | Unit::Share => None,
        }
    }

    /// `None` if it did not come to its end: the samples before that are kept, and not shown as a result.
    pub(crate) fn stats(&self, unit: Unit) -> Option<Stats> {
        if self.problem.is_some() { None } else { Stats::of(&self.samples, unit.more_is_better()) }
    }

    pub(crate) fn median(&self) -> Option<f64> {
        if self.problem.is_some() { None } else { stats::median(&self.samples) }
    }
}

impl Point {
    /// The floor that others are compared with, whether it could be measured or not.
    pub(crate) fn first_floor(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.kind == Kind::Floor)
    }

    /// The best of the peers: its median and its name.
    pub(crate) fn best_peer(&self, unit: Unit) -> Option<(f64, &str)> {
        let peers = self.rows.iter().filter(|row| row.kind == Kind::Peer);
        let peers = peers.filter_map(|row| Some((row.median()?, row.system.as_str())));
        peers.min_by(|(one, _), (other, _)| unit.order(*one, *other))
    }
}

impl Record {
    /// Rows that failed, as "cell: wasm".
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut found = Vec::new();
        for scenario in &self.scenarios {
            for row in scenario.points.iter().flat_map(|point| &point.rows).filter(|row| row.failed) {
                found.push(format!("{}: {}", scenario.name, row.system));
            }
        }
        found.dedup();
        found
    }

    /// Whether anything was measured at all.
    pub(crate) fn is_empty(&self) -> bool {
        let mut points = self.scenarios.iter().flat_map(|scenario| &scenario.points);
        !points.any(|point| point.rows.iter().any(|row| !row.samples.is_empty()))
    }
}

/// Directories of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Directories {
    root: PathBuf,
}

impl Directories {
    pub(crate) fn of_workspace() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: manifest.parent().unwrap_or(manifest).to_owned() }
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn runs(&self) -> PathBuf {
        self.root.join("target/bench")
    }

    fn saved(&self) -> PathBuf {
        self.runs().join("saved")
    }

    /// Where every run draws its charts.
    pub(crate) fn charts(&self) -> PathBuf {
        self.runs().join("charts")
    }

    /// Where BENCHMARKS.md finds those of the last full run.
    pub(crate) fn kept_charts(&self) -> PathBuf {
        self.root.join("benches/charts")
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.root.join("BENCHMARKS.md")
    }

    /// The names that runs were saved under.
    pub(crate) fn saved_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.saved()).into_iter().flatten().flatten();
        let json =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|is| is == "json"));
        let mut names: Vec<String> =
            json.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
        names.sort();
        names
    }

    pub(crate) fn load(&self, name: &str) -> Result<Record, String> {
        let path = self.saved().join(format!("{name}.json"));
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            format!("{} is no run that this version understands ({error}); save it anew", path.display())
        })
    }

    /// Keeps a run by its time and, if it has one, under a name. Returns its files.
    pub(crate) fn keep(&self, record: &Record, name: Option<&str>) -> Result<Vec<PathBuf>, String> {
        let text =
            serde_json::to_string_pretty(record).map_err(|error| format!("cannot write JSON: {error}"))?;
        let mut files = vec![self.runs().join(format!("{}.json", record.time.replace(':', "-")))];
        files.extend(name.map(|name| self.saved().join(format!("{name}.json"))));
        for file in &files {
            write(file, &text)?;
        }
        Ok(files)
    }
}

/// Writes a file, with the directories above it.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    let made = file.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(file, text))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row, for the tests of others too.
    pub(crate) fn row(system: &str, kind: Kind, samples: &[f64]) -> Row {
        Row { samples: samples.into(), ..Row::of(system.into(), kind) }
    }

    pub(crate) fn scenario(unit: Unit, points: Vec<Point>) -> ScenarioRecord {
        let axis = points.iter().any(|point| point.at.is_some()).then(|| "megabytes".to_owned());
        ScenarioRecord {
            name: "cell".into(),
            title: "cell round trip".into(),
            workload: "One more cell.".into(),
            unit,
            axis,
            points,
        }
    }

    pub(crate) fn record(scenarios: Vec<ScenarioRecord>) -> Record {
        let here = |name: &str, kind, version: &str| SystemRecord {
            name: name.into(),
            kind,
            version: version.into(),
            problem: None,
        };
        let mut docker = here("docker", Kind::Backend, "");
        docker.problem = Some("no engine answers".into());
        Record {
            time: "2026-11-20T18:30:00Z".into(),
            seconds: 61.0,
            arguments: vec!["--peers".into()],
            quick: false,
            machine: Machine::default(),
            systems: vec![
                here("wasm", Kind::Backend, "Python 3.13.5"),
                docker,
                here("dspy", Kind::Peer, "3.4.1"),
            ],
            scenarios,
        }
    }

    #[test]
    fn runs_are_kept_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let directories = Directories::at(dir.path());
        assert_eq!(directories.saved_names(), Vec::<String>::new());
        let rows = vec![row("wasm", Kind::Backend, &[1.5, 2.5])];
        let kept = record(vec![scenario(Unit::Seconds, vec![Point { at: Some(10), rows }])]);
        let files = directories.keep(&kept, Some("before")).unwrap();
        assert_eq!(files.len(), 2);
        assert!(files[0].ends_with("target/bench/2026-11-20T18-30-00Z.json"));
        assert_eq!(directories.saved_names(), ["before"]);
        let again = directories.load("before").unwrap();
        assert_eq!(again.scenarios[0].points[0].rows[0].samples, [1.5, 2.5]);
        fs::write(&files[1], "{}").unwrap();
        assert!(directories.load("before").unwrap_err().contains("save it anew"));
    }

    #[test]
    fn the_best_peer_depends_on_the_unit_and_failures_do_not_count() {
        let mut broken = row("broken", Kind::Peer, &[0.1]);
        broken.problem = Some("it died".into());
        let rows = vec![broken, row("one", Kind::Peer, &[2.0]), row("two", Kind::Peer, &[4.0])];
        let point = Point { at: None, rows };
        assert_eq!(point.best_peer(Unit::Seconds), Some((2.0, "one")));
        assert_eq!(point.best_peer(Unit::PerSecond), Some((4.0, "two")));
        assert!(point.first_floor().is_none());
    }

    #[test]
    fn processor_time_is_that_of_the_median() {
        let mut row = row("wasm", Kind::Backend, &[0.002, 0.002]);
        assert_eq!(row.cpu_time(Unit::Seconds), None);
        (row.cpu, row.wall) = (1.5, 1.0);
        assert_eq!(row.cpu_time(Unit::Seconds), Some(0.003));
        assert_eq!(row.cpu_time(Unit::Bytes), None);
        row.samples = vec![500.0];
        assert_eq!(row.cpu_time(Unit::PerSecond), Some(0.003));
        row.cpu = 0.05;
        assert_eq!(row.cpu_time(Unit::PerSecond), None);
    }
}
