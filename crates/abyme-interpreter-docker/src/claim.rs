//! What a session may use of its engine's machine, and the labels that tell other programs of it.

use std::collections::HashMap;

use crate::config::Config;

const CLAIMED_MEMORY: &str = "dev.abyme.claim.memory-bytes";
const CLAIMED_CPUS: &str = "dev.abyme.claim.cpus";

/// What a session may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Claim {
    pub(crate) memory_bytes: f64,
    pub(crate) cpus: f64,
}

impl Claim {
    /// The claim of a session. One without a limit counts as one with the default limit.
    pub(crate) fn of(config: &Config) -> Self {
        let default = Config::default();
        let memory = config.memory_limit_bytes.or(default.memory_limit_bytes);
        Self {
            memory_bytes: memory.unwrap_or_default() as f64,
            cpus: config.cpus.or(default.cpus).unwrap_or(1.0),
        }
    }

    /// The labels that tell other programs of it.
    pub(crate) fn labels(self) -> [(String, String); 2] {
        [
            (CLAIMED_MEMORY.to_owned(), self.memory_bytes.to_string()),
            (CLAIMED_CPUS.to_owned(), self.cpus.to_string()),
        ]
    }

    pub(crate) fn in_labels(labels: &HashMap<String, String>) -> Self {
        let number = |name: &str| {
            let number = labels.get(name).and_then(|value| value.parse::<f64>().ok());
            number.filter(|number| number.is_finite() && *number >= 0.0).unwrap_or_default()
        };
        Self { memory_bytes: number(CLAIMED_MEMORY), cpus: number(CLAIMED_CPUS) }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { memory_bytes: self.memory_bytes + other.memory_bytes, cpus: self.cpus + other.cpus }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_written_and_read_by_labels() {
        let claim = Claim::of(&Config { cpus: Some(0.25), ..Config::default() });
        assert_eq!(Claim::in_labels(&claim.labels().into_iter().collect()), claim);
        let others = HashMap::from([(CLAIMED_CPUS.to_owned(), "NaN".to_owned())]);
        assert_eq!(Claim::in_labels(&others), Claim::default());
    }
}
