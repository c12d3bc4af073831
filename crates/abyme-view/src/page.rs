//! One HTML page that holds everything: data, script and style.

use abyme_core::Trajectory;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::data::{self, Data};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(
    "(() => {\n'use strict';\n",
    include_str!("page/dom.js"),
    include_str!("page/record.js"),
    include_str!("page/list.js"),
    include_str!("page/python.js"),
    include_str!("page/turn.js"),
    include_str!("page/calls.js"),
    include_str!("page/outline.js"),
    include_str!("page/task.js"),
    include_str!("page/compare.js"),
    include_str!("page/search.js"),
    include_str!("page/main.js"),
    "})();\n",
);

/// What a browser takes without a pause, on a phone too.
const MAX_DATA_BYTES: usize = 48 << 20;

/// A page that shows records: their turns on a time line, code, outputs, sub-calls, children, and what each
/// of them used.
///
/// It is one file, which loads nothing and runs nothing but its own script. What a run wrote is text in it,
/// whatever it looks like.
///
/// ```
/// # use abyme_core::Trajectory;
/// use abyme_view::Page;
///
/// # fn example(trajectory: &Trajectory) -> std::io::Result<()> {
/// std::fs::write("run.html", Page::new().record("run.jsonl", trajectory).render().html)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Page<'a> {
    files: Vec<(String, &'a Trajectory)>,
    is_comparison: bool,
    follow_from: Option<FollowFrom>,
    max_data_bytes: usize,
}

/// What a page that follows a run has already.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "follow"), allow(dead_code, reason = "only the server makes such a page"))]
pub(crate) struct FollowFrom {
    /// The number of records that the page has.
    pub(crate) records: usize,
    /// How often its file had begun anew.
    pub(crate) generation: u64,
}

/// What [`Page::render`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenderedPage {
    /// The page.
    pub html: String,
    /// What of the records is not in it, because it would be too large; the page says it too.
    pub notes: Vec<String>,
}

impl Default for Page<'_> {
    fn default() -> Self {
        Self { files: Vec::new(), is_comparison: false, follow_from: None, max_data_bytes: MAX_DATA_BYTES }
    }
}

impl<'a> Page<'a> {
    /// A page without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record; `name` is what the page calls it, such as the name of its file.
    #[must_use]
    pub fn record(mut self, name: impl Into<String>, trajectory: &'a Trajectory) -> Self {
        self.files.push((name.into(), trajectory));
        self
    }

    /// Puts the first two records side by side, turn beside turn. Default: one below the other.
    #[must_use]
    pub fn side_by_side(mut self) -> Self {
        self.is_comparison = true;
        self
    }

    /// Sets about how many bytes of data the page may hold. Where the records are more, long texts are cut,
    /// and then the last events left out. Default 48 MiB.
    #[must_use]
    pub fn max_data_bytes(mut self, bytes: usize) -> Self {
        self.max_data_bytes = bytes;
        self
    }

    /// The page of a run that goes on: it asks the server that it is from for what comes after this.
    #[cfg(feature = "follow")]
    pub(crate) fn following(mut self, from: FollowFrom) -> Self {
        self.follow_from = Some(from);
        self
    }

    /// Makes the page.
    #[must_use]
    pub fn render(&self) -> RenderedPage {
        let files =
            self.files.iter().map(|(name, trajectory)| (name.as_str(), trajectory.records().collect()));
        let files: Vec<_> = files.collect();
        let Data { json, notes } = data::data(&files, self.max_data_bytes);
        let is_comparison = self.is_comparison && self.files.len() >= 2;
        let follow = self
            .follow_from
            .map(|FollowFrom { records, generation }| json!({"from": records, "generation": generation}));
        let options = json!({"compare": is_comparison, "follow": follow});
        let json = data::embeddable(&format!("{json},\"options\":{options}}}"));
        let connect = if self.follow_from.is_some() { "; connect-src 'self'" } else { "" };
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data:{connect}; base-uri 'none'; \
             form-action 'none'",
            source(SCRIPT),
            source(STYLE),
        );
        let names: Vec<_> = self.files.iter().map(|(name, _)| escaped(name)).collect();
        let title = if names.is_empty() { "Abyme".to_owned() } else { names.join(", ") };
        let parts = [
            ("{{policy}}", policy.as_str()),
            ("{{version}}", env!("CARGO_PKG_VERSION")),
            ("{{title}}", &title),
            ("{{style}}", STYLE),
            ("{{data}}", &json),
            ("{{script}}", SCRIPT),
        ];
        let several = self.files.len() > 1;
        let notes = self.files.iter().zip(notes).flat_map(|((name, _), notes)| {
            notes.into_iter().map(move |note| if several { format!("{name}: {note}") } else { note })
        });
        RenderedPage { html: filled(TEMPLATE, &parts), notes: notes.collect() }
    }
}

