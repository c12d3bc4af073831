//! How an answer is compared with the expected one.

mod sets;
mod texts;

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value as Json;

use self::{
    sets::{f1, items, pairs},
    texts::{normalized, number, text},
};

/// How an answer is compared with the expected one. The score is from 0 to 1.
///
/// In JSON it is a name, `"text"`, or a name with options, `{"number": {"relative": 0.01}}`. Where the
/// expected answer is a list, [`Exact`](Self::Exact) and [`Text`](Self::Text) take any of its items.
///
/// ```
/// use abyme_eval::Scorer;
/// use serde_json::json;
///
/// assert_eq!(Scorer::Text.score(&json!("The Lighthouse."), &json!("lighthouse")), Some(1.0));
/// let scorer: Scorer = serde_json::from_value(json!({"number": {"decay": 0.75}}))?;
/// assert_eq!(scorer.score(&json!("There are 13."), &json!(12)), Some(0.75));
/// assert_eq!(Scorer::Pairs.score(&json!([[2, 1]]), &json!([[1, 2]])), Some(1.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scorer {
    /// The same text, but for space around it. A number is the same as its text.
    #[default]
    Exact,
    /// The same text in small letters, without punctuation, articles and repeated space.
    Text,
    /// A number, or the last one in a text.
    Number(NumberScorer),
    /// The expected text is in the answer, as [`Text`](Self::Text) reads both, between other words; of
    /// several expected texts the share that is there.
    Contains,
    /// F1 over the items of two sets: of a list, or of the lines or comma-separated parts of a text.
    Set,
    /// F1 over unordered pairs: of a list of lists of two, or of what looks like pairs in a text.
    Pairs,
    /// A model decides whether the answer says what is expected.
    Judge,
}

/// Options of [`Scorer::Number`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NumberScorer {
    /// How far off a number may be. Default 0.
    pub absolute: f64,
    /// How far off it may be, as a share of the expected one. Default 0.
    pub relative: f64,
    /// What the score is multiplied with for each 1 that it is off by, where it is off by more than may be:
    /// 0.75 in OOLONG. Default: the score is 0 then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
}

impl NumberScorer {
    /// Sets how far off a number may be.
    #[must_use]
    pub fn absolute(mut self, most: f64) -> Self {
        self.absolute = most;
        self
    }

    /// Sets how far off a number may be, as a share of the expected one.
    #[must_use]
    pub fn relative(mut self, share: f64) -> Self {
        self.relative = share;
        self
    }

    /// Sets what the score is multiplied with for each 1 that a number is off by.
    #[must_use]
    pub fn decay(mut self, factor: impl Into<Option<f64>>) -> Self {
        self.decay = factor.into();
        self
    }
}

/// Reads a scorer as a task has it: a name alone means the defaults.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scorer, D::Error> {
    let json = Json::deserialize(deserializer)?;
    let json = if json == "number" { serde_json::json!({"number": {}}) } else { json };
    Scorer::deserialize(json).map_err(D::Error::custom)
}

impl Scorer {
    /// The score of an answer, from 0 to 1. `None` where a model has to decide.
    #[must_use]
    pub fn score(&self, answer: &Json, expected: &Json) -> Option<f64> {
        let any_of = |is_same: &dyn Fn(&Json) -> bool| match expected {
            Json::Array(alternatives) => alternatives.iter().any(is_same),
            one => is_same(one),
        };
        Some(match self {
            Self::Exact => {
                let answer = text(answer);
                share(any_of(&|expected| answer.trim() == text(expected).trim()))
            }
            Self::Text => {
                let answer = normalized(&text(answer));
                share(any_of(&|expected| answer == normalized(&text(expected))))
            }
            Self::Number(NumberScorer { absolute, relative, decay }) => {
                let (Some(answer), Some(expected)) = (number(answer), number(expected)) else {
                    return Some(0.0);
                };
                let off = (answer - expected).abs();
                match decay {
                    // Rounding is no error.
                    _ if off <= absolute.max(relative * expected.abs()) + 1e-9 * expected.abs() => 1.0,
                    Some(decay) => decay.powf(off),
                    None => 0.0,
                }
            }
            Self::Contains => {
                let answer = format!(" {} ", normalized(&text(answer)));
                let holds = |expected: &Json| answer.contains(&format!(" {} ", normalized(&text(expected))));
                match expected {
                    Json::Array(parts) => {
                        parts.iter().filter(|part| holds(part)).count() as f64 / parts.len() as f64
                    }
                    one => share(holds(one)),
                }
            }
            Self::Set => f1(&items(answer), &items(expected)),
            Self::Pairs => f1(&pairs(answer), &pairs(expected)),
            Self::Judge => return None,
        })
    }

