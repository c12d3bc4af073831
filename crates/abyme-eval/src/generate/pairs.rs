//! All pairs of users that meet a condition on their labels, as in OOLONG-Pairs: the work grows with the
//! square of the users.

use std::collections::BTreeSet;

use super::{
    dice::Dice,
    questions::{LABELS, preamble},
    records::{CONTEXT, Line, Records, date, records},
};
use crate::{scorer::Scorer, task::Task};

/// How many conditions are drawn before the best of them is taken.
const DRAWS: usize = 12;

/// What a user has to have.
#[derive(Clone, Debug)]
struct Condition {
    labels: Vec<usize>,
    /// Whether it has to hold for all labels, or for one of them.
    is_for_all: bool,
    /// Only lines from this day on count.
    from: Option<u32>,
    /// The least number of lines with a label.
    least: u32,
}

/// A task over lines of `bytes` bytes; its number decides what kind of question it is.
pub(super) fn task(dice: &mut Dice, bytes: u64, number: u32) -> Task {
    let records = records(dice, bytes);
    let (first, of_first) = condition(dice, &records, number);
    let (question, pairs) = if number.is_multiple_of(3) {
        let (second, of_second) = condition(dice, &records, number + 1);
        let question = format!(
            "List all pairs of users in which one user has {}, and the other has {}.",
            first.words(),
            second.words()
        );
        (question, pairs(&of_first, &of_second))
    } else {
        let question = format!("List all pairs of users in which each of the two has {}.", first.words());
        (question, pairs(&of_first, &of_first))
    };
    let question = format!(
        "{}{question} A pair is two different users, by their numbers; list each pair once, with the smaller \
         number first.",
        preamble()
    );
    let expected: Vec<_> = pairs.into_iter().map(|(a, b)| serde_json::json!([a, b])).collect();
    Task::new(question, expected).input(CONTEXT, records.text).scorer(Scorer::Pairs).output("list[list[int]]")
}

/// A condition that some users meet and most do not, and these users.
fn condition(dice: &mut Dice, records: &Records, number: u32) -> (Condition, Vec<u32>) {
    let wanted = 4 + dice.small(14);
    let mut best: Option<(usize, Condition, Vec<u32>)> = None;
    for _ in 0..DRAWS {
        let first = dice.small(LABELS.len());
        let second = (first + 1 + dice.small(LABELS.len() - 1)) % LABELS.len();
        let mut condition = Condition {
            labels: if number.is_multiple_of(2) { vec![first] } else { vec![first, second] },
            is_for_all: dice.small(2) == 0,
            from: (number % 4 > 1).then(|| records.some_day(dice)),
            least: 1,
        };
        let counts = condition.counts(records);
        for least in 1.. {
            condition.least = least;
            let met: Vec<u32> = counts
                .iter()
                .filter(|(_, of_labels)| condition.is_met(of_labels))
                .map(|(user, _)| *user)
                .collect();
            let off = met.len().abs_diff(wanted);
            let is_over = met.is_empty();
            if best.as_ref().is_none_or(|(before, ..)| off < *before) {
                best = Some((off, condition.clone(), met));
            }
            if is_over {
                break;
            }
        }
    }
    match best {
        Some((_, condition, met)) => (condition, met),
        // One condition at least was drawn.
        None => (Condition { labels: Vec::new(), is_for_all: true, from: None, least: 0 }, Vec::new()),
    }
}

impl Condition {
    /// How many lines of each label every user has.
    fn counts(&self, records: &Records) -> Vec<(u32, Vec<u32>)> {
        let mut counts: Vec<_> =
            records.users.iter().map(|user| (*user, vec![0; self.labels.len()])).collect();
        for Line { day, user, label } in &records.lines {
            let position = self.labels.iter().position(|wanted| wanted == label);
            let row = records.users.binary_search(user);
            if let (Some(position), Ok(row)) = (position, row)
                && self.from.is_none_or(|from| *day >= from)
            {
                counts[row].1[position] += 1;
            }
        }
        counts
    }

    fn is_met(&self, of_labels: &[u32]) -> bool {
        match self.is_for_all {
            true => of_labels.iter().all(|count| *count >= self.least),
            false => of_labels.iter().any(|count| *count >= self.least),
        }
    }

    fn words(&self) -> String {
        let plural = if self.least == 1 { "" } else { "s" };
        let of_label = |label: &usize| {
            format!("at least {} question{plural} with the label {}", self.least, LABELS[*label].name)
        };
        let labels: Vec<_> = self.labels.iter().map(of_label).collect();
        let labels = labels.join(if self.is_for_all { " and " } else { " or " });
        match self.from {
            None => labels,
            Some(day) => format!("(counting only what was handed in on {} or later) {labels}", date(day)),
        }
    }
}

/// Each pair of one user of the first and one of the second, once.
fn pairs(first: &[u32], second: &[u32]) -> BTreeSet<(u32, u32)> {
    let all = first.iter().flat_map(|a| second.iter().map(move |b| (*a.min(b), *a.max(b))));
    all.filter(|(a, b)| a != b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_unordered_and_of_two() {
        assert_eq!(pairs(&[1, 2, 3], &[1, 2, 3]), BTreeSet::from([(1, 2), (1, 3), (2, 3)]));
        assert_eq!(pairs(&[3, 2], &[2, 1]), BTreeSet::from([(2, 3), (1, 3), (1, 2)]));
    }

    #[test]
    fn a_condition_is_met_by_some_users_at_any_length() {
        for (bytes, numbers) in [(16_000, 1..9), (400_000, 1..9)] {
            for number in numbers {
                let mut dice = Dice::new(u64::from(number));
                let records = records(&mut dice, bytes);
                let (condition, met) = condition(&mut dice, &records, number);
                assert!((2..=30).contains(&met.len()), "{bytes} {number}: {met:?} {}", condition.words());
                // Counted in another way.
                let holds = |user: &u32| {
                    let count = |label: &usize| {
                        let lines =
                            records.lines.iter().filter(|line| line.user == *user && line.label == *label);
                        lines.filter(|line| condition.from.is_none_or(|day| line.day >= day)).count()
                    };
                    let mut enough =
                        condition.labels.iter().map(|label| count(label) >= condition.least as usize);
                    if condition.is_for_all { enough.all(|is| is) } else { enough.any(|is| is) }
                };
                let expected: Vec<_> = records.users.iter().copied().filter(|user| holds(user)).collect();
                assert_eq!(met, expected);
            }
        }
    }
}
