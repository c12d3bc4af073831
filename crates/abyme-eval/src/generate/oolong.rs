//! Questions about how often labels occur, as in OOLONG.

use super::{
    dice::Dice,
    questions::{LABELS, preamble},
    records::{CONTEXT, Records, date, records},
};
use crate::{
    scorer::{NumberScorer, Scorer},
    task::Task,
};

/// What is asked, and how the answer is compared.
struct MadeQuestion {
    question: String,
    expected: serde_json::Value,
    /// Whether it is a number.
    counts: bool,
}

/// A task over lines of `bytes` bytes; its number decides what kind of question it is.
pub(super) fn task(dice: &mut Dice, bytes: u64, number: u32) -> Task {
    let records = records(dice, bytes);
    let ways: [fn(&mut Dice, &Records) -> Option<MadeQuestion>; 6] = [
        |dice, records| Some(how_many(dice, records)),
        most_common,
        compared,
        how_many_before,
        user_with_most,
        most_common_of_users,
    ];
    let way = ways[(number as usize).saturating_sub(1) % ways.len()];
    // What would have two answers is not asked.
    let asked = way(dice, &records).unwrap_or_else(|| how_many(dice, &records));
    let MadeQuestion { question, expected, counts } = asked;
    let task = Task::new(preamble() + &question, expected).input(CONTEXT, records.text);
    match counts {
        true => {
            let scorer = NumberScorer::default().decay(0.75);
            task.scorer(Scorer::Number(scorer)).output("int")
        }
        false => task.scorer(Scorer::Text),
    }
}

fn label(dice: &mut Dice) -> (usize, &'static str) {
    let label = dice.small(LABELS.len());
    (label, LABELS[label].name)
}

fn how_many(dice: &mut Dice, records: &Records) -> MadeQuestion {
    let (label, name) = label(dice);
    MadeQuestion {
        question: format!("How many questions have the label {name}?"),
        expected: records.counts(|_| true)[label].into(),
        counts: true,
    }
}

fn how_many_before(dice: &mut Dice, records: &Records) -> Option<MadeQuestion> {
    let (label, name) = label(dice);
    let day = records.some_day(dice);
    Some(MadeQuestion {
        question: format!(
            "How many questions that were handed in before {} have the label {name}?",
            date(day)
        ),
        expected: records.counts(|line| line.day < day)[label].into(),
        counts: true,
    })
}

fn most_common(dice: &mut Dice, records: &Records) -> Option<MadeQuestion> {
    let counts = records.counts(|_| true);
    let (words, best) = match dice.small(2) {
        0 => ("the most", only(counts.iter().map(|count| i64::from(*count)))?),
        _ => ("the fewest", only(counts.iter().map(|count| -i64::from(*count)))?),
    };
    Some(MadeQuestion {
        question: format!("Which label do {words} questions have? Answer with the label."),
        expected: LABELS[best].name.into(),
        counts: false,
    })
}

fn compared(dice: &mut Dice, records: &Records) -> Option<MadeQuestion> {
    let (first, one) = label(dice);
    let second = (first + 1 + dice.small(LABELS.len() - 1)) % LABELS.len();
    let counts = records.counts(|_| true);
    let expected = match counts[first].cmp(&counts[second]) {
        std::cmp::Ordering::Less => "fewer",
        std::cmp::Ordering::Equal => "as many",
        std::cmp::Ordering::Greater => "more",
    };
    let other = LABELS[second].name;
    Some(MadeQuestion {
        question: format!(
            "Do more questions, fewer, or as many have the label {one} than have the label {other}? Answer \
             with `more`, `fewer` or `as many`."
        ),
        expected: expected.into(),
        counts: false,
    })
}

fn user_with_most(dice: &mut Dice, records: &Records) -> Option<MadeQuestion> {
    let (label, name) = label(dice);
    let count = |user: &u32| {
        let of_user = records.lines.iter().filter(|line| line.user == *user && line.label == label);
        i64::try_from(of_user.count()).unwrap_or(i64::MAX)
    };
    let best = only(records.users.iter().map(count))?;
    Some(MadeQuestion {
        question: format!(
            "Which user handed in the most questions with the label {name}? Answer with the user's number."
        ),
        expected: records.users[best].to_string().into(),
        counts: false,
    })
}

fn most_common_of_users(dice: &mut Dice, records: &Records) -> Option<MadeQuestion> {
    let mut users: Vec<u32> = (0..3).map(|_| records.users[dice.index(records.users.len())]).collect();
    users.sort_unstable();
    users.dedup();
    let counts = records.counts(|line| users.contains(&line.user));
    let best = only(counts.iter().map(|count| i64::from(*count)))?;
    let listed: Vec<_> = users.iter().map(ToString::to_string).collect();
    Some(MadeQuestion {
        question: format!(
            "Look at the questions of these users alone: {}. Which label do the most of these questions \
             have? Answer with the label.",
            listed.join(", ")
        ),
        expected: LABELS[best].name.into(),
        counts: false,
    })
}

/// The index of the largest value, if no other is as large.
fn only(values: impl Iterator<Item = i64>) -> Option<usize> {
    let values: Vec<_> = values.collect();
    let most = values.iter().max()?;
    let mut at = values.iter().enumerate().filter(|(_, value)| *value == most).map(|(index, _)| index);
    at.next().filter(|_| at.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_two_answers_is_not_asked() {
        assert_eq!(only([1, 3, 2].into_iter()), Some(1));
        assert_eq!(only([3, 1, 3].into_iter()), None);
        assert_eq!(only([].into_iter()), None);
    }

    #[test]
    fn answers_are_those_of_the_lines() {
        let records = records(&mut Dice::new(5), 30_000);
        let count = |is: &dyn Fn(&super::super::records::Line) -> bool| {
            u32::try_from(records.lines.iter().filter(|line| is(line)).count()).unwrap()
        };
        for seed in 0..20 {
            let mut same = Dice::new(seed);
            let asked = how_many_before(&mut Dice::new(seed), &records).unwrap();
            let (label, name) = label(&mut same);
            let day = records.some_day(&mut same);
            assert!(asked.question.contains(name) && asked.question.contains(&date(day)));
            assert_eq!(asked.expected, count(&|line| line.label == label && line.day < day));

            let asked = compared(&mut Dice::new(seed), &records).unwrap();
            let counts: Vec<_> = (0..6).map(|label| count(&|line| line.label == label)).collect();
            let at = |name: &str| LABELS.iter().position(|label| label.name == name).unwrap();
            let words: Vec<_> = asked.question.split("the label ").skip(1).collect();
            let name = |text: &str| text.split([' ', '?']).next().unwrap().to_owned();
            let (one, other) = (counts[at(&name(words[0]))], counts[at(&name(words[1]))]);
            let expected = if one > other {
                "more"
            } else if one < other {
                "fewer"
            } else {
                "as many"
            };
            assert_eq!(asked.expected, expected, "{}", asked.question);
        }
    }
}
