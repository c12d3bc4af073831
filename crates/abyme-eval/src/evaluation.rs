//! An evaluation: every task by every setting, as often as asked for, what is missing of it.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    path::Path,
    sync::Arc,
};

use abyme_core::{Error, ErrorKind, LanguageModel, Result, Trajectory};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    job::{Done, Job},
    report::Report,
    result::{Outcome, TaskResult},
    results::Results,
    setting::{Setting, Way},
    spending::Spending,
    tasks::Tasks,
};

/// How many tries in a row may fail by their provider before the evaluation ends.
const MAX_BROKEN: u32 = 10;

/// How an evaluation is carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EvaluationConfig {
    /// How often each setting answers each task. Default 1.
    pub repetitions: u32,
    /// Tries in progress at once. Default 4.
    pub concurrency: usize,
    /// US dollars of all tries together, those of earlier starts and the judge included. Once they are used
    /// up no try begins, and runs in progress are stopped; a plain call begins only if its prompt fits in
    /// what is left. Calls in flight may exceed the limit. Default none.
    pub max_total_cost: Option<f64>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { repetitions: 1, concurrency: 4, max_total_cost: None }
    }
}

impl EvaluationConfig {
    /// Sets how often each setting answers each task.
    pub fn repetitions(mut self, repetitions: u32) -> Self {
        self.repetitions = repetitions;
        self
    }

    /// Sets how many tries may be in progress at once.
    pub fn concurrency(mut self, tries: usize) -> Self {
        self.concurrency = tries;
        self
    }

    /// Sets how many US dollars all tries may use together.
    pub fn max_total_cost(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.max_total_cost = dollars.into();
        self
    }
}

/// Tasks and settings, and how they come together.
///
/// Everything is kept in a directory: `results.jsonl`, a line for each try, which is on the disk before the
/// next thing happens; `records/`, with what each run did; `report.md` and `report.json`. An evaluation that
/// is run again in its directory makes only the tries that are missing there.
///
/// ```no_run
/// # async fn example(settings: Vec<abyme_eval::Setting>) -> abyme_core::Result<()> {
/// use abyme_eval::{Evaluation, EvaluationConfig, Tasks};
///
/// let config = EvaluationConfig::default().repetitions(3).max_total_cost(5.0);
/// let evaluation = Evaluation::new(Tasks::open("tasks.jsonl")?, settings).config(config);
/// let ended = evaluation.run("tasks.eval").await?;
/// println!("{}", ended.report);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Evaluation {
    tasks: Arc<Tasks>,
    settings: Vec<Arc<Setting>>,
    config: EvaluationConfig,
    judge: Option<Arc<dyn LanguageModel>>,
    on_result: Option<Arc<OnResult>>,
}

type OnResult = dyn Fn(&TaskResult, usize, usize) + Send + Sync;

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluation")
            .field("tasks", &self.tasks.path())
            .field("settings", &self.settings)
            .field("config", &self.config)
            .field("judge", &self.judge)
            .finish_non_exhaustive()
    }
}

/// How an evaluation ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct EvaluationEnd {
    /// What is known by now.
    pub report: Report,
    /// Tries that are still missing.
    pub missing: usize,
    /// Why they are.
    pub stop: Option<Stop>,
}

/// Why an evaluation ended before all tries were made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stop {
    /// [`max_total_cost`](EvaluationConfig::max_total_cost) is used up.
    Cost,
    /// Something that the next try would meet too, or a provider that keeps failing.
    Error(Error),
    /// Some tries failed by their provider, and the others were made.
    Broken(Error),
}

impl Evaluation {
    /// All tasks by all settings.
    pub fn new(tasks: Tasks, settings: impl IntoIterator<Item = Setting>) -> Self {
        Self {
            tasks: Arc::new(tasks),
            settings: settings.into_iter().map(Arc::new).collect(),
            config: EvaluationConfig::default(),
            judge: None,
            on_result: None,
        }
    }

