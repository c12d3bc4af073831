//! A LiteLLM proxy that allows one request a minute delays a run, and does not end it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

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

/// A proxy that ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn a_rate_limit_delays_a_run(environment: &Path) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.yaml"), CONFIG).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = || std::fs::File::create(dir.path().join("proxy.log")).unwrap();
    let proxy = Command::new(environment.join("bin/python"))
        .arg(environment.join("bin/litellm"))
        .args(["--config", "config.yaml", "--host", "127.0.0.1", "--port", &port.to_string()])
        .env("HOME", dir.path())
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True") // or it fetches a list of prices
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn();
    let _proxy = Proxy(proxy.unwrap());
    let started = Instant::now();
    while !is_live(port) {
        assert!(started.elapsed() < Duration::from_secs(120), "the proxy did not start");
        std::thread::sleep(Duration::from_millis(200));
    }

    let run = |key: &str| {
        let base = format!("http://127.0.0.1:{port}/v1");
        Command::new(env!("CARGO_BIN_EXE_abyme"))
            .args(["run", "-s", "q -> text", "-i", "q=x", "--json", "--trace", "run.jsonl"])
            .args(["--model", "limited", "--api-base", &base])
            .current_dir(dir.path())
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
    let ended = run("sk-master-0123456789");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stderr}");
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&result["status"], &result["outputs"]["text"]), (&"submitted".into(), &"```python".into()));
    // The second call was refused, with a wait of a minute, and came through after it.
    assert!(started.elapsed() > Duration::from_secs(30), "nothing was limited: {stderr}");
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
