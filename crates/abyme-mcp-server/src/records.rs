//! The records of this server's runs, as resources.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use abyme_core::Trajectory;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents};

use crate::config::RlmServerConfig;

const PREFIX: &str = "abyme://runs/";
const MIME_TYPE: &str = "application/jsonl";
/// How much of a question names its record.
const MAX_NAME_CHARS: usize = 80;

/// The newest records, in memory.
#[derive(Debug)]
pub(crate) struct Records {
    kept: Mutex<VecDeque<Kept>>,
    max_records: usize,
    max_record_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    uri: String,
    name: String,
    status: String,
    text: Arc<str>,
}

impl Records {
    pub(crate) fn new(config: &RlmServerConfig) -> Self {
        Self {
            kept: Mutex::default(),
            max_records: config.max_records,
            max_record_bytes: config.max_record_bytes,
        }
    }

    /// Keeps the record of a run that ended; its URI, unless it is too large to be kept.
    pub(crate) async fn keep(&self, question: &str, status: &str, trajectory: &Trajectory) -> Option<String> {
        let run = trajectory.run().to_owned();
        if self.max_records == 0 || run.is_empty() {
            return None;
        }
        let (trajectory, most) = (trajectory.clone(), self.max_record_bytes);
        let written = tokio::task::spawn_blocking(move || {
            let text = trajectory.to_jsonl();
            (text.len() <= most).then(|| Arc::from(text))
        });
        let text = written.await.ok().flatten()?;
        let uri = format!("{PREFIX}{run}");
        let record = Kept { uri: uri.clone(), name: name_of(question), status: status.to_owned(), text };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() >= self.max_records {
            kept.pop_front();
        }
        kept.push_back(record);
        Some(uri)
    }

    /// All that are kept, the newest first.
    pub(crate) fn list(&self) -> Vec<Resource> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let resource = |record: &Kept| {
            Resource::new(&record.uri, &record.name)
                .with_description(format!("The record of a run of `ask` ({})", record.status))
                .with_mime_type(MIME_TYPE)
                .with_size(record.text.len() as u64)
        };
        kept.iter().rev().map(resource).collect()
    }

    /// The record of this URI, if it is kept.
    pub(crate) fn read(&self, uri: &str) -> Option<ReadResourceResult> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let record = kept.iter().find(|record| record.uri == uri)?;
        let contents = ResourceContents::text(&*record.text, uri).with_mime_type(MIME_TYPE);
        Some(ReadResourceResult::new(vec![contents]))
    }
}

/// The first line of a question, or its beginning.
pub(crate) fn name_of(question: &str) -> String {
    let line = question.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
