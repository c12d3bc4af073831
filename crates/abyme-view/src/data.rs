//! The data of a page: the records of its runs as JSON that is safe inside of a script element, with each
//! long text once, and cut where all of it would be too much for a browser.

use std::collections::HashMap;

use abyme_core::{Event, Record, Value, trajectory::CallOutcome};
use serde_json::Value as Json;

/// A string that begins with this character is the number of a text; a string that begins with it by itself
/// has it twice.
const REFERENCE: char = '\u{1}';

/// Shorter texts are cheaper where they are than their number and the search for it.
const MIN_TEXT_BYTES: usize = 64;

/// Characters that are kept of a text, in the order in which it is tried what is enough.
const CUTS: [Option<usize>; 4] = [None, Some(20_000), Some(2_000), Some(200)];

/// Characters that are shown of an input.
const MAX_INPUT_CHARS: usize = 2_000;

/// The records of a page.
pub(crate) struct Data {
    /// JSON without its options: `{"files": [...], "texts": [...]`.
    pub(crate) json: String,
    /// What was left out, for each file.
    pub(crate) notes: Vec<Vec<String>>,
}

/// The data of these records in at most about so many bytes.
pub(crate) fn data(files: &[(&str, Vec<&Record>)], max_bytes: usize) -> Data {
    let (last, others) = (CUTS[CUTS.len() - 1], &CUTS[..CUTS.len() - 1]);
    let whole = others.iter().find_map(|cut| {
        let mut writer = Writer::new(*cut, max_bytes);
        let is_whole =
            files.iter().all(|(name, records)| writer.file(name, records, max_bytes) == records.len());
        is_whole.then_some(writer)
    });
    let writer = whole.unwrap_or_else(|| {
        let mut writer = Writer::new(last, max_bytes);
        for (index, (name, records)) in files.iter().enumerate() {
            // Each file has the same share of what is left.
            let share = (max_bytes.saturating_sub(writer.bytes())) / (files.len() - index);
            let most = writer.bytes() + share;
            writer.file(name, records, most);
        }
        writer
    });
    writer.finish()
}

/// A record of a run that goes on, as the page reads it.
#[cfg(feature = "follow")]
pub(crate) fn event(record: &Record) -> String {
    json(record).to_string()
}

/// A record without what a page has no use for: of inputs it shows the beginnings, and what a host call
/// returned it has from the calls of models and children that this made.
fn json(record: &Record) -> Json {
    let mut record = record.clone();
    let summaries = match &mut record.event {
        Event::RunStarted { inputs, .. } => Some(std::mem::take(inputs)),
        Event::HostCallReturned { arguments, outcome, .. } => {
            arguments.clear();
            if let CallOutcome::Result(value) = outcome {
                *value = Value::None;
            }
            None
        }
        _ => None,
    };
    // An event holds only types that JSON can write.
    let mut json = serde_json::to_value(&record).unwrap_or_default();
    if let Some(inputs) = summaries {
        json["inputs"] = inputs.iter().map(|(name, value)| summary(name, value)).collect();
    }
    json
}

fn summary(name: &str, value: &Value) -> Json {
    let (len, shown) = match value {
        Value::Text(text) => (Some(text.chars_len()), text.preview(MAX_INPUT_CHARS).into_owned()),
        Value::Bytes(bytes) => (Some(bytes.len()), value.repr(MAX_INPUT_CHARS)),
        Value::List(items) => (Some(items.len()), value.repr(MAX_INPUT_CHARS)),
        Value::Dict(entries) => (Some(entries.len()), value.repr(MAX_INPUT_CHARS)),
        _ => (None, value.repr(MAX_INPUT_CHARS)),
    };
    serde_json::json!({"name": name, "type": value.type_name(), "len": len, "shown": shown})
}

/// JSON in which nothing ends a script element, or a line of a script.
pub(crate) fn embeddable(json: &str) -> String {
    let mut safe = String::with_capacity(json.len() + json.len() / 64);
    for char in json.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => safe.push(char),
        }
    }
    safe
}

