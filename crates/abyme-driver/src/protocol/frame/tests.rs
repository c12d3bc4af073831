//! Frames survive being split, merged, truncated and replaced by garbage.

use proptest::{collection::vec, prelude::*};
use tokio::io::AsyncWriteExt;

use super::*;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    run(async {
        let mut writer = FrameWriter::new(Vec::new());
        frames.iter().cloned().for_each(|frame| writer.push(frame));
        writer.flush().await.unwrap();
        writer.output
    })
}

/// Reads everything, handing the reader pieces of the given sizes in turn.
fn read_in_pieces(bytes: &[u8], pieces: &[usize]) -> (Vec<Frame>, FrameError) {
    run(async {
        let (mut sender, receiver) = tokio::io::duplex(1 << 16);
        let sending = async {
            let (mut rest, mut pieces) = (bytes, pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*pieces.next().unwrap()).clamp(1, rest.len()));
                if sender.write_all(piece).await.is_err() {
                    break; // The reader has seen enough.
                }
                tokio::task::yield_now().await;
                rest = later;
            }
            drop(sender);
        };
        let reading = async {
            let mut reader = FrameReader::new(receiver, FrameLimits::to_host(1 << 20));
            let mut frames = Vec::new();
            loop {
                match reader.next_frame().await {
                    Ok(frame) => frames.push(frame),
                    Err(error) => return (frames, error),
                }
            }
        };
        let ((), read) = tokio::join!(sending, reading);
        read
    })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    (vec(any::<u8>(), 0..300), vec(vec(any::<u8>(), 0..3000), 0..4))
        .prop_map(|(header, blobs)| Frame { header, blobs: blobs.into_iter().map(Bytes::from).collect() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn split_and_merged_frames_arrive_whole(
        frames in vec(any_frame(), 0..5),
        pieces in vec(1usize..2000, 1..6),
    ) {
        let (read, error) = read_in_pieces(&bytes_of(&frames), &pieces);
        prop_assert_eq!(read, frames);
        let at_the_end = matches!(error, FrameError::Ended { in_frame: false });
        prop_assert!(at_the_end);
    }

    #[test]
    fn a_truncated_frame_is_not_a_frame(frame in any_frame(), at in any::<prop::sample::Index>()) {
        let bytes = bytes_of(std::slice::from_ref(&frame));
        let (read, error) = read_in_pieces(&bytes[..at.index(bytes.len())], &[100_000]);
        prop_assert!(read.is_empty());
        let expected = at.index(bytes.len()) > 0;
        let ended = matches!(error, FrameError::Ended { in_frame } if in_frame == expected);
        prop_assert!(ended);
    }

    #[test]
    fn garbage_never_panics_and_never_reads_as_more_than_it_is(bytes in vec(any::<u8>(), 0..2000)) {
        let (read, _) = read_in_pieces(&bytes, &[500]);
        let total: usize = read.iter().map(|frame| frame.header.len()).sum();
        prop_assert!(total <= bytes.len());
    }

    #[test]
    fn dropping_a_read_loses_nothing(frame in any_frame(), cut in any::<prop::sample::Index>()) {
        let bytes = bytes_of(std::slice::from_ref(&frame));
        let (first, second) = bytes.split_at(cut.index(bytes.len()));
        let read = run(async {
            let (mut sender, receiver) = tokio::io::duplex(1 << 16);
            let mut reader = FrameReader::new(receiver, FrameLimits::to_host(1 << 20));
            sender.write_all(first).await.unwrap();
            let limit = std::time::Duration::from_millis(1);
            let pending = tokio::time::timeout(limit, reader.next_frame()).await;
            assert!(pending.is_err(), "half a frame is no frame");
            sender.write_all(second).await.unwrap();
            reader.next_frame().await
        });
        prop_assert_eq!(read.unwrap(), frame);
    }
}

/// Reads frames of at most 1000 bytes and 4 blobs, handing the reader pieces of a size.
fn read_small(bytes: &[u8], piece: usize) -> Vec<Result<Frame, FrameError>> {
    run(async {
        let (mut sender, receiver) = tokio::io::duplex(piece);
        let mut limits = FrameLimits::to_host(1000);
        limits.max_blobs = 4;
        let mut reader = FrameReader::new(receiver, limits);
        let sending = async {
            sender.write_all(bytes).await.unwrap();
            drop(sender);
        };
        let reading = async {
            let mut read = Vec::new();
            loop {
                let frame = reader.next_frame().await;
                let last = !matches!(frame, Ok(_) | Err(FrameError::TooLarge { .. }));
                read.push(frame);
                if last {
                    return read;
                }
            }
        };
        tokio::join!(sending, reading).1
    })
}

#[test]
fn a_frame_over_a_limit_is_read_past_and_its_beginning_kept() {
    let frame = |header: usize, blobs: &[usize]| Frame {
        header: vec![b'h'; header],
        blobs: blobs.iter().map(|&size| vec![b'b'; size].into()).collect(),
    };
    let small = frame(10, &[20, 0]);
    for large in [frame(1001, &[]), frame(9000, &[5]), frame(2, &[3000]), frame(3, &[0; 5]), frame(0, &[999])]
    {
        let bytes = bytes_of(&[small.clone(), large.clone(), small.clone()]);
        for piece in [1, 7, 100_000] {
            let read = read_small(&bytes, piece);
            let [Ok(first), Err(FrameError::TooLarge { head, problem }), Ok(last), Err(_)] = &read[..] else {
                panic!("{read:?}");
            };
            assert_eq!((first, last), (&small, &small));
            assert_eq!(head, &large.header[..large.header.len().min(HEAD)]);
            assert!(!problem.is_empty());
        }
    }
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for blobs in [2u32, 5] {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(2u32.to_be_bytes());
        bytes.extend(blobs.to_be_bytes());
        bytes.extend(u64::MAX.to_be_bytes().repeat(blobs as usize));
        assert!(matches!(read_small(&bytes, 100)[..], [Err(FrameError::Invalid(_))]));
    }
}

#[test]
fn what_is_no_frame_is_shown_escaped() {
    let (_, error) = read_in_pieces(b"hello\x1b[31m\n", &[100]);
    assert_eq!(error.to_string(), "not a message of the protocol: it begins with \"hello\\u{1b}[31m\\n\"");
}
