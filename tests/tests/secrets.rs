//! A key that appears nowhere but in the header it is for: every client, whatever its provider does, as a
//! call and as a stream, in replies, in errors, in `Debug`, in logs, in trajectories and in cassettes.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use abyme::{
    Anthropic, Delta, ErrorKind, FinishReason, Gemini, Genai, LanguageModel, LanguageModelExt, NativeCall,
    OpenAi, Recording, Request, RetryPolicy, Rlm, Subprocess, inputs,
};
use abyme_conformance::model::{
    AnthropicMessages, GeminiContent, KEY, OpenAiChat, Provider, Reply, Scenario, StandInServer, WireFault,
    WireFormat,
};
use futures_util::StreamExt;

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client, and how it and its settings are shown.
struct Client {
    model: Arc<dyn LanguageModel>,
    shown: String,
}

/// The client of a server at `url`, by the name of its format.
type MakeClient = fn(&str) -> Client;

/// The client `$model`, with a second secret among its headers.
macro_rules! client {
    ($model:expr) => {{
        let model = $model.api_key(KEY).header("X-Extra", format!("{KEY}-extra"));
        let shown = format!("{model:?} {model:#?} {}", serde_json::to_string(&model).unwrap());
        Client { model: Arc::new(model), shown }
    }};
}

fn openai(url: &str) -> Client {
    client!(OpenAi::new("openai/test-model").base_url(format!("{url}/v1")))
}

fn anthropic(url: &str) -> Client {
    client!(Anthropic::new("test-model").base_url(url))
}

fn gemini(url: &str) -> Client {
    client!(Gemini::new("test-model").base_url(url))
}

fn genai(url: &str) -> Client {
    client!(Genai::new("openai/test-model").base_url(format!("{url}/v1/")))
}

/// All that a provider may do besides being silent.
fn scenarios() -> Vec<Scenario> {
    let reply = Reply::new(["```python\n", "SUBMIT(question)\n", "```"]).reasoning(["hm"]);
    let mut scenarios = vec![
        Scenario::Reply(reply.clone()),
        Scenario::Reply(repeating()),
        // What was said until then is shown.
        Scenario::Cut(Reply::new([format!("```python\nprint('{}", &KEY[..20])])),
        Scenario::Echo,
        Scenario::Cut(reply.clone()),
        Scenario::HangUp,
        Scenario::Garbage,
    ];
    let kinds = [
        ErrorKind::RateLimited { retry_after: None },
        ErrorKind::QuotaExceeded,
        ErrorKind::Auth,
        ErrorKind::ContextTooLong,
        ErrorKind::BadRequest,
        ErrorKind::ContentRefused,
        ErrorKind::Server,
    ];
    for kind in kinds {
        scenarios.extend([
            Scenario::Fail(kind),
            Scenario::FailMidway(reply.clone(), kind),
            Scenario::Wire(WireFault::ErrorInSuccess(kind)),
        ]);
    }
    let pages = [200, 401, 404, 407, 429, 500, 503].map(WireFault::Page);
    let faults = pages.into_iter().chain([
        WireFault::Body(format!("{{\"choices\": \"{KEY}\"}}")),
        WireFault::Body(format!("not JSON {KEY}")),
        WireFault::BrokenText(reply.clone()),
        WireFault::BrokenEvent(reply),
        WireFault::RedirectElsewhere,
        WireFault::RedirectLoop,
        WireFault::RetryAfter(KEY.to_owned()),
    ]);
    scenarios.extend(faults.map(Scenario::Wire));
    scenarios
}

/// A reply that succeeds, with the key in all that is kept of it, and in two pieces.
fn repeating() -> Reply {
    let code = format!("SUBMIT('{KEY}')");
    let text = format!("```python\n{code}\n```");
    let (first, second) = text.split_at(text.len() / 2);
    Reply::new([first, second])
        .reasoning([&KEY[..12], &KEY[12..]])
        .finish_reason(FinishReason::Other(KEY.to_owned()))
        .native_call(NativeCall::new(KEY, format!("{{\"code\": \"{code}\"}}")))
}

/// What a client shows in the course of everything that its provider may do.
async fn shown_by<F: WireFormat + Copy>(format: F, client: MakeClient) -> String {
    let mut shown = String::new();
    for scenario in scenarios() {
        let provider = Provider::new(scenario);
        let server = StandInServer::start(format, provider.clone()).await.unwrap();
        let Client { model, shown: settings } = client(&server.url());
        shown += &settings;
        let request = Request::prompt("the question");
        let out = tempfile::NamedTempFile::new().unwrap();
        let recording = Recording::create(out.path()).unwrap();
        let model = Arc::new(model.with_recording(&recording));
        match model.complete(&request).await {
            Ok(response) => shown += &format!("{response:?} {}", serde_json::to_string(&response).unwrap()),
            Err(error) => shown += &format!("{error} {error:?} {error:#?}"),
        }
        let (mut texts, mut thoughts) = (String::new(), String::new());
        let mut pieces = model.stream(&request);
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(Delta::Text(text)) => texts += &text,
                Ok(Delta::Reasoning(text)) => thoughts += &text,
                Ok(piece) => shown += &format!("{piece:?}"),
                Err(error) => shown += &format!("{error} {error:?} {error:#?}"),
            }
        }
        drop(pieces);
        shown += &format!("{texts}\n{thoughts}\n");
        assert!(provider.keys() >= 2, "the key was not sent");
        // A request that holds the key, as a text that a user passes on.
        let _ = model.complete(&Request::prompt(format!("My key is {KEY}."))).await;
        let cassette = std::fs::read_to_string(out.path()).unwrap();
        shown += &joined_pieces(&cassette);
        shown += &cassette;

        // A run, with what it keeps and writes.
        let out = tempfile::NamedTempFile::new().unwrap();
        let retry = RetryPolicy::default().max_retries(0);
        let rlm = Rlm::builder("question -> answer").model(model).interpreter(Subprocess::new()).retry(retry);
        let rlm = rlm.limits(|limits| limits.max_iterations(2)).build().unwrap();
        let ended = rlm.run(inputs! { question: "what?" }).trace(out.path()).await;
        match &ended {
            Ok(prediction) => shown += &format!("{prediction:?} {:?}", prediction.trajectory()),
            Err(error) => shown += &format!("{error} {error:?} {:?}", error.trajectory()),
        }
        shown += &std::fs::read_to_string(out.path()).unwrap();
    }
    shown
}

/// The texts and thoughts of the streams in a cassette, each joined from its pieces.
fn joined_pieces(cassette: &str) -> String {
    let mut joined = String::new();
    for line in cassette.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for of in ["text", "reasoning"] {
            let pieces = line["pieces"].as_array().into_iter().flatten();
            joined.extend(pieces.filter_map(|piece| piece[of].as_str()));
            joined.push('\n');
        }
    }
    joined
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_nothing_that_a_client_shows() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let (openai, anthropic, gemini, genai) = tokio::join!(
        shown_by(OpenAiChat, openai),
        shown_by(AnthropicMessages, anthropic),
        shown_by(GeminiContent, gemini),
        shown_by(OpenAiChat, genai),
    );
    let shown = [openai, anthropic, gemini, genai].concat();
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("asking the model") && logged.contains("TRACE"), "hardly anything is logged");
    for (what, text) in [("errors, settings and records", &shown), ("logs", &logged)] {
        for part in [KEY, &KEY[10..], &KEY[..16]] {
            if let Some(at) = text.find(part) {
                let around: String = text[at.saturating_sub(400)..].chars().take(600).collect();
                panic!("the key is in the {what}: {around}");
            }
        }
    }
}
