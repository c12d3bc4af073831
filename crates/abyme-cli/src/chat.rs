//! `abyme chat`: several questions about files, over one session.

mod hold;
mod lines;
pub(crate) mod names;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use abyme::{
    Conversation, Inputs, Prediction, Rlm, SavedConversation, Status, TaskSignature, Value,
    reexports::indexmap::IndexMap,
};

use self::{
    hold::Hold,
    lines::{Input, Lines},
};
use crate::{
    approval,
    args::ChatArgs,
    exit::{Exit, Failure},
    files, inputs, output,
    progress::{Detail, Progress},
    rlm::{self, Described},
    running::{Stopped, show_ledger, until_stopped},
    signals::Stop,
    standard::Standard,
    terminal,
};

/// How long the chat may take to end after a signal: a large session is written to a file.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// What all files may have together, as text.
const MAX_FILES_BYTES: u64 = 4 << 30;
/// A third Ctrl-C within this time ends the command.
const HURRY: Duration = Duration::from_secs(2);

/// What the commands are, for people.
const HELP: &str = "\
/vars         the variables of the session: files, questions, answers, and what cells made
/cost         what all questions used
/save [FILE]  write the conversation to a file (--save FILE has it written after each question)
/load FILE    go on with another conversation about files of the same names
/quit         the end; so is Ctrl-D. Ctrl-C ends a question, and pressed twice the chat
//...          a question that begins with `/`";

/// A line as it is meant.
#[derive(Debug, PartialEq, Eq)]
enum ChatLine<'a> {
    Nothing,
    Question(&'a str),
    Vars,
    Cost,
    Save(Option<&'a str>),
    Load(&'a str),
    Help,
    Quit,
    Unclear(&'a str),
}

impl<'a> ChatLine<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() { ChatLine::Nothing } else { ChatLine::Question(line) };
        };
        if command.starts_with('/') {
            return ChatLine::Question(command);
        }
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (word, rest.trim()) {
            ("vars", "") => ChatLine::Vars,
            ("cost", "") => ChatLine::Cost,
            ("save", "") => ChatLine::Save(None),
            ("save", file) => ChatLine::Save(Some(file)),
            ("load", file) if !file.is_empty() => ChatLine::Load(file),
            ("help" | "?", "") => ChatLine::Help,
            ("quit" | "exit" | "q", "") => ChatLine::Quit,
            _ => ChatLine::Unclear(line),
        }
    }
}

pub(crate) async fn run(args: ChatArgs, standard: &Standard) -> Result<Exit, Failure> {
    let given = names::inputs(&args.files)?;
    let written = [("--save", args.save.as_deref()), ("--record", args.rlm.wrap.record.as_deref())];
    files::check_written(written, inputs::files(&given).chain(args.rlm.read_files()))?;
    let hold = args.save.as_deref().map(Hold::on).transpose()?;
    let saved = match &args.save {
        Some(path) if path.exists() => {
            let signature = Conversation::saved_signature(path).await;
            Some(signature.map_err(|error| Failure::before_run(&error).context("--save"))?)
        }
        _ => None,
    };
    let names = given.iter().map(|input| input.name.as_str());
    let signature = match saved {
        Some(signature) => {
            if let Some(other) = names.clone().find(|name| signature.input(name).is_none()) {
                let message = format!("the conversation is about other files than `{other}`: `{signature}`");
                return Err(Failure::usage(message).context("--save").hint("name another file to save to"));
            }
            signature
        }
        None => signature(names)?,
    };
    let files = names::load(&given, MAX_FILES_BYTES)?;
    // The files of directories are known now.
    files::check_written(written, files.paths.iter().map(PathBuf::as_path))?;
    let Described { mut builder, wrapped, factory: _ } =
        rlm::described(&args.rlm, &signature, files.text_bytes, 1).await?;
    if let Some(text) = &args.instructions {
        builder = builder.instructions(text);
    }
    let rlm = builder.build().map_err(|error| Failure::before_run(&error))?;
    let stop = listen()?;
    let (files, read) = (files.inputs, files.paths);
    let mut chat = Chat {
        rlm,
        args: &args,
        read: &read,
        standard,
        files,
        stop,
        talk: None,
        failed: None,
        hold,
        saved: None,
    };
    if let Some(path) = args.save.as_deref().filter(|path| path.exists()) {
        chat.load(path).await.map_err(|error| Failure::before_run(&error).context("--save"))?;
    }
    let lines = Lines::open(standard)?;
    if lines.is_terminal() {
        for input in &given {
            terminal::say(&format!("{} is the variable `{}`", &input.value[1..], input.name));
        }
        terminal::say("ask a question; /help shows what else there is");
    }
    let ended = chat.answer(&lines).await;
    // Now, because the command may end before all is closed.
    lines.restore_terminal();
    let closed = chat.close().await;
    if let (Err(_), Err(failure)) = (&ended, &closed) {
        // One failure is returned, so the other one is shown here.
        failure.show();
    }
    let exit = ended?;
    closed?;
    wrapped.finish_replay()?;
    wrapped.finish_recording()?;
    Ok(exit)
}

