//! Serves `llm_query` and its batched form: the model calls that a cell makes.

use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use indexmap::IndexMap;
use tokio::time::Instant;

use super::{
    arguments::{self, check_prompt, wrong_argument},
    batch::{self, on_error},
    builtins::{LLM_QUERY, LLM_QUERY_BATCHED},
    call_numbers::CallNumbers,
    in_flight::{FlightRole, Follow, Lead, Question, SharedAnswer},
    options::Options,
    reply_type::ReplyType,
};
use crate::{
    interpreter::{HostCall, HostError},
    model::{LanguageModel, Message, Request, Usage},
    prompt,
    rlm::{
        budget::{CallSize, Reservation},
        caller::{CANCELLED, ModelCaller, SubCall, SubCallAnswer},
        guard::OnDrop,
        resume::answers::Answers,
    },
    signature::{FieldType, RecordField, TaskSignature},
    trajectory::{CallOutcome, CallRef, Event},
    value::{Text, Value, text_repr},
};

/// How much of a reply that does not fit an error shows.
const SHOWN_CHARS: usize = 200;

/// The sub-calls of one cell.
pub(in crate::rlm) struct SubCalls<'a> {
    caller: &'a ModelCaller<'a>,
    turn: u32,
    /// What the record knows of the cell's calls.
    answers: &'a Answers,
    /// What the model should know of batches that failed in part, beside what they returned.
    notes: Mutex<Vec<String>>,
}

/// A prompt that is about to be asked.
enum BatchItem<'a> {
    /// The prompt is not sent.
    Refused(HostError),
    /// It is sent, and others may wait for its answer.
    Ask { request: Request, reserved: Reservation, lead: Option<Lead<'a, Question, SharedAnswer>> },
    /// It waits for the answer of the same prompt.
    Follow { question: Question, request: Request, follow: Follow<SharedAnswer> },
}

impl<'a> SubCalls<'a> {
    pub(in crate::rlm) fn new(caller: &'a ModelCaller<'a>, turn: u32, answers: &'a Answers) -> Self {
        Self { caller, turn, answers, notes: Mutex::default() }
    }

    /// What the model should read beside what the calls returned.
    pub(in crate::rlm) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(in crate::rlm) async fn llm_query(
        &self,
        call: &HostCall,
        made: &CallNumbers,
    ) -> Result<Value, HostError> {
        let prompt = match call.kwargs.get("prompt") {
            Some(Value::Text(prompt)) => prompt,
            other => return Err(wrong_argument(LLM_QUERY, "prompt", "a str", other)),
        };
        let options = Options::of(call, self.caller, made)?;
        self.ask_one(LLM_QUERY, prompt, &options).await
    }

