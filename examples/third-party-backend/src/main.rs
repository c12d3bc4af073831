//! The backend at work: a session, and a function of this program that Python calls. The agent is one on this
//! machine, without any set-up, or the one that `ABYME_AGENT` and `ABYME_AGENT_SECRET` name.

use std::sync::Arc;

use abyme_core::{
    CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactoryExt, ParameterSpec,
    Result, Scope, Value,
};
use abyme_third_party_backend::{LocalAgent, Remote};
use async_trait::async_trait;

/// The function that Python calls. It runs in this program, whatever machine the session is on.
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
    let (_agent, address, remote) = match std::env::var("ABYME_AGENT") {
        Ok(address) => {
            let secret = std::env::var("ABYME_AGENT_SECRET").unwrap_or_default();
            (None, address.clone(), Remote::new(address, secret))
        }
        Err(_) => {
            let agent = LocalAgent::start()?;
            let (address, remote) = (agent.address().to_owned(), agent.remote());
            (Some(agent), address, remote)
        }
    };
    println!("agent      {address}");
    let count = FunctionSpec::new("in_stock", "How many of an item are in stock.")
        .parameter(ParameterSpec::new("item").annotation("str"))
        .returns("int");
    let mut session = remote.session().await?.host(Scope::new().function(count), Arc::new(Stock));

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
