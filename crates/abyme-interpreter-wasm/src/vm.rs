//! One instance of the guest: the memory of a session and the function that runs its cells.

use std::{io, mem, ops::Range, sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, OverBudget, Result, Value};
use abyme_driver::repl::Stream;
use abyme_wasi::{GuestExit, Wasi};
use wasmtime::{Engine, Instance, InstancePre, Linker, Module, Store, Trap, TypedFunc, UpdateDeadline};

use crate::{
    engine::WASM_PAGE,
    guest::{
        calls::HostCalls,
        imports::{self, InvalidMessage},
        record::{CellRecord, Replies},
        request::GuestMessage,
        state::{GuestState, PlacedTexts},
    },
    memory::{
        frozen::{self, FrozenPage},
        page::PAGE,
        watch::{self, ComparedPage, Since, Watch, Watcher},
    },
    slots::Slot,
};

/// How many characters of the last output go into the reason why an instance was lost.
const MAX_LAST_OUTPUT_CHARS: usize = 300;

/// One instance of the guest.
pub(crate) struct Vm {
    watch: Watch,
    pub(crate) store: Store<GuestState>,
    pub(crate) instance: Instance,
    run: TypedFunc<(), i32>,
    /// What the last comparing of pages gave, for `watch`.
    compared: Vec<ComparedPage>,
    /// The pages of the linear memory that frozen ones are mapped over.
    mapped: Vec<Range<u32>>,
    /// The slot of the session that this instance belongs to.
    slot: Option<Slot>,
}

/// Why a cell gave no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CellFailure {
    /// The cell does not fit the memory. Nothing ran, the session goes on.
    NoMemory,
    /// The cell ended, and what it answers is too large. The session goes on.
    Unanswered(OverBudget),
    /// The instance is lost; completes "the interpreter …".
    Lost(String),
    /// The instance is lost: it sent a message that no guest of this crate sends.
    InvalidMessage(String),
}

/// Makes instances.
pub(crate) struct VmTemplate {
    pub(crate) engine: Engine,
    pub(crate) guest: InstancePre<GuestState>,
    /// Where CPython looks for signals: the same addresses in all instances, zeros until they are known.
    pub(crate) interrupt: [u32; 4],
    pub(crate) memory_limit_bytes: u64,
    /// The pages to copy when an instance is made; none until they are known.
    pub(crate) prefault: Vec<Range<u32>>,
    watcher: Arc<Watcher>,
}

impl VmTemplate {
    /// Connects a module with the host's functions.
    pub(crate) fn new(engine: &Engine, module: &Module, memory_limit_bytes: u64) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        imports::add_to_linker(&mut linker)?;
        abyme_wasi::add_to_linker(&mut linker)?;
        let guest = linker.instantiate_pre(module)?;
        Ok(Self {
            engine: engine.clone(),
            guest,
            interrupt: [0; 4],
            memory_limit_bytes,
            prefault: Vec::new(),
            watcher: Watcher::new(),
        })
    }

    /// Makes an instance.
    pub(crate) async fn instance(
        &self,
        wasi: Wasi,
        calls: HostCalls,
        slot: Option<Slot>,
    ) -> wasmtime::Result<Vm> {
        let memory_limit_bytes = usize::try_from(self.memory_limit_bytes).unwrap_or(usize::MAX);
        let mut guest = GuestState::new(wasi, calls, memory_limit_bytes);
        guest.interrupt = self.interrupt;
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            // A statement of its own, so that `calls` is not locked while memory is written.
            let interrupted = store.data().calls.lock().take_interrupt();
            if interrupted {
                GuestState::interrupt(&mut store)?;
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let instance = self.guest.instantiate_async(&mut store).await?;
        let memory = instance.get_memory(&mut store, "memory");
        if let Some(memory) = memory {
            watch::prefault(memory.data_mut(&mut store), &self.prefault);
        }
        store.data_mut().memory = memory;
        let run = instance.get_typed_func(&mut store, "abyme_run")?;
        let watch = Watch::new(self.watcher.clone());
        Ok(Vm { watch, store, instance, run, compared: Vec::new(), mapped: Vec::new(), slot })
    }
}

// DROP ORDER: the system must stop tracking the memory, and have no pages of this session in it, before
// `store` gives it back for another instance. This runs before any field is dropped, whatever their order.
impl Drop for Vm {
    fn drop(&mut self) {
        self.watch.stop();
        if let Err(error) = self.unmap() {
            tracing::error!(%error, "the memory of a session cannot be used again, nor its slot");
            let wasi = Wasi::new(self.store.data().wasi.files().clone());
            let other = Store::new(self.store.engine(), GuestState::new(wasi, HostCalls::default(), 0));
            mem::forget((mem::replace(&mut self.store, other), self.slot.take()));
        }
    }
}

