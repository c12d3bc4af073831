//! Tests of names.

use proptest::prelude::*;

use super::*;

#[test]
fn the_lists_are_sorted_for_binary_search() {
    for names in [KEYWORDS, RESERVED, RELIED_ON] {
        assert!(names.is_sorted(), "{names:?}");
        assert!(names.iter().all(|name| KEYWORDS.contains(name) || check_identifier(name).is_ok()));
    }
}

#[test]
fn ordinary_names_are_fine() {
    for name in [
        "docs",
        "query",
        "x",
        "_",
        "_private",
        "café",
        "数据",
        "input",
        "id",
        "type",
        "match",
        "case",
        "text",
        "context",
        "format",
        "hash",
        "map",
        "copy",
        "string",
        "interpreter",
        "tools",
        "date",
        "a1",
        "Übung",
    ] {
        for usage in [NameUse::Input, NameUse::Output, NameUse::Tool] {
            assert_eq!(check_name(name, usage), Ok(()), "{name}");
        }
    }
    for name in ["answer", "list", "json", "print", "status", "usage", "trajectory"] {
        assert_eq!(check_name(name, NameUse::Output), Ok(()));
    }
    assert_eq!(check_name("answer", NameUse::Input), Ok(()));
}

#[test]
fn every_problem_says_what_to_do() {
    use NameUse::*;
    for (name, usage, message) in [
        ("", Input, "a name is missing: write a Python name, such as `docs`"),
        (
            "my docs",
            Input,
            "`my docs` is not a Python name: ` ` cannot be part of one; `my_docs` can be used",
        ),
        (
            "my-docs",
            Output,
            "`my-docs` is not a Python name: `-` cannot be part of one; `my_docs` can be used",
        ),
        ("2nd", Input, "`2nd` is not a Python name: `2` cannot start one; `_2nd` can be used"),
        ("a\n", Input, "`a\\n` is not a Python name: `\\n` cannot be part of one; `a` can be used"),
        ("-", Input, "`-` is not a Python name: `-` cannot be part of one; use letters, digits and `_`"),
        ("😀", Input, "`😀` is not a Python name: `😀` cannot be part of one; use letters, digits and `_`"),
        ("class", Output, "`class` is a keyword of Python; use another name, such as `class_`"),
        ("ﬁle", Input, "Python reads the name `ﬁle` as `file` (NFKC); write it that way"),
        ("cafe\u{301}", Input, "Python reads the name `cafe\u{301}` as `café` (NFKC); write it that way"),
        ("__name__", Input, "the name `__name__` belongs to Python, in every module; use another name"),
        (
            "answer",
            Tool,
            "`answer` cannot be a tool: the session provides something of that name; use another \
             name, such as `my_answer`",
        ),
        (
            "SUBMIT",
            Output,
            "`SUBMIT` cannot be an output: the session provides something of that name; use another \
             name, such as `SUBMIT_value`",
        ),
        (
            "print",
            Tool,
            "`print` cannot be a tool: it would hide the Python name that the model's code relies on; use \
             another name, such as `my_print`",
        ),
    ] {
        assert_eq!(check_name(name, usage).map_err(|problem| problem.to_string()), Err(message.to_owned()));
    }
    assert_eq!(Error::from(check_name("if", Tool).unwrap_err()).kind(), ErrorKind::InvalidInput);
}

#[test]
fn messages_are_short_however_long_the_name() {
    let message = check_identifier(&"x ".repeat(10_000)).unwrap_err().to_string();
    assert!(message.len() < 250, "{message}");
}

proptest! {
    #[test]
    fn no_name_makes_it_panic(name in any::<String>()) {
        for usage in [NameUse::Input, NameUse::Output, NameUse::Tool] {
            let _ = check_name(&name, usage);
        }
    }
}
