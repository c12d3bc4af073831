//! What the first cell of a session does beside putting the inputs in: it makes objects of dicts, dates,
//! times and decimals, and `context` where a profile wants it, and seeds the random numbers.

use crate::{prompt::CONTEXT, signature::Field};

const OBJECTS: &str = include_str!("objects.py");

/// The code of the cell that puts inputs into a session, each a variable and what it is: none, unless one is
/// to be an object, or to hold one.
pub(super) fn setup<'a>(inputs: impl Iterator<Item = (&'a str, &'a Field)>) -> String {
    let lines: String = inputs.filter_map(|(name, field)| line(name, field)).collect();
    match lines.is_empty() {
        true => String::new(),
        false => OBJECTS.replace("    pass  # inputs\n", &lines),
    }
}

fn line(name: &str, field: &Field) -> Option<String> {
    let objects = field.ty().objects();
    if objects.is_none() && !field.is_object() {
        return None;
    }
    // JSON of texts, lists and dicts is Python too.
    let kind = objects.map_or_else(|| "None".to_owned(), |kind| kind.to_string());
    let is_object = if field.is_object() { "True" } else { "False" };
    Some(format!("    {name} = _abyme_input({name}, {kind}, {is_object})\n"))
}

/// The code that seeds the random numbers of a session.
pub(super) fn seeding(seed: u64) -> String {
    format!("import random as _abyme_random\n_abyme_random.seed({seed})\ndel _abyme_random\n")
}

/// The code that keeps where the random numbers of a session are, for a copy of it.
pub(super) const KEEP_RANDOM: &str = "import random as _abyme_random
_abyme_random_state = _abyme_random.getstate()
del _abyme_random
";
/// The code that has them go on there.
pub(super) const RESTORE_RANDOM: &str = "import random as _abyme_random
_abyme_random.setstate(_abyme_random_state)
del _abyme_random, _abyme_random_state
";

/// The code that makes `context` of the inputs of these names: the only one, or a dict of all. Empty where an
/// input has that name.
pub(super) fn context(names: &[&str]) -> String {
    match names {
        names if names.is_empty() || names.contains(&CONTEXT) => String::new(),
        [only] => format!("{CONTEXT} = {only}\n"),
        names => {
            let entries: Vec<_> = names.iter().map(|name| format!("\"{name}\": {name}")).collect();
            format!("{CONTEXT} = {{{}}}\n", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::TaskSignature;

    #[test]
    fn only_objects_take_code() {
        let setup = |name, field: &Field| setup([(name, field)].into_iter());
        assert_eq!(setup("rows", &Field::untyped("rows")), "");
        let code = setup("rows_1", &Field::untyped("rows").as_object());
        assert!(
            code.contains(
                "
    rows_1 = _abyme_input(rows_1, None, True)
"
            ),
            "{code}"
        );
        assert!(!code.contains("# inputs"), "{code}");
        let days: TaskSignature = "days: list[date] -> total".parse().unwrap();
        let code = setup("days", &days.inputs()[0]);
        assert!(
            code.contains(
                "
try:
    days = _abyme_input(days, [\"each\",\"date\"], False)
finally"
            ),
            "{code}"
        );
    }

    #[test]
    fn the_inputs_are_there_as_context() {
        assert_eq!(context(&["docs"]), "context = docs\n");
        assert_eq!(context(&["docs", "q"]), "context = {\"docs\": docs, \"q\": q}\n");
        assert_eq!((context(&[]), context(&["context", "q"])), (String::new(), String::new()));
    }
}
