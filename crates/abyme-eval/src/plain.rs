//! A plain call: the whole task in one prompt, as one would ask the model without a Recursive Language Model.

use std::sync::Arc;

use abyme_core::{
    Error, ErrorKind, FieldType, FinishReason, Inputs, LanguageModel, LanguageModelExt, Request, Response,
    Result, Usage,
};

use crate::{
    setting::{PlainConfig, TooLong},
    spending::priced,
    task::QUESTION,
};

/// Bytes of English text for each token. A prompt that has too many tokens even so is not sent.
const MOST_BYTES_PER_TOKEN: u64 = 4;
/// Bytes of a text of numbers and code for each token. A prompt that is cut to fit is cut to this.
const FEWEST_BYTES_PER_TOKEN: u64 = 3;
/// Tokens that a cut prompt leaves for the question, the frame and the reply.
const LEFT_TOKENS: u64 = 4_000;
/// How often a prompt is cut again that the provider refuses as too long.
const MAX_CUTS: u32 = 8;

/// The prompt of a task, which can be made shorter.
struct Prompt {
    inputs: String,
    question: String,
}

/// What a plain call came to.
pub(crate) struct PlainCall {
    pub(crate) request: Request,
    pub(crate) reply: Result<Response>,
    /// What all tries used.
    pub(crate) usage: Usage,
    /// The share of the inputs that was sent, where that is not all.
    pub(crate) kept_share: Option<f64>,
}

/// Asks the model. `output` is the type of the answer.
pub(crate) async fn call(
    model: &Arc<dyn LanguageModel>,
    config: &PlainConfig,
    inputs: &Inputs,
    output: &str,
) -> PlainCall {
    let prompt = Prompt::new(inputs, output);
    let most = model.max_input_tokens();
    let mut keep = prompt.inputs.len();
    let bytes = prompt.bytes();
    if let Some(most) = most.filter(|most| bytes / MOST_BYTES_PER_TOKEN > *most) {
        match config.too_long {
            TooLong::Refuse => {
                let request = Request::prompt("");
                let message = format!(
                    "the task has about {} tokens, and {} reads {most} at most",
                    bytes / MOST_BYTES_PER_TOKEN,
                    model.name()
                );
                let reply = Err(Error::new(ErrorKind::ContextTooLong, message));
                return PlainCall { request, reply, usage: Usage::nothing(), kept_share: None };
            }
            TooLong::Truncate => {
                let fits = most.saturating_sub(LEFT_TOKENS) * FEWEST_BYTES_PER_TOKEN;
                keep = keep.min(usize::try_from(fits).unwrap_or(usize::MAX));
            }
        }
    }
    let retrying = model.clone().with_retry(config.retry.clone());
    let mut usage = Usage::default();
    let mut cuts = 0;
    loop {
        let request = Request::prompt(prompt.cut_to(keep));
        let reply = retrying.complete(&request).await;
        let used = match &reply {
            Ok(reply) => reply.usage,
            Err(error) => error.usage().copied().unwrap_or_else(Usage::call),
        };
        usage += priced(&**model, used);
        let is_too_long = reply.as_ref().is_err_and(|error| error.kind() == ErrorKind::ContextTooLong);
        if is_too_long && config.too_long == TooLong::Truncate && cuts < MAX_CUTS {
            cuts += 1;
            keep = keep / 5 * 3;
            continue;
        }
        let all = prompt.inputs.len();
        let kept_share = (keep < all).then(|| keep as f64 / all as f64);
        return PlainCall { request, reply, usage, kept_share };
    }
}

/// What a call will cost at least, as far as that is known: its prompt.
pub(crate) fn least_cost(model: &dyn LanguageModel, input_bytes: u64) -> f64 {
    let tokens = input_bytes / MOST_BYTES_PER_TOKEN;
    let tokens = tokens.min(model.max_input_tokens().unwrap_or(u64::MAX));
    model.price().and_then(|price| price.of(&Usage::tokens(tokens, 0))).unwrap_or_default()
}

/// The answer in a reply: without the thoughts that some models begin it with, and as its type, as the answer
/// of a run is. What has another type stays the text that it is, which a scorer may read.
///
/// # Errors
/// [`ErrorKind::OutputType`] where nothing is left.
pub(crate) fn answer(reply: &Response, ty: &FieldType) -> Result<serde_json::Value> {
    let text = reply.text.rsplit_once("</think>").map_or(reply.text.as_str(), |(_, after)| after).trim();
    match (text.is_empty(), &reply.finish_reason) {
        (false, _) if *ty == FieldType::Str => Ok(text.into()),
        (false, _) => {
            let mut values = [Some(text), last_fenced(text)].into_iter().flatten();
            let value = values.find_map(|text| ty.coerce(text.into()).ok());
            Ok(value.map_or_else(|| text.into(), |value| value.to_json()))
        }
        (true, FinishReason::Length) => {
            Err(Error::new(ErrorKind::OutputType, "the length limit cut the reply before its answer"))
        }
        (true, FinishReason::ContentFilter) => {
            Err(Error::new(ErrorKind::ContentRefused, "a content filter cut the reply"))
        }
        (true, _) => Err(Error::new(ErrorKind::OutputType, "the reply has no text")),
    }
}

/// What the last fence of Markdown in a text holds, which has words around it.
fn last_fenced(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once("```")?;
    let (_, fenced) = before.rsplit_once("```")?;
    let (_language, content) = fenced.split_once('\n')?;
    Some(content.trim())
}

