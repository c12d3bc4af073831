//! "Did you mean ...?"

/// `` (did you mean `x`?)`` for the candidate nearest to `name`, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

/// The candidate nearest to `name`, if it differs by case or by a third of its letters at most.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(MAX_CHARS + 1).flat_map(char::to_lowercase).collect();
    if name.len() > MAX_CHARS {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other: Vec<char> =
                candidate.chars().take(2 * MAX_CHARS).flat_map(char::to_lowercase).collect();
            let distance = distance(&name, &other);
            (distance * 3 <= name.len().max(other.len()).max(3)).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Longer names are not worth the time.
const MAX_CHARS: usize = 40;

/// How many letters must be added, removed, changed or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let before: &Vec<usize> = &before;
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

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
