//! The rules of a policy, and what it finds.

use std::{collections::BTreeSet, error, fmt};

use serde::{Deserialize, Serialize};

use crate::parse::MAX_DEPTH;

/// What a cell may not do, read off its syntax tree before it runs.
///
/// **This is a guard rail, not a security boundary.** It turns away what a model does by mistake or out of
/// habit, and says which line and why, so that the next cell does without. Python offers endless ways around
/// any such list: what untrusted code may do is decided by the interpreter's isolation, by nothing else.
///
/// It works on names as Python resolves them, not on text: `print("socket")`, a comment with `open(`,
/// `reopen()`, `is_open()` and a function of the cell's own called `open` are fine, while these are all
/// `os.system`:
///
/// ```text
/// import os as o; o.system(x)            from os import system as s; s(x)       f = os.system; f(x)
/// getattr(os, "sys" + "tem")(x)          os.__dict__["system"](x)               vars(os).get("system")(x)
/// __import__("os").system(x)             importlib.import_module("os").system   shutil.os.system(x)
/// ```
///
/// A name that is denied is denied wherever it is mentioned, called or not. A member looked up by a name that
/// is only known at run time, on a module with denied members, is denied too. [`check`](Self::check) sees one
/// cell at a time:
///
/// - a name that nothing in the cell binds is taken to mean the module or built-in of that name, so
///   `os.system` is found without the `import os` of an earlier cell, but an alias made there (`o = os`) is
///   not;
/// - what goes through a container, an argument, a return value or `operator.attrgetter` is not followed;
/// - strings given to `eval` and `exec` are not read: deny these two.
///
/// ```
/// # use abyme_python_syntax::CodePolicy;
/// let policy = CodePolicy::guard_rail().allow_name("open").deny_call("time.sleep");
/// assert!(policy.check("print(open('notes.txt').read())").is_ok());
/// let violation = policy.check("import time as t\nt.sleep(60)").unwrap_err();
/// assert_eq!(violation.to_string(), "Blocked: line 2: `time.sleep` is denied by the code policy");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CodePolicy {
    pub(super) deny_imports: BTreeSet<String>,
    pub(super) allow_imports: BTreeSet<String>,
    pub(super) deny_names: BTreeSet<String>,
    pub(super) deny_calls: BTreeSet<String>,
    pub(super) allow_calls: BTreeSet<String>,
    pub(super) deny_attributes: BTreeSet<String>,
}

impl CodePolicy {
    /// A policy that allows everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Denies a module and everything below it; `*` denies all of them.
    #[must_use]
    pub fn deny_import(mut self, module: impl Into<String>) -> Self {
        let module = module.into();
        self.allow_imports.remove(&module);
        self.deny_imports.insert(module);
        self
    }

    /// Allows a module and everything below it. Of two rules that cover a module, the longer one holds.
    #[must_use]
    pub fn allow_import(mut self, module: impl Into<String>) -> Self {
        let module = module.into();
        self.deny_imports.remove(&module);
        self.allow_imports.insert(module);
        self
    }

    /// Denies a built-in or host function by its name.
    #[must_use]
    pub fn deny_name(mut self, name: impl Into<String>) -> Self {
        self.deny_names.insert(name.into());
        self
    }

    /// Takes back what [`deny_name`](Self::deny_name) denied.
    #[must_use]
    pub fn allow_name(mut self, name: &str) -> Self {
        self.deny_names.remove(name);
        self
    }

    /// Denies a member of a module by its full name, `os.system`; `os.exec*` denies all that start like it.
    #[must_use]
    pub fn deny_call(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.allow_calls.remove(&path);
        self.deny_calls.insert(path);
        self
    }

    /// Allows a member of a module by its full name, whatever [`deny_call`](Self::deny_call) says.
    #[must_use]
    pub fn allow_call(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.deny_calls.remove(&path);
        self.allow_calls.insert(path);
        self
    }

    /// Denies an attribute by its name, on any object: for methods like `write_text`, whose object's type is
    /// unknown.
    #[must_use]
    pub fn deny_attribute(mut self, name: impl Into<String>) -> Self {
        self.deny_attributes.insert(name.into());
        self
    }

    /// Takes back what [`deny_attribute`](Self::deny_attribute) denied.
    #[must_use]
    pub fn allow_attribute(mut self, name: &str) -> Self {
        self.deny_attributes.remove(name);
        self
    }
}

/// The first thing in a cell that its policy denies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The line of the cell, from 1.
    pub line: usize,
    /// The character of that line, from 1.
    pub column: usize,
    /// The rule, as in the policy's configuration: `deny_imports: socket`.
    pub rule: String,
    /// What the cell does there: ``import of `socket` ``.
    pub what: String,
}

impl Violation {
    pub(super) fn new(code: &str, offset: usize, rule: String, what: String) -> Self {
        let before = code.get(..offset).unwrap_or(code);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Self { line, column, rule, what }
    }

    pub(super) fn too_deep() -> Self {
        let what = format!("code nested deeper than {MAX_DEPTH} levels");
        Self { line: 1, column: 1, rule: "nesting".to_owned(), what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocked: line {}: {} is denied by the code policy", self.line, self.what)
    }
}

impl error::Error for Violation {}
