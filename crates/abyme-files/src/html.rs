//! The text of HTML pages, and where in a page each part of it stands.

use std::convert::Infallible;

use abyme_core::Text;
use encoding_rs::Encoding;
use html5gum::{
    Span, Token, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};

/// How far into a page its encoding is declared, as the HTML standard has it.
const DECLARATION_BYTES: usize = 1 << 10;

/// What a reader sees of a page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    text: Text,
    /// Where parts of the text stand: a byte of the text, and its byte in the source. What follows stands
    /// behind it, up to the next.
    places: Vec<(usize, usize)>,
}

impl Page {
    /// The text of a page. `is_xml` if it is XHTML, where any tag can end itself.
    pub(crate) fn of(source: &str, is_xml: bool) -> Self {
        let mut reader = PageReader::new(source, is_xml);
        let emitter = |event: CallbackEvent<'_>, span: Span<usize>| -> Option<Infallible> {
            reader.take(&event, span);
            None
        };
        let mut emitter = CallbackEmitter::new(emitter);
        // In XHTML scripts are text like any other, and may end with their tag.
        emitter.naively_switch_states(!is_xml);
        // It has no tokens, and a text cannot fail to be read.
        Tokenizer::new_with_emitter(source, emitter).for_each(drop);
        Self { text: reader.text.into(), places: reader.places }
    }

    pub(crate) fn text(&self) -> &Text {
        &self.text
    }

    /// The byte of the source where the byte `at` of the text stands.
    pub(crate) fn in_source(&self, at: usize) -> usize {
        let next = self.places.partition_point(|(text, _)| *text <= at);
        let place = next.checked_sub(1).and_then(|index| self.places.get(index));
        place.map_or(0, |(text, source)| source + (at - text))
    }
}

/// The encoding that a page says it has.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head).into_owned();
    let after = |name: &str| head.find(name).map(|at| &head[at + name.len()..]);
    let value = after("charset").or_else(|| after("encoding"))?.trim_start().strip_prefix('=')?;
    let value = value.trim_start_matches([' ', '"', '\'']);
    let end = value.find(|char: char| !(char.is_ascii_alphanumeric() || "-_:.".contains(char)));
    Encoding::for_label(&value.as_bytes()[..end.unwrap_or(value.len())])
}

/// Whether a file that begins like this is a page, whatever its name.
pub(crate) fn is_page(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|start| head.get(..start.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(start)))
}

/// What stands between two texts of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

/// Reads a page, token by token.
#[derive(Debug)]
struct PageReader<'a> {
    source: &'a str,
    is_xml: bool,
    text: String,
    places: Vec<(usize, usize)>,
    gap: Gap,
    /// Cells of a table that ended since the last text.
    tabs: usize,
    /// Whether the next cell is the first of its row.
    is_first_cell: bool,
    /// Whether nothing stands in its cell yet.
    is_cell_empty: bool,
    /// The element that is not shown, and how many of its name are open.
    hidden: Option<(Vec<u8>, usize)>,
    /// How many elements are open that keep their spaces.
    preformatted: usize,
    /// The tag that begins.
    tag: Vec<u8>,
}

impl<'a> PageReader<'a> {
    fn new(source: &'a str, is_xml: bool) -> Self {
        Self {
            source,
            is_xml,
            text: String::new(),
            places: Vec::new(),
            gap: Gap::None,
            tabs: 0,
            is_first_cell: true,
            is_cell_empty: false,
            hidden: None,
            preformatted: 0,
            tag: Vec::new(),
        }
    }

