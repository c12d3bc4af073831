//! A checkpoint is the whole state, however the pages were found: it is compared with all of the memory, byte
//! by byte.

use abyme_core::{Cell, NoHostFunctions};

use super::*;
use crate::{config::WasmConfig, session::WasmSession};

/// Cells that write little and much, in several parts of the memory, and free memory.
const CELLS: [&str; 10] = [
    "x = 1",
    "x = x + 1\nx",
    "big = bytearray(30_000_000)\nbig[::4096] = b'x' * len(big[::4096])",
    "big[12_345_678] = 7",
    "x = [str(n) for n in range(50_000)]",
    "del x[::2]",
    "big = None",
    "open('/work/file', 'w').write('kept')",
    "x = {n: n for n in range(100_000)}",
    "print(len(x))",
];

async fn runtime() -> Arc<Runtime> {
    with(WasmConfig { max_sessions: 1, ..WasmConfig::default() }).await
}

async fn with(config: WasmConfig) -> Arc<Runtime> {
    Arc::new(Runtime::load(config, crate::progress::Reporter::default()).await.unwrap())
}

async fn run(live: &mut WasmSession, code: &str) {
    let observation = live.execute(Cell::new(code), &NoHostFunctions).await.unwrap();
    assert!(observation.is_ok(), "{code}: {observation:?}");
}

/// The first page that differs from the checkpoint.
fn difference(checkpoint: &Checkpoint, base: &[u8], memory: &[u8]) -> Option<u32> {
    const ZEROS: [u8; PAGE] = [0; PAGE];
    assert_eq!(checkpoint.len, memory.len());
    (0..).zip(memory.chunks_exact(PAGE)).find_map(|(number, now)| {
        let at = number as usize * PAGE;
        let before = base.get(at..at + PAGE).unwrap_or(&ZEROS);
        let kept = checkpoint.page(number).unwrap_or(before);
        (kept != now).then_some(number)
    })
}

async fn assert_whole(live: &mut WasmSession, runtime: &Runtime, when: &str) {
    let checkpoint = live.settled().await.unwrap();
    assert_eq!(difference(&checkpoint, runtime.base(), live.memory().unwrap()), None, "{when}");
}