    /// Whether answers can be compared with what is expected.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn check(&self, expected: &Json) -> Result<(), String> {
        let is_text = |json: &Json| !json.is_null() && !json.is_array() && !json.is_object();
        let fits = match (self, expected) {
            (Self::Exact | Self::Text | Self::Contains, Json::Array(items)) => {
                !items.is_empty() && items.iter().all(is_text)
            }
            (Self::Number(_), json) => number(json).is_some(),
            (Self::Set, Json::Array(items)) => items.iter().all(is_text),
            (Self::Pairs, Json::Array(listed)) => {
                listed.iter().all(|pair| pair.as_array().is_some_and(|pair| pair.len() == 2))
            }
            (Self::Set | Self::Pairs, _) => false,
            (_, json) => is_text(json),
        };
        let wanted = match self {
            Self::Exact | Self::Text | Self::Contains => "a text, or a list of texts",
            Self::Number(_) => "a number",
            Self::Set => "a list",
            Self::Pairs => "a list of lists of two",
            Self::Judge => "a text",
        };
        if fits { Ok(()) } else { Err(format!("`expected` has to be {wanted} for this scorer")) }
    }

    /// The type of an answer, as a signature has it.
    pub(crate) fn output(&self) -> &'static str {
        match self {
            Self::Exact | Self::Text | Self::Contains | Self::Judge => "str",
            Self::Number(_) => "float",
            Self::Set => "list[str]",
            Self::Pairs => "list[list[str]]",
        }
    }
}

