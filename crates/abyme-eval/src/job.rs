//! One try of one task by one setting: the run or the call, its score, and its record.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use abyme_core::{Error, ErrorKind, Field, FieldType, LanguageModel, Result, Trajectory, Usage};
use twox_hash::XxHash3_64;

use crate::{
    judge::{Verdict, judge},
    plain::{self, PlainCall},
    result::{Outcome, TaskResult},
    setting::{Setting, Way},
    spending::{Meter, priced},
    task::ANSWER,
    tasks::{LoadedTask, TaskEntry, Tasks},
};

/// One try that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) entry: TaskEntry,
    pub(crate) setting: Arc<Setting>,
    pub(crate) repetition: u32,
    pub(crate) judge: Option<Arc<dyn LanguageModel>>,
    /// The directory of the evaluation.
    pub(crate) directory: PathBuf,
}

/// What a try came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: TaskResult,
    /// Why it does not count, if it does not.
    pub(crate) failure: Option<Error>,
}

impl Job {
    /// The file of its record, below the directory of the evaluation.
    pub(crate) fn record(&self) -> String {
        let extension = match self.setting.way {
            Way::Rlm(_) => "jsonl",
            Way::Plain(..) => "json",
        };
        let (setting, task) = (file_name(self.setting.name()), file_name(&self.entry.id));
        format!("records/{setting}/{task}.{}.{extension}", self.repetition)
    }

    /// What it will cost at least, as far as that is known.
    pub(crate) fn least_cost(&self) -> f64 {
        match &self.setting.way {
            Way::Rlm(_) => 0.0,
            Way::Plain(model, _) => plain::least_cost(&**model, self.entry.input_bytes),
        }
    }

    /// A result of this try that says nothing yet.
    pub(crate) fn result(&self, outcome: Outcome) -> TaskResult {
        TaskResult {
            task: self.entry.id.clone(),
            task_hash: self.entry.hash.clone(),
            setting: self.setting.name().to_owned(),
            setting_hash: self.setting.hash(),
            repetition: self.repetition,
            outcome,
            score: None,
            answer: None,
            status: None,
            error: None,
            kept_share: None,
            usage: Usage::default(),
            judge: None,
            judge_usage: None,
            turns: None,
            seconds: 0.0,
            run: None,
            record: None,
        }
    }

    /// Makes the try.
    pub(crate) async fn run(self, meter: Arc<Meter>) -> Done {
        let (mut result, mut replies) = (self.result(Outcome::Answered), Vec::new());
        let failure = match self.answer(&meter, &mut result, &mut replies).await {
            Ok(()) => None,
            Err(error) => {
                result.outcome = match result.answer {
                    // What failed is the judge.
                    Some(_) => Outcome::Broken,
                    None => self.outcome(&error),
                };
                result.error = Some(error.to_string());
                result.score = result.outcome.counts().then_some(0.0);
                (!result.outcome.counts()).then_some(error)
            }
        };
        let used = result.usage + result.judge_usage.unwrap_or_default();
        meter.end(&replies, &used);
        Done { result, failure }
    }

    /// `replies` gets what each reply used whose cost has to be known.
    async fn answer(
        &self,
        meter: &Arc<Meter>,
        result: &mut TaskResult,
        replies: &mut Vec<Usage>,
    ) -> Result<()> {
        let task = {
            let LoadedTask { task, inputs } = self.load().await?;
            let signature = task.signature()?;
            let record = self.record();
            let path = self.directory.join(&record);
            let folder = path.parent().unwrap_or(&self.directory);
            fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
            result.record = Some(record);
            let started = Instant::now();
            let ended = match &self.setting.way {
                Way::Rlm(make) => {
                    let rlm = make(&signature)?;
                    let run = rlm
                        .run(inputs)
                        .label(format!("{} {}", self.entry.id, self.repetition))
                        .trace(&path)
                        .on_event(meter.clone());
                    result.run = Some(run.id().to_owned());
                    let ended = of_run(run.until(meter.used_up(), None).await, result);
                    replies.extend(ended.is_ok().then_some(result.usage));
                    ended
                }
                Way::Plain(model, config) => {
                    let ty = signature.output(ANSWER).map_or(&FieldType::Str, Field::ty);
                    let call = plain::call(model, config, &inputs, &ty.to_string()).await;
                    result.usage = call.usage;
                    result.kept_share = call.kept_share;
                    replies.extend(call.reply.as_ref().map(|reply| priced(&**model, reply.usage)).ok());
                    keep(&path, model.name(), &call)?;
                    call.reply.and_then(|reply| plain::answer(&reply, ty))
                }
            };
            result.seconds = started.elapsed().as_secs_f64();
            result.answer = Some(ended?);
            task
        };
        let answer = result.answer.as_ref().unwrap_or(&serde_json::Value::Null);
        result.score = match (task.scorer.score(answer, &task.expected), &self.judge) {
            (Some(score), _) => Some(score),
            (None, Some(model)) => {
                let Verdict { score, replies: said, usage } = judge(model, &task, answer).await;
                replies.extend(said);
                (result.judge, result.judge_usage) = (Some(model.name().to_owned()), Some(usage));
                Some(score.map_err(|error| error.context("the judge"))?)
            }
            (None, None) => return Err(Error::new(ErrorKind::Config, "there is no judge")),
        };
        Ok(())
    }

