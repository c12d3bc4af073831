//! The host functions every session offers.

use crate::{
    interpreter::{FunctionSpec, ParameterKind, ParameterSpec},
    value::Value,
};

/// One sub-call.
pub(super) const LLM_QUERY: &str = "llm_query";
/// Many sub-calls at the same time.
pub(super) const LLM_QUERY_BATCHED: &str = "llm_query_batched";
/// OpenJarvis' name for [`LLM_QUERY_BATCHED`].
pub(super) const LLM_BATCH: &str = "llm_batch";

/// A run of its own for a part of the task.
pub(super) const RLM_QUERY: &str = "rlm_query";
/// Many of them at the same time.
pub(super) const RLM_QUERY_BATCHED: &str = "rlm_query_batched";
/// What is left of the budget. The one built-in function whose name an input or a tool may take, since it is
/// a natural name for data.
pub(super) const BUDGET: &str = "budget";

/// The names of the built-in host functions that nothing else may have.
pub(super) const RESERVED_FUNCTIONS: [&str; 5] =
    [LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED, RLM_QUERY, RLM_QUERY_BATCHED];

/// The built-in host functions, as Python sees them.
pub(super) fn specs() -> Vec<FunctionSpec> {
    let model = || ParameterSpec::new("model").annotation("str | None").default_value(Value::None);
    let batched = |name: &str| {
        FunctionSpec::new(
            name,
            "Asks a language model many prompts at the same time and returns the replies in the same order. \
             A prompt that fails gives a reply that starts with `[ERROR]`.",
        )
        .parameter(ParameterSpec::new("prompts").annotation("list[str]"))
        .parameter(model())
        .returns("list[str]")
    };
    vec![
        FunctionSpec::new(LLM_QUERY, "Asks a language model one prompt and returns its reply.")
            .parameter(ParameterSpec::new("prompt").annotation("str"))
            .parameter(model())
            .returns("str"),
        batched(LLM_QUERY_BATCHED),
        batched(LLM_BATCH),
        child(
            RLM_QUERY,
            "Gives a part of the task to a run of its own: another model, with a session of its own in which \
             `context` is a variable, works on it in many steps and returns its result. For parts that a \
             single prompt cannot answer. `signature` types the result, such as \"names: list[str]\".",
            ParameterSpec::new("prompt").annotation("str"),
            ParameterSpec::new("context").annotation("Any"),
        )
        .returns("Any"),
        child(
            RLM_QUERY_BATCHED,
            "The same for many prompts at the same time, each with its own context. A run that fails gives a \
             result that starts with `[ERROR]`.",
            ParameterSpec::new("prompts").annotation("list[str]"),
            ParameterSpec::new("contexts").annotation("list | None"),
        )
        .returns("list"),
        FunctionSpec::new(BUDGET, "What is left: turns, sub-calls, tokens, dollars, seconds.")
            .returns("dict"),
    ]
}

fn child(name: &str, description: &str, prompt: ParameterSpec, context: ParameterSpec) -> FunctionSpec {
    let option = |name: &str, ty: &str| {
        let option = ParameterSpec::new(name).kind(ParameterKind::KeywordOnly);
        option.annotation(format!("{ty} | None")).default_value(Value::None)
    };
    FunctionSpec::new(name, description)
        .parameter(prompt)
        .parameter(context.default_value(Value::None))
        .parameter(option("signature", "str"))
        .parameter(option("model", "str"))
        .parameter(option("max_iterations", "int"))
}

/// Those that the prompt describes: no alias, children only where they may be, the budget where its name is
/// free, and the parameter `model` only where there are models to name.
pub(super) fn described(
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
    let mut described: Vec<_> = specs().into_iter().filter(is_described).collect();
    for spec in &mut described {
        if named_models.is_empty() {
            spec.parameters.retain(|parameter| parameter.name != "model");
        } else if spec.parameters.iter().any(|parameter| parameter.name == "model") {
            let names: Vec<_> = named_models.iter().map(|name| format!("{name:?}")).collect();
            spec.description.push_str(&format!(" `model` may be {}.", names.join(", ")));
        }
    }
    described
}
