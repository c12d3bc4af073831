//! Random programs: the same one observes the same on every backend.
//!
//! They are made from a seed, of what Python has had for long, so that versions do not differ: no text of an
//! error is compared, only its type and line. `ABYME_TEST_PROGRAMS` sets how many there are (12 without it),
//! and `ABYME_TEST_SEED` where they begin.

use abyme::{Cell, Observation};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    Backend,
    program::{Run, reference},
};

/// Cells of a program.
const CELLS: usize = 6;
/// The first cell: variables of many types, and a way to see how a random expression fails.
const BEGIN: &str = "n = 7\n\
    v0, v1, v2, v3, v4 = 3, 'ab', [1, 'x', None], {'k': [2]}, 2.5\n\
    def attempt(do):\n    try: return do()\n    except Exception as e: return type(e).__name__";
/// How deep expressions are nested.
const DEPTH: u32 = 3;

/// Writes a program.
struct Writer(StdRng);

impl Writer {
    fn one_of(&mut self, of: &[&str]) -> String {
        of[self.0.random_range(0..of.len())].to_owned()
    }

    /// A variable: some are never set, and then it is a `NameError`.
    fn name(&mut self) -> String {
        format!("v{}", self.0.random_range(0..6))
    }

    fn expression(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.0.random_range(0..9) {
                0..3 => self.name(),
                3 => self.0.random_range(-9..100).to_string(),
                4 => self.one_of(&["10**30", "-(2**70)", "0", "True", "None", "1.5", "-0.0", "1e300"]),
                5 => self.one_of(&["''", "'a'", "'naïve 日本'", "'🦀\\n\\t'", "'\\x00'"]),
                6 => self.one_of(&["b''", "b'\\xff\\x00'", "[]", "{}", "()"]),
                7 => self.one_of(&["len", "str", "int", "sorted"]),
                _ => "n".to_owned(),
            };
        }
        let (a, b) = (self.expression(depth - 1), self.expression(depth - 1));
        match self.0.random_range(0..20) {
            0 => format!("({a}, {b})"),
            1 => format!("[{a}, {b}, {a}]"),
            2 => format!("{{'k': {a}, 'ключ': {b}}}"),
            3..6 => format!(
                "({a} {} {b})",
                self.one_of(&["+", "-", "//", "%", "/", "==", "!=", "<", "and", "or"])
            ),
            6 => format!("({a} if {b} else {a})"),
            7 => format!("[{a} for n in range({})]", self.0.random_range(0..5)),
            8 => format!("f'{{{}!r:>{}}}|{{n}}'", self.name(), self.0.random_range(0..20)),
            9 => format!("str({a})[{}:{}]", self.0.random_range(-4..4), self.0.random_range(-4..9)),
            10 => format!("repr({a})"),
            11 => format!("len({a})"),
            12 => {
                format!("{}({a})", self.one_of(&["type", "bool", "list", "str", "abs", "sum", "max"]))
                    + &self.one_of(&["", "", ".__class__.__name__"])
            }
            13 => format!("give({a})"),
            14 => format!("add({a}, {b})"),
            15 => format!("any_of({a}, k={b})"),
            16 => format!("json.dumps({a}, sort_keys=True, default=repr)"),
            17 => format!("re.findall('[a-z0-9]+', str({a}))"),
            18 => format!("sorted([{a}, {b}], key=repr)"),
            // Nothing grows faster than this: memory is another matter.
            _ => format!("({a}[{b}], {a} * 2)"),
        }
    }

    fn statement(&mut self, indent: usize, depth: u32) -> String {
        let pad = "    ".repeat(indent);
        let (name, value) = (self.name(), self.expression(DEPTH - depth.min(2)));
        if depth >= 2 {
            return format!("{pad}{name} = {value}\n");
        }
        // Only outside of functions are functions called: none calls itself.
        let kinds = if depth == 0 { 12 } else { 10 };
        match self.0.random_range(0..kinds) {
            0..4 => format!("{pad}{name} = {value}\n"),
            4 => format!("{pad}print({value}, {name})\n"),
            5 => format!("{pad}{name} {} {value}\n", self.one_of(&["+=", "-=", "//="])),
            6 => format!(
                "{pad}if {value}:\n{}{pad}else:\n{}",
                self.statement(indent + 1, depth + 1),
                self.statement(indent + 1, depth + 1)
            ),
            7 => format!(
                "{pad}for n in range({}):\n{}",
                self.0.random_range(0..4),
                self.statement(indent + 1, depth + 1)
            ),
            8 => format!(
                "{pad}try:\n{}{pad}except Exception as e:\n{pad}    print('caught', type(e).__name__)\n",
                self.statement(indent + 1, depth + 1)
            ),
            9 => format!(
                "{pad}def f{}(n=1, *more):\n{}{pad}    return {value}\n",
                self.0.random_range(0..3),
                self.statement(indent + 1, depth + 1)
            ),
            // Functions are called and are no values: their addresses differ.
            10 => format!("{pad}{name} = f{}({value})\n", self.0.random_range(0..3)),
            _ => format!("{pad}del {name}\n"),
        }
    }

    fn cell(&mut self) -> String {
        let statements = self.0.random_range(1..6);
        let mut code = String::new();
        for _ in 0..statements {
            // A random statement mostly fails, and then the rest of its cell would not run.
            match self.0.random_bool(0.8) {
                true => code.push_str(&format!(
                    "try:\n{}except Exception as e:\n    print('caught', type(e).__name__)\n",
                    self.statement(1, 0)
                )),
                false => code.push_str(&self.statement(0, 0)),
            }
        }
        let value = format!("attempt(lambda: {})", self.expression(DEPTH));
        code.push_str(&match self.0.random_range(0..10) {
            0 => format!("raise {}({})\n", self.one_of(&["ValueError", "KeyError"]), self.name()),
            1 => format!("SUBMIT({value}, [1])\n"),
            2 => format!("FINAL({value})\n"),
            _ => value,
        });
        code
    }
}