/// Listens to signals. Ctrl-C ends a question, and only where that does nothing the process.
fn listen() -> Result<Stop, Failure> {
    let mut last: [Option<Instant>; 2] = [None, None];
    let is_last = move |exit: Exit| {
        let third = last[0].is_some_and(|first| first.elapsed() < HURRY);
        last = [last[1], Some(Instant::now())];
        exit != Exit::Interrupted || third
    };
    Stop::listen_until(is_last, END_TIMEOUT)
}

/// The task of a chat about files of these names.
fn signature<'a>(names: impl Iterator<Item = &'a str>) -> Result<TaskSignature, Failure> {
    let names: Vec<_> = names.chain([names::QUESTION]).collect();
    let text = format!("{}: str -> answer", names.join(", "));
    text.parse().map_err(|error| Failure::before_run(&error))
}

struct Chat<'a> {
    rlm: Rlm,
    args: &'a ChatArgs,
    /// The files that were read.
    read: &'a [PathBuf],
    standard: &'a Standard,
    /// Those that the next question gives.
    files: Inputs,
    stop: Stop,
    talk: Option<Conversation>,
    /// Why the first line failed that did.
    failed: Option<Exit>,
    /// Keeps other chats from the file of `--save`.
    hold: Option<Hold>,
    /// What the file of `--save` has, if that is all there is.
    saved: Option<SavedConversation>,
}