    pub(in crate::rlm) async fn llm_query_batched(
        &self,
        call: &HostCall,
        made: &CallNumbers,
    ) -> Result<Value, HostError> {
        let prompts = arguments::texts(call, "prompts")?;
        let options = Options::of(call, self.caller, made)?;
        let on_error = on_error(call)?;
        let items = self.items(&prompts, &options)?;
        let asked = items.into_iter().map(|item| self.ask(LLM_QUERY_BATCHED, item, &options));
        let results = join_all(asked).await;
        let is_typed = options.reply_type.is_some();
        let (value, note) = batch::returned(&call.name, "prompts", results, is_typed, on_error)?;
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).extend(note);
        Ok(value)
    }

    /// Answers in the place of a run that cannot be started here: the only output of `signature`, or a dict
    /// of all.
    pub(in crate::rlm) async fn answer(
        &self,
        function: &'static str,
        model: &dyn LanguageModel,
        prompt: String,
        signature: TaskSignature,
        made: &CallNumbers,
    ) -> Result<Value, HostError> {
        let options = Options { reply_type: reply_type(&signature), ..Options::new(model, made) };
        self.ask_one(function, &prompt.into(), &options).await
    }

    async fn ask_one(
        &self,
        function: &'static str,
        prompt: &Text,
        options: &Options<'_>,
    ) -> Result<Value, HostError> {
        let items = self.items(&[prompt], options)?;
        let asked = items.into_iter().map(|item| self.ask(function, item, options));
        join_all(asked).await.pop().unwrap_or_else(|| Err(HostError::runtime_error("no prompt was asked")))
    }

    /// Decides about each prompt at once, before the first of them is sent: what is refused, what is sent,
    /// and what waits for the same prompt. What is sent is reserved whole or not at all.
    fn items(&self, prompts: &[&Text], options: &Options<'_>) -> Result<Vec<BatchItem<'a>>, HostError> {
        enum Plan<'a> {
            Refused(HostError),
            Ask(Option<Lead<'a, Question, SharedAnswer>>),
            Follow(Box<(Question, Request)>, Follow<SharedAnswer>),
        }
        let mut requests = Vec::new();
        let mut plans = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let request = check_prompt(prompt.as_str()).map(|()| options.request(prompt.as_str()));
            let request = request.and_then(|request| {
                self.caller.budget().check_input(options.model, &request)?;
                Ok(request)
            });
            plans.push(match (request, options.question(prompt)) {
                (Err(error), _) => Plan::Refused(error),
                (Ok(request), None) => {
                    requests.push(request);
                    Plan::Ask(None)
                }
                (Ok(request), Some(question)) => {
                    match self.caller.budget().in_flight().join(question.clone()) {
                        FlightRole::Lead(lead) => {
                            requests.push(request);
                            Plan::Ask(Some(lead))
                        }
                        FlightRole::Follow(follow) => Plan::Follow(Box::new((question, request)), follow),
                    }
                }
            });
        }
        let reserved = self.caller.reserve_sub_calls(options.model, &requests)?;
        let is_sent = |plan: &&Plan<'_>| !matches!(plan, Plan::Refused(_));
        self.caller.show_asked(self.turn, plans.iter().filter(is_sent).count(), false);
        let mut reserved = requests.into_iter().zip(reserved);
        Ok(plans
            .into_iter()
            .map(|plan| match plan {
                Plan::Refused(error) => BatchItem::Refused(error),
                Plan::Follow(asked, follow) => {
                    let (question, request) = *asked;
                    BatchItem::Follow { question, request, follow }
                }
                Plan::Ask(lead) => match reserved.next() {
                    Some((request, reserved)) => BatchItem::Ask { request, reserved, lead },
                    None => BatchItem::Refused(HostError::runtime_error("the prompt was not sent")),
                },
            })
            .collect())
    }

    async fn ask(
        &self,
        function: &'static str,
        mut item: BatchItem<'a>,
        options: &Options<'_>,
    ) -> Result<Value, HostError> {
        loop {
            item = match item {
                BatchItem::Refused(error) => return Err(error),
                BatchItem::Ask { request, reserved, lead } => {
                    let answered = self.send(function, request, reserved, options).await;
                    let value = answered.value.clone();
                    if let Some(lead) = lead {
                        lead.answer(answered);
                    }
                    return value;
                }
                BatchItem::Follow { question, request, follow } => {
                    if let Some(answered) = self.wait(function, &request, follow, options).await {
                        return answered.value;
                    }
                    // The call that asked was dropped with its cell.
                    match self.caller.budget().in_flight().join(question.clone()) {
                        FlightRole::Follow(follow) => BatchItem::Follow { question, request, follow },
                        FlightRole::Lead(lead) => {
                            let reserved = self.caller.reserve_sub_call(options.model, &request)?;
                            BatchItem::Ask { request, reserved, lead: Some(lead) }
                        }
                    }
                }
            };
        }
    }

    /// Sends a prompt, and has a reply that does not fit corrected once.
    async fn send(
        &self,
        function: &'static str,
        request: Request,
        reserved: Reservation,
        options: &Options<'_>,
    ) -> SharedAnswer {
        let (model, timeout, made) = (options.model, options.timeout, options.made);
        let mut asked = SubCall { function, model, request, timeout, repairs: None, made };
        let mut answered = SharedAnswer { by: None, text: String::new(), value: Ok(Value::None) };
        let first = match self.sub_call(&asked, reserved).await {
            Ok(reply) => reply,
            Err(error) => return SharedAnswer { value: Err(error), ..answered },
        };
        let by = |call| Some(CallRef::new(self.caller.recorder().run(), call));
        answered.by = by(first.call);
        answered.text.clone_from(&first.text);
        let Some(reply_type) = &options.reply_type else {
            return SharedAnswer { value: Ok(first.text.into()), ..answered };
        };
        let problem = match reply_type.read(&first.text, first.is_cut) {
            Ok(value) => return SharedAnswer { value: Ok(value), ..answered },
            Err(problem) => problem,
        };
        let said = if first.text.trim().is_empty() { "(no reply)" } else { &first.text };
        asked.request.messages.push(Message::assistant(said));
        asked.request.messages.push(Message::user(prompt::typed_sub_call_again(&problem)));
        asked.repairs = Some(first.call);
        let unfit = |problem: &str, text: &str, and: &str| {
            let begins = text_repr(text, SHOWN_CHARS);
            let message = format!("the reply does not fit the schema{and}: {problem}; it begins {begins}");
            Err(HostError::value_error(message))
        };
        let Ok(reserved) = self.caller.reserve_sub_call(options.model, &asked.request) else {
            let value = unfit(&problem, &first.text, ", and no sub-call is left to have it corrected");
            return SharedAnswer { value, ..answered };
        };
        match self.sub_call(&asked, reserved).await {
            Ok(second) => {
                let value = reply_type.read(&second.text, second.is_cut);
                let value = value.or_else(|problem| unfit(&problem, &second.text, ", corrected or not"));
                SharedAnswer { by: by(second.call), text: second.text, value }
            }
            Err(error) => {
                let and = format!(", and asking again failed ({})", error.message);
                SharedAnswer { value: unfit(&problem, &first.text, &and), ..answered }
            }
        }
    }

    /// One call of a model, unless the record has its answer.
    async fn sub_call(&self, asked: &SubCall<'_>, reserved: Reservation) -> Result<SubCallAnswer, HostError> {
        let Some(past) = self.answers.sub_call(asked) else {
            let prompt = || asked.request.messages.last().map_or("", |message| &message.content);
            let arguments = || IndexMap::from([("prompt".to_owned(), Value::from(prompt()))]);
            self.answers.check_open(self.turn, asked.function, arguments)?;
            return self.caller.sub_call(self.turn, asked, reserved).await;
        };
        asked.made.add(past.call);
        if !past.is_ended {
            self.caller.recorder().record(Event::SubCallFinished {
                turn: self.turn,
                call: past.call,
                outcome: CallOutcome::of(&past.result),
                is_cut: past.is_cut,
                usage: past.usage,
                seconds: 0.0,
                answered_by: None,
            });
        }
        // It is reserved with the others of its batch, as it was. What tries used that failed is counted.
        if past.usage != Usage::default() {
            self.caller.budget().settle(asked.model.name(), CallSize::of(&asked.request), past.usage);
        }
        past.result.map(|text| SubCallAnswer { call: past.call, text, is_cut: past.is_cut })
    }

    /// Waits for the answer of another call, and records that.
    async fn wait(
        &self,
        function: &'static str,
        request: &Request,
        follow: Follow<SharedAnswer>,
        options: &Options<'_>,
    ) -> Option<SharedAnswer> {
        let (recorder, turn) = (self.caller.recorder(), self.turn);
        let call = self.caller.next_made(options.made);
        recorder.record(Event::SubCallStarted {
            turn,
            call,
            function: function.to_owned(),
            model: options.model.name().to_owned(),
            prompt: request.messages.last().map(|message| message.content.clone()).unwrap_or_default(),
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            repairs: None,
        });
        let started = Instant::now();
        let finished = |outcome, answered_by| {
            let (usage, seconds, is_cut) = (Usage::default(), started.elapsed().as_secs_f64(), false);
            let event = Event::SubCallFinished { turn, call, outcome, is_cut, usage, seconds, answered_by };
            recorder.record(event);
        };
        let unfinished = OnDrop::new(|| finished(CallOutcome::Cancelled(CANCELLED.to_owned()), None));
        let answered = follow.answer().await;
        unfinished.disarm();
        match &answered {
            Some(SharedAnswer { by, text, value: Ok(_) }) => {
                finished(CallOutcome::Result(text.clone()), by.clone());
            }
            Some(SharedAnswer { by, value: Err(error), .. }) => {
                finished(CallOutcome::Error(error.clone()), by.clone());
            }
            None => {
                let error = "the call that asked the same was cancelled; it is made again";
                finished(CallOutcome::Cancelled(error.to_owned()), None);
            }
        }
        answered
    }
}

/// What the reply has to be that stands for the outputs of a run.
fn reply_type(signature: &TaskSignature) -> Option<ReplyType> {
    let note =
        |field: &crate::signature::Field| field.description().map(|text| format!("{}: {text}", field.name()));
    let notes: Vec<_> = signature.outputs().iter().filter_map(note).collect();
    let ty = match signature.outputs() {
        [only] if *only.ty() == FieldType::Str && notes.is_empty() => return None,
        [only] => only.ty().clone(),
        fields => FieldType::Record(
            fields
                .iter()
                .map(|field| RecordField {
                    name: field.name().to_owned(),
                    ty: field.ty().clone(),
                    required: true,
                })
                .collect(),
        ),
    };
    Some(ReplyType::of(ty, notes))
}
