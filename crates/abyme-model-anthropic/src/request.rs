//! The JSON of Messages: what is sent.

use std::collections::BTreeMap;

use abyme_core::{Error, ErrorKind, Request, Result, Role};
use abyme_model_http::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    config::Config,
    demands::{Demands, Sent},
    schema,
};

/// The most breakpoints of the cache that a request may have.
const MAX_CACHE_POINTS: usize = 4;

/// The most tokens of a reply where nobody says, as far as the model allows as many. Room for long code and
/// its thoughts, and not so much that older models refuse a long conversation for it.
pub(crate) const DEFAULT_MAX_TOKENS: u32 = 32_000;

/// The fewest tokens that a model can be given to think.
const MIN_THINKING: u32 = 1_024;

/// What a model thinks by that has to be told a number, where only thoughts were asked for.
const DEFAULT_THINKING: u32 = 8_192;

/// A part of a message or of the system's text.
#[derive(Serialize)]
struct Block<'a> {
    r#type: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

/// The end of a part that the provider is asked to keep.
#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    r#type: &'static str,
}

const KEEP: CacheControl = CacheControl { r#type: "ephemeral" };

impl<'a> Block<'a> {
    fn text(text: &'a str) -> Self {
        Self { r#type: "text", text, cache_control: None }
    }
}

/// Messages of one author that follow each other.
#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

/// A conversation in the API's form.
#[derive(Default)]
struct Conversation<'a> {
    system: Vec<Block<'a>>,
    turns: Vec<Turn<'a>>,
}

impl<'a> Conversation<'a> {
    /// The system's first messages become a field, and later ones the user's. Messages without a visible
    /// character are left out, since the API takes none.
    fn new(request: &'a Request) -> Self {
        let mut conversation = Self::default();
        let mut points: Vec<_> =
            request.cache_points.iter().filter(|at| **at < request.messages.len()).collect();
        points.sort_unstable();
        points.dedup();
        // The first is what all requests share, and the last ones are what the next request repeats.
        if points.len() > MAX_CACHE_POINTS {
            points.drain(1..=points.len() - MAX_CACHE_POINTS);
        }
        for (at, message) in request.messages.iter().enumerate() {
            if !message.content.trim().is_empty() {
                conversation.push(message.role, Block::text(&message.content));
            }
            if points.contains(&&at)
                && let Some(block) = conversation.last()
            {
                block.cache_control = Some(KEEP);
            }
        }
        if conversation.turns.is_empty() && !conversation.system.is_empty() {
            conversation.turns.push(Turn { role: "user", content: std::mem::take(&mut conversation.system) });
        }
        // The API takes no blank at the end of what the model is to go on with.
        if let Some(last) = conversation.turns.last_mut().filter(|last| last.role == "assistant")
            && let Some(block) = last.content.last_mut()
        {
            block.text = block.text.trim_end();
        }
        conversation
    }

    fn push(&mut self, role: Role, block: Block<'a>) {
        let role = match role {
            Role::System if self.turns.is_empty() => return self.system.push(block),
            Role::Assistant => "assistant",
            _ => "user",
        };
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.content.push(block),
            _ => self.turns.push(Turn { role, content: vec![block] }),
        }
    }

    fn last(&mut self) -> Option<&mut Block<'a>> {
        self.turns.last_mut().map_or(&mut self.system, |turn| &mut turn.content).last_mut()
    }
}

