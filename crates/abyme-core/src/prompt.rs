//! The texts that the model reads, except for observations: the first messages, nudges, and responses to
//! replies.
//!
//! Prompt texts are data files beside this module, with `{{name}}` where a value goes. A conversation only
//! ever grows at its end, so that providers' prompt caches hit on every turn.

mod conventions;
mod profile;

pub(crate) use self::conventions::TextAlone;
pub use self::profile::Profile;

use self::conventions::Conventions;

use abyme_python_syntax::Function;

use crate::{
    inputs::Inputs,
    interpreter::{Capabilities, FunctionSpec, LABELS, ParameterSpec, told_apart},
    limits::{Limits, Remaining},
    model::Message,
    signature::{Field, FieldType, TaskSignature},
    value::Value,
};

const SYSTEM: &str = include_str!("prompt/system.md");
const SYSTEM_SMALL: &str = include_str!("prompt/system_small.md");
/// A task, a cell, what it produced, and the cell that submits.
const EXAMPLE: [&str; 4] = [
    include_str!("prompt/example/task.md"),
    include_str!("prompt/example/look.md"),
    include_str!("prompt/example/shown.md"),
    include_str!("prompt/example/submit.md"),
];
const REPEATED: &str = include_str!("prompt/repeated.md");
const IMITATED: &str = include_str!("prompt/imitated.md");
const IMITATED_IN_CELL: &str = include_str!("prompt/imitated_in_cell.md");
const NO_INPUT: &str = include_str!("prompt/no_input.md");
const TOOLS_IN_LINES: &str = include_str!("prompt/tools_in_lines.md");
const TASK: &str = include_str!("prompt/task.md");
const EXTRACT: &str = include_str!("prompt/extract.md");
const NUDGE: &str = include_str!("prompt/nudge.md");
const NO_CODE: &str = include_str!("prompt/no_code.md");
const OTHER_LANGUAGE: &str = include_str!("prompt/other_language.md");
const SYNTAX: &str = include_str!("prompt/syntax.md");
const SESSION_LOST: &str = include_str!("prompt/session_lost.md");
const EXTRACT_TEXT: &str = include_str!("prompt/peers/extract_text.md");
const EXTRACT_AGAIN: &str = include_str!("prompt/extract_again.md");
const REFUSED: &str = include_str!("prompt/refused.md");
const MARKUP: &str = include_str!("prompt/markup.md");
const CUT: &str = include_str!("prompt/cut.md");
const CUT_CELL: &str = include_str!("prompt/cut_cell.md");
const EARLIER_QUESTION: &str = include_str!("prompt/earlier_question.md");
const THIS_QUESTION: &str = include_str!("prompt/this_question.md");
const QUESTIONS_LEFT_OUT: &str = include_str!("prompt/questions_left_out.md");
const QUESTIONS_LOST: &str = include_str!("prompt/questions_lost.md");
const TYPED_SUB_CALL: &str = include_str!("prompt/typed_sub_call.md");
const TYPED_SUB_CALL_AGAIN: &str = include_str!("prompt/typed_sub_call_again.md");
const COMPACT: &str = include_str!("prompt/compact.md");
const COMPACTED: &str = include_str!("prompt/compacted.md");
const FILTERED: &str = include_str!("prompt/filtered.md");
/// In the place of what a cell printed and a content filter refused.
pub(crate) const LEFT_OUT: &str =
    "(What the cell printed is left out here: a content filter refused it. Variables are as they were.)";

/// The most characters that the tools of a task are described in. More tools than fit are listed in a line
/// each, and the model asks for the rest with `help`.
const MAX_TOOLS_CHARS: usize = 10_000;
/// The most characters of a tool's head, and of its first sentence, in such a line.
const MAX_LINE_PART_CHARS: usize = 160;
/// About an input that holds dates or decimals.
const MOMENTS: &str = "Its dates, times and decimals are Python's objects, as `datetime.date` is.";
/// About an input whose dicts are objects.
const OBJECTS: &str =
    "What is a dict below is an object here: read `.key`, not `[\"key\"]`. `vars(x)` is its dict.";

