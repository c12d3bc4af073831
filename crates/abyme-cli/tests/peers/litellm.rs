//! A real LiteLLM proxy: one that allows one request a minute delays a run and does not end it, and what it
//! makes of the answers and failures behind it is understood.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use abyme::{ErrorKind, LanguageModel, OpenAi, Request, Response, Result, model::collect};
use abyme_conformance::model::{OpenAiChat, Provider, Reply, Scenario, StandInServer};
use serde_json::Value;
use tempfile::TempDir;

const MASTER_KEY: &str = "sk-master-0123456789";

/// Each reply of the model, its sub-calls' too: a cell that asks a sub-model.
const CONFIG: &str = r#"
model_list:
  - model_name: limited
    litellm_params:
      model: openai/mock
      api_key: none
      mock_response: "```python\nSUBMIT(llm_query('hello')[:9])\n```"
      rpm: 1
general_settings:
  master_key: sk-master-0123456789
router_settings:
  optional_pre_call_checks: ["enforce_model_rate_limits"]
"#;

/// What the proxy simulates by itself.
const SIMULATED: &[(&str, &str, Option<ErrorKind>)] = &[
    ("fine", "It is four.", None),
    ("limited", "litellm.RateLimitError", Some(ErrorKind::RateLimited { retry_after: None })),
    ("too-long", "litellm.ContextWindowExceededError", Some(ErrorKind::ContextTooLong)),
    ("broken", "litellm.InternalServerError", Some(ErrorKind::Server)),
];

/// What servers behind the proxy do.
const BEHIND: &[(&str, ErrorKind)] = &[
    ("behind-limited", ErrorKind::RateLimited { retry_after: None }),
    // The proxy leaves the code out, and the same words name limits of a minute elsewhere.
    ("behind-quota", ErrorKind::RateLimited { retry_after: None }),
    ("behind-too-long", ErrorKind::ContextTooLong),
    ("behind-bad", ErrorKind::BadRequest),
    ("behind-refused", ErrorKind::ContentRefused),
    ("behind-broken", ErrorKind::Server),
];

/// A proxy that ends with the test.
struct Proxy {
    process: Child,
    port: u16,
    directory: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    /// Starts a proxy with this configuration.
    fn start(environment: &Path, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("config.yaml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = || std::fs::File::create(path.join("proxy.log")).unwrap();
        let process = Command::new(environment.join("bin/python"))
            .arg(environment.join("bin/litellm"))
            .args(["--config", "config.yaml", "--host", "127.0.0.1", "--port", &port.to_string()])
            .env("HOME", path)
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True") // or it fetches a list of prices
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        let proxy = Self { process, port, directory };
        let started = Instant::now();
        while !is_live(port) {
            assert!(started.elapsed() < Duration::from_secs(120), "the proxy did not start");
            std::thread::sleep(Duration::from_millis(200));
        }
        proxy
    }

    fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("proxy.log")).unwrap_or_default()
    }
}

pub(crate) fn a_rate_limit_delays_a_run(environment: &Path) {
    let proxy = Proxy::start(environment, CONFIG);
    let run = |key: &str| {
        Command::new(env!("CARGO_BIN_EXE_abyme"))
            .args(["run", "-s", "q -> text", "-i", "q=x", "--json", "--trace", "run.jsonl"])
            .args(["--model", "limited", "--api-base", &proxy.base_url()])
            .current_dir(proxy.directory.path())
            .env_remove("OPENAI_API_KEY")
            .env("ABYME_API_KEY", key)
            .env("ABYME_CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
            .output()
            .unwrap()
    };
    let wrong = run("sk-wrong-0123456789");
    let stderr = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("check the API key") && stderr.contains("master key"), "{stderr}");

    let started = Instant::now();
    let ended = run(MASTER_KEY);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stderr}");
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&result["status"], &result["outputs"]["text"]), (&"submitted".into(), &"```python".into()));
    // The second call was refused, with a wait of a minute, and came through after it.
    assert!(started.elapsed() > Duration::from_secs(30), "nothing was limited: {stderr}");
}

pub(crate) fn its_answers_and_failures_are_understood(environment: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(understood(environment));
}

