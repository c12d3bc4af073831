//! The spans of a run: their names, fields and nesting, and that no text of people or models is in them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use abyme_core::{
    ErrorKind, HostCall, ParameterSpec, Response, Rlm, SpanContent, Tool, Usage, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::cell;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

#[derive(Clone, Debug, Default)]
struct Recorded {
    name: &'static str,
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Recorded {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Keeps all spans of one thread.
#[derive(Clone, Default)]
struct Recording {
    spans: Arc<Mutex<Vec<Recorded>>>,
    entered: Arc<Mutex<Vec<usize>>>,
}

fn index(id: &Id) -> usize {
    id.into_u64() as usize - 1
}

impl Subscriber for Recording {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("abyme_core")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let parent = self.entered.lock().unwrap().last().copied();
        let mut seen = Recorded { name: attributes.metadata().name(), parent, ..Recorded::default() };
        attributes.record(&mut seen);
        let mut spans = self.spans.lock().unwrap();
        spans.push(seen);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut self.spans.lock().unwrap()[index(id)]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.entered.lock().unwrap().push(index(id));
    }

    fn exit(&self, id: &Id) {
        let mut entered = self.entered.lock().unwrap();
        let last = entered.iter().rposition(|entered| *entered == index(id)).unwrap();
        entered.remove(last);
    }
}

/// The spans of a run whose cell asks a model, a tool that fails, and a child.
async fn spans(content: SpanContent) -> Vec<Recorded> {
    let recording = Recording::default();
    let _guard = tracing::subscriber::set_default(recording.clone());
    let interpreter = ScriptedInterpreter::calling(|cell| match cell.code.as_str() {
        "canary_code" => vec![
            HostCall::new("llm_query").argument("prompt", "canary_prompt"),
            HostCall::new("find").argument("what", "canary_argument"),
            HostCall::new("rlm_query").argument("prompt", "canary_task"),
        ],
        _ => Vec::new(),
    });
    let usage = Usage::tokens(100, 20).cost(0.5);
    let root = [cell("canary_code"), "canary_text".into(), "canary_text".into()];
    let root = ScriptedModel::replies(root.map(|text| Response::new(text).usage(usage)));
    let sub = ScriptedModel::from_fn(move |request| match request.messages.len() {
        1 => Ok(Response::new("canary_answer").usage(usage).model("small-2026".to_owned())),
        _ => Ok(Response::new("canary_text").usage(usage)),
    });
    let find = Tool::from_parts("find", "", vec![ParameterSpec::new("what")], |_| async {
        Err::<Value, _>(abyme_core::HostError::new("KeyError", "canary_failure"))
    });
    let rlm = Rlm::builder("canary_input -> a")
        .instructions("canary_instructions")
        .model(root.with_name("large"))
        .sub_model(sub.with_name("small"))
        .tool(find)
        .interpreter(interpreter.factory())
        .span_content(content)
        .build()
        .unwrap();
    rlm.run(inputs! { canary_input: "canary_value" }).label("nightly").await.unwrap();
    recording.spans.lock().unwrap().clone()
}

#[tokio::test]
async fn spans_have_the_names_and_fields_of_the_conventions() {
    let spans = spans(SpanContent::Hidden).await;
    let named: Vec<_> = spans.iter().filter(|span| span.name != "turn").collect();
    let path = |span: &Recorded| {
        let mut names = vec![span.fields["otel.name"].clone()];
        let mut parent = span.parent;
        while let Some(above) = parent {
            names.extend(spans[above].fields.get("otel.name").cloned());
            parent = spans[above].parent;
        }
        names.reverse();
        names.join(" / ")
    };
    let paths: Vec<_> = named.iter().map(|span| path(span)).collect();
    let in_cell = "invoke_workflow nightly / execute_tool python";
    for expected in [
        "invoke_workflow nightly".to_owned(),
        "invoke_workflow nightly / chat large".to_owned(),
        in_cell.to_owned(),
        format!("{in_cell} / execute_tool llm_query / chat small"),
        format!("{in_cell} / execute_tool find"),
        format!("{in_cell} / execute_tool rlm_query / invoke_agent child / chat small"),
    ] {
        assert!(paths.contains(&expected), "{expected}: {paths:#?}");
    }

    let field = |otel: &str, name: &str| {
        let span = named.iter().find(|span| span.fields["otel.name"] == otel).unwrap();
        span.fields.get(name).cloned()
    };
    for (otel, name, expected) in [
        ("invoke_workflow nightly", "gen_ai.operation.name", Some("invoke_workflow")),
        ("invoke_workflow nightly", "gen_ai.workflow.name", Some("nightly")),
        ("invoke_workflow nightly", "otel.status_code", None),
        ("invoke_agent child", "gen_ai.operation.name", Some("invoke_agent")),
        ("execute_tool python", "gen_ai.tool.name", Some("python")),
        ("execute_tool find", "otel.status_code", Some("ERROR")),
        ("execute_tool find", "error.type", Some("KeyError")),
        ("chat small", "otel.kind", Some("client")),
        ("chat small", "gen_ai.request.model", Some("small")),
        ("chat small", "gen_ai.response.model", Some("small-2026")),
        ("chat small", "gen_ai.response.finish_reasons", Some("[\"stop\"]")),
        ("chat small", "gen_ai.usage.input_tokens", Some("100")),
        ("chat small", "gen_ai.usage.output_tokens", Some("20")),
        ("chat small", "abyme.cost", Some("0.5")),
    ] {
        assert_eq!(field(otel, name).as_deref(), expected, "{name} of {otel}");
    }
}

#[tokio::test]
async fn texts_are_in_spans_only_where_that_is_asked_for() {
    let hidden = format!("{:?}", spans(SpanContent::Hidden).await);
    let hidden = hidden.replace("canary_input", "");
    assert!(!hidden.contains("canary"), "{hidden}");
    let shown = format!("{:?}", spans(SpanContent::Shown).await);
    for text in ["code", "prompt", "argument", "task", "answer", "instructions", "text"] {
        assert!(shown.contains(&format!("canary_{text}")), "{text}");
    }
}

#[tokio::test]
async fn a_failed_call_is_marked() {
    let recording = Recording::default();
    let _guard = tracing::subscriber::set_default(recording.clone());
    let model = ScriptedModel::results([Err(abyme_core::Error::new(ErrorKind::Auth, "canary"))]);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(common::interpreter().factory());
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap_err();
    let spans = recording.spans.lock().unwrap();
    for name in ["chat", "invoke_workflow"] {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!((&*span.fields["otel.status_code"], &*span.fields["error.type"]), ("ERROR", "Auth"));
    }
    assert!(!format!("{spans:?}").contains("canary"));
}
