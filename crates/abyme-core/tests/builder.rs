//! Every wrong part of a builder is refused by `build`, by name.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use abyme_core::{
    ErrorKind, InterpreterFactory, LanguageModel, LanguageModelExt, Price, Record, Request, Response, Result,
    Rlm, RlmBuilder, Tool, inputs, testing::ScriptedModel,
};
use common::{cell, interpreter, scripted};

fn problem(builder: RlmBuilder) -> (ErrorKind, String) {
    let error = builder.build().unwrap_err();
    (error.kind(), error.to_string())
}

fn builder(signature: &str) -> RlmBuilder {
    scripted(signature, [""; 0]).0
}

fn tool(name: &str) -> Tool {
    Tool::from_parts(name, "", Vec::new(), |_| async { Ok(abyme_core::Value::None) })
}

#[test]
fn what_is_missing_is_named() {
    let (kind, message) = problem(Rlm::builder("q -> a").interpreter(interpreter().factory()));
    assert!(kind == ErrorKind::Config && message.contains("no model"), "{message}");
    let (kind, message) = problem(Rlm::builder("q -> a").model(ScriptedModel::replies([""; 0])));
    assert!(kind == ErrorKind::Config && message.contains("no interpreter"), "{message}");
}

#[test]
fn a_signature_that_does_not_parse_says_where() {
    let (kind, message) = problem(builder("docs -> total: inte"));
    assert!(kind == ErrorKind::Signature && message.contains("`int`"), "{message}");
}

#[test]
fn names_are_checked() {
    for (tool_name, part) in
        [("lambda", "keyword"), ("llm_query", "session"), ("SUBMIT", "session"), ("my tool", "name")]
    {
        let (kind, message) = problem(builder("q -> a").tool(tool(tool_name)));
        assert!(kind == ErrorKind::InvalidInput && message.contains(part), "{message}");
    }
    assert!(problem(builder("q -> a").tool(tool("f")).tool(tool("f"))).1.contains("two tools"));
    assert!(problem(builder("f -> a").tool(tool("f"))).1.contains("both an input and a tool"));
    assert!(problem(builder("q -> a").describe("b", "?")).1.contains("`b`"));
}

#[test]
fn python_tools_are_read_when_building() {
    assert!(problem(builder("q -> a").python_tools("tools.py", "def f(:")).1.starts_with("tools.py, line 1"));
    assert!(problem(builder("q -> a").python_tools("tools.py", "x = 1")).1.contains("no public function"));
    assert!(problem(builder("q -> a").python_tools("tools.py", "def SUBMIT(): ...")).1.contains("SUBMIT"));
    assert!(builder("q -> a").python_tools("tools.py", "def find(text: str) -> list: ...").build().is_ok());
}

#[test]
fn limits_that_cannot_work_are_refused() {
    assert!(
        problem(builder("q -> a").limits(|limits| limits.max_iterations(0))).1.contains("max_iterations")
    );
    assert!(
        problem(builder("q -> a").limits(|limits| limits.max_output_chars(0))).1.contains("max_output_chars")
    );
    assert!(problem(builder("q -> a").limits(|limits| limits.max_cost(f64::NAN))).1.contains("max_cost"));
}

/// A model that says nothing about money.
#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl LanguageModel for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        Ok("?".into())
    }
}

#[tokio::test]
async fn a_limit_on_cost_needs_the_price_of_every_model() {
    let scripted = || ScriptedModel::replies([cell("submit a=x")]);
    let start = || Rlm::builder("q -> a").interpreter(interpreter().factory()).model(scripted());
    let limited = |builder: RlmBuilder| builder.limits(|limits| limits.max_cost(1.0));
    for builder in [start().model(Silent), start().sub_model(Silent), start().named_model("x", Silent)] {
        let (kind, message) = problem(limited(builder));
        assert_eq!(kind, ErrorKind::Config);
        assert!(message.contains("`silent`") && message.contains("with_price"), "{message}");
    }
    limited(start()).build().unwrap();
    limited(start().sub_model(Silent.with_price(Price::per_million(1.0, 2.0)))).build().unwrap();

    let rlm = start().sub_model(Silent).build().unwrap();
    let error = rlm.run(inputs! { q: "?" }).limits(|limits| limits.max_cost(1.0)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.trajectory().is_none(), "{error}");
}

#[tokio::test]
async fn boxes_and_closures_are_taken_for_what_they_hold() {
    let model: Box<dyn LanguageModel> = Box::new(ScriptedModel::replies([cell("final 42")]));
    let backend: Box<dyn InterpreterFactory> = Box::new(interpreter().factory());
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let rlm = Rlm::builder("q -> a")
        .model(model)
        .interpreter(backend)
        .on_event(move |_: &Arc<Record>| {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let run = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(run.get::<String>("a").unwrap(), "42");
    assert_eq!(seen.load(Ordering::Relaxed), run.trajectory().events().count());
}
