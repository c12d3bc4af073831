//! Counts in words.

/// `1 sub-call`, `3 sub-calls`.
pub(crate) fn counted(count: impl Into<u64>, word: &str) -> String {
    let count = count.into();
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
