//! A secret that Modal keeps, seen from a sandbox: which of its variables are there. No value is shown, and
//! none leaves the sandbox.

use std::{collections::BTreeMap, error::Error};

use abyme::prelude::*;

/// The variables that DSPy's clients of models read.
const KEYS: [&str; 4] = ["DSPY_LM_MODEL", "DSPY_LM_API_BASE", "DSPY_LLM_API_KEY", "DSPY_LM_MAX_TOKENS"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::args().nth(1).unwrap_or_else(|| "LITELLM".to_owned());
    let modal = Modal::new().app("abyme-secret-check").secret(&secret);
    eprintln!("{}", modal.prepare().await?);
    let mut session = modal.session().await?;
    session.set_variable("keys", Value::list(KEYS)).await?;
    session.run_code("import os").await?.check()?;
    let present: BTreeMap<String, bool> =
        session.eval("{key: bool(os.environ.get(key)) for key in keys}").await?;
    println!("present: {present:?}");
    let length: usize = session.eval("len(os.environ.get('DSPY_LLM_API_KEY', ''))").await?;
    println!("length of the key: {length}");
    session.shutdown().await?;
    modal.shutdown().await;
    match present["DSPY_LLM_API_KEY"] {
        true => Ok(()),
        false => Err(format!("the secret `{secret}` has no DSPY_LLM_API_KEY").into()),
    }
}
