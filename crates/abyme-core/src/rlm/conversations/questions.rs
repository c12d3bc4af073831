//! What was asked in a conversation and answered, the names that this has as variables of the session, and
//! how the model is told.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::ChangedVariable,
    model::Usage,
    names::{self, NameUse},
    prompt::{self, EarlierQuestion},
    rlm::{
        config::{RlmConfig, tool_names},
        start::EarlierInputs,
    },
    signature::Field,
    status::Status,
    trajectory::{Event, Trajectory},
    value::Value,
};

/// The most variables of a question that the model is told of, beside inputs and results.
const MAX_MADE: usize = 40;

/// A question of a [`Conversation`](crate::Conversation), and what became of it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PastQuestion {
    /// The inputs that it gave, without those that it took over from earlier questions.
    pub inputs: IndexMap<String, Value>,
    /// Its outputs; `None` if it failed or was cancelled.
    pub outputs: Option<IndexMap<String, Value>>,
    /// How its run ended, if there are outputs.
    pub status: Option<Status>,
    /// What its run used.
    pub usage: Usage,
    /// Variables that its cells made or changed, as far as they are known and still there.
    pub made: Vec<ChangedVariable>,
}

/// The questions of a conversation so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Questions {
    pub(super) past: Vec<PastQuestion>,
    /// What is left of them once a session was lost, and how much of it the model is told.
    pub(super) told: EarlierQuestions,
    pub(super) usage: Usage,
}

/// What the model is told of earlier questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct EarlierQuestions {
    /// The oldest questions, which are no longer listed, because the list became too long.
    pub(super) unlisted: usize,
    /// Of the questions up to this one, nothing is left that cells made: their session is gone.
    pub(super) lost: usize,
}

/// A variable that a conversation has put, or will put, into its session.
struct Variable<'a> {
    name: String,
    /// What it was called in its question.
    field: &'a str,
    question: usize,
    is_output: bool,
    value: &'a Value,
}

/// What a new question begins with.
#[derive(Debug)]
pub(super) struct NextQuestion {
    /// What it gives that is not the same as before.
    pub(super) given: IndexMap<String, Value>,
    /// All that its session is to hold.
    pub(super) inputs: Inputs,
    pub(super) earlier: EarlierInputs,
}

