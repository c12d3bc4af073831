//! What a run asks its root model: for the next cell, for a summary of the turns, and for the outputs.

use super::{ASKED, EndReason, MAX_FAILED_SUMMARIES, REASONED_TO_ITS_LIMIT, Turns, is_cut_empty};
use crate::{
    error::{Error, ErrorKind, Result},
    limits::Remaining,
    model::Response,
    prompt,
    rlm::{
        budget::{CallSize, Reservation},
        compact::Compactor,
        start::Outputs,
        submitted::outputs_of_extract,
    },
    status::Status,
    trajectory::Purpose,
};
use abyme_python_syntax::visible_text;

/// Extract calls before the run gives up: one, and one with the problems of the first.
const MAX_EXTRACT_CALLS: u32 = 2;

impl<'a> Turns<'a> {
    /// Sends the transcript to the root model. One that is long for the model's context is compacted before,
    /// and one that turns out too long is compacted, or else cut, until it is sent or nothing is left to cut.
    pub(super) async fn ask(&mut self, purpose: Purpose, _reserved: Reservation) -> Result<Response> {
        self.transcript.send_pending(self.turn, purpose);
        let is_enabled = self.recorder.terms().summaries().compaction.enabled;
        let mut may_compact = is_enabled && self.failed_summaries < MAX_FAILED_SUMMARIES;
        // A summary that failed is asked for again once the model refuses what it should have shortened.
        let may_be_due = purpose != Purpose::Extract && self.failed_summaries == 0;
        if may_compact && may_be_due && self.compactor().is_due() {
            may_compact = false;
            self.compact().await;
        }
        let (mut prefill, temperature, schema) = match purpose {
            Purpose::Extract => {
                let schema = || self.config.signature.json_schema();
                ("", None, (!self.extracts_text()).then(schema))
            }
            _ if self.refuses_prefill => ("", self.profile.temperature(), None),
            _ => (self.profile.prefill(), self.profile.temperature(), None),
        };
        loop {
            let request = self.transcript.request(prefill).temperature(temperature).schema(schema.clone());
            let CallSize { bytes, .. } = CallSize::of(&request);
            match Box::pin(self.caller.root(self.turn, purpose, request, prefill)).await {
                Err(error) if error.kind() == ErrorKind::ContextTooLong => {
                    self.transcript.learn_too_long();
                    let is_compacted = std::mem::take(&mut may_compact) && self.compact().await;
                    let is_shorter = is_compacted
                        || self.transcript.cut_half(self.turn, error.message())
                        || self.leave_out_turns();
                    if !is_shorter {
                        return Err(error);
                    }
                }
                // Some servers want the user to have the last word, and none says so in the same way.
                Err(error) if error.kind() == ErrorKind::BadRequest && !prefill.is_empty() => {
                    self.refuses_prefill = true;
                    prefill = "";
                }
                answered => {
                    answered.iter().for_each(|response| self.transcript.learn(bytes, &response.usage));
                    return answered;
                }
            }
        }
    }

    fn compactor(&mut self) -> Compactor<'_, 'a> {
        Compactor { transcript: &mut self.transcript, caller: &self.caller, turn: self.turn }
    }

    /// Has the model summarise its earlier turns. Says whether it did.
    async fn compact(&mut self) -> bool {
        match self.compactor().compact().await {
            Some(true) => (self.failed_summaries, self.history_due) = (0, true),
            Some(false) => self.failed_summaries += 1,
            None => return false,
        }
        self.failed_summaries == 0
    }

    /// Leaves out earlier turns that nobody summarised. Says whether there were any.
    fn leave_out_turns(&mut self) -> bool {
        let is_shorter = self.compactor().leave_out();
        self.history_due |= is_shorter;
        is_shorter
    }

    /// What is left of the budget, in the words of the profile.
    pub(super) fn remaining(&self) -> Remaining {
        let words = self.profile.conventions().map(|of| of.footer);
        Remaining { words, ..self.budget.remaining() }
    }

    /// Whether the extract call asks for a text in place of JSON.
    fn extracts_text(&self) -> bool {
        let extracts_text = self.profile.conventions().is_some_and(|of| of.extracts_text);
        extracts_text && prompt::takes_prose(&self.config.signature)
    }

    /// What asks the model for the outputs.
    pub(super) fn extract_request(&self, reason: &str) -> String {
        match self.extracts_text() {
            true => prompt::extract_text(reason),
            false => prompt::extract(reason, &self.config.signature),
        }
    }

    /// Asks the model for the outputs as JSON, because there are no further turns.
    ///
    /// The extract call is not subject to the limit that led to it. Time is kept for it.
    pub(super) async fn extract(&mut self, end: EndReason) -> Result<Outputs> {
        let signature = &self.config.signature;
        let reason = |of: &Self| match &end {
            EndReason::Limit(limit) => of.budget.describe(*limit),
            EndReason::CutShort(error) => error.message().to_owned(),
            EndReason::Asked => ASKED.to_owned(),
        };
        let ask = |of: &Self| of.extract_request(&reason(of));
        self.transcript.add(ask(self));
        let mut failure = String::new();
        let mut model_error = None;
        for _ in 0..MAX_EXTRACT_CALLS {
            let reserved = match self.budget.reserve_extract(&*self.config.model, self.transcript.size()) {
                Ok(reserved) => reserved,
                Err(limit) => {
                    failure = format!("no extract call can be made: {}", self.budget.describe(limit));
                    break;
                }
            };
            let response = match self.ask(Purpose::Extract, reserved).await {
                Ok(response) => response,
                // That a record cannot be followed is no result of the run.
                Err(error) if error.kind() == ErrorKind::Differs => return Err(error),
                Err(error) => {
                    failure = format!("the extract call failed: {error}");
                    let is_refused = error.kind() == ErrorKind::ContentRefused;
                    let problem = error.message().to_owned();
                    model_error = Some(error);
                    if is_refused && self.transcript.replace_last(self.turn, prompt::LEFT_OUT, &problem) {
                        self.transcript.add(ask(self));
                        continue;
                    }
                    break;
                }
            };
            model_error = None;
            let outputs = outputs_of_extract(signature, &response).await;
            self.transcript.replied(self.turn, &visible_text(&response.text));
            let problems = match outputs {
                Ok(outputs) => {
                    let status = match end {
                        EndReason::Limit(limit) => Status::LimitReached(limit),
                        EndReason::CutShort(_) => Status::CutShort,
                        EndReason::Asked => Status::EndedEarly,
                    };
                    return Ok((outputs, status));
                }
                Err(problems) => problems,
            };
            self.refused(Purpose::Extract, problems.trim_end().to_owned());
            failure = match is_cut_empty(&response) {
                true => format!("the model gave no outputs: {REASONED_TO_ITS_LIMIT}"),
                false => format!("the model gave no outputs that fit: {}", problems.trim_end()),
            };
            self.transcript.add(prompt::extract_again(&problems));
        }
        let message = format!("{}, and {failure}", reason(self));
        Err(match (end, model_error) {
            (EndReason::CutShort(error), _) => Error::new(error.kind(), message).with_source(error),
            (EndReason::Limit(limit), Some(error)) => {
                Error::new(error.kind(), message).with("limit", limit).with_source(error).permanent()
            }
            (EndReason::Limit(limit), None) => {
                Error::new(ErrorKind::LimitReached, message).with("limit", limit)
            }
            (EndReason::Asked, Some(error)) => {
                Error::new(error.kind(), message).with_source(error).permanent()
            }
            (EndReason::Asked, None) => Error::new(ErrorKind::Cancelled, message),
        }
        .operation("Rlm::run"))
    }
}
