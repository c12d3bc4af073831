//! What the tests of the loop share: a small language of scripted cells.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test program uses a part of it")]

use abyme_core::{
    Captured, Error, ErrorKind, HostCall, Observation, PythonError, Rlm, RlmBuilder, Stage, Submission,
    Value, Via,
    testing::{ScriptedInterpreter, ScriptedModel},
};

/// A reply with one cell.
pub fn cell(code: &str) -> String {
    format!("I try this.\n```python\n{code}\n```")
}

/// An interpreter whose cell `ask` sends so many different prompts.
pub fn asking(prompts: usize) -> ScriptedInterpreter {
    ScriptedInterpreter::calling(move |cell| {
        let prompts = Value::list((0..prompts).map(|at| format!("prompt {at}")));
        match cell.code.as_str() {
            "ask" => vec![HostCall::new("llm_query_batched").argument("prompts", prompts)],
            _ => Vec::new(),
        }
    })
}

/// An interpreter that understands a few words instead of Python, each a line of the cell:
/// `print X`, `value X`, `raise X`, `syntax`, `submit name=text`, `final text`, `die`, `vanish`, `invalid`.
pub fn interpreter() -> ScriptedInterpreter {
    ScriptedInterpreter::from_fn(|cell| {
        let mut observation = Observation::default();
        for line in cell.code.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "print" => observation.stdout = Captured::whole(format!("{}{rest}\n", observation.stdout)),
                "value" => observation.value = Some(rest.into()),
                "raise" => observation.error = Some(PythonError::new("ValueError", rest)),
                "syntax" => {
                    let traceback =
                        "  File \"<cell>\", line 1\n    syntax\n    ^\nSyntaxError: invalid syntax";
                    let error = PythonError::new("SyntaxError", "invalid syntax").traceback(traceback);
                    observation.error = Some(error.stage(Stage::Compile).line(1));
                }
                "submit" => {
                    let fields = rest.split(';').filter_map(|pair| pair.split_once('='));
                    let fields = fields.map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
                    observation.submission = Some(Submission::fields(Via::Submit, fields));
                }
                "final" => observation.submission = Some(Submission::value(Via::Final, rest)),
                "die" => observation.session_ended = Some("the interpreter exited with code 3".into()),
                "vanish" => return Err(Error::new(ErrorKind::SessionEnded, "the interpreter is gone")),
                "invalid" => return Err(Error::new(ErrorKind::InvalidInput, "the cell is not taken")),
                _ => {}
            }
        }
        Ok(observation)
    })
}

/// A builder with a script of replies, and the model to see what it was asked.
pub fn scripted<R: Into<abyme_core::Response>>(
    signature: &str,
    replies: impl IntoIterator<Item = R>,
) -> (RlmBuilder, ScriptedModel) {
    let model = ScriptedModel::replies(replies);
    let builder = Rlm::builder(signature).model(model.clone()).interpreter(interpreter().factory());
    (builder, model)
}

/// The last message of a model's request number `index`.
pub fn said(model: &ScriptedModel, index: usize) -> String {
    model.requests()[index].messages.last().unwrap().content.clone()
}

/// The requests of a run as one text, messages marked by their roles.
pub fn transcript(request: &abyme_core::Request) -> String {
    request
        .messages
        .iter()
        .map(|message| format!("=== {} ===\n{}\n\n", message.role, message.content))
        .collect()
}
