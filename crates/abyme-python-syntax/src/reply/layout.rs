//! Where a reply's blocks of code, thoughts and field markers are.

use std::ops::Range;

use super::{
    lines::{FenceOpening, FenceStyle, Line, line_at},
    marks::{NAMES, ThoughtTag, closing_tag, marker, message_end, next_tag},
    search::{FenceEnd, Search, head},
};

/// A reply, taken apart. Everything is a range of the text.
#[derive(Debug, Default)]
pub(super) struct ReplyLayout<'a> {
    /// Blocks outside of thoughts, in order.
    pub(super) blocks: Vec<Block<'a>>,
    /// What the model thought: never looked at, never shown as reasoning.
    pub(super) thoughts: Vec<Range<usize>>,
    /// Field markers, and fence lines that only decorate another fence.
    pub(super) decoration: Vec<Range<usize>>,
    /// Where the content of the `code` field starts.
    pub(super) code_field: Option<usize>,
    /// Where the first field marker starts.
    first_marker: Option<usize>,
    /// Where a chat template's token ends the model's message; what follows it is made up.
    pub(super) message_end: Option<usize>,
    /// Whether a thinking tag opened that nothing has closed yet.
    pub(super) is_open: bool,
    /// Whether a thought was opened and closed, after which no closing tag alone ends one.
    pub(super) is_tagged: bool,
}

impl ReplyLayout<'_> {
    /// Whether a field marker stands before `at`.
    pub(super) fn has_marker_before(&self, at: usize) -> bool {
        self.first_marker.is_some_and(|start| start < at)
    }
}

/// One block of code, or of something else.
#[derive(Clone, Debug)]
pub(super) struct Block<'a> {
    /// The block with its fence lines.
    pub(super) outer: Range<usize>,
    /// Its content, without code on the opening line.
    pub(super) body: Range<usize>,
    pub(super) kind: Kind<'a>,
    pub(super) closed: bool,
    /// Whether its end is where it is whatever follows.
    pub(super) is_final: bool,
}

