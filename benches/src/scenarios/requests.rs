//! Scenarios `requests`, `prefix-share` and `prefix-share-messages`. All bytes sent to the model over a run
//! of 20 turns, and the share of them that repeats the beginning of the request before, which providers
//! charge less for. Both are counted in the messages' JSON. The share is counted byte by byte, as caches see
//! it that work by themselves, and by whole messages, as caches see it that keep what ends at a mark.
//!
//! The turns are the same for all three systems: a thought of 140 characters, a cell of 200, an output of 1
//! 500, and in every fifth turn one of 30 000, which is over the limit of all three. So are the system
//! message and the description of the inputs: Abyme's own. Only the shape of what follows differs:
//!
//! - Abyme: what it sent, taken from a run with a scripted model.
//! - DSPy's shape (3.4, `dspy.RLM` with its chat adapter): each request is a system and one user message.
//!   That holds the description, then all turns so far as text, numbered, each with its thought, its fenced
//!   code, and the output under a line with its length, cut to 10 000 characters, first and last half; last
//!   comes the number of the turn.
//! - rlms' shape (0.1, `core/rlm.py`): messages are appended: the turn's number as the user, the reply as it
//!   came, the output as the user with the names of the variables, cut after 20 000 characters.
//!
//! Both shapes are computed here from those rules; neither system runs.

use abyme::{
    Captured, Message, Observation, Request, Response, Rlm, Role, Text, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use async_trait::async_trait;

use super::{
    loop_overhead::submission,
    work::{PreparedTrial, check, made, words},
};
use crate::{scenario::Scenario, systems::System, trial::Trial, units::Unit};

const TURNS: usize = 20;
const DSPY: &str = "DSPy's shape";
const RLMS: &str = "rlms' shape";
const THOUGHT: &str = "The last output showed where the records of that month begin. I take the next part \
                       of them, count what is asked for, and keep the result.";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Bytes,
    Share,
    ShareOfMessages,
}

/// The scenario, for something to count.
#[derive(Debug)]
pub(crate) struct Requests {
    count: Count,
}

impl Requests {
    pub(crate) fn bytes() -> Self {
        Self { count: Count::Bytes }
    }

    pub(crate) fn prefix() -> Self {
        Self { count: Count::Share }
    }

    pub(crate) fn prefix_messages() -> Self {
        Self { count: Count::ShareOfMessages }
    }
}

#[async_trait]
impl Scenario for Requests {
    fn name(&self) -> &'static str {
        match self.count {
            Count::Bytes => "requests",
            Count::Share => "prefix-share",
            Count::ShareOfMessages => "prefix-share-messages",
        }
    }

    fn title(&self) -> &'static str {
        match self.count {
            Count::Bytes => "bytes sent to the model over 20 turns",
            Count::Share => "share of the requests that repeats the one before",
            Count::ShareOfMessages => "share of the requests that repeats whole messages of the one before",
        }
    }

    fn workload(&self) -> &'static str {
        "all requests of a run of 20 turns, as JSON; the turns are the same for every shape"
    }

    fn unit(&self) -> Unit {
        if self.count == Count::Bytes { Unit::Bytes } else { Unit::Share }
    }

    fn samples(&self) -> usize {
        1
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![DSPY, RLMS]
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let shape: fn(Vec<Request>) -> Vec<Vec<Message>> = match system {
            System::Loop => ours,
            System::Floor(DSPY) => dspy,
            System::Floor(RLMS) => rlms,
            _ => return Ok(None),
        };
        made(RequestsTrial { shape, count: self.count })
    }
}

struct RequestsTrial {
    shape: fn(Vec<Request>) -> Vec<Vec<Message>>,
    count: Count,
}

#[async_trait]
impl Trial for RequestsTrial {
    async fn sample(&mut self) -> Result<f64, String> {
        let requests = (self.shape)(run().await?);
        check("the number of requests", requests.len(), TURNS)?;
        let json = requests.iter().map(|request| json(request)).collect::<Result<Vec<_>, _>>()?;
        let bytes = json.iter().map(Vec::len).sum::<usize>() as f64;
        Ok(match self.count {
            Count::Bytes => bytes,
            Count::Share => repeated(&json) / bytes,
            Count::ShareOfMessages => repeated_messages(&requests)? / bytes,
        })
    }
}