/// The body of a request to `model`, and what of it the API may refuse. `most_output` is the most that the
/// model is known to write.
pub(crate) fn body(
    request: &Request,
    model: &str,
    most_output: Option<u64>,
    config: &Config,
    demands: Demands,
) -> Result<(Bytes, Sent)> {
    #[derive(Serialize)]
    struct Body<'a> {
        model: &'a str,
        stream: bool,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        system: Vec<Block<'a>>,
        messages: Vec<Turn<'a>>,
        #[serde(flatten)]
        options: BTreeMap<&'a str, Value>,
    }

    let extra = &config.extra_body;
    let Conversation { system, turns } = Conversation::new(request);
    if turns.is_empty() {
        return Err(Error::new(ErrorKind::BadRequest, "the request has no message with a text"));
    }
    let said = request.max_tokens.or(config.max_tokens);
    let most_output = demands.most_output.or_else(|| most_output.and_then(|most| u32::try_from(most).ok()));
    let max_tokens = said.unwrap_or_else(|| default_max_tokens(most_output, config));
    let thinking = thinking(config, demands, max_tokens).filter(|_| !extra.contains_key("thinking"));
    let is_thinking = thinking.as_ref().is_some_and(|thinking| thinking["type"] != "disabled");
    // A model that thinks has no other temperature than its own.
    let temperature = request.temperature.or(config.temperature);
    let temperature = temperature.filter(|_| !demands.no_temperature && !is_thinking);
    let temperature = temperature.filter(|_| !extra.contains_key("temperature"));
    let format =
        request.schema.as_ref().filter(|_| !demands.no_schema && !extra.contains_key("output_config"));
    let format =
        format.and_then(schema::for_api).map(|schema| json!({"type": "json_schema", "schema": schema}));
    let effort = config.options.effort.as_ref().filter(|_| !demands.no_effort).map(|effort| json!(effort));

    let sent = Sent {
        temperature: temperature.is_some(),
        schema: format.is_some(),
        effort: effort.is_some() && !extra.contains_key("output_config"),
        thinking: is_thinking,
        default_max_tokens: said.is_none() && !extra.contains_key("max_tokens"),
    };
    let output: Map<_, _> = [("effort", effort), ("format", format)]
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value?)))
        .collect();
    let ours = [
        ("max_tokens", Some(json!(max_tokens))),
        ("output_config", (!output.is_empty()).then_some(Value::Object(output))),
        ("temperature", temperature.map(Value::from)),
        ("thinking", thinking),
    ];
    let ours = ours.into_iter().filter_map(|(field, value)| Some((field, value?)));
    let mut options: BTreeMap<&str, Value> = ours.collect();
    options.extend(extra.iter().map(|(field, value)| (field.as_str(), value.clone())));
    options.retain(|_, value| !value.is_null());
    let body = Body { model, stream: true, system, messages: turns, options };
    let body = serde_json::to_vec(&body).map_err(|error| {
        Error::new(ErrorKind::Internal, "the request cannot be written as JSON").with_source(error)
    })?;
    Ok((body.into(), sent))
}

/// The most tokens of a reply, thoughts included. The API wants to be told.
fn default_max_tokens(most_output: Option<u32>, config: &Config) -> u32 {
    let wanted = DEFAULT_MAX_TOKENS.saturating_add(config.options.thinking_budget.unwrap_or_default());
    most_output.map_or(wanted, |most| wanted.min(most))
}

/// How the model is to think; nothing where it decides itself.
fn thinking(config: &Config, demands: Demands, max_tokens: u32) -> Option<Value> {
    let by_itself = || json!({"type": "adaptive", "display": "summarized"});
    // The thoughts are a part of the reply, and have to leave it room.
    let within = |budget: u32| {
        let budget = budget.max(MIN_THINKING).min(max_tokens.saturating_sub(1));
        (budget >= MIN_THINKING).then(|| json!({"type": "enabled", "budget_tokens": budget}))
    };
    match (config.options.thinking_budget, config.options.thoughts) {
        (Some(0), _) => Some(json!({"type": "disabled"})).filter(|_| !demands.other_thinking),
        (Some(_), _) if demands.other_thinking => Some(by_itself()),
        (Some(budget), _) => within(budget),
        (None, true) if demands.other_thinking => within(DEFAULT_THINKING),
        (None, true) => Some(by_itself()),
        (None, false) => None,
    }
}

#[cfg(test)]
mod tests;
