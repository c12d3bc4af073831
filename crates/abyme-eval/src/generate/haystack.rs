//! A text of sentences that look alike, and one line that matters, as in the S-NIAH task of RULER and the RLM
//! paper.

use std::fmt::Write;

use super::dice::Dice;

/// A text with one line hidden in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Haystack {
    /// The text.
    pub text: String,
    /// The question that the hidden line answers.
    pub question: String,
    /// The number in that line, which is the answer: 7 digits.
    pub number: u32,
}

impl Haystack {
    /// A text of exactly `size` bytes, all of them ASCII, with one line hidden at a random depth. The same
    /// seed and size give the same text on every machine. The least size is 1 000 bytes.
    #[must_use]
    pub fn generate(seed: u64, size: u64) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(LEAST_SIZE);
        let mut dice = Dice::new(seed);
        let subject = dice.pick(SUBJECTS);
        let number = 1_000_000 + dice.below(9_000_000);
        let needle = format!("One of the special magic numbers for {subject} is: {number}.\n");
        let depth = dice.depth(size.saturating_sub(needle.len()));
        let mut text = String::with_capacity(size + LONGEST_LINE);
        let mut line = 0;
        // A line that would leave no room for the needle comes after it.
        while text.len() < depth && text.len() + LONGEST_LINE + needle.len() < size {
            line += 1;
            write_line(&mut dice, &mut text, line);
        }
        text.push_str(&needle);
        while text.len() < size {
            line += 1;
            write_line(&mut dice, &mut text, line);
        }
        text.truncate(size);
        let question =
            format!("What is the special magic number for {subject} mentioned in the provided text?");
        Self { text, question, number }
    }
}

/// A sentence of its own: the number in it makes it different from all others.
fn write_line(dice: &mut Dice, text: &mut String, line: u32) {
    let (who, did, what) = (dice.pick(PEOPLE), dice.pick(VERBS), dice.pick(THINGS));
    let (how, place, when) = (dice.pick(KINDS), dice.pick(PLACES), dice.pick(TIMES));
    let number = u64::from(line) * 97 + 1_000_003;
    // Writing to a String cannot fail.
    let _ = match dice.small(4) {
        0 => writeln!(text, "{who} {did} the {how} {what} near the {place} {when}, under file {number}."),
        1 => {
            writeln!(text, "The {how} {what} in the {place} was what {who} {did} {when}, see page {number}.")
        }
        2 => {
            writeln!(
                text,
                "On the way to the {place}, {who} {did} a {how} {what} {when}, lot number {number}."
            )
        }
        _ => writeln!(
            text,
            "Nobody in the {place} knew that {who} {did} this {how} {what} {when}, receipt {number}."
        ),
    };
}

/// More than any line has.
const LONGEST_LINE: usize = 200;
/// Room for the needle and for text around it.
const LEAST_SIZE: usize = 1_000;

#[rustfmt::skip] // a word a line is no table
const SUBJECTS: &[&str] = &[
    "lighthouse", "violin", "harbour", "pelican", "marble", "orchard", "compass", "tundra", "saffron",
    "walnut", "glacier", "lantern", "meadow", "origami", "pendulum", "quarry", "rhubarb", "sextant",
    "turbine", "viaduct",
];

#[rustfmt::skip] // a word a line is no table
const PEOPLE: &[&str] = &[
    "the surveyor", "a young printer", "the captain", "my aunt", "the apprentice", "an old teacher",
    "the baker", "the night guard", "a visiting botanist", "the clerk", "the ferryman", "her neighbour",
    "the editor", "a travelling actor", "the watchmaker", "the librarian", "two sisters", "the gardener",
    "a tired courier", "the mayor's cousin", "the shepherd", "an engineer", "the miller", "a retired judge",
];

#[rustfmt::skip] // a word a line is no table
const VERBS: &[&str] = &[
    "repaired", "described", "sold", "borrowed", "painted", "counted", "measured", "forgot", "found",
    "catalogued", "praised", "moved", "cleaned", "sketched", "inspected", "hid", "returned", "polished",
    "weighed", "labelled",
];

#[rustfmt::skip] // a word a line is no table
const KINDS: &[&str] = &[
    "wooden", "quiet", "broken", "long", "crooked", "blue", "heavy", "curious", "plain", "second", "narrow",
    "forgotten", "silver", "ordinary", "damp", "faded", "enormous", "careful", "northern", "half-finished",
];

#[rustfmt::skip] // a word a line is no table
const THINGS: &[&str] = &[
    "bridge", "letter", "ladder", "map", "clock", "barrel", "drawing", "cart", "window", "ledger", "boat",
    "lamp", "fence", "piano", "chest", "kettle", "statue", "carpet", "telescope", "bench", "wheel",
    "portrait", "bell", "suitcase",
];

#[rustfmt::skip] // a word a line is no table
const PLACES: &[&str] = &[
    "old mill", "railway station", "museum", "west gate", "fish market", "school yard", "river bend",
    "town hall", "post office", "printing house", "vineyard", "north pier", "chapel", "warehouse",
    "botanical garden", "theatre", "brick kiln", "canal lock", "upper valley", "customs house",
];

#[rustfmt::skip] // a word a line is no table
const TIMES: &[&str] = &[
    "before sunrise", "in late autumn", "on a Tuesday", "during the long rain", "after the fair",
    "around noon", "without telling anyone", "for the third time", "in the year of the flood",
    "while it snowed", "shortly before closing", "at the end of May", "as agreed", "to everyone's surprise",
    "by candlelight", "with great patience",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_needle_is_there_once_and_whole() {
        for seed in 0..200 {
            for size in [1_000, 1_001, 5_000, 50_000] {
                let Haystack { text, question, number } = Haystack::generate(seed, size);
                assert_eq!((text.len() as u64, text.is_ascii()), (size, true));
                assert_eq!(text.matches("magic").count(), 1, "{text}");
                assert!(text.lines().any(|line| line.ends_with(&format!(" is: {number}."))), "{seed} {size}");
                let subject = question.split(' ').nth(7).unwrap();
                assert!(text.contains(&format!("numbers for {subject} is: {number}.\n")), "{question}");
            }
        }
    }

    #[test]
    fn lines_differ_and_depths_too() {
        let text = Haystack::generate(7, 500_000).text;
        let lines: HashSet<_> = text.lines().collect();
        assert_eq!(lines.len(), text.lines().count());
        let mean = text.len() / lines.len();
        assert!(mean > 70 && lines.iter().all(|line| line.len() < LONGEST_LINE), "{mean}");
        let depths: Vec<_> =
            (0..40).map(|seed| Haystack::generate(seed, 100_000).text.find("magic").unwrap()).collect();
        assert!(depths.iter().any(|at| *at < 25_000) && depths.iter().any(|at| *at > 75_000), "{depths:?}");
    }

    #[test]
    fn a_seed_is_a_text() {
        assert_eq!(Haystack::generate(3, 10_000).text, Haystack::generate(3, 10_000).text);
        assert_ne!(Haystack::generate(3, 10_000).text, Haystack::generate(4, 10_000).text);
    }
}
