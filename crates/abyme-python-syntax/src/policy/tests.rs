//! What policies deny and what they let pass.

mod guard_rail;
mod hostile;

use super::{CodePolicy, Violation};

#[track_caller]
fn denied(policy: &CodePolicy, code: &str) -> Violation {
    match policy.check(code) {
        Err(violation) => violation,
        Ok(()) => panic!("passed: {code:?}"),
    }
}

#[track_caller]
fn passes(policy: &CodePolicy, code: &str) {
    if let Err(violation) = policy.check(code) {
        panic!("{violation}: {code:?}");
    }
}

#[test]
fn an_empty_policy_allows_everything() {
    passes(&CodePolicy::new(), "import os\nos.system('x')\nexec(open('y').read())");
}

#[test]
fn messages_name_line_and_cause() {
    let violation =
        denied(&CodePolicy::new().deny_import("socket"), "a = 'é'\nif a:\n    import json, socket");
    assert_eq!(violation.to_string(), "Blocked: line 3: import of `socket` is denied by the code policy");
    assert_eq!((violation.line, violation.column, violation.rule.as_str()), (3, 18, "deny_imports: socket"));
    let violation = denied(&CodePolicy::new().deny_call("os.system"), "getattr(os, name)");
    assert_eq!(
        violation.to_string(),
        "Blocked: line 1: looking up a computed name on `os` is denied by the code policy"
    );
    let violation = denied(&CodePolicy::guard_rail(), "def f():\n    eval('1')\n\nopen('x')");
    assert_eq!((violation.line, violation.what.as_str()), (2, "`eval`"), "the first in the text");
}

#[test]
fn the_longest_import_rule_decides() {
    let policy = CodePolicy::new().deny_import("urllib").allow_import("urllib.parse");
    passes(
        &policy,
        "from urllib import parse\nimport urllib.parse as p\nfrom urllib.parse import quote\nimport urllib3",
    );
    for code in [
        "import urllib",
        "import urllib.request",
        "from urllib import request",
        "from urllib import *",
        "__import__('urllib')",
    ] {
        denied(&policy, code);
    }
    let policy = CodePolicy::new().deny_import("*").allow_import("json");
    passes(&policy, "import json.decoder");
    assert_eq!(denied(&policy, "import re").rule, "deny_imports: *");
}

#[test]
fn rules_can_be_taken_back() {
    let policy = CodePolicy::guard_rail()
        .allow_name("open")
        .allow_call("os.execv")
        .allow_attribute("unlink")
        .allow_import("socket");
    passes(&policy, "open('x')\nimport os, socket\nos.execv(a, b)\np.unlink()");
    denied(&policy, "import os; os.execl(a)");
}

#[test]
fn custom_names_and_calls() {
    let policy = CodePolicy::new().deny_name("llm_query").deny_call("time.sleep");
    assert_eq!(denied(&policy, "llm_query('x')").what, "`llm_query`");
    assert_eq!(denied(&policy, "from time import sleep as s").what, "`time.sleep`");
    passes(&policy, "time.time()\nllm_query_batched([])");
}

#[test]
fn a_policy_is_configuration() {
    let policy: CodePolicy = serde_json::from_str(r#"{"deny_imports": ["socket"]}"#).unwrap();
    assert_eq!(policy, CodePolicy::new().deny_import("socket"));
    let text = serde_json::to_string(&CodePolicy::guard_rail()).unwrap();
    assert_eq!(serde_json::from_str::<CodePolicy>(&text).unwrap(), CodePolicy::guard_rail());
    assert!(
        serde_json::from_str::<CodePolicy>(r#"{"deny_import": []}"#).is_err(),
        "a misspelt rule is no rule"
    );
}
