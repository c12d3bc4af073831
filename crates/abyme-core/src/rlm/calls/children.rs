//! Serves `rlm_query` and its batched form: runs that a cell starts, with sessions of their own.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use indexmap::IndexMap;
use tokio::time::Instant;

use super::{
    arguments::{self, given, wrong_argument},
    batch::{self, on_error},
    builtins::{RLM_QUERY, RLM_QUERY_BATCHED},
    call_numbers::CallNumbers,
    reply_type::ReplyType,
    sub_calls::SubCalls,
};
use crate::{
    error::Result,
    inputs::Inputs,
    interpreter::{HostCall, HostError},
    limits::Limits,
    model::{LanguageModel, Usage},
    prompt,
    rlm::{
        caller::{CANCELLED, ModelCaller},
        config::RlmConfig,
        guard::OnDrop,
        resume::{
            answers::{Answers, PastChild, Tally},
            effects::Effects,
        },
        start::{RunParts, StartRun, run_id},
    },
    signature::{Field, FieldType, TaskSignature},
    telemetry,
    tool::ToolUses,
    trajectory::{CallOutcome, Event, ParentCall, Past},
    value::{Text, Value},
};

/// The children of one cell.
pub(in crate::rlm) struct Children<'a> {
    caller: &'a ModelCaller<'a>,
    start: &'a dyn StartRun,
    tool_uses: &'a ToolUses,
    effects: &'a Effects,
    turn: u32,
    /// What the record knows of the cell's calls.
    answers: &'a Answers,
    /// What the model should know of batches that failed in part, beside what they returned.
    notes: Mutex<Vec<String>>,
}

/// What a child is asked for, and how.
struct ChildOptions<'a> {
    function: &'static str,
    signature: Option<&'a Value>,
    model: &'a Arc<dyn LanguageModel>,
    max_iterations: Option<u32>,
    /// Takes note of the children that are started.
    made: &'a CallNumbers,
}

/// The task of one child.
struct Task {
    prompt: Text,
    config: RlmConfig,
    inputs: Inputs,
}

impl<'a> Children<'a> {
    pub(in crate::rlm) fn new(
        caller: &'a ModelCaller<'a>,
        start: &'a dyn StartRun,
        tool_uses: &'a ToolUses,
        effects: &'a Effects,
        turn: u32,
        answers: &'a Answers,
    ) -> Self {
        Self { caller, start, tool_uses, effects, turn, answers, notes: Mutex::default() }
    }

    /// A call that is served under these limits.
    pub(in crate::rlm) async fn rlm_query(
        &self,
        call: &HostCall,
        limits: &Limits,
        made: &CallNumbers,
    ) -> Result<Value, HostError> {
        let prompt = match call.kwargs.get("prompt") {
            Some(Value::Text(prompt)) => prompt,
            other => return Err(wrong_argument(RLM_QUERY, "prompt", "a str", other)),
        };
        let context = given(call, "context");
        let asked = self.asked(call, RLM_QUERY, made)?;
        let task = self.task(&asked, limits, prompt, context)?;
        if !self.may_be_started(limits) {
            let sub_calls = SubCalls::new(self.caller, self.turn, self.answers);
            return sub_calls
                .answer(RLM_QUERY, &**asked.model, flat_prompt(prompt, context), task.config.signature, made)
                .await;
        }
        self.reserve(1)?;
        self.caller.show_asked(self.turn, 1, true);
        let waiting = self.caller.budget().lend_slot();
        let result = self.child(&asked, task).await;
        drop(waiting);
        self.caller.budget().take_slot().await;
        result
    }

