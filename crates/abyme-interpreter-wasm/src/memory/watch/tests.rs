//! Both ways to learn of writes, on memory of the tests' own.

use std::sync::Arc;

use super::*;

/// Aligned pages of zeros that do not exist yet.
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

/// More pages than are compared before tracking begins, and as regions of one page more than one call
/// reports.
const PAGES: usize = 2 * PAGES_BEFORE_TRACKING;

fn every(step: usize) -> Vec<u32> {
    (0..PAGES as u32).step_by(step).collect()
}

/// A session that compares its memory as a checkpoint does.
struct Looker {
    watch: Watch,
    kept: Vec<u8>,
}

impl Looker {
    fn new(watcher: Arc<Watcher>) -> Self {
        Self { watch: Watch::new(watcher), kept: vec![0; PAGES * PAGE] }
    }

    /// The pages that were found since the last look, or with `Since::BaseImage` all.
    fn look(&mut self, memory: &Memory, since: Since) -> Vec<u32> {
        let found = self.watch.written(memory.get(), since);
        let look = |page: &u32| {
            let place = *page as usize * PAGE..(*page as usize + 1) * PAGE;
            let changed = self.kept[place.clone()] != memory.get()[place.clone()];
            self.kept[place.clone()].copy_from_slice(&memory.get()[place]);
            ComparedPage { page: *page, changed }
        };
        let seen: Vec<_> = found.iter().map(look).collect();
        self.watch.compared(&seen);
        assert_eq!(self.kept[..memory.pages * PAGE], *memory.get(), "a page was written to and not found");
        found
    }

    fn last(&mut self, memory: &Memory) -> Vec<u32> {
        self.look(memory, Since::LastScan)
    }
}

fn all_writes_are_found(watcher: Arc<Watcher>) {
    let mut memory = Memory::new(PAGES);
    let mut looker = Looker::new(watcher);
    let writes = [vec![1, 17, 3], every(3), every(5), vec![7, 2000], vec![8], vec![], every(1)];
    for write in writes.into_iter().cycle().take(50) {
        memory.write(write);
        looker.last(&memory);
    }
    let all = looker.look(&memory, Since::BaseImage);
    assert_eq!(all, every(1));
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
    let mut looker = Looker::new(Watcher::new());
    memory.write(every(1));
    looker.last(&memory);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[7; PAGE]).unwrap();
    let to = memory.first + 40 * PAGE;
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut memory.bytes[to..to + PAGE], 0).unwrap();
    assert_eq!(memory.bytes[to + 17], 7);
    assert!(looker.last(&memory).contains(&40));
}

#[test]
fn where_the_system_tracks_writes_quiet_pages_are_not_looked_at() {
    let watcher = Watcher::new();
    if watcher.0.is_none() {
        return; // an old kernel, or a sandbox that forbids it: the other tests hold there
    }
    let nothing: [u32; 0] = [];
    let mut memory = Memory::new(PAGES);
    memory.write(every(1));
    let mut looker = Looker::new(watcher.clone());
    assert_eq!(looker.last(&memory), every(1));
    assert_eq!(looker.last(&memory), nothing, "so many are tracked at once");
    // Every second page is a region of its own.
    memory.write(every(2));
    if looker.last(&memory).len() > PAGES / 2 {
        return; // the memory is made of huge pages
    }
    assert_eq!(looker.last(&memory), every(2), "so many are looked at once more");
    assert_eq!(looker.last(&memory), nothing);
    for _ in 0..2 * QUIET_SCANS {
        memory.write([100, 1000]);
        assert_eq!(looker.last(&memory), [100, 1000]);
    }
    memory.write([1000]);
    for quiet in 1..=QUIET_SCANS {
        assert_eq!(looker.last(&memory), [100, 1000], "{quiet}");
    }
    assert_eq!(looker.last(&memory), [1000], "it changed once more");
    assert_eq!(looker.last(&memory), nothing);
    assert_eq!(looker.look(&memory, Since::BaseImage), every(1));

    // The next caller knows none of it, and must be told everything.
    drop(looker);
    assert_eq!(Watch::new(watcher).written(memory.get(), Since::LastScan), every(1));
}

#[test]
fn memory_that_grows_is_tracked_as_a_whole() {
    let mut memory = Memory::new(PAGES);
    let mut looker = Looker::new(Watcher::new());
    memory.pages = PAGES_BEFORE_TRACKING + 10;
    memory.write(0..PAGES_BEFORE_TRACKING as u32 + 10);
    looker.last(&memory);
    memory.pages = PAGES;
    for pages in [[3, 2040], [4, 2041], [2042, 2043], [5, 2040]] {
        memory.write(pages);
        looker.last(&memory);
    }
}

#[test]
fn questions_that_nobody_looked_after_lose_nothing() {
    let mut memory = Memory::new(PAGES);
    let mut looker = Looker::new(Watcher::new());
    memory.pages = PAGES_BEFORE_TRACKING + 10;
    for round in 0..20 {
        memory.write([round, 1000 + round]);
        if round == 10 {
            memory.write(0..PAGES_BEFORE_TRACKING as u32);
        }
        looker.watch.written(memory.get(), Since::LastScan);
        memory.pages += 3; // grown before the first comparison
        memory.write([memory.pages as u32 - 1]);
        looker.watch.written(memory.get(), Since::LastScan);
        memory.write([round + 1]);
        looker.last(&memory);
    }
}

#[test]
fn who_asks_for_all_is_not_told_of_pages_that_are_not_there() {
    let watcher = Watcher::new();
    if watcher.0.is_none() {
        return;
    }
    let mut memory = Memory::new(PAGES);
    let mut looker = Looker::new(watcher);
    for _ in 0..=PAGES_BEFORE_TRACKING / 100 {
        memory.write(0..100);
        looker.last(&memory);
    }
    assert!(looker.watch.registered.is_some());
    let found = looker.look(&memory, Since::BaseImage);
    assert!(looker.watch.registered.is_none());
    assert!((0..100).all(|page| found.contains(&page)), "{found:?}");
}

#[test]
fn ranges_are_few() {
    assert_eq!(ranges([1, 2, 3, 5, 7, 8]), [1..4, 5..6, 7..9]);
    assert_eq!(ranges([]), []);
}
