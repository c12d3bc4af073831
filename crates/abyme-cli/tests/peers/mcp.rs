//! The official Python client of the Model Context Protocol starts `abyme mcp`, and connects to it over HTTP.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use abyme_conformance::model::{OpenAiChat, Provider, Reply, Scenario, StandInServer};
use serde_json::{Value, json};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/mcp_client.py");
const CELL: &str = "```python\nprint(llm_query('?')[:9])\nSUBMIT(answer=docs.upper())\n```";
const TOKEN: &str = "a-token-of-the-tests";

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn the_official_client_is_served(environment: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let scenarios = [Scenario::Reply(Reply::new([CELL])), Scenario::Silent];
    let models = scenarios
        .map(|scenario| runtime.block_on(StandInServer::start(OpenAiChat, Provider::new(scenario))).unwrap());
    let home = tempfile::tempdir().unwrap();
    let command = |model: &StandInServer| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_abyme"));
        let base = format!("{}/v1", model.url());
        command.args(["mcp", "--interpreter=subprocess", "--model=test-model", "--api-base", &base]);
        command.env_clear().env("HOME", home.path()).env("ABYME_API_KEY", "none").current_dir(&home);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("ABYME_MCP_TOKEN", TOKEN);
        command
    };
    let http = models.each_ref().map(|model| {
        let mut child = command(model).arg("--http").stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        (Running(child), url.trim_end().to_owned())
    });
    let words = |model: &StandInServer| {
        let command = command(model);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let given = json!({
        "stdio": {"fine": words(&models[0]), "silent": words(&models[1])},
        "http": {"fine": http[0].1, "silent": http[1].1},
        "token": TOKEN,
    });
    let ran = Command::new(environment.join("bin/python"))
        .args([SCRIPT, &given.to_string()])
        .env("HOME", home.path())
        .env("ABYME_API_KEY", "none")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    let result: Value = serde_json::from_slice(&ran.stdout).unwrap();
    for (way, found) in result.as_object().unwrap() {
        assert_eq!(found["tools"], json!(["ask", "session_open", "session_run", "session_close"]), "{way}");
        assert_eq!(
            (&found["answer"], &found["outputs"]),
            (&"HAY".into(), &json!({"answer": "HAY"})),
            "{way}"
        );
        assert_eq!(
            (&found["sessions"], &found["error"]),
            (&"42".into(), &"ZeroDivisionError".into()),
            "{way}"
        );
        assert!(found["record"].as_str().unwrap().contains("run_finished"), "{way}: {found}");
        assert!(found["refused"].as_str().unwrap().contains("missing field `question`"), "{way}: {found}");
        assert!(found["progress"].as_u64() > Some(0), "{way}: {found}");
        assert_eq!(found["cancelled"], true, "{way}: {found}");
    }
    assert_eq!(result.as_object().unwrap().len(), 4, "{result}");
}
