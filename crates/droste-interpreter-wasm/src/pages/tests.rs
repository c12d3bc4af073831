//! Both ways to know of writes, on memory of our own.

use std::sync::Arc;

use super::*;

/// Pages that begin where a page of the system begins, all of them zeros and not there yet.
struct Memory {
    bytes: Vec<u8>,
    first: usize,
    pages: usize,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let bytes = vec![0; (pages + 1) * PAGE];
        let first = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, first, pages }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.first..self.first + self.pages * PAGE]
    }

    fn write(&mut self, pages: impl IntoIterator<Item = u32>) {
        for page in pages {
            self.bytes[self.first + page as usize * PAGE + 17] += 1;
        }
    }
}

/// More than may be looked at before writes are tracked, and in regions of one page more than a call reports.
const PAGES: usize = 2 * LOOKS;

fn every(step: usize) -> Vec<u32> {
    (0..PAGES as u32).step_by(step).collect()
}

#[track_caller]
fn assert_includes(found: &[u32], wanted: &[u32]) {
    assert!(found.is_sorted(), "{found:?}");
    let missing: Vec<_> = wanted.iter().filter(|page| !found.contains(page)).collect();
    assert!(missing.is_empty(), "{missing:?} were written to and not found");
}

fn all_writes_are_found(watcher: Arc<Watcher>) {
    let mut memory = Memory::new(PAGES);
    let mut watch = Watch::new(watcher);
    memory.write([1, 17, 3000]);
    assert_includes(&watch.written(memory.get(), Since::LastTime), &[1, 17, 3000]);
    memory.write(every(3));
    assert_includes(&watch.written(memory.get(), Since::LastTime), &every(3));
    memory.write(every(5));
    assert_includes(&watch.written(memory.get(), Since::LastTime), &every(5));
    memory.write([7, 4000]);
    assert_includes(&watch.written(memory.get(), Since::LastTime), &[7, 4000]);
    memory.write([8]);
    let all = watch.written(memory.get(), Since::Snapshot);
    for written in [every(3), every(5), vec![7, 8, 4000]] {
        assert_includes(&all, &written);
    }
}

#[test]
fn all_writes_are_found_here() {
    all_writes_are_found(Watcher::new());
}

#[test]
fn all_writes_are_found_on_an_old_system() {
    all_writes_are_found(Watcher::without_tracking());
}

#[test]
fn writes_of_the_system_are_found() {
    let mut memory = Memory::new(PAGES);
    let mut watch = Watch::new(Watcher::new());
    memory.write(every(1));
    watch.written(memory.get(), Since::LastTime);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[7; PAGE]).unwrap();
    let to = memory.first + 40 * PAGE;
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut memory.bytes[to..to + PAGE], 0).unwrap();
    assert_eq!(memory.bytes[to + 17], 7);
    assert_includes(&watch.written(memory.get(), Since::LastTime), &[40]);
}

#[test]
fn where_the_system_tracks_writes_nothing_else_is_found() {
    let watcher = Watcher::new();
    if watcher.0.is_none() {
        return; // an old kernel, or a sandbox that forbids it: the other tests hold there
    }
    let mut memory = Memory::new(PAGES);
    memory.write(every(1));
    let mut watch = Watch::new(watcher.clone());
    assert_eq!(watch.written(memory.get(), Since::Snapshot), every(1));
    assert_eq!(watch.written(memory.get(), Since::LastTime), [0_u32; 0]);
    // Every second page is a region of its own.
    memory.write(every(2));
    let found = watch.written(memory.get(), Since::LastTime);
    assert_includes(&found, &every(2));
    if found.len() == PAGES / 2 {
        memory.write([100]);
        assert_eq!(watch.written(memory.get(), Since::LastTime), [100]);
    } // else the memory is made of huge pages
    assert_eq!(watch.written(memory.get(), Since::Snapshot), every(1));

    // Who comes next knows nothing of it, and has to be told everything.
    drop(watch);
    let mut watch = Watch::new(watcher);
    assert_eq!(watch.written(memory.get(), Since::LastTime), every(1));
}

#[test]
fn memory_that_grows_is_tracked_as_a_whole() {
    let mut memory = Memory::new(PAGES);
    let mut watch = Watch::new(Watcher::new());
    memory.pages = LOOKS + 10;
    memory.write(0..LOOKS as u32 + 10);
    assert_includes(&watch.written(memory.get(), Since::LastTime), &[0, 9, LOOKS as u32 + 9]);
    memory.pages = PAGES;
    memory.write([3, 4000]);
    assert_includes(&watch.written(memory.get(), Since::LastTime), &[3, 4000]);
    memory.write([4, 4001]);
    assert_includes(&watch.written(memory.get(), Since::LastTime), &[4, 4001]);
}
