//! Runs a scenario: all systems are made ready, then take turns, so that noise of the machine hits all of
//! them alike.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, spawn};

use crate::{
    cpu,
    output::say,
    record::{Point, Row, ScenarioRecord},
    scenario::Scenario,
    systems::System,
    trial::Trial,
};

/// Least time for a system to get ready, whatever its samples take.
const READY: Duration = Duration::from_secs(180);

/// Runs one scenario with all of its points, or only with the smallest and once.
pub(crate) async fn run(scenario: &Arc<dyn Scenario>, systems: &[System], quick: bool) -> ScenarioRecord {
    let axis = scenario.axis();
    let mut values: Vec<Option<u64>> = match &axis {
        Some((_, values)) => values.iter().copied().map(Some).collect(),
        None => vec![None],
    };
    if quick {
        values = values.into_iter().min().into_iter().collect();
    }
    let mut systems = systems.to_vec();
    systems.extend(scenario.floors().into_iter().map(System::Floor));
    let mut points = Vec::new();
    for at in values {
        let value = axis.as_ref().zip(at).map(|((name, _), at)| format!(", {name} {at}")).unwrap_or_default();
        say(&format!("{}{value}", scenario.title()));
        let mut rows = point(scenario, &systems, at, quick).await;
        set_goals(scenario, at, &mut rows, points.first());
        points.push(Point { at, rows });
    }
    record(&**scenario, points)
}

/// What was measured in a scenario.
pub(crate) fn record(scenario: &dyn Scenario, points: Vec<Point>) -> ScenarioRecord {
    ScenarioRecord {
        name: scenario.name().to_owned(),
        title: scenario.title().to_owned(),
        workload: scenario.workload().to_owned(),
        unit: scenario.unit(),
        axis: scenario.axis().map(|(name, _)| name.to_owned()),
        points,
    }
}

async fn point(scenario: &Arc<dyn Scenario>, systems: &[System], at: Option<u64>, quick: bool) -> Vec<Row> {
    let mut racers = Vec::new();
    for system in systems {
        racers.extend(Racer::ready(scenario, system, at).await);
    }
    // The first round pays for caches and lazy allocation, so it is not counted, unless it is the only one.
    let counted = if quick { 1 } else { scenario.samples().max(1) };
    let uncounted = usize::from(counted > 1);
    for round in 0..uncounted + counted {
        for racer in &mut racers {
            racer.take_turn(scenario.limit(), round >= uncounted).await;
        }
    }
    racers.into_iter().map(|racer| racer.row).collect()
}

/// Goals are multiples of what was measured, so they are known after the samples.
fn set_goals(scenario: &Arc<dyn Scenario>, at: Option<u64>, rows: &mut [Row], first: Option<&Point>) {
    let measured: &[Row] = rows;
    let goal = |row: &Row| {
        let goal = scenario.goal(&row.system, at)?;
        goal.resolve(scenario.unit(), &row.system, measured, first)
    };
    let goals: Vec<_> = measured.iter().map(goal).collect();
    for (row, goal) in rows.iter_mut().zip(goals) {
        if let Some((value, ratio)) = goal {
            (row.goal, row.goal_ratio) = (Some(value), ratio);
        }
    }
}

/// A system in a scenario.
struct Racer {
    row: Row,
    /// `None` when it dropped out.
    trial: Option<Box<dyn Trial>>,
}

impl Racer {
    /// `None` if the system has no part in the scenario.
    async fn ready(scenario: &Arc<dyn Scenario>, system: &System, at: Option<u64>) -> Option<Self> {
        let name = system.name();
        let row = Row::of(name, system.kind());
        let (scenario, system) = (scenario.clone(), system.clone());
        let limit = READY.max(2 * scenario.limit());
        let prepared = apart(async move { scenario.prepare(&system, at).await }, limit).await;
        match prepared.and_then(|answer| answer) {
            Ok(None) => None,
            Ok(trial) => Some(Self { row, trial }),
            Err(reason) => {
                // A peer has limits, and not every machine has every floor; but what Abyme cannot do is a
                // failure.
                let failed = row.kind.is_ours();
                let mut racer = Self { row, trial: None };
                racer.drop_out(&reason, failed);
                Some(racer)
            }
        }
    }

    async fn take_turn(&mut self, limit: Duration, counts: bool) {
        let Some(mut trial) = self.trial.take() else { return };
        let sampled = apart(
            async move {
                let (before, started) = (cpu::of_tree(), Instant::now());
                let sample = trial.sample().await;
                let (wall, after) = (started.elapsed().as_secs_f64(), cpu::of_tree());
                (sample, trial, before.zip(after).map(|(before, after)| (after - before, wall)))
            },
            limit,
        )
        .await;
        match sampled {
            Ok((Ok(value), trial, taken)) if value.is_finite() && value >= 0.0 => {
                self.trial = Some(trial);
                if counts {
                    self.row.samples.push(value);
                    let (cpu, wall) = taken.unwrap_or_default();
                    self.row.cpu += cpu;
                    self.row.wall += wall;
                }
            }
            Ok((Ok(value), ..)) => self.drop_out(&format!("it measured {value}"), true),
            Ok((Err(reason), ..)) | Err(reason) => self.drop_out(&reason, true),
        }
    }

