//! Processor time of this program and of all processes below it, and which these are, as Linux reports it.
//! Elsewhere nothing is known.

use std::{fs, io};

/// Linux counts processor time in hundredths of a second wherever it shows it to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// The seconds that this program and the processes below it have used so far, those that ended included.
pub(crate) fn of_tree() -> Option<f64> {
    of(&std::process::id().to_string())
}

/// The children of a process, dead ones that are not waited for too. `self` is this one.
///
/// # Errors
/// There is no such process, or this is not Linux.
pub(crate) fn children_of(process: &str) -> io::Result<Vec<String>> {
    let threads = fs::read_dir(format!("/proc/{process}/task"))?;
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    Ok(lists.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect())
}

fn of(process: &str) -> Option<f64> {
    let own = ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
    let children = children_of(process).unwrap_or_default();
    // One that ends in the meantime is counted by its parent from then on.
    let below = children.iter().filter_map(|child| of(child));
    Some(own / TICKS_PER_SECOND + below.sum::<f64>())
}

/// The time of a process and of its children that ended, in ticks. The name in brackets may have spaces.
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
    times.sum::<Result<f64, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_times_of_a_process_are_added() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 200 0 0 12 3 40 5 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(60.0));
        assert_eq!(ticks("7 a S 1"), None);
        assert_eq!(ticks("7 (a) S 1 7 7 0 -1 4194304 100 200 0 0 x 3 40 5"), None);
    }

    #[test]
    fn work_takes_time() {
        let Some(before) = of_tree() else { return };
        let mut sum = 0u64;
        while of_tree().is_some_and(|now| now - before < 0.02) {
            sum = (0..1_000_000u64).fold(sum, |sum, number| sum ^ number.wrapping_mul(sum | 1));
        }
        assert!(of_tree().unwrap() >= before + 0.02, "{sum}");
    }
}
