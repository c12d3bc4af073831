//! `abyme doctor`.

use crate::{
    server::{Server, completion},
    support::{CACHE, TestDir},
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
    let left_out = report["left_out"].as_array().unwrap();
    assert_eq!(left_out.contains(&"docker".into()), cfg!(not(feature = "docker")));
    assert_eq!(left_out.contains(&"pyo3".into()), cfg!(not(feature = "pyo3")));
    assert_eq!(report["model"]["configured"], false);
    let text = TestDir::new().run(&["doctor"]).stdout;
    for part in ["ok  wasm", "ok  subprocess", "ABYME_MODEL"] {
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