impl Questions {
    /// Begins a question. Inputs that it leaves out are those of earlier questions.
    ///
    /// # Errors
    /// Those of inputs that do not fit the signature.
    pub(super) fn next(
        &mut self,
        config: &RlmConfig,
        inputs: &Inputs,
        max_preview_chars: usize,
        max_earlier_chars: usize,
    ) -> Result<NextQuestion> {
        let signature = &config.signature;
        let latest = self.latest();
        let given = latest.iter().map(|(name, value)| (*name, *value)).chain(inputs.iter());
        let whole: Inputs = given.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let whole = signature.checked_inputs(&whole)?;
        let given: IndexMap<String, Value> = whole
            .iter()
            .filter(|(name, value)| !latest.get(name).is_some_and(|latest| latest.is_same(value)))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        let number = self.past.len() + 1;
        let variables = self.variables(config, &given);
        let earlier = variables.iter().filter(|variable| signature.input(&variable.name).is_none());
        let inputs = earlier.map(|variable| (variable.name.clone(), variable.value.clone()));
        let inputs: Inputs = inputs.chain(whole.iter().map(|(n, v)| (n.to_owned(), v.clone()))).collect();
        let field = |variable: &Variable<'_>| match variable.is_output {
            true => signature.output(variable.field).cloned(),
            false => signature.input(variable.field).cloned(),
        };
        let fields = variables.iter().filter(|variable| signature.input(&variable.name).is_none());
        let fields = fields.filter_map(|variable| Some((variable.name.clone(), field(variable)?))).collect();
        let list = |from: usize| -> Vec<String> {
            let questions = self.past.iter().enumerate().skip(from);
            let questions = questions.map(|(at, question)| {
                let shown = |is_output: bool| {
                    let of = variables.iter().filter(move |one| one.question == at);
                    let of = of.filter(move |variable| variable.is_output == is_output);
                    of.map(|variable| (variable.name.as_str(), variable.value, field(variable))).collect()
                };
                let made = question.made.iter().map(|one| (one.name.as_str(), one.summary.as_str()));
                let made = if at < self.told.lost { Vec::new() } else { made.collect() };
                let inputs = shown(false);
                let outputs = question.outputs.as_ref().map(|_| shown(true));
                prompt::earlier_question(
                    &EarlierQuestion { number: at + 1, inputs, outputs, made },
                    max_preview_chars,
                )
            });
            questions.collect()
        };
        let size = |texts: &[String]| texts.iter().map(|text| text.chars().count()).sum::<usize>();
        let mut unlisted = self.told.unlisted;
        let mut listed = list(unlisted);
        if size(&listed) > max_earlier_chars {
            // Half of it goes at once, so that the list then grows at its end again for a while.
            while listed.len() > 1 && size(&listed) > max_earlier_chars / 2 {
                listed.remove(0);
                unlisted += 1;
            }
        }
        // An input that is taken over from a question that is not listed is described again.
        let taken_over = variables.iter().filter(|variable| {
            signature.input(&variable.name).is_some()
                && variable.question >= unlisted
                && !given.contains_key(&variable.name)
        });
        let taken_over: Vec<_> =
            taken_over.map(|variable| (variable.name.as_str(), variable.question + 1)).collect();
        let text = match self.past.is_empty() {
            true => String::new(),
            false => prompt::earlier_questions(unlisted, &listed, self.told.lost, number, &taken_over),
        };
        let names = earlier_names(&variables, signature.inputs(), &taken_over);
        let earlier = EarlierInputs { text, names, fields };
        self.told.unlisted = unlisted;
        Ok(NextQuestion { given, inputs, earlier })
    }

    /// The latest value of each input.
    fn latest(&self) -> IndexMap<&str, &Value> {
        let inputs = self.past.iter().flat_map(|question| &question.inputs);
        inputs.map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// All inputs and results, by the names that they have while a question is answered that gives `given`.
    ///
    /// An input has its own name until a later question gives one of that name. Then it has the number of its
    /// question at its end, as results always have: `question_1`, `answer_1`.
    fn variables<'a>(&'a self, config: &RlmConfig, given: &IndexMap<String, Value>) -> Vec<Variable<'a>> {
        let mut variables = Vec::new();
        for (at, question) in self.past.iter().enumerate() {
            for (field, value) in &question.inputs {
                let later = self.past[at + 1..].iter().map(|later| &later.inputs).chain([given]);
                let name = match later.into_iter().any(|inputs| inputs.contains_key(field)) {
                    true => numbered(config, field, at + 1),
                    false => field.clone(),
                };
                variables.push(Variable { name, field, question: at, is_output: false, value });
            }
            for (field, value) in question.outputs.iter().flatten() {
                let name = numbered(config, field, at + 1);
                variables.push(Variable { name, field, question: at, is_output: true, value });
            }
        }
        variables
    }

    /// All inputs and results by their names between two questions.
    pub(super) fn values(&self, config: &RlmConfig) -> IndexMap<String, Value> {
        let variables = self.variables(config, &IndexMap::new());
        variables.into_iter().map(|variable| (variable.name, variable.value.clone())).collect()
    }

    /// Notes what became of a question.
    pub(super) fn add(&mut self, mut question: PastQuestion, trajectory: Option<&Trajectory>) {
        if let Some(trajectory) = trajectory {
            let run = trajectory.run();
            let mut made: IndexMap<&str, &ChangedVariable> = IndexMap::new();
            for record in trajectory.records().filter(|record| record.run == run) {
                match &record.event {
                    Event::CellFinished { observation, .. } => {
                        let public = observation.changed.iter().filter(|one| !one.name.starts_with('_'));
                        made.extend(public.map(|changed| (changed.name.as_str(), changed)));
                    }
                    Event::SessionLost { .. } => {
                        made.clear();
                        self.lose();
                    }
                    _ => {}
                }
            }
            question.made = made.into_values().take(MAX_MADE).cloned().collect();
        }
        self.usage += question.usage;
        self.past.push(question);
    }

    /// Notes that the session of all questions so far is gone.
    pub(super) fn lose(&mut self) {
        self.told.lost = self.past.len();
        self.past.iter_mut().for_each(|question| question.made.clear());
    }

    /// Refuses a question once the conversation has used what it may.
    pub(super) fn exhausted(&self, limit: &str, used: &str) -> Error {
        let message = format!(
            "the conversation has used what it may: {limit}, and its {} questions used {used}",
            self.past.len()
        );
        Error::new(ErrorKind::LimitReached, message).operation("Conversation::ask")
    }
}

/// The names that the list of earlier questions describes, so that the current one does not.
fn earlier_names(variables: &[Variable<'_>], inputs: &[Field], taken_over: &[(&str, usize)]) -> Vec<String> {
    let is_input = |name: &str| inputs.iter().any(|field| field.name() == name);
    let earlier = variables.iter().map(|variable| variable.name.as_str()).filter(|name| !is_input(name));
    earlier.chain(taken_over.iter().map(|(name, _)| *name)).map(str::to_owned).collect()
}

/// The name of a variable that is of an earlier question, by its number. Where something else has it, `_` is
/// added.
fn numbered(config: &RlmConfig, field: &str, number: usize) -> String {
    let mut name = format!("{field}_{number}");
    let is_taken = |name: &str| {
        config.signature.input(name).is_some()
            || tool_names(&config.tools, &config.python_tools).any(|tool| tool == name)
            || names::check_name(name, NameUse::Input).is_err()
    };
    while is_taken(&name) {
        name.push('_');
    }
    name
}
