//! Prompt texts are files with `{{name}}` places.

/// Fills the `{{name}}` places of a template in one pass: braces in the values stay as they are, and a place without
/// a value stays visible.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template.trim_end();
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let known = after.split_once("}}").and_then(|(name, after)| {
            values.iter().find(|(given, _)| *given == name).map(|(_, value)| (value, after))
        });
        match known {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn values_are_never_filled_again() {
        assert_eq!(fill("a {{x}} {{y}} {{z}} {{", &[("x", "{{y}}"), ("y", "2")]), "a {{y}} 2 {{z}} {{");
    }
}