/// What the first messages are made of.
pub(crate) struct FirstMessages<'a> {
    pub(crate) signature: &'a TaskSignature,
    pub(crate) inputs: &'a Inputs,
    /// What the session holds of earlier questions of a conversation; empty without any.
    pub(crate) earlier: &'a str,
    pub(crate) builtins: &'a [FunctionSpec],
    pub(crate) tools: &'a [FunctionSpec],
    pub(crate) python_tools: &'a [Function],
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) limits: &'a Limits,
}

/// The rules and the task: the beginning of every request of a run.
///
/// What differs between tasks comes last, in the system message (limits, functions) and in the messages (the
/// task), so that the tasks of a server share as long a beginning as they can.
pub(crate) fn first_messages(given: &FirstMessages<'_>, profile: Profile) -> Vec<Message> {
    if let Some(conventions) = profile.conventions() {
        return first_messages_as(given, conventions);
    }
    if !profile.is_small() {
        return vec![Message::system(system(given)), Message::user(task(given))];
    }
    let [example, look, shown, submit] = EXAMPLE.map(str::trim_end);
    vec![
        Message::system(SYSTEM_SMALL.trim_end()),
        Message::user(example),
        Message::assistant(look),
        Message::user(shown),
        Message::assistant(submit),
        Message::user(task(given)),
    ]
}

/// The rules and the task, as another system puts them.
fn first_messages_as(given: &FirstMessages<'_>, conventions: &Conventions) -> Vec<Message> {
    let limits = given.limits;
    let numbers = [
        ("max_output_chars", limits.max_output_chars.to_string()),
        ("max_iterations", limits.max_iterations.to_string()),
        ("max_llm_calls", limits.max_llm_calls.to_string()),
    ];
    let texts = [
        ("instructions", instructions(given.signature)),
        ("signature", given.signature.to_string()),
        ("tools", describe_tools(given.tools, given.python_tools)),
        ("inputs", inputs(given)),
        ("outputs", outputs(given.signature)),
        ("submit", submit_example(given.signature)),
        ("query", query(given)),
        ("context", context(given)),
        ("answer_form", answer_form(given.signature)),
    ];
    let values: Vec<_> = numbers.iter().chain(&texts).map(|(name, text)| (*name, text.as_str())).collect();
    let task = fill(conventions.task, &values);
    vec![Message::system(fill(conventions.system, &values)), Message::user(task.trim())]
}

/// The input that is the context, if there is one by its name or by being the only one.
fn context_input<'a>(given: &FirstMessages<'a>) -> Option<(&'a str, &'a Value)> {
    let mut inputs = given.inputs.iter();
    match given.inputs.get(CONTEXT) {
        Some(value) => Some((CONTEXT, value)),
        None if given.inputs.names().count() == 1 => inputs.next(),
        None => None,
    }
}

/// The variable that holds the inputs in other systems.
pub(crate) const CONTEXT: &str = "context";

/// What kind of value `context` is, and how large.
fn context(given: &FirstMessages<'_>) -> String {
    match context_input(given) {
        Some((_, value)) => format!("a {} of {} characters", value.type_name(), characters(value)),
        None if given.inputs.names().next().is_none() => "not set".to_owned(),
        None => {
            let names: Vec<_> = given.inputs.names().map(|name| format!("`{name}`")).collect();
            let all: usize = given.inputs.iter().map(|(_, value)| characters(value)).sum();
            format!("a dict of {all} characters with the keys {}", names.join(", "))
        }
    }
}

/// The characters of all texts in a value.
fn characters(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.chars_len(),
        Value::List(items) => items.iter().map(characters).sum(),
        Value::Dict(entries) => {
            entries.iter().map(|(key, value)| key.chars().count() + characters(value)).sum()
        }
        other => other.repr(100).chars().count(),
    }
}

