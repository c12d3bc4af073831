//! Python names for what a server calls as it likes.

use std::collections::HashSet;

use abyme_core::names::{NameUse, check_identifier, check_name};

/// A Python name for each of these, in their order: the name itself where Python can have it. A character
/// that no name has becomes `_`, a name that begins with a digit gets a `_` before it, one that is taken by
/// Python or by the session one after it, and one that an earlier name was given a number.
pub(crate) fn tool_names<'a>(names: impl IntoIterator<Item = &'a str>, prefix: Option<&str>) -> Vec<String> {
    let prefixed = names.into_iter().map(|name| match prefix {
        Some(prefix) => format!("{prefix}_{name}"),
        None => name.to_owned(),
    });
    python_names(prefixed, |name| check_name(name, NameUse::Tool).is_ok())
}

/// The same for the parameters of one tool.
pub(crate) fn parameter_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    python_names(names.into_iter().map(str::to_owned), |name| check_identifier(name).is_ok())
}

fn python_names(names: impl Iterator<Item = String>, is_free: impl Fn(&str) -> bool) -> Vec<String> {
    let mut given = HashSet::new();
    names
        .map(|name| {
            let base = python_name(&name, &is_free);
            let numbered = (2_u32..).map(|number| format!("{base}_{number}"));
            let mut free = std::iter::once(base.clone()).chain(numbered).filter(|name| !given.contains(name));
            let name = free.next().unwrap_or(base);
            given.insert(name.clone());
            name
        })
        .collect()
}

fn python_name(name: &str, is_free: &impl Fn(&str) -> bool) -> String {
    if is_free(name) {
        return name.to_owned();
    }
    let mut name: String =
        name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|char: char| char.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if !is_free(&name) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_python_cannot_have_are_changed_by_one_rule() {
        let names = ["find", "get-sum", "get.sum", "2nd", "print", "llm_query", "größe", "a b!", ""];
        let expected = ["find", "get_sum", "get_sum_2", "_2nd", "print_", "llm_query_", "größe", "a_b_", "_"];
        assert_eq!(tool_names(names, None), expected);
        assert_eq!(tool_names(["print", "x-y"], Some("web")), ["web_print", "web_x_y"]);
        assert_eq!(
            parameter_names(["print", "from", "user-id", "user_id"]),
            ["print", "from_", "user_id", "user_id_2"]
        );
    }
}
