//! Text in any encoding, and where a place in it is in the file.

use std::borrow::Cow;

use abyme_core::Text;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// How much of a file its encoding is guessed from.
const GUESS_BYTES: usize = 1 << 20;
/// How much before the first byte that is no UTF-8 the guess begins.
const GUESS_BEFORE: usize = 1 << 10;

/// A text, and how the file has it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) text: Text,
    encoding: &'static Encoding,
    /// Bytes of a byte order mark, which is no part of the text.
    mark: usize,
    /// Whether something could not be read and became `U+FFFD`.
    is_damaged: bool,
    /// Whether `encoding` was guessed.
    is_guess: bool,
}

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoText {
    Binary,
    Utf32,
}

/// Whether a file that begins like this can be text at all.
pub(crate) fn check_head(head: &[u8]) -> Result<(), NoText> {
    if head.starts_with(b"\xff\xfe\0\0") || head.starts_with(b"\0\0\xfe\xff") {
        return Err(NoText::Utf32);
    }
    if Encoding::for_bom(head).is_some() || unmarked_utf16(head).is_some() {
        return Ok(());
    }
    // Escapes are in logs of terminals, form feeds in old texts.
    let is_control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    let controls = head.iter().filter(|&&byte| is_control(byte)).count();
    if head.contains(&0) || controls * 20 > head.len() { Err(NoText::Binary) } else { Ok(()) }
}

/// Reads text, in the encoding that its mark, its bytes, itself (`declared`) or else a guess says.
pub(crate) fn decode(bytes: Vec<u8>, declared: Option<&'static Encoding>) -> Decoded {
    let (encoding, mark) = match Encoding::for_bom(&bytes) {
        Some((encoding, mark)) => (Some(encoding), mark),
        None => (unmarked_utf16(&bytes), 0),
    };
    if let Some(encoding) = encoding.filter(|encoding| *encoding != UTF_8) {
        let (text, is_damaged) = encoding.decode_without_bom_handling(&bytes[mark..]);
        return Decoded { text: text.into(), encoding, mark, is_damaged, is_guess: mark == 0 };
    }
    let mut bytes = bytes;
    bytes.drain(..mark);
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => {
            return Decoded { text: text.into(), encoding: UTF_8, mark, is_damaged: false, is_guess: false };
        }
        Err(error) => error.into_bytes(),
    };
    // One that is declared as UTF-8 or UTF-16 is none: that would have been seen.
    let declared = declared.filter(|encoding| ![UTF_8, UTF_16LE, UTF_16BE].contains(encoding));
    let encoding = declared.unwrap_or_else(|| guess(&bytes));
    let (text, is_damaged) = match encoding {
        encoding if encoding == UTF_8 => (String::from_utf8_lossy(&bytes), true),
        encoding => encoding.decode_without_bom_handling(&bytes),
    };
    Decoded { text: text.into(), encoding, mark, is_damaged, is_guess: declared.is_none() }
}

impl Decoded {
    /// A text that was made here, and is in no file.
    pub(crate) fn of(text: String) -> Self {
        Self { text: text.into(), encoding: UTF_8, mark: 0, is_damaged: false, is_guess: false }
    }

    /// What is worth saying of the encoding; nothing of plain UTF-8.
    pub(crate) fn note(&self) -> Option<String> {
        let damaged = if self.is_damaged { ", with characters that cannot be read" } else { "" };
        match (self.name(), self.mark) {
            ("UTF-8", 0) if !self.is_damaged => None,
            ("UTF-8", mark) if mark > 0 && !self.is_damaged => {
                Some("UTF-8 with a byte order mark".to_owned())
            }
            (name, _) if self.is_guess => Some(format!("taken for {name}{damaged}")),
            (name, _) => Some(format!("{name}{damaged}")),
        }
    }

    fn name(&self) -> &'static str {
        // Where Windows' characters do not occur, the two are the same.
        let is_latin = || !self.text.chars().any(|char| char as u32 > 0xff);
        if self.encoding == WINDOWS_1252 && is_latin() { "Latin-1" } else { self.encoding.name() }
    }

    /// The byte of the file at which the byte `at` of the text is, if that can be said.
    pub(crate) fn byte_in_file(&self, at: usize) -> Option<u64> {
        let before = self.text.get(..at).filter(|_| !self.is_damaged)?;
        let bytes = if self.encoding == UTF_8 {
            before.len()
        } else if [UTF_16LE, UTF_16BE].contains(&self.encoding) {
            2 * before.encode_utf16().count()
        } else if self.encoding.is_single_byte() {
            before.chars().count()
        } else {
            match self.encoding.encode(before) {
                (Cow::Owned(bytes), _, false) => bytes.len(),
                (Cow::Borrowed(bytes), _, false) => bytes.len(),
                _ => return None,
            }
        };
        Some((self.mark + bytes) as u64)
    }
}