impl Chat<'_> {
    fn talk(&mut self) -> &Conversation {
        let (rlm, args) = (&self.rlm, self.args);
        self.talk.get_or_insert_with(|| limited(rlm.conversation(), args))
    }

    /// Answers lines until there are no more.
    async fn answer(&mut self, lines: &Lines) -> Result<Exit, Failure> {
        let mut interrupted = false;
        loop {
            let input = tokio::select! {
                // No line is asked for after a signal: the terminal is given back then.
                biased;
                exit = self.stop.received() => return Ok(exit),
                input = lines.next() => input?,
            };
            let line = match input {
                Input::Line(line) => line,
                Input::Interrupt if interrupted => return Ok(Exit::Interrupted),
                Input::Interrupt => {
                    interrupted = true;
                    terminal::say("(Ctrl-C again ends the chat; so do Ctrl-D and /quit)");
                    continue;
                }
                Input::End => break,
            };
            interrupted = false;
            match ChatLine::of(&line) {
                ChatLine::Nothing => {}
                ChatLine::Question(question) => {
                    let ended = self.ask(question).await?;
                    self.keep().await;
                    match ended {
                        None => {}
                        // The next one at the prompt ends the chat.
                        Some(Exit::Interrupted) => interrupted = true,
                        Some(exit) => return Ok(exit),
                    }
                }
                ChatLine::Vars => self.show_variables().await?,
                ChatLine::Cost => {
                    let usage = self.talk().usage().await?;
                    terminal::say(&usage.to_string());
                }
                ChatLine::Save(file) => self.save_to(file.map(PathBuf::from)).await,
                ChatLine::Load(file) => match self.load(Path::new(file)).await {
                    Ok(()) => {}
                    Err(error) => self.fails(&Failure::from(&error)),
                },
                ChatLine::Help => HELP.lines().for_each(terminal::say),
                ChatLine::Quit => break,
                ChatLine::Unclear(line) => {
                    terminal::say(&format!("`{line}` is no command; /help shows those that there are"));
                }
            }
        }
        // A person has seen what failed. A program sees it here.
        Ok(self.failed.filter(|_| !lines.is_terminal()).unwrap_or(Exit::Ok))
    }

    /// Answers a question. Gives the signal that ended it, if one did: Ctrl-C ends the question alone, and
    /// pressed again while it comes to its end, the chat.
    async fn ask(&mut self, question: &str) -> Result<Option<Exit>, Failure> {
        let detail = if self.args.rlm.verbose { Detail::Turns } else { Detail::Lines };
        let progress = Arc::new(Progress::on_stderr(detail, self.standard));
        let inputs = self.files.clone().with(names::QUESTION, question);
        let mut run = self.talk().ask(inputs).on_event(progress.clone());
        if self.args.rlm.asks_before_tools() {
            run = approval::asking(run, &progress, self.standard);
        }
        let ended = until_stopped(run, &progress, &mut self.stop).await;
        progress.finish();
        match ended {
            Ok(Ok(prediction)) => {
                // They are in the session now.
                self.files = Inputs::new();
                self.show(&prediction)?;
                Ok(None)
            }
            Ok(Err(error)) => {
                self.fails(&Failure::from(&error));
                Ok(None)
            }
            Err(Stopped { exit: Exit::Interrupted, is_twice }) => {
                terminal::say("the question was interrupted");
                self.failed.get_or_insert(Exit::Interrupted);
                if is_twice { Err(Failure::quiet(Exit::Interrupted)) } else { Ok(Some(Exit::Interrupted)) }
            }
            Err(Stopped { exit, .. }) => Ok(Some(exit)),
        }
    }

    fn show(&self, prediction: &Prediction) -> Result<(), Failure> {
        if self.args.rlm.verbose {
            show_ledger(prediction.trajectory());
        }
        match prediction.status() {
            Status::LimitReached(limit) => {
                terminal::say(&format!("abyme: warning: ended by its limit `{limit}`; this is an estimate"));
            }
            Status::CutShort => terminal::say("abyme: warning: it could not go on; this is an estimate"),
            Status::EndedEarly => terminal::say("abyme: warning: ended early; this is an estimate"),
            _ => {}
        }
        self.standard.write(&output::plain(prediction.outputs()))
    }

    async fn show_variables(&mut self) -> Result<(), Failure> {
        let talk = self.talk();
        let variables: IndexMap<String, Value> = talk.variables().await?;
        let questions = talk.questions().await?;
        for (name, value) in &variables {
            terminal::say(&format!("{name}: {} = {}", value.type_name(), value.repr(60)));
        }
        let made = questions.iter().flat_map(|question| &question.made);
        let made: IndexMap<_, _> = made.map(|one| (&one.name, &one.summary)).collect();
        for (name, summary) in made.into_iter().filter(|(name, _)| !variables.contains_key(*name)) {
            terminal::say(&format!("{name}: {summary}"));
        }
        if questions.is_empty() {
            terminal::say("nothing yet: files go in with the first question");
        }
        Ok(())
    }

    async fn load(&mut self, path: &Path) -> abyme::Result<()> {
        let loaded = limited(self.rlm.load_conversation(path).await?, self.args);
        let questions = loaded.questions().await?.len();
        self.saved = None;
        if let Some(before) = self.talk.replace(loaded) {
            // One that does not end cleanly is no reason not to go on.
            before.shutdown().await.ok();
        }
        terminal::say(&format!("going on after {questions} questions of {}", path.display()));
        Ok(())
    }

    /// Saves to a file, or to that of `--save`, and says so.
    async fn save_to(&mut self, file: Option<PathBuf>) {
        let Some(path) = file.or_else(|| self.args.save.clone()) else {
            terminal::say("/save FILE: the name of the file is missing");
            return;
        };
        let read = self.read.iter().map(PathBuf::as_path).chain(self.args.rlm.read_files());
        let written = [("--record", self.args.rlm.wrap.record.as_deref()), ("/save", Some(&*path))];
        if let Err(failure) = files::check_written(written, read) {
            return self.fails(&failure);
        }
        let own = self.hold.as_ref().is_some_and(|hold| hold.is_on(&path));
        let _hold = match (!own).then(|| Hold::on(&path)).transpose() {
            Ok(hold) => hold,
            Err(failure) => return self.fails(&failure),
        };
        match self.talk().save(&path).await {
            Ok(saved) => say_saved(saved, &path),
            Err(error) => self.fails(&Failure::new(Exit::Output, error.to_string())),
        }
    }

    /// Says that a line failed. The chat goes on.
    fn fails(&mut self, failure: &Failure) {
        failure.show();
        self.failed.get_or_insert(failure.exit());
    }

    /// Saves to the file of `--save`, so that a chat that is killed later has lost no answer.
    async fn keep(&mut self) {
        let args = self.args;
        let Some(path) = &args.save else { return };
        self.saved = None;
        match self.talk().save(path).await {
            Ok(saved) => self.saved = Some(saved),
            Err(error) => Failure::new(Exit::Output, error.to_string()).show_as_warning(),
        }
    }

    /// Saves, if that was asked for and not done, and ends the session.
    async fn close(&mut self) -> Result<(), Failure> {
        let Some(talk) = self.talk.take() else { return Ok(()) };
        let saved = match (&self.args.save, self.saved) {
            (Some(path), Some(saved)) => {
                say_saved(saved, path);
                Ok(())
            }
            (Some(path), None) => talk.save(path).await.map(|saved| say_saved(saved, path)),
            (None, _) => Ok(()),
        };
        talk.shutdown().await.ok();
        saved.map_err(|error| Failure::new(Exit::Output, error.to_string()))
    }
}

fn limited(talk: Conversation, args: &ChatArgs) -> Conversation {
    talk.limits(|limits| limits.max_tokens(args.max_total_tokens).max_cost(args.max_total_cost))
}

fn say_saved(saved: SavedConversation, path: &Path) {
    let lost = match saved.is_whole {
        true => "",
        false => "; files, questions and answers are in it, variables that cells made are not",
    };
    terminal::say(&format!("the conversation is saved in {}{lost}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_questions_or_commands() {
        for (line, asked) in [
            (" what? \n", ChatLine::Question("what?")),
            ("//etc is what?", ChatLine::Question("/etc is what?")),
            ("", ChatLine::Nothing),
            ("/save", ChatLine::Save(None)),
            ("/save a b.conversation", ChatLine::Save(Some("a b.conversation"))),
            ("/load", ChatLine::Unclear("/load")),
            ("/vars now", ChatLine::Unclear("/vars now")),
            ("/q", ChatLine::Quit),
        ] {
            assert_eq!(ChatLine::of(line), asked);
        }
    }
}
