//! The cases for models, one file per theme, in the order of the contract's clauses.

use super::case::ModelCase;

mod bad_input;
mod cancellation;
mod cut_replies;
mod failures;
mod requests;
mod secrets;
mod streams;
mod time_limits;
mod usage;

/// Every case for models, in the order of the contract's clauses.
pub fn cases() -> Vec<&'static ModelCase> {
    let themes = [
        requests::CASES,
        failures::CASES,
        bad_input::CASES,
        usage::CASES,
        cut_replies::CASES,
        time_limits::CASES,
        cancellation::CASES,
        secrets::CASES,
        streams::CASES,
    ];
    themes.into_iter().flatten().collect()
}

/// The full name of every case for models, such as `m7_streams::pieces_add_up`.
pub fn case_names() -> Vec<&'static str> {
    cases().into_iter().map(ModelCase::name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_clause_has_cases_that_cite_it() {
        for clause in 1..=7 {
            assert!(cases().iter().any(|case| case.clause() == clause), "M{clause} has no cases");
        }
        for case in cases() {
            let (name, clause) = (case.name(), case.clause());
            assert!(name.starts_with(&format!("m{clause}_")), "{name} is not named after M{clause}");
            assert!(case.doc().starts_with(&format!("M{clause}: ")), "{name} does not cite M{clause}");
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
}
