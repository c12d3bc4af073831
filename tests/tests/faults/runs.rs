//! A short run whose script does not depend on what was lost: what it answers is known.

use std::{path::Path, time::Duration};

use abyme::{
    CodeInterpreter, InterpreterFactory, InterpreterFactoryExt, ParameterSpec, Request, Response, Rlm, Role,
    Subprocess, Tool, Value, Wasm, subprocess::IsolationMode, testing::ScriptedModel,
};
use indexmap::IndexMap;
use tokio::runtime::{Builder, Runtime};

use crate::oracle::{MARK, processes_of_sessions};

/// What the run answers.
pub(crate) const ANSWER: &str = "done 42";

const CELLS: [&str; 3] = [
    "print('look', len(docs))\nseen = [give(n) for n in range(3)]\nprint(seen)",
    "parts = llm_query_batched(['a', 'b', 'c'])\nprint(parts, give('x' * 2000)[:3])",
    "SUBMIT('done ' + str(give(42)))",
];

/// A run of three turns with tool calls and sub-calls, each of which takes a moment. A session that is lost
/// repeats nothing: each cell works in a fresh one.
pub(crate) fn rlm(backend: impl InterpreterFactory + 'static) -> Rlm {
    let parameters = vec![ParameterSpec::new("value")];
    let give = Tool::from_parts("give", "Gives back.", parameters, |arguments: IndexMap<String, Value>| {
        let value = arguments["value"].clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(value)
        }
    });
    let model = ScriptedModel::from_fn(|request: &Request| {
        let turn = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        Ok(Response::new(match request.messages[0].role {
            Role::System => format!("```python\n{}\n```", CELLS[turn.min(2)]),
            _ => request.messages[0].content.to_uppercase(),
        }))
    });
    Rlm::builder("docs -> text").model(model).interpreter(backend).tool(give).build().unwrap()
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Isolated processes, whose environment says that they are of `dir`. Their files are in memory.
pub(crate) fn processes(dir: &Path) -> Subprocess {
    Subprocess::new().temp_dir(dir).env(MARK, dir.display().to_string())
}

/// Processes that are not isolated: their directories are in `dir`.
pub(crate) fn open_processes(dir: &Path) -> Subprocess {
    processes(dir).isolation(IsolationMode::Off)
}

/// Starts a session and ends it, so that a factory has found what it finds once. Checks that the oracle sees
/// the session's process.
pub(crate) async fn first_session(factory: &Subprocess, dir: &Path) {
    let mut session = factory.session().await.unwrap();
    assert!(session.run_code("1").await.unwrap().is_ok());
    assert!(!processes_of_sessions(dir).is_empty(), "no process of {factory:?} is seen");
    session.shutdown().await.unwrap();
}

/// Sessions in this process, if they are prepared on this machine or can be.
pub(crate) fn guests() -> Wasm {
    Wasm::new()
}
