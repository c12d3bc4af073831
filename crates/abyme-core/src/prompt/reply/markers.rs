//! The field markers of DSPy's chat format: `[[ ## code ## ]]`.

/// The field's name if `line` starts with a marker, and where the marker ends.
pub(super) fn marker(line: &str) -> Option<(&str, usize)> {
    let start = line.len() - line.trim_start().len();
    let rest = line[start..].strip_prefix("[[")?.trim_start().strip_prefix("##")?;
    let end = rest.find("##")?;
    let name = rest[..end].trim();
    let after = rest[end + 2..].trim_start().strip_prefix("]]")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, line.len() - after.len()))
}
