//! Evaluations over scripted models and interpreters: what is done once stays done.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use abyme_core::{
    Error, ErrorKind, LanguageModel, Observation, Request, Response, Result, RetryPolicy, Rlm, Role,
    Submission, Trajectory, Usage, Value, Via,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use abyme_eval::{
    Evaluation, EvaluationConfig, EvaluationEnd, Outcome, PlainConfig, Scorer, Setting, Stop, Task,
    TaskResult, Tasks,
};
use tempfile::TempDir;

/// A directory with tasks 1 to 4: each asks for its number.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let tasks = (1..=4).map(|number| {
        Task::new(format!("Say «{number}»."), number.to_string())
            .id(number.to_string())
            .group(if number < 3 { "low" } else { "high" })
            .input("docs", "A text.")
    });
    write(directory.path(), tasks);
    directory
}

fn write(directory: &Path, tasks: impl Iterator<Item = Task>) {
    let lines: String = tasks.map(|task| serde_json::to_string(&task).unwrap() + "\n").collect();
    fs::write(directory.join("tasks.jsonl"), lines).unwrap();
}

fn tasks(directory: &TempDir) -> Tasks {
    Tasks::open(directory.path().join("tasks.jsonl")).unwrap()
}

fn out(directory: &TempDir) -> PathBuf {
    directory.path().join("out")
}

/// The number that a request asks for.
fn asked(request: &Request) -> u32 {
    let text: String = request.messages.iter().map(|message| message.content.as_str()).collect();
    text.split('«').nth(1).and_then(|after| after.split('»').next()).unwrap().parse().unwrap()
}

fn is_of_run(request: &Request) -> bool {
    request.messages[0].role == Role::System
}

/// A model that is always right in runs, and with odd numbers alone in plain calls. A call is 0.01 $.
fn model() -> ScriptedModel {
    ScriptedModel::from_fn(|request| {
        let number = asked(request);
        let text = match is_of_run(request) {
            true => format!("```python\nsubmit {number}\n```"),
            false if number % 2 == 1 => number.to_string(),
            false => "I do not know".to_owned(),
        };
        Ok(Response::new(text).usage(Usage::tokens(10, 2).cost(0.01)))
    })
}

fn interpreter() -> ScriptedInterpreter {
    ScriptedInterpreter::from_fn(|cell| {
        let mut observation = Observation::default();
        if let Some(answer) = cell.code.trim().strip_prefix("submit ") {
            let fields = [("answer".to_owned(), Value::from(answer))].into_iter().collect();
            observation.submission = Some(Submission::fields(Via::Submit, fields));
        }
        Ok(observation)
    })
}

fn rlm(model: impl LanguageModel + Clone + 'static) -> Setting {
    Setting::rlm("rlm", move |signature| {
        Rlm::builder(signature.clone()).model(model.clone()).interpreter(interpreter().factory()).build()
    })
}

fn plain(model: impl LanguageModel + 'static) -> Setting {
    Setting::plain("plain", model, PlainConfig::default().retry(RetryPolicy::none()))
}

fn both(directory: &TempDir, model: &ScriptedModel) -> Evaluation {
    let settings = [plain(model.clone()), rlm(model.clone()).baseline("plain".to_owned())];
    Evaluation::new(tasks(directory), settings).config(EvaluationConfig::default().repetitions(2))
}