/// The inputs that are said rather than looked at: short texts beside the context.
fn query(given: &FirstMessages<'_>) -> String {
    let context = context_input(given).map(|(name, _)| name);
    let short = given.inputs.iter().filter(|(name, _)| Some(*name) != context);
    let lines = short.filter_map(|(name, value)| match value {
        Value::Text(text) if text.chars_len() <= given.limits.max_preview_chars => {
            Some(format!("{name}: {}\n\n", text.as_str().trim()))
        }
        _ => None,
    });
    std::iter::once(given.earlier.to_owned()).chain(lines).collect()
}

/// What the answer has to be, where it is more than one text.
fn answer_form(signature: &TaskSignature) -> String {
    match signature.outputs() {
        [only] if *only.ty() == FieldType::Str && only.description().is_none() => String::new(),
        [_] => format!("The answer is one value:\n{}\n\n", outputs(signature)),
        _ => format!("The answer is a dict with these keys:\n{}\n\n", outputs(signature)),
    }
}

fn system(given: &FirstMessages<'_>) -> String {
    let functions: Vec<_> = given.builtins.iter().map(describe_function).collect();
    let notes: String = given.capabilities.notes.iter().map(|note| format!("- {note}\n")).collect();
    fill(
        SYSTEM,
        &[
            ("functions", &functions.join("\n")),
            ("notes", &notes),
            ("max_output_chars", &given.limits.max_output_chars.to_string()),
            ("max_iterations", &given.limits.max_iterations.to_string()),
            ("max_llm_calls", &given.limits.max_llm_calls.to_string()),
            ("cell_limit", &cell_limit(given.limits)),
        ],
    )
}

/// A sentence on the time limit of a cell, where there is one.
fn cell_limit(limits: &Limits) -> String {
    limits
        .cell_timeout
        .map_or_else(String::new, |limit| format!("A cell may take {} seconds. ", limit.as_secs_f64()))
}

fn task(given: &FirstMessages<'_>) -> String {
    fill(
        TASK,
        &[
            ("instructions", &instructions(given.signature)),
            ("signature", &given.signature.to_string()),
            ("tools", &describe_tools(given.tools, given.python_tools)),
            ("inputs", &inputs(given)),
            ("outputs", &outputs(given.signature)),
            ("submit", &submit_example(given.signature)),
        ],
    )
}

fn instructions(signature: &TaskSignature) -> String {
    signature.instructions().map_or_else(String::new, |text| format!("{}\n\n", text.trim()))
}

fn inputs(given: &FirstMessages<'_>) -> String {
    let inputs: Vec<_> = given
        .inputs
        .iter()
        .map(|(name, value)| {
            describe_input(name, value, given.signature.input(name), given.limits.max_preview_chars)
        })
        .collect();
    match (inputs.is_empty(), given.earlier.is_empty()) {
        (true, true) => "(none)".to_owned(),
        (true, false) => given.earlier.to_owned(),
        _ => format!("{}{}", given.earlier, inputs.join("\n\n")),
    }
}

fn outputs(signature: &TaskSignature) -> String {
    let lines: Vec<_> = signature
        .outputs()
        .iter()
        .map(|field| match field.description() {
            Some(text) => format!("- {}: {} ({text})", field.name(), field.ty()),
            None => format!("- {}: {}", field.name(), field.ty()),
        })
        .chain(signature.said_of_outputs().map(|words| format!("- all of them together: {words}")))
        .collect();
    lines.join("\n")
}

/// `SUBMIT(a=..., b=...)` for this signature.
pub(crate) fn submit_example(signature: &TaskSignature) -> String {
    let arguments: Vec<_> = signature.outputs().iter().map(|field| format!("{}=...", field.name())).collect();
    format!("SUBMIT({})", arguments.join(", "))
}

