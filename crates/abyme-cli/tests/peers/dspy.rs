//! DSPy's own RLM drives `abyme interpreter`.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

pub(crate) fn its_rlm_runs_over_the_interpreter(environment: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/dspy_rlm.py");
    let home = tempfile::tempdir().unwrap();
    let ran = Command::new(environment.join("bin/python"))
        .args([script, env!("CARGO_BIN_EXE_abyme"), "interpreter"])
        .env("HOME", home.path())
        .env("ABYME_CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    // DSPy says so where an interpreter cannot host its sub-agents.
    assert!(!stderr.contains("sub-agents are unavailable"), "{stderr}");
    let result: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&result["answer"], &result["note"]), (&json!(42), &json!("done")), "{result}");
    let outputs: Vec<_> = result["outputs"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
    assert_eq!(outputs[0].trim(), "400000 WHERE?!");
    assert!(outputs[1].contains("NameError") && outputs[1].contains("totl"), "{result}");
    assert_eq!(outputs[2].trim(), "True");
    assert_eq!(outputs[3].trim(), "42", "a sub-agent of DSPy's, built in a cell and run on the host");
    assert!(outputs[4].contains("SyntaxError") || outputs[4].contains("invalid syntax"), "{result}");
}
