//! What a run says that it used is what the server counted: retries, refusals, children and all.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use abyme::{EntryKind, Ledger, LedgerEntry, OpenAi, Price, Rlm, Subprocess, Trajectory, Usage, inputs};
use serde_json::{Value as Json, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

const ROOT_CELL: &str = "
one = llm_query('one ' * 100)
try:
    llm_query('refuse this')
except RuntimeError as error:
    refused = str(error)
many = llm_query_batched(['busy', 'two', 'three'])
deep = rlm_query('ask again', context='x' * 50)
print(one, refused, many, deep)
";

/// Counts what it says that the models used.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<ServerCounts>>);

#[derive(Default)]
struct ServerCounts {
    by_model: BTreeMap<String, Usage>,
    was_busy: bool,
}

impl Respond for Server {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Json = request.body_json().unwrap();
        let messages = body["messages"].as_array().unwrap();
        let last = messages.last().unwrap()["content"].as_str().unwrap();
        let model = body["model"].as_str().unwrap();
        let mut counted = self.0.lock().unwrap();
        let first_busy = last == "busy" && !std::mem::replace(&mut counted.was_busy, last == "busy");
        let used = counted.by_model.entry(model.to_owned()).or_default();
        if first_busy {
            *used += Usage::call();
            return ResponseTemplate::new(503);
        }
        let (text, refusal) = match (model, messages.len()) {
            ("large", 2) => (format!("```python{ROOT_CELL}```"), None),
            ("large", _) => ("```python\nSUBMIT(deep)\n```".to_owned(), None),
            ("small", 1) if last.contains("refuse") => (String::new(), Some("no")),
            ("small", 1) => (format!("{} characters", last.len()), None),
            ("small", _) => ("```python\nSUBMIT(llm_query('from the child'))\n```".to_owned(), None),
            other => panic!("{other:?}"),
        };
        // No two answers use the same.
        let call = used.calls;
        let mut usage = Usage::tokens(100 + call, 20 + call);
        usage.cached_tokens = Some(10 + call);
        usage.reasoning_tokens = Some(5);
        let mut told = json!({
            "prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        });
        usage.cost = match model {
            "large" => {
                told["cost"] = json!(0.25);
                Some(0.25)
            }
            _ => Price::per_million(1_000.0, 2_000.0).of(&usage),
        };
        *used += usage;
        ResponseTemplate::new(200).set_body_json(json!({
            "model": model, "usage": told,
            "choices": [{"message": {"role": "assistant", "content": text, "refusal": refusal}}],
        }))
    }
}

fn assert_same(found: &Usage, counted: &Usage) {
    let tokens = |mut usage: Usage| {
        usage.cost = None;
        usage
    };
    assert_eq!(tokens(*found), tokens(*counted));
    assert!((found.cost.unwrap() - counted.cost.unwrap()).abs() < 1e-9, "{found:?} {counted:?}");
}

fn of_kind(ledger: &Ledger, kind: EntryKind) -> Vec<&LedgerEntry> {
    ledger.entries.iter().filter(|entry| entry.kind == kind).collect()
}

#[tokio::test]
async fn the_ledger_is_what_the_server_counted() {
    let (server, counting) = (MockServer::start().await, Server::default());
    Mock::given(matchers::any()).respond_with(counting.clone()).mount(&server).await;
    let model = |name: &str| OpenAi::new(name).base_url(server.uri());
    let rlm = Rlm::builder("question -> answer")
        .model(model("large").with_reports_cost(true))
        .sub_model(model("small").with_price(Price::per_million(1_000.0, 2_000.0)))
        .interpreter(Subprocess::new())
        .limits(|limits| limits.max_cost(10.0))
        .build()
        .unwrap();
    let answer = rlm.run(inputs! { question: "how long?" }).await.unwrap();
    assert_eq!(answer.get::<String>("answer").unwrap(), "14 characters");

    let ledger = answer.trajectory().ledger();
    let counted = counting.0.lock().unwrap();
    assert_eq!(ledger.by_model.len(), 2);
    for (model, usage) in &counted.by_model {
        assert_same(&ledger.by_model[model], usage);
    }
    let total = counted.by_model.values().fold(Usage::default(), |sum, usage| sum + *usage);
    assert_same(&ledger.total, &total);
    assert_same(answer.usage(), &total);
    assert_eq!((ledger.by_depth.len(), ledger.by_depth[&1].calls), (2, 2), "the child's turn and its query");
    assert_same(&(ledger.by_turn[&1] + ledger.by_turn[&2]), &total);

    // Each has its cause, and what it caused.
    let calls = of_kind(&ledger, EntryKind::ModelCall);
    assert_eq!(calls.len() as u64, total.calls);
    assert_eq!(calls.iter().filter(|call| call.error.is_some()).count(), 2, "one busy, one refused");
    let [child] = of_kind(&ledger, EntryKind::Child)[..] else { panic!("{ledger}") };
    assert_eq!((child.usage.calls, child.name.as_str(), child.depth), (2, "rlm_query", 0));
    let parent = |entry: &LedgerEntry| &ledger.entries[entry.parent.unwrap()];
    assert_eq!(parent(child).kind, EntryKind::Cell);
    let deepest = calls.iter().max_by_key(|call| (call.depth, call.call)).unwrap();
    let chain = [parent(deepest), parent(parent(deepest)), parent(parent(parent(deepest)))];
    assert_eq!(chain.map(|entry| entry.kind), [EntryKind::SubCall, EntryKind::Cell, EntryKind::Child]);
    let cells = of_kind(&ledger, EntryKind::Cell);
    let root = cells.iter().filter(|cell| cell.depth == 0).map(|cell| cell.usage.calls).collect::<Vec<_>>();
    assert_eq!(root, [total.calls - 2, 0], "all but its two turns");

    // A record that was read back says the same.
    let read = Trajectory::from_jsonl(&answer.trajectory().to_jsonl()).unwrap();
    assert_eq!(read.ledger(), ledger);
    let text = serde_json::to_string(&ledger).unwrap();
    assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
}
