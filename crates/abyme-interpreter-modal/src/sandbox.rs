//! A sandbox: made, used by one driver or several, and terminated on every path.

mod owner;
mod process;
mod streams;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use abyme_core::{Error, Result};
use abyme_driver::{BackgroundThread, DriverCode};
use tonic::{Code, Status};

pub(crate) use self::{
    owner::{SESSION, sweep, tags},
    process::Process,
    streams::{Input, Link, Output},
};
use crate::{
    api::{
        ControlPlane, NewSandbox, Router, SandboxHandle, is_temporary,
        messages::{GenericResult, SandboxTag},
    },
    config::{Api, Config},
};

/// How long a question about a sandbox that has ended may take.
const RESULT_TIMEOUT: Duration = Duration::from_secs(3);

/// A sandbox, with the connection to its machine. It is terminated when this is dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) router: Arc<Router>,
    pub(crate) thread: Arc<BackgroundThread>,
    pub(crate) memory_limit_bytes: Option<u64>,
    /// How long it was made to live.
    pub(crate) lifetime: Duration,
    /// Whether several drivers may run in it.
    pub(crate) is_shared: bool,
    control_plane: Arc<ControlPlane>,
    handle: SandboxHandle,
    born: Instant,
    ended: AtomicBool,
    /// How many drivers were given to it.
    pub(crate) drivers: AtomicUsize,
    /// What its first driver handed back, where several run in it.
    pub(crate) code: DriverCode,
}

impl Sandbox {
    /// Makes a sandbox and connects to its machine. Runs on the background thread, to its end.
    pub(crate) async fn make(
        control_plane: Arc<ControlPlane>,
        thread: Arc<BackgroundThread>,
        config: &Config,
        new: NewSandbox,
        api: Api,
    ) -> Result<Self, (Error, Code)> {
        // Its own deadline counts from here at the latest.
        let born = Instant::now();
        let (app_id, tags) = (new.app_id.clone(), new.tags.clone());
        let handle = match control_plane.create(new, api).await {
            Ok(handle) => handle,
            Err(status) => {
                if is_temporary(status.code()) {
                    end_unknown(&control_plane, &app_id, &tags, api).await;
                }
                return Err((explain(&control_plane, config, &status), status.code()));
            }
        };
        tracing::debug!(sandbox = handle.id, "a sandbox was made at Modal");
        Self::connect(control_plane, thread, config, handle, born).await
    }

    /// Makes a copy of a sandbox that was saved. Runs on the background thread, to its end.
    pub(crate) async fn restore(
        control_plane: Arc<ControlPlane>,
        thread: Arc<BackgroundThread>,
        config: &Config,
        snapshot_id: &str,
        tags: Vec<SandboxTag>,
    ) -> Result<Self> {
        let born = Instant::now();
        let handle = control_plane.restore(snapshot_id, tags).await;
        let handle = handle
            .map_err(|status| control_plane.failed("cannot restore a sandbox from its snapshot", &status))?;
        tracing::debug!(sandbox = handle.id, "a sandbox was restored at Modal");
        Self::connect(control_plane, thread, config, handle, born).await.map_err(|(error, _)| error)
    }

    async fn connect(
        control_plane: Arc<ControlPlane>,
        thread: Arc<BackgroundThread>,
        config: &Config,
        handle: SandboxHandle,
        born: Instant,
    ) -> Result<Self, (Error, Code)> {
        let router = match Router::connect(control_plane.clone(), handle.clone()).await {
            Ok(router) => Arc::new(router),
            Err(error) => {
                let _ = control_plane.terminate(&handle).await;
                return Err((error, Code::Unavailable));
            }
        };
        Ok(Self {
            router,
            thread,
            memory_limit_bytes: config.memory_limit_bytes,
            lifetime: config.timeout,
            is_shared: config.sessions_per_sandbox > 1,
            control_plane,
            handle,
            born,
            ended: AtomicBool::new(false),
            drivers: AtomicUsize::new(0),
            code: DriverCode::default(),
        })
    }

    /// How long it can still live.
    pub(crate) fn time_left(&self) -> Duration {
        self.lifetime.saturating_sub(self.born.elapsed())
    }

    /// How it ended, if it has.
    pub(crate) async fn result(&self) -> Option<GenericResult> {
        let (control_plane, handle) = (self.control_plane.clone(), self.handle.clone());
        let asking = async move { control_plane.result(&handle, Duration::ZERO).await };
        let answer = tokio::time::timeout(RESULT_TIMEOUT, self.thread.run(asking)).await;
        answer.ok()?.ok()?.ok()?
    }

    /// Ends it, and waits for Modal's answer.
    pub(crate) async fn terminate(&self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(status) = self.control_plane.terminate(&self.handle).await {
            let (sandbox, code) = (&self.handle.id, status.code());
            tracing::warn!(sandbox, ?code, "a sandbox was not terminated; the next sweep tries again");
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            let (control_plane, handle) = (self.control_plane.clone(), self.handle.clone());
            self.thread.spawn_tracked(async move {
                if let Err(status) = control_plane.terminate(&handle).await {
                    let (sandbox, code) = (&handle.id, status.code());
                    tracing::warn!(sandbox, ?code, "a sandbox was not terminated");
                }
            });
        }
    }
}

/// Ends what may have been made although no answer said so: it has a tag of its own.
async fn end_unknown(control_plane: &ControlPlane, app_id: &str, tags: &[SandboxTag], api: Api) {
    let own: Vec<_> = tags.iter().filter(|tag| tag.tag_name == SESSION).cloned().collect();
    match control_plane.list(app_id, &own, api).await {
        Ok(found) => {
            for info in found {
                let _ = control_plane.terminate(&ControlPlane::listed(&info.id)).await;
            }
        }
        Err(_) => tracing::warn!("Modal did not say whether it made a sandbox; the next sweep asks again"),
    }
}

/// Says what of the configuration Modal does not take.
fn explain(control_plane: &ControlPlane, config: &Config, status: &Status) -> Error {
    let what = match (status.code(), &config.name) {
        (Code::AlreadyExists, Some(name)) => {
            format!("cannot make a sandbox named `{name}`, which only one at a time can be")
        }
        _ => "cannot make a sandbox".to_owned(),
    };
    control_plane.failed(&what, status)
}
