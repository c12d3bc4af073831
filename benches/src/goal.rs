//! What is asked of a system: a ratio to what others take in the same run. A time alone says nothing on
//! another machine, so a value is asked for only where nothing in the run compares.

use std::thread::available_parallelism;

use crate::{
    record::{Point, Row},
    units::{Unit, times},
};

/// The peers that keep code from the machine, as wasm does.
pub(crate) const SANDBOXED: &[&str] = &["pyeryx", "monty", "DSPy PythonInterpreter"];

/// What is asked of a system at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// This, in the scenario's unit.
    Value(f64),
    /// So many times the median of the best of these systems at the same point.
    Times(f64, &'static [&'static str]),
    /// So many times the system's own median at the first point.
    TimesFirst(f64),
    /// So many times what its work takes if no processor ever waits.
    TimesWork(f64),
}

impl Goal {
    /// The goal in the unit, and the ratio in words. `rows` are those of the same point. `None` if nothing of
    /// what it is a multiple of was measured.
    pub(crate) fn resolve(
        self,
        unit: Unit,
        system: &str,
        rows: &[Row],
        first: Option<&Point>,
    ) -> Option<(f64, Option<String>)> {
        let (ratio, median, of) = match self {
            Self::Value(value) => return Some((value, None)),
            Self::Times(ratio, systems) => {
                let there = rows.iter().filter(|row| systems.contains(&row.system.as_str()));
                let medians = there.filter_map(|row| Some((row.median()?, row.system.as_str())));
                let best = medians.min_by(|one, other| unit.order(one.0, other.0))?;
                (ratio, best.0, best.1)
            }
            Self::TimesFirst(ratio) => {
                let row = first?.rows.iter().find(|row| row.system == system)?;
                (ratio, row.median()?, "its own, at first")
            }
            Self::TimesWork(ratio) => {
                let work = rows.iter().find(|row| row.system == system)?.cpu_time(unit)?;
                let processors = available_parallelism().map_or(1, usize::from);
                (ratio, work / processors as f64, "its CPU time on all processors")
            }
        };
        Some((ratio * median, Some(format!("{} {of}", times(ratio)))))
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::record::{Kind, tests::row};

    #[test]
    fn a_ratio_is_to_the_best_that_was_measured() {
        let mut broken = row("pyeryx", Kind::Peer, &[0.1]);
        broken.problem = Some("it died".into());
        let rows = [broken, row("monty", Kind::Peer, &[2.0]), row("rlms", Kind::Peer, &[1.0])];
        let asked = |goal: Goal, unit| goal.resolve(unit, "wasm", &rows, None);
        let words = |text: &str| Some(text.to_owned());
        assert_eq!(asked(Goal::Times(0.5, SANDBOXED), Unit::Seconds), Some((1.0, words("0.50× monty"))));
        let both = &["monty", "rlms"];
        assert_eq!(asked(Goal::Times(0.5, both), Unit::Seconds), Some((0.5, words("0.50× rlms"))));
        assert_eq!(asked(Goal::Times(3.0, both), Unit::PerSecond), Some((6.0, words("3.00× monty"))));
        assert_eq!(asked(Goal::Times(0.5, &["pyeryx"]), Unit::Seconds), None);
        assert_eq!(asked(Goal::Value(7.0), Unit::Bytes), Some((7.0, None)));
        let none = [row("monty", Kind::Peer, &[0.0]), row("rlms", Kind::Peer, &[0.0])];
        let goal = Goal::Times(0.5, both).resolve(Unit::Bytes, "wasm", &none, None);
        assert_eq!(goal, Some((0.0, words("0.50× monty"))), "of two that are the same, the first");
    }

    #[test]
    fn a_ratio_to_the_work_is_of_all_processors() {
        let mut wasm = row("wasm", Kind::Backend, &[4.0]);
        let goal =
            |wasm: &Row| Goal::TimesWork(1.5).resolve(Unit::Seconds, "wasm", slice::from_ref(wasm), None);
        assert_eq!(goal(&wasm), None, "nothing is known of its work");
        (wasm.cpu, wasm.wall) = (6.0, 4.0);
        let ideal = 6.0 / available_parallelism().map_or(1, usize::from) as f64;
        let words = "1.50× its CPU time on all processors".to_owned();
        assert_eq!(goal(&wasm), Some((1.5 * ideal, Some(words))));
    }

    #[test]
    fn a_ratio_to_itself_is_to_the_first_point() {
        let first = Point { at: Some(0), rows: vec![row("wasm", Kind::Backend, &[0.5])] };
        let goal = Goal::TimesFirst(2.0).resolve(Unit::Seconds, "wasm", &[], Some(&first));
        assert_eq!(goal, Some((1.0, Some("2.00× its own, at first".to_owned()))));
        assert_eq!(Goal::TimesFirst(2.0).resolve(Unit::Seconds, "docker", &[], Some(&first)), None);
        assert_eq!(Goal::TimesFirst(2.0).resolve(Unit::Seconds, "wasm", &[], None), None);
    }
}
