//! `droste doctor`.

use crate::{
    server::{Server, completion},
    support::Place,
};

#[test]
fn tells_what_works() {
    let ended = Place::new().run(&["doctor", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = ended.json();
    let backend = &report["backends"][0];
    assert_eq!((&backend["name"], &backend["works"]), (&"subprocess".into(), &true.into()));
    assert!(backend["version"].as_str().unwrap().starts_with("3."), "{backend}");
    assert_eq!(backend["isolation"], "process");
    assert_eq!(report["not_in_this_version"], serde_json::json!(["wasm", "docker", "pyo3"]));
    assert_eq!(report["model"]["configured"], false);
    let text = Place::new().run(&["doctor"]).stdout;
    assert!(text.contains("ok  subprocess") && text.contains("DROSTE_MODEL"), "{text}");
}

#[test]
fn no_python_is_a_finding_with_a_code() {
    let ended = Place::new().run(&["doctor", "--python", "/no/python"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("NO  subprocess") && ended.stdout.contains("/no/python"), "{ended:?}");
}

#[test]
fn a_model_is_named_and_asked_only_on_request() {
    let server = Server::start(|_| (200, completion("ok")));
    let place = Place::new();
    place.write(".env", format!("DROSTE_API_KEY=sk-canary-0123456789\nDROSTE_API_BASE={}\n", server.url()));
    let doctor = |args: &[&str]| {
        let ended = place.run(&[&["doctor", "--json", "--model", "some-model"], args].concat());
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
    let place = Place::new();
    place.write(".env", format!("DROSTE_API_KEY=sk-canary\nDROSTE_API_BASE={}\n", server.url()));
    let ended = place.run(&["doctor", "--json", "--model", "some-model", "--check-model"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}
