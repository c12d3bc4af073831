//! An `Rlm` as the command line describes it: models, what stands between, backend, tools, limits.

mod shared;
mod sub_models;
mod wrapped;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    sync::Arc,
};

use abyme::{
    CodePolicy, Compaction, InterpreterFactory, LanguageModel, Limits, Price, RetryPolicy, Rlm, RlmBuilder,
    TaskSignature,
};

pub(crate) use self::{shared::Shared, wrapped::Wrapped};
use crate::{
    approval,
    args::{LimitArgs, RlmArgs},
    backend,
    exit::Failure,
    files,
    models::{self, Model},
};

/// The most sessions at once: each reserves addresses.
const MAX_SESSIONS: u32 = 400;
/// The largest file of tools.
const MAX_TOOL_BYTES: u64 = 16 << 20;

/// What the command line describes, but for the task's instructions and inputs.
pub(crate) struct Described {
    pub(crate) builder: RlmBuilder,
    pub(crate) factory: Arc<dyn InterpreterFactory>,
    /// Has to be finished at the end.
    pub(crate) wrapped: Wrapped,
}

/// Checks what the command line says and builds what it describes. `input_bytes` are about what the inputs
/// will take, and `runs` may be at work at once.
pub(crate) async fn described(
    args: &RlmArgs,
    signature: &TaskSignature,
    input_bytes: u64,
    runs: usize,
) -> Result<Described, Failure> {
    let mut shared = Shared::new(&args.wrap, &args.model)?;
    let (builder, factory) = described_with(args, signature, input_bytes, &mut shared, runs).await?;
    Ok(Described { builder, factory, wrapped: shared.wrapped })
}

/// The same, with parts that others have too.
pub(crate) async fn described_with(
    args: &RlmArgs,
    signature: &TaskSignature,
    input_bytes: u64,
    shared: &mut Shared,
    runs: usize,
) -> Result<(RlmBuilder, Arc<dyn InterpreterFactory>), Failure> {
    let sub_models = sub_models::read(&args.sub_model)?;
    let mut settings = args.backend.settings(backend::memory_for(&args.backend.interpreter, input_bytes));
    settings.sessions = Some(sessions_of(args, runs));
    let factory = shared.factory(&args.backend.interpreter, &settings)?;
    let mut builder = Rlm::builder(signature).interpreter(factory.clone());
    builder = builder.limits(|limits| limited(limits, &args.limits));
    for path in &args.tool {
        builder = with_tool(builder, path)?;
    }
    if let Some(policy) = args.policy {
        builder = builder.policy(CodePolicy::from(policy));
    }
    if let Some(retries) = args.limits.retries {
        builder = builder.retry(RetryPolicy::default().max_retries(retries));
    }
    builder = builder.stop_early(!args.whole_replies).profile(args.profile.into());
    builder = builder.deterministic(args.deterministic);
    if let Some(share) = args.limits.compact_at {
        let at = Compaction::default().share(share);
        builder = builder.compaction(if share > 0.0 { at } else { Compaction::off() });
    }
    let mut model = |name: Option<&str>, price: Option<Price>| model(args, name, price, shared);
    builder = builder.model(model(args.model.model.as_deref(), args.price)?);
    if let Some(sub_model) = sub_models.default {
        builder = builder.sub_model(model(Some(sub_model), args.sub_price)?);
    } else if args.sub_price.is_some() {
        return Err(Failure::usage("--sub-price has no --sub-model that it could be the price of"));
    }
    for (name, named) in sub_models.named {
        builder = builder.named_model(name, model(Some(named), None)?);
    }

    if args.asks_before_tools() {
        builder = builder.approve_tools(approval::nobody);
    }
    #[cfg(feature = "mcp")]
    for server in &args.mcp {
        builder = builder.tools(shared.tools(server).await?);
    }
    Ok((builder, factory))
}

/// A model as the command line describes it: the one of this name, or else the configured one.
pub(crate) fn model(
    args: &RlmArgs,
    name: Option<&str>,
    price: Option<Price>,
    shared: &mut Shared,
) -> Result<Arc<dyn LanguageModel>, Failure> {
    let prices = shared.prices(args.prices.as_deref())?;
    let client = |name: Option<&str>, price: Option<Price>| -> Result<Arc<dyn LanguageModel>, Failure> {
        let model = models::model(name, &args.model).map_err(|error| Failure::before_run(&error))?;
        let model = prices.iter().fold(model, Model::with_prices);
        let model = price.into_iter().fold(model, Model::with_price);
        Ok(args.limits.max_input_tokens.into_iter().fold(model, Model::with_max_input_tokens).shared())
    };
    let fallback = args.wrap.fallback.as_deref().map(|other| client(Some(other), None)).transpose()?;
    let around = shared.wrapped.around(client(name, price)?, fallback, &args.model);
    around.map_err(|error| Failure::before_run(&error))
}

/// The limits with what the flags say in their place.
pub(crate) fn limited(mut limits: Limits, args: &LimitArgs) -> Limits {
    if let Some(iterations) = args.max_iterations {
        limits = limits.max_iterations(iterations);
    }
    if let Some(calls) = args.max_llm_calls {
        limits = limits.max_llm_calls(calls);
    }
    if let Some(chars) = args.max_output_chars {
        limits = limits.max_output_chars(chars);
    }
    if let Some(limit) = args.cell_timeout {
        limits = limits.cell_timeout(limit);
    }
    if let Some(limit) = args.model_timeout {
        limits = limits.model_timeout(limit);
    }
    if let Some(calls) = args.max_concurrent_calls {
        limits = limits.max_concurrent_calls(calls);
    }
    if let Some(depth) = args.max_depth {
        limits = limits.max_depth(depth);
    }
    if args.run_timeout.is_some() {
        limits = limits.run_timeout(args.run_timeout);
    }
    if args.max_tokens.is_some() {
        limits = limits.max_tokens(args.max_tokens);
    }
    if args.max_cost.is_some() {
        limits = limits.max_cost(args.max_cost);
    }
    limits
}

/// How many sessions so many runs may have at once, with those of their children.
pub(crate) fn sessions_of(args: &RlmArgs, runs: usize) -> u32 {
    let limits = limited(Limits::default(), &args.limits);
    let of_a_run = (limits.max_depth as usize).saturating_mul(limits.max_concurrent_calls).saturating_add(1);
    u32::try_from(runs.saturating_mul(of_a_run)).unwrap_or(u32::MAX).min(MAX_SESSIONS)
}

/// Sets what the random numbers of sessions begin with. A run that is recorded has a seed of its own, so that
/// its cells can run again; the library gives one only to a run that it writes down itself.
pub(crate) fn seeded(builder: RlmBuilder, args: &RlmArgs, is_recorded: bool) -> RlmBuilder {
    let made = is_recorded.then(|| RandomState::new().build_hasher().finish());
    builder.seed(args.session_seed.or(made))
}

/// Offers the functions of a Python file.
fn with_tool(builder: RlmBuilder, path: &Path) -> Result<RlmBuilder, Failure> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(builder.python_tools(name, tool_source(path)?))
}

/// What a file of tools holds.
pub(crate) fn tool_source(path: &Path) -> Result<String, Failure> {
    let source = files::read(path, MAX_TOOL_BYTES).and_then(|bytes| {
        files::text(bytes, &format!("`{}`", path.display()), &path.display().to_string(), "")
    });
    Ok(source.map_err(|failure| failure.context("--tool"))?.into_string())
}
