//! A run that is read from the provider's cache, turn by turn: against a server that keeps what it is asked
//! to keep, and counts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use abyme::{Anthropic, LanguageModel, Price, Rlm, Subprocess, inputs};
use async_trait::async_trait;
use serde_json::{Value as Json, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

/// Anthropic's cache: it keeps a prompt up to each block that is marked, and finds what it has kept by the
/// bytes before a mark. A token is four bytes.
#[derive(Clone, Default)]
struct Cache {
    kept: Arc<Mutex<Vec<String>>>,
    turns: Arc<Mutex<Vec<Counts>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    read: usize,
    written: usize,
    uncached: usize,
    marks: usize,
}

impl Cache {
    /// The prompt as the model reads it, and how much of it comes before each mark.
    fn prompt(body: &Json) -> (String, Vec<usize>) {
        let (mut prompt, mut marks) = (String::new(), Vec::new());
        let system = body["system"].as_array().into_iter().flatten().map(|block| ("system", block));
        let messages = body["messages"].as_array().unwrap().iter().flat_map(|message| {
            let role = message["role"].as_str().unwrap();
            message["content"].as_array().unwrap().iter().map(move |block| (role, block))
        });
        for (role, block) in system.chain(messages) {
            prompt.push_str(&format!("<{role}>{}", block["text"].as_str().unwrap()));
            if block.get("cache_control") == Some(&json!({"type": "ephemeral"})) {
                marks.push(prompt.len());
            }
        }
        (prompt, marks)
    }

    fn count(&self, body: &Json) -> Counts {
        let (prompt, marks) = Self::prompt(body);
        assert!(marks.len() <= 4, "the API takes four marks");
        let mut kept = self.kept.lock().unwrap();
        // What was kept is found at a mark, or at one of the blocks before it.
        let last = marks.last().copied().unwrap_or(0);
        let found = kept.iter().filter(|kept| kept.len() <= last && prompt.starts_with(kept.as_str()));
        let read = found.map(String::len).max().unwrap_or(0);
        kept.extend(marks.iter().map(|mark| prompt[..*mark].to_owned()));
        let (all, read, last) = (prompt.len() / 4, read / 4, last / 4);
        Counts {
            read,
            written: last.saturating_sub(read),
            uncached: all - last.max(read),
            marks: marks.len(),
        }
    }
}

impl Respond for Cache {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let counts = self.count(&request.body_json().unwrap());
        let mut turns = self.turns.lock().unwrap();
        turns.push(counts);
        let code = if turns.len() < TURNS {
            "print('some output ' * 20)".to_owned()
        } else {
            "SUBMIT(answer='x')".into()
        };
        let text = format!("Step {}.\n```python\n{code}\n```", turns.len());
        let usage = json!({
            "input_tokens": counts.uncached, "cache_read_input_tokens": counts.read,
            "cache_creation_input_tokens": counts.written, "output_tokens": 10,
        });
        ResponseTemplate::new(200).set_body_json(json!({
            "type": "message", "model": "claude-x", "stop_reason": "end_turn", "usage": usage,
            "content": [{"type": "text", "text": text}],
        }))
    }
}

const TURNS: usize = 5;

/// Marks the system's message and the last one, where the loop does not.
#[derive(Debug)]
struct Marked(Anthropic);

#[async_trait]
impl LanguageModel for Marked {
    fn name(&self) -> &str {
        LanguageModel::name(&self.0)
    }

    async fn complete(&self, request: &abyme::Request) -> abyme::Result<abyme::Response> {
        let mut request = request.clone();
        if request.cache_points.is_empty() {
            request.cache_points = vec![0, request.messages.len() - 1];
        }
        self.0.complete(&request).await
    }
}

#[tokio::test]
async fn each_turn_reads_the_one_before_from_the_cache() {
    let (server, cache) = (MockServer::start().await, Cache::default());
    Mock::given(matchers::path("/v1/messages")).respond_with(cache.clone()).mount(&server).await;
    let price = Price::per_million(1.0, 5.0).cached_input(0.1).cache_write(1.25);
    let model = Anthropic::new("claude-x").base_url(server.uri()).with_price(price);
    let rlm = Rlm::builder("question -> answer").model(Marked(model)).interpreter(Subprocess::new());
    let answer = rlm.build().unwrap().run(inputs! { question: "?" }).await.unwrap();

    let turns = cache.turns.lock().unwrap().clone();
    assert_eq!(turns.len(), TURNS);
    for (before, turn) in turns.iter().zip(&turns[1..]) {
        // A block ends at a byte, not at a token.
        let all_before = before.read + before.written + before.uncached;
        assert!(turn.read + 1 >= all_before, "{turns:?}");
        assert_eq!((turn.uncached, turn.marks), (0, 2), "{turns:?}");
    }
    let read: usize = turns.iter().map(|turn| turn.read).sum();
    let written: usize = turns.iter().map(|turn| turn.written).sum();
    assert!(read > 2 * written, "most of what a run sends was sent before: {turns:?}");

    let usage = answer.usage();
    assert_eq!(usage.cached_tokens, Some(read as u64));
    assert_eq!(usage.cache_write_tokens, Some(written as u64));
    let uncached: usize = turns.iter().map(|turn| turn.uncached).sum();
    assert_eq!(usage.input_tokens, Some((read + written + uncached) as u64));
    let dollars = (read as f64 * 0.1 + written as f64 * 1.25 + uncached as f64 + 50.0 * 5.0) / 1e6;
    assert!((usage.cost.unwrap() - dollars).abs() < 1e-9, "{usage:?}");
}
