//! Collects the events of one run and hands each to those who watch.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{Event, EventSink, Record, Trajectory};

/// Collects the events of one run. Shared by the loop and the host calls in flight.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    sinks: Vec<Arc<dyn EventSink>>,
    records: Mutex<Vec<Arc<Record>>>,
}

impl Recorder {
    pub(crate) fn new(sinks: Vec<Arc<dyn EventSink>>) -> Self {
        Self { start: Instant::now(), sinks, records: Mutex::default() }
    }

    pub(crate) fn record(&self, event: Event) {
        let record = Arc::new(Record::new(self.start.elapsed().as_secs_f64(), event));
        for sink in &self.sinks {
            sink.record(&record);
        }
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    pub(crate) fn trajectory(&self) -> Trajectory {
        Trajectory { records: self.records.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}