#[tokio::test]
async fn every_checkpoint_is_the_whole_memory() {
    let runtime = with(WasmConfig { max_sessions: 2, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    for round in 0..3 {
        for code in CELLS {
            run(&mut live, code).await;
            assert_whole(&mut live, &runtime, &format!("{round}: {code}")).await;
        }
        // Also after several cells without a checkpoint, after a crash, and in a copy.
        run(&mut live, CELLS[0]).await;
        run(&mut live, CELLS[2]).await;
        let dies = Cell::new("y = bytearray(9_000_000)\nimport os\nos._exit(1)");
        let observation = live.execute(dies, &NoHostFunctions).await.unwrap();
        assert!(observation.restored.is_some(), "{observation:?}");
        assert_whole(&mut live, &runtime, "after a crash").await;
        run(&mut live, CELLS[3]).await;
        assert_whole(&mut live, &runtime, "a cell after a crash").await;
        let mut copy = live.fork().await.unwrap();
        run(&mut copy, CELLS[4]).await;
        assert_whole(&mut copy, &runtime, "a copy").await;
        assert_whole(&mut live, &runtime, "what was copied").await;
    }
}

#[tokio::test]
async fn what_a_session_wrote_is_not_found_by_the_next() {
    let runtime = runtime().await;
    for _ in 0..3 {
        let mut live = WasmSession::new(runtime.clone()).await.unwrap();
        let fresh = live.settled().await.unwrap();
        assert!(fresh.pages.is_empty());
        assert_eq!(difference(&fresh, runtime.base(), live.memory().unwrap()), None);
        for code in CELLS {
            run(&mut live, code).await;
        }
        live.settled().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_over_the_limit_goes_on_without() {
    let runtime =
        with(WasmConfig { max_sessions: 1, checkpoint_limit_bytes: 8 << 20, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    run(&mut live, "x = 1").await;
    let dies = Cell::new("import os\nos._exit(1)");
    let observation = live.execute(dies.clone(), &NoHostFunctions).await.unwrap();
    assert!(observation.restored.is_some(), "{observation:?}");
    // It computes so long that its state is kept before the next cell, where that can be.
    run(&mut live, "big = bytearray(b'x') * 10_000_000\nsum(range(3_000_000))").await;
    run(&mut live, "del big").await;
    let observation = live.execute(dies, &NoHostFunctions).await.unwrap();
    assert!(observation.restored.is_none() && observation.session_ended.is_some(), "{observation:?}");
}

/// A text in which no two pages are the same.
fn lines(count: usize) -> String {
    (0..count).map(|number| format!("{number:>9}\n")).collect()
}

async fn give(live: &mut WasmSession, texts: &[(&str, String)]) {
    let mut cell = Cell::new("");
    for (name, text) in texts {
        cell = cell.variable(*name, text.as_str());
    }
    let observation = live.execute(cell, &NoHostFunctions).await.unwrap();
    assert!(observation.is_ok(), "{observation:?}");
}

#[tokio::test]
async fn given_texts_are_kept_as_parts_of_them() {
    let runtime =
        with(WasmConfig { max_sessions: 2, checkpoint_limit_bytes: 12 << 20, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    run(&mut live, "x = 1").await;
    give(&mut live, &[("one", lines(1_000_000)), ("two", lines(300_000).to_uppercase())]).await;
    let kept = live.settled().await.unwrap();
    assert!(kept.pages.len() - kept.own > 13_000_000 / PAGE - 4, "{} of {}", kept.own, kept.pages.len());
    assert_whole(&mut live, &runtime, "given").await;
    // They come back after a crash, in a copy, and from bytes.
    let observation = live.execute(Cell::new("import os\nos._exit(1)"), &NoHostFunctions).await.unwrap();
    assert!(observation.restored.is_some(), "{observation:?}");
    const ALL: &str = "places = range(0, 1_000_000, 97)\n\
                       assert all(one[10 * n:10 * n + 9].strip() == str(n) for n in places)\n\
                       assert len(two) == 3_000_000 and two.endswith('299999\\n')";
    run(&mut live, ALL).await;
    assert_whole(&mut live, &runtime, "after a crash").await;
    run(&mut live.fork().await.unwrap(), ALL).await;
    let bytes = crate::memory::snapshot::write(&kept, &runtime.key).await.unwrap();
    let read = crate::memory::snapshot::read(&bytes, &runtime.key).await.unwrap();
    assert_eq!(read.own, kept.pages.len());
    assert!(
        read.pages.iter().zip(kept.pages.iter()).all(|(read, kept)| read.0 == kept.0 && *read.1 == *kept.1)
    );
    // Where others are in their place, these are copied.
    run(&mut live, "del one, two\nthree = bytearray(b'y') * 4_000_000").await;
    assert_whole(&mut live, &runtime, "overwritten").await;
    let over = live.settled().await.unwrap();
    assert!(over.own > kept.own + 4_000_000 / PAGE - 4, "{} after {}", over.own, kept.own);
    give(&mut live, &[("three", lines(200_000))]).await;
    assert_whole(&mut live, &runtime, "given anew").await;
    run(&mut live, "assert len(three) == 2_000_000 and three.endswith('199999\\n')").await;
}

#[tokio::test]
async fn a_text_of_wide_characters_is_copied() {
    let runtime =
        with(WasmConfig { max_sessions: 1, checkpoint_limit_bytes: 64 << 20, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    give(&mut live, &[("text", "日本".repeat(1_000_000)), ("latin", "é".repeat(1_000_000))]).await;
    let kept = live.settled().await.unwrap();
    assert_eq!(kept.own, kept.pages.len());
    assert_whole(&mut live, &runtime, "given").await;
}

/// Content in which no two pages are the same.
const LARGE: &str = "large = bytearray(b'x') * 20_000_000\n\
                     for at in range(0, 20_000_000, 4096): large[at:at + 4] = at.to_bytes(4)";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_copy_maps_what_is_frozen_and_leaves_nothing_of_it() {
    let runtime = with(WasmConfig { max_sessions: 2, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    run(&mut live, LARGE).await;
    let kept = live.settled().await.unwrap();
    for _ in 0..3 {
        let slot = runtime.slot().await.unwrap();
        let mut vm = kept.restore(&runtime, HostCalls::default(), slot).await.unwrap();
        let mapped: usize = vm.mapped().iter().map(|pages| pages.len() * PAGE).sum();
        assert!(mapped > 19_000_000, "{mapped}");
        assert!(vm.memory() == live.memory().unwrap());
        // All that is mapped is found, and what is written to it stays in this instance.
        assert!(vm.mapped().iter().cloned().flatten().is_sorted());
        let written = vm.written_pages(Since::BaseImage);
        assert!(vm.mapped().iter().cloned().flatten().all(|page| written.binary_search(&page).is_ok()));
        let len = kept.len;
        let first = vm.mapped()[0].start as usize * PAGE;
        vm.memory_mut(len).unwrap()[first] ^= 0xff;
        assert!(vm.written_pages(Since::LastScan).contains(&((first / PAGE) as u32)));
        assert_eq!(difference(&kept, runtime.base(), live.memory().unwrap()), None);
        drop(vm);
        // The next one in its place begins with zeros behind the base image.
        let slot = runtime.slot().await.unwrap();
        let mut next = runtime.instance(HostCalls::default(), slot).await.unwrap();
        let base = runtime.base().len();
        assert!(next.memory_mut(len).unwrap()[base..].iter().all(|byte| *byte == 0));
    }
    // A copy goes on, also where its last kept state was lost, and is what it was after a crash.
    let mut copy = live.fork().await.unwrap();
    run(&mut copy, "other = bytes(large)\nlarge[4096] = 65").await;
    assert_whole(&mut copy, &runtime, "a copy that wrote").await;
    copy.recovery().take();
    assert_whole(&mut copy, &runtime, "a copy that lost its state").await;
    let observation = copy.execute(Cell::new("import os\nos._exit(1)"), &NoHostFunctions).await.unwrap();
    assert!(observation.restored.is_some(), "{observation:?}");
    run(&mut copy, r"assert large[4096:4101] == b'A\0\x10\0x' and other[4096:4101] == b'\0\0\x10\0x'").await;
    assert_whole(&mut copy, &runtime, "a copy after a crash").await;
    assert_whole(&mut live, &runtime, "what was copied").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_of_which_little_is_left_is_let_go() {
    let runtime = runtime().await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    // Not so large that there are two files.
    run(&mut live, "large = bytearray(b'x') * 6_000_000").await;
    let frozen = |kept: &Checkpoint| kept.pages.iter().filter(|(_, page)| page.file().is_some()).count();
    let all = frozen(&live.settled().await.unwrap());
    assert!(all > 6_000_000 / PAGE - 2, "{all}");
    run(&mut live, "large[:2_400_000] = bytes(2_400_000)").await;
    let most = frozen(&live.settled().await.unwrap());
    assert!(most > 3_600_000 / PAGE - 2 && most < all, "{most} of {all}");
    assert_whole(&mut live, &runtime, "most is left").await;
    run(&mut live, "large[2_400_000:4_800_000] = b'y' * 2_400_000").await;
    // What the cell made on the way may be in a file of its own.
    let kept = live.settled().await.unwrap();
    let mut left: HashMap<usize, (usize, usize)> = HashMap::new();
    for (file, of) in kept.pages.iter().filter_map(|(_, page)| page.file()) {
        left.entry(file).or_insert((0, of)).0 += 1;
    }
    assert!(left.values().all(|(left, of)| left * 2 >= *of), "{left:?}");
    assert_whole(&mut live, &runtime, "little is left").await;
    let observation = live.execute(Cell::new("import os\nos._exit(1)"), &NoHostFunctions).await.unwrap();
    assert!(observation.restored.is_some(), "{observation:?}");
    run(&mut live, "assert large[:1] + large[3_000_000:][:1] + large[-1:] == b'\\0yx'").await;
}
