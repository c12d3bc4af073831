//! `abyme ask`, whose name may be left out.

use std::{ffi::OsString, path::Path, path::PathBuf};

use clap::{
    Args, Command,
    error::{ContextKind, ErrorKind},
};

use super::RlmArgs;

/// How the command is used, for its help.
pub(super) const USAGE: &str = "abyme [ask] \"QUESTION\" FILES... [OPTIONS]";

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
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
    /// Read the hidden files of directories too
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Read the files of directories too that .gitignore and its kin name
    #[arg(long)]
    pub(crate) no_ignore: bool,
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
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
    /// Print one JSON object instead of the answer
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the run to a file as it happens, one event a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) trace: Option<PathBuf>,
}

/// The command line with the word `ask` in it, where that was left out: the first word is no command.
pub(super) fn with_command(mut args: Vec<OsString>, cli: &Command) -> Vec<OsString> {
    let Some(first) = args.get(1) else { return args };
    let is_command = cli.find_subcommand(first).is_some();
    let is_about_all = ["-h", "--help", "-V", "--version"].iter().any(|flag| first == flag);
    if !is_command && !is_about_all && !is_mistyped(&args, cli) {
        args.insert(1, "ask".into());
    }
    args
}

/// Whether the first word was meant as a command: it is like the name of one, and no file is named.
fn is_mistyped(args: &[OsString], cli: &Command) -> bool {
    let (first, others) = (&args[1], &args[2..]);
    let is_word = first.to_str().is_some_and(|word| !word.contains(char::is_whitespace));
    let is_file = |word: &OsString| word == "-" || Path::new(word).symlink_metadata().is_ok();
    if !is_word || is_file(first) || others.iter().any(is_file) {
        return false;
    }
    let error = cli.clone().try_get_matches_from(&args[..2]).err();
    error.is_some_and(|error| {
        error.kind() == ErrorKind::InvalidSubcommand && error.get(ContextKind::SuggestedSubcommand).is_some()
    })
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
            with_command(args.collect(), &Cli::command())[1].to_string_lossy().into_owned()
        };
        for words in [&["which plan?", "a"][..], &["why?", "x"], &["--model", "m", "why?"], &["rnu", "src"]] {
            assert_eq!(first(words), "ask", "{words:?}");
        }
        for words in [&["run", "-s", "q -> a"][..], &["ask", "why?"], &["rnu", "-s"], &["--help"], &["stast"]]
        {
            assert_eq!(first(words), words[0]);
        }
    }
}