impl Vm {
    /// Runs a cell. Returns the instance with the result.
    pub(crate) async fn run(
        mut self: Box<Self>,
        request: GuestMessage,
    ) -> (Box<Self>, Result<Value, CellFailure>) {
        self.watch_compared();
        let guest = self.store.data_mut();
        guest.request = request;
        guest.answer = None;
        guest.filling = Duration::ZERO;
        self.store.set_epoch_deadline(1);
        let outcome = self.run.call_async(&mut self.store, ()).await;
        let guest = self.store.data_mut();
        guest.prepared = GuestMessage::default();
        let answer = guest.answer.take();
        let outcome = match (outcome, answer) {
            (Ok(0), Some(answer)) => answer.map_err(CellFailure::Unanswered),
            (Ok(1), _) => Err(CellFailure::NoMemory),
            (Ok(_), _) => Err(CellFailure::Lost(self.with_last_output("failed in its own code"))),
            (Err(error), _) => Err(match error.downcast::<InvalidMessage>() {
                Ok(invalid) => CellFailure::InvalidMessage(invalid.0),
                Err(error) => CellFailure::Lost(self.why(&error)),
            }),
        };
        (self, outcome)
    }

    /// The linear memory.
    pub(crate) fn memory(&self) -> &[u8] {
        self.store.data().memory.map_or(&[], |memory| memory.data(&self.store))
    }

    /// Begins to record what the next cell is told, in up to `limit` bytes.
    pub(crate) fn record(&mut self, limit: u64) {
        let guest = self.store.data_mut();
        guest.replies = Replies::default();
        guest.wasi.record(limit);
    }

    /// Ends recording. `None` if the cell cannot be replayed.
    pub(crate) fn take_record(&mut self) -> Option<CellRecord> {
        let guest = self.store.data_mut();
        let replies = guest.replies.take();
        Some(CellRecord { told: guest.wasi.take_record()?, replies })
    }

    /// Tells the next cell what the recorded one was told.
    pub(crate) fn replay(&mut self, record: &CellRecord) {
        let guest = self.store.data_mut();
        guest.replies = Replies::of(record);
        guest.wasi.replay(&record.told);
    }

    /// Ends replaying. Returns whether the cell did what the recorded one did.
    pub(crate) fn end_replay(&mut self) -> bool {
        let guest = self.store.data_mut();
        let same = guest.wasi.end_replay() && guest.replies.are_replayed();
        guest.replies = Replies::default();
        same
    }

    /// How long the host wrote the last cell's long objects into the linear memory.
    pub(crate) fn filling(&self) -> Duration {
        self.store.data().filling
    }

    /// Inputs that are in the linear memory byte for byte, or were.
    pub(crate) fn placed_texts(&self) -> &PlacedTexts {
        &self.store.data().placed
    }

    /// Forgets which inputs are in the linear memory.
    pub(crate) fn forget_placed_texts(&mut self) {
        self.store.data_mut().placed.clear();
    }

    /// The numbers of the pages of the linear memory that may have been written to.
    pub(crate) fn written_pages(&mut self, since: Since) -> Vec<u32> {
        self.watch_compared();
        let memory = self.store.data().memory.map_or(&[][..], |memory| memory.data(&self.store));
        let mut written = self.watch.written(memory, since);
        if since == Since::BaseImage && !self.mapped.is_empty() {
            // They differ from it, and the system knows of no write.
            written.extend(self.mapped.iter().cloned().flatten());
            written.sort_unstable();
            written.dedup();
        }
        written
    }

    /// Has as many pages as `pages` says, behind the base image, hold frozen ones: this and those after it.
    /// Returns whether they do; otherwise they are as they were.
    pub(crate) fn map(&mut self, pages: Range<u32>, first: &FrozenPage) -> bool {
        let Some(memory) = self.store.data().memory else { return false };
        let bytes = pages.start as usize * PAGE..pages.end as usize * PAGE;
        let Some(place) = memory.data_mut(&mut self.store).get_mut(bytes) else { return false };
        let mapped = first.map(place);
        match &mapped {
            Ok(()) => self.mapped.push(pages),
            Err(error) => tracing::debug!(%error, "pages are copied, not mapped"),
        }
        mapped.is_ok()
    }

    /// The pages that frozen ones were mapped over.
    #[cfg(test)]
    pub(crate) fn mapped(&self) -> &[Range<u32>] {
        &self.mapped
    }

