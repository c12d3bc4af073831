//! Statistics of samples: median, 95th percentile, and whether two sets of them differ.

/// A set of samples in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stats {
    pub(crate) count: usize,
    pub(crate) median: f64,
    /// What one sample in twenty is worse than: above it in time and bytes, below it where more is better.
    pub(crate) p95: f64,
}

impl Stats {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64], more_is_better: bool) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let p95 = quantile(&sorted, if more_is_better { 0.05 } else { 0.95 })?;
        Some(Self { count: sorted.len(), median: quantile(&sorted, 0.5)?, p95 })
    }
}

/// The value below which a part of the sorted samples lies, between two of them where it has to be.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = part.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// The median, of samples in any order.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    Stats::of(samples, false).map(|stats| stats.median)
}

/// Mann-Whitney: how likely samples that differ this much in rank are if both sets come from the same
/// distribution. It asks nothing of the distribution's shape, which for times is anything but normal. `None`
/// below [`FEWEST`] samples each, where the approximation does not hold.
pub(crate) fn same_by_chance(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.len().min(other.len()) < FEWEST {
        return None;
    }
    let mut all: Vec<(f64, bool)> = one.iter().map(|sample| (*sample, true)).collect();
    all.extend(other.iter().map(|sample| (*sample, false)));
    all.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut rank_sum, mut ties, mut seen) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|left, right| left.0 == right.0) {
        let size = equal.len() as f64;
        // Equal samples share the mean of the ranks they take together.
        let rank = seen + f64::midpoint(1.0, size);
        rank_sum += rank * equal.iter().filter(|(_, first)| *first).count() as f64;
        ties += size.powi(3) - size;
        seen += size;
    }
    let (n, m) = (one.len() as f64, other.len() as f64);
    let total = n + m;
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return Some(1.0); // All samples are equal.
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    Some(beyond(distance))
}

/// Fewest samples of each set for a verdict.
pub(crate) const FEWEST: usize = 7;

/// The part of a normal distribution further from the middle than so many standard deviations, on both sides.
/// Abramowitz and Stegun 7.1.26, exact to seven digits.
fn beyond(deviations: f64) -> f64 {
    let x = deviations / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t) * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_samples() {
        assert_eq!(Stats::of(&[], false), None);
        let one = Stats { count: 1, median: 3.0, p95: 3.0 };
        assert_eq!(Stats::of(&[3.0], false), Some(one));
        let stats = Stats::of(&[4.0, 1.0, 3.0, 2.0], false).unwrap();
        assert_eq!(stats.median, 2.5);
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(Stats::of(&hundred, false).unwrap().p95, 95.0);
        assert_eq!(Stats::of(&hundred, true).unwrap().p95, 5.0);
    }

    #[test]
    fn the_normal_distribution_is_right() {
        for (deviations, expected) in [(0.0, 1.0), (1.0, 0.317_310_5), (1.959_964, 0.05), (3.290_527, 0.001)]
        {
            assert!((beyond(deviations) - expected).abs() < 1e-6, "{deviations}: {}", beyond(deviations));
        }
    }

    #[test]
    fn ranks_tell_sets_apart() {
        let low: Vec<f64> = (0..20).map(f64::from).collect();
        let high: Vec<f64> = (15..35).map(f64::from).collect();
        assert!(same_by_chance(&low, &high).unwrap() < 1e-5);
        assert!(same_by_chance(&low, &low).unwrap() > 0.99);
        assert_eq!(same_by_chance(&[1.0; 9], &[1.0; 9]), Some(1.0));
        assert_eq!(same_by_chance(&[1.0; 9], &[2.0; 6]), None);
    }

    #[test]
    fn ties_share_their_rank() {
        // By the same formula with Python's `math.erfc`.
        let a = [1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 9.0, 9.0];
        let b = [4.0, 5.0, 6.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        assert!((same_by_chance(&a, &b).unwrap() - 0.064_689_06).abs() < 1e-6);
    }
}
