//! Why a container could not be used, and how it ended, in words for people.

use abyme_driver::{exited, killed_by};

/// The first limit that the engine did not apply, from the warnings of a container's creation. What is
/// declared has to be true, so the container must not be used then. A limit of swap does not count.
pub(crate) fn ignored_limit(warnings: &[String]) -> Option<&str> {
    let ignored = |warning: &&String| {
        let warning = warning.to_lowercase();
        warning.contains("discarded") && !warning.contains("swap")
    };
    warnings.iter().find(ignored).map(String::as_str)
}

/// What a Python that is too old writes before its version.
pub(crate) const TOO_OLD: &str = "abyme: too old:";

/// Explains what the engine or its `docker-init` said when the image cannot run Python. `None` if `said` is
/// about something else.
pub(crate) fn explain_image(said: &str, image: &str, python: &str) -> Option<String> {
    if let Some(old) = said.strip_prefix(TOO_OLD) {
        return Some(format!(
            "the image `{image}` has Python{old}, and Abyme needs 3.9 or later: use another image"
        ));
    }
    let said = said.to_lowercase();
    if said.contains("exec format error") {
        return Some(format!(
            "the image `{image}` is for another kind of processor than the engine's: use one that is made \
             for it"
        ));
    }
    if said.contains("docker-init") && said.contains("not found") {
        return Some("the engine has no `docker-init`: install it there, or set `init` to false".to_owned());
    }
    let about_python = said.contains(&format!("exec {python} failed").to_lowercase())
        || said.contains(&format!("exec: \"{python}\"").to_lowercase())
        || said.contains(&format!("{python}: no such file").to_lowercase());
    let missing = said.contains("no such file") || said.contains("not found");
    if about_python && (missing || said.contains("permission denied")) {
        let what = if missing { "has no" } else { "has a file that is no program called" };
        return Some(format!(
            "the image `{image}` {what} `{python}`: use an image with Python 3.9 or later, or set `python` \
             to where it is"
        ));
    }
    None
}

/// An exit code, as the rest of a sentence that begins with "the interpreter". Codes over 128 are signals.
pub(crate) fn describe(code: i64, memory_limit_bytes: Option<u64>) -> String {
    let cause = match (code - 128, memory_limit_bytes) {
        (9, Some(bytes)) => Some(format!("probably because memory ran out (limit {} MB)", bytes >> 20)),
        (15, _) => Some("perhaps by `docker stop`".to_owned()),
        _ => None,
    };
    match code - 128 {
        signal @ 1..=64 => killed_by(signal, cause.as_deref()),
        _ => exited(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_in_words() {
        assert_eq!(describe(0, None), "exited with code 0");
        assert_eq!(describe(3, None), "exited with code 3");
        assert_eq!(
            describe(137, Some(512 << 20)),
            "was killed by signal 9 (kill), probably because memory ran out (limit 512 MB)"
        );
        assert_eq!(describe(139, None), "was killed by signal 11 (segmentation fault)");
        assert_eq!(describe(255, None), "exited with code 255");
    }

    #[test]
    fn images_that_cannot_run_python() {
        let tini = "[FATAL tini (7)] exec python3 failed: No such file or directory";
        let words = explain_image(tini, "busybox", "python3").unwrap();
        assert!(words.contains("`busybox` has no `python3`"), "{words}");
        let runc =
            "OCI runtime create failed: exec: \"python3\": executable file not found in $PATH: unknown";
        assert_eq!(explain_image(runc, "busybox", "python3").unwrap(), words);
        let other = "[FATAL tini (7)] exec python3 failed: Exec format error";
        assert!(explain_image(other, "arm", "python3").unwrap().contains("another kind of processor"));
        let old = explain_image("abyme: too old: 3.8.10", "old", "python3").unwrap();
        assert!(old.starts_with("the image `old` has Python 3.8.10, and"), "{old}");
        assert_eq!(explain_image("Traceback: something else", "x", "python3"), None);
    }

    #[test]
    fn limits_that_an_engine_ignores() {
        let swap = "Your kernel does not support swap limit capabilities. Limitation discarded.".to_owned();
        let pids = "Your kernel does not support PIDs limit capabilities. PIDs limit discarded.".to_owned();
        assert_eq!(ignored_limit(std::slice::from_ref(&swap)), None);
        assert_eq!(ignored_limit(&[swap, pids.clone()]), Some(pids.as_str()));
    }
}
