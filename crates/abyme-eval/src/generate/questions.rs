//! Questions whose label only their meaning tells: several forms for each label, and words in them.

use super::dice::Dice;

/// A label: its name, and its questions.
pub(super) struct Label {
    pub(super) name: &'static str,
    /// What it is, where the name does not say it.
    meaning: &'static str,
    forms: &'static [&'static str],
}

/// More than any question has.
pub(super) const LONGEST_QUESTION: usize = 120;

/// The labels, as those of TREC's coarse ones.
pub(super) const LABELS: [Label; 6] = [
    Label { name: "abbreviation", meaning: " (letters, or what they stand for)", forms: ABBREVIATION },
    Label {
        name: "entity",
        meaning: " (an animal, plant, colour, dish, instrument, book...)",
        forms: ENTITY,
    },
    Label { name: "description", meaning: " (a meaning, reason, use, manner)", forms: DESCRIPTION },
    Label { name: "person", meaning: "", forms: PERSON },
    Label { name: "location", meaning: "", forms: LOCATION },
    Label { name: "number", meaning: " (also a date, price, age)", forms: NUMBER },
];

/// What is said of the labels in every task. With what a task asks it is shorter than the preview of an input
/// in a run.
pub(super) fn preamble() -> String {
    let labels: Vec<_> = LABELS.iter().map(|label| format!("{}{}", label.name, label.meaning)).collect();
    format!(
        "Each line of the context is a question. Its label is the kind of thing that it asks for: {}. The \
         labels are not written there; they follow from what the questions mean. ",
        labels.join(", ")
    )
}

/// Writes a question of a label.
pub(super) fn write_question(dice: &mut Dice, text: &mut String, label: usize) {
    let form = dice.pick(LABELS[label].forms);
    let mut parts = form.split(['{', '}']);
    // What stands between braces says which word is drawn.
    while let Some(part) = parts.next() {
        text.push_str(part);
        match parts.next() {
            Some("thing") => text.push_str(dice.pick(THINGS)),
            Some("place") => text.push_str(dice.pick(PLACES)),
            Some("job") => text.push_str(dice.pick(JOBS)),
            Some("name") => text.push_str(dice.pick(NAMES)),
            Some("did") => text.push_str(dice.pick(DID)),
            Some("letters") => {
                for _ in 0..3 {
                    text.push(dice.pick(CAPITALS));
                }
            }
            _ => {}
        }
    }
}

const ABBREVIATION: &[&str] = &[
    "What do the letters {letters} on the {thing} stand for?",
    "{letters} is short for what?",
    "Spell out {letters}, as the {job} uses it.",
    "What is the full form of {letters}, the club in {place}?",
    "How is the title of the {job} of {place} abbreviated?",
    "Which three letters do people in {place} write for the {thing} guild?",
    "In letters of {name}, what does {letters} mean when it is written out?",
    "What words hide behind the initials {letters}?",
];

const ENTITY: &[&str] = &[
    "What animal is on the flag of {place}?",
    "Which instrument does the {job} of {place} play?",
    "What colour was the {thing} that {name} {did}?",
    "Name the dish that {place} is known for.",
    "Which language do the people of {place} speak?",
    "What is the plant called that grows behind the {thing} of {name}?",
    "What did the {job} carry to {place}?",
    "Which wood is the {thing} in {place} made of?",
    "What kind of fish is sold by the {job}?",
    "Tell me the book that {name} {did} last.",
];

const DESCRIPTION: &[&str] = &[
    "Why did {name} leave {place}?",
    "How does a {thing} work?",
    "What is a {thing} used for in {place}?",
    "What does it mean when a {job} bows twice?",
    "For what reason was the {thing} {did}?",
    "In what manner is a {thing} cleaned?",
    "Explain the quarrel between {name} and the {job}.",
    "What is the difference between a {thing} and a chest?",
    "How come the {job} of {place} is paid in salt?",
    "What caused the fire in {place}?",
];

