//! `abyme ask`, whose name may be left out.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use abyme_files::Loader;
use clap::{Args, Command};

use crate::exit::Failure;

/// How the command is used, for its help.
pub(super) const USAGE: &str = "abyme [ask] \"QUESTION\" FILES... [OPTIONS]";

/// A question about files, and where its answer goes.
#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    /// The question, and what it is about: files, directories, patterns, - for stdin. What is no file is the
    /// question
    #[arg(value_name = "QUESTION | FILE", required = true)]
    pub(crate) words: Vec<OsString>,
    /// Write the answer to a file too: its rows to .csv, the outputs to .json, a text with its sources to .md
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// A file with a JSON Schema, an object whose properties are the outputs in place of an answer
    #[arg(long, value_name = "FILE.json")]
    pub(crate) schema: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// What is loaded of the files that are named.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    /// Read the hidden files of directories too
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Read the files of directories too that .gitignore and its kin name
    #[arg(long)]
    pub(crate) no_ignore: bool,
    /// Read HTML as its source, tags and all, in place of what a reader sees of the page
    #[arg(long)]
    pub(crate) html_source: bool,
    /// Fetch what is given as a URL, http or https
    #[arg(long)]
    pub(crate) urls: bool,
    /// Most files of directories and patterns
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) max_files: usize,
    /// Most text of all files together, in MB of 1024 KB
    #[arg(long, value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) max_files_mb: u64,
}

impl LoadArgs {
    /// What loads them.
    pub(crate) fn loader(&self) -> Loader {
        Loader::new()
            .hidden(self.hidden)
            .ignored(self.no_ignore)
            .html_source(self.html_source)
            .max_files(self.max_files)
            .max_total_bytes(self.max_files_mb << 20)
    }
}

/// The command line with the word `ask` in it, where that was left out: the first word is no command.
///
/// # Errors
/// If the first word was meant as a command.
pub(super) fn with_command(mut args: Vec<OsString>, cli: &Command) -> Result<Vec<OsString>, Failure> {
    let Some(first) = args.get(1) else { return Ok(args) };
    let is_command = cli.find_subcommand(first).is_some();
    let is_about_all = ["-h", "--help", "-V", "--version"].iter().any(|flag| first == flag);
    if is_command || is_about_all {
        return Ok(args);
    }
    if let Some(command) = mistyped(first, &args[2..], cli) {
        let message = format!("`{}` is no command; did you mean `{command}`?", first.to_string_lossy());
        return Err(Failure::usage(message).hint("a question comes with its files: abyme \"why?\" FILES..."));
    }
    args.insert(1, "ask".into());
    Ok(args)
}

/// The command that a first word was meant as: its name is nearly the same, and no file is named.
fn mistyped<'a>(first: &OsString, others: &[OsString], cli: &'a Command) -> Option<&'a str> {
    let word = first.to_str().filter(|word| word.chars().all(char::is_alphabetic))?;
    let is_file = |word: &OsString| word == "-" || Path::new(word).symlink_metadata().is_ok();
    if is_file(first) || others.iter().any(is_file) {
        return None;
    }
    let slips = if word.len() < 5 { 1 } else { 2 };
    let names = cli.get_subcommands().map(Command::get_name);
    let near = names.map(|name| (strsim::osa_distance(word, name), name));
    near.filter(|(distance, _)| *distance <= slips).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn what_is_no_command_is_a_question() {
        let first = |words: &[&str]| {
            let args = std::iter::once("abyme").chain(words.iter().copied()).map(OsString::from);
            let args = with_command(args.collect(), &Cli::command());
            args.map_or_else(|_| "error".to_owned(), |args| args[1].to_string_lossy().into_owned())
        };
        for words in [&["which plan?", "a"][..], &["why?", "x"], &["--model", "m", "why?"], &["rnu", "src"]] {
            assert_eq!(first(words), "ask", "{words:?}");
        }
        for words in [&["run", "-s", "q -> a"][..], &["ask", "why?"], &["--help"]] {
            assert_eq!(first(words), words[0]);
        }
        for words in [&["rnu", "-s"][..], &["stast"]] {
            assert_eq!(first(words), "error", "{words:?}");
        }
    }
}