/// The tools of the task: in full, or in a line each where that would be too long.
fn describe_tools(tools: &[FunctionSpec], python_tools: &[Function]) -> String {
    let in_full =
        tools.iter().map(describe_function).chain(python_tools.iter().map(describe_python_function));
    let in_full = in_full.collect::<Vec<_>>().join("\n");
    if in_full.is_empty() {
        return String::new();
    }
    if in_full.chars().count() <= MAX_TOOLS_CHARS {
        return format!("\nTools for this task:\n{in_full}\n");
    }
    let lines = tools.iter().map(|tool| line(&short_head(tool), &tool.description)).chain(
        python_tools.iter().map(|tool| line(&format!("{}{}", tool.name, tool.signature), &tool.docstring)),
    );
    fill(TOOLS_IN_LINES, &[("lines", &lines.collect::<Vec<_>>().join("\n"))]) + "\n"
}

/// A function in one line: its head and the first sentence about it.
fn line(head: &str, description: &str) -> String {
    let first = description.trim().split('\n').next().unwrap_or_default();
    let first = first.split_inclusive(". ").next().unwrap_or_default().trim();
    match first {
        "" => format!("- `{}`", shortened(head)),
        first => format!("- `{}`: {}", shortened(head), shortened(first)),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_LINE_PART_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The head of a function, with no more than the names of its parameters where types would be too long.
fn short_head(function: &FunctionSpec) -> String {
    let head = function.to_string();
    if head.chars().count() <= MAX_LINE_PART_CHARS {
        return head;
    }
    let mut bare = FunctionSpec::new(function.name.clone(), "");
    for parameter in &function.parameters {
        let mut named = ParameterSpec::new(parameter.name.clone()).kind(parameter.kind);
        named.default = parameter.default.clone();
        bare = bare.parameter(named);
    }
    bare.to_string()
}

/// A host function as a list item: its head and its description.
fn describe_function(function: &FunctionSpec) -> String {
    list_item(&function.to_string(), &function.description)
}

/// A function of a Python source as a list item, in the source's own words.
fn describe_python_function(function: &Function) -> String {
    list_item(&format!("{}{}", function.name, function.signature), &function.docstring)
}

fn list_item(head: &str, description: &str) -> String {
    let head = format!("- `{head}`");
    match description.trim() {
        "" => head,
        text => format!("{head}\n  {}", text.replace('\n', "\n  ")),
    }
}

/// Name, type, size and preview of an input; never the whole of a long one.
fn describe_input(name: &str, value: &Value, field: Option<&Field>, max_chars: usize) -> String {
    let typed = field.and_then(|field| Some((field.ty(), field.ty().objects()?)));
    let size = match value {
        // The text of a date, which is a date in the session.
        Value::Text(_) if typed.as_ref().is_some_and(|(_, objects)| objects.is_string()) => String::new(),
        Value::Text(text) => format!(", {} characters", text.chars_len()),
        Value::Bytes(bytes) => format!(", {} bytes", bytes.len()),
        Value::List(items) => format!(", {} items", items.len()),
        Value::Dict(entries) => format!(", {} keys", entries.len()),
        _ => String::new(),
    };
    let type_name = match (&typed, value) {
        (Some((ty, _)), Value::Text(_)) => ty.to_string(),
        _ => value.type_name().to_owned(),
    };
    let description = field.and_then(Field::description);
    let objects = field.is_some_and(Field::is_object).then_some(OBJECTS);
    let moments = (typed.is_some() && !matches!(value, Value::Text(_))).then_some(MOMENTS);
    let description = description.into_iter().chain(objects).chain(moments);
    let description: String = description.map(|text| format!("\n{}", text.trim())).collect();
    let (label, preview) = match value {
        Value::Text(text) => {
            let label = if text.chars_len() <= max_chars { "content" } else { "beginning and end" };
            (label, text.preview(max_chars).into_owned())
        }
        other => ("value", other.repr(max_chars)),
    };
    format!("`{name}` ({type_name}{size}){description}\n{label}:\n{}", quoted(&preview))
}

/// A question of a conversation that was answered before, or not.
pub(crate) struct EarlierQuestion<'a> {
    pub(crate) number: usize,
    pub(crate) inputs: Vec<DescribedVariable<'a>>,
    pub(crate) outputs: Option<Vec<DescribedVariable<'a>>>,
    /// Names and summaries of other variables that its cells made.
    pub(crate) made: Vec<(&'a str, &'a str)>,
}

/// A variable, its value, and the field that it was in its question.
pub(crate) type DescribedVariable<'a> = (&'a str, &'a Value, Option<Field>);

/// What the session holds of an earlier question.
pub(crate) fn earlier_question(question: &EarlierQuestion<'_>, max_chars: usize) -> String {
    let described = |variables: &[DescribedVariable<'_>]| {
        let lines = variables
            .iter()
            .map(|(name, value, field)| describe_input(name, value, field.as_ref(), max_chars))
            .collect::<Vec<_>>();
        if lines.is_empty() { "(none)".to_owned() } else { lines.join("\n\n") }
    };
    let mut answer = match &question.outputs {
        Some(outputs) => format!("It was answered with:\n\n{}", described(outputs)),
        None => "It was not answered.".to_owned(),
    };
    if !question.made.is_empty() {
        let made = question.made.iter().map(|(name, summary)| format!("`{name}` ({summary})"));
        answer.push_str(&format!("\n\nIts cells made: {}", made.collect::<Vec<_>>().join(", ")));
    }
    fill(
        EARLIER_QUESTION,
        &[
            ("number", &question.number.to_string()),
            ("inputs", &described(&question.inputs)),
            ("answer", &answer),
        ],
    )
}

/// All earlier questions, up to the inputs of the one to answer now. Those that it takes over come with the
/// number of their question.
pub(crate) fn earlier_questions(
    left_out: usize,
    listed: &[String],
    lost: usize,
    number: usize,
    taken_over: &[(&str, usize)],
) -> String {
    let paragraph = |text: String| if text.is_empty() { text } else { text + "\n\n" };
    let left_out = match left_out {
        0 => String::new(),
        count => fill(QUESTIONS_LEFT_OUT, &[("count", &count.to_string())]),
    };
    let lost = match lost {
        0 => String::new(),
        number => fill(QUESTIONS_LOST, &[("number", &number.to_string())]),
    };
    let taken_over = taken_over.iter().map(|(name, number)| format!("`{name}`: that of question {number}"));
    fill(
        THIS_QUESTION,
        &[
            ("left_out", &paragraph(left_out)),
            ("listed", &listed.join("\n\n")),
            ("lost", &paragraph(lost)),
            ("number", &number.to_string()),
            ("taken_over", &paragraph(taken_over.collect::<Vec<_>>().join("\n"))),
        ],
    )
}

/// A text between fences longer than any inside.
fn quoted(text: &str) -> String {
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or_default();
    let ticks = "`".repeat((longest + 1).max(3));
    format!("{ticks}\n{text}\n{ticks}")
}

/// The user message after a cell: what it produced, and what is left of the budget.
///
/// Where the run follows another system, that system's words are in `remaining`, and there may be none.
pub(crate) fn after_cell(observation: &str, remaining: &Remaining) -> String {
    match (observation, remaining.to_string().trim_end()) {
        (observation, "") if !observation.is_empty() => observation.to_owned(),
        ("", remaining) => remaining.to_owned(),
        (observation, remaining) => format!("{observation}\n\n{remaining}"),
    }
}

/// Asks once more for code.
pub(crate) fn nudge(signature: &TaskSignature, remaining: &Remaining) -> String {
    after_cell(&fill(NUDGE, &[("submit", &submit_example(signature))]), remaining)
}

/// Says that a reply without code cannot be an answer to this signature.
pub(crate) fn no_code(signature: &TaskSignature, remaining: &Remaining) -> String {
    after_cell(&fill(NO_CODE, &[("submit", &submit_example(signature))]), remaining)
}

/// Says that a block of another language does not run.
pub(crate) fn other_language(tag: &str, remaining: &Remaining) -> String {
    after_cell(&fill(OTHER_LANGUAGE, &[("tag", tag)]), remaining)
}

/// Says that no code can be read from the markup of a reply.
pub(crate) fn markup(name: &str, remaining: &Remaining) -> String {
    after_cell(&fill(MARKUP, &[("name", name)]), remaining)
}

/// Says that a content filter stopped the reply.
pub(crate) fn filtered(remaining: &Remaining) -> String {
    after_cell(FILTERED.trim_end(), remaining)
}

/// What the model reads after a reply that was cut by its length limit: first that it was cut.
pub(crate) fn after_cut(message: &str) -> String {
    format!("{}\n\n{message}", CUT.trim_end())
}

/// Answers a cell that does not compile because the reply was cut.
pub(crate) fn cut_cell(traceback: &str) -> String {
    fill(CUT_CELL, &[("traceback", traceback.trim_end())])
}

/// Answers a cell that does not compile.
pub(crate) fn syntax_error(traceback: &str) -> String {
    fill(SYNTAX, &[("traceback", traceback.trim_end())])
}

/// What is said of a cell that the model sent before.
pub(crate) fn repeated(signature: &TaskSignature) -> String {
    fill(REPEATED, &[("submit", &submit_example(signature))])
}

/// Says that a reply holds what only the session writes.
pub(crate) fn imitated(line: &str, remaining: &Remaining) -> String {
    after_cell(&fill(IMITATED, &[("line", line)]), remaining)
}

/// Says that a cell does not compile for such a line in it.
pub(crate) fn imitated_in_cell(line: &str) -> String {
    fill(IMITATED_IN_CELL, &[("line", line)])
}

/// What is said of a cell that asked a person.
pub(crate) fn no_input(signature: &TaskSignature) -> String {
    let names: Vec<_> = signature.inputs().iter().map(|input| format!("`{}`", input.name())).collect();
    fill(NO_INPUT, &[("names", &names.join(", "))])
}

/// The first line of a text that imitates what the session writes: a label such as `[stdout]`, or what is
/// left of the budget.
pub(crate) fn imitation(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|line| is_of_session(line)).map(str::to_owned)
}

