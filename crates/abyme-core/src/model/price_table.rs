//! What many models cost and how much they can read, by name: the table that comes with Abyme, and the user's
//! own.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::price::{LongPrice, Price};
use crate::error::{Error, ErrorKind, Result};

/// What models cost and how much they can read, by name.
///
/// ```
/// use abyme_core::{LanguageModelExt, PriceTable, testing::ScriptedModel};
///
/// let prices = PriceTable::built_in().merge(PriceTable::from_json(
///     r#"{"models": {"our-llama": {"input": 0.2, "output": 0.6, "max_input_tokens": 131072}}}"#,
/// )?);
/// let found = prices.find("our-llama").expect("it is in the table");
/// let model = ScriptedModel::replies(["Paris"]).with_price(found.price);
/// # drop(model);
/// # Ok::<(), abyme_core::Error>(())
/// ```
///
/// A file is one JSON object: prices are US dollars for a million tokens, and only `input` and `output` have
/// to be there; `cached_input` is what is read from the provider's cache, and `cache_write` what is written
/// into it.
///
/// ```json
/// {"models": {"openai/gpt-5": {"input": 1.25, "cached_input": 0.125, "output": 10,
///                              "max_input_tokens": 272000, "max_output_tokens": 128000,
///                              "long": {"above": 200000, "input": 2.5, "output": 15}}}}
/// ```
///
/// A name without a provider (`gpt-5`) means that model of whichever provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceTable {
    source: String,
    models: BTreeMap<String, ModelFacts>,
}

/// What a table says of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelFacts {
    /// What its tokens cost.
    pub price: Price,
    /// How many tokens a request may have.
    pub max_input_tokens: Option<u64>,
    /// How many tokens a reply may have.
    pub max_output_tokens: Option<u64>,
}

/// A table as a file holds it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    #[serde(default)]
    source: String,
    models: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    input: f64,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
    long: Option<LongRow>,
    max_input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongRow {
    above: u64,
    input: f64,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
}

impl PriceTable {
    /// The table that comes with Abyme: chat models of a dozen providers, made from LiteLLM's.
    ///
    /// Prices change. They are those of the day on which the table was made, without discounts for certain
    /// hours and without fees for certain calls, such as a search.
    #[allow(clippy::missing_panics_doc, reason = "a test reads the table")]
    pub fn built_in() -> Self {
        Self::from_json(include_str!("prices.json")).unwrap_or_default()
    }

    /// Reads a table from a file. See [`PriceTable`] for its form.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it cannot be read, [`ErrorKind::Config`] if it is no table of prices; with the
    /// path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the prices {}: {error}", path.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        Self::from_json(&text).map_err(|error| error.context(path.display()))
    }

    /// Reads a table from a text. See [`PriceTable`] for its form.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the place of what is wrong.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::Config, message);
        let file: TableFile = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "this is no table of prices, such as {{\"models\": {{\"gpt-5\": {{\"input\": 1.25, \
                 \"output\": 10}}}}}} in dollars for a million tokens: {error}"
            ))
        })?;
        let mut models = BTreeMap::new();
        for (name, row) in file.models {
            let price = Price {
                input: row.input,
                cached_input: row.cached_input,
                cache_write: row.cache_write,
                output: row.output,
                long: row.long.map(|long| LongPrice {
                    above: long.above,
                    input: long.input,
                    cached_input: long.cached_input,
                    cache_write: long.cache_write,
                    output: long.output,
                }),
            };
            price.check().map_err(|error| error.context(format_args!("the price of {name:?}")))?;
            let (max_input_tokens, max_output_tokens) = (row.max_input_tokens, row.max_output_tokens);
            models.insert(name, ModelFacts { price, max_input_tokens, max_output_tokens });
        }
        Ok(Self { source: file.source, models })
    }

    /// Where the table comes from; empty if it does not say.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// This table with the models of another, which count where both have one.
    pub fn merge(mut self, other: Self) -> Self {
        for name in other.models.keys().filter(|name| !name.contains('/')) {
            self.models.retain(|known, _| known.split_once('/').is_none_or(|(_, rest)| rest != name));
        }
        self.models.extend(other.models);
        self
    }

    /// What the table says of a model; `None` if it does not know it for certain.
    ///
    /// - `openai/gpt-5` is that model of that provider, or else a `gpt-5` without a provider.
    /// - `gpt-5` is the model of whichever provider has one; of several, only if they agree.
    /// - A version that ends in its date (`gpt-5-2025-08-07`) is as the model without it, and a model that is
    ///   there with dates only is as these, but only if all that the table has of the model agree: what one
    ///   date costs says nothing about another where prices have changed.
    pub fn find(&self, name: &str) -> Option<&ModelFacts> {
        // What follows the provider, if no provider is in it: `openrouter/openai/gpt-5` is not OpenAI's.
        let of_any = |name: &str| {
            let (_, rest) = name.split_once('/').filter(|(_, rest)| !rest.contains('/'))?;
            self.models.get(rest)
        };
        if let Some(exact) = self.models.get(name).or_else(|| of_any(name)) {
            return Some(exact);
        }
        let has_provider = name.contains('/');
        let same = |known: &str, name: &str| match has_provider {
            true => known == name,
            false => known.split_once('/').map_or(known, |(_, rest)| rest) == name,
        };
        let named = self.models.iter().filter(|(known, _)| same(known, name));
        let mut named = named.map(|(_, facts)| facts).peekable();
        if named.peek().is_some() {
            return agreed(named);
        }
        let undated = without_date(name);
        agreed(self.models.iter().filter(|(known, _)| same(without_date(known), undated)).map(|(_, it)| it))
    }
}

