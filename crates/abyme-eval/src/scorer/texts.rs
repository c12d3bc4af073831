//! Texts and numbers as scorers read them.

use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization;

/// The sign of a number, as [`signed`] writes it.
const MINUS: char = '\u{2212}';
const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];

/// A value as a text: a text as it is, anything else as JSON, and a whole number without a point.
pub(super) fn text(json: &Json) -> String {
    /// Below it, all whole numbers are there.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match json {
        Json::String(text) => text.clone(),
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            // Minus zero becomes zero.
            Some(whole) if whole.fract() == 0.0 && whole.abs() < EXACT => format!("{:.0}", whole + 0.0),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A text whose signs of numbers are minuses, and all other dashes of these kinds are hyphens. A sign stands
/// before a number, with a currency between them or not, and not after a word or another number.
pub(super) fn signed(text: &str) -> String {
    let (mut signed, mut before) = (String::with_capacity(text.len()), ' ');
    for (at, char) in text.char_indices() {
        let is_dash = matches!(char, '-' | MINUS);
        let number = text[at + char.len_utf8()..].trim_start_matches(CURRENCIES);
        if is_dash && !before.is_alphanumeric() && number.starts_with(char::is_numeric) {
            before = MINUS;
        } else if before == MINUS && CURRENCIES.contains(&char) {
            // It would stand between the sign and its number.
            continue;
        } else {
            before = if is_dash { '-' } else { char };
        }
        signed.push(before);
    }
    signed
}

/// The words of a text in small letters, with one space between them, without articles. Numbers keep their
/// signs.
pub(crate) fn normalized(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    let letters: String = signed(&composed).chars().flat_map(char::to_lowercase).collect();
    let words =
        letters.split(|char: char| !char.is_alphanumeric() && char != MINUS).filter(|word| !word.is_empty());
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
