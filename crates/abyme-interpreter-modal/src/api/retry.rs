//! When a call is tried again: as Modal's own clients do it.

use std::{future::Future, time::Duration};

use prost::Message as _;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use super::messages::{RPCRetryPolicy, RpcStatus};

/// How often and how long a call is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    /// Further tries after the first. A server that says when to come again is not counted.
    pub(crate) retries: u32,
    /// The pause before the second try; each further one is twice as long.
    pub(crate) backoff: Duration,
    /// Time of one try.
    pub(crate) timeout: Duration,
    /// Time of all tries and pauses.
    pub(crate) total_timeout: Duration,
}

/// What a server is told of earlier tries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) retries: u32,
    pub(crate) throttled: u32,
}

/// Calls until it works, fails for good, or all tries are used up.
pub(crate) async fn call<T, F: Future<Output = Result<T, Status>>>(
    tries: Tries,
    mut one_try: impl FnMut(Attempt) -> F,
) -> Result<T, Status> {
    let deadline = Instant::now() + tries.total_timeout;
    let mut attempt = Attempt::default();
    loop {
        let limit = deadline.min(Instant::now() + tries.timeout);
        let problem = match timeout_at(limit, one_try(attempt)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(problem)) => problem,
            Err(_) => Status::deadline_exceeded("no answer in time"),
        };
        let pause = match retry_after(&problem) {
            Some(pause) => {
                attempt.throttled += 1;
                pause
            }
            None if is_temporary(problem.code()) && attempt.retries < tries.retries => {
                attempt.retries += 1;
                tries.backoff * 2_u32.saturating_pow(attempt.retries - 1)
            }
            None => return Err(problem),
        };
        if Instant::now() + pause >= deadline {
            return Err(problem);
        }
        sleep(pause).await;
    }
}

/// Whether the same call may work later.
pub(crate) fn is_temporary(code: Code) -> bool {
    use Code::*;
    matches!(code, DeadlineExceeded | Unavailable | Cancelled | Internal | Unknown)
}

/// When the server wants to be called again, if it says so.
pub(crate) fn retry_after(problem: &Status) -> Option<Duration> {
    let status = RpcStatus::decode(problem.details()).ok()?;
    let policy =
        status.details.iter().find(|detail| detail.type_url.ends_with("/modal.client.RPCRetryPolicy"))?;
    let policy = RPCRetryPolicy::decode(policy.value.as_slice()).ok()?;
    Duration::try_from_secs_f32(policy.retry_after_secs.max(0.1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::messages::Any;

    const TRIES: Tries = Tries {
        retries: 2,
        backoff: Duration::from_millis(100),
        timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(60),
    };

    fn throttled(seconds: f32) -> Status {
        let value = RPCRetryPolicy { retry_after_secs: seconds }.encode_to_vec();
        let detail = Any { type_url: "type.googleapis.com/modal.client.RPCRetryPolicy".to_owned(), value };
        let details = RpcStatus { details: vec![detail] }.encode_to_vec();
        Status::with_details(Code::ResourceExhausted, "too many", details.into())
    }

    /// Calls with these problems, then with success. Returns how often it was tried, and how long that took.
    async fn tried(problems: Vec<Status>) -> (Result<(), Status>, usize, Duration) {
        let begun = Instant::now();
        let mut problems = problems.into_iter();
        let mut count = 0;
        let result = call(TRIES, |_| {
            count += 1;
            let result = problems.next().map_or(Ok(()), Err);
            async { result }
        });
        (result.await, count, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let (result, count, time) = tried(vec![Status::unavailable(""), Status::internal("")]).await;
        assert!(result.is_ok());
        assert_eq!((count, time), (3, Duration::from_millis(300)));
        let (result, count, _) = tried(vec![Status::unavailable(""); 9]).await;
        assert_eq!((result.unwrap_err().code(), count), (Code::Unavailable, 3));
        let (result, count, _) = tried(vec![Status::not_found("")]).await;
        assert_eq!((result.unwrap_err().code(), count), (Code::NotFound, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_says_when_to_come_again() {
        let (result, count, time) = tried(vec![throttled(2.0), throttled(2.0), throttled(3.0)]).await;
        assert!(result.is_ok());
        assert_eq!((count, time), (4, Duration::from_secs(7)));
        let (result, count, time) = tried(vec![throttled(90.0)]).await;
        assert_eq!((result.unwrap_err().code(), count), (Code::ResourceExhausted, 1));
        assert_eq!(time, Duration::ZERO, "it is not waited for longer than the call may take");
        let (result, _, _) = tried(vec![Status::resource_exhausted("no quota")]).await;
        assert!(result.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_hangs_is_given_up() {
        let result = call(TRIES, |_| std::future::pending::<Result<(), Status>>()).await;
        assert_eq!(result.unwrap_err().code(), Code::DeadlineExceeded);
    }
}
