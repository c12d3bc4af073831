//! A session without a run, as a program drives it: values in and out, tools, and the calls that code makes
//! up.
#![cfg(feature = "wasm")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use abyme::{
    FunctionSpec, HostCall, HostFunctions, ParameterKind, ParameterSpec, Scope, prelude::*,
    reexports::async_trait::async_trait,
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Repeat {
    text: String,
    /// How often
    #[serde(default = "twice")]
    times: usize,
}

fn twice() -> usize {
    2
}

#[tokio::test]
async fn values_go_in_and_come_out() {
    let repeat = Tool::new("repeat", "Repeats a text.", |args: Repeat| args.text.repeat(args.times));
    let mut session = Wasm::new().session().await.unwrap().tools([repeat]).unwrap();
    session.set_variable("x", vec![1, 2, 3]).await.unwrap();
    assert_eq!(session.eval::<i64>("len(x)").await.unwrap(), 3);
    assert_eq!(session.eval::<Vec<i64>>("[\n  one * 2 for one in x\n] # doubled").await.unwrap(), [2, 4, 6]);
    assert_eq!(session.eval::<i64>("sum(_)").await.unwrap(), 12, "`_` is the last value");
    assert_eq!(session.eval::<String>("repeat('ab') + repeat('c', times=3)").await.unwrap(), "ababccc");
    assert_eq!(session.eval::<Option<f64>>("None").await.unwrap(), None);
    let doc = session.eval::<String>("repeat.__doc__").await.unwrap();
    assert_eq!(doc, "Repeats a text.\n\nArgs:\n    times: How often");
    let signature = session.eval::<String>("str(__import__('inspect').signature(repeat))").await.unwrap();
    assert_eq!(signature, "(text: str, times: int = 2)");

    session.run_code("y = {'a': (1, 2)}").await.unwrap().check().unwrap();
    assert_eq!(session.get::<serde_json::Value>("y").await.unwrap(), serde_json::json!({"a": [1, 2]}));

    let error = session.eval::<i64>("1 / 0").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Python, "ZeroDivisionError: division by zero"));
    let error = session.eval::<i64>("x = 1").await.unwrap_err();
    assert!(error.message().starts_with("SyntaxError: "), "{error}");
    let error = session.eval::<i64>("'one'").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutputType);
    let error = session.eval::<i64>("repeat(3)").await.unwrap_err();
    assert_eq!(error.message(), r#"TypeError: at ["text"]: expected a string, got int 3"#);
    let error = session.get::<i64>("nothing").await.unwrap_err();
    assert!(error.message().contains("no variable `nothing`"), "{error}");
    session.set_variable("json", "hidden").await.unwrap();
}

/// Answers every call and remembers its name.
#[derive(Default)]
struct Anything(Mutex<Vec<String>>);

#[async_trait]
impl HostFunctions for Anything {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        self.0.lock().unwrap().push(call.name);
        Ok(Value::None)
    }
}

const FORGED: &str = "
for cell in echo.__closure__:
    inner = cell.cell_contents
    if callable(inner):
        inner('secret_admin', (), {})
";

/// What a host function is made of is open to the code that calls it: the names are checked on the host.
async fn made_up_calls(factory: impl InterpreterFactory) {
    let host = Arc::new(Anything::default());
    let function = |name: &str| {
        let rest = ParameterSpec::new("args").kind(ParameterKind::VarPositional);
        FunctionSpec::new(name, "").parameter(rest)
    };
    let both = Scope::new().function(function("echo")).function(function("taken_back"));
    let mut session = factory.session().await.unwrap().host(both, host.clone());
    session.run_code("kept = taken_back\nkept()").await.unwrap().check().unwrap();

    let mut session = session.host(Scope::new().function(function("echo")), host.clone());
    let kept = session.run_code("kept()").await.unwrap().error.unwrap();
    assert_eq!(kept.to_string(), "NameError: this cell is not offered a function `taken_back`");
    let forged = session.run_code(FORGED).await.unwrap().error.unwrap();
    assert_eq!(forged.to_string(), "NameError: this cell is not offered a function `secret_admin`");
    session.run_code("echo()").await.unwrap().check().unwrap();
    assert_eq!(*host.0.lock().unwrap(), ["taken_back", "echo"]);
}

#[tokio::test]
async fn made_up_calls_do_not_reach_the_host_from_wasm() {
    made_up_calls(Wasm::new()).await;
}

#[cfg(feature = "subprocess")]
#[tokio::test]
async fn made_up_calls_do_not_reach_the_host_from_a_process() {
    made_up_calls(Subprocess::new()).await;
}
