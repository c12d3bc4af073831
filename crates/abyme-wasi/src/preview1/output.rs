//! The output of a guest on descriptors 1 and 2: its start and its end, in bounded memory.

use std::{collections::VecDeque, fmt};

/// Default number of bytes kept from each end of a stream.
const WINDOW: usize = 256 * 1024;

/// What a guest wrote to one stream. It is cut only between characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedOutput {
    /// The start of the output, or all of it.
    pub head: Vec<u8>,
    /// How many characters are left out between `head` and `tail`.
    pub omitted_chars: u64,
    /// The end of the output, empty if `head` is all of it.
    pub tail: Vec<u8>,
}

/// Collects what a guest writes to one stream.
pub(crate) struct OutputCapture {
    window: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Characters between `head` and `tail`.
    omitted: u64,
    /// Whether bytes were left out, if only a part of one character.
    cut: bool,
}

impl Default for OutputCapture {
    fn default() -> Self {
        Self { window: WINDOW, head: Vec::new(), tail: VecDeque::new(), omitted: 0, cut: false }
    }
}

impl OutputCapture {
    /// Sets how many bytes to keep from each end.
    pub(crate) fn set_window(&mut self, bytes: usize) {
        self.window = bytes;
        let (head, tail) = (std::mem::take(&mut self.head), std::mem::take(&mut self.tail));
        if !self.cut {
            self.write(&head);
            self.write_all(tail);
            return;
        }
        let (kept, rest) = head.split_at(head.len().min(bytes));
        self.head = kept.to_vec();
        self.omitted += characters(rest);
        self.write_all(tail);
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty() && !self.cut
    }

    /// Adds to the stream.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        if !self.cut && self.tail.is_empty() {
            let (first, rest) = bytes.split_at(bytes.len().min(self.window.saturating_sub(self.head.len())));
            self.head.extend_from_slice(first);
            bytes = rest;
        }
        // Bytes that the following ones would push out are skipped.
        let (skipped, last) = bytes.split_at(bytes.len().saturating_sub(self.window));
        let excess = (self.tail.len() + last.len()).saturating_sub(self.window);
        if excess > 0 {
            self.cut = true;
            let (one, two) = self.tail.as_slices();
            let from_one = excess.min(one.len());
            self.omitted += characters(&one[..from_one]) + characters(&two[..excess - from_one]);
            self.tail.drain(..excess);
        }
        if !skipped.is_empty() {
            self.cut = true;
            self.omitted += characters(skipped);
        }
        self.tail.extend(last);
    }

    /// Takes the output since the last call. `None` if nothing was written.
    pub(crate) fn take(&mut self) -> Option<CapturedOutput> {
        let Self { head, tail, omitted, cut, .. } =
            std::mem::replace(self, Self { window: self.window, ..Self::default() });
        let (mut head, mut tail, mut omitted_chars) = (head, Vec::from(tail), omitted);
        if !cut {
            head.append(&mut tail);
            return (!head.is_empty()).then_some(CapturedOutput { head, omitted_chars, tail });
        }
        let whole = whole_characters(&head);
        omitted_chars += characters(&head[whole..]);
        head.truncate(whole);
        // The rest of a character whose start was left out and counted.
        let rest = tail.iter().take(3).take_while(|byte| !starts_character(**byte)).count();
        tail.drain(..rest);
        Some(CapturedOutput { head, omitted_chars, tail })
    }

    fn write_all(&mut self, bytes: VecDeque<u8>) {
        let (one, two) = bytes.as_slices();
        self.write(one);
        self.write(two);
    }
}

impl fmt::Debug for OutputCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} + {} bytes, {} characters left out>", self.head.len(), self.tail.len(), self.omitted)
    }
}

/// How many characters start in `bytes`.
fn characters(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| starts_character(**byte)).count() as u64
}