    /// Its task with the inputs, which may be large: read where no other try waits for it.
    async fn load(&self) -> Result<LoadedTask> {
        let (tasks, entry) = (self.tasks.clone(), self.entry.clone());
        let loaded = tokio::task::spawn_blocking(move || tasks.load(&entry)).await;
        loaded
            .map_err(|error| Error::new(ErrorKind::Internal, "reading a task panicked").with_source(error))?
    }

    /// What an error means for the result.
    fn outcome(&self, error: &Error) -> Outcome {
        use ErrorKind::{
            Cancelled, ContentRefused, ContextTooLong, LimitReached, OutputType, Protocol, Python,
            SessionEnded,
        };
        match (error.kind(), &self.setting.way) {
            (Cancelled, _) => Outcome::Stopped,
            (ContextTooLong, Way::Plain(..)) => Outcome::TooLong,
            (
                LimitReached | SessionEnded | Protocol | Python | OutputType | ContextTooLong
                | ContentRefused,
                _,
            ) => Outcome::Failed,
            _ => Outcome::Broken,
        }
    }
}

/// The answer of a run, and what it used.
fn of_run(ended: Result<abyme_core::Prediction>, result: &mut TaskResult) -> Result<serde_json::Value> {
    match ended {
        Ok(prediction) => {
            result.usage = *prediction.usage();
            result.status = Some(prediction.status().to_string());
            result.turns = Some(prediction.turns() as u64);
            let answer = prediction.outputs().get(ANSWER);
            Ok(answer.map(abyme_core::Value::to_json).unwrap_or_default())
        }
        Err(error) => {
            let used = error.trajectory().and_then(Trajectory::usage).or(error.usage());
            result.usage = used.copied().unwrap_or_default();
            result.turns = error.trajectory().map(|record| record.turns().len() as u64);
            Err(error)
        }
    }
}

/// Keeps a plain call: its request and what came of it.
fn keep(path: &Path, model: &str, call: &PlainCall) -> Result<()> {
    let reply = match &call.reply {
        Ok(reply) => serde_json::json!({"response": reply}),
        Err(error) => serde_json::json!({"error": error.to_string()}),
    };
    let record = serde_json::json!({"model": model, "request": call.request, "reply": reply});
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(record.to_string().as_bytes()));
    written.map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write {}: {error}", path.display())).with_source(error)
}

/// A name as that of a file. Names that differ give files that differ.
fn file_name(name: &str) -> String {
    const MOST: usize = 80;
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let plain: String = name.chars().take(MOST).map(|char| if is_plain(char) { char } else { '-' }).collect();
    let is_same = plain == name && !plain.is_empty() && !plain.starts_with('.');
    if is_same {
        plain
    } else {
        format!("{}-{:08x}", plain.trim_start_matches('.'), XxHash3_64::oneshot(name.as_bytes()) >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain_and_differ() {
        assert_eq!(file_name("s-niah-8k_1.x"), "s-niah-8k_1.x");
        let names = ["openai/gpt-5", "openai-gpt-5", "openai gpt-5", "..", "", &"x".repeat(300)];
        let files: Vec<_> = names.iter().map(|name| file_name(name)).collect();
        for (index, file) in files.iter().enumerate() {
            assert!(file.len() < 100 && !file.contains('/') && !file.starts_with('.'), "{file}");
            assert!(!file.is_empty() && !files[..index].contains(file), "{files:?}");
        }
    }
}