impl Prompt {
    fn new(inputs: &Inputs, output: &str) -> Self {
        let mut prompt = Self { inputs: String::new(), question: String::new() };
        for (name, value) in inputs.iter() {
            let text = match value.as_text() {
                Some(text) => text.to_owned(),
                None => value.to_json().to_string(),
            };
            if name == QUESTION {
                prompt.question = text;
            } else {
                prompt.inputs += &format!("<{name}>\n{text}\n</{name}>\n\n");
            }
        }
        prompt.question += match output {
            "str" => "\n\nReply with the answer alone, without an explanation.".to_owned(),
            other => format!("\n\nReply with the answer alone, as JSON of the Python type `{other}`."),
        }
        .as_str();
        prompt
    }

    fn bytes(&self) -> u64 {
        (self.inputs.len() + self.question.len()) as u64
    }

    /// The prompt with so many bytes of its inputs: their beginning and their end.
    fn cut_to(&self, keep: usize) -> String {
        if keep >= self.inputs.len() {
            return format!("{}{}", self.inputs, self.question);
        }
        let head = self.inputs.floor_char_boundary(keep / 2);
        let tail = self.inputs.ceil_char_boundary(self.inputs.len() - (keep - keep / 2));
        let left_out = self.inputs[head..tail].chars().count();
        format!(
            "{}\n[... {left_out} characters are left out here: they do not fit ...]\n{}{}",
            &self.inputs[..head],
            &self.inputs[tail..],
            self.question
        )
    }
}

#[cfg(test)]
mod tests {
    use abyme_core::{inputs, testing::ScriptedModel};

    use super::*;

    /// A call of a model of its own.
    async fn call(
        model: impl LanguageModel + 'static,
        too_long: TooLong,
        inputs: &Inputs,
        output: &str,
    ) -> PlainCall {
        let model: Arc<dyn LanguageModel> = Arc::new(model);
        super::call(&model, &PlainConfig::default().too_long(too_long), inputs, output).await
    }

    fn prompt_of(call: &PlainCall) -> &str {
        &call.request.messages[0].content
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_or_cut_in_the_middle() {
        let text = format!("begin {} end", "x".repeat(100_000));
        let inputs = inputs! { docs: text.as_str(), question: "q?" };
        let scripted = || ScriptedModel::from_fn(|_| Ok("yes".into()));
        let whole = call(scripted(), TooLong::Refuse, &inputs, "str").await;
        assert!(prompt_of(&whole).contains(&text) && whole.kept_share.is_none());
        assert!(prompt_of(&whole).contains("q?\n\nReply with the answer alone, without"));

        let small = scripted().with_max_input_tokens(10_000);
        let refused = call(small.clone(), TooLong::Refuse, &inputs, "str").await;
        let error = refused.reply.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContextTooLong);
        assert!(error.message().contains("25"), "{error}");
        assert_eq!(refused.usage, Usage::nothing());

        let cut = call(small, TooLong::Truncate, &inputs, "int").await;
        assert_eq!(cut.reply.as_ref().unwrap().text, "yes");
        let prompt = prompt_of(&cut);
        assert!(prompt.len() < 19_000 && prompt.starts_with("<docs>\nbegin x"), "{}", prompt.len());
        assert!(prompt.contains("characters are left out here") && prompt.contains("x end\n</docs>\n\nq?"));
        assert!(prompt.contains("the Python type `int`"));
        assert!((cut.kept_share.unwrap() - 0.18).abs() < 0.01, "{:?}", cut.kept_share);
    }

    #[tokio::test]
    async fn a_provider_that_refuses_the_length_decides() {
        let inputs = inputs! { docs: "é".repeat(50_000), question: "q?" };
        let scripted = || {
            ScriptedModel::from_fn(|request| match request.messages[0].content.len() {
                0..30_000 => Ok(Response::new("<think>hm</think> yes")),
                _ => Err(Error::new(ErrorKind::ContextTooLong, "too long")),
            })
        };
        let refused = call(scripted(), TooLong::Refuse, &inputs, "str").await;
        assert_eq!(refused.reply.unwrap_err().kind(), ErrorKind::ContextTooLong);
        let model = scripted();
        let cut = call(model.clone(), TooLong::Truncate, &inputs, "str").await;
        assert_eq!(answer(&cut.reply.unwrap(), &FieldType::Str).unwrap(), "yes");
        assert_eq!(model.requests().len(), 4, "100, 60, 36, 22 kB");
    }

    #[test]
    fn a_reply_without_an_answer_says_why() {
        let cut = Response::new("<think>so").finish_reason(FinishReason::Length);
        assert_eq!(answer(&cut, &FieldType::Str).unwrap(), "<think>so");
        let cut = Response::new("").finish_reason(FinishReason::Length);
        assert!(answer(&cut, &FieldType::Str).unwrap_err().message().contains("length limit"));
    }

    #[test]
    fn an_answer_has_its_type_as_that_of_a_run_has() {
        use serde_json::json;
        let pairs = "```json\n[[\"a\", \"b\"]]\n```";
        for (reply, ty, expected) in [
            ("```json\n[\"a\", \"b\"]\n```", "list[str]", json!(["a", "b"])),
            (&format!("These are all:\n\n{pairs}\nThat is it."), "list[list[str]]", json!([["a", "b"]])),
            ("<think>[1]</think>\n```\n[2]\n```", "list[int]", json!([2])),
            ("Here:\n```json\n12.5\n```", "float", json!(12.5)),
            ("12", "int", json!(12)),
            ("There are 12.", "int", json!("There are 12.")),
            ("- a\n- b", "list[str]", json!("- a\n- b")),
            ("```\nParis\n```", "str", json!("```\nParis\n```")),
        ] {
            let ty = ty.parse().unwrap();
            assert_eq!(answer(&Response::new(reply), &ty).unwrap(), expected, "{reply}");
        }
    }
}
