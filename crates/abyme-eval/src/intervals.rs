//! Confidence intervals of means and of paired differences.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::Serialize;

/// The standard normal quantile of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;
/// Samples of a bootstrap.
const SAMPLES: usize = 10_000;
/// The seed of the bootstrap, so that a report of the same results is the same report.
const SEED: u64 = 95;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How it was made.
    pub method: Method,
}

/// How an interval is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Wilson's score interval, for values that are 0 or 1.
    Wilson,
    /// The percentiles of means of 10 000 samples that are drawn from the values with replacement, with a
    /// fixed seed.
    Bootstrap,
}

impl Interval {
    /// The interval of the mean of these values, one for each task: Wilson's where all of them are 0 or 1,
    /// else the bootstrap's. `None` without values.
    ///
    /// ```
    /// use abyme_eval::Interval;
    ///
    /// let seven_of_ten = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    /// let interval = Interval::of(&seven_of_ten).unwrap();
    /// assert_eq!(format!("{:.3} {:.3}", interval.low, interval.high), "0.397 0.892");
    /// ```
    #[must_use]
    #[allow(clippy::float_cmp, reason = "scores of 0 and 1 are exact")]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.iter().all(|value| *value == 0.0 || *value == 1.0) {
            return Self::wilson(values.iter().filter(|value| **value == 1.0).count(), values.len());
        }
        Self::bootstrap(values)
    }

    /// Wilson's score interval of a share: `hits` of `all`. `None` where there are none at all.
    #[must_use]
    pub fn wilson(hits: usize, all: usize) -> Option<Self> {
        if all == 0 {
            return None;
        }
        let (n, share) = (all as f64, hits as f64 / all as f64);
        let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let (middle, scale) = (share + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        let low = ((middle - spread) / scale).max(0.0);
        let high = ((middle + spread) / scale).min(1.0);
        Some(Self { low, high, method: Method::Wilson })
    }

    /// The bootstrap's interval of the mean of these values. `None` without values.
    #[must_use]
    pub fn bootstrap(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let mut source = ChaCha8Rng::seed_from_u64(SEED);
        let count = values.len() as u64;
        let mut draw = || values[((u64::from(source.next_u32()) * count) >> 32) as usize];
        let mut means: Vec<f64> =
            (0..SAMPLES).map(|_| values.iter().map(|_| draw()).sum::<f64>() / count as f64).collect();
        means.sort_by(f64::total_cmp);
        let (low, high) = (means[SAMPLES / 40], means[SAMPLES - 1 - SAMPLES / 40]);
        Some(Self { low, high, method: Method::Bootstrap })
    }
}

/// The probability of a split at least as uneven as this one, if both sides were as likely: the sign test,
/// two-sided. For right and wrong answers it is the exact test of McNemar.
///
/// ```
/// assert!((abyme_eval::sign_test(0, 5) - 0.0625).abs() < 1e-12);
/// ```
#[must_use]
pub fn sign_test(wins: usize, losses: usize) -> f64 {
    let (all, fewer) = (wins + losses, wins.min(losses));
    // Each summand, n choose k over 2^n, from the one before; as logarithms, because the first may be too
    // small for a number.
    let mut summand = all as f64 * 0.5_f64.ln();
    let mut sum = summand.exp();
    for chosen in 1..=fewer {
        summand += ((all - chosen + 1) as f64 / chosen as f64).ln();
        sum += summand.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(interval: Option<Interval>) -> (f64, f64) {
        let to_four = |value: f64| (value * 1e4).round() / 1e4;
        let interval = interval.unwrap();
        (to_four(interval.low), to_four(interval.high))
    }

    /// The values are those that statsmodels 0.14 and R's `binom.confint` give.
    #[test]
    fn wilson_as_in_the_tables() {
        assert_eq!(rounded(Interval::wilson(7, 10)), (0.3968, 0.8922));
        assert_eq!(rounded(Interval::wilson(0, 10)), (0.0, 0.2775));
        assert_eq!(rounded(Interval::wilson(10, 10)), (0.7225, 1.0));
        assert_eq!(rounded(Interval::wilson(81, 263)), (0.2553, 0.3662));
        assert_eq!(Interval::wilson(0, 0), None);
    }

    #[test]
    fn a_bootstrap_is_as_wide_as_the_normal_interval_of_many_values() {
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 5) / 4.0).collect();
        // The deviation of 0, ¼, ½, ¾, 1 is the root of ⅛.
        let half = Z * 0.125_f64.sqrt() / 20.0;
        let interval = Interval::of(&values).unwrap();
        assert_eq!(interval.method, Method::Bootstrap);
        assert!((interval.low - (0.5 - half)).abs() < 0.004, "{interval:?} {half}");
        assert!((interval.high - (0.5 + half)).abs() < 0.004, "{interval:?} {half}");
        assert_eq!(Interval::of(&values), Some(interval), "the seed is fixed");
    }

    #[test]
    fn values_of_0_and_1_are_a_share() {
        assert_eq!(Interval::of(&[1.0, 0.0, 1.0]), Interval::wilson(2, 3));
        assert_eq!(Interval::of(&[]), None);
        assert_eq!(rounded(Interval::of(&[0.5])), (0.5, 0.5));
    }

    #[test]
    fn the_sign_test_as_binomial() {
        assert_eq!(sign_test(0, 0), 1.0);
        assert_eq!(sign_test(5, 5), 1.0);
        for (wins, losses, expected) in
            [(1, 9, 22.0 / 1024.0), (9, 1, 22.0 / 1024.0), (600, 700, 0.006_015_793_861)]
        {
            let p = sign_test(wins, losses);
            assert!((p - expected).abs() < 1e-9, "{wins} {losses}: {p}");
        }
    }
}