    /// The same for many at once.
    pub(in crate::rlm) async fn rlm_query_batched(
        &self,
        call: &HostCall,
        limits: &Limits,
        made: &CallNumbers,
    ) -> Result<Value, HostError> {
        let prompts = arguments::texts(call, "prompts")?;
        let asked = self.asked(call, RLM_QUERY_BATCHED, made)?;
        let on_error = on_error(call)?;
        let contexts: Vec<Option<&Value>> = match given(call, "contexts") {
            None => vec![None; prompts.len()],
            Some(Value::List(contexts)) if contexts.len() == prompts.len() => {
                contexts.iter().map(|context| Some(context).filter(|context| !context.is_none())).collect()
            }
            Some(Value::List(contexts)) => {
                let message = format!(
                    "{RLM_QUERY_BATCHED}() needs a context for each prompt: there are {} prompts and {} \
                     contexts",
                    prompts.len(),
                    contexts.len()
                );
                return Err(HostError::value_error(message));
            }
            other => return Err(wrong_argument(RLM_QUERY_BATCHED, "contexts", "a list", other)),
        };
        let tasks = prompts
            .iter()
            .zip(&contexts)
            .map(|(prompt, context)| self.task(&asked, limits, prompt, *context));
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
        let results = if self.may_be_started(limits) {
            self.reserve(tasks.len())?;
            self.caller.show_asked(self.turn, tasks.len(), true);
            let waiting = self.caller.budget().lend_slot();
            let results = join_all(tasks.into_iter().map(|task| self.child(&asked, task))).await;
            drop(waiting);
            self.caller.budget().take_slot().await;
            results
        } else {
            let sub_calls = SubCalls::new(self.caller, self.turn, self.answers);
            let asked = &asked;
            let flat = tasks.into_iter().zip(prompts.iter().zip(contexts));
            join_all(flat.map(|(task, (prompt, context))| {
                let prompt = flat_prompt(prompt, context);
                sub_calls.answer(RLM_QUERY_BATCHED, &**asked.model, prompt, task.config.signature, made)
            }))
            .await
        };
        let is_typed = asked.signature.is_some();
        let (value, note) = batch::returned(RLM_QUERY_BATCHED, "prompts", results, is_typed, on_error)?;
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).extend(note);
        Ok(value)
    }

    /// What the model should read beside what the calls returned.
    pub(in crate::rlm) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the run may have children.
    fn may_be_started(&self, limits: &Limits) -> bool {
        self.caller.budget().depth() < limits.max_depth
    }

    /// Reserves the first turns of so many children. Those of a replay had theirs.
    fn reserve(&self, count: usize) -> Result<(), HostError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match self.answers.is_replay() {
            true => self.caller.budget().recall(Usage::default(), count),
            false => self.caller.budget().reserve_children(count)?,
        }
        Ok(())
    }

    fn asked<'c>(
        &'c self,
        call: &'c HostCall,
        function: &'static str,
        made: &'c CallNumbers,
    ) -> Result<ChildOptions<'c>, HostError> {
        let signature = given(call, "signature");
        let max_iterations = match given(call, "max_iterations") {
            None => None,
            Some(Value::Int(count)) if *count > 0 => u32::try_from(*count).ok(),
            Some(Value::Int(count)) => {
                let message = format!("{function}() needs at least 1 as `max_iterations`, not {count}");
                return Err(HostError::value_error(message));
            }
            other => return Err(wrong_argument(function, "max_iterations", "an int", other)),
        };
        let model = self.caller.sub_model(arguments::model(call)?)?;
        Ok(ChildOptions { function, signature, model, max_iterations, made })
    }

    /// The signature and the inputs of a child that is asked for `prompt` over `context`.
    fn task(
        &self,
        asked: &ChildOptions<'_>,
        limits: &Limits,
        prompt: &Text,
        context: Option<&Value>,
    ) -> Result<Task, HostError> {
        arguments::check_prompt(prompt.as_str())?;
        let invalid = |message: String| HostError::value_error(format!("{}(): {message}", asked.function));
        let signature = signature(asked.signature, context.is_some());
        let signature = signature.map_err(|error| invalid(error.message().to_owned()))?;
        let names: Vec<_> = signature.inputs().iter().map(Field::name).collect();
        let mut inputs = match (names.as_slice(), context) {
            ([], None) => Inputs::new(),
            ([], Some(_)) => {
                let message = format!("the signature `{signature}` has no input to hold the context");
                return Err(invalid(message));
            }
            ([only], None) => Inputs::new().with(*only, prompt.clone()),
            ([only], Some(context)) => Inputs::new().with(*only, context.clone()),
            (_, Some(Value::Dict(entries))) => {
                entries.iter().map(|(name, value)| (name, value.clone())).collect()
            }
            (_, given) => {
                let given = given.map_or("None", Value::type_name);
                let message =
                    format!("the context must be a dict of the inputs of `{signature}`, not {given}");
                return Err(invalid(message));
            }
        };
        inputs = signature.checked_inputs(&inputs).map_err(|error| invalid(error.message().to_owned()))?;
        // A task in words is said; one that is longer than what a model should read at once is looked at.
        let (mut signature, instructions) = if prompt.chars_len() <= limits.max_output_chars {
            (signature, prompt.as_str().to_owned())
        } else {
            let name = ["prompt", "task", "request"].into_iter().find(|name| signature.input(name).is_none());
            let name = name.unwrap_or("prompt");
            inputs = inputs.with(name, prompt.clone());
            let fields = signature.inputs().iter().cloned().chain([Field::new(name, FieldType::Str)]);
            let longer = TaskSignature::new(fields, signature.outputs().to_vec());
            (longer.map_err(|error| invalid(error.message().to_owned()))?, prompt::task_in_variable(name))
        };
        signature = signature.with_instructions(instructions);
        let config = self.caller.config().for_child(signature, asked.model.clone());
        let config = config.map_err(|error| invalid(error.message().to_owned()))?;
        Ok(Task { prompt: prompt.clone(), config, inputs })
    }

    /// Runs one child, whose first turn is reserved, and records it.
    async fn child(&self, asked: &ChildOptions<'_>, task: Task) -> Result<Value, HostError> {
        let Task { prompt, config, inputs } = task;
        let past = self.answers.child(asked.function, prompt.as_str(), &config.signature, &inputs);
        let parent_recorder = self.caller.recorder();
        let is_replayed = self.answers.is_replay();
        if past.is_none() {
            let arguments = || IndexMap::from([("prompt".to_owned(), Value::Text(prompt.clone()))]);
            self.answers.check_open(self.turn, asked.function, arguments)?;
            self.effects.check_child(self.answers, &config.tools).await;
        }
        if !is_replayed && let Some(PastChild { call, child, result: Some(result), .. }) = &past {
            asked.made.add(*call);
            let mut tally = Tally::default();
            parent_recorder.past().iter().for_each(|past| tally.add_child(past, child));
            // Its first turn is reserved with the others of its batch.
            self.caller.budget().recall(tally.usage, tally.sub_calls.saturating_sub(1));
            tally.tools.iter().for_each(|tool| self.tool_uses.recall(tool));
            return result.clone();
        }
        let before = past.as_ref().map(|past| past.child.as_str());
        let turn = self.turn;
        let (call, child) = match &past {
            Some(past) if !is_replayed => {
                asked.made.add(past.call);
                (past.call, past.child.clone())
            }
            _ => (self.caller.next_made(asked.made), run_id()),
        };
        let terms = parent_recorder.terms().child(asked.max_iterations, asked.model.max_input_tokens());
        let recorder = parent_recorder.child(child.clone(), before, terms);
        let budget = self.caller.budget().child(recorder.terms(), recorder.clock());
        if before.is_none() || is_replayed {
            parent_recorder.record(Event::ChildStarted {
                turn,
                call,
                function: asked.function.to_owned(),
                child: child.clone(),
                prompt: prompt.as_str().to_owned(),
            });
        }
        let started = Instant::now();
        let finished = |outcome| {
            let (usage, seconds) = (budget.usage(), started.elapsed().as_secs_f64());
            let child = child.clone();
            let event = Event::ChildFinished { turn, call, child, outcome, usage, seconds };
            self.caller.recorder().record(event);
        };
        let unfinished = OnDrop::new(|| finished(CallOutcome::Cancelled(CANCELLED.to_owned())));
        let parent = ParentCall::new(self.caller.recorder().run(), call, budget.depth());
        let parts = RunParts {
            config: &config,
            inputs: &inputs,
            budget: &budget,
            recorder: &recorder,
            tool_uses: self.tool_uses,
            label: None,
            session: None,
            earlier: None,
            forks: None,
            parent: Some(&parent),
            seed: recorder.past().and_then(Past::seed),
            session_unix_ms: recorder.past().and_then(Past::session_unix_ms),
            snapshots: None,
            effects: self.effects,
            forked_from: None,
            finish: None,
        };
        let span = telemetry::child(recorder.run(), budget.depth(), &config.signature);
        let ended = telemetry::within(&span, self.start.start(parts)).await;
        unfinished.disarm();
        let result = ended
            .map(|(outputs, _)| result_of(outputs))
            .map_err(|error| HostError::runtime_error(format!("the child run failed: {}", error.message())));
        finished(CallOutcome::of(&result));
        result
    }
}