    fn drop_out(&mut self, reason: &str, failed: bool) {
        let reason = one_line(reason);
        say(&format!("  {} {}: {reason}", self.row.system, if failed { "failed" } else { "takes no part" }));
        self.row.problem = Some(reason);
        self.row.failed = failed;
    }
}

/// Runs work in a task of its own, so that a panic or a blocked thread does not end the benchmark.
async fn apart<T: Send + 'static>(
    what: impl Future<Output = T> + Send + 'static,
    limit: Duration,
) -> Result<T, String> {
    let mut task = spawn(what);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(done) => done.map_err(how_it_ended),
        Err(_) => {
            task.abort();
            Err(format!("it did not come to its end within {} s", limit.as_secs_f64()))
        }
    }
}

fn how_it_ended(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    format!("it panicked: {text}")
}

/// A reason as one short line, for tables.
fn one_line(reason: &str) -> String {
    const LONGEST: usize = 300;
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::units::Unit;

    /// A scenario whose floors behave as their names say.
    #[derive(Debug)]
    pub(crate) struct Plain {
        name: &'static str,
        taken: Arc<AtomicUsize>,
    }

    impl Plain {
        pub(crate) fn named(name: &'static str) -> Self {
            Self { name, taken: Arc::default() }
        }
    }

    #[async_trait]
    impl Scenario for Plain {
        fn name(&self) -> &'static str {
            self.name
        }

        fn title(&self) -> &'static str {
            "plain"
        }

        fn workload(&self) -> &'static str {
            "Nothing."
        }

        fn unit(&self) -> Unit {
            Unit::Seconds
        }

        fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
            Some(("megabytes", vec![10, 1]))
        }

        fn samples(&self) -> usize {
            3
        }

        fn floors(&self) -> Vec<&'static str> {
            vec!["good", "dies", "hangs", "panics", "lies", "absent", "unable"]
        }

        fn limit(&self) -> Duration {
            Duration::from_secs(3)
        }

        async fn prepare(&self, system: &System, at: Option<u64>) -> Result<Option<Box<dyn Trial>>, String> {
            let System::Floor(behaviour) = system else {
                return Err("cannot".into());
            };
            match *behaviour {
                "absent" => Ok(None),
                "unable" => Err("no such\n  thing".into()),
                behaviour => Ok(Some(Box::new(Behaves { behaviour, at, taken: self.taken.clone() }))),
            }
        }
    }

    struct Behaves {
        behaviour: &'static str,
        at: Option<u64>,
        taken: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Trial for Behaves {
        async fn sample(&mut self) -> Result<f64, String> {
            let taken = self.taken.fetch_add(1, Ordering::Relaxed);
            match self.behaviour {
                "dies" if taken > 5 => Err("it died".into()),
                "hangs" => {
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                    Ok(0.0)
                }
                "panics" => panic!("at the disco"),
                "lies" => Ok(f64::NAN),
                _ => Ok(self.at.unwrap_or(0) as f64),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_system_that_fails_drops_out_with_a_reason_and_the_others_go_on() {
        let scenario: Arc<dyn Scenario> = Arc::new(Plain::named("plain"));
        let record = run(&scenario, &[System::Loop], false).await;
        assert_eq!(record.points.iter().map(|point| point.at).collect::<Vec<_>>(), [Some(10), Some(1)]);
        let rows = &record.points[0].rows;
        let shown: Vec<(&str, usize, Option<&str>, bool)> = rows
            .iter()
            .map(|row| (row.system.as_str(), row.samples.len(), row.problem.as_deref(), row.failed))
            .collect();
        let late = "it did not come to its end within 3 s";
        assert_eq!(shown[0], ("loop", 0, Some("cannot"), true));
        assert_eq!(shown[1], ("good", 3, None, false));
        assert_eq!((shown[2].0, shown[2].2, shown[2].3), ("dies", Some("it died"), true));
        assert_eq!(shown[3], ("hangs", 0, Some(late), true));
        assert_eq!(shown[4], ("panics", 0, Some("it panicked: at the disco"), true));
        assert_eq!(shown[5], ("lies", 0, Some("it measured NaN"), true));
        assert_eq!(shown[6], ("unable", 0, Some("no such thing"), false));
        assert_eq!(shown.len(), 7);
        assert_eq!(rows[1].samples, [10.0; 3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_quick_run_takes_one_sample_of_the_smallest_point() {
        let scenario: Arc<dyn Scenario> = Arc::new(Plain::named("plain"));
        let record = run(&scenario, &[], true).await;
        assert_eq!(record.points.len(), 1);
        assert_eq!(record.points[0].at, Some(1));
        assert_eq!(record.points[0].rows[0].samples, [1.0]);
    }

    #[test]
    fn a_long_reason_is_cut() {
        assert_eq!(one_line(&"é".repeat(400)).chars().count(), 304);
    }
}
