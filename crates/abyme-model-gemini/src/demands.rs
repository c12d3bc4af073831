//! What a model does not take, learned from its refusals.

/// What the requests of one model have to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// No word on how to think.
    pub(crate) no_thinking: bool,
    /// No schema of the reply.
    pub(crate) no_schema: bool,
}

/// What a request held that may be refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) thinking: bool,
    pub(crate) schema: bool,
}

impl Demands {
    /// These demands and the one in a refusal; `None` if it is about something else.
    pub(crate) fn with(self, refusal: &str, sent: Sent) -> Option<Self> {
        let refusal = refusal.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| refusal.contains(word));
        if sent.thinking && !self.no_thinking && says(&["thinking", "thoughts"]) {
            return Some(Self { no_thinking: true, ..self });
        }
        // Gemma has no JSON mode, and too deep a schema is refused as such.
        if sent.schema && !self.no_schema && says(&["schema", "json mode", "response_mime_type"]) {
            return Some(Self { no_schema: true, ..self });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_the_words_of_the_api() {
        let all = Sent { thinking: true, schema: true };
        let none = Demands::default();
        for (refusal, expected) in [
            ("Thinking is not enabled for this model", Demands { no_thinking: true, ..none }),
            (
                "Budget 0 is invalid. This model only works in thinking mode.",
                Demands { no_thinking: true, ..none },
            ),
            ("JSON mode is not enabled for models/gemma-3-27b-it", Demands { no_schema: true, ..none }),
            (
                "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth.",
                Demands { no_schema: true, ..none },
            ),
        ] {
            assert_eq!(none.with(refusal, all), Some(expected), "{refusal}");
            assert_eq!(none.with(refusal, Sent::default()), None, "not sent: {refusal}");
            assert_eq!(expected.with(refusal, all), None, "it is not repeated for ever: {refusal}");
        }
        assert_eq!(none.with("The input token count exceeds the maximum number of tokens", all), None);
    }
}
