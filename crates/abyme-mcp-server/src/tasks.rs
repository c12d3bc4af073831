//! `ask` as a task of the protocol: the client gets a handle at once, and asks about it.

use std::{sync::Arc, time::Duration};

use rmcp::{
    Peer, RoleServer,
    model::{ProgressToken, Task},
    task_manager::{TaskExit, TaskOptions},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ask::ask,
    call::CallEnd,
    progress::{Reporter, Steps},
    shared::{Admission, Shared},
    tools::AskArguments,
};

/// How often clients should ask.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Begins to answer a question. The task ends with `gone`, and where no client asks about it for long.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    admission: Admission,
    gone: CancellationToken,
    arguments: AskArguments,
    client: Option<(Peer<RoleServer>, ProgressToken)>,
) -> Task {
    let options = TaskOptions::new()
        .with_ttl_ms(millis(shared.config.task_timeout))
        .with_poll_interval_ms(millis(POLL_INTERVAL));
    let of_task = shared.clone();
    shared.tasks.spawn(options, move |context| {
        let watched = WatchedTask::new(of_task.clone(), context.task_id());
        Box::pin(async move {
            let steps = Arc::new(Steps::default());
            let reporter = Reporter { client, task: Some(context.clone()) };
            let cancelled = async {
                tokio::select! {
                    () = context.cancelled() => {}
                    () = gone.cancelled() => {}
                    () = watched.abandoned() => {}
                }
            };
            let ended = tokio::select! {
                ended = ask(&of_task, admission, arguments, cancelled, &steps) => ended,
                never = reporter.report(&steps) => match never {},
            };
            match ended {
                CallEnd::Answered(result) => Ok(result),
                CallEnd::Cancelled => Err(TaskExit::Cancelled),
            }
        })
    })
}

/// A task whose clients are watched as long as it is at work.
struct WatchedTask {
    shared: Arc<Shared>,
    task: String,
}

impl WatchedTask {
    fn new(shared: Arc<Shared>, task: &str) -> Self {
        shared.polls.begin(task);
        Self { shared, task: task.to_owned() }
    }

    async fn abandoned(&self) {
        self.shared.polls.abandoned(&self.task, self.shared.config.task_poll_timeout).await;
    }
}

impl Drop for WatchedTask {
    fn drop(&mut self) {
        self.shared.polls.end(&self.task);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
