//! "Did you mean ...?"

/// `` (did you mean `x`?)`` for the candidate nearest to `name`, or nothing.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

/// The candidate nearest to `name`, if it differs by case or by a third of its letters at most.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = |text: &str, chars: usize| text.chars().take(chars).flat_map(char::to_lowercase).collect();
    let name: String = lower(name, MAX_CHARS + 1);
    let length = name.chars().count();
    if length > MAX_CHARS {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other: String = lower(candidate, 2 * MAX_CHARS);
            // How many letters must be added, removed, changed or swapped with their neighbour.
            let distance = strsim::osa_distance(&name, &other);
            (distance * 3 <= length.max(other.chars().count()).max(3)).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Longer names are not worth the time.
const MAX_CHARS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let candidates = ["str", "int", "float", "list", "modules", "total_errors_found"];
        for (name, near) in [
            ("inte", Some("int")),
            ("INT", Some("int")),
            ("flaot", Some("float")),
            ("module", Some("modules")),
            ("totl_error_found", Some("total_errors_found")),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, candidates), near, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), candidates), None);
    }
}
