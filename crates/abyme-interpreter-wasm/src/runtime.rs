//! What all sessions of a factory share: the engine, the compiled guest and the slots.

use std::fmt;

use abyme_core::{Error, ErrorKind, Result};
use abyme_wasi::{FileSystem, Wasi};
use wasmtime::Engine;

use crate::{
    config::WasmConfig,
    engine::{WASM_PAGE, pooling},
    guest::calls::HostCalls,
    image::{
        cache::{self, ImageKey},
        files, prefault,
    },
    progress::Reporter,
    slots::{Slot, Slots},
    ticker::Ticker,
    vm::{Vm, VmTemplate},
};

/// How much a 32-bit Python can address.
const MAX_MEMORY: u64 = 4 << 30;

/// What all sessions of a factory share.
pub(crate) struct Runtime {
    pub(crate) config: WasmConfig,
    /// Names the base image: snapshots of sessions of another image cannot be restored here.
    pub(crate) key: ImageKey,
    pub(crate) ticker: Ticker,
    template: VmTemplate,
    /// An instance that never runs: its memory is the base image.
    base: Vm,
    /// The files that every session begins with.
    files: FileSystem,
    slots: Slots,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("config", &self.config)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}

impl Runtime {
    /// Loads the guest, preparing it first if this machine has not done so yet.
    pub(crate) async fn load(config: WasmConfig, reporter: Reporter) -> Result<Self> {
        check(&config)?;
        let files = files::of_session(&config)?;
        let engine = Engine::new(&pooling(&config)).map_err(|error| {
            let what = "cannot reserve addresses for WebAssembly sessions; lower `max_sessions`, or lift the \
                        limit on virtual memory (`ulimit -v`)";
            Error::new(ErrorKind::Unavailable, format!("{what}: {error:#}"))
        })?;
        let (module, key) = cache::module(&engine, &config, reporter).await?;
        let broken = |error: wasmtime::Error| {
            Error::new(ErrorKind::Unavailable, format!("the prepared interpreter cannot be used: {error:#}"))
        };
        let mut template = VmTemplate::new(&engine, &module, config.memory_limit_bytes).map_err(broken)?;
        let needed = module.resources_required().max_initial_memory_size.map(|pages| pages * WASM_PAGE);
        if let Some(needed) = needed.filter(|needed| *needed > config.memory_limit_bytes) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "a `memory_limit_bytes` of {} MiB is too small: Python alone takes {} MiB",
                    config.memory_limit_bytes >> 20,
                    needed.div_ceil(1 << 20)
                ),
            ));
        }
        let wasi = || Wasi::new(files.clone());
        let base = template.instance(wasi(), HostCalls::default(), None).await.map_err(broken)?;
        let calls = HostCalls::default();
        let mut trial = template.instance(wasi(), calls.clone(), None).await.map_err(broken)?;
        template.interrupt = trial.interrupt_addresses().await.map_err(broken)?;
        template.prefault = prefault::pages(trial, &calls, base.memory()).await?;
        let ticker = Ticker::new(&engine)?;
        let slots = Slots::new(config.max_sessions, config.queue_timeout);
        Ok(Self { config, key, ticker, template, base, files, slots })
    }

    /// Makes an instance in the state of the base image.
    pub(crate) async fn instance(&self, calls: HostCalls, slot: Slot) -> Result<Box<Vm>> {
        let wasi = Wasi::new(self.files.clone());
        self.template.instance(wasi, calls, Some(slot)).await.map(Box::new).map_err(|error| {
            let hint = match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::OutOfMemory) => {
                    "; on Linux a session takes about eight memory mappings, and a process may have as many \
                     as `sysctl vm.max_map_count` says"
                }
                _ => "",
            };
            Error::new(ErrorKind::Unavailable, format!("cannot make a WebAssembly instance: {error:#}{hint}"))
        })
    }

    /// Takes a slot, after waiting for one if all are taken.
    pub(crate) async fn slot(&self) -> Result<Slot> {
        self.slots.acquire().await
    }

    /// The pages that are copied when an instance is made.
    #[cfg(test)]
    pub(crate) fn prefault(&self) -> &[std::ops::Range<u32>] {
        &self.template.prefault
    }

    /// The memory of the base image.
    pub(crate) fn base(&self) -> &[u8] {
        self.base.memory()
    }
}

/// Checks what can be checked of a configuration before anything is loaded.
fn check(config: &WasmConfig) -> Result<()> {
    let problem = if config.max_sessions == 0 {
        "`max_sessions` is 0: no session could ever live".to_owned()
    } else if config.memory_limit_bytes > MAX_MEMORY {
        format!(
            "a `memory_limit_bytes` of {} MiB is over 4096 MiB, all that a 32-bit Python can address",
            config.memory_limit_bytes >> 20
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, problem))
}
