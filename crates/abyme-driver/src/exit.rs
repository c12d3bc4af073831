//! How a process ended, in words for people.

/// How a process ended that exited with this code, as the rest of a sentence that begins with "the
/// interpreter".
pub fn exited(code: i64) -> String {
    format!("exited with code {code}")
}

/// How a process ended that this signal killed, as the rest of such a sentence. `cause` is what is known of
/// where the signal came from.
///
/// ```
/// use abyme_driver::killed_by;
///
/// assert_eq!(killed_by(11, None), "was killed by signal 11 (segmentation fault)");
/// assert_eq!(killed_by(9, None), "was killed by signal 9 (kill), perhaps because memory ran out");
/// assert_eq!(killed_by(9, Some("by the user")), "was killed by signal 9 (kill), by the user");
/// ```
pub fn killed_by(signal: i64, cause: Option<&str>) -> String {
    let name = match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        9 => " (kill)",
        11 => " (segmentation fault)",
        15 => " (termination)",
        24 => " (processor time limit)",
        25 => " (file size limit)",
        31 => " (forbidden system call)",
        _ => "",
    };
    let cause = cause.or((signal == 9).then_some("perhaps because memory ran out"));
    let cause = cause.map(|cause| format!(", {cause}")).unwrap_or_default();
    format!("was killed by signal {signal}{name}{cause}")
}
