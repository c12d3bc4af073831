//! What holds for every reply.

use proptest::prelude::*;

use super::super::{Reply, ReplyWatch, fence, is_settled, parse_reply};

/// Pieces that a parser of replies may trip over.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "```",
            "````",
            "~~~",
            "`",
            "python",
            "json",
            "repl",
            "\n",
            "\r\n",
            "\n\n",
            " ",
            "\t",
            "'",
            "\"",
            "'''",
            "\"\"\"",
            "f'",
            "{",
            "}",
            "\\",
            "#",
            "<think>",
            "</think>",
            "<reasoning>",
            "</thinking>",
            "[[ ## code ## ]]",
            "[[ ## completed ## ]]",
            "> ",
            "- ",
            "1. ",
            "x = 1",
            "print(x)",
            "(",
            ")",
            "\0",
            "\u{feff}",
            "é",
            "日本",
            "\u{2028}",
            "{\"reasoning\": \"\", \"code\": \"x\"}",
            "<code>",
            "</code>",
            "<invoke name=\"repl\">",
            "<parameter name=\"code\">",
            "</parameter>",
            "<tool_call>",
            "<|im_end|>",
            "<|im_start|>assistant",
            "<|message|>",
            "to=python",
            "FINAL(",
            "[TOOL_CALLS]",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ]
}

/// Strings whose content looks like the end of everything.
fn trap() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "```",
            "```python",
            "~~~",
            "````",
            "</think>",
            "<think>",
            "[[ ## code ## ]]",
            "[[ ## completed ## ]]",
            "text",
            "  ",
            "it's",
            "# no",
            "{}",
            "é日",
            "x = 1",
        ]),
        0..6,
    )
    .prop_map(|lines| lines.join("\n"))
}

fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        trap()
            .prop_map(|text| format!("a = '''\n{text}\n'''"))
            .prop_filter("an apostrophe next to the quotes", |s| !s.contains("''''")),
        trap().prop_map(|text| format!("b = \"\"\"\n{text}\n\"\"\"")),
        trap().prop_map(|text| format!("c = rf\"\"\"\n{}\n\"\"\"", text.replace("{}", "{x}"))),
        trap().prop_map(|text| format!("d = {:?}", text.replace('\n', " "))),
        trap().prop_map(|text| format!("e = 1  # {}", text.replace('\n', " "))),
        Just("if x:\n    print(f\"{d['a']}\")".to_owned()),
        Just("f = [\n    ~~~1,\n]".to_owned()),
        Just(String::new()),
    ]
}

fn program() -> impl Strategy<Value = String> {
    prop::collection::vec(statement(), 1..6)
        .prop_map(|statements| format!("{}\nprint(1)", statements.join("\n")))
}

fn prose() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "It's",
            "so: \"quoted\"",
            "use `x`",
            "a ```b``` c",
            "\n",
            "(",
            "[1]",
            "`</think>`",
            "don't",
        ]),
        0..6,
    )
    .prop_map(|words| words.join(" "))
}

/// A reply that may stop somewhere: prose and cells, and what a parser may trip over.
fn written() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => piece(),
        2 => prose().prop_map(|prose| format!("{prose}\n")),
        2 => program().prop_map(|code| format!("```python\n{code}\n```\n")),
        1 => program().prop_map(|code| format!("{}\n", fence(&code))),
        1 => prose().prop_map(|prose| format!("<think>{prose}</think>\n")),
        1 => Just("\n".to_owned()),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// What runs, and what a conversation keeps.
fn cell_of(reply: &str) -> Option<(String, String)> {
    match parse_reply(reply) {
        Reply::Code { code, kept, .. } => Some((code, kept)),
        _ => None,
    }
}

fn code_of(reply: &str) -> Option<String> {
    match parse_reply(reply) {
        Reply::Code { code, .. } => Some(code),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        let reply = pieces.concat();
        // What is code stays code when it is shown in a fence and read again.
        if let Some(code) = code_of(&reply) {
            let again = code_of(&fence(&code));
            if crate::parse::is_valid(&code) {
                prop_assert_eq!(again.as_deref().map(str::trim_end), Some(code.trim_end()));
            }
        }
    }

    #[test]
    fn never_panics_on_anything(reply in any::<String>()) {
        let _ = parse_reply(&reply);
        let _ = parse_reply(&fence(&reply));
    }

    #[test]
    fn fenced_code_comes_back(before in prose(), code in program(), after in prose(), crlf in any::<bool>()) {
        let mut reply = format!("{before}\n{}\n{after}", fence(&code));
        if crlf {
            reply = reply.replace('\n', "\r\n");
        }
        prop_assert_eq!(code_of(&reply), Some(code));
    }

    #[test]
    fn short_fences_hold_any_valid_code(
        before in prose(), code in program(), after in prose(), tilde in any::<bool>(),
    ) {
        let mark = if tilde { "~~~" } else { "```" };
        prop_assert_eq!(code_of(&format!("{before}\n{mark}python\n{code}\n{mark}\n{after}")), Some(code.clone()));
        let code = code.trim_start_matches('\n').to_owned();
        prop_assert_eq!(code_of(&format!("<think>{before}</think>\n{code}")), Some(code.clone()));
        prop_assert_eq!(code_of(&format!("[[ ## code ## ]]\n{code}\n\n[[ ## completed ## ]]\n")), Some(code));
    }

    #[test]
    fn what_follows_a_settled_reply_changes_nothing(reply in written(), more in written()) {
        let more = more.replace("<|message|>", "");
        if is_settled(&reply, true) {
            let whole = format!("{reply}{more}");
            prop_assert_eq!(cell_of(&reply), cell_of(&whole), "{:?} + {:?}", reply, more);
        }
        let more = more.replace("</think", "").replace("</thought", "");
        // A closing tag alone would make a thought of what is known to be none.
        if !reply.contains("</th") && is_settled(&reply, false) {
            let whole = format!("{reply}{more}");
            prop_assert_eq!(cell_of(&reply), cell_of(&whole), "{:?} + {:?}", reply, more);
        }
    }

    #[test]
    fn a_watch_settles_where_the_text_does(reply in written(), size in 1usize..20) {
        let mut watch = ReplyWatch::new(false);
        let chars: Vec<char> = reply.chars().collect();
        for piece in chars.chunks(size) {
            if watch.push(&piece.iter().collect::<String>()) {
                prop_assert!(is_settled(watch.text(), false));
            }
        }
        prop_assert_eq!(watch.text(), reply);
    }
}
