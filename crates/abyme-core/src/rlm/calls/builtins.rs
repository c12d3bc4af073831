//! The host functions every session offers.

use crate::{
    interpreter::{FunctionSpec, ParameterKind, ParameterSpec},
    value::Value,
};

/// One sub-call.
pub(in crate::rlm) const LLM_QUERY: &str = "llm_query";
/// Many sub-calls at the same time.
pub(in crate::rlm) const LLM_QUERY_BATCHED: &str = "llm_query_batched";
/// OpenJarvis' name for [`LLM_QUERY_BATCHED`].
pub(in crate::rlm) const LLM_BATCH: &str = "llm_batch";

/// A run of its own for a part of the task.
pub(in crate::rlm) const RLM_QUERY: &str = "rlm_query";
/// Many of them at the same time.
pub(in crate::rlm) const RLM_QUERY_BATCHED: &str = "rlm_query_batched";
/// What is left of the budget. The one built-in function whose name an input or a tool may take, since it is
/// a natural name for data.
pub(in crate::rlm) const BUDGET: &str = "budget";

/// The names of the built-in host functions that nothing else may have.
pub(in crate::rlm) const RESERVED_FUNCTIONS: [&str; 5] =
    [LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED, RLM_QUERY, RLM_QUERY_BATCHED];

/// The first paragraph is for the prompt, the rest for `help`.
const LLM_QUERY_DOC: &str =
    "Asks a language model one prompt and returns its reply, a str. With `schema`, a \
    type such as `list[str]` or a dict of types such as `{'name': str, 'sizes': list[int]}`, the reply is \
    checked and is a value of that type. More options: `help(llm_query)`.

schema: also `Optional[int]`, `Literal['a', 'b']`, a dataclass, a TypedDict, an Enum, the text of a type \
    such as \"int | None\", or a JSON Schema as a dict. A class with fields gives a dict. A reply that does \
    not fit is asked for once more, and is then a ValueError.
model: the name of another model, where the task has some.
max_tokens: the most tokens of the reply.
temperature: from 0 to 2. Calls that ask the same at the same time get the same reply, unless this is above 0.
timeout: in seconds. Then it is a TimeoutError.";
const LLM_QUERY_BATCHED_DOC: &str = "Asks many prompts at the same time, with the same options, and returns \
    the replies in the same order. A prompt that fails gives a text that starts with `[ERROR]`, or None \
    where there is a schema.

The options are those of llm_query.
on_error: \"raise\" raises an error that names all prompts that failed, in place of returning.";

/// The functions that every run offers to its cells, as Python sees them, for backends that have their
/// sessions begin with them.
pub fn built_in_functions() -> Vec<FunctionSpec> {
    let on_error = || {
        let on_error = ParameterSpec::new("on_error").kind(ParameterKind::KeywordOnly);
        on_error.annotation("str").default_value("return")
    };
    let batched = |name: &str| {
        let function = FunctionSpec::new(name, LLM_QUERY_BATCHED_DOC)
            .parameter(ParameterSpec::new("prompts").annotation("list[str]"));
        with_options(function).parameter(on_error()).returns("list")
    };
    let query =
        FunctionSpec::new(LLM_QUERY, LLM_QUERY_DOC).parameter(ParameterSpec::new("prompt").annotation("str"));
    vec![
        with_options(query).returns("Any"),
        batched(LLM_QUERY_BATCHED),
        batched(LLM_BATCH),
        child(
            RLM_QUERY,
            "Gives a part of the task to a run of its own: another model, with a session of its own in which \
             `context` is a variable, works on it in many steps and returns its result. For parts that a \
             single prompt cannot answer. `signature` types the result: a type such as `list[str]`, or \
             outputs by name such as \"names: list[str], total: int\". Each of its turns is a sub-call.\n\n\
             signature: a type in any of the ways that `schema` of llm_query takes, of which the result is; \
             or a text with the names and types of the outputs, before them the inputs where `context` is a \
             dict of several: \"rules: list[str], text -> found: list[str]\". With one output, its value is \
             the result, with several, a dict of them.",
            ParameterSpec::new("prompt").annotation("str"),
            ParameterSpec::new("context").annotation("Any"),
        )
        .returns("Any"),
        child(
            RLM_QUERY_BATCHED,
            "The same for many prompts at the same time, each with its own context. A run that fails gives a \
             text that starts with `[ERROR]`, or None where there is a signature.\n\n\
             on_error: \"raise\" raises an error that names all prompts that failed, in place of returning.",
            ParameterSpec::new("prompts").annotation("list[str]"),
            ParameterSpec::new("contexts").annotation("list | None"),
        )
        .parameter(on_error())
        .returns("list"),
        FunctionSpec::new(BUDGET, "What is left: turns, sub-calls, tokens, dollars, seconds.")
            .returns("dict"),
    ]
}

