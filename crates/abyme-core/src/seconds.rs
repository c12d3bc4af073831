//! Durations as seconds, which are easy to read and write in a configuration or a trajectory:
//! `#[serde(with = "abyme_core::seconds")]`, and `seconds::option` for an `Option<Duration>`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes seconds, with microseconds as the finest.
#[allow(clippy::missing_errors_doc, reason = "those of the serializer")]
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e6)
}

/// Reads seconds.
#[allow(
    clippy::missing_errors_doc,
    reason = "those of the deserializer, and for what is not a number of seconds"
)]
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same for a duration that may be absent: `null` is none.
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer};

    /// Writes seconds, or `null`.
    #[allow(clippy::missing_errors_doc, reason = "those of the serializer")]
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads seconds, or `null`.
    #[allow(clippy::missing_errors_doc, reason = "those of the deserializer")]
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}