fn lines(directory: &TempDir) -> Vec<TaskResult> {
    let text = fs::read_to_string(out(directory).join("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether the owner of a file alone may read it, where files have owners.
fn is_private(path: &Path) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o077 == 0;
    #[cfg(not(unix))]
    return path.exists();
}

fn near(a: Option<f64>, b: f64) {
    assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} is not {b}");
}

#[tokio::test]
async fn a_second_start_makes_only_what_is_missing() {
    let (directory, model) = (directory(), model());
    let evaluation = both(&directory, &model);
    assert_eq!(evaluation.missing(out(&directory)).unwrap(), 16);
    let EvaluationEnd { report, missing, stop, .. } = evaluation.run(out(&directory)).await.unwrap();
    assert!(missing == 0 && stop.is_none());
    assert_eq!(model.requests().len(), 16);
    let [plain, rlm] = &report.settings[..] else { panic!("{report:?}") };
    assert_eq!((plain.score, rlm.score, plain.tasks, plain.tries), (Some(0.5), Some(1.0), 4, 8));
    assert_eq!((plain.right, plain.missing, plain.mean_input_tokens), (4, 0, Some(10.0)));
    near(report.total_cost, 0.16);
    near(rlm.mean_cost, 0.01);
    assert_eq!(report.groups.len(), 4);
    let all = &report.comparisons[0];
    assert_eq!((all.group.as_ref(), all.setting.as_str(), all.baseline.as_str()), (None, "rlm", "plain"));
    assert_eq!((all.tasks, all.difference, all.better, all.worse, all.p), (4, 0.5, 2, 0, 0.5));
    let markdown = fs::read_to_string(out(&directory).join("report.md")).unwrap();
    assert_eq!(markdown, report.to_string());
    assert!(markdown.contains("| all | rlm | plain | 4 | +0.500 | "), "{markdown}");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(out(&directory).join("report.json")).unwrap()).unwrap();
    assert_eq!(json["settings"][1]["interval"]["method"], "wilson");

    // Every try has its record, which its owner alone may read.
    assert!(is_private(&out(&directory).join("results.jsonl")));
    for line in lines(&directory) {
        let record = out(&directory).join(line.record.unwrap());
        assert!(is_private(&record), "{}", record.display());
        match line.run {
            Some(run) => assert_eq!(Trajectory::load(record).unwrap().run(), run),
            None => {
                let kept: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
                assert!(kept["request"]["messages"][0]["content"].as_str().unwrap().contains("A text."));
            }
        }
    }

    // As a kill leaves it: seven lines and a part of the eighth.
    let text = fs::read_to_string(out(&directory).join("results.jsonl")).unwrap();
    let seven: usize = text.split_inclusive('\n').take(7).map(str::len).sum();
    fs::write(out(&directory).join("results.jsonl"), &text[..seven + 40]).unwrap();
    assert_eq!(evaluation.missing(out(&directory)).unwrap(), 9);
    let again = evaluation.run(out(&directory)).await.unwrap();
    assert_eq!((model.requests().len(), again.missing), (25, 0));
    assert_eq!(again.report.settings[0].score, Some(0.5));
    let stopped = lines(&directory).iter().filter(|line| line.outcome == Outcome::Stopped).count();
    assert!(stopped > 0, "runs whose results were lost are known by their records");
    near(again.report.total_cost, 0.16 + 0.01 * stopped as f64);

    evaluation.run(out(&directory)).await.unwrap();
    assert_eq!((model.requests().len(), lines(&directory).len()), (25, 16 + stopped));
}

#[tokio::test]
async fn changed_tasks_are_tried_again_and_changed_settings_refused() {
    let (directory, model) = (directory(), model());
    both(&directory, &model).run(out(&directory)).await.unwrap();
    let task = |number: u32| Task::new(format!("Say «{number}»."), "3").id(number.to_string());
    write(directory.path(), [task(3), task(5).scorer(Scorer::Contains)].into_iter());
    let ended = both(&directory, &model).run(out(&directory)).await.unwrap();
    assert_eq!(model.requests().len(), 16 + 2 * 2 * 2);
    assert_eq!((ended.report.settings[0].tasks, ended.report.settings[0].score), (2, Some(0.5)));

    let other = [plain(model.clone()).options("another model")];
    let error = Evaluation::new(tasks(&directory), other).run(out(&directory)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("`plain`") && error.message().contains("other options"), "{error}");
    for (settings, said) in [
        (vec![], "no setting"),
        (vec![plain(model.clone()), plain(model.clone())], "two settings"),
        (vec![plain(model.clone()).baseline("x".to_owned())], "`x`"),
    ] {
        let error = Evaluation::new(tasks(&directory), settings).run(out(&directory)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.message().contains(said), "{error}");
    }
    write(directory.path(), [task(1).scorer(Scorer::Judge)].into_iter());
    let error = both(&directory, &model).run(out(&directory)).await.unwrap_err();
    assert!(error.message().contains("needs a judge"), "{error}");
}

