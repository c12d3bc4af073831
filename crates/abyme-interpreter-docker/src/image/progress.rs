//! The progress of an image that is fetched.

use std::{fmt, time::Duration};

use abyme_driver::Progress;

/// A step of fetching the image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullProgress {
    /// The engine does not have this image, or a newer one was asked for; it is fetched.
    Pulling {
        /// The image's name.
        image: String,
    },
    /// A part of it has arrived.
    Downloading {
        /// Bytes that have arrived, of the layers that are known so far.
        done: u64,
        /// Bytes of these layers.
        total: u64,
    },
    /// All of it has arrived.
    Pulled {
        /// The image's name.
        image: String,
        /// How long it took.
        time: Duration,
    },
}

impl fmt::Display for PullProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PullProgress::Pulling { image } => write!(f, "fetching the image {image}"),
            PullProgress::Downloading { done, total } => {
                write!(f, "fetching the image: {} of {} MB", done / 1_000_000, total.div_ceil(1_000_000))
            }
            PullProgress::Pulled { image, time } => {
                write!(f, "the image {image} is there, after {:.1} s", time.as_secs_f64())
            }
        }
    }
}

impl Progress for PullProgress {}

pub(crate) type Reporter = abyme_driver::Reporter<PullProgress>;
