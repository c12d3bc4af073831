//! Lines with a date, a user and a question, whose label only its meaning tells.

use std::{collections::HashSet, fmt::Write};

use super::{
    dice::Dice,
    questions::{LABELS, LONGEST_QUESTION, write_question},
};

/// The input of a task over lines.
pub(super) const CONTEXT: &str = "context";
/// What it begins with.
const HEADER: &str = "Each line is a question that somebody handed in at a library: the date, the user's \
                      number, the question.\n\n";
/// More than any line has.
const LONGEST_LINE: usize = 30 + LONGEST_QUESTION;
/// The dates: this many days from 2023-01-01.
const DAYS: u32 = 1_096;

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Days from 2023-01-01.
    pub(super) day: u32,
    pub(super) user: u32,
    /// The index of its label.
    pub(super) label: usize,
}

/// The lines, and their text.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) text: String,
    pub(super) lines: Vec<Line>,
    /// All users, by their numbers.
    pub(super) users: Vec<u32>,
}

/// Lines of about `bytes` bytes, and no more than that.
pub(super) fn records(dice: &mut Dice, bytes: u64) -> Records {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let weights: Vec<usize> = LABELS.iter().map(|_| 2 + dice.small(5)).collect();
    let likely: Vec<usize> =
        weights.iter().enumerate().flat_map(|(label, weight)| vec![label; *weight]).collect();
    // More lines have more users, and each of these more lines: pairs should not grow without end.
    let users = (2.2 * (bytes as f64 / 90.0).sqrt()).clamp(4.0, 600.0) as usize;
    let mut numbers = HashSet::new();
    let mut users_drawn = Vec::new();
    while users_drawn.len() < users {
        let number = 10_000 + dice.below(90_000);
        if numbers.insert(number) {
            users_drawn.push(number);
        }
    }
    let (mut text, mut lines) = (HEADER.to_owned(), Vec::new());
    while text.len() + LONGEST_LINE < bytes {
        let line = Line {
            day: dice.below(DAYS),
            user: users_drawn[dice.index(users)],
            label: likely[dice.small(likely.len())],
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{} | user {} | ", date(line.day), line.user);
        write_question(dice, &mut text, line.label);
        text.push('\n');
        lines.push(line);
    }
    let present: HashSet<u32> = lines.iter().map(|line| line.user).collect();
    let mut users: Vec<u32> = present.into_iter().collect();
    users.sort_unstable();
    Records { text, lines, users }
}

impl Records {
    /// A day in the middle of all.
    pub(super) fn some_day(&self, dice: &mut Dice) -> u32 {
        DAYS / 4 + dice.below(DAYS / 2)
    }

    /// How many lines have each label, of those that are meant.
    pub(super) fn counts(&self, is_meant: impl Fn(&Line) -> bool) -> [u32; LABELS.len()] {
        let mut counts = [0; LABELS.len()];
        self.lines.iter().filter(|line| is_meant(line)).for_each(|line| counts[line.label] += 1);
        counts
    }
}

/// A day as `2024-02-29`.
pub(super) fn date(day: u32) -> String {
    let mut left = day;
    for year in 2023.. {
        let february = if year % 4 == 0 { 29 } else { 28 };
        for (month, days) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
            if left < days {
                return format!("{year}-{:02}-{:02}", month + 1, left + 1);
            }
            left -= days;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "2023-01-01");
        assert_eq!(date(365 + 59), "2024-02-29");
        assert_eq!(date(365 + 366), "2025-01-01");
        assert_eq!(date(DAYS - 1), "2025-12-31");
    }

    #[test]
    fn the_text_has_the_lines() {
        let Records { text, lines, users } = records(&mut Dice::new(3), 40_000);
        let written: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(written.len(), lines.len());
        for (text, line) in written.iter().zip(&lines) {
            assert!(text.starts_with(&format!("{} | user {} | ", date(line.day), line.user)), "{text}");
            assert!(text.len() < LONGEST_LINE && text.ends_with(['?', '.']), "{text}");
        }
        assert!(users.len() > 20 && users.is_sorted(), "{users:?}");
        let used: HashSet<_> = lines.iter().map(|line| line.label).collect();
        assert_eq!(used.len(), LABELS.len());
    }
}
