//! Compaction: the model summarises the earlier turns of its run.

use super::{
    budget::CallSize,
    caller::ModelCaller,
    reply::{Reply, read_reply},
    transcript::{CompactionPlan, Transcript},
};
use crate::{
    error::{ErrorKind, Result},
    model::Response,
    prompt,
    trajectory::{Event, Purpose, Summaries},
};

/// The transcript of a run and what it takes to shorten it.
pub(super) struct Compactor<'c, 'a> {
    pub(super) transcript: &'c mut Transcript<'a>,
    pub(super) caller: &'c ModelCaller<'a>,
    pub(super) turn: u32,
}

impl<'c> Compactor<'c, '_> {
    /// Whether the next request fills more of what the model can read than it may.
    pub(super) fn is_due(&self) -> bool {
        let Summaries { compaction, max_input_tokens } = self.summaries();
        let limit = self.transcript.limit_bytes(max_input_tokens);
        limit.is_some_and(|limit| self.transcript.size().bytes as f64 > compaction.share * limit)
    }

    /// Has the model summarise its earlier turns, and puts the summary in their place. Says whether it did;
    /// `None` if it was not asked, because there is too little to summarise or no budget for it. Whatever
    /// goes wrong is recorded and leaves the transcript as it was.
    pub(super) async fn compact(&mut self) -> Option<bool> {
        let Summaries { compaction, max_input_tokens } = self.summaries();
        let limit = self.transcript.limit_bytes(max_input_tokens);
        let most_kept = compaction.keep_turns;
        let mut plan = self.transcript.plan_compaction(most_kept, limit.map(|limit| limit / 2.0))?;
        let mut asked = self.ask(&plan).await?;
        if matches!(&asked, Err(error) if error.kind() == ErrorKind::ContextTooLong)
            && let Some(older) = self.transcript.older_half(&plan)
        {
            // Turns are short here: all but the last ones are too long for the model as well.
            plan = older;
            asked = self.ask(&plan).await?;
        }
        // A failed call is recorded as one.
        let Ok(response) = asked else { return Some(false) };
        let taken = self.taken_names();
        let is_shorter =
            summary(&response).is_some_and(|text| self.transcript.compact(self.turn, plan, &text, &taken));
        if !is_shorter {
            let problem = "the reply is no summary that is shorter than the turns".to_owned();
            self.caller.recorder().record(Event::ReplyRefused {
                turn: self.turn,
                purpose: Purpose::Compact,
                problem,
            });
        }
        Some(is_shorter)
    }

    /// Asks for the summary of a plan; `None` without a budget for it.
    async fn ask(&self, plan: &CompactionPlan) -> Option<Result<Response>> {
        let request = self.transcript.summary_request(plan, prompt::compact());
        let model = &*self.caller.config().model;
        let size = CallSize::of(&request);
        let _reserved = self.caller.budget().reserve_reply(model, size, Purpose::Compact).ok()?;
        Some(Box::pin(self.caller.root(self.turn, Purpose::Compact, request, "")).await)
    }

    /// Leaves out earlier turns without a summary. Says whether that shortens the transcript.
    pub(super) fn leave_out(&mut self) -> bool {
        let taken = self.taken_names();
        self.transcript.leave_out(self.turn, &taken)
    }

    fn summaries(&self) -> Summaries {
        self.caller.recorder().terms().summaries()
    }

    /// The names that the variable with the turns cannot have.
    fn taken_names(&self) -> Vec<&'c str> {
        let config = self.caller.config();
        let names = config.signature.inputs().iter().chain(config.signature.outputs());
        names.map(|field| field.name()).chain(config.tool_names()).collect()
    }
}

/// The summary in a reply; `None` if it is but a next cell.
fn summary(response: &Response) -> Option<String> {
    let text = match read_reply(response) {
        Reply::Code { kept, reasoning, code, .. } if reasoning.len() > code.len() => kept,
        Reply::Code { .. } => return None,
        Reply::Text(text) | Reply::Markup { text, .. } | Reply::OtherLanguage { text, .. } => text,
    };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
