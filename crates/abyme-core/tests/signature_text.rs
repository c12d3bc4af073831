//! `signature!` and the reader of signatures take the same texts.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../abyme-derive/src/signature/text.rs"]
mod text;

use abyme_core::TaskSignature;
use proptest::prelude::*;

/// Parts of signatures, and what is near them.
const PARTS: &[&str] = &[
    "a",
    "b",
    "docs",
    "->",
    "->",
    ",",
    ",",
    ":",
    ":",
    " ",
    "\n",
    "|",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "...",
    "=",
    "str",
    "int",
    "list",
    "List",
    "dict",
    "tuple",
    "set",
    "Optional",
    "Union",
    "Literal",
    "Any",
    "None",
    "typing.",
    "NotRequired[",
    "'k'",
    "\"k\"",
    "'x",
    "1",
    "-2",
    "True",
    "1.5",
    "inte",
    "é",
    ".",
];

fn agree(text: &str) {
    let (checked, read) = (text::names(text), text.parse::<TaskSignature>());
    match (checked, read) {
        (Ok((inputs, outputs)), Ok(signature)) => {
            let names = |fields: &[abyme_core::Field]| {
                fields.iter().map(|field| field.name().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(
                (names(signature.inputs()), names(signature.outputs())),
                (owned(inputs), owned(outputs))
            );
        }
        (Err((at, problem)), Err(error)) => {
            assert!(text.is_char_boundary(at), "{text:?}: {at}: {problem}");
            drop(error);
        }
        // Names are looked at elsewhere.
        (Ok(_), Err(error)) if error.message().contains("Python") || error.message().contains("(NFKC)") => {}
        (checked, read) => panic!("{text:?}: {checked:?}, and {read:?}"),
    }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn they_agree_about_the_forms_there_are() {
    for text in [
        "docs, query -> modules: list[str], total: int",
        "-> a",
        "a: dict[str, tuple[int, ...]] -> b: tuple[()], c: Optional[int], d: Union[int, str, None],",
        "a -> b: {'x': str, 'y': NotRequired[list[int]]} | Literal['a', -1, True, None]",
        "a -> b: datetime.datetime | typing.List[date]",
        "a: decimal.Decimal -> b: time | datetime.timedelta",
        "",
        "a",
        "a ->",
        "a -> a",
        "a, a -> b",
        "a -> b: lst",
        "a -> b: list[int, str]",
        "a -> b: dict[str]",
        "a -> b: Literal[]",
        "a -> b: Literal[1.5]",
        "a -> b: {'x': int, 'x': int}",
        "a -> b: str[int]",
        "a -> b: 'x",
        "a = 1 -> b",
    ] {
        agree(text);
    }
    let deep = |depth: usize| format!("-> a: {}int{}", "list[".repeat(depth), "]".repeat(depth));
    agree(&deep(32));
    agree(&deep(33));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn they_agree_about_texts_near_signatures(
        parts in prop::collection::vec(prop::sample::select(PARTS), 0..14)
    ) {
        agree(&parts.concat());
        agree(&format!("a -> b: {}", parts.concat()));
    }
}
