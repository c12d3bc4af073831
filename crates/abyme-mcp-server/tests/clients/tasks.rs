//! Questions as tasks of the protocol.

use std::time::Duration;

use abyme_mcp_server::RlmServerConfig;
use rmcp::{
    Peer, RoleClient,
    model::{CallToolResponse, CancelTaskParams, GetTaskParams, Task, TaskPayload, TaskStatus},
};
use serde_json::{Value, json};

use crate::support::{Listener, Silent, connect, params, scripted};

pub(crate) async fn begin(client: &Peer<RoleClient>) -> Task {
    let arguments = json!({"question": "?", "inputs": {"docs": "hay"}});
    match client.call_tool_once(params("ask", arguments)).await.unwrap() {
        CallToolResponse::Task(created) => created.task,
        other => panic!("no task: {other:?}"),
    }
}

async fn state(client: &Peer<RoleClient>, task: &Task) -> rmcp::model::DetailedTask {
    client.get_task(GetTaskParams::new(&task.task_id)).await.unwrap().task
}

/// Asks until a task has ended.
pub(crate) async fn ended(client: &Peer<RoleClient>, task: &Task) -> rmcp::model::DetailedTask {
    for _ in 0..400 {
        let state = state(client, task).await;
        if state.status().is_terminal() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the task does not end");
}

fn listener() -> Listener {
    Listener { knows_tasks: true, ..Listener::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_asked_about_and_gives_its_answer() {
    let server = scripted("SUBMIT(answer=docs.upper())", RlmServerConfig::default()).build().unwrap();
    let (client, _serving) = connect(&server, listener()).await;
    let task = begin(&client).await;
    assert_eq!((task.status, task.ttl_ms), (TaskStatus::Working, Some(3_600_000)));
    let TaskPayload::Completed { result } = ended(&client, &task).await.payload else {
        panic!("it did not complete");
    };
    let result = Value::Object(result);
    assert_eq!(result["content"][0]["text"], "HAY");
    assert_eq!(result["structuredContent"]["outputs"], json!({"answer": "HAY"}));
    client.get_task(GetTaskParams::new("no-such-task")).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_its_cancellation_its_client_or_when_it_is_forgotten() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default().task_poll_timeout(Duration::from_secs(2)));
    let (client, serving) = connect(&server, listener()).await;
    let task = begin(&client).await;
    model.has(1).await;
    let working = state(&client, &task).await;
    assert_eq!(working.status(), TaskStatus::Working);
    client.cancel_task(CancelTaskParams::new(&task.task_id)).await.unwrap();
    assert_eq!(ended(&client, &task).await.status(), TaskStatus::Cancelled);
    model.has(0).await;

    // It goes on for as long as it is asked about.
    let task = begin(&client).await;
    model.has(1).await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let working = state(&client, &task).await;
        assert_eq!(working.status(), TaskStatus::Working);
        assert_eq!(working.task.status_message.as_deref(), Some("silent begins"));
    }
    // The model is left a moment before the task says so.
    model.has(0).await;
    assert_eq!(ended(&client, &task).await.status(), TaskStatus::Cancelled);

    begin(&client).await;
    model.has(1).await;
    client.cancel().await.unwrap();
    serving.await.unwrap().unwrap();
    model.has(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_too_long_fails() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default().task_timeout(Duration::from_millis(500)));
    let (client, _serving) = connect(&server, listener()).await;
    let task = begin(&client).await;
    assert_eq!(ended(&client, &task).await.status(), TaskStatus::Failed);
    model.has(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_refused_is_no_task() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default().max_runs(1).max_queued(1));
    let (client, _serving) = connect(&server, listener()).await;
    let (at_work, _waits) = (begin(&client).await, begin(&client).await);
    model.has(1).await;
    let refused = client.call_tool_once(params("ask", json!({"question": "?"}))).await.unwrap();
    let CallToolResponse::Complete(refused) = refused else { panic!("a task is kept: {refused:?}") };
    assert!(format!("{refused:?}").contains("1 questions are at work and 1 wait"), "{refused:?}");
    // The place of one that is cancelled goes to the one that waits, and another one may wait.
    client.cancel_task(CancelTaskParams::new(&at_work.task_id)).await.unwrap();
    assert_eq!(ended(&client, &at_work).await.status(), TaskStatus::Cancelled);
    model.has(1).await;
    begin(&client).await;
}
