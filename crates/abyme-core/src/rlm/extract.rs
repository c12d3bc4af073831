//! A graceful end: the outputs from what is known, when a limit is reached.

use indexmap::IndexMap;

use super::{Status, run::Run};
use crate::{
    Error, ErrorKind, FieldType, Message, Result, Value,
    prompt::{
        self,
        reply::{self, Reply},
    },
    trajectory::Purpose,
};

/// Extract calls before the run gives up: one, and one with the problems of the first.
const MAX_TRIES: u32 = 2;
/// Opening braces of a reply that are looked at.
const MAX_OBJECTS: usize = 200;

impl Run<'_> {
    /// Asks the model for the outputs as JSON, because `limit` is reached.
    ///
    /// The extract call is not subject to the limit that led to it. If that is the time, it has a minute.
    pub(super) async fn extract(&mut self, limit: Status) -> Result<(IndexMap<String, Value>, Status)> {
        let reason = self.budget.describe(limit);
        let mut ask = prompt::extract(&reason, &self.shared.signature);
        let mut problems = String::new();
        for _ in 0..MAX_TRIES {
            self.pending = match std::mem::take(&mut self.pending) {
                earlier if earlier.is_empty() => ask,
                earlier => format!("{earlier}\n\n{ask}"),
            };
            let asked = self.ask(Purpose::Extract).await;
            let response =
                asked.map_err(|error| error.context(format!("{reason}, and the extract call failed")))?;
            self.say(Message::assistant(response.text.clone()));
            match self.read_outputs(&response.text) {
                Ok(outputs) => return Ok((outputs, limit)),
                Err(found) => problems = found,
            }
            ask = prompt::extract_again(&problems);
        }
        let message = format!("{reason}, and the model gave no outputs that fit: {}", problems.trim_end());
        Err(Error::new(ErrorKind::LimitReached, message).operation("Rlm::run").with("limit", limit))
    }

    fn read_outputs(&self, text: &str) -> Result<IndexMap<String, Value>, String> {
        let signature = &self.shared.signature;
        let (text, is_prose) = match reply::parse_reply(text) {
            Reply::Text(visible) | Reply::OtherLanguage { text: visible, .. } => (visible, true),
            // Code is no answer, but a dict in it may be one.
            Reply::Code { reasoning, code, .. } => (format!("{reasoning}\n{code}"), false),
        };
        match last_object(&text).or_else(|| python_dict(&text)) {
            Some(fields) => signature.coerce_outputs(fields).map_err(|problems| problems.to_string()),
            None if is_prose && prompt::takes_prose(signature) && !text.trim().is_empty() => {
                signature.coerce_single(Value::from(text.trim())).map_err(|problems| problems.to_string())
            }
            None => Err("the reply holds no JSON object".to_owned()),
        }
    }
}

/// The last JSON object in a text, fenced or not. Models may show an example or a draft before it.
fn last_object(text: &str) -> Option<IndexMap<String, Value>> {
    let (mut last, mut rest) = (None, text);
    for _ in 0..MAX_OBJECTS {
        let Some(start) = rest.find('{') else { break };
        rest = &rest[start..];
        let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
        let length = match objects.next() {
            Some(Ok(_)) => objects.byte_offset(),
            _ => 0,
        };
        if let Ok(Value::Dict(fields)) = Value::parse_json(&rest[..length]) {
            last = Some(fields);
        }
        rest = &rest[length.max(1)..];
    }
    last
}

/// The outermost braces of a text as a Python dict, which models write as readily as JSON.
fn python_dict(text: &str) -> Option<IndexMap<String, Value>> {
    let braces = text.get(text.find('{')?..=text.rfind('}')?)?;
    match FieldType::dict(FieldType::Str, FieldType::Any).coerce(Value::from(braces)) {
        Ok(Value::Dict(fields)) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_counts() {
        let text = "Like {\"a\": 1}? No {braces}:\n```json\n{\"a\": {\"b\": 2}, \"c\": 123456789012345678901234567890}\n```\n";
        let fields = last_object(text).unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(fields["c"], Value::BigInt("123456789012345678901234567890".into()));
        assert_eq!(last_object("no { object"), None);
        assert_eq!(python_dict("So: {'a': None, 'b': 2,}").unwrap()["a"], Value::None);
        assert_eq!(python_dict("no } { dict"), None);
    }
}