/// The first line of a cell, if that is such a line: Python alone would make a list of it.
pub(crate) fn imitation_of(code: &str) -> Option<String> {
    let first = code.lines().map(str::trim).find(|line| !line.is_empty())?;
    (first.ends_with(']') && is_of_session(first)).then(|| first.to_owned())
}

fn is_of_session(line: &str) -> bool {
    let label = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let label = label.map(|(label, _)| label.split(" (").next().unwrap_or(label));
    // The second is what models make of `[stdout]`.
    label.is_some_and(|label| LABELS.contains(&label) || label == "output")
        || (line.starts_with("(turn ") && line.contains("sub-calls left"))
}

/// Says that the session died and what is left.
pub(crate) fn session_lost(reason: &str) -> String {
    fill(SESSION_LOST, &[("reason", &told_apart(reason))])
}

/// The instructions of a run whose task is too long to be said in them.
pub(crate) fn task_in_variable(name: &str) -> String {
    format!("The task is written in the variable `{name}`. Read it first.")
}

/// Says what does not fit in a submission.
pub(crate) fn refused(problems: &str, signature: &TaskSignature) -> String {
    fill(REFUSED, &[("problems", problems.trim_end()), ("outputs", &outputs(signature))])
}

/// Asks for the outputs from what is known so far.
pub(crate) fn extract(reason: &str, signature: &TaskSignature) -> String {
    let schema = serde_json::to_string_pretty(&signature.json_schema()).unwrap_or_default();
    fill(EXTRACT, &[("reason", reason), ("outputs", &outputs(signature)), ("schema", &schema)])
}

