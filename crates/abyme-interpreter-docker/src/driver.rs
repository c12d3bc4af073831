//! The driver as it goes in: as sources at first, and compiled from the third session on.
//!
//! Compiling takes about a quarter of a session's start. What can do it is the image's own Python, in a container, which
//! is not worth it for a program with one session. So the second session has it done in the background.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use abyme_driver::python::{self, BundleKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{client::Client, container, image::Image, interpreter::Shared};

/// The most that a compiled driver is; it is about 170 kB.
const MOST: u64 = 8 << 20;

/// What the driver's bootstrap reads first.
pub(crate) type Bundle = Arc<[u8]>;

/// The driver's sources, and what an image's Python made of them.
#[derive(Debug)]
pub(crate) struct Driver {
    sources: Bundle,
    launches: AtomicUsize,
    /// With the id of the image whose Python it is for.
    compiled: Mutex<Option<(String, Bundle)>>,
}

impl Driver {
    pub(crate) fn new() -> Self {
        let sources = python::bundle(BundleKind::Sources, &python::sources_json(python::DRIVER));
        Self { sources: sources.into(), launches: AtomicUsize::new(0), compiled: Mutex::new(None) }
    }

    /// The driver for one more session in this image.
    pub(crate) fn bundle(&self, image: &Image) -> Bundle {
        match &*self.compiled.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((id, compiled)) if *id == image.id => compiled.clone(),
            _ => self.sources.clone(),
        }
    }

    /// A session was started; whether it is time to compile.
    fn is_second(&self) -> bool {
        self.launches.fetch_add(1, Ordering::Relaxed) == 1
    }

    fn keep(&self, image: Image, compiled: &[u8]) {
        let bundle = python::bundle(BundleKind::Compiled, compiled).into();
        *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) = Some((image.id, bundle));
    }
}

/// Has the driver compiled in the background, if this is the time for it. Should it fail, sources do as well.
pub(crate) fn compile_in_background(shared: &Shared, client: &Client, image: Image) {
    if !shared.driver.is_second() {
        return;
    }
    let (config, owner) = (shared.config.clone(), shared.owner.clone());
    let limit = config.session.start_timeout;
    // The factory is not kept alive by this.
    let driver = Arc::downgrade(&shared.driver);
    let started = container::start(client.clone(), config, owner, image.clone(), python::PROBE);
    client.keeper.spawn(async move {
        let compile = async {
            let Ok((container, output, mut input)) = started.await else { return None };
            input.write_all(&python::sources_json(python::DRIVER)).await.ok()?;
            input.shutdown().await.ok()?;
            let mut answer = Vec::new();
            output.take(MOST).read_to_end(&mut answer).await.ok()?;
            container.remove().await;
            let end = answer.iter().position(|&byte| byte == b'\n')?;
            let is_whole = serde_json::from_slice::<serde_json::Value>(&answer[..end]).is_ok();
            (is_whole && answer.len() > end + 1).then(|| answer.split_off(end + 1))
        };
        let compiled = tokio::time::timeout(limit, compile).await.ok().flatten();
        match (compiled, driver.upgrade()) {
            (Some(compiled), Some(driver)) => driver.keep(image, &compiled),
            _ => tracing::debug!("the driver was not compiled ahead"),
        }
    });
}
