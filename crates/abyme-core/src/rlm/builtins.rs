//! The host functions every session offers.

use crate::{
    interpreter::{FunctionSpec, ParameterSpec},
    value::Value,
};

/// One sub-call.
pub(super) const LLM_QUERY: &str = "llm_query";
/// Many sub-calls at the same time.
pub(super) const LLM_QUERY_BATCHED: &str = "llm_query_batched";
/// OpenJarvis' name for [`LLM_QUERY_BATCHED`].
pub(super) const LLM_BATCH: &str = "llm_batch";

/// The names of all built-in host functions.
pub(super) const RESERVED_FUNCTIONS: [&str; 3] = [LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED];

/// The built-in host functions, as Python sees them. The alias comes last: the prompt does not mention it.
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
    ]
}

/// Those that the prompt describes. Their parameter `model` is described where there are models to name.
pub(super) fn described(named_models: &[&str]) -> Vec<FunctionSpec> {
    let mut described: Vec<_> = specs().into_iter().filter(|spec| spec.name != LLM_BATCH).collect();
    for spec in &mut described {
        if named_models.is_empty() {
            spec.parameters.retain(|parameter| parameter.name != "model");
        } else {
            let names: Vec<_> = named_models.iter().map(|name| format!("{name:?}")).collect();
            spec.description.push_str(&format!(" `model` may be {}.", names.join(", ")));
        }
    }
    described
}