fn share(whole: bool) -> f64 {
    f64::from(u8::from(whole))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scorer(json: Json) -> Scorer {
        read(json).unwrap()
    }

    #[test]
    fn a_scorer_is_a_name_or_a_name_with_options() {
        let number = Scorer::Number(NumberScorer::default());
        assert_eq!(scorer(json!("number")), number);
        assert_eq!(scorer(serde_json::to_value(&number).unwrap()), number);
        let wanted = Scorer::Number(NumberScorer::default().absolute(0.5).decay(0.75));
        assert_eq!(scorer(json!({"number": {"absolute": 0.5, "decay": 0.75}})), wanted);
        assert_eq!(scorer(json!("judge")), Scorer::Judge);
        let wrong = |json: Json| read(json).unwrap_err().to_string();
        assert!(wrong(json!("exakt")).contains("exact"));
        assert!(wrong(json!({"number": {"off": 1}})).contains("off"));
    }

    #[test]
    fn scores() {
        let table = [
            (json!("exact"), json!(" 42\n"), json!(42), 1.0),
            (json!("exact"), json!(42.0), json!(42), 1.0),
            (json!("exact"), json!(-0.5), json!("-0.5"), 1.0),
            (json!("text"), json!("-5"), json!("5"), 0.0),
            (json!("text"), json!("It fell by −5 %."), json!("it fell by -5"), 1.0),
            (json!("text"), json!("**-$5**"), json!("-5"), 1.0),
            (json!("text"), json!("2024-01-05"), json!("2024 01 05"), 1.0),
            (json!("text"), json!("well-known -5"), json!("well known 5"), 0.0),
            (json!("text"), json!("- 5"), json!("5"), 1.0),
            (json!("contains"), json!("It is -5."), json!("5"), 0.0),
            (json!("contains"), json!("It is (-5)."), json!("-5"), 1.0),
            (json!("set"), json!([-5, 6]), json!([5, 6]), 0.5),
            (json!("set"), json!("- -5\n- 6"), json!([-5, 6]), 1.0),
            (json!("pairs"), json!([[-1, 2]]), json!([[1, 2]]), 0.0),
            (json!("pairs"), json!("-1, 2\n3-4"), json!([[-1, 2], [3, 4]]), 1.0),
            (json!("pairs"), json!("(-1, 2)"), json!([[2, -1]]), 1.0),
            (json!("exact"), json!("Paris."), json!("Paris"), 0.0),
            (json!("exact"), json!("b"), json!(["a", "b"]), 1.0),
            (json!("text"), json!("The  PARIS, ﬁne!"), json!("paris fine"), 1.0),
            (json!("text"), json!("Ünter den Linden"), json!("unter den linden"), 0.0),
            (json!("text"), json!("(A)"), json!("a"), 1.0),
            (json!("text"), json!("B"), json!("a"), 0.0),
            (json!("text"), json!("nil"), json!(["nothing", "nil"]), 1.0),
            (json!("number"), json!("about $1,234.50 in 3 parts: 1,234.5"), json!(1234.5), 1.0),
            (json!("number"), json!(3), json!("3.0"), 1.0),
            (json!("number"), json!("none"), json!(0), 0.0),
            (json!("number"), json!(-7), json!("−7"), 1.0),
            (json!({"number": {"relative": 0.01}}), json!(100.9), json!(100), 1.0),
            (json!({"number": {"relative": 0.01}}), json!(101.1), json!(100), 0.0),
            (json!({"number": {"absolute": 0.1}}), json!(0.3), json!(0.2), 1.0),
            (json!({"number": {"decay": 0.75}}), json!(14), json!(12), 0.5625),
            (json!("contains"), json!("It is 1234567, I think."), json!("1234567"), 1.0),
            (json!("contains"), json!("It is 12345678."), json!("1234567"), 0.0),
            (json!("contains"), json!("north and south"), json!(["South", "east"]), 0.5),
            (json!("set"), json!(["A", "b", "b"]), json!(["b", "c"]), 0.5),
            (json!("set"), json!("- the A\n- B"), json!(["a", "b"]), 1.0),
            (json!("set"), json!([]), json!([]), 1.0),
            (json!("set"), json!([]), json!(["a"]), 0.0),
            (json!("pairs"), json!([[1, 2], [2, 1], [3, 4]]), json!([[1, 2], [4, 5]]), 0.5),
            (json!("pairs"), json!("So: (11, 12), (14,13) [of 5]"), json!([[12, 11], [13, 14]]), 1.0),
            (json!("pairs"), json!("11, 12\n13 - 14"), json!([[12, 11], [13, 14]]), 1.0),
            (json!("pairs"), json!("[[1, 2], [3, 4]]"), json!([["1", "2"], ["3", "4"]]), 1.0),
        ];
        for (given, answer, expected, score) in table {
            assert_eq!(scorer(given.clone()).check(&expected), Ok(()), "{given} {expected}");
            let got = scorer(given.clone()).score(&answer, &expected);
            assert_eq!(got, Some(score), "{given}: {answer} for {expected}");
        }
        assert_eq!(Scorer::Judge.score(&json!("a"), &json!("a")), None);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (given, expected) in [
            ("exact", json!(null)),
            ("text", json!([])),
            ("number", json!("many")),
            ("set", json!("a")),
            ("pairs", json!([[1, 2, 3]])),
            ("judge", json!({"a": 1})),
        ] {
            assert!(scorer(json!(given)).check(&expected).is_err(), "{given} {expected}");
        }
    }
}
