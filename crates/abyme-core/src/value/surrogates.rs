//! Halves of surrogate pairs, which JSON can escape, and UTF-8 cannot hold.

use std::{
    borrow::Cow,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// The length of an escape, as in `\ud83d`.
const ESCAPE: usize = 6;

/// JSON in which each escape for one half of a surrogate pair without the other is a question mark, as
/// everywhere in Abyme. Python's `json` writes such escapes, `serde_json` refuses them.
///
/// ```
/// use abyme_core::without_lone_surrogates;
///
/// assert_eq!(*without_lone_surrogates(br#"["a\ud83d", "\ud83d\ude00"]"#), *br#"["a?", "\ud83d\ude00"]"#);
/// ```
#[must_use]
pub fn without_lone_surrogates(json: &[u8]) -> Cow<'_, [u8]> {
    mend(json, true).0
}

/// A stream of JSON, read as [`without_lone_surrogates`] makes it. All bytes are passed on as soon as they
/// come, but for the beginning of an escape or of a pair, which no message ends with.
#[derive(Debug)]
pub struct WithoutLoneSurrogates<R> {
    read: R,
    /// The beginning of an escape or of a pair, whose rest is to come.
    begun: Vec<u8>,
    /// What is mended and was not asked for yet.
    mended: Bytes,
}

impl<R> WithoutLoneSurrogates<R> {
    /// Reads from `read`.
    pub fn new(read: R) -> Self {
        Self { read, begun: Vec::new(), mended: Bytes::new() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for WithoutLoneSurrogates<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        while this.mended.is_empty() && buffer.remaining() > 0 {
            ready!(Pin::new(&mut this.read).poll_read(context, buffer))?;
            let piece = &buffer.filled()[before..];
            let is_end = piece.is_empty();
            if this.begun.is_empty() && !piece.contains(&b'\\') {
                return Poll::Ready(Ok(()));
            }
            this.begun.extend_from_slice(piece);
            buffer.set_filled(before);
            let (mended, end) = mend(&this.begun, is_end);
            this.mended = Bytes::from(mended.into_owned());
            this.begun.drain(..end);
        }
        let length = this.mended.len().min(buffer.remaining());
        buffer.put_slice(&this.mended.split_to(length));
        Poll::Ready(Ok(()))
    }
}

/// What is mended, and where it ends: before an escape or a pair that more bytes could complete, unless this
/// is the end.
fn mend(json: &[u8], is_end: bool) -> (Cow<'_, [u8]>, usize) {
    let surrogate = |at: usize| {
        let [b'\\', b'u', digits @ ..] = json.get(at..at + ESCAPE)? else { return None };
        let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        (0xd800..0xe000).contains(&unit).then_some(unit)
    };
    let (mut mended, mut kept, mut at, mut end) = (Vec::new(), 0, 0, json.len());
    while let Some(next) = json[at..].iter().position(|&byte| byte == b'\\') {
        at += next;
        if !is_end && is_beginning(&json[at..]) {
            end = at;
            break;
        }
        match (surrogate(at), surrogate(at + ESCAPE)) {
            (Some(0..0xdc00), Some(0xdc00..)) => at += 2 * ESCAPE,
            (Some(_), _) => {
                mended.extend_from_slice(&json[kept..at]);
                mended.push(b'?');
                at += ESCAPE;
                kept = at;
            }
            // What is escaped may itself be a backslash.
            (None, _) => at = json.len().min(at + 2),
        }
    }
    if kept == 0 {
        return (Cow::Borrowed(&json[..end]), end);
    }
    mended.extend_from_slice(&json[kept..end]);
    (Cow::Owned(mended), end)
}

/// Whether this is less than a pair of escapes, and nothing else.
fn is_beginning(json: &[u8]) -> bool {
    json.len() < 2 * ESCAPE
        && json.iter().enumerate().all(|(index, byte)| match index % ESCAPE {
            0 => *byte == b'\\',
            1 => *byte == b'u',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What is written, and what is read.
    const CASES: &[(&str, &str)] = &[
        (r#""ab\ud83d""#, r#""ab?""#),
        (r#""\ud83d\ude00 \udc00\ud83dy""#, r#""\ud83d\ude00 ??y""#),
        (r#""\ud83d\ud83d\ude00""#, r#""?\ud83d\ude00""#),
        (r#""\\ud83d \\\ud83d\n \uD83D\u0041""#, r#""\\ud83d \\?\n ?\u0041""#),
        (r#""\u00e9 \ud83 \"#, r#""\u00e9 \ud83 \"#),
        (r#"\ud83d"#, "?"),
        ("no escape", "no escape"),
    ];

    #[test]
    fn half_of_a_surrogate_pair_is_a_question_mark() {
        for (json, expected) in CASES {
            let mended = without_lone_surrogates(json.as_bytes());
            assert_eq!(String::from_utf8_lossy(&mended), *expected, "{json}");
            assert_eq!(matches!(mended, Cow::Borrowed(_)), json == expected, "{json}");
        }
    }

    #[tokio::test]
    async fn a_stream_may_come_in_any_pieces() {
        for (json, expected) in CASES {
            for piece in 1..=json.len() {
                for asked in [1, 7, 8_192] {
                    let (mut writer, reader) = tokio::io::duplex(piece);
                    let writing = async {
                        writer.write_all(json.as_bytes()).await.unwrap();
                        drop(writer);
                    };
                    let reading = async {
                        let mut reader = WithoutLoneSurrogates::new(reader);
                        let (mut read, mut buffer) = (Vec::new(), vec![0; asked]);
                        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                            read.extend_from_slice(&buffer[..length]);
                        }
                        read
                    };
                    let (read, ()) = tokio::join!(reading, writing);
                    assert_eq!(String::from_utf8_lossy(&read), *expected, "{json} in pieces of {piece}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_message_is_not_waited_for() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut reader = WithoutLoneSurrogates::new(reader);
        for message in ["{\"a\": \"\\ud83d\"}\n", "\"\\\\\"\n", "1\n"] {
            writer.write_all(message.as_bytes()).await.unwrap();
            let mut buffer = [0; 64];
            let length = reader.read(&mut buffer).await.unwrap();
            assert_eq!(buffer[..length], *message.replace("\\ud83d", "?").as_bytes());
        }
    }
}