#[tokio::test]
async fn what_a_provider_breaks_is_tried_again_at_the_next_start() {
    let directory = directory();
    let failures = Arc::new(Mutex::new(vec![2, 4]));
    let left = failures.clone();
    let model = ScriptedModel::from_fn(move |request| {
        let mut left = left.lock().unwrap();
        match left.iter().position(|number| *number == asked(request)) {
            Some(at) => {
                left.remove(at);
                Err(Error::new(ErrorKind::Server, "503"))
            }
            None => Ok("1".into()),
        }
    });
    let evaluation = Evaluation::new(tasks(&directory), [plain(model.clone())]);
    let ended = evaluation.run(out(&directory)).await.unwrap();
    assert!(matches!(&ended.stop, Some(Stop::Broken(error)) if error.kind() == ErrorKind::Server));
    assert_eq!((ended.missing, ended.report.settings[0].missing, ended.report.settings[0].tasks), (2, 2, 2));
    assert_eq!(ended.report.settings[0].score, Some(0.5), "what is broken is not wrong");
    let ended = evaluation.run(out(&directory)).await.unwrap();
    assert!(ended.missing == 0 && ended.stop.is_none());
    assert_eq!(model.requests().len(), 6);

    let refused = ScriptedModel::from_fn(|_| Err(Error::new(ErrorKind::Auth, "wrong key")));
    let settings = [plain(refused.clone()).options("x")];
    let config = EvaluationConfig::default().concurrency(1);
    let evaluation = Evaluation::new(tasks(&directory), settings).config(config);
    let ended = evaluation.run(directory.path().join("other")).await.unwrap();
    assert!(matches!(&ended.stop, Some(Stop::Error(error)) if error.kind() == ErrorKind::Auth));
    assert_eq!((refused.requests().len(), ended.missing), (1, 4), "all others would fail in the same way");
}

/// A model whose calls take a moment, as those of real ones do.
#[derive(Clone, Debug)]
struct Slow(ScriptedModel);

#[async_trait::async_trait]
impl LanguageModel for Slow {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        self.0.complete(request).await
    }
}

#[tokio::test]
async fn a_limit_on_cost_ends_calls_and_runs_in_progress() {
    let (directory, model) = (directory(), model());
    let config = |dollars: f64| EvaluationConfig::default().concurrency(1).max_total_cost(dollars);
    let with = |dollars| Evaluation::new(tasks(&directory), [plain(model.clone())]).config(config(dollars));
    let ended = with(0.015).run(out(&directory)).await.unwrap();
    assert!(matches!(ended.stop, Some(Stop::Cost)));
    assert_eq!((ended.missing, model.requests().len()), (2, 2));
    let ended = with(0.02).run(out(&directory)).await.unwrap();
    assert_eq!((ended.missing, model.requests().len()), (2, 2), "earlier starts count");
    let ended = with(0.1).run(out(&directory)).await.unwrap();
    assert_eq!((ended.missing, model.requests().len()), (0, 4));

    let never = ScriptedModel::from_fn(|_| {
        Ok(Response::new("```python\nlook\n```").usage(Usage::tokens(10, 2).cost(0.01)))
    });
    let settings = [rlm(Slow(never))];
    let evaluation = Evaluation::new(tasks(&directory), settings).config(config(0.035));
    let other = directory.path().join("runs");
    let ended = evaluation.run(&other).await.unwrap();
    assert!(matches!(ended.stop, Some(Stop::Cost)), "{:?}", ended.stop);
    let text = fs::read_to_string(other.join("results.jsonl")).unwrap();
    let line: TaskResult = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line.outcome, Outcome::Stopped);
    let cost = line.usage.cost.unwrap();
    assert!((0.039..0.061).contains(&cost), "{cost}");

    let silent = ScriptedModel::from_fn(|_| Ok(Response::new("1").usage(Usage::tokens(1, 1))));
    let evaluation = Evaluation::new(tasks(&directory), [plain(silent)]).config(config(1.0));
    let ended = evaluation.run(directory.path().join("silent")).await.unwrap();
    let Some(Stop::Error(error)) = ended.stop else { panic!("{:?}", ended.stop) };
    assert!(error.kind() == ErrorKind::Config && error.message().contains("what a call cost"), "{error}");
}

