//! `abyme doctor`.

use crate::{
    server::{Server, completion},
    support::{CACHE, CommandEnd, TestDir},
};

#[test]
fn tells_what_works() {
    let ended = TestDir::new().run(&["doctor", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = ended.json();
    let expected = 2 + usize::from(cfg!(feature = "docker")) + usize::from(cfg!(feature = "pyo3"));
    assert_eq!(report["backends"].as_array().unwrap().len(), expected);
    for (backend, name, isolation) in
        [(&report["backends"][0], "wasm", "wasm"), (&report["backends"][1], "subprocess", "process")]
    {
        assert_eq!((&backend["name"], &backend["works"]), (&name.into(), &true.into()));
        assert!(backend["version"].as_str().unwrap().starts_with("3."), "{backend}");
        assert_eq!(backend["isolation"], isolation);
    }
    if cfg!(target_os = "linux") {
        let kept = &report["backends"][1]["guarantees"];
        assert_eq!(kept["filesystem_allowlist"], "private mounts, Landlock");
        assert_eq!(kept["no_exec"], "seccomp");
    }
    let left_out = report["left_out"].as_array().unwrap();
    assert_eq!(left_out.contains(&"docker".into()), cfg!(not(feature = "docker")));
    assert_eq!(left_out.contains(&"pyo3".into()), cfg!(not(feature = "pyo3")));
    assert_eq!(report["model"]["configured"], false);
    let text = TestDir::new().run(&["doctor"]).stdout;
    for part in ["ok  wasm", "ok  subprocess", "keeps: ", "ABYME_MODEL"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

/// `works` is of each by itself: the command fails if none does.
#[test]
fn no_python_is_a_finding() {
    let ended = TestDir::new().run(&["doctor", "--json", "--python", "/no/python"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = ended.json();
    assert_eq!(
        (&report["backends"][0]["works"], &report["backends"][1]["works"]),
        (&true.into(), &false.into())
    );
    let text = TestDir::new().run(&["doctor", "--python", "/no/python"]);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.contains("ok  wasm"), "{text:?}");
    assert!(text.stdout.contains("NO  subprocess") && text.stdout.contains("/no/python"), "{text:?}");
}

#[test]
fn the_cache_is_shown() {
    let dir = TestDir::new();
    let report = dir.run(&["doctor", "--json"]).json();
    let cache = &report["backends"][0]["cache"];
    let keys: Vec<_> = cache.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["ready", "path", "bytes", "problem"]);
    assert_eq!((&cache["ready"], &cache["problem"]), (&true.into(), &serde_json::Value::Null));
    let path = cache["path"].as_str().unwrap();
    assert!(path.starts_with(CACHE) && std::path::Path::new(path).is_dir(), "{cache}");
    let bytes = cache["bytes"].as_u64().unwrap();
    assert!(bytes > 10 << 20, "{cache}");
    assert!(report["backends"][1].get("cache").is_none(), "{report}");
    let text = dir.run(&["doctor"]).stdout;
    let line = format!("cache: ready, {} MB in {path}", bytes >> 20);
    assert!(text.contains(&line), "{line} is not in:\n{text}");
}

#[test]
fn a_model_is_named_and_asked_only_on_request() {
    let server = Server::start(|_| (200, completion("ok")));
    let dir = TestDir::new();
    dir.write(".env", format!("ABYME_API_KEY=sk-canary-0123456789\nABYME_API_BASE={}\n", server.url()));
    let doctor = |args: &[&str]| {
        let ended = dir.run(&[&["doctor", "--json", "--model", "some-model"], args].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
        ended.json()["model"].clone()
    };
    let model = doctor(&[]);
    assert_eq!((&model["name"], &model["key"]), (&"some-model".into(), &true.into()));
    assert_eq!(
        (&model["source"], model["host"].as_str().unwrap().starts_with("127.0.0.1")),
        (&"--model".into(), true)
    );
    assert_eq!(server.requests().len(), 0);
    assert_eq!(doctor(&["--check-model"])["answers"], true);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_model_that_does_not_answer_fails_the_check() {
    let server = Server::start(|_| (401, serde_json::json!({"error": {"message": "wrong key"}})));
    let dir = TestDir::new();
    dir.write(".env", format!("ABYME_API_KEY=sk-canary\nABYME_API_BASE={}\n", server.url()));
    let ended = dir.run(&["doctor", "--json", "--model", "some-model", "--check-model"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    let text = dir.run(&["doctor", "--model", "some-model", "--check-model"]).stdout;
    assert!(text.contains("NO  some-model") && text.contains("asked: check the API key"), "{text}");
}

/// This machine is asked by itself, whatever its name; where a proxy may be what failed, that is said.
#[test]
fn a_proxy_of_the_environment_is_for_other_machines() {
    let server = Server::start(|_| (200, completion("ok")));
    let checked = |base: &str| {
        let dir = TestDir::new();
        dir.write(".env", format!("ABYME_API_KEY=sk-canary\nABYME_API_BASE={base}\n"));
        let mut command = dir.command(&["doctor", "--json", "--model", "some-model", "--check-model"]);
        let ended = CommandEnd::from(command.env("HTTP_PROXY", "http://127.0.0.1:9").output().unwrap());
        ended.json()["model"].clone()
    };
    let here = checked(&server.url().replace("127.0.0.1", "0.0.0.0"));
    assert_eq!(here["answers"], true, "{here}");
    let elsewhere = checked("http://abyme.invalid/v1");
    assert!(elsewhere["answer_problem"].as_str().unwrap().contains("sets a proxy"), "{elsewhere}");
}

/// What the doctor says of a model that does not answer, as JSON and as a text.
fn checked(base: &str) -> (serde_json::Value, String) {
    let dir = TestDir::new();
    dir.write(".env", format!("ABYME_API_KEY=sk-canary\nABYME_API_BASE={base}\n"));
    let args = ["doctor", "--model", "some-model", "--check-model"];
    let text = dir.run(&args);
    let json = dir.run(&[&args[..], &["--json"]].concat());
    assert_eq!((text.code, json.code), (4, 4), "{json:?}");
    assert!(!format!("{text:?}{json:?}").contains("canary"), "{text:?}");
    (json.json()["model"].clone(), text.stdout)
}

#[test]
fn what_keeps_a_model_from_answering_is_explained() {
    let refused = |status, error: serde_json::Value| {
        Server::start(move |_| (status, serde_json::json!({ "error": error })))
    };
    let wrong_key = refused(401, serde_json::json!({"message": "wrong key"}));
    let no_money = refused(429, serde_json::json!({"message": "no money", "type": "insufficient_quota"}));
    for (base, message, advice) in [
        (wrong_key.url(), "check the API key", "not revoked"),
        (no_money.url(), "the quota of the account", "add credit"),
        (wrong_key.url().replace("http:", "https:"), "(TLS)", "SSL_CERT_FILE"),
        ("http://127.0.0.1:1/v1".to_owned(), "refused the connection", "is the server running"),
    ] {
        let (json, text) = checked(&base);
        for part in [message, advice] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(json["answer_problem"].as_str().unwrap().contains(message), "{json}");
        assert!(json["advice"].as_str().unwrap().contains(advice), "{json}");
    }
}

#[cfg(all(feature = "anthropic", feature = "gemini"))]
#[test]
fn the_clients_of_other_providers_explain_themselves_too() {
    let clients = [
        ("anthropic", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "data", "id", "some-model-2"),
        ("gemini", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY", "models", "name", "models/some-model-2"),
    ];
    for (prefix, base, key, list, field, name) in clients {
        let dir = TestDir::new();
        let checked = |url: &str, has_key: bool| {
            let mut command = dir.command(&["doctor", "--json", "--check-model"]);
            command.args(["--model", &format!("{prefix}/some-model")]).env(base, url);
            if has_key {
                command.env(key, "sk-canary");
            }
            let ended = crate::support::CommandEnd::from(command.output().unwrap());
            assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
            assert_eq!(ended.code, 4, "{ended:?}");
            ended.json()["model"].clone()
        };
        let unknown = Server::start(move |request| match request.is_null() {
            true => (200, serde_json::json!({ list: [{ field: name }] })),
            false => (
                404,
                serde_json::json!({"error": {"message": "model: some-model", "type": "not_found_error"}}),
            ),
        });
        let json = checked(&unknown.url(), true);
        assert_eq!(json["available_models"], serde_json::json!(["some-model-2"]), "{json}");
        assert!(json["advice"].as_str().unwrap().contains("no model `some-model`"), "{json}");

        let refused = |status, error: serde_json::Value| {
            Server::start(move |_| (status, serde_json::json!({ "error": error })))
        };
        let wrong_key = refused(401, serde_json::json!({"message": "invalid key"}));
        let no_money = refused(402, serde_json::json!({"message": "no money"}));
        let answered = [
            (wrong_key.url(), true, "not revoked"),
            (wrong_key.url(), false, "no key was sent"),
            (no_money.url(), true, "add credit"),
        ];
        let lost = [
            (wrong_key.url().replace("http:", "https:"), true, "SSL_CERT_FILE"),
            ("http://no-such-host.invalid".to_owned(), true, "spelled right"),
        ];
        // Each of these is tried four times, and connections are the same for all clients.
        let lost = lost.into_iter().filter(|_| prefix == "anthropic");
        for (url, has_key, advice) in answered.into_iter().chain(lost) {
            let json = checked(&url, has_key);
            assert!(json["advice"].as_str().unwrap().contains(advice), "{advice} is not in: {json}");
        }
    }
    let dir = TestDir::new();
    let run = dir
        .command(&["run", "-s", "q -> a", "-i", "q=x", "--model", "anthropic/some-model"])
        .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
        .args(["--retries", "0"])
        .output()
        .unwrap();
    crate::support::CommandEnd::from(run).failed(4, &["refused the connection", "ANTHROPIC_BASE_URL"]);
}

#[cfg(not(feature = "genai"))]
#[test]
fn a_provider_that_is_left_out_says_how_to_get_it() {
    let dir = TestDir::new();
    let how = ["no endpoint is known for `bedrock`", "--features genai"];
    dir.run(&["run", "-s", "q -> a", "-i", "q=x", "--model", "bedrock/x"]).failed(2, &how);
    let configured = dir.command(&["doctor"]).env("ABYME_MODEL", "bedrock/x").output().unwrap();
    let doctor = crate::support::CommandEnd::from(configured).stdout;
    assert!(how.iter().all(|part| doctor.contains(part)), "{doctor}");
}

#[test]
fn the_models_that_a_server_has_are_named_where_the_name_is_wrong() {
    // A request without a body is the one for the list.
    let server = Server::start(|request| match request.is_null() {
        true => {
            let other = (0..12).map(|number| serde_json::json!({"id": format!("other-{number}")}));
            let models = other.chain([serde_json::json!({"id": "some-model-2"})]);
            (200, serde_json::json!({"data": models.collect::<Vec<_>>()}))
        }
        false => (404, serde_json::json!({"error": {"message": "The model `some-model` does not exist"}})),
    });
    let (json, text) = checked(&server.url());
    assert!(text.contains("it has: some-model-2, other-0"), "{text}");
    assert!(text.contains("and 3 more"), "{text}");
    assert_eq!(json["available_models"].as_array().unwrap().len(), 13, "{json}");
}
