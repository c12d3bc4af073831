//! Values in the text of a reply: JSON or a Python literal, alone, in a fence, or in prose.

use indexmap::IndexMap;

use crate::value::{Dialect, Reader, Value};

/// Opening brackets of a reply that are looked at.
const MAX_OPENINGS: usize = 200;

/// The value that a text consists of, in a fence or not.
pub(in crate::rlm) fn whole_value(text: &str) -> Option<Value> {
    let text = unfenced(text.trim());
    let read = |dialect| Reader::new(text, 0, dialect).only_value().ok();
    read(Dialect::Json).or_else(|| read(Dialect::Python))
}

/// The dicts and lists in a text, in order, without those that are inside of others. Models may show an
/// example or a draft before the one that counts.
pub(in crate::rlm) fn structures(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..MAX_OPENINGS {
        let Some(start) = text.get(at..).and_then(|rest| rest.find(['{', '['])) else { break };
        at += start;
        let read = |dialect| {
            let mut reader = Reader::new(text, at, dialect);
            reader.value().ok().map(|value| (value, reader.position()))
        };
        match read(Dialect::Json).or_else(|| read(Dialect::Python)) {
            Some((value, end)) => {
                found.push(value);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// The last dict in a text, fenced or not.
pub(in crate::rlm) fn last_dict(text: &str) -> Option<IndexMap<String, Value>> {
    structures(text).into_iter().rev().find_map(|value| match value {
        Value::Dict(fields) => Some(fields),
        _ => None,
    })
}

/// A text without the fence of Markdown around it.
pub(in crate::rlm) fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|inner| inner.strip_suffix("```"));
    let inner = inner.and_then(|inner| inner.split_once('\n'));
    inner.map_or(text, |(_, inner)| inner.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_dict_counts() {
        let text = "Like {\"a\": 1}? No {braces}:\n\
                    ```json\n{\"a\": {\"b\": 2}, \"c\": 123456789012345678901234567890}\n```\n";
        let fields = last_dict(text).unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(fields["c"], Value::BigInt("123456789012345678901234567890".into()));
        assert_eq!(last_dict("no { object"), None);
        assert_eq!(last_dict("So: {'a': None, 'b': 2,}").unwrap()["a"], Value::None);
        assert_eq!(last_dict("no } { dict"), None);
    }

    #[test]
    fn the_whole_may_be_fenced_and_of_either_language() {
        for text in ["[1, null]", " [1, None] ", "```json\n[1, null]\n```", "```\n(1, None,)\n```\n"] {
            assert_eq!(whole_value(text), Some(Value::list([Value::from(1), Value::None])), "{text}");
        }
        assert_eq!(whole_value("Here: [1]"), None);
    }

    #[test]
    fn what_is_inside_of_another_is_not_counted_again() {
        let found = structures("see [1], then [{'a': [2]}, {'a': None}] and {\"b\": []}");
        let shown: Vec<_> = found.iter().map(|value| value.repr(80)).collect();
        assert_eq!(shown, ["[1]", "[{'a': [2]}, {'a': None}]", "{'b': []}"]);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::None),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z{}\\[\\]'\"\\\\ \n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec(("[a-z'{]{0,4}", inner), 0..4)
                    .prop_map(|entries| Value::Dict(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\[\\]{}'\":,a\\\\0-9 \n`]{0,60}") {
            structures(&text);
            whole_value(&text);
        }

        #[test]
        fn a_structure_in_prose_is_found_in_both_languages(value in values()) {
            let value = Value::list([value]);
            for written in [value.to_json().to_string(), value.repr(usize::MAX)] {
                prop_assert_eq!(whole_value(&written), Some(value.clone()));
                let text = format!("Well, here it is:\n```\n{written}\n```\nThat is all.");
                prop_assert_eq!(structures(&text), vec![value.clone()]);
            }
        }
    }
}