/// UTF-16 without a mark: nearly all texts have many characters below 256, every second byte of which is 0.
fn unmarked_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(4 << 10)];
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let many = head.len() >= 4 && (even + odd) * 10 > head.len() * 3;
    match (even, odd) {
        (0, _) if many => Some(UTF_16LE),
        (_, 0) if many => Some(UTF_16BE),
        _ => None,
    }
}

/// The encoding of a text without a mark that is no valid UTF-8.
fn guess(bytes: &[u8]) -> &'static Encoding {
    let first = bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
    let from = first.saturating_sub(GUESS_BEFORE);
    let part = &bytes[from..bytes.len().min(from + GUESS_BYTES)];
    // A few bad bytes among many good characters are damage: a log that was cut, say.
    let (mut bad, mut good) = (0, 0);
    for chunk in part.utf8_chunks() {
        bad += usize::from(!chunk.invalid().is_empty());
        good += chunk.valid().chars().filter(|char| !char.is_ascii()).count();
    }
    if bad * 10 < good {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(part, true);
    detector.guess(None, Utf8Detection::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, its note, and the byte of the file where the text `at` begins.
    fn read(bytes: &[u8], at: &str) -> (String, Option<String>, Option<u64>) {
        check_head(&bytes[..bytes.len().min(8192)]).unwrap();
        let decoded = decode(bytes.to_vec(), None);
        let byte = decoded.text.find(at).and_then(|at| decoded.byte_in_file(at));
        (decoded.text.to_string(), decoded.note(), byte)
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn encodings_are_recognised_and_bytes_counted_in_the_file() {
        let text = "Zürich, naïve café: where the fee is 20 €\nend";
        let marked = [b"\xff\xfe".to_vec(), utf16(text, u16::to_le_bytes)].concat();
        let windows = WINDOWS_1252.encode(text).0.into_owned();
        for (bytes, note, byte) in [
            (text.as_bytes().to_vec(), None, 47),
            ([b"\xef\xbb\xbf", text.as_bytes()].concat(), Some("UTF-8 with a byte order mark"), 50),
            (marked, Some("UTF-16LE"), 86),
            (utf16(text, u16::to_be_bytes), Some("taken for UTF-16BE"), 84),
            (windows, Some("taken for windows-1252"), 42),
        ] {
            let expected = (text.to_owned(), note.map(str::to_owned), Some(byte));
            assert_eq!(read(&bytes, "end"), expected);
        }
        let latin = "Das Gebäude gehört der Gemeinde Zürich; die Straße heißt Rue de la Liberté.".repeat(3);
        let bytes: Vec<u8> = latin.chars().map(|char| char as u32 as u8).collect();
        assert_eq!(read(&bytes, "gehört"), (latin, Some("taken for Latin-1".into()), Some(12)));
    }

    #[test]
    fn other_alphabets_are_guessed() {
        for (encoding, text) in [
            (encoding_rs::SHIFT_JIS, "これは日本語の文章です。料金は二十円です。東京の天気は晴れです。"),
            (encoding_rs::WINDOWS_1251, "Это русский текст. Плата составляет двадцать рублей в месяц."),
        ] {
            let (bytes, ..) = encoding.encode(text);
            let (read, note, _) = read(&bytes, text);
            assert_eq!((read, note), (text.to_owned(), Some(format!("taken for {}", encoding.name()))));
        }
    }

    #[test]
    fn what_is_damaged_is_read_and_said() {
        let mut bytes = "über älter schön größer ".repeat(20).into_bytes();
        bytes.truncate(bytes.len() - 3);
        bytes.insert(0, 0xb6);
        let (text, note, byte) = read(&bytes, "älter");
        assert!(text.starts_with('\u{fffd}') && note.unwrap().contains("cannot be read"), "{text}");
        assert_eq!(byte, None, "the characters do not tell where it is");
    }

    #[test]
    fn what_is_no_text() {
        assert_eq!(check_head(b"\x00\x01\x02\x03binary"), Err(NoText::Binary));
        assert_eq!(check_head(&[7, 1, 2, 3, 200, 201].repeat(100)), Err(NoText::Binary));
        assert_eq!(check_head(b"\xff\xfe\0\0a\0\0\0"), Err(NoText::Utf32));
        assert_eq!(check_head(b"\x1b[1mbold\x1b[0m of a terminal"), Ok(()));
    }
}