    /// Has the memory be as another instance needs it, as far as pages were mapped.
    fn unmap(&mut self) -> io::Result<()> {
        let (memory, mapped) = (self.store.data().memory, mem::take(&mut self.mapped));
        for pages in mapped {
            let bytes = pages.start as usize * PAGE..pages.end as usize * PAGE;
            let place = memory.and_then(|memory| memory.data_mut(&mut self.store).get_mut(bytes));
            frozen::unmap(place.ok_or(io::ErrorKind::NotFound)?)?;
        }
        Ok(())
    }

    /// Takes the results of comparing the pages that [`written_pages`](Self::written_pages) returned. What
    /// they say is acted on before the next cell: a fork does not wait for it.
    pub(crate) fn compared(&mut self, pages: Vec<ComparedPage>) {
        self.compared = pages;
    }

    fn watch_compared(&mut self) {
        self.watch.compared(&mem::take(&mut self.compared));
    }

    /// The caller will not read the written pages again.
    pub(crate) fn stop_watching(&mut self) {
        self.watch.stop();
    }

    /// The linear memory, after growing it to `len` bytes if it is smaller.
    pub(crate) fn memory_mut(&mut self, len: usize) -> Result<&mut [u8]> {
        let missing = || Error::new(ErrorKind::Internal, "the guest has no memory");
        let memory = self.store.data().memory.ok_or_else(missing)?;
        let pages = len.saturating_sub(memory.data_size(&self.store)).div_ceil(WASM_PAGE as usize);
        memory.grow(&mut self.store, pages as u64).map_err(|_| {
            let limit = self.store.data().memory_limit_bytes >> 20;
            Error::new(
                ErrorKind::Config,
                format!("a session of {} MiB does not fit `memory_limit_bytes` ({limit} MiB)", len >> 20),
            )
        })?;
        Ok(memory.data_mut(&mut self.store))
    }

    /// The WASI state of the session, between cells.
    pub(crate) fn wasi(&self) -> &Wasi {
        &self.store.data().wasi
    }

    /// The WASI state of the session, to change it between cells.
    pub(crate) fn wasi_mut(&mut self) -> &mut Wasi {
        &mut self.store.data_mut().wasi
    }

    /// Calls the guest to learn where CPython looks for signals.
    pub(crate) async fn interrupt_addresses(&mut self) -> wasmtime::Result<[u32; 4]> {
        let cells = self.instance.get_typed_func::<(), u32>(&mut self.store, "abyme_interrupt")?;
        let at = cells.call_async(&mut self.store, ()).await? as usize;
        let cells = self.memory().get(at..at + 16).ok_or_else(|| wasmtime::Error::msg("a wrong address"))?;
        let cell = |index: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| cells[4 * index + byte]));
        Ok([0, 1, 2, 3].map(cell))
    }

    /// Describes why the guest ended; completes "the interpreter …".
    fn why(&mut self, error: &wasmtime::Error) -> String {
        if let Some(GuestExit(code)) = error.downcast_ref() {
            self.last_output();
            return format!("exited with code {code}");
        }
        match error.downcast_ref() {
            Some(Trap::StackOverflow) => {
                self.last_output();
                "ran out of stack: a recursion went too deep for it".to_owned()
            }
            Some(Trap::UnreachableCodeReached) => self.with_last_output("aborted"),
            Some(
                Trap::MemoryOutOfBounds
                | Trap::IndirectCallToNull
                | Trap::BadSignature
                | Trap::TableOutOfBounds,
            ) => self.with_last_output("crashed: it touched memory that is not its own"),
            _ => self.with_last_output(&format!("crashed: {error:#}")),
        }
    }

    fn with_last_output(&mut self, what: &str) -> String {
        match self.last_output() {
            Some(words) => format!("{what} ({words})"),
            None => what.to_owned(),
        }
    }

    /// Hands on what was written to the descriptors and not collected when the cell ended. Returns a line of
    /// descriptor 2: the one on a fatal error, or the last one.
    fn last_output(&mut self) -> Option<String> {
        let calls = self.store.data().calls.clone();
        if let Some(words) = self.written(0) {
            calls.lock().output(Stream::Stdout, &words);
        }
        let words = self.written(1)?;
        calls.lock().output(Stream::Stderr, &words);
        let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
        let fatal = lines.clone().find(|line| line.starts_with("Fatal Python error"));
        let line = fatal.or_else(|| lines.next_back())?;
        Some(line.chars().filter(|character| !character.is_control()).take(MAX_LAST_OUTPUT_CHARS).collect())
    }

    /// Takes what was written to descriptor 1 (stream 0) or 2, or the beginning and end of it.
    pub(crate) fn written(&mut self, stream: usize) -> Option<String> {
        let output = self.store.data_mut().wasi.take_output(stream)?;
        Some([String::from_utf8_lossy(&output.head), String::from_utf8_lossy(&output.tail)].concat())
    }
}