async fn understood(environment: &Path) {
    // In JSON, which is YAML too.
    let mut models = Vec::new();
    let mut servers = Vec::new();
    for (name, mock, _) in SIMULATED {
        let params = serde_json::json!({"model": "openai/mock", "api_key": "none", "mock_response": mock});
        models.push(serde_json::json!({"model_name": name, "litellm_params": params}));
    }
    let slow = serde_json::json!({
        "model": "openai/mock", "api_key": "none", "mock_response": "late", "mock_delay": 60,
    });
    models.push(serde_json::json!({"model_name": "slow", "litellm_params": slow}));
    let reply = Reply::new(["It ", "is ", "five."]).reasoning(["two and ", "three"]);
    let failures = BEHIND.iter().map(|(name, kind)| (*name, Scenario::Fail(*kind)));
    let others = [("behind-fine", Scenario::Reply(reply.clone())), ("behind-cut", Scenario::Cut(reply))];
    for (name, scenario) in failures.chain(others) {
        let server = StandInServer::start(OpenAiChat, Provider::new(scenario)).await.unwrap();
        let params = serde_json::json!({
            "model": "openai/behind", "api_key": "sk-behind", "api_base": format!("{}/v1", server.url()),
            "max_retries": 0,
        });
        models.push(serde_json::json!({"model_name": name, "litellm_params": params}));
        servers.push(server);
    }
    let config = serde_json::json!({
        "model_list": models, "general_settings": {"master_key": MASTER_KEY},
        "router_settings": {"num_retries": 0, "disable_cooldowns": true},
    });
    let config = config.to_string();
    let environment = environment.to_owned();
    let proxy = tokio::task::spawn_blocking(move || Proxy::start(&environment, &config)).await.unwrap();

    let client = |model: &str, key: &str| {
        OpenAi::new(format!("litellm_proxy/{model}")).base_url(proxy.base_url()).api_key(key)
    };
    for streams in [false, true] {
        let try_once = async |model: &str, key: &str| -> Result<Response> {
            let request = Request::prompt("2 + 2?").timeout(Duration::from_secs(20));
            ask(&client(model, key), &request, streams).await
        };
        for (name, mock, kind) in SIMULATED {
            check(&format!("{name}, streams: {streams}"), try_once(name, MASTER_KEY).await, mock, *kind);
        }
        for (name, kind) in BEHIND {
            check(&format!("{name}, streams: {streams}"), try_once(name, MASTER_KEY).await, "", Some(*kind));
        }
        let response = try_once("behind-fine", MASTER_KEY).await.unwrap();
        assert_eq!(response.text, "It is five.", "streams: {streams}");
        assert_eq!(response.reasoning, "two and three", "streams: {streams}");
        assert_eq!((response.usage.input_tokens, response.usage.output_tokens), (Some(19), Some(7)));
        let cut = try_once("behind-cut", MASTER_KEY).await.unwrap_err();
        assert!(cut.is_temporary(), "streams: {streams}: {cut:?}");

        let wrong = try_once("fine", "sk-wrong-0123456789").await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Auth, "{wrong:?}");
        let unknown = try_once("no-such-model", MASTER_KEY).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::BadRequest, "{unknown:?}");

        let request = Request::prompt("2 + 2?").timeout(Duration::from_secs(1));
        let late = ask(&client("slow", MASTER_KEY), &request, streams).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ModelTimeout, "streams: {streams}: {late:?}");
    }

    let fine = client("fine", MASTER_KEY);
    let request = Request::prompt("2 + 2?");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (fine, request) = (fine.clone(), request.clone());
        calls.spawn(async move { ask(&fine, &request, number % 2 == 0).await.unwrap().text });
    }
    assert!(calls.join_all().await.iter().all(|text| text == "It is four."), "{}", proxy.log());
}

async fn ask(model: &OpenAi, request: &Request, streams: bool) -> Result<Response> {
    match streams {
        true => collect(model.stream(request)).await,
        false => model.complete(request).await,
    }
}

/// Checks an answer by the text or the kind that it has to have.
fn check(what: &str, answer: Result<Response>, text: &str, kind: Option<ErrorKind>) {
    match (answer, kind) {
        (Ok(response), None) => {
            assert_eq!(response.text, text, "{what}");
            assert!(response.usage.input_tokens.is_some(), "{what}: {response:?}");
        }
        (Err(error), Some(kind)) => {
            let same = std::mem::discriminant(&error.kind()) == std::mem::discriminant(&kind);
            assert!(same, "{what}: expected {kind:?}, got {error:?}");
        }
        (answer, kind) => panic!("{what}: expected {kind:?}, got {answer:?}"),
    }
}

/// Whether the proxy answers.
fn is_live(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /health/liveliness HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(" 200 "))
}
