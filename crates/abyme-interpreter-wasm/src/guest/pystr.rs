//! Text in CPython's memory: 1, 2 or 4 bytes for every character, by the widest one.

/// The layout of a text in CPython's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrLayout {
    /// The number of characters.
    pub(crate) chars: usize,
    /// The largest code point of this width, as `PyUnicode_New` takes it.
    pub(crate) max_char: u32,
    /// Bytes of a character.
    pub(crate) width: usize,
}

impl StrLayout {
    /// The layout of a text, by two passes at memory speed.
    pub(crate) fn of(text: &str) -> Self {
        // Of the bytes of a character the first is the largest, and it grows with the code point.
        let (max_char, width) = match text.bytes().max().unwrap_or(0) {
            0..0x80 => return Self { chars: text.len(), max_char: 0x7f, width: 1 },
            0x80..0xc4 => (0xff, 1),
            0xc4..0xf0 => (0xffff, 2),
            0xf0.. => (0x10_ffff, 4),
        };
        Self { chars: text.chars().count(), max_char, width }
    }

    /// Whether the text is in the guest as it is in UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        (self.width, self.max_char) == (1, 0x7f)
    }

    /// Bytes of the text in the guest, without its header.
    pub(crate) fn size(&self) -> usize {
        self.chars * self.width
    }

    /// Writes a part of the text to the beginning of `memory`, which has room for it. Returns how many bytes
    /// it takes there. WebAssembly is little-endian, whatever the host is.
    pub(crate) fn write(&self, part: &str, memory: &mut [u8]) -> usize {
        match (self.width, self.max_char) {
            (1, 0x7f) => {
                memory[..part.len()].copy_from_slice(part.as_bytes());
                part.len()
            }
            (1, _) => write_latin1(part, memory),
            (2, _) => write_utf16(part, memory),
            (_, _) => {
                let mut written = 0;
                for (place, character) in memory.chunks_exact_mut(4).zip(part.chars()) {
                    place.copy_from_slice(&u32::from(character).to_le_bytes());
                    written += 4;
                }
                written
            }
        }
    }
}

/// How many bytes of text are converted at a time: few enough to stay in the processor's cache until they are
/// copied.
const PIECE: usize = 8 << 10;

fn write_latin1(text: &str, memory: &mut [u8]) -> usize {
    let mut at = 0;
    let mut piece = [0_u8; PIECE];
    for part in pieces(text, PIECE) {
        let written = encoding_rs::mem::convert_utf8_to_latin1_lossy(part.as_bytes(), &mut piece);
        memory[at..at + written].copy_from_slice(&piece[..written]);
        at += written;
    }
    at
}

fn write_utf16(text: &str, memory: &mut [u8]) -> usize {
    let mut at = 0;
    // The converter needs room for one unit more than it can ever write.
    let mut piece = [0_u16; PIECE + 1];
    for part in pieces(text, PIECE) {
        let written = encoding_rs::mem::convert_str_to_utf16(part, &mut piece);
        let units = &mut piece[..written];
        units.iter_mut().for_each(|unit| *unit = unit.to_le());
        memory[at..at + 2 * written].copy_from_slice(bytemuck::cast_slice(units));
        at += 2 * written;
    }
    at
}

/// The text in parts of at most `size` bytes, cut between characters.
pub(crate) fn pieces(mut text: &str, size: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (part, rest) = text.split_at(text.floor_char_boundary(size));
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> (StrLayout, Vec<u8>) {
        let layout = StrLayout::of(text);
        let mut memory = vec![0xaa; layout.size()];
        let mut at = 0;
        for part in pieces(text, 100_000) {
            at += layout.write(part, &mut memory[at..]);
        }
        assert_eq!(at, memory.len());
        (layout, memory)
    }

    #[test]
    fn the_widest_character_decides() {
        let width = |text: &str| (StrLayout::of(text).max_char, StrLayout::of(text).width);
        assert_eq!(width(""), (0x7f, 1));
        assert_eq!(width("plain"), (0x7f, 1));
        assert_eq!(width("\u{80}"), (0xff, 1));
        assert_eq!(width("naïve ÿ"), (0xff, 1));
        assert_eq!(width("Ā"), (0xffff, 2));
        assert_eq!(width("日本"), (0xffff, 2));
        assert_eq!(width("\u{ffff}"), (0xffff, 2));
        assert_eq!(width("\u{10000}"), (0x10_ffff, 4));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for unit in ["é", "aé", "日", "a日本", "😀", "é😀a"] {
            let text = unit.repeat(3 * PIECE / unit.len() + 7);
            let (layout, memory) = written(&text);
            assert_eq!(read(layout, &memory), text);
        }
    }

    fn read(layout: StrLayout, memory: &[u8]) -> String {
        let point = |place: &[u8]| {
            let mut bytes = [0; 4];
            bytes[..place.len()].copy_from_slice(place);
            char::from_u32(u32::from_le_bytes(bytes)).unwrap()
        };
        memory.chunks_exact(layout.width).map(point).collect()
    }

    proptest! {
        #[test]
        fn every_text_is_written_as_it_is(text in ".{0,300}") {
            let (layout, memory) = written(&text);
            prop_assert_eq!(layout.chars, text.chars().count());
            prop_assert_eq!(read(layout, &memory), text);
        }
    }
}