/// Asks for the only output, a text, from what is known so far.
pub(crate) fn extract_text(reason: &str) -> String {
    fill(EXTRACT_TEXT, &[("reason", reason)])
}

/// Asks for the outputs once more.
pub(crate) fn extract_again(problems: &str) -> String {
    fill(EXTRACT_AGAIN, &[("problems", problems.trim_end())])
}

/// Asks for a summary of the turns so far.
pub(crate) fn compact() -> &'static str {
    COMPACT.trim_end()
}

/// Says after a summary which turns it stands for, and where they are whole.
pub(crate) fn compacted(first: u32, last: u32, history: &str) -> String {
    let (first, last) = (first.to_string(), last.to_string());
    fill(COMPACTED, &[("first", &first), ("last", &last), ("history", history)])
}

/// A prompt of a sub-call whose reply has to be of a type.
pub(crate) fn typed_sub_call(prompt: &str, ty: &str, notes: &[String]) -> String {
    let notes: String = notes.iter().map(|note| format!("\n- {note}")).collect();
    fill(TYPED_SUB_CALL, &[("prompt", prompt.trim_end()), ("type", ty), ("notes", &notes)])
}

/// Asks for the reply of a sub-call once more.
pub(crate) fn typed_sub_call_again(problem: &str) -> String {
    fill(TYPED_SUB_CALL_AGAIN, &[("problem", problem)])
}