    fn take(&mut self, event: &CallbackEvent<'_>, span: Span<usize>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag.clear();
                self.tag.extend_from_slice(name);
            }
            CallbackEvent::CloseStartTag { self_closing } => {
                let tag = std::mem::take(&mut self.tag);
                self.begin(&tag, *self_closing && self.is_xml);
                self.tag = tag;
            }
            CallbackEvent::EndTag { name } => self.end(name),
            CallbackEvent::String { .. } if self.hidden.is_none() => {
                if let Some(raw) = self.source.get(span.start..span.end) {
                    self.add(raw, span.start);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, tag: &[u8], is_ended: bool) {
        match &mut self.hidden {
            Some((hidden, open)) if hidden == tag => *open += usize::from(!is_ended),
            Some(_) => {}
            None if is_hidden(tag) => self.hidden = (!is_ended).then(|| (tag.to_vec(), 1)),
            None => {
                self.preformatted += usize::from(is_preformatted(tag) && !is_ended);
                self.bound(tag);
                if matches!(tag, b"td" | b"th") {
                    self.begin_cell();
                }
            }
        }
    }

    fn end(&mut self, tag: &[u8]) {
        if let Some((hidden, open)) = &mut self.hidden {
            *open -= usize::from(hidden == tag);
            if *open == 0 {
                self.hidden = None;
            }
            return;
        }
        self.preformatted = self.preformatted.saturating_sub(usize::from(is_preformatted(tag)));
        self.bound(tag);
    }

    /// A tag that begins or ends.
    fn bound(&mut self, tag: &[u8]) {
        if matches!(tag, b"tr" | b"table") {
            (self.is_first_cell, self.is_cell_empty, self.tabs) = (true, false, 0);
        }
        // What is a paragraph of its own in a cell begins with the cell.
        if !self.is_cell_empty {
            self.gap = self.gap.max(gap(tag));
        }
    }

    fn begin_cell(&mut self) {
        if !std::mem::take(&mut self.is_first_cell) {
            if !self.is_cell_empty {
                self.gap = Gap::None;
            }
            self.tabs += 1;
        }
        self.is_cell_empty = true;
    }

    /// Adds a text, as it is written at this byte of the source.
    fn add(&mut self, raw: &str, at: usize) {
        let mut done = 0;
        while let Some(first) = raw[done..].chars().next() {
            let rest = &raw[done..];
            let length = match first {
                '&' => {
                    let written = reference(rest);
                    let means = meaning(written);
                    let head = means.chars().next().map_or(0, char::len_utf8);
                    self.push(&means[..head], at + done);
                    // Some stand for more characters than one, and what follows may be none of it.
                    self.push(&means[head..], (at + done + written.len() + head).saturating_sub(means.len()));
                    written.len()
                }
                _ if first.is_whitespace() => first.len_utf8(),
                _ => rest.find(|char: char| char == '&' || char.is_whitespace()).unwrap_or(rest.len()),
            };
            if first != '&' {
                self.push(&rest[..length], at + done);
            }
            done += length;
        }
    }

    /// Pushes a word, or a space.
    fn push(&mut self, word: &str, at: usize) {
        /// Where a word may be broken.
        const SOFT_HYPHEN: char = '\u{ad}';
        let mut at = at;
        for piece in word.split_inclusive(|char: char| char == SOFT_HYPHEN || char.is_whitespace()) {
            let shown = piece.trim_end_matches(SOFT_HYPHEN);
            let is_space = shown.chars().all(char::is_whitespace);
            match self.preformatted > 0 {
                _ if shown.is_empty() => {}
                false if is_space && self.is_cell_empty => {}
                false if is_space => self.gap = self.gap.max(Gap::Space),
                // The end of a line is told by the one that follows it.
                true if shown == "\r" => {}
                _ => self.push_shown(shown, at),
            }
            at += piece.len();
        }
    }

    fn push_shown(&mut self, shown: &str, at: usize) {
        if !self.text.is_empty() {
            self.text.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
            self.text.extend(std::iter::repeat_n('\t', self.tabs));
        }
        (self.gap, self.tabs, self.is_cell_empty) = (Gap::None, 0, false);
        let here = self.text.len();
        let is_next = self.places.last().is_some_and(|(text, source)| here - text + source == at);
        if !is_next {
            self.places.push((here, at));
        }
        self.text.push_str(shown);
    }
}

/// What a text begins with that may stand for a character: `&amp;`, `&#38;`, and `&` alone.
fn reference(text: &str) -> &str {
    let name = text[1..].find(|char: char| !(char.is_ascii_alphanumeric() || char == '#'));
    let end = 1 + name.unwrap_or(text.len() - 1);
    &text[..end + usize::from(text[end..].starts_with(';'))]
}

/// What a reference to a character means.
fn meaning(reference: &str) -> String {
    Tokenizer::new(reference)
        .filter_map(|token| match token {
            Ok(Token::String(text)) => Some(String::from_utf8_lossy(&text.value.0).into_owned()),
            _ => None,
        })
        .collect()
}

fn is_hidden(tag: &[u8]) -> bool {
    matches!(tag, b"script" | b"style" | b"template" | b"noscript" | b"iframe" | b"noembed" | b"noframes")
}

fn is_preformatted(tag: &[u8]) -> bool {
    matches!(tag, b"pre" | b"textarea" | b"xmp" | b"listing")
}

/// What stands before and after an element.
fn gap(tag: &[u8]) -> Gap {
    match tag {
        b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"ul" | b"ol" | b"dl" | b"table" | b"pre"
        | b"blockquote" | b"article" | b"section" | b"header" | b"footer" | b"main" | b"aside" | b"nav"
        | b"form" | b"fieldset" | b"figure" | b"hr" | b"details" | b"title" | b"body" | b"xmp" => {
            Gap::Paragraph
        }
        b"div" | b"li" | b"dt" | b"dd" | b"tr" | b"br" | b"option" | b"caption" | b"figcaption"
        | b"summary" | b"legend" | b"address" | b"center" | b"textarea" => Gap::Line,
        _ => Gap::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of a page, after checking that its words stand where it says.
    fn read(source: &str) -> String {
        let page = Page::of(source, false);
        for (text, at) in &page.places {
            assert!(source.is_char_boundary(*at), "{source:?} {:?}", page.places);
            assert!(page.text.is_char_boundary(*text), "{source:?} {:?}", page.places);
        }
        page.text.to_string()
    }

    #[test]
    fn a_page_is_what_is_read_of_it() {
        let page = "<!doctype html>\n<head><title>Plans &amp; fees</title>\n<style>p { color: red }</style>\n\
                    <script>var p = \"<p>no text</p>\";</script></head>\n<body><!-- none -->\n\
                    <h1>Re&shy;fund&nbsp;rates</h1><p>The <b>high</b>est\r\n  rate is \
                    12&#x2009;% &lt; 20.<br>\n\
                    Next<noscript>none</noscript></p><ul><li>one<li>two</ul></body>";
        assert_eq!(
            read(page),
            "Plans & fees\n\nRefund rates\n\nThe highest rate is 12 % < 20.\nNext\n\none\ntwo"
        );
        assert_eq!(
            read("a < b &notin; c&copy d & e &bogus; &#0;"),
            "a < b \u{2209} c\u{a9} d & e &bogus; \u{fffd}"
        );
        assert_eq!(read("<p>a<pre>  x\r\n\ty &gt; z</pre>b"), "a\n\n  x\n\ty > z\n\nb");
        assert_eq!(read("no page at all"), "no page at all");
        assert_eq!(read("<script>only();</script>"), "");
        assert_eq!(read("<template><template>a</template>b</template>c"), "c");
    }

    #[test]
    fn cells_of_a_row_stand_on_one_line() {
        let table = "<table>\n <tr> <th>plan</th> <th> rate </th> <th>by</th> </tr>\n \
                     <tr><td><p>plus</p></td>\n<td></td><td><div>me</div>and you</td></tr>\
                     <tr><td><td>12</td></tr></table>end";
        assert_eq!(read(table), "plan\trate\tby\nplus\t\tme\nand you\n\t12\n\nend");
    }

    /// A script that ends with its own tag, as XHTML has them, would swallow the page.
    #[test]
    fn tags_of_xhtml_can_end_themselves() {
        let page =
            "<html><head><script src=\"a.js\"/><title/></head><body>text<script>no()</script></body></html>";
        assert_eq!(Page::of(page, true).text(), "text");
        assert_eq!(Page::of(page, false).text(), "");
    }

    #[test]
    fn places_are_those_of_the_source() {
        let page = "<p>Gr\u{fc}\u{df}e &auml;us K&ouml;ln &nvlt;x, <b>E</b>nde &NotEqualTilde;.</p>";
        let read = Page::of(page, false);
        for (word, source) in [
            ("Gr", "Gr"),
            ("\u{e4}us", "&auml;us"),
            ("us", "us K"),
            ("ln", "ln"),
            ("x,", "x,"),
            ("Ende", "E</b>"),
            (".", ".</p"),
        ] {
            let at = read.text().find(word).unwrap();
            assert_eq!(read.in_source(at), page.find(source).unwrap(), "{word}");
        }
    }

    #[test]
    fn what_a_page_says_of_itself() {
        let encoding = |text: &str| declared_encoding(text.as_bytes()).map(Encoding::name);
        assert_eq!(encoding("<meta charset=ISO-8859-15>"), Some("ISO-8859-15"));
        let http = "<META http-equiv=Content-Type content='text/html; charset = \"Shift_JIS\"'>";
        assert_eq!(encoding(http), Some("Shift_JIS"));
        assert_eq!(encoding("<?xml version='1.0' encoding='koi8-r'?>"), Some("KOI8-R"));
        assert_eq!(encoding("<p>the charset of a page"), None);
        assert_eq!(encoding("<meta charset=bogus>"), None);
        assert!(is_page(b"\xef\xbb\xbf\n <!DOCTYPE HTML PUBLIC") && is_page(b"<HTML lang=de>"));
        assert!(!is_page(b"text about <html>") && !is_page(b"<htm"));
    }

    proptest! {
        /// Any soup of tags is read, and what is shown of a text stands where it says.
        #[test]
        fn soup(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "<p>", "</p>", "<td>", "<tr>", "<pre>", "</pre>", "<script>", "</script>", "<title>",
                        "<b x='&amp;'>", "<!--", "-->", "&amp;", "&#", "&nvlt;", "&", "<", "</", "\r\n",
                        "\u{ad}", "<template>", "</template>", "<![CDATA[", "]]>", "<br/>", "\0",
                        "<textarea>",
                    ])
                    .prop_map(str::to_owned),
                    "[a-z\u{e4}\u{20ac} ]{1,6}",
                ],
                0..24,
            ),
            is_xml in any::<bool>(),
        ) {
            let source = parts.concat();
            let page = Page::of(&source, is_xml);
            for (at, char) in page.text.char_indices() {
                let place = page.in_source(at);
                prop_assert!(place <= source.len());
                if char.is_ascii_lowercase() && source.is_char_boundary(place) {
                    let rest = &source[place..];
                    let stands_there = rest.starts_with(char) || rest.starts_with('&');
                    prop_assert!(stands_there, "{source:?}: {char} at {place}");
                }
            }
        }
    }
}