/// What has to be the same in all versions of Python.
fn plain(seen: &Observation) -> String {
    // An address of an object is of its session.
    let bare = |text: String| match text.contains(" at 0x") {
        true => "(an address)".to_owned(),
        false => text,
    };
    let error = seen.error.as_ref().map(|error| (error.type_name.clone(), error.stage, error.line));
    let changed: Vec<_> = seen.changed.iter().map(|one| &one.name).collect();
    format!(
        "stdout: {:?}\nvalue: {:?}\nerror: {error:?}\nchanged: {changed:?}\nsubmission: {}\n{:?} {:?}",
        bare(seen.stdout.to_string()),
        seen.value.as_ref().map(|value| bare(value.to_string())),
        bare(format!("{:?}", seen.submission)),
        seen.interruption,
        seen.session_ended,
    )
}

/// Every cell of every program gives the same as on the reference.
pub(crate) async fn random_programs_observe_the_same(backend: Backend) {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (programs, seed) = (number("ABYME_TEST_PROGRAMS", 12), number("ABYME_TEST_SEED", 17));
    let name = backend.name().to_owned();
    let (mut failed, mut submitted, mut printed) = (0, 0, 0);
    for program in seed..seed + programs {
        let mut writer = Writer(StdRng::seed_from_u64(program));
        let (mut here, mut there) = (Run::new(reference()).await, Run::new(backend.clone()).await);
        let mut cells = vec![BEGIN.to_owned()];
        cells.extend((0..CELLS).map(|_| writer.cell()));
        for code in cells {
            let cell = Cell::new(code.clone()).scope(crate::program::scope().into());
            let (seen, other) = tokio::join!(here.execute(cell.clone()), there.execute(cell));
            let (seen, other) = (seen.unwrap(), other.unwrap());
            failed += u32::from(seen.error.is_some());
            submitted += u32::from(seen.submission.is_some());
            printed += u32::from(!seen.stdout.is_empty());
            let (seen, other) = (plain(&seen), plain(&other));
            assert_eq!(seen, other, "program {program} on {name}:\n{code}");
            assert_eq!(here.calls(), there.calls(), "calls of program {program} on {name}:\n{code}");
        }
    }
    // Programs that all fail at once, or never, would try little.
    if programs >= 12 {
        assert!(failed > 3 && submitted > 2 && printed > 5, "{failed} {submitted} {printed}");
        assert!(u64::from(failed) < programs * CELLS as u64 * 2 / 3, "{failed}");
    }
}
