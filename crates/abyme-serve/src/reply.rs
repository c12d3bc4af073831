//! What a client gets: one object, or the pieces of a stream.

use abyme_core::{Prediction, Status, Usage, Value};
use serde_json::{Value as Json, json};

use crate::task::ANSWER;

/// What all objects about one reply begin with.
#[derive(Clone, Debug)]
pub(crate) struct ReplyHead {
    /// The id of the run.
    pub(crate) run: String,
    /// The name that the client asked for.
    pub(crate) model: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    status: Status,
    turns: usize,
    usage: Usage,
}

impl Answer {
    /// The answer of a run, up to the first of the texts that end it.
    pub(crate) fn of(prediction: &Prediction, stop: &[String]) -> Self {
        let mut text = match prediction.outputs().get(ANSWER) {
            Some(Value::Text(text)) => text.as_str().to_owned(),
            Some(other) => other.to_json().to_string(),
            None => String::new(),
        };
        if let Some(end) = stop.iter().filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(end);
        }
        Self { text, status: prediction.status(), turns: prediction.turns(), usage: *prediction.usage() }
    }

    /// A limit that ended the run cut its answer, as a limit on tokens cuts that of a model.
    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.status.is_complete() { "stop" } else { "length" }
    }

    /// What the run used, in all its calls of models; `null` where no provider said it.
    pub(crate) fn usage(&self) -> Json {
        let Some(total) = self.usage.total_tokens() else { return Json::Null };
        let known = |tokens: Option<u64>| tokens.unwrap_or(0);
        json!({
            "prompt_tokens": known(self.usage.input_tokens),
            "completion_tokens": known(self.usage.output_tokens),
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": known(self.usage.cached_tokens)},
            "completion_tokens_details": {"reasoning_tokens": known(self.usage.reasoning_tokens)},
            "cost": self.usage.cost,
        })
    }

    /// What only a run has.
    fn about(&self, head: &ReplyHead) -> Json {
        json!({
            "run": head.run, "status": self.status, "turns": self.turns, "model_calls": self.usage.calls,
        })
    }
}

impl ReplyHead {
    fn object(&self, kind: &str) -> Json {
        json!({
            "id": format!("chatcmpl-{}", self.run), "object": kind, "created": self.created,
            "model": self.model,
        })
    }

    /// The reply in one object.
    pub(crate) fn whole(&self, answer: &Answer) -> Json {
        let mut object = self.object("chat.completion");
        object["choices"] = json!([{
            "index": 0, "finish_reason": answer.finish_reason(), "logprobs": null,
            "message": {"role": "assistant", "content": answer.text, "refusal": null},
        }]);
        object["usage"] = answer.usage();
        object["abyme"] = answer.about(self);
        object
    }

    /// A piece of a stream.
    pub(crate) fn piece(&self, delta: &Json, end: Option<&Answer>) -> Json {
        let mut object = self.object("chat.completion.chunk");
        object["choices"] = json!([{
            "index": 0, "delta": delta, "finish_reason": end.map(Answer::finish_reason), "logprobs": null,
        }]);
        if let Some(answer) = end {
            object["abyme"] = answer.about(self);
        }
        object
    }

    /// The piece of a stream that says what was used.
    pub(crate) fn usage(&self, answer: &Answer) -> Json {
        let mut object = self.object("chat.completion.chunk");
        object["choices"] = json!([]);
        object["usage"] = answer.usage();
        object
    }
}
