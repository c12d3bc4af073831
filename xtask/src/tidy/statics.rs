//! Each static of product code is in a list, with its reason: everything else is passed as a value.

use syn::visit::Visit;

use super::{
    modules::is_for_tests,
    workspace::{Problem, SourceFile, Workspace},
};

/// Crate, name and reason of each static.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "abyme-conformance",
        "RUNNING",
        "cases that measure the process run alone in it, also between several suites",
    ),
    ("abyme-cli", "DRAWN", "a process has one stderr, and its lines come from everywhere in it"),
    (
        "abyme-core",
        "ACCOUNTS",
        "a provider counts the calls of a key, wherever in the process they come from",
    ),
    ("abyme-interpreter-pyo3", "RUNNING", "a process starts CPython once, and never again"),
];

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut used = vec![false; ALLOWED.len()];
    for file in workspace.files.iter().filter(|file| file.extension() == "rs" && !file.is_test()) {
        for name in statics(file) {
            let is_this = |package: &str, allowed: &str| package == file.package && allowed == name;
            match ALLOWED.iter().position(|(package, allowed, _)| is_this(package, allowed)) {
                Some(index) => used[index] = true,
                None => {
                    let advice = "pass a value, or list it with a reason in xtask/src/tidy/statics.rs";
                    problems.push(file.problem(&format!("static {name}: {advice}")));
                }
            }
        }
    }
    for ((package, name, _), _) in ALLOWED.iter().zip(used).filter(|(_, used)| !used) {
        let text = format!("static {name} is gone: remove it from the list in xtask/src/tidy/statics.rs");
        problems.push(Problem::new(package, text));
    }
    problems
}

/// The names of the statics of a file, without those of its tests.
fn statics(file: &SourceFile) -> Vec<String> {
    let mut finder = Finder(Vec::new());
    // What cannot be parsed does not compile either, and the compiler says it better.
    if let Ok(parsed) = syn::parse_file(&file.text) {
        finder.visit_file(&parsed);
    }
    finder.0
}

struct Finder(Vec<String>);

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.0.push(item.ident.to_string());
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        if invocation.path.segments.last().is_some_and(|segment| segment.ident == "thread_local") {
            self.0.push("thread_local!".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statics_of_tests_are_allowed() {
        let text = "
            static FIRST: u32 = 1;
            fn f() { static SECOND: u32 = 2; }
            #[cfg(test)]
            mod tests { static THIRD: u32 = 3; }
            thread_local! { static FOURTH: u32 = 4; }
        ";
        assert_eq!(statics(&SourceFile::of_text("a.rs", text)), ["FIRST", "SECOND", "thread_local!"]);
    }
}
