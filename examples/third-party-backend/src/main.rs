//! The backend at work: a session, and a function of this program that Python calls. The agent is one on this
//! machine, without any set-up, or the one that `ABYME_AGENT` and `ABYME_AGENT_SECRET` name.

use std::sync::Arc;

use abyme_core::{
    CodeInterpreter, CodeInterpreterExt, FunctionSpec, HostCall, HostError, HostFunctions,
    InterpreterFactory, ParameterSpec, Result, Scope, Value,
};
use abyme_third_party_backend::{LocalAgent, RemoteConfig, RemoteFactory};
use async_trait::async_trait;

/// What Python calls: it runs here, whatever machine the session is on.
struct Stock;

#[async_trait]
impl HostFunctions for Stock {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        match call.kwargs.get("item").and_then(Value::as_text) {
            Some("apples") => Ok(17.into()),
            Some("pears") => Ok(4.into()),
            _ => Err(HostError::new("KeyError", "nothing of that name is in stock")),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (_agent, config) = match std::env::var("ABYME_AGENT") {
        Ok(address) => {
            (None, RemoteConfig::new(address, std::env::var("ABYME_AGENT_SECRET").unwrap_or_default()))
        }
        Err(_) => {
            let agent = LocalAgent::start()?;
            let config = agent.config();
            (Some(agent), config)
        }
    };
    println!("agent      {}", config.address);
    let factory = RemoteFactory::new(config);
    let count = FunctionSpec::new("in_stock", "How many of an item are in stock.")
        .parameter(ParameterSpec::new("item").annotation("str"))
        .returns("int");
    let session = factory.create().await?.start_session().await?;
    let mut session = session.with_host(Scope::new().function(count), Arc::new(Stock));

    for code in [
        "import os, sys\nf'Python {sys.version.split()[0]} in process {os.getpid()}'",
        "counts = {item: in_stock(item) for item in ('apples', 'pears')}\nsum(counts.values())",
        "in_stock('plums')",
        "FINAL(counts)",
    ] {
        let seen = session.run_code(code).await?;
        println!("cell       {}", code.replace('\n', "\n           "));
        if let Some(value) = &seen.value {
            println!("value      {value}");
        }
        if let Some(error) = &seen.error {
            println!("exception  {error}");
        }
        if let Some(submission) = &seen.submission {
            println!("submitted  {:?}", submission.submitted);
        }
    }
    session.shutdown().await
}
