//! Memory as Linux reports it. Elsewhere every function fails with the same reason.

use std::fs;

use crate::cpu;

const ELSEWHERE: &str = "memory is read from /proc, which is only on Linux";

/// Python that tells the private memory of the process it runs in, in kilobytes.
pub(crate) const OWN_PRIVATE: &str = "[int(line.split()[1]) for line in open('/proc/self/smaps_rollup') \
                                      if line.startswith('Private_Dirty:')][0]";

/// Bytes that only this process has, and has written.
///
/// # Errors
/// Not on Linux.
pub(crate) fn private() -> Result<u64, String> {
    kilobytes("/proc/self/smaps_rollup", "Private_Dirty:")
}

/// Bytes in memory now, what is shared with others included.
///
/// # Errors
/// Not on Linux.
pub(crate) fn resident() -> Result<u64, String> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Bytes of its own in memory now. Unlike [`private`] the kernel has it at hand, and unlike [`resident`] a
/// page of a file that is mapped a thousand times does not count a thousand times.
///
/// # Errors
/// Not on Linux.
pub(crate) fn anonymous() -> Result<u64, String> {
    kilobytes("/proc/self/status", "RssAnon:")
}

/// The most bytes in memory since [`forget_peak`].
///
/// # Errors
/// Not on Linux.
pub(crate) fn peak() -> Result<u64, String> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Makes the kernel forget the highest mark.
///
/// # Errors
/// Not on Linux, or not allowed.
pub(crate) fn forget_peak() -> Result<(), String> {
    fs::write("/proc/self/clear_refs", "5").map_err(|error| format!("{ELSEWHERE}: {error}"))
}

/// Bytes that only the children of this process have, all children together.
///
/// # Errors
/// Not on Linux.
pub(crate) fn of_children() -> Result<u64, String> {
    let children = cpu::children_of("self").map_err(|error| format!("{ELSEWHERE}: {error}"))?;
    let mut total = 0;
    for child in children {
        // It may have ended in the meantime.
        total += kilobytes(&format!("/proc/{child}/smaps_rollup"), "Private_Dirty:").unwrap_or_default();
    }
    Ok(total)
}

/// Bytes of memory that are available.
///
/// # Errors
/// Not on Linux.
pub(crate) fn available() -> Result<u64, String> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Succeeds if so much memory is left.
///
/// # Errors
/// Why a system cannot take part.
pub(crate) fn need(bytes: u64) -> Result<(), String> {
    match available() {
        Ok(left) if left < bytes => {
            let (bytes, left) = (bytes / 1_000_000, left / 1_000_000);
            Err(format!("about {bytes} MB of memory are needed, and {left} MB are left"))
        }
        // Where the system does not tell, the sample has to be tried.
        _ => Ok(()),
    }
}

fn kilobytes(path: &str, name: &str) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{ELSEWHERE}: {path}: {error}"))?;
    let line = text.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    number.map(|number| number << 10).ok_or_else(|| format!("{path} does not say {name}"))
}