/// The signature that the argument `signature` means: one in words, with its inputs or without, or the type
/// of the result, in each of the ways that sub-calls take one.
fn signature(given: Option<&Value>, has_context: bool) -> Result<TaskSignature> {
    let inputs = has_context.then(|| Field::untyped("context"));
    let Some(given) = given else { return TaskSignature::new(inputs, [Field::untyped("answer")]) };
    let ty = match given {
        Value::Text(text) if text.parse::<FieldType>().is_ok() => ReplyType::from_value(given)?,
        Value::Text(text) if text.contains("->") => return text.parse(),
        Value::Text(text) => {
            let outputs = format!("{} -> {text}", if has_context { "context" } else { "" });
            // `lst[str]` is a type with a mistake, `names: lst[str]` an output.
            let is_type =
                text.find([':', ',', '[', '{', '|']).is_some_and(|at| !text[at..].starts_with([':', ',']));
            return outputs.parse().map_err(|error| match text.parse::<FieldType>() {
                Err(of_type) if is_type => of_type,
                _ => error,
            });
        }
        other => ReplyType::from_value(other)?,
    };
    let answer = ty.map_or_else(|| Field::new("answer", FieldType::Str), |ty| ty.into_output("answer"));
    TaskSignature::new(inputs, [answer])
}

/// What a cell gets of a child: the value of its only output, or a dict of all.
fn result_of(mut outputs: IndexMap<String, Value>) -> Value {
    match outputs.len() {
        1 => outputs.swap_remove_index(0).map_or(Value::None, |(_, value)| value),
        _ => Value::Dict(outputs),
    }
}

/// The prompt and its context as one text, for a model that answers without a session.
fn flat_prompt(prompt: &Text, context: Option<&Value>) -> String {
    match context {
        None => prompt.as_str().to_owned(),
        Some(Value::Text(context)) => format!("{}\n\n{}", prompt.as_str(), context.as_str()),
        Some(context) => format!("{}\n\n{}", prompt.as_str(), context.to_json()),
    }
}
