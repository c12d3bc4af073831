//! The settings of an evaluation: each `--setting` read as flags.

use std::{ffi::OsString, fmt::Debug};

use crate::{
    args::{Command, EvalArgs, RlmArgs, WrapArgs, parse_overridden},
    exit::Failure,
};

/// A setting as the command line describes it.
#[derive(Debug)]
pub(crate) struct GivenSetting {
    /// What it is called beside its model; empty where there is one setting alone.
    pub(crate) name: String,
    /// Its own models, where its flags name some.
    pub(crate) models: Vec<String>,
    pub(crate) rlm: RlmArgs,
}

/// Reads each `--setting`: the command line once more, with its flags at the end, which win.
pub(crate) fn settings(args: &EvalArgs, line: &[OsString]) -> Result<Vec<GivenSetting>, Failure> {
    let read = |given: Option<&str>| {
        let (name, flags) = given.map_or(("", ""), split);
        let mut line = line.to_vec();
        let end = line.iter().position(|word| word == "--").unwrap_or(line.len());
        line.splice(end..end, flags.split_whitespace().map(OsString::from));
        let about = format!("--setting `{}`", given.unwrap_or_default());
        let Command::Eval(read) = parse_overridden(&line, &about)? else {
            return Err(Failure::usage(format!("{about} names another command")));
        };
        if let Some(flag) = shared_flag(args, &read) {
            let message = format!("{about}: {flag} is for all settings together: give it outside");
            return Err(Failure::usage(message));
        }
        let mut models = read.models.models;
        let own = models.split_off(args.models.models.len().min(models.len()));
        Ok(GivenSetting { name: name.to_owned(), models: own, rlm: read.models.args })
    };
    match &args.setting[..] {
        [] => Ok(vec![read(None)?]),
        given => given.iter().map(|given| read(Some(given))).collect(),
    }
}

/// A flag that is no part of a setting, and that these two do not have in common.
fn shared_flag(args: &EvalArgs, setting: &EvalArgs) -> Option<&'static str> {
    let (before, after) = (shared_flags(args), shared_flags(setting));
    before.into_iter().zip(after).find_map(|(before, after)| (before.1 != after.1).then_some(before.0))
}

/// What no setting has for itself. All flags are named, so that a new one is thought of here.
fn shared_flags(args: &EvalArgs) -> Vec<(&'static str, String)> {
    let EvalArgs {
        tasks,
        output,
        setting,
        plain,
        no_rlm,
        judge,
        repetitions,
        concurrency,
        max_total_cost,
        json,
        generate,
        count,
        tokens,
        models,
    } = args;
    let WrapArgs { rpm, tpm, fallback: _, cache, record, replay } = &models.args.wrap;
    let flags: [(_, &dyn Debug); 18] = [
        ("TASKS.jsonl", tasks),
        ("--output", output),
        ("--setting", setting),
        ("--plain", plain),
        ("--no-rlm", no_rlm),
        ("--judge", judge),
        ("--repetitions", repetitions),
        ("--concurrency", concurrency),
        ("--max-total-cost", max_total_cost),
        ("--json", json),
        ("--generate", generate),
        ("--count", count),
        ("--tokens", tokens),
        ("--rpm", rpm),
        ("--tpm", tpm),
        ("--cache", cache),
        ("--record", record),
        ("--replay", replay),
    ];
    flags.map(|(flag, value)| (flag, format!("{value:?}"))).into()
}

/// `name=--flag ...`, or flags alone, which are their own name.
fn split(given: &str) -> (&str, &str) {
    let given = given.trim();
    match given.split_once('=') {
        Some((name, flags)) if !name.trim().is_empty() && !name.trim_start().starts_with('-') => {
            (name.trim(), flags.trim())
        }
        _ => (given, given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<(EvalArgs, Vec<GivenSetting>), Failure> {
        let line: Vec<OsString> = shlex(words);
        let Command::Eval(args) = parse_overridden(&line, "").unwrap() else { panic!("{words}") };
        let settings = settings(&args, &line)?;
        Ok((*args, settings))
    }

    /// Words, with those in quotes as one.
    fn shlex(words: &str) -> Vec<OsString> {
        let parts = words.split('\'').enumerate();
        let words = parts.flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(OsString::from).collect::<Vec<_>>(),
            _ => vec![part.into()],
        });
        words.collect()
    }

    #[test]
    fn flags_of_a_setting_come_after_the_others() {
        let (args, settings) = read(
            "abyme eval t.jsonl --model a --model b --max-iterations 5 --no-system-role \
             --setting 'paper=--profile paper --max-depth 2' --setting '--max-iterations 9 --model c'",
        )
        .unwrap();
        assert_eq!(args.models.models, ["a", "b"]);
        let [paper, more] = &settings[..] else { panic!("{settings:?}") };
        assert_eq!((paper.name.as_str(), more.name.as_str()), ("paper", "--max-iterations 9 --model c"));
        assert_eq!((paper.rlm.limits.max_iterations, paper.rlm.limits.max_depth), (Some(5), Some(2)));
        assert!(matches!(paper.rlm.profile, crate::args::Profile::Paper) && paper.models.is_empty());
        assert_eq!((more.rlm.limits.max_iterations, &more.models[..]), (Some(9), &["c".to_owned()][..]));
        assert!(more.rlm.model.no_system_role);
        let failure = read("abyme eval t.jsonl --setting 'x=--max-deep 2'").unwrap_err();
        assert!(format!("{failure:?}").contains("--max-deep"), "{failure:?}");
    }

    #[test]
    fn what_is_for_all_settings_is_refused_in_one() {
        for flags in [
            "--judge j",
            "--repetitions 2",
            "--rpm 5",
            "--cache d",
            "--record r",
            "--output o",
            "--plain",
            "--no-rlm",
            "--json",
            "--max-total-cost 1",
            "other.jsonl",
            "--concurrency 9",
        ] {
            let failure = read(&format!("abyme eval t.jsonl --setting 'x={flags}'")).unwrap_err();
            let said = format!("{failure:?}");
            let flag = flags.split(' ').next().unwrap_or_default();
            assert!(said.contains(flag) && said.contains("--setting `x="), "{said}");
        }
        let (_, settings) =
            read("abyme eval t.jsonl --judge j --rpm 5 --setting 'x=--fallback f --rpm 5'").unwrap();
        assert_eq!(settings[0].rlm.wrap.fallback.as_deref(), Some("f"));
    }

    #[test]
    fn plain_may_say_what_is_done() {
        let plain = |words: &str| read(words).unwrap().0.plain;
        assert!(plain("abyme eval t.jsonl").is_none());
        assert!(matches!(plain("abyme eval --plain t.jsonl"), Some(crate::args::TooLong::Refuse)));
        assert!(matches!(plain("abyme eval --plain=truncate t.jsonl"), Some(crate::args::TooLong::Truncate)));
    }
}
