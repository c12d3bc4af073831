//! What a model does not take, learned from its refusals.

/// What the requests of one model have to leave out or to write otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// No temperature but the model's own.
    pub(crate) no_temperature: bool,
    /// No schema of the reply.
    pub(crate) no_schema: bool,
    /// No effort.
    pub(crate) no_effort: bool,
    /// Thinking by the other way: by itself in place of a budget, or a budget in place of that.
    pub(crate) other_thinking: bool,
    /// No more tokens of a reply than these.
    pub(crate) most_output: Option<u32>,
}

/// What a request held that may be refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) temperature: bool,
    pub(crate) schema: bool,
    pub(crate) effort: bool,
    pub(crate) thinking: bool,
    /// Whether the most tokens of the reply were nobody's wish.
    pub(crate) default_max_tokens: bool,
}

impl Demands {
    /// These demands and the one in a refusal; `None` if it is about something else.
    pub(crate) fn with(self, refusal: &str, sent: Sent) -> Option<Self> {
        let refusal = refusal.to_lowercase();
        if sent.default_max_tokens
            && self.most_output.is_none()
            && let Some(most) = most_output(&refusal)
        {
            return Some(Self { most_output: Some(most), ..self });
        }
        let says = |words: &[&str]| words.iter().any(|word| refusal.contains(word));
        if !says(&["deprecated", "not support", "unsupported", "not permitted", "not allowed", "only", "may"])
        {
            // Only a schema is refused in other words: what is wrong with it.
            let about_schema = sent.schema && !self.no_schema && says(SCHEMA);
            return about_schema.then_some(Self { no_schema: true, ..self });
        }
        if sent.thinking && says(&["thinking"]) {
            return (!self.other_thinking).then_some(Self { other_thinking: true, ..self });
        }
        if sent.temperature && !self.no_temperature && says(&["temperature"]) {
            return Some(Self { no_temperature: true, ..self });
        }
        if sent.effort && !self.no_effort && says(&["effort"]) {
            return Some(Self { no_effort: true, ..self });
        }
        if sent.schema && !self.no_schema && says(SCHEMA) {
            return Some(Self { no_schema: true, ..self });
        }
        None
    }
}

/// The most tokens that `max_tokens: 32000 > 8192, which is the maximum ...` allows.
fn most_output(refusal: &str) -> Option<u32> {
    let (_, after) = refusal.split_once("max_tokens: ")?.1.split_once("> ")?;
    let digits = after.split(|char: char| !char.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|most| *most > 0)
}

const SCHEMA: &[&str] = &["output_config", "output_format", "output format", "schema"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_the_words_of_the_api() {
        let all =
            Sent { temperature: true, schema: true, effort: true, thinking: true, default_max_tokens: true };
        let none = Demands::default();
        for (refusal, expected) in [
            (
                "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-x",
                Demands { most_output: Some(8_192), ..none },
            ),
            ("`temperature` is deprecated for this model.", Demands { no_temperature: true, ..none }),
            (
                "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" \
                 and \"output_config.effort\" to control thinking behavior.",
                Demands { other_thinking: true, ..none },
            ),
            ("adaptive thinking is not supported on this model", Demands { other_thinking: true, ..none }),
            ("This model does not support the effort parameter.", Demands { no_effort: true, ..none }),
            (
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be set",
                Demands { no_schema: true, ..none },
            ),
            ("'claude-x' does not support output format.", Demands { no_schema: true, ..none }),
        ] {
            assert_eq!(none.with(refusal, all), Some(expected), "{refusal}");
            assert_eq!(none.with(refusal, Sent::default()), None, "not sent: {refusal}");
            assert_eq!(expected.with(refusal, all), None, "it is not repeated for ever: {refusal}");
        }
        for other in [
            "prompt is too long: 210000 tokens > 200000 maximum",
            "This model does not support assistant message prefill. The conversation must end with a user \
             message.",
            "",
        ] {
            assert_eq!(none.with(other, all), None, "{other}");
        }
    }
}
