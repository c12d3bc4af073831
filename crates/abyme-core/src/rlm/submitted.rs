//! Outputs as a model submits them, read as their types and checked. Checks are code of the host's that may
//! take its time, so they run where nothing else waits for them.

use indexmap::IndexMap;

use super::extract::read_outputs;
use crate::{
    interpreter::{Submission, Submitted},
    model::Response,
    runtime::off_the_runtime,
    signature::TaskSignature,
    value::Value,
};

/// The outputs, or what does not fit, for the model to read.
pub(super) type Submittal = Result<IndexMap<String, Value>, String>;

/// The outputs of a submission.
pub(super) async fn outputs_of(signature: &TaskSignature, submission: Submission) -> Submittal {
    let read = |signature: &TaskSignature| match submission.submitted {
        Submitted::Fields(fields) => signature.coerce_outputs(fields),
        Submitted::Value(value) => signature.coerce_single(value),
    };
    checked(signature, |signature| read(signature).map_err(|problems| problems.to_string())).await
}

/// The outputs as an answer in words gives them.
pub(super) async fn outputs_of_answer(signature: &TaskSignature, answer: String) -> Submittal {
    let value = Value::from(answer);
    checked(signature, |signature| signature.coerce_single(value).map_err(|problems| problems.to_string()))
        .await
}

/// The outputs as the reply to an extract call gives them.
pub(super) async fn outputs_of_extract(signature: &TaskSignature, response: &Response) -> Submittal {
    let response = response.clone();
    checked(signature, move |signature| read_outputs(signature, &response)).await
}

async fn checked(
    signature: &TaskSignature,
    read: impl FnOnce(&TaskSignature) -> Submittal + Send + 'static,
) -> Submittal {
    if !signature.has_checks() {
        return read(signature);
    }
    let signature = signature.clone();
    let read = off_the_runtime(move || read(&signature)).await;
    read.unwrap_or_else(|| Err("the program is shutting down".to_owned()))
}
