//! Configuration from the environment and `.env`, with an environment of the test's own.

use std::{fs, path::Path};

use abyme_core::ErrorKind;

use super::*;
use crate::config::{check, headers};

/// The configuration that these variables and this `.env` give.
fn config(vars: &[(&str, &str)], file: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), file).unwrap();
    let below = folder.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    config_in(vars, &below)
}

fn config_in(vars: &[(&str, &str)], folder: &Path) -> Result<Config> {
    let vars = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    configured(&Sources::read(&vars, folder, &is_ours), None)
}

fn key(config: &Config) -> Option<&str> {
    config.api_key.as_ref().map(|key| key.expose())
}

#[test]
fn the_variables_of_dspy_are_read() {
    let vars = [
        ("DSPY_LM_MODEL", "openai/gemini-3-flash-preview"),
        ("DSPY_LM_API_BASE", "http://localhost:9/v1"),
        ("DSPY_LLM_API_KEY", "key-of-dspy"),
        ("DSPY_LM_MAX_TOKENS", "4096"),
    ];
    let config = config(&vars, "").unwrap();
    assert_eq!(config.model, "openai/gemini-3-flash-preview");
    assert_eq!(config.base_url.as_deref(), Some("http://localhost:9/v1"));
    assert_eq!((key(&config), config.max_tokens), (Some("key-of-dspy"), Some(4096)));
    assert!(check(&config).is_ok());
}

#[test]
fn our_own_variables_come_first_and_empty_ones_are_not_set() {
    let vars = [
        ("ABYME_MODEL", "a"),
        ("DSPY_LM_MODEL", "b"),
        ("ABYME_API_BASE", " "),
        ("DSPY_LM_API_BASE", "http://b.test"),
        ("ABYME_API_KEY", ""),
        ("DSPY_LM_API_KEY", "key-b"),
        ("OPENAI_API_KEY", "key-c"),
    ];
    let config = config(&vars, "").unwrap();
    assert_eq!((config.model.as_str(), config.base_url.as_deref()), ("a", Some("http://b.test")));
    assert_eq!(key(&config), Some("key-b"));
}

#[test]
fn a_file_in_a_parent_is_read_and_the_environment_wins() {
    let file =
        "# settings\nexport ABYME_MODEL=from-file\nOPENAI_API_KEY='file key'\nOPENAI_API_KEY=\"file-key\"\n";
    let from_file = config(&[], file).unwrap();
    assert_eq!((from_file.model.as_str(), key(&from_file)), ("from-file", Some("file-key")));
    let both = config(&[("ABYME_MODEL", "from-env"), ("OPENAI_API_KEY", "")], file).unwrap();
    assert_eq!((both.model.as_str(), key(&both)), ("from-env", Some("file-key")));
}

#[test]
fn a_provider_gets_its_own_key_only() {
    let vars = [("ABYME_MODEL", "groq/llama"), ("OPENAI_API_KEY", "key-o"), ("GROQ_API_KEY", "key-g")];
    assert_eq!(key(&config(&vars, "").unwrap()), Some("key-g"));
    let config = config(&vars[..2], "").unwrap();
    assert_eq!(key(&config), None, "OpenAI's key is not Groq's business");
    let error = check(&config).and_then(|endpoint| headers(&config, &endpoint)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("GROQ_API_KEY"), "{error}");
}

#[test]
fn the_key_for_a_base_url() {
    let base = ("ABYME_API_BASE", "https://gateway.test/v1");
    let (model, openai) = (("ABYME_MODEL", "m"), ("OPENAI_API_KEY", "key-o"));
    assert_eq!(key(&config(&[base, model, openai], "").unwrap()), Some("key-o"));
    assert_eq!(
        key(&config(&[model], "OPENAI_API_KEY=key-f\nABYME_API_BASE=http://x.test").unwrap()),
        Some("key-f")
    );
    let groq = ("ABYME_API_BASE", "https://api.groq.com/openai/v1");
    assert_eq!(key(&config(&[groq, model, openai, ("GROQ_API_KEY", "key-g")], "").unwrap()), Some("key-g"));
    // A folder does not decide where the account's key goes.
    assert_eq!(key(&config(&[model, openai], "ABYME_API_BASE=https://gateway.test").unwrap()), None);
    let own = ("ABYME_API_KEY", "key-a");
    assert_eq!(key(&config(&[model, own], "ABYME_API_BASE=https://gateway.test").unwrap()), None);
    let both = "ABYME_API_BASE=https://gateway.test\nDSPY_LM_API_KEY=key-f";
    assert_eq!(key(&config(&[model, own], both).unwrap()), Some("key-f"));
    assert_eq!(
        key(&config(&[model, own, base], "ABYME_API_BASE=https://other.test").unwrap()),
        Some("key-a")
    );
    assert_eq!(
        key(&config(&[model, openai], "OPENAI_BASE_URL=https://api.openai.com/v1").unwrap()),
        Some("key-o")
    );
}

