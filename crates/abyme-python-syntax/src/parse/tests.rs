//! Parsing, and telling code from prose.

use super::{is_code, is_program, is_valid};

#[test]
fn programs_and_prose() {
    for code in [
        "print(1)",
        "x = 1",
        "import os",
        "for a in b:\n  pass",
        "docs[0]",
        "[x for x in y]",
        "len(a) > 2",
        "a.b(c).d",
        "f'{x}'",
    ] {
        assert!(is_program(code), "{code}");
    }
    for text in
        ["x", "yes, no", "a.b", "Answer: 42", "-1", "return", "f (x)", "docs [0]", "{'a': 1}", "", "a or b"]
    {
        assert!(!is_program(text), "{text}");
    }
}

#[test]
fn code_and_data() {
    for code in ["x", "x + 1", "[x]", "f(1)"] {
        assert!(is_code(code), "{code}");
    }
    for data in ["1", "'a'", "{'a': [1, -2, null]}", "[true]", "a: int", ""] {
        assert!(!is_code(data), "{data}");
    }
}

#[test]
fn broken_code_is_not_valid() {
    for code in ["(", ")", "(]", "'", "f'{x'", "```", "x y", "\0"] {
        assert!(!is_valid(code), "{code}");
    }
}
