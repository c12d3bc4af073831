//! Tests of the grammar and its messages.

use proptest::prelude::*;

use crate::signature::{FieldType, TaskSignature};

#[test]
fn types_are_read_and_written_as_annotations() {
    for (text, annotation) in [
        ("str", "str"),
        (" typing.Any ", "Any"),
        ("object", "Any"),
        ("NoneType", "None"),
        ("list", "list"),
        ("List[Any]", "list"),
        ("list[list[int]]", "list[list[int]]"),
        ("typing.Dict[str,int]", "dict[str, int]"),
        ("dict", "dict"),
        ("dict[str, dict]", "dict[str, dict]"),
        ("tuple", "tuple"),
        ("tuple[int,str,]", "tuple[int, str]"),
        ("tuple[int]", "tuple[int]"),
        ("Tuple[ int , ... ]", "tuple[int, ...]"),
        ("tuple[ ( ) ]", "tuple[()]"),
        ("frozenset[str]", "set[str]"),
        ("set", "set"),
        ("int|None", "int | None"),
        ("Optional[int | str]", "int | str | None"),
        ("typing.Union[int, Union[str, int], None]", "int | str | None"),
        ("Union[int]", "int"),
        ("None | None", "None"),
        ("datetime", "datetime"),
        ("datetime.datetime", "datetime"),
        ("datetime.date | bytes", "date | bytes"),
        ("decimal.Decimal | datetime.timedelta", "Decimal | timedelta"),
        ("time", "time"),
        (r#"Literal["a", 'b', 1, -2, True, None, "a"]"#, "Literal['a', 'b', 1, -2, True, None]"),
        (r#"Literal["a, b] -> c|", "it's", 'é\n\u00e9']"#, r#"Literal['a, b] -> c|', "it's", 'é\né']"#),
        ("Literal[123456789012345678901]", "Literal[123456789012345678901]"),
        (
            "{'name':str,\"it's\" : NotRequired[ int|None ],}",
            r#"{'name': str, "it's": NotRequired[int | None]}"#,
        ),
        ("list[{'a': {'b': Literal['}']}}] | None", "list[{'a': {'b': Literal['}']}}] | None"),
        ("{}", "dict"),
        ("dict[\n  str,\n  list[Literal['x']]\n]", "dict[str, list[Literal['x']]]"),
    ] {
        let ty: FieldType = text.parse().unwrap();
        assert_eq!(ty.to_string(), annotation);
        assert_eq!(annotation.parse::<FieldType>().unwrap(), ty);
    }
}

#[test]
fn signatures_are_read() {
    for (text, canonical) in [
        ("question -> answer", "question -> answer"),
        ("docs,query->modules:list[str],total:int", "docs, query -> modules: list[str], total: int"),
        ("-> numbers: list[int]", "-> numbers: list[int]"),
        ("\n  docs : str ,\n  query,\n->\n  answer : str ,\n", "docs: str, query -> answer: str"),
        ("a: Literal['->', ','] -> b", "a: Literal['->', ','] -> b"),
        ("interpreter, tools -> list: list[str], print", "interpreter, tools -> list: list[str], print"),
    ] {
        assert_eq!(text.parse::<TaskSignature>().unwrap().to_string(), canonical);
    }
}

const ONE_OF: &str = "one of str, int, float, bool, list, dict, tuple, set, Literal, Optional, Union, Any, \
    None, bytes, date, time, datetime, timedelta, Decimal";

#[test]
fn errors_point_at_the_place_and_say_what_was_expected() {
    for (text, message) in [
        (
            "",
            "at 0: expected `->` and the outputs after the inputs, as in `docs -> answer`, found the end"
                .to_owned(),
        ),
        ("docs", "at 4: expected `,` or `->`, found the end".to_owned()),
        ("docs, query", "at 11: expected `,` or `->`, found the end".to_owned()),
        ("docs ->", "at 7: expected at least one output after `->`, found the end".to_owned()),
        ("docs -> a -> b", "at 10: expected `,` or the end, found `->`".to_owned()),
        ("docs,, q -> a", "at 5: expected the name of an input, found `,`".to_owned()),
        ("-> : int", "at 3: expected the name of an output, found `:`".to_owned()),
        ("my docs -> a", "at 3: expected `,` or `->`, found `docs`".to_owned()),
        (
            "my-docs -> a",
            "at 0: `my-docs` is not a Python name: `-` cannot be part of one; `my_docs` can be used"
                .to_owned(),
        ),
        ("d -> class", "at 5: `class` is a keyword of Python; use another name, such as `class_`".to_owned()),
        ("a, a -> b", "at 3: the input `a` comes twice; give each its own name".to_owned()),
        ("a -> b, b: int", "at 8: the output `b` comes twice; give each its own name".to_owned()),
        (
            "a -> a",
            "at 5: `a` is an input and cannot be an output as well; call the output something like `new_a`"
                .to_owned(),
        ),
        ("docs -> total: inte", format!("at 15: unknown type `inte`, did you mean `int`? Expected {ONE_OF}")),
        (
            "docs -> total: String",
            format!("at 15: unknown type `String`, did you mean `str`? Expected {ONE_OF}"),
        ),
        ("docs -> total: Module", format!("at 15: unknown type `Module`; expected {ONE_OF}")),
        ("é -> b: list[", "at 13: expected a type, found the end".to_owned()),
        ("a -> b: list[int", "at 16: expected `,` or `]`, found the end".to_owned()),
        ("a -> b: list[int, str]", "at 12: `list` takes one type, not 2".to_owned()),
        ("a -> b: list[]", "at 12: `list` takes one type, not 0".to_owned()),
        ("a -> b: dict[str]", "at 12: `dict` takes two types, of keys and of values, not 1".to_owned()),
        ("a -> b: int[str]", "at 11: `int` takes no more `[...]`".to_owned()),
        ("a -> b:", "at 7: expected a type, found the end".to_owned()),
        ("a -> b: int |", "at 13: expected a type, found the end".to_owned()),
        ("a -> b: int = 3", "at 12: expected `,` or the end, found `=`; a field has no default".to_owned()),
        ("a -> b: 'int'", "at 8: expected a type, found `'`".to_owned()),
        ("a -> b: Optional", "at 16: expected `[` and a type after `Optional`, found the end".to_owned()),
        ("a -> b: Union[]", "at 15: expected `[` and types after `Union`, found the end".to_owned()),
        ("a -> b: tuple[...]", format!("at 14: unknown type `...`; expected {ONE_OF}")),
        ("a -> b: tuple[int, ..., str]", "at 22: expected `]` after `...`, found `,`".to_owned()),
        ("a -> b: Literal[]", "at 15: Literal needs at least one option".to_owned()),
        (
            "a -> b: Literal[1.5]",
            "at 16: expected a text in quotes, an int, True, False or None, found `1`".to_owned(),
        ),
        ("a -> b: Literal['x]", "at 16: a text that does not end".to_owned()),
        ("a -> b: 漢", format!("at 8: unknown type `漢`; expected {ONE_OF}")),
        ("a -> b: int 😀", "at 12: expected `,` or the end, found `😀`".to_owned()),
    ] {
        let error = text.parse::<TaskSignature>().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Signature);
        assert_eq!(error.to_string(), format!("signature \"{text}\": {message}"));
    }
}

#[test]
fn the_report_draws_a_caret() {
    let error = "docs ->\n  énd: int,\n  total: inte".parse::<TaskSignature>().unwrap_err();
    let report = format!("{error:?}");
    assert!(report.ends_with("\n      total: inte\n             ^"), "{report}");
    assert!(!error.to_string().contains('\n'));
    let error = "x".repeat(10_000).parse::<FieldType>().unwrap_err().to_string();
    assert!(error.len() < 500, "{error}");
}

#[test]
fn depth_is_limited() {
    let nested =
        |depth: usize| format!("{}int{}", "list[".repeat(depth), "]".repeat(depth)).parse::<FieldType>();
    assert!(nested(32).is_ok());
    assert!(nested(33).unwrap_err().to_string().ends_with("types are nested deeper than 32 levels"));
    assert!("tuple[".repeat(100_000).parse::<FieldType>().is_err());
    assert!("Optional[".repeat(100_000).parse::<FieldType>().is_err());
}

/// What signatures are made of, and what is not one of theirs.
const TOKENS: &[&str] = &[
    "a", "b", ":", ",", "->", " ", "\n", "list", "dict", "tuple", "Literal", "Optional", "Union", "int", "[",
    "]", "(", ")", "...", "|", "'x'", "\"", "é", "1", "-", "=", "None", "typing.", "\\",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = text.parse::<TaskSignature>();
        let _ = text.parse::<FieldType>();
    }

    #[test]
    fn nor_does_near_grammar(
        tokens in prop::collection::vec(
            prop::sample::select(TOKENS),
            0..20,
        ),
    ) {
        let text = tokens.concat();
        if let Ok(signature) = text.parse::<TaskSignature>() {
            prop_assert_eq!(signature.to_string().parse::<TaskSignature>().unwrap(), signature);
        }
        let _ = text.parse::<FieldType>();
    }
}
