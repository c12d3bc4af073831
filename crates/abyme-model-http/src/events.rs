//! Streams of server-sent events, read from bytes.
//!
//! Servers write more than the standard allows: fields that nobody knows, texts that are cut in the middle of
//! a character. None of that costs an event. What comes is bounded by the reader of the body.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty if it names none.
    pub name: String,
    /// Its data. Several lines of data are joined by line breaks.
    pub data: String,
}

/// Takes bytes as they come and gives the events that they complete.
#[derive(Debug, Default)]
pub struct EventParser {
    /// The line that is not complete.
    line: Vec<u8>,
    /// Whether the last byte was a `\r`, which a `\n` may follow.
    after_return: bool,
    name: String,
    data: Option<String>,
}

impl EventParser {
    /// Takes the next bytes. Events that become complete are added to `events`.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut impl Extend<Event>) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.line.extend_from_slice(bytes);
            };
            self.after_return = bytes[end] == b'\r';
            if self.line.is_empty() {
                events.extend(self.take_line(&bytes[..end]));
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.line);
                events.extend(self.take_line(&line));
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// Takes the end of the stream. An event that no empty line completes counts all the same: servers forget
    /// it after the last one.
    pub fn end(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let before = self.take_line(&line);
        before.or_else(|| self.take_event())
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Event> {
        if line.is_empty() {
            return self.take_event();
        }
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match &line[..colon] {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                None => self.data = Some(value.into_owned()),
            },
            b"event" => self.name = value.into_owned(),
            // A comment, or a field that means nothing here.
            _ => {}
        }
        None
    }

    fn take_event(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        self.data.take().map(|data| Event { name, data })
    }
}

/// The events of a whole body; none if it is no stream of events.
pub(crate) fn events(body: &str) -> Vec<Event> {
    let mut events = Vec::new();
    if ["data:", "event:", ":"].iter().any(|start| body.trim_start_matches('\u{feff}').starts_with(start)) {
        let mut parser = EventParser::default();
        parser.push(body.as_bytes(), &mut events);
        events.extend(parser.end());
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    /// The events of bytes that come in pieces of this size.
    fn parsed(bytes: &[u8], size: usize) -> Vec<Event> {
        let (mut parser, mut events) = (EventParser::default(), Vec::new());
        bytes.chunks(size).for_each(|piece| parser.push(piece, &mut events));
        events.extend(parser.end());
        events
    }

    #[test]
    fn events_however_they_are_cut() {
        let stream = "\u{feff}: comment\r\n\r\nevent: a\r\ndata: {\"x\": \"é😀\"}\r\n\r\ndata:1\ndata: 2\n\
            id: 7\nretry: x\nunknown\n\n\n\nevent: dropped\n\ndata\r\rdata: last";
        let expected = [event("a", "{\"x\": \"é😀\"}"), event("", "1\n2"), event("", ""), event("", "last")];
        for size in 1..stream.len() {
            assert_eq!(parsed(stream.as_bytes(), size), expected, "{size}");
        }
    }

    #[test]
    fn half_a_character_costs_only_itself() {
        assert_eq!(parsed(b"data: a\xf0\x9f\n\ndata: b", 1), [event("", "a\u{fffd}"), event("", "b")]);
        assert_eq!(parsed(b"data: a\xf0\x9f", 3), [event("", "a\u{fffd}")]);
    }

    #[test]
    fn a_body_that_is_no_stream_has_none() {
        assert_eq!(events("{\"data\": 1}\n\ndata: 2\n\n"), []);
        assert_eq!(events("data: 2"), [event("", "2")]);
    }
}
