//! What is said while an image is fetched.

use std::{fmt, sync::Arc, time::Duration};

/// A step of fetching the image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The engine does not have this image, or a newer one was asked for; it is fetched.
    Pulling {
        /// The image's name.
        image: String,
    },
    /// So much of it is there.
    Downloading {
        /// Bytes that have arrived, of the layers that are known so far.
        done: u64,
        /// Bytes of these layers.
        total: u64,
    },
    /// It is there.
    Pulled {
        /// The image's name.
        image: String,
        /// How long it took.
        time: Duration,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Pulling { image } => write!(f, "fetching the image {image}"),
            Progress::Downloading { done, total } => {
                write!(f, "fetching the image: {} of {} MB", done / 1_000_000, total.div_ceil(1_000_000))
            }
            Progress::Pulled { image, time } => {
                write!(f, "the image {image} is there, after {:.1} s", time.as_secs_f64())
            }
        }
    }
}

/// Whoever wants to know; the log, if nobody does.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Reporter {
    pub(crate) fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    pub(crate) fn report(&self, progress: Progress) {
        match &self.0 {
            Some(report) => report(progress),
            None => tracing::info!("{progress}"),
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reporter(..)" } else { "Reporter(None)" })
    }
}