/// Whether text alone can be the answer: one output, of type `str`.
pub(crate) fn takes_prose(signature: &TaskSignature) -> bool {
    let of_constrained =
        |ty: &FieldType| matches!(ty, FieldType::Constrained(inner, _) if **inner == FieldType::Str);
    matches!(signature.outputs(), [only] if *only.ty() == FieldType::Str || of_constrained(only.ty()))
}

/// Fills the `{{name}}` places of a template in one pass: braces in the values stay as they are, and a place
/// without a value stays visible.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template.trim_end();
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let known = after.split_once("}}").and_then(|(name, after)| {
            values.iter().find(|(given, _)| *given == name).map(|(_, value)| (value, after))
        });
        match known {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_functions_are_described_as_written() {
        let source = "import re\n\ndef find(text: str, flags=re.I, *, limit: int = 3) -> list:\n    \
            '''Find.\n\n    \
            More.'''\n\ndef _private(): ...\n";
        let [find] = &abyme_python_syntax::public_functions(source).unwrap()[..] else { unreachable!() };
        assert_eq!(find.docstring, "Find.\n\nMore.");
        assert_eq!(
            describe_python_function(find),
            "- `find(text: str, flags: Any = re.I, *, limit: int = 3) -> list`\n  Find.\n  \n  More."
        );
    }

    #[test]
    fn many_tools_take_a_line_each() {
        let tools = |count: usize| -> Vec<_> {
            (0..count)
                .map(|at| {
                    let text =
                        format!("Finds row {at}. Then more, {}.\n\nArgs:\n    key: One", "more, ".repeat(40));
                    FunctionSpec::new(format!("find_{at}"), text)
                        .parameter(ParameterSpec::new("key").annotation("str"))
                        .parameter(
                            ParameterSpec::new("of").annotation("x | ".repeat(at * 40)).default_value(1),
                        )
                })
                .collect()
        };
        let few = describe_tools(&tools(3), &[]);
        assert!(
            few.starts_with("\nTools for this task:\n- `find_0(key: str, of:  = 1)`\n  Finds row 0."),
            "{few}"
        );
        assert!(few.contains("\n  Args:\n      key: One\n"));
        let source = "def local(text):\n    '''Does it here.\n\n    More.'''\n";
        let many = describe_tools(&tools(60), &abyme_python_syntax::public_functions(source).unwrap());
        assert!(many.contains("`help(name)`"), "{many}");
        assert!(many.contains("\n- `find_0(key: str, of:  = 1)`: Finds row 0.\n"), "{many}");
        assert!(many.contains("\n- `find_59(key, of = 1)`: Finds row 59.\n"), "{many}");
        assert!(many.ends_with("\n- `local(text)`: Does it here.\n"), "{many}");
        assert!(many.chars().count() < MAX_TOOLS_CHARS, "{many}");
    }

    #[test]
    fn values_are_never_filled_again() {
        assert_eq!(fill("a {{x}} {{y}} {{z}} {{", &[("x", "{{y}}"), ("y", "2")]), "a {{y}} 2 {{z}} {{");
    }
}
