//! Processor time of this program and of all processes below it, as Linux reports it. Elsewhere nothing is
//! known.

use std::fs;

/// Linux counts processor time in hundredths of a second wherever it shows it to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// The seconds that this program and the processes below it have used so far, those that ended included.
pub(crate) fn of_tree() -> Option<f64> {
    of(&std::process::id().to_string())
}

fn of(process: &str) -> Option<f64> {
    let own = ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<String> = children.collect();
    // One that ends in the meantime is counted by its parent from then on.
    let below = children.iter().flat_map(|children| children.split_whitespace()).filter_map(of);
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
