//! Sets and pairs as scorers read them.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::texts::{normalized, signed, text};

/// The harmonic mean of precision and recall; 1 where both sets are empty.
pub(super) fn f1<T: Ord>(answer: &BTreeSet<T>, expected: &BTreeSet<T>) -> f64 {
    let both = answer.intersection(expected).count() as f64;
    match answer.len() + expected.len() {
        0 => 1.0,
        all => 2.0 * both / all as f64,
    }
}

/// The items of a list, or of a text that lists them.
pub(super) fn items(json: &Json) -> BTreeSet<String> {
    let listed: Vec<String> = match list(json) {
        Some(listed) => listed.iter().map(text).collect(),
        None => text(json).split(['\n', ',', ';']).map(str::to_owned).collect(),
    };
    listed.iter().map(|item| normalized(item)).filter(|item| !item.is_empty()).collect()
}

/// The pairs of a list, or those in a text; each with its smaller item first.
pub(super) fn pairs(json: &Json) -> BTreeSet<(String, String)> {
    let pair = |items: Vec<String>| match <[String; 2]>::try_from(items) {
        Ok([a, b]) if !a.is_empty() && !b.is_empty() => Some(if a <= b { (a, b) } else { (b, a) }),
        _ => None,
    };
    let normal = |item: &str| normalized(item);
    match list(json) {
        Some(listed) => {
            let of = |item: &Json| match item {
                Json::Array(two) => pair(two.iter().map(|item| normal(&text(item))).collect()),
                other => in_text(&text(other)).into_iter().find_map(&pair),
            };
            listed.iter().filter_map(of).collect()
        }
        None => in_text(&text(json)).into_iter().filter_map(pair).collect(),
    }
}

/// What may be a pair in a text: what stands in the innermost brackets with one comma, or else the lines of
/// two words.
fn in_text(text: &str) -> Vec<Vec<String>> {
    let groups = text.split(['(', '[']).skip(1).filter_map(|after| Some(after.split_once([')', ']'])?.0));
    let split = |group: &str, at: &[char]| group.split(at).map(normalized).collect::<Vec<_>>();
    let bracketed: Vec<_> =
        groups.map(|group| split(group, &[','])).filter(|group| group.len() == 2).collect();
    if !bracketed.is_empty() {
        return bracketed;
    }
    let signed = signed(text);
    let lines = signed.lines().map(|line| {
        let words = line.split(|char: char| char.is_whitespace() || matches!(char, ',' | '-' | '–' | ';'));
        words.map(normalized).filter(|word| !word.is_empty()).collect::<Vec<_>>()
    });
    lines.collect()
}

/// A list, also one that is written as JSON in a text.
fn list(json: &Json) -> Option<Vec<Json>> {
    match json {
        Json::Array(listed) => Some(listed.clone()),
        Json::String(text) => serde_json::from_str(text.trim()).ok(),
        _ => None,
    }
}
