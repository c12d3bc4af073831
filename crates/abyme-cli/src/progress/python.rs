//! Python in colours, line by line, while it is being written: it need not be whole or right.

use super::paint::{Ink, Paint};
use crate::terminal::escape;

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];
/// What begins and ends a literal; the longer ones first.
const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];
/// What may stand before the quotes.
const PREFIXES: &str = "rRbBuUfFtT";

/// Colours the lines of one piece of code, one after the other.
#[derive(Debug)]
pub(crate) struct Highlighter {
    paint: Paint,
    /// What ends the literal that the lines so far left open.
    open: Option<&'static str>,
}

impl Highlighter {
    pub(crate) fn new(paint: Paint) -> Self {
        Self { paint, open: None }
    }

    /// The next line.
    pub(crate) fn line(&mut self, line: &str) -> String {
        let (mut painted, mut rest) = (String::new(), line);
        while !rest.is_empty() {
            let (length, ink) = match self.open {
                Some(quotes) => (self.literal(rest, quotes), Some(Ink::Literal)),
                None => self.token(rest),
            };
            let (token, after) = rest.split_at(length);
            match ink {
                Some(ink) => painted.push_str(&self.paint.ink(ink, token)),
                None => painted.push_str(&escape(token)),
            }
            rest = after;
        }
        painted
    }

    /// How long the first token is, and its colour.
    fn token(&mut self, rest: &str) -> (usize, Option<Ink>) {
        let is_of_word = |char: char| char.is_alphanumeric() || char == '_';
        let word = rest.find(|char| !is_of_word(char)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(word);
        if name.len() <= 2
            && name.chars().all(|char| PREFIXES.contains(char))
            && let Some(quotes) = QUOTES.into_iter().find(|quotes| after.starts_with(quotes))
        {
            let begin = word + quotes.len();
            self.open = Some(quotes);
            return (begin + self.literal(&rest[begin..], quotes), Some(Ink::Literal));
        }
        match rest.chars().next() {
            Some('#') => (rest.len(), Some(Ink::Comment)),
            Some(first) if first.is_ascii_digit() => {
                let end = rest.find(|char| !is_of_word(char) && char != '.').unwrap_or(rest.len());
                (end, Some(Ink::Number))
            }
            Some(first) if word == 0 => (first.len_utf8(), None),
            _ if KEYWORDS.contains(&name) => (word, Some(Ink::Keyword)),
            _ => (word, after.starts_with('(').then_some(Ink::Call)),
        }
    }

    /// How much of the line belongs to the literal that these quotes end. One in single quotes ends with its
    /// line.
    fn literal(&mut self, rest: &str, quotes: &str) -> usize {
        let mut at = 0;
        while let Some(char) = rest[at..].chars().next() {
            if rest[at..].starts_with(quotes) {
                self.open = None;
                return at + quotes.len();
            }
            at += char.len_utf8();
            if char == '\\' {
                at += rest[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
        if quotes.len() == 1 {
            self.open = None;
        }
        rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of some code, with marks in place of colours.
    fn marked(code: &str) -> String {
        let mut highlighter = Highlighter::new(Paint::on());
        let lines: Vec<_> = code.lines().map(|line| highlighter.line(line)).collect();
        let mut text = lines.join("\n");
        for (codes, mark) in [("2", "#"), ("33", "n"), ("35", "k"), ("32", "s"), ("36", "c")] {
            text = text.replace(&format!("\x1b[{codes}m"), &format!("<{mark} "));
        }
        text.replace("\x1b[0m", ">")
    }

    #[test]
    fn tokens_have_their_colours() {
        assert_eq!(
            marked("for x in docs[:3]: print(f'a\\'{x}', 1.5e3) # why"),
            "<k for> x <k in> docs[:<n 3>]: <c print>(<s f'a\\'{x}'>, <n 1.5e3>) <# # why>"
        );
        assert_eq!(marked("rb\"open\nb = no(\"\")"), "<s rb\"open>\nb = <c no>(<s \"\">)");
    }

    #[test]
    fn a_literal_goes_on_over_lines() {
        assert_eq!(
            marked("t = '''one\n# if \"two\"\nthree''' + x"),
            "t = <s '''one>\n<s # if \"two\">\n<s three'''> + x"
        );
    }

    #[test]
    fn what_would_steer_a_terminal_is_shown() {
        assert_eq!(marked("x = '\u{1b}[2J' \u{7}\\"), "x = <s '\\u{1b}[2J'> \\u{7}\\");
    }
}
