//! From values to pixels, and which values get a label.

/// From values to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) is_log: bool,
    low: f64,
    high: f64,
    from: i32,
    to: i32,
}

/// Values further apart than this do not fit on a linear scale.
const WIDE: f64 = 20.0;

impl Scale {
    /// A scale that holds the values between two pixels. A linear one begins at zero, or bars would lie.
    pub(super) fn new(values: &[f64], from: i32, to: i32) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let low = positive().fold(f64::INFINITY, f64::min);
        let high = positive().fold(0.0, f64::max);
        if high <= 0.0 {
            return Self { is_log: false, low: 0.0, high: 1.0, from, to };
        }
        if high / low <= WIDE {
            let (last, _) = linear_ticks(high);
            return Self { is_log: false, low: 0.0, high: last, from, to };
        }
        // A little room below, so that the smallest is seen.
        Self { is_log: true, low: (low / 2.0).log10(), high: (high * 1.1).log10(), from, to }
    }

    /// The pixel of a value; what is beyond the ends is put there.
    pub(super) fn at(self, value: f64) -> i32 {
        let place = if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let part = ((place - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + (part * f64::from(self.to - self.from)).round() as i32
    }

    /// Values to label.
    pub(super) fn ticks(self) -> Vec<f64> {
        if !self.is_log {
            let (last, step) = linear_ticks(self.high);
            return (0..=(last / step).round() as i32).map(|count| f64::from(count) * step).collect();
        }
        let (first, last) = (self.low.ceil() as i32, self.high.floor() as i32);
        // Seven decades are as many as there is room for.
        let every = ((last - first) / 7 + 1).max(1) as usize;
        let mut ticks: Vec<f64> = (first..=last).step_by(every).map(|power| 10_f64.powi(power)).collect();
        if ticks.len() < 3 {
            let within = |value: &f64| (self.low..=self.high).contains(&value.log10());
            let finer = (first - 1..=last).flat_map(|power| [2.0, 5.0].map(|part| part * 10_f64.powi(power)));
            ticks.extend(finer.filter(within));
            ticks.sort_by(f64::total_cmp);
        }
        ticks
    }
}

/// The last round value at or above `high`, and the step to it, for about five steps.
fn linear_ticks(high: f64) -> (f64, f64) {
    let rough = high / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|part| part * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power);
    ((high / step - 0.001).ceil() * step, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_values_are_linear_from_zero() {
        let scale = Scale::new(&[3.0, 9.0], 0, 1000);
        assert!(!scale.is_log);
        assert_eq!((scale.at(0.0), scale.at(5.0), scale.at(10.0), scale.at(99.0)), (0, 500, 1000, 1000));
        assert_eq!(scale.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn far_values_are_logarithmic() {
        let scale = Scale::new(&[0.001, 1.0], 0, 1000);
        assert!(scale.is_log);
        assert!(scale.at(0.001) > 0 && scale.at(1.0) < 1000);
        let decade = |from: f64| scale.at(10.0 * from) - scale.at(from);
        assert!((decade(0.01) - decade(0.1)).abs() <= 1);
        let ticks: Vec<String> = scale.ticks().iter().map(|tick| format!("{tick:.3}")).collect();
        assert_eq!(ticks, ["0.001", "0.010", "0.100", "1.000"]);
        let short = Scale::new(&[3.0, 70.0], 0, 100).ticks();
        assert_eq!(short, [2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn nothing_and_zero_have_a_scale() {
        assert_eq!(Scale::new(&[], 0, 10).at(0.0), 0);
        assert!(!Scale::new(&[0.0], 0, 10).ticks().is_empty());
    }
}
