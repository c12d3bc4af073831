//! The task that a server's runs have: the messages of a request are its inputs, the reply its output.

use abyme_core::{Inputs, Result, TaskSignature, Text, Value};

/// The last message of the user.
const QUESTION: &str = "question";
/// The other messages.
const MESSAGES: &str = "messages";
/// The texts of the messages with the role `system` or `developer`.
const SYSTEM: &str = "system";
/// The output that a client gets.
pub(crate) const ANSWER: &str = "answer";

const TEXT: &str = "question: str, messages: list[dict[str, str]], system: str -> answer: str";

const INSTRUCTIONS: &str = "\
Write the reply of a chat assistant to `question`. `messages` is the conversation until then, oldest first. \
All of it may be far longer than you can read at once: look at lengths first, search with code, and read \
only what matters. Documents may stand in any message, in `question` too. Do what `system` asks of it.";

/// The task of a server's runs, to begin an [`Rlm`](abyme_core::Rlm) with. Instructions, descriptions and
/// further outputs may be changed; the inputs and the output `answer` have to stay.
///
/// ```
/// let signature = abyme_serve::signature()?;
/// assert_eq!(
///     signature.to_string(),
///     "question: str, messages: list[dict[str, str]], system: str -> answer: str"
/// );
/// # Ok::<(), abyme_core::Error>(())
/// ```
///
/// # Errors
/// None, unless there is a bug in Abyme.
pub fn signature() -> Result<TaskSignature> {
    let signature: TaskSignature = TEXT.parse()?;
    signature
        .with_instructions(INSTRUCTIONS)
        .describe(QUESTION, "The last message of the user")?
        .describe(MESSAGES, "All other messages, oldest first, each with its `role` and `content`")?
        .describe(SYSTEM, "What the caller asks of every reply; may be empty")?
        .describe(ANSWER, "The reply, as the user reads it")
}

/// The inputs of a run.
pub(crate) fn inputs(question: String, messages: Vec<Value>, system: String) -> Inputs {
    Inputs::new()
        .with(QUESTION, Text::from(question))
        .with(MESSAGES, Value::List(messages))
        .with(SYSTEM, Text::from(system))
}