#[test]
fn the_base_url_of_openai_is_for_its_models() {
    let base = ("OPENAI_BASE_URL", "http://localhost:9/v1");
    let url = |model| config(&[base, ("ABYME_MODEL", model)], "").unwrap().base_url;
    assert!(url("gpt-5").is_some() && url("openai/gpt-5").is_some() && url("hosted_vllm/x").is_some());
    assert!(url("groq/llama").is_none());
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let error = |vars: &[(&str, &str)], file| {
        let error = config(vars, file).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::NotConfigured), "{error}");
        error.to_string()
    };
    let none = error(&[("ABYME_MODEL", "")], "");
    assert!(none.contains("ABYME_MODEL") && none.contains("OPENAI_API_KEY"), "{none}");
    let tokens = error(&[("ABYME_MODEL", "m"), ("DSPY_LM_MAX_TOKENS", "many")], "");
    assert!(tokens.contains("DSPY_LM_MAX_TOKENS") && tokens.contains("many"), "{tokens}");
    let base = error(&[("ABYME_MODEL", "m"), ("DSPY_LM_API_BASE", "localhost:80")], "");
    assert!(base.contains("DSPY_LM_API_BASE") && base.contains("http://"), "{base}");
}

#[test]
fn only_our_lines_of_a_file_matter_and_are_named_by_number_without_their_content() {
    let error = config(&[("ABYME_MODEL", "m")], "A=1\n\nABYME_API_KEY='sk-canary\n").unwrap_err();
    assert!(error.to_string().contains(".env, line 3: `ABYME_API_KEY`"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let foreign = "APP_NAME=My Nice App\n{unquoted: json\nexport FOO\n[default]\nOPENAI_API_KEY=sk-a$bc";
    assert_eq!(key(&config(&[("ABYME_MODEL", "m")], foreign).unwrap()), Some("sk-a$bc"));
    // A value that would name a key of the environment reads none.
    let error =
        config(&[("ABYME_MODEL", "m"), ("OPENAI_API_KEY", "key-o")], "ABYME_API_KEY=${OPENAI_API_KEY}");
    assert!(error.unwrap_err().to_string().contains("line 1"));
}

#[test]
fn a_file_too_large_for_settings_is_not_used() {
    let large = format!("ABYME_MODEL=m\n{}", "#".repeat(1 << 20));
    assert_eq!(config(&[], &large).unwrap_err().kind(), ErrorKind::NotConfigured);
}

#[test]
fn a_key_with_a_line_break_is_refused_without_being_shown() {
    let config = config(&[("ABYME_MODEL", "m"), ("OPENAI_API_KEY", "sk-canary\n")], "").unwrap();
    let error = check(&config).and_then(|endpoint| headers(&config, &endpoint)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn azure_has_variables_of_its_own() {
    let vars = [
        ("ABYME_MODEL", "azure/my-gpt"),
        ("AZURE_API_BASE", "https://me.openai.azure.com"),
        ("AZURE_API_KEY", "key-a"),
        ("AZURE_API_VERSION", "2025-01-01"),
    ];
    let from_environment = config(&vars, "").unwrap();
    assert_eq!(
        (key(&from_environment), from_environment.options.api_version.as_deref()),
        (Some("key-a"), Some("2025-01-01"))
    );
    assert!(check(&from_environment).is_ok());
    // Anybody can have a name at Azure, so no folder decides that the key goes to one.
    let base = "AZURE_API_BASE=https://other.openai.azure.com\n";
    let withheld = config(&[vars[0], vars[2]], base).unwrap();
    assert_eq!(key(&withheld), None);
    assert_eq!(key(&config(&vars[..1], &format!("{base}AZURE_API_KEY=key-f")).unwrap()), Some("key-f"));
    assert!(config(&vars[..1], "").unwrap_err().to_string().contains("AZURE_API_BASE"));
}
