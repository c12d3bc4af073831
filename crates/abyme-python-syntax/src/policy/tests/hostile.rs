//! Cells made to break the check itself.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::CodePolicy;
use super::denied;
use crate::parse::{MAX_DEPTH, Parsed, parse};

/// Ways for a tree to get deep: what goes before, around the middle, and after, many times.
const DEEP: &[(&str, &str, &str)] = &[
    ("(", "x", ")"),
    ("[", "x", "]"),
    ("{", "x", "}"),
    ("{0: ", "x", "}"),
    ("f(", "x", ")"),
    ("a[", "x", "]"),
    ("-", "x", ""),
    ("not ", "x", ""),
    ("", "x", ".a"),
    ("", "x", "()"),
    ("", "x", "[0]"),
    ("", "x", "+1"),
    ("", "x", "**x"),
    ("", "'x'", "+'y'"),
    ("lambda a, b: ", "x", ""),
    ("x if y else ", "x", ""),
    ("x if y or z else ", "x", ""),
    ("await ", "x", ""),
    ("[x for x in ", "y", "]"),
    ("f\"{", "x", "}\""),
    ("(a := ", "x", ")"),
    ("not (a, -", "x", ")"),
    ("lambda: (yield ", "x", ")"),
    ("async ", "x", ""),
    ("if x: ", "y", ""),
    ("(a, ", "b", ")"),
    ("", "(x)", " < (y)"),
];

fn repeated((before, middle, after): (&str, &str, &str), times: usize) -> String {
    format!("{}{middle}{}", before.repeat(times), after.repeat(times))
}

fn blocks(times: usize) -> String {
    let lines: Vec<_> = (0..times).map(|depth| format!("{}if x:", " ".repeat(depth))).collect();
    format!("{}\n{}eval('1')", lines.join("\n"), " ".repeat(times))
}

/// A quarter of the stack that threads have by default is enough in a debug build, at any depth.
#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let check = || {
        let policy = CodePolicy::guard_rail();
        for &shape in DEEP {
            for times in [10, MAX_DEPTH / 4, MAX_DEPTH / 2, MAX_DEPTH - 1, MAX_DEPTH, 100_000] {
                let _ = policy.check(&repeated(shape, times));
                let _ = policy.check(&format!("[{}", repeated(shape, times)));
                let _ = policy.check(&format!("match x:\n case {}: pass", repeated(shape, times)));
            }
        }
        for times in [10, MAX_DEPTH / 2, MAX_DEPTH - 2, 2_000] {
            let _ = policy.check(&blocks(times));
            let _ = policy.check(&blocks(times).replace("if x:", "def f():"));
            let _ = policy.check(&blocks(times).replace("if x:", "class A:"));
        }
    };
    let thread = thread::Builder::new().stack_size(512 << 10).spawn(check).unwrap();
    thread.join().unwrap();
}

#[test]
fn absurd_nesting_is_refused_and_ordinary_nesting_is_not() {
    assert_eq!(denied(&CodePolicy::guard_rail(), &repeated(("(", "x", ")"), 100_000)).rule, "nesting");
    assert_eq!(denied(&CodePolicy::guard_rail(), &repeated(("", "x", "+1"), 100_000)).rule, "nesting");
    denied(&CodePolicy::guard_rail(), &blocks(50));
    let wide = [
        format!("x = [{}]", "-1, a.b.c(-1)[0], ".repeat(2_000)),
        format!("x = {}", vec!["a == -1"; 2_000].join(" or ")),
        format!("x = {{{}}}", "'a': {'b': [1, {'c': -2}]}, ".repeat(500)),
        "x = a.b(c).d(e)\n".repeat(2_000),
        format!("f({})", vec!["x"; 120].join(" + ")),
        format!("if x:\n    pass\n{}", "elif y:\n    pass\n".repeat(500)),
    ];
    for code in wide {
        assert!(matches!(parse(&code), Parsed::Module(_)), "{}", &code[..40]);
    }
}

#[test]
fn invalid_code_passes() {
    for code in ["open(", "import socket import", "'''", "(]", "f'{", "`x`", "def f(:\n open('x')"] {
        assert_eq!(CodePolicy::guard_rail().check(code), Ok(()), "{code}");
    }
}

#[test]
fn large_cells_are_quick() {
    for code in [
        "s = 'a'\n".to_owned() + &"s = s + s\n".repeat(20_000),
        "import os as a\n".to_owned() + &"a = a.b.c\n".repeat(20_000),
        "a = vars(os)\n".repeat(20_000),
        (0..10_000).map(|n| format!("def f{n}():\n  x{n} = open\n")).collect::<Vec<_>>().concat(),
    ] {
        let start = Instant::now();
        let _ = CodePolicy::guard_rail().check(&code);
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}: {}", start.elapsed(), &code[..20]);
    }
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "import ",
            "from ",
            "os",
            "socket",
            "open",
            "getattr",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ".",
            ",",
            ":",
            ";",
            "=",
            "+=",
            ":=",
            "\n",
            "\n  ",
            "def f",
            "class A",
            "lambda ",
            "if ",
            "else ",
            "for ",
            "in ",
            "with ",
            " as ",
            "try:",
            "except ",
            "match ",
            "case ",
            "*",
            "'system'",
            "f'{x}'",
            "f'",
            "\"\"\"",
            "\\",
            "#",
            "é",
            "\0",
            "__builtins__",
            "global ",
            "del ",
            "not ",
            "async ",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_panics(tokens in prop::collection::vec(token(), 0..60)) {
        let _ = CodePolicy::guard_rail().check(&tokens.concat());
    }

    #[test]
    fn never_panics_on_anything(code in any::<String>()) {
        let _ = CodePolicy::guard_rail().check(&code);
    }
}