const PERSON: &[&str] = &[
    "Who {did} the {thing} in {place}?",
    "Name the {job} of {place}.",
    "Which {job} {did} the {thing}?",
    "By whom was the {thing} of {name} {did}?",
    "Whose {thing} stands in the hall of {place}?",
    "What is the {job} called that taught {name}?",
    "Whom did {name} marry in {place}?",
    "Who was the first {job} to reach {place}?",
    "What was the name of the twin of {name}?",
];

const LOCATION: &[&str] = &[
    "Where is the {thing} of {name} kept?",
    "In which town was {name} born?",
    "What country does the {thing} come from?",
    "Which river runs past {place}?",
    "From where did the {job} bring the {thing}?",
    "On what street does the {job} of {place} live?",
    "What is the capital of the land that {name} {did}?",
    "To which harbour did {name} sail?",
    "What mountain can be seen from {place}?",
    "Where did they find the {thing}?",
];

const NUMBER: &[&str] = &[
    "How many people live in {place}?",
    "When was the {thing} {did}?",
    "In what year did {name} come to {place}?",
    "How far is it from {place} to the coast?",
    "What did the {thing} cost?",
    "How old is the {job} of {place}?",
    "At what time does the {job} rise?",
    "What share of {place} is under water?",
    "How much does the {thing} of {name} weigh?",
    "What is the height of the {thing} in {place}?",
    "On which day did {name} meet the {job}?",
];

#[rustfmt::skip] // a word a line is no table
const THINGS: &[&str] = &[
    "lantern", "barge", "organ", "compass", "loom", "statue", "bridge", "ledger", "kettle", "sundial",
    "portrait", "rudder", "bell", "carriage", "mosaic", "telescope", "well", "tapestry", "windmill", "crown",
];

#[rustfmt::skip] // a word a line is no table
const PLACES: &[&str] = &[
    "Orlund", "Vesper Bay", "Tarnholm", "Old Quell", "Marrow Hill", "Sithney", "Brackwater", "Ilmara",
    "Pell Island", "Grenwick", "Sable Ford", "Norrow", "Ashmere", "Kettle Cross", "Dunlow", "Varis",
];

#[rustfmt::skip] // a word a line is no table
const JOBS: &[&str] = &[
    "miller", "surveyor", "weaver", "harbour master", "harpist", "baker", "mapmaker", "judge", "glazier",
    "ferryman", "pharmacist", "clockmaker", "shepherd", "librarian", "mason", "beekeeper",
];

#[rustfmt::skip] // a word a line is no table
const NAMES: &[&str] = &[
    "Ansa Tolve", "Piet Marram", "Orla Finch", "Bram Hesk", "Ida Corvin", "Tomas Vey", "Lene Arrow",
    "Hugo Salt", "Mira Dunn", "Ezra Pike", "Wanda Lisle", "Noor Halim", "Kai Berent", "Sofie Grau",
];

#[rustfmt::skip] // a word a line is no table
const DID: &[&str] = &[
    "built", "sold", "painted", "found", "lost", "repaired", "bought", "described", "borrowed", "measured",
];

const CAPITALS: &[char] = &['A', 'B', 'C', 'D', 'F', 'G', 'K', 'L', 'M', 'N', 'P', 'R', 'S', 'T', 'V'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_filled_and_short_enough() {
        let mut dice = Dice::new(1);
        for (label, of_label) in LABELS.iter().enumerate() {
            for _ in 0..2_000 {
                let mut text = String::new();
                write_question(&mut dice, &mut text, label);
                assert!(text.len() < LONGEST_QUESTION && !text.contains(['{', '}']), "{text}");
                assert!(!text.contains("  ") && text.ends_with(['?', '.']), "{text}");
            }
            let mut forms = of_label.forms.iter();
            assert!(forms.all(|form| {
                form.split(['{', '}'])
                    .skip(1)
                    .step_by(2)
                    .all(|slot| ["thing", "place", "job", "name", "did", "letters"].contains(&slot))
            }));
        }
    }
}