fn starts_character(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

/// The length of `bytes` without an incomplete character at its end.
fn whole_characters(bytes: &[u8]) -> usize {
    let Some(start) = bytes.iter().rposition(|byte| starts_character(*byte)) else { return bytes.len() };
    let length = match bytes[start] {
        0b1100_0000..=0b1101_1111 => 2,
        0b1110_0000..=0b1110_1111 => 3,
        0b1111_0000..=0b1111_0111 => 4,
        _ => 1,
    };
    if start + length > bytes.len() { start } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output(window: usize, parts: &[&str]) -> Option<(String, u64, String)> {
        let mut output = OutputCapture::default();
        output.set_window(window);
        for part in parts {
            output.write(part.as_bytes());
        }
        output.take().map(text)
    }

    fn text(output: CapturedOutput) -> (String, u64, String) {
        let CapturedOutput { head, omitted_chars, tail } = output;
        (String::from_utf8(head).unwrap(), omitted_chars, String::from_utf8(tail).unwrap())
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(output(5, &[]), None);
        assert_eq!(output(5, &["", ""]), None);
        let mut output = OutputCapture::default();
        output.write(b"x");
        assert!(output.take().is_some());
        assert!(output.take().is_none());
    }

    #[test]
    fn what_fits_is_kept_in_one_piece() {
        assert_eq!(output(5, &["abc", "defghij"]), Some(("abcdefghij".into(), 0, String::new())));
        assert_eq!(output(2, &["é", "é"]), Some(("éé".into(), 0, String::new())));
    }

    #[test]
    fn the_middle_goes() {
        assert_eq!(output(2, &["abcdefg"]), Some(("ab".into(), 3, "fg".into())));
        assert_eq!(output(2, &["a", "b", "c", "d", "e", "f", "g"]), Some(("ab".into(), 3, "fg".into())));
        assert_eq!(output(0, &["abc"]), Some((String::new(), 3, String::new())));
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(output(3, &["é€é"]), Some(("é".into(), 1, "é".into())));
        assert_eq!(output(3, &["€€€"]), Some(("€".into(), 1, "€".into())));
        assert_eq!(output(5, &["😀😀😀"]), Some(("😀".into(), 1, "😀".into())));
        assert_eq!(output(1, &["😀"]), Some((String::new(), 1, String::new())));
    }

    #[test]
    fn what_is_not_text_is_kept_as_it_is() {
        let mut output = OutputCapture::default();
        output.set_window(4);
        output.write(&[0x80; 20]);
        let CapturedOutput { head, omitted_chars, tail } = output.take().unwrap();
        assert_eq!((head, omitted_chars, tail.len()), (vec![0x80; 4], 0, 1));
        output.write(&[0xff; 20]);
        let expected = CapturedOutput { head: vec![0xff; 4], omitted_chars: 12, tail: vec![0xff; 4] };
        assert_eq!(output.take().unwrap(), expected);
    }

    #[test]
    fn much_output_takes_no_more_memory() {
        let mut output = OutputCapture::default();
        let mebibyte = vec![b'x'; 1 << 20];
        for _ in 0..32 {
            output.write(&mebibyte);
        }
        for _ in 0..10_000 {
            output.write(b"y");
        }
        assert!(output.head.capacity() + output.tail.capacity() <= 4 * WINDOW);
        let CapturedOutput { head, omitted_chars, tail } = output.take().unwrap();
        assert_eq!(head.len() as u64 + omitted_chars + tail.len() as u64, (32 << 20) + 10_000);
        assert!(tail.ends_with(b"yyy"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_counted_twice(
            parts in prop::collection::vec("[aé€😀]{0,12}", 0..12),
            windows in prop::collection::vec((0..12_usize, 0..30_usize), 0..3),
        ) {
            let mut output = OutputCapture::default();
            output.set_window(windows.first().map_or(7, |(_, window)| *window));
            for (index, part) in parts.iter().enumerate() {
                if let Some((_, window)) = windows.iter().find(|(at, _)| *at == index) {
                    output.set_window(*window);
                }
                output.write(part.as_bytes());
            }
            let all = parts.concat();
            match output.take().map(text) {
                None => prop_assert!(all.is_empty()),
                Some((head, omitted, tail)) => {
                    prop_assert!(all.starts_with(&head));
                    prop_assert!(all.ends_with(&tail));
                    let kept = head.chars().count() + tail.chars().count();
                    prop_assert_eq!(kept as u64 + omitted, all.chars().count() as u64);
                }
            }
        }
    }
}
