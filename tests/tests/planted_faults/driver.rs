//! Faults planted in the Python driver's source.

use abyme::Subprocess;
use abyme_conformance::FactoryHarness;

use super::fails;

/// A driver in which one place of one file reads differently.
fn patched(file: &str, good: &str, faulty: &str) -> FactoryHarness<Subprocess> {
    let driver: Vec<(&str, String)> = abyme_driver::python::DRIVER
        .iter()
        .map(|(name, source)| {
            if *name != file {
                return (*name, (*source).to_owned());
            }
            assert_eq!(source.matches(good).count(), 1, "{file}.py has to hold this once: {good}");
            (*name, source.replace(good, faulty))
        })
        .collect();
    let driver: Vec<_> = driver.iter().map(|(name, source)| (*name, source.as_str())).collect();
    FactoryHarness::new(Subprocess::new().driver(&driver))
}

#[test]
fn enums_become_their_names() {
    let faulty = patched("convert", "return _convert(value.value, depth + 1, above)", "return str(value)");
    fails(faulty, &["c07_conversions::enums_become_their_values"]);
}

#[test]
fn dates_become_their_text() {
    fails(
        patched("convert", "return value.isoformat()", "return str(value)"),
        &["c07_conversions::dates_become_iso_text"],
    );
}

#[test]
fn a_missing_final_variable_is_none() {
    let good = "raise NameError(f\"FINAL_VAR(): there is no variable {name!r}. Variables: {names}\")";
    fails(patched("submit", good, "return names and None"), &["c07_submission::final_var_needs_a_variable"]);
}

#[test]
fn every_failure_is_a_runtime_error() {
    let good = "if isinstance(kind, type) and issubclass(kind, Exception):";
    fails(patched("scope", good, "if False:"), &["c08_host_functions::a_failure_raises_its_own_type"]);
}

#[test]
fn functions_have_no_docstring() {
    fails(
        patched("scope", "function.__doc__ = spec.get(\"doc\")", "pass"),
        &["c08_host_functions::they_can_be_inspected"],
    );
}

#[test]
fn an_answer_is_not_cleared() {
    let good = "                finally:\n                    special.reset()";
    fails(
        patched("submit", good, "                finally:\n                    pass"),
        &["c07_answer::ready_may_have_no_truth_value", "c07_answer::it_is_not_submitted_twice"],
    );
}

#[test]
fn named_tuples_become_lists() {
    let faulty = patched("convert", "return dict(zip(kind._fields, value))", "return None");
    fails(faulty, &["c07_conversions::named_tuples_become_dicts"]);
}
