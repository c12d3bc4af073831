//! What the examples share: a long document, the choice of a model, and checks of what it found.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use abyme::{Error, ErrorKind, Response, Result, prelude::*, testing::ScriptedModel};
use cargo_metadata::{MetadataCommand, Package};

/// A long text: the file that the first argument names, or the READMEs and changelogs of all crates that this
/// workspace depends on (several megabytes), each under a line `===== name version: file =====`.
///
/// # Errors
/// If the file cannot be read, or the crates were never downloaded.
pub fn document() -> Result<Text> {
    if let Some(path) = std::env::args_os().nth(1) {
        return Text::from_file(path);
    }
    let offline = ["--locked", "--offline", "--filter-platform", "host-tuple"];
    let metadata = MetadataCommand::new()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .other_options(offline.map(str::to_owned).to_vec())
        .exec()
        .map_err(|error| {
            let message = "cannot list this workspace's dependencies offline: \
                           run `cargo fetch`, or name a file as the first argument";
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
    let mut crates: Vec<&Package> = metadata.packages.iter().filter(|one| one.source.is_some()).collect();
    crates.sort_by_key(|one| (&one.name, &one.version));
    let mut text = String::new();
    for one in crates {
        let folder = one.manifest_path.with_file_name("");
        for file in guides(folder.as_std_path())? {
            let content = Text::from_file_lossy(folder.join(&file))?;
            text += &format!("===== {} {}: {file} =====\n{}\n", one.name, one.version, content.trim_end());
        }
    }
    Ok(text.into())
}

/// The files of a crate that are written for its users, in order.
fn guides(folder: &Path) -> Result<Vec<String>> {
    let failed =
        |error| Error::new(ErrorKind::Io, format!("cannot list {}", folder.display())).with_source(error);
    let names =
        fs::read_dir(folder).map_err(failed)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| {
            let lower = name.to_lowercase();
            let starts =
                ["readme", "change", "release", "history"].iter().any(|start| lower.starts_with(start));
            starts && lower.ends_with(".md")
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Where an example's Python runs: in WebAssembly, or at Modal if `ABYME_EXAMPLES_ON` is `modal`.
///
/// # Errors
/// If the variable names something else.
pub fn interpreter() -> Result<Arc<dyn InterpreterFactory>> {
    match std::env::var("ABYME_EXAMPLES_ON").unwrap_or_default().as_str() {
        "" | "wasm" => Ok(Arc::new(Wasm::new())),
        "modal" => Ok(Arc::new(Modal::new())),
        other => {
            let message = format!("ABYME_EXAMPLES_ON is `{other}`, which is none of `wasm` and `modal`");
            Err(Error::new(ErrorKind::Config, message))
        }
    }
}

/// The model that plans and the one that answers sub-calls.
#[derive(Debug)]
pub struct Models {
    /// Writes the cells.
    pub plans: Arc<dyn LanguageModel>,
    /// Answers `llm_query`.
    pub answers: Arc<dyn LanguageModel>,
    scripted: bool,
}

impl Models {
    /// The model that the environment or `.env` configures, for both. Where none is configured, two functions
    /// stand in for it: each reads the last message of a request and answers it. `plan` knows no answer to
    /// what it does not expect to see.
    ///
    /// # Errors
    /// If a model is configured that cannot be used.
    pub fn choose(plan: fn(&str) -> Option<String>, answer: fn(&str) -> String) -> Result<Self> {
        let model = match OpenAi::from_env() {
            Ok(model) => Arc::new(model),
            Err(error) => {
                eprintln!("model: scripted ({error})");
                let plans = Arc::new(scripted(plan));
                let answers = Arc::new(scripted(move |prompt| Some(answer(prompt))));
                return Ok(Self { plans, answers, scripted: true });
            }
        };
        model.check()?;
        eprintln!("model: {}", model.name());
        Ok(Self { plans: model.clone(), answers: model, scripted: false })
    }

    /// Prints whether something holds that was found out without a model.
    ///
    /// # Errors
    /// If it does not hold for the scripted models, which make no mistakes.
    pub fn check(&self, what: &str, holds: bool) -> Result<()> {
        println!("check: {what}: {}", if holds { "yes" } else { "NO" });
        match holds || !self.scripted {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::OutputType, format!("check failed: {what}"))),
        }
    }

    /// Checks a list against what a search without a model finds.
    ///
    /// # Errors
    /// See [`check`](Self::check).
    pub fn compare(&self, what: &str, found: &[String], expected: &BTreeSet<&str>) -> Result<()> {
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        let (right, others) = (found.intersection(expected).count(), found.difference(expected).count());
        let what = format!("{what}: {right} of {} found, {others} others", expected.len());
        self.check(&what, found == *expected)
    }
}

/// A model that answers with what a function makes of the last message.
fn scripted(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> ScriptedModel {
    ScriptedModel::from_fn(move |request| {
        let seen = request.messages.last().map_or("", |message| &message.content);
        answer(seen).map(Response::from).ok_or_else(|| {
            let message = format!("the script has no answer to this:\n{}", Text::from(seen).preview(1_000));
            Error::new(ErrorKind::BadRequest, message)
        })
    })
}

/// A reply as the planning model gives it: a thought and a cell.
pub fn cell(thought: &str, code: &str) -> Option<String> {
    Some(format!("{thought}\n\n```python\n{}\n```", code.trim()))
}

/// What follows `label` on the first line that begins with it.
pub fn printed<'a>(seen: &'a str, label: &str) -> Option<&'a str> {
    seen.lines().find_map(|line| line.strip_prefix(label)).map(str::trim)
}

/// The number that follows `label` on the first line that begins with it.
pub fn number(seen: &str, label: &str) -> Option<usize> {
    let rest = printed(seen, label)?;
    rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
}

/// Prints how a run went: its end, its turns, its calls.
pub fn report<O>(answer: &Prediction<O>) {
    let turns = answer.trajectory().turns();
    let sub_calls: usize = turns.iter().map(|turn| turn.sub_calls).sum();
    println!("run: {} after {} turns and {sub_calls} sub-calls", answer.status(), turns.len());
}

/// Compiles the programs in the workspace's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
