//! The server and the clients that people have: OpenAI's own for Python and for Node, and LiteLLM. The runs
//! are real, in CPython; only the model follows a script.
//!
//! They need packages of PyPI and npm under `target/venvs` and `target/npm`. Without them a test shows as
//! ignored with the command that installs them; with its name in `ABYME_REQUIRE` it fails then.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers included"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use abyme_conformance::prerequisite::{is_required, note_ignored};
use abyme_core::{Error, ErrorKind, Response, Rlm, Usage, testing::ScriptedModel};
use abyme_interpreter_subprocess::Subprocess;
use abyme_serve::{BoundServer, Key, KeyLimits, ServeConfig, Server, signature};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

const TOKEN: &str = "sk-abyme-of-these-tests";
/// The token of a key that has one request a minute.
const RARE: &str = "sk-abyme-that-asks-rarely";

/// What every turn does: it looks at all that the client sent.
const CELL: &str = "\
```python
length = sum(len(message['content']) for message in messages)
roles = ' '.join(message['role'] for message in messages)
SUBMIT(answer=f'{system}|{roles}|{length}|{question}')
```";

/// A client, and how it is installed.
struct Client {
    /// What `ABYME_REQUIRE` calls it.
    name: &'static str,
    /// The directory that tells that this version is installed, below `target`; `*` is any one directory.
    installed: &'static str,
    install: &'static str,
    program: &'static str,
    script: &'static str,
}

const CLIENTS: [Client; 3] = [
    Client {
        name: "openai",
        installed: "venvs/openai/lib/*/site-packages/openai-3.51.0.dist-info",
        install: "python3 -m venv target/venvs/openai && target/venvs/openai/bin/pip install openai==3.51.0",
        program: "venvs/openai/bin/python",
        script: "openai_client.py",
    },
    Client {
        name: "openai-npm",
        installed: "npm/node_modules/openai",
        install: "npm install --prefix target/npm openai@7.55.0",
        program: "node",
        script: "openai_client.mjs",
    },
    Client {
        name: "litellm",
        installed: "venvs/litellm/lib/*/site-packages/litellm-1.95.0.dist-info",
        install: "python3 -m venv target/venvs/litellm && \
                  target/venvs/litellm/bin/pip install 'litellm[proxy]==1.95.0' fastapi==0.124.4",
        program: "venvs/litellm/bin/python",
        script: "litellm_client.py",
    },
];

fn main() -> ExitCode {
    let trials = CLIENTS.into_iter().map(|client| {
        let name = format!("{}_reads_what_the_server_says", client.name.replace('-', "_"));
        match client.obstacle() {
            None => Trial::test(name, move || {
                client.test();
                Ok(())
            }),
            Some(reason) if is_required(client.name) => Trial::test(name, || Err(Failed::from(reason))),
            Some(reason) => {
                note_ignored(client.name, &reason);
                Trial::test(name, || Ok(())).with_ignored_flag(true).with_kind("no package")
            }
        }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Whether a path is there, whatever directory stands in the place of a `*`.
fn is_there(base: &Path, path: &str) -> bool {
    match path.split_once("/*/") {
        None => base.join(path).exists(),
        Some((before, after)) => {
            let inside = base.join(before).read_dir().into_iter().flatten().flatten();
            inside.map(|entry| entry.path()).any(|directory| is_there(&directory, after))
        }
    }
}

impl Client {
    fn obstacle(&self) -> Option<String> {
        let is_missing = !is_there(&target(), self.installed);
        is_missing.then(|| format!("no {}; `{}`", self.installed, self.install))
    }

    fn test(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let bound = runtime.block_on(server());
        let url = bound.url();
        runtime.spawn(bound.serve(std::future::pending()));
        let program = match self.program.contains('/') {
            true => target().join(self.program),
            false => PathBuf::from(self.program),
        };
        let home = tempfile::tempdir().unwrap();
        let ended = Command::new(program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(self.script))
            .args([&url, TOKEN, RARE])
            .arg(target().join("npm"))
            .env("HOME", home.path())
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True") // or it fetches a list of prices
            .env_remove("OPENAI_API_KEY")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{stderr}");
        let found: Value = serde_json::from_slice(&ended.stdout).unwrap();
        // Two million words before the question.
        let answer = "Be brief.|user assistant|10000004|How long?";
        let expected = json!({
            "models": ["abyme"],
            "answer": answer, "finish_reason": "stop", "usage": [700, 30, 730, 500],
            "streamed": answer, "streamed_usage": [700, 30, 730], "thought": true,
            "wrong_token": [401, "invalid_api_key"],
            "wrong_model": [404, "model_not_found"],
            "wrong_content": [400, "messages[0].content"],
            "failed": 502,
            "failed_stream": true,
            "too_often": [429, true],
        });
        assert_eq!(found, expected, "{stderr}");
    }
}

async fn server() -> BoundServer {
    let model = ScriptedModel::from_fn(|request| {
        if request.messages.iter().any(|message| message.content.contains("fail_auth")) {
            return Err(Error::new(ErrorKind::Auth, "the key of the server's model is wrong"));
        }
        let mut usage = Usage::tokens(700, 30);
        usage.cached_tokens = Some(500);
        Ok(Response::new(CELL).usage(usage))
    });
    let rlm = Rlm::builder(signature()).model(model).interpreter(Subprocess::new()).build().unwrap();
    let rare = Key::new("rare", RARE).unwrap().limits(KeyLimits::default().requests_per_minute(1));
    let server = Server::new("abyme", rlm).key(Key::new("all", TOKEN).unwrap()).key(rare);
    server.config(ServeConfig::default()).bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}