struct Writer {
    cut: Option<usize>,
    max_bytes: usize,
    files: String,
    texts: String,
    places: HashMap<String, usize>,
    /// Texts that were cut, of the file that is written.
    cut_texts: usize,
    notes: Vec<Vec<String>>,
}

impl Writer {
    fn new(cut: Option<usize>, max_bytes: usize) -> Self {
        let (files, texts) = (String::new(), String::new());
        Self { cut, max_bytes, files, texts, places: HashMap::new(), cut_texts: 0, notes: Vec::new() }
    }

    fn bytes(&self) -> usize {
        self.files.len() + self.texts.len()
    }

    /// Writes records until there are so many bytes; how many that were.
    fn file(&mut self, name: &str, records: &[&Record], most: usize) -> usize {
        self.cut_texts = 0;
        separate(&mut self.files);
        self.files.push_str("{\"name\":");
        self.files.push_str(&Json::from(name).to_string());
        self.files.push_str(",\"records\":[");
        let mut kept = 0;
        for record in records {
            let before = (self.texts.len(), self.places.len(), self.cut_texts);
            let json = self.json(record);
            if self.bytes() + json.len() > most {
                self.take_back(before);
                break;
            }
            if kept > 0 {
                self.files.push(',');
            }
            self.files.push_str(&json);
            kept += 1;
        }
        let notes = self.left_out(kept, records.len());
        self.files.push_str("],\"notes\":");
        self.files.push_str(&Json::from(notes.clone()).to_string());
        self.files.push('}');
        self.notes.push(notes);
        kept
    }

    /// Takes back the texts of a record that is left out; `before` is what there was of them.
    fn take_back(&mut self, before: (usize, usize, usize)) {
        let (bytes, texts, cut) = before;
        self.texts.truncate(bytes);
        self.places.retain(|_, place| *place < texts);
        self.cut_texts = cut;
    }

    fn left_out(&self, kept: usize, all: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let size = self.max_bytes >> 20;
        if let (Some(chars), 1..) = (self.cut, self.cut_texts) {
            let texts =
                if self.cut_texts == 1 { "1 text is" } else { &format!("{} texts are", self.cut_texts) };
            notes.push(format!(
                "{texts} cut to {chars} characters, so that the page stays below {size} MiB; the file has \
                 them whole"
            ));
        }
        if kept < all {
            notes.push(format!(
                "the page ends after {kept} of {all} events, so that it stays below {size} MiB; \
                 `abyme stats` counts them all"
            ));
        }
        notes
    }

    fn json(&mut self, record: &Record) -> String {
        let mut json = json(record);
        self.replace(&mut json);
        json.to_string()
    }

    /// Puts the numbers of long texts in their place.
    fn replace(&mut self, json: &mut Json) {
        match json {
            Json::String(text) if text.len() >= MIN_TEXT_BYTES => {
                let number = self.index_of(std::mem::take(text));
                *text = format!("{REFERENCE}{number}");
            }
            Json::String(text) if text.starts_with(REFERENCE) => text.insert(0, REFERENCE),
            Json::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Json::Object(fields) => fields.values_mut().for_each(|field| self.replace(field)),
            _ => {}
        }
    }

    fn index_of(&mut self, text: String) -> usize {
        let text = match self.cut {
            Some(chars) => shortened(text, chars).unwrap_or_else(|text| {
                self.cut_texts += 1;
                text
            }),
            None => text,
        };
        if let Some(place) = self.places.get(&text) {
            return *place;
        }
        let place = self.places.len();
        separate(&mut self.texts);
        self.texts.push_str(&Json::from(text.as_str()).to_string());
        self.places.insert(text, place);
        place
    }