    /// Sets how it is carried out.
    pub fn config(mut self, config: EvaluationConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the model that decides about answers of tasks with [`Scorer::Judge`](crate::Scorer::Judge).
    pub fn judge(mut self, model: impl LanguageModel + 'static) -> Self {
        self.judge = Some(Arc::new(model));
        self
    }

    /// Shows each result as it comes, with the number of tries that are over and of all.
    pub fn on_result(mut self, show: impl Fn(&TaskResult, usize, usize) + Send + Sync + 'static) -> Self {
        self.on_result = Some(Arc::new(show));
        self
    }

    /// How many tries are missing in a directory. It need not exist.
    ///
    /// # Errors
    /// Those of [`run`](Self::run) that come before the first try.
    pub fn missing(&self, directory: impl AsRef<Path>) -> Result<usize> {
        self.check()?;
        let path = directory.as_ref().join("results.jsonl");
        if !path.exists() {
            return Ok(self.tries());
        }
        let results = Results::open(path)?;
        self.check_settings(&results)?;
        self.check_judge(&results)?;
        Ok(self.jobs(directory.as_ref(), &results).len())
    }

    /// Makes the tries that are missing in `directory`, and writes its report. Dropping the future stops
    /// everything; what was answered until then is kept.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an evaluation that cannot work, [`ErrorKind::InvalidInput`] for a file of
    /// results that is damaged or has results of other settings, [`ErrorKind::Io`] if the directory cannot be
    /// used. What goes wrong with tries is told by [`EvaluationEnd::stop`].
    pub async fn run(&self, directory: impl AsRef<Path>) -> Result<EvaluationEnd> {
        let directory = directory.as_ref();
        self.check()?;
        fs::create_dir_all(directory).map_err(|error| cannot_write(directory, error))?;
        let mut results = Results::open(directory.join("results.jsonl"))?;
        self.check_settings(&results)?;
        self.check_judge(&results)?;
        let jobs = self.jobs(directory, &results);
        if !jobs.is_empty() {
            self.check_models()?;
        }
        note_killed(&jobs, &mut results).await?;
        let stop = self.make(jobs, &mut results).await?;
        let missing = self.jobs(directory, &results).len();
        let report = Report::new(&self.tasks, &self.settings, results.lines(), self.config.repetitions);
        write(&directory.join("report.md"), &report.to_string())?;
        write(&directory.join("report.json"), &report.to_json())?;
        Ok(EvaluationEnd { report, missing, stop })
    }

    fn tries(&self) -> usize {
        self.tasks.entries().len() * self.settings.len() * self.config.repetitions as usize
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        let mut names = HashSet::new();
        if let Some(setting) = self.settings.iter().find(|setting| !names.insert(setting.name())) {
            return wrong(format!("two settings have the name `{}`", setting.name()));
        }
        let unknown = self.settings.iter().filter_map(|setting| setting.compared_with());
        if let Some(name) = unknown.into_iter().find(|name| !names.contains(name)) {
            return wrong(format!("there is no setting `{name}` to compare others with"));
        }
        match &self.config {
            _ if self.settings.is_empty() => wrong("there is no setting that could answer the tasks".into()),
            EvaluationConfig { repetitions: 0, .. } => {
                wrong("repetitions is 0: no task would be tried".into())
            }
            EvaluationConfig { concurrency: 0, .. } => wrong("concurrency is 0: no try could start".into()),
            EvaluationConfig { max_total_cost: Some(cost), .. } if cost.is_nan() || *cost < 0.0 => {
                wrong("max_total_cost is not an amount".into())
            }
            _ => match self.tasks.entries().iter().find(|entry| entry.is_judged && self.judge.is_none()) {
                Some(entry) => wrong(format!("the task `{}` needs a judge, and there is none", entry.id)),
                None => Ok(()),
            },
        }
    }

    /// Refuses to mix results of settings that have the same name.
    fn check_settings(&self, results: &Results) -> Result<()> {
        let hashes: HashMap<_, _> =
            self.settings.iter().map(|setting| (setting.name(), setting.hash())).collect();
        let other = |line: &&TaskResult| {
            let hash = hashes.get(line.setting.as_str());
            line.outcome.counts() && hash.is_some_and(|hash| *hash != line.setting_hash)
        };
        match results.lines().iter().find(other) {
            None => Ok(()),
            Some(line) => {
                let message = format!(
                    "the results of `{}` here were made with other options (models, prompts, limits) than \
                     it has now: use another directory, or give the setting another name",
                    line.setting
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    /// Refuses to mix what two models decided.
    fn check_judge(&self, results: &Results) -> Result<()> {
        let Some(judge) = &self.judge else { return Ok(()) };
        let tasks: HashSet<_> =
            self.tasks.entries().iter().map(|entry| (entry.id.as_str(), entry.hash.as_str())).collect();
        let other = |line: &&TaskResult| {
            let is_of_task = tasks.contains(&(line.task.as_str(), line.task_hash.as_str()));
            let is_other = line.judge.as_ref().is_some_and(|before| before != judge.name());
            line.outcome.counts() && is_of_task && is_other
        };
        match results.lines().iter().find(other) {
            None => Ok(()),
            Some(line) => {
                let message = format!(
                    "the answers to `{}` here were judged by {}, and the judge now is {}: use another \
                     directory, or the same judge",
                    line.task,
                    line.judge.as_deref().unwrap_or_default(),
                    judge.name()
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    fn check_models(&self) -> Result<()> {
        for setting in &self.settings {
            match &setting.way {
                Way::Plain(model, _) => model.check()?,
                Way::Rlm(make) => {
                    self.tasks.signatures().iter().try_for_each(|signature| make(signature).map(drop))?;
                }
            }
        }
        self.judge.as_ref().map_or(Ok(()), |judge| judge.check())
    }

    /// The tries that have no result that counts. All settings take turns, so that what was done at any time
    /// can be compared.
    fn jobs(&self, directory: &Path, results: &Results) -> Vec<Job> {
        let counted = results.lines().iter().filter(|line| line.outcome.counts());
        let done: HashSet<_> = counted.map(key).collect();
        let mut jobs = Vec::new();
        for repetition in 1..=self.config.repetitions {
            for entry in self.tasks.entries() {
                for setting in &self.settings {
                    let job = Job {
                        tasks: self.tasks.clone(),
                        entry: entry.clone(),
                        setting: setting.clone(),
                        repetition,
                        judge: self.judge.clone(),
                        directory: directory.to_owned(),
                    };
                    if !done.contains(&key(&job.result(Outcome::Stopped))) {
                        jobs.push(job);
                    }
                }
            }
        }
        jobs
    }

    /// Makes tries until there are no more, or it makes no sense to go on.
    async fn make(&self, jobs: Vec<Job>, results: &mut Results) -> Result<Option<Stop>> {
        let before = results.lines().iter().filter_map(TaskResult::cost).sum();
        let has_unknown = results.lines().iter().any(TaskResult::has_unknown_cost);
        let spending = Spending::new(self.config.max_total_cost, before, has_unknown);
        let (mut waiting, mut running) = (jobs.into_iter().peekable(), JoinSet::new());
        let (all, mut over) = (self.tries(), self.tries() - waiting.len());
        let (mut stop, mut broken, mut broken_in_a_row) = (None, None, 0);
        if spending.is_unknown() && waiting.peek().is_some() {
            let message = "max_total_cost cannot be kept: the results that are here used calls of which \
                           nobody knows what they cost; go on without it, or begin in another directory";
            stop = Some(Stop::Error(Error::new(ErrorKind::Config, message)));
        }
        loop {
            while stop.is_none() && running.len() < self.config.concurrency && waiting.peek().is_some() {
                let least = waiting.peek().map_or(0.0, Job::least_cost);
                match spending.begin(least) {
                    Some(meter) => {
                        let job = waiting.next().map(|job| job.run(Arc::new(meter)));
                        job.map(|job| running.spawn(job));
                    }
                    None => stop = Some(Stop::Cost),
                }
            }
            let Some(done) = running.join_next().await else { break };
            let Done { result, failure } = done.map_err(|error| {
                Error::new(ErrorKind::Internal, "a try of a task panicked").with_source(error)
            })?;
            over += usize::from(result.outcome.counts());
            if let Some(show) = &self.on_result {
                show(&result, over, all);
            }
            let counts = result.outcome.counts();
            results.add(result).await?;
            if counts {
                broken_in_a_row = 0;
            }
            if spending.is_unknown() && stop.is_none() {
                let message = "max_total_cost cannot be kept: the provider does not say what a call cost, \
                               and the model has no price";
                stop = Some(Stop::Error(Error::new(ErrorKind::Config, message)));
            }
            match failure {
                // Only the end of the money cancels a run.
                Some(error) if error.kind() == ErrorKind::Cancelled => {
                    stop.get_or_insert(Stop::Cost);
                }
                Some(error) => {
                    broken_in_a_row += 1;
                    if stop.is_none() && (ends_all(error.kind()) || broken_in_a_row >= MAX_BROKEN) {
                        stop = Some(Stop::Error(error));
                    } else {
                        broken = Some(error);
                    }
                }
                None => {}
            }
        }
        Ok(stop.or_else(|| broken.map(Stop::Broken)))
    }
}

/// Whether the next try would fail in the same way.
fn ends_all(kind: ErrorKind) -> bool {
    use ErrorKind::{
        Auth, Config, InvalidInput, Io, NotConfigured, QuotaExceeded, Signature, Unavailable, Unsupported,
    };
    matches!(
        kind,
        Auth | Config
            | InvalidInput
            | Io
            | NotConfigured
            | QuotaExceeded
            | Signature
            | Unavailable
            | Unsupported
    )
}

/// What a result is of.
fn key(line: &TaskResult) -> (String, String, String, u32) {
    (line.task.clone(), line.task_hash.clone(), line.setting.clone(), line.repetition)
}

/// Counts what runs used that were killed with the program: their records are there, and no result is.
async fn note_killed(jobs: &[Job], results: &mut Results) -> Result<()> {
    let noted: HashSet<String> = results.lines().iter().filter_map(|line| line.run.clone()).collect();
    for job in jobs.iter().filter(|job| matches!(job.setting.way, Way::Rlm(_))) {
        let record = job.record();
        let path = job.directory.join(&record);
        let Ok(trajectory) = Trajectory::load(&path) else { continue };
        if noted.contains(trajectory.run()) {
            continue;
        }
        let mut result = job.result(Outcome::Stopped);
        result.usage = trajectory.ledger().total;
        result.run = Some(trajectory.run().to_owned());
        result.error = Some("the program ended before the run did".to_owned());
        results.add(result).await?;
    }
    Ok(())
}

/// Replaces a file by another one, whole.
fn write(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write {}: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({"repetitions": 1, "concurrency": 4, "max_total_cost": null});
        assert_eq!(serde_json::to_value(EvaluationConfig::default()).unwrap(), expected);
    }
}