/// The options of a sub-call. `model` may be given by position, as it could before there were others.
fn with_options(function: FunctionSpec) -> FunctionSpec {
    let option = |name: &str, ty: &str| {
        let option = ParameterSpec::new(name).kind(ParameterKind::KeywordOnly);
        option.annotation(format!("{ty} | None")).default_value(Value::None)
    };
    function
        .parameter(option("model", "str").kind(ParameterKind::PositionalOrKeyword))
        .parameter(option("schema", "type | dict | str"))
        .parameter(option("max_tokens", "int"))
        .parameter(option("temperature", "float"))
        .parameter(option("timeout", "float"))
}

fn child(name: &str, description: &str, prompt: ParameterSpec, context: ParameterSpec) -> FunctionSpec {
    let option = |name: &str, ty: &str| {
        let option = ParameterSpec::new(name).kind(ParameterKind::KeywordOnly);
        option.annotation(format!("{ty} | None")).default_value(Value::None)
    };
    FunctionSpec::new(name, description)
        .parameter(prompt)
        .parameter(context.default_value(Value::None))
        .parameter(option("signature", "type | dict | str"))
        .parameter(option("model", "str"))
        .parameter(option("max_iterations", "int"))
}

/// Those that the prompt describes: no alias, children only where they may be, the budget where its name is
/// free, the parameter `model` only where there are models to name, and of the options of sub-calls the one
/// that is for every task.
pub(in crate::rlm) fn described(
    named_models: &[&str],
    may_have_children: bool,
    offers_budget: bool,
) -> Vec<FunctionSpec> {
    let is_described = |spec: &FunctionSpec| match spec.name.as_str() {
        LLM_BATCH => false,
        RLM_QUERY | RLM_QUERY_BATCHED => may_have_children,
        BUDGET => offers_budget,
        _ => true,
    };
    let mut described: Vec<_> = built_in_functions().into_iter().filter(is_described).collect();
    for spec in &mut described {
        if let Some((first, _)) = spec.description.split_once("\n\n") {
            spec.description.truncate(first.len());
        }
        spec.parameters.retain(|parameter| parameter.name != "on_error");
        if spec.parameters.iter().any(|parameter| parameter.name == "schema") {
            spec.parameters.retain(|parameter| {
                ["prompt", "prompts", "model", "schema"].contains(&parameter.name.as_str())
            });
        }
        // What a type is said to be takes more words than it is worth.
        let types = ["schema", "signature"];
        let typed = spec.parameters.iter_mut().filter(|one| types.contains(&one.name.as_str()));
        typed.for_each(|parameter| parameter.annotation = None);
        if named_models.is_empty() {
            spec.parameters.retain(|parameter| parameter.name != "model");
        } else if spec.parameters.iter().any(|parameter| parameter.name == "model") {
            let names: Vec<_> = named_models.iter().map(|name| format!("{name:?}")).collect();
            spec.description.push_str(&format!(" `model` may be {}.", names.join(", ")));
        }
    }
    described
}
