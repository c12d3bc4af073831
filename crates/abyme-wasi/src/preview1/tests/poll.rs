//! `poll_oneoff`: waiting for time, and for what needs no waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

/// Asks for these at 3000; the events come at 4000, their number at 20.
fn ask(guest: &mut Guest, subscriptions: &[[u64; 6]]) -> [i64; 4] {
    for (index, words) in subscriptions.iter().enumerate() {
        for (at, word) in words.iter().enumerate() {
            guest.put(3000 + index * 48 + at * 8, &word.to_le_bytes());
        }
    }
    [3000, 4000, subscriptions.len() as i64, 20]
}

/// Whether `clock` shows `time`; or after so much time.
fn clock(mark: u64, id: u64, time: u64, absolute: bool) -> [u64; 6] {
    [mark, 0, id, time, 0, u64::from(absolute)]
}

fn descriptor(mark: u64, fd: u64, to_write: bool) -> [u64; 6] {
    [mark, if to_write { 2 } else { 1 }, fd, 0, 0, 0]
}

/// What came: mark, error, kind.
fn events(guest: &Guest) -> Vec<(u64, u32, u32)> {
    (0..guest.u32(20) as usize)
        .map(|index| 4000 + index * 32)
        .map(|at| (guest.u64(at), guest.u32(at + 8) & 0xffff, guest.u32(at + 8) >> 16))
        .collect()
}

const HOUR: u64 = 3_600_000_000_000;

#[tokio::test(start_paused = true)]
async fn sleeping_takes_as_long_as_asked() {
    let mut guest = Guest::new().await;
    for id in 0..2 {
        let start = Instant::now();
        let arguments = ask(&mut guest, &[clock(7, id, HOUR, false), clock(8, id, 2 * HOUR, false)]);
        assert_eq!(guest.call("poll_oneoff", &arguments).await, 0);
        assert_eq!(events(&guest), [(7, 0, 0)]);
        let slept = start.elapsed();
        assert!(slept >= Duration::from_nanos(HOUR) && slept < Duration::from_nanos(2 * HOUR));
    }
    for id in 0..2 {
        guest.call("clock_time_get", &[id, 1, 24]).await;
        let (start, now) = (Instant::now(), guest.u64(24));
        let arguments = ask(&mut guest, &[clock(7, id as u64, now + HOUR, true)]);
        assert_eq!(guest.call("poll_oneoff", &arguments).await, 0);
        assert_eq!(events(&guest), [(7, 0, 0)]);
        assert!(start.elapsed() > Duration::from_nanos(HOUR / 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_reported_at_once() {
    let mut guest = Guest::new().await;
    let start = Instant::now();
    let fd = guest.open("work/a", CREATE, WRITE, 0).await.unwrap();
    let arguments = ask(
        &mut guest,
        &[
            clock(1, 0, HOUR, false),
            descriptor(2, 0, false),
            descriptor(3, 1, true),
            descriptor(4, fd.into(), true),
            descriptor(5, fd.into(), false),
            descriptor(6, 99, false),
            clock(7, 1, 5, true),
            clock(8, 1, 0, false),
            clock(9, 77, 0, false),
        ],
    );
    assert_eq!(guest.call("poll_oneoff", &arguments).await, 0);
    let expected = [(2, 0, 1), (3, 0, 2), (4, 0, 2), (5, 8, 1), (6, 8, 1), (7, 0, 0), (8, 0, 0), (9, 28, 0)];
    assert_eq!(events(&guest), expected);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_refused() {
    let mut guest = Guest::new().await;
    assert_eq!(guest.call("poll_oneoff", &[3000, 4000, 0, 20]).await, Errno::Invalid as u32);
    assert_eq!(guest.call("poll_oneoff", &[3000, 4000, 1025, 20]).await, Errno::Invalid as u32);
    assert_eq!(guest.call("poll_oneoff", &[-1, 4000, 1, 20]).await, Errno::Fault as u32);
    assert_eq!(guest.call("poll_oneoff", &[3000, -1, 1, 20]).await, Errno::Fault as u32);
    let arguments = ask(&mut guest, &[[0, 9, 0, 0, 0, 0]]);
    assert_eq!(guest.call("poll_oneoff", &arguments).await, Errno::Invalid as u32);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_a_sleep() {
    let mut guest = Guest::new().await;
    let interrupt = guest.store.data().interrupt.clone();
    let asked = guest.store.data().asked.clone();
    let start = Instant::now();
    for time in [HOUR, u64::MAX] {
        let arguments = ask(&mut guest, &[clock(7, 1, time, false)]);
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(asked.load(Ordering::Relaxed) > 0);
            interrupt.store(true, Ordering::Relaxed);
        };
        // Both are one task, so the end of the one polls the other again.
        let (error, ()) = tokio::join!(guest.call("poll_oneoff", &arguments), later);
        assert_eq!(error, 0);
        assert_eq!(events(&guest), [(7, 0, 0)]);
        assert!(!interrupt.load(Ordering::Relaxed));
    }
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_sleep_is_over() {
    let mut guest = Guest::new().await;
    let arguments = ask(&mut guest, &[clock(7, 1, u64::MAX, false)]);
    let call = guest.call("poll_oneoff", &arguments);
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
}