#[tokio::test]
async fn failures_of_a_setting_count_as_wrong() {
    let directory = directory();
    let model = ScriptedModel::from_fn(|request| match (is_of_run(request), asked(request)) {
        (false, 1) => Err(Error::new(ErrorKind::ContextTooLong, "too long")),
        (false, 2) => Err(Error::new(ErrorKind::ContentRefused, "no")),
        (true, _) => Ok(Response::new("```python\nlook\n```")),
        (false, number) => Ok(Response::new(number.to_string())),
    });
    let evaluation = both(&directory, &model).config(EvaluationConfig::default());
    let ended = evaluation.run(out(&directory)).await.unwrap();
    assert!(ended.missing == 0 && ended.stop.is_none(), "{:?}", ended.stop);
    let [plain, rlm] = &ended.report.settings[..] else { panic!("{:?}", ended.report) };
    assert_eq!((plain.score, plain.too_long, plain.failed), (Some(0.5), 1, 1));
    assert_eq!(
        (rlm.score, rlm.failed),
        (Some(0.0), 4),
        "no answer within the limits: {:?}",
        lines(&directory)
    );
    let text = ended.report.to_string();
    assert!(text.contains("- plain: 1 of 4 tries were too long for the model"), "{text}");
}

#[tokio::test]
async fn another_judge_and_unpriced_judges_are_noticed() {
    let directory = directory();
    let task = |number: u32| Task::new(format!("Say «{number}»."), "1").id(number.to_string());
    write(directory.path(), [task(1).scorer(Scorer::Judge), task(3)].into_iter());
    let judge = |name: &str, used: Usage| {
        ScriptedModel::from_fn(move |_| Ok(Response::new("Same.\nVERDICT: RIGHT").usage(used)))
            .with_name(name)
    };
    let priced = Usage::tokens(10, 2).cost(0.01);
    let with = |judge: ScriptedModel, limit: Option<f64>| {
        let config = EvaluationConfig::default().concurrency(1).max_total_cost(limit);
        Evaluation::new(tasks(&directory), [plain(model())]).config(config).judge(judge)
    };
    let ended = with(judge("one", priced), Some(1.0)).run(out(&directory)).await.unwrap();
    assert!(ended.stop.is_none() && ended.missing == 0, "{:?}", ended.stop);
    let judges: Vec<_> = lines(&directory).into_iter().map(|line| line.judge).collect();
    assert_eq!(judges, [Some("one".to_owned()), None]);
    let error = with(judge("two", priced), None).run(out(&directory)).await.unwrap_err();
    assert!(error.message().contains("judged by one") && error.message().contains("is two"), "{error}");
    assert!(with(judge("two", priced), None).missing(out(&directory)).is_err());
    assert_eq!(with(judge("one", priced), None).missing(out(&directory)).unwrap(), 0);

    let other = directory.path().join("other");
    let unpriced = judge("one", Usage::tokens(10, 2));
    let ended = with(unpriced.clone(), Some(1.0)).run(&other).await.unwrap();
    let Some(Stop::Error(error)) = ended.stop else { panic!("{:?}", ended.stop) };
    assert!(error.message().contains("what a call cost"), "{error}");
    assert_eq!(ended.missing, 1, "the second task was not tried");
    // A later start knows that the sum of the results is not known.
    let ended = with(unpriced.clone(), Some(1.0)).run(&other).await.unwrap();
    let Some(Stop::Error(error)) = ended.stop else { panic!("{:?}", ended.stop) };
    assert!(error.message().contains("nobody knows") && ended.missing == 1, "{error}");
    assert_eq!(with(unpriced, None).run(&other).await.unwrap().missing, 0);
}