/// Fills in the places of a template, which come in this order. What is filled in is not looked at.
fn filled(template: &str, parts: &[(&str, &str)]) -> String {
    let mut html =
        String::with_capacity(parts.iter().map(|(_, text)| text.len()).sum::<usize>() + template.len());
    let mut rest = template;
    for (place, text) in parts {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        html.push_str(before);
        html.push_str(text);
        rest = after;
    }
    html.push_str(rest);
    html
}

/// How a policy names the script or style with this text.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// Text as text of HTML or XML.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            // Control characters are valid neither in HTML nor in a URL.
            char if char.is_control() => safe.push('\u{fffd}'),
            char => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_template_is_filled_and_what_fills_it_is_not_looked_at() {
        let trajectory = Trajectory::default();
        let page = Page::new().record("<b>{{style}}{{script}}", &trajectory).render();
        assert!(page.html.contains("<title>&lt;b&gt;{{style}}{{script}}</title>"));
        assert_eq!(page.html.matches("{{").count(), 4, "of the title and of the data");
        assert!(page.html.ends_with("</html>\n") && page.notes.is_empty());
        assert_eq!(page.html.matches("</script>").count(), 2);
    }

    /// Wherever a run puts such a text, it stays inside of the script element with the data, and comes back
    /// from there as it was.
    #[test]
    fn no_text_of_a_run_is_markup() {
        let evil = "</script><script>alert(1)</script><!--\u{2028}\u{2029}\" onload='alert(1)' \
                    javascript:alert(1) ]]>&lt;\u{0}\u{1}0{{script}}";
        let record = |mut event: serde_json::Value| -> abyme_core::Record {
            event["run"] = "0123456789abcdef".into();
            event["at"] = 0.5.into();
            serde_json::from_value(event).unwrap()
        };
        let error = json!({"type": evil, "message": evil});
        let events = [
            json!({"event": "cell_started", "turn": 1, "reasoning": evil, "code": evil}),
            json!({"event": "sub_call_started", "turn": 1, "call": 1, "function": evil, "model": evil,
                   "prompt": evil}),
            json!({"event": "tool_call_started", "turn": 1, "call": 2, "tool": evil,
                   "arguments": {(evil): [evil, {(evil): evil}]}, "approval": {"denied": evil}}),
            json!({"event": "tool_call_finished", "turn": 1, "call": 2, "error": error, "seconds": 0.1}),
            json!({"event": "child_started", "turn": 1, "call": 3, "function": evil, "child": evil,
                   "prompt": evil}),
            json!({"event": "session_lost", "turn": 1, "reason": evil}),
            json!({"event": "reply_refused", "turn": 1, "purpose": "act", "problem": evil}),
        ];
        let trajectory: Trajectory = events.into_iter().map(record).collect();
        let html = Page::new().record(evil, &trajectory).render().html;
        let clean = Page::new().record("a", &Trajectory::default()).render().html;
        for mark in ["</script", "<script", "<!--", "<!", "]]>"] {
            assert_eq!(html.matches(mark).count(), clean.matches(mark).count(), "{mark}");
        }
        let begin = html.find("{\"files\"").unwrap();
        let end = begin + html[begin..].find("</script>").unwrap();
        assert!(!html[begin..end].contains(['\u{2028}', '\u{2029}', '\u{0}', '\u{1}']));
        let data: serde_json::Value = serde_json::from_str(html[begin..end].trim()).unwrap();
        assert!(data["texts"].as_array().unwrap().iter().any(|text| text == evil), "{data}");
    }

    #[test]
    fn only_a_page_that_is_served_may_connect() {
        assert!(!Page::new().render().html.contains("connect-src"));
    }
}