/// The requests of a real run over the turns.
async fn run() -> Result<Vec<Request>, String> {
    let model = ScriptedModel::from_fn(|request| {
        let turn = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        Ok(Response::new(format!("{THOUGHT}\n\n```python\n{}\n```", code(turn))))
    });
    let interpreter = ScriptedInterpreter::from_fn(|cell| {
        let mut observation = Observation::default();
        let turn = cell.code.lines().next().and_then(|line| line.strip_prefix("part = "));
        match turn.and_then(|turn| turn.parse().ok()) {
            _ if cell.code.contains("SUBMIT") => observation.submission = Some(submission()),
            Some(turn) => {
                observation.stdout = Captured::whole(output(turn)).shortened(cell.max_output_chars);
            }
            None => {}
        }
        Ok(observation)
    });
    let rlm = Rlm::builder("context, query -> answer: int")
        .model(model.clone())
        .interpreter(interpreter.factory())
        .build()
        .map_err(words)?;
    let context = Text::from("a line of some text, fifty characters long, or so.\n".repeat(200_000));
    let inputs = inputs! { context: context, query: "How many records are there in May?" };
    rlm.run(inputs).await.map_err(words)?;
    Ok(model.requests())
}

fn code(turn: usize) -> String {
    if turn + 1 == TURNS {
        return "SUBMIT(answer=42)".to_owned();
    }
    format!(
        "part = {turn}\nlines = context.splitlines()[part * 1000:(part + 1) * 1000]\n\
         found = [line for line in lines if 'May' in line]\ntotal = globals().get('total', 0) + len(found)\n\
         print(total)\nprint('\\n'.join(found))"
    )
}

fn output(turn: usize) -> String {
    let line = format!("{turn:>4} a record of some text, fifty characters long\n");
    line.repeat(if turn % 5 == 4 { 600 } else { 30 })
}

fn ours(requests: Vec<Request>) -> Vec<Vec<Message>> {
    requests.into_iter().map(|request| request.messages).collect()
}

fn dspy(requests: Vec<Request>) -> Vec<Vec<Message>> {
    let (system, task) = opening(&requests);
    let request = |turn: usize| {
        let mut user = format!("{task}\n\n[[ ## repl_history ## ]]\n");
        for past in 0..turn {
            let output = output(past);
            let length = output.len();
            let shown = Captured::whole(output).shortened(10_000);
            user.push_str(&format!(
                "=== Step {} ===\nReasoning: {THOUGHT}\nCode:\n```python\n{}\n```\n\
                 Output ({length} chars):\n{shown}\n",
                past + 1,
                code(past)
            ));
        }
        user.push_str(&format!("\n[[ ## iteration ## ]]\n{}/{TURNS}", turn + 1));
        vec![Message::system(system.clone()), Message::user(user)]
    };
    (0..TURNS).map(request).collect()
}

fn rlms(requests: Vec<Request>) -> Vec<Vec<Message>> {
    let (system, task) = opening(&requests);
    let mut messages = vec![Message::system(system), Message::user(task)];
    let request = |turn: usize| {
        messages.push(Message::user(format!("Turn {}/{TURNS}:", turn + 1)));
        let sent = messages.clone();
        messages.push(Message::assistant(format!("{THOUGHT}\n\n```repl\n{}\n```", code(turn))));
        let mut result =
            format!("\n{}\n\nREPL variables: ['part', 'lines', 'found', 'total']\n", output(turn));
        if result.len() > 20_000 {
            let over = result.len() - 20_000;
            result.truncate(20_000);
            result.push_str(&format!("... + [{over} chars...]"));
        }
        messages.push(Message::user(format!("REPL output:\n{result}")));
        sent
    };
    (0..TURNS).map(request).collect()
}

/// Abyme's system message and its description of the task and the inputs.
fn opening(requests: &[Request]) -> (String, String) {
    let messages = requests.first().map(|request| request.messages.as_slice()).unwrap_or_default();
    let content = |at: usize| messages.get(at).map(|message| message.content.clone()).unwrap_or_default();
    (content(0), content(1))
}

/// Bytes that repeat the beginning of the request before.
fn repeated(requests: &[Vec<u8>]) -> f64 {
    let pairs = requests.windows(2);
    pairs
        .map(|pair| pair[1].iter().zip(&pair[0]).take_while(|(now, then)| now == then).count())
        .sum::<usize>() as f64
}

/// The same, as far as whole messages are the same.
fn repeated_messages(requests: &[Vec<Message>]) -> Result<f64, String> {
    let mut bytes = 0;
    for pair in requests.windows(2) {
        let same = pair[1].iter().zip(&pair[0]).take_while(|(now, then)| now == then).count();
        bytes += json(&pair[1][..same])?.len();
    }
    Ok(bytes as f64)
}

fn json(messages: &[Message]) -> Result<Vec<u8>, String> {
    serde_json::to_vec(messages).map_err(|error| error.to_string())
}