    fn finish(self) -> Data {
        let Self { files, texts, notes, .. } = self;
        Data { json: format!("{{\"files\":[{files}],\"texts\":[{texts}]"), notes }
    }
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

/// A text as it is, if it has at most so many characters; else its beginning and its end.
fn shortened(text: String, chars: usize) -> Result<String, String> {
    // Cheaper than to count, and enough for most texts.
    if text.len() <= chars {
        return Ok(text);
    }
    let count = text.chars().count();
    if count <= chars {
        return Ok(text);
    }
    let at = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    let (head, tail) = (&text[..at(chars / 2)], &text[at(count - chars / 2)..]);
    Err(format!("{head}\n… {} characters are not in this page …\n{tail}", count - 2 * (chars / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(prompts: &[String]) -> Vec<Record> {
        let records = prompts.iter().enumerate().map(|(index, prompt)| {
            serde_json::json!({"run": "a", "at": 0.5, "event": "sub_call_started", "turn": 1, "call": index,
                "function": "llm_query", "model": "m", "prompt": prompt})
        });
        records.map(|record| serde_json::from_value(record).unwrap()).collect()
    }

    fn read(data: &Data) -> Json {
        serde_json::from_str(&format!("{}}}", data.json)).unwrap()
    }

    #[test]
    fn a_long_text_is_there_once_and_a_short_one_at_its_place() {
        let long = "long ".repeat(100);
        let records = records(&[long.clone(), "\u{1}0".to_owned(), long.clone()]);
        let data = read(&data(&[("x", records.iter().collect())], 1 << 20));
        assert_eq!(data["texts"], serde_json::json!([long]));
        let prompts = data["files"][0]["records"].as_array().unwrap().iter().map(|record| &record["prompt"]);
        assert_eq!(prompts.collect::<Vec<_>>(), ["\u{1}0", "\u{1}\u{1}0", "\u{1}0"]);
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let prompts: Vec<_> = (0..50).map(|index| format!("{index} {}", "é".repeat(30_000))).collect();
        let records = records(&prompts);
        let file = [("x", records.iter().collect())];
        let cut = data(&file, 1_500_000);
        assert!(cut.json.len() < 2_200_000 && cut.notes[0].len() == 1, "{:?}", cut.notes);
        assert!(cut.notes[0][0].starts_with("50 texts are cut to 2000 characters"), "{:?}", cut.notes);
        assert!(cut.json.contains("28002 characters are not in this page"), "{}", &cut.json[..100]);

        let few = data(&file, 8_000);
        assert!(few.json.len() < 12_000, "{}", few.json.len());
        assert!(few.notes[0][1].starts_with("the page ends after "), "{:?}", few.notes);
        assert!(data(&file, 10 << 20).notes[0].is_empty());
    }

    #[test]
    fn a_record_that_is_left_out_leaves_no_text() {
        let texts: Vec<_> = (0..1_000).map(|index| format!("{index} {}", "é".repeat(50))).collect();
        let mut records = records(&["before ".repeat(20)]);
        records.push(
            serde_json::from_value(serde_json::json!({"run": "a", "at": 1.0, "event": "tool_call_started",
                "turn": 1, "call": 2, "tool": "t", "arguments": {"texts": texts}}))
            .unwrap(),
        );
        let data = data(&[("x", records.iter().collect()), ("y", vec![&records[0]])], 4_000);
        assert!(data.json.len() < 4_000, "{}", data.json.len());
        let read = read(&data);
        assert_eq!(read["texts"], serde_json::json!(["before ".repeat(20)]));
        assert_eq!(read["files"][0]["records"].as_array().unwrap().len(), 1);
        assert_eq!(read["files"][1]["records"][0]["prompt"], "\u{1}0");
        let size = "so that it stays below 0 MiB; `abyme stats` counts them all";
        assert_eq!(data.notes[0], [format!("the page ends after 1 of 2 events, {size}")]);
    }

    #[test]
    fn nothing_in_the_data_ends_its_element() {
        let json = embeddable("[\"</script><!-- \u{2028}&\u{2029}é\"]");
        assert_eq!(json, "[\"\\u003c/script\\u003e\\u003c!-- \\u2028\\u0026\\u2029é\"]");
        let read: Vec<String> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, ["</script><!-- \u{2028}&\u{2029}é"]);
    }
}
