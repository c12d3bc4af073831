//! Texts and numbers as scorers read them.

use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization;

/// A value as a text: a text as it is, anything else as JSON.
pub(super) fn text(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The words of a text in small letters, with one space between them, without articles.
pub(crate) fn normalized(text: &str) -> String {
    let letters: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let words = letters.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty());
    let all: Vec<_> = words.collect();
    let others: Vec<_> = all.iter().copied().filter(|word| !matches!(*word, "a" | "an" | "the")).collect();
    // The answer A is no article, also with one before it.
    if others.is_empty() { all.last().copied().unwrap_or_default().to_owned() } else { others.join(" ") }
}

/// A number, the number that a text is, or the last one in it.
pub(super) fn number(json: &Json) -> Option<f64> {
    let text = match json {
        Json::Number(number) => return number.as_f64(),
        Json::String(text) => text.replace('\u{2212}', "-"),
        _ => return None,
    };
    if let Ok(number) = text.trim().parse::<f64>() {
        return Some(number).filter(|number| number.is_finite());
    }
    let is_part = |char: char| char.is_ascii_digit() || matches!(char, '.' | ',' | '-');
    let candidates = text.split(|char: char| !is_part(char)).map(|part| {
        let digits: String = part.trim_end_matches(['.', ',', '-']).replace(',', "");
        // A dash before the last number of a range, or of a date, is no sign.
        let from = digits.rfind('-').filter(|at| *at > 0).map_or(0, |at| at + 1);
        digits[from..].parse().ok()
    });
    candidates.flatten().last()
}
