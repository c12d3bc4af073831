//! Tests of frozen pages: what they hold, what is mapped, and what is left of them.

use super::*;

/// Pages that all differ.
fn pages(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| number.to_le_bytes().repeat(PAGE / 8)).collect()
}

async fn frozen(content: &[u8]) -> Option<Vec<FrozenPage>> {
    freeze(&content.chunks(PAGE).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn few_pages_are_not_worth_it() {
    assert!(frozen(&pages(MIN_PAGES - 1)).await.is_none());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn two_threads_write_what_is_much() {
    write_much().await;
}

/// There no thread may block in place.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn also_among_tasks_that_stay_on_their_thread() {
    tokio::task::LocalSet::new().run_until(write_much()).await;
}

#[cfg(target_os = "linux")]
async fn write_much() {
    for count in [2 * MIN_PAGES, 2 * MIN_PAGES + 1, 4 * BATCH + 7, 2 * ROUND + 7] {
        let content = pages(count);
        let kept = frozen(&content).await.unwrap();
        assert!(kept.iter().map(|page| &**page).eq(content.chunks(PAGE)), "{count}");
        let files: Vec<_> = kept.chunk_by(|one, next| next.follows(one)).map(<[_]>::len).collect();
        assert_eq!(files, [count.div_ceil(2), count / 2]);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_place_has_what_was_frozen_until_it_is_written_to() {
    const COUNT: usize = 2 * MIN_PAGES - 1;
    let content = pages(COUNT);
    let kept = frozen(&content).await.unwrap();
    assert!(kept.iter().map(|page| &**page).eq(content.chunks(PAGE)));
    assert!(kept.is_sorted_by(|one, next| next.follows(one) && one.file() == (next.file().0, COUNT)));
    let mut memory = vec![7; 12 * PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    // What is no whole page, or not all there, is refused, and the place stays as it is.
    assert!(kept[3].map(&mut memory[start + 1..][..PAGE]).is_err());
    assert!(kept[3].map(&mut memory[start..][..PAGE + 1]).is_err());
    assert!(kept[3].map(&mut memory[start..][..0]).is_err());
    assert!(kept[COUNT - 1].map(&mut memory[start..][..2 * PAGE]).is_err());
    assert!(unmap(&mut memory[start + 1..][..PAGE]).is_err());
    assert!(memory.iter().all(|byte| *byte == 7));
    kept[3].map(&mut memory[start..][..8 * PAGE]).unwrap();
    assert_eq!(memory[start..][..8 * PAGE], content[3 * PAGE..11 * PAGE]);
    memory[start + PAGE] = 0xee;
    assert_eq!(memory[start + PAGE..][..2], [0xee, content[4 * PAGE + 1]]);
    assert_eq!(*kept[4], content[4 * PAGE..5 * PAGE], "a write stays where it was made");
    // It is there after all else that has the file is gone.
    drop(kept);
    assert_eq!(memory[start + 7 * PAGE..][..PAGE], content[10 * PAGE..11 * PAGE]);
    unmap(&mut memory[start..][..8 * PAGE]).unwrap();
    assert!(memory[start..][..8 * PAGE].iter().all(|byte| *byte == 0));
    assert!(memory[start + 8 * PAGE..].iter().all(|byte| *byte == 7));
}
