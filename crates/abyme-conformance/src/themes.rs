//! The cases, one file per theme, in the order of the contract's clauses.

use crate::case::Case;

mod answer;
mod cancellation;
mod capabilities;
mod channel;
mod concurrency;
mod conversions;
mod crashes;
mod determinism;
mod exceptions;
mod files;
mod floods;
mod forks;
mod host_functions;
mod independence;
mod input;
mod lifecycle;
mod monkeypatches;
mod names;
mod namespace;
mod network;
mod output;
mod session;
mod snapshots;
mod state_after_errors;
mod submission;
mod syntax;
mod time_limits;
mod tools;
mod tracebacks;
mod values;
mod variables;

/// Every case of the suite, in the order of the contract's clauses.
pub fn cases() -> Vec<&'static Case> {
    let themes = [
        lifecycle::CASES,
        session::CASES,
        namespace::CASES,
        state_after_errors::CASES,
        exceptions::CASES,
        syntax::CASES,
        output::CASES,
        tracebacks::CASES,
        values::CASES,
        variables::CASES,
        submission::CASES,
        answer::CASES,
        conversions::CASES,
        host_functions::CASES,
        concurrency::CASES,
        tools::CASES,
        names::CASES,
        time_limits::CASES,
        floods::CASES,
        channel::CASES,
        input::CASES,
        monkeypatches::CASES,
        cancellation::CASES,
        capabilities::CASES,
        crashes::CASES,
        files::CASES,
        network::CASES,
        independence::CASES,
        forks::CASES,
        snapshots::CASES,
        determinism::CASES,
    ];
    themes.into_iter().flatten().collect()
}

/// The full name of every case, such as `c07_submission::the_first_one_wins`.
pub fn case_names() -> Vec<&'static str> {
    cases().into_iter().map(Case::name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_clause_has_several_cases() {
        for clause in 1..=16 {
            let count = cases().iter().filter(|case| case.clause() == clause).count();
            assert!(count >= 3, "C{clause} has {count} cases");
        }
    }

    #[test]
    fn names_are_unique_also_without_their_theme() {
        let mut names = BTreeSet::new();
        for case in cases() {
            let own = case.name().rsplit("::").next().unwrap();
            assert!(names.insert(own), "{own} is the name of two cases");
        }
    }

    #[test]
    fn every_case_says_what_it_expects_of_which_clause() {
        for case in cases() {
            let (name, clause) = (case.name(), case.clause());
            assert!(name.starts_with(&format!("c{clause:02}_")), "{name} is not named after C{clause}");
            assert!(case.doc().starts_with(&format!("C{clause}: ")), "{name} does not cite C{clause}");
        }
    }
}