/// What all of these say, if they say the same.
fn agreed<'a>(mut facts: impl Iterator<Item = &'a ModelFacts>) -> Option<&'a ModelFacts> {
    let first = facts.next()?;
    facts.all(|other| other == first).then_some(first)
}

/// The name without a date at its end: `-2025-08-07` or `-20250807`.
fn without_date(name: &str) -> &str {
    let is_date = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                _ => byte == form,
            })
    };
    ["-0000-00-00", "-00000000"]
        .iter()
        .find_map(|form| {
            let (before, date) = name.split_at_checked(name.len().checked_sub(form.len())?)?;
            (!before.is_empty() && is_date(date, form)).then_some(before)
        })
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(models: &str) -> PriceTable {
        PriceTable::from_json(&format!(r#"{{"models": {{{models}}}}}"#)).unwrap()
    }

    fn input(table: &PriceTable, name: &str) -> Option<f64> {
        table.find(name).map(|facts| facts.price.input)
    }

    #[test]
    fn the_built_in_table_knows_models_by_all_their_names() {
        let table = PriceTable::from_json(include_str!("prices.json")).unwrap();
        assert!(table.source().starts_with("LiteLLM ") && table.source().contains("sha256"));
        assert!(table.models.len() > 300, "{}", table.models.len());
        let gpt = table.find("openai/gpt-5").unwrap();
        assert_eq!(gpt.price, Price::per_million(1.25, 10.0).cached_input(0.125));
        assert_eq!((gpt.max_input_tokens, gpt.max_output_tokens), (Some(272_000), Some(128_000)));
        let haiku = table.find("anthropic/claude-haiku-4-5").unwrap();
        assert_eq!(haiku.price, Price::per_million(1.0, 5.0).cached_input(0.1).cache_write(1.25));
        for name in ["gpt-5", "openai/gpt-5-2025-08-07", "gpt-5-20250807"] {
            assert_eq!(table.find(name), Some(gpt), "{name}");
        }
        for unknown in [
            "azure/gpt-5",
            "openrouter/openai/gpt-5",
            "gpt-5-nonesuch",
            "gpt",
            "",
            "openai/",
            "2025-08-07",
            "-20250807",
        ] {
            assert_eq!(table.find(unknown), None, "{unknown}");
        }
        for (name, facts) in &table.models {
            assert!(facts.price.input > 0.0 && facts.price.output > 0.0, "{name} is not for nothing");
        }
    }

    #[test]
    fn two_prices_are_not_guessed_between() {
        let table = table(
            r#""a/one": {"input": 1, "output": 2}, "b/one": {"input": 1, "output": 3},
               "a/two": {"input": 1, "output": 2}, "b/two": {"input": 1, "output": 2},
               "a/old": {"input": 1, "output": 2}, "a/old-2024-01-01": {"input": 9, "output": 2},
               "a/new-20250101": {"input": 5, "output": 2}, "a/new-20250202": {"input": 5, "output": 2}"#,
        );
        assert_eq!((input(&table, "one"), input(&table, "two")), (None, Some(1.0)));
        assert_eq!((input(&table, "a/one"), input(&table, "c/one")), (Some(1.0), None));
        assert_eq!((input(&table, "a/old"), input(&table, "old-2024-01-01")), (Some(1.0), Some(9.0)));
        assert_eq!(input(&table, "a/old-2025-01-01"), None, "prices of the dates differ");
        assert_eq!((input(&table, "new"), input(&table, "a/new-2026-01-01")), (Some(5.0), Some(5.0)));
    }

    #[test]
    fn the_users_own_prices_count_first() {
        let own = table(r#""gpt-5": {"input": 7, "output": 8}, "mine/x": {"input": 1, "output": 1}"#);
        let table = PriceTable::built_in().merge(own);
        for name in ["gpt-5", "openai/gpt-5", "hosted_vllm/gpt-5"] {
            assert_eq!(input(&table, name), Some(7.0), "{name}");
        }
        assert_eq!((input(&table, "mine/x"), input(&table, "x")), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        let problem = |text: &str| PriceTable::from_json(text).unwrap_err();
        for (text, expected) in [
            ("", "EOF"),
            ("[1]", "expected"),
            (r#"{"gpt-5": {"input": 1, "output": 2}}"#, "unknown field `gpt-5`"),
            (r#"{"models": {"x": {"input": 1}}}"#, "missing field `output`"),
            (r#"{"models": {"x": {"inptu": 1, "output": 1}}}"#, "unknown field `inptu`"),
            (r#"{"models": {"x": {"input": "1", "output": 1}}}"#, "invalid type"),
            (r#"{"models": {"x": {"input": -1, "output": 1}}}"#, "the price of \"x\""),
        ] {
            let error = problem(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(expected), "{text}: {error}");
        }
        let missing = PriceTable::load("/nonexistent/prices.json").unwrap_err();
        assert!(missing.kind() == ErrorKind::Io && missing.message().contains("/nonexistent/prices.json"));
    }
}