/// What a block says it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// A fence with a Python tag; `head` is code that stood on the opening line.
    Python { style: FenceStyle, head: &'a str },
    /// A fence without a tag; `head` is all of it where it is one line.
    Bare { style: FenceStyle, head: &'a str },
    /// A fence in another language.
    Other { style: FenceStyle, tag: &'a str },
    /// The content of a `code` field that is not fenced.
    Field,
}

impl Block<'_> {
    /// The content, exactly, but for the newlines and the fence's own indentation.
    pub(super) fn code(&self, text: &str) -> String {
        match self.kind {
            Kind::Field => {
                text[self.body.clone()].trim_matches(['\r', '\n']).trim_end().replace("\r\n", "\n")
            }
            Kind::Other { style, .. } => style.code(text, self.body.clone()),
            Kind::Python { style, head } | Kind::Bare { style, head } => {
                let body = style.code(text, self.body.clone());
                match (head.is_empty(), body.is_empty()) {
                    (true, _) => body,
                    (false, true) => head.to_owned(),
                    (false, false) => format!("{head}\n{body}"),
                }
            }
        }
    }

    pub(super) fn is_blank(&self, text: &str) -> bool {
        let head = match self.kind {
            Kind::Python { head, .. } | Kind::Bare { head, .. } => head,
            Kind::Other { .. } | Kind::Field => "",
        };
        head.trim().is_empty() && text[self.body.clone()].trim().is_empty()
    }
}

/// Takes a reply apart, in time linear in its length.
pub(super) fn layout(text: &str) -> ReplyLayout<'_> {
    let mut scan = Scan::new(text, 0, true);
    scan.run();
    scan.found
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    found: ReplyLayout<'a>,
    search: Search<'a>,
    /// Whether thinking tags and markers mean anything.
    tags: bool,
    opened: bool,
    unclosed: [bool; NAMES.len()],
    wrappers: Vec<FenceStyle>,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, at: usize, tags: bool) -> Self {
        Self {
            text,
            at,
            found: ReplyLayout::default(),
            search: Search::new(text, tags),
            tags,
            opened: false,
            unclosed: [false; NAMES.len()],
            wrappers: Vec::new(),
        }
    }

    fn run(&mut self) {
        while self.at < self.text.len() {
            let line = line_at(self.text, self.at);
            self.line(line);
        }
        self.found.is_open = self.unclosed.contains(&true);
        self.found.is_tagged = self.opened;
    }

    /// Reads from the start of a line; afterwards `at` stands further on.
    fn line(&mut self, line: Line<'a>) {
        if self.tags && self.marker(line) {
            return;
        }
        if let Some(index) = self.wrappers.iter().rposition(|style| style.is_closed_by(line.text)) {
            self.wrappers.truncate(index);
            self.found.decoration.push(line.start..line.next);
            self.at = line.next;
            return;
        }
        let end = line.start + line.text.len();
        let mut at = line.start;
        if self.tags
            && let Some(start) = message_end(line.text)
            && FenceOpening::read(line.text).is_none_or(|opening| opening.at >= start)
        {
            self.found.message_end = Some(line.start + start);
            self.at = self.text.len();
            return;
        }
        let mut tag = if self.tags { next_tag(self.text, at, end) } else { None };
        loop {
            // What follows a thought on its own line may open a fence, so each rest of a line gets a look.
            let rest = &self.text[at..end];
            let opening = FenceOpening::read(rest)
                .or_else(|| if at == line.start { FenceOpening::read_after_prose(rest) } else { None })
                .filter(|opening| tag.is_none_or(|tag| at + opening.at < tag.start));
            if let Some(opening) = opening {
                return self.fence(opening, Line { text: rest, start: at, next: line.next });
            }
            let Some(found) = tag else {
                self.at = line.next;
                return;
            };
            self.at = found.end;
            self.tag(found, self.text[line.start..found.start].trim().is_empty(), end);
            if self.at >= end {
                self.at = if self.at == end { line.next } else { self.at };
                return;
            }
            at = self.at;
            tag = next_tag(self.text, at, end);
        }
    }

    fn tag(&mut self, tag: ThoughtTag, leads: bool, line_end: usize) {
        if tag.closing {
            let trails = self.text[tag.end..line_end].trim().is_empty();
            self.stray(tag, leads || trails);
            return;
        }
        let close = if self.unclosed[tag.name] { None } else { closing_tag(self.text, tag.end, tag.name) };
        match close {
            Some(close) if leads || tag.may_stand_alone() => {
                self.opened = true;
                self.found.thoughts.push(tag.start..close.end);
                self.at = close.end;
            }
            Some(_) => {}
            None => {
                self.unclosed[tag.name] = true;
                if leads && tag.may_stand_alone() {
                    self.unclosed_thought(tag);
                }
            }
        }
    }

    /// A closing tag whose opening one stood in the prompt: everything before it was thought. That
    /// holds for a tag on a line of its own. Amid prose it holds only if code follows; otherwise the prose
    /// merely mentions the tag.
    fn stray(&mut self, tag: ThoughtTag, own_line: bool) {
        if self.opened || !tag.may_stand_alone() || self.text[tag.end..].trim_start().is_empty() {
            return;
        }
        if own_line || self.found.blocks.is_empty() {
            self.opened = own_line;
            self.found =
                ReplyLayout { thoughts: std::iter::once(0..tag.end).collect(), ..ReplyLayout::default() };
            self.wrappers.clear();
        }
    }

    /// An opening tag that nothing closes: the reply was cut off within the thought, and drafts in it do not
    /// run. But a reply that ends in a complete fence was not cut off, so that fence is the cell and the tag
    /// was forgotten.
    fn unclosed_thought(&mut self, tag: ThoughtTag) {
        let mut scan = Scan::new(self.text, tag.end, false);
        scan.run();
        let cell = scan.found.blocks.pop().filter(|block| {
            matches!(block.kind, Kind::Python { .. })
                && block.closed
                && !block.is_blank(self.text)
                && self.text[block.outer.end..].trim().is_empty()
        });
        let end = cell.as_ref().map_or(self.text.len(), |block| block.outer.start);
        self.found.thoughts.push(tag.start..end);
        self.found.blocks.extend(cell);
        self.at = self.text.len();
    }

    fn marker(&mut self, line: Line<'a>) -> bool {
        let Some((name, length)) = marker(line.text) else { return false };
        let rest = &line.text[length..];
        let content = line.start + length + (rest.len() - rest.trim_start().len());
        self.found.decoration.push(line.start..content);
        self.found.first_marker.get_or_insert(line.start);
        self.at = if rest.trim().is_empty() { line.next } else { content };
        // The fields come first. A marker after a cell was made up, with what the cell would print.
        let is_late = self.has_cell_before_fields();
        if name.eq_ignore_ascii_case("code") && self.found.code_field.is_none() && !is_late {
            self.found.code_field = Some(self.at);
            if let Some(body) = self.search.field(self.at) {
                self.at = body.end;
                self.found.blocks.push(Block {
                    outer: body.clone(),
                    body,
                    kind: Kind::Field,
                    closed: true,
                    is_final: false,
                });
            }
        }
        true
    }

    fn has_cell_before_fields(&self) -> bool {
        let before = |block: &&Block<'_>| !self.found.has_marker_before(block.outer.start);
        let mut blocks = self.found.blocks.iter().take_while(before);
        blocks.any(|block| matches!(block.kind, Kind::Python { .. }) && !block.is_blank(self.text))
    }

    fn fence(&mut self, opening: FenceOpening<'a>, line: Line<'a>) {
        let style = opening.style;
        let start = line.start + opening.at;
        if !opening.one_line
            && opening.is_wrapper()
            && self.wrappers.len() < MOST_WRAPPERS
            && self.search.wraps_python(line.next)
        {
            self.found.decoration.push(start..line.next);
            self.wrappers.push(style);
            self.at = line.next;
            return;
        }
        let mut block = Block {
            outer: start..line.next,
            body: line.next..line.next,
            kind: Kind::Other { style, tag: opening.tag },
            closed: true,
            is_final: true,
        };
        if opening.is_python() {
            block.kind = Kind::Python { style, head: head(&opening) };
        } else if opening.is_bare() {
            block.kind = Kind::Bare { style, head: if opening.one_line { opening.rest } else { "" } };
        }
        if !opening.one_line {
            let FenceEnd { body, next, closed, is_final } = match block.kind {
                Kind::Python { .. } => self.search.python_end(style, line.next),
                Kind::Bare { .. } => self.search.bare_end(style, line.next),
                Kind::Other { .. } | Kind::Field => self.search.plain_end(style, line.next),
            };
            block.body.end = body;
            block.outer.end = next;
            block.closed = closed;
            block.is_final = is_final;
        }
        self.at = block.outer.end;
        self.found.blocks.push(block);
    }
}

/// How many decorative fences may be open around another.
const MOST_WRAPPERS: usize = 8;
