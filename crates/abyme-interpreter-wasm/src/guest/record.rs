//! What the imports told the guest in one cell, so that the cell can be replayed: run once more with the same
//! answers, and with no effect but on the guest itself.
//!
//! Numbers are in the [journal](abyme_wasi::Journal) of the guest's system, together with the times and
//! random bytes that preview 1 told it. Replies of calls are here.

use abyme_wasi::{Record, Wasi};

use crate::guest::request::GuestMessage;

/// What one cell was told.
#[derive(Clone, Debug)]
pub(crate) struct CellRecord {
    pub(crate) told: Record,
    pub(crate) replies: Vec<Option<GuestMessage>>,
}

/// The replies of the cell that is recorded or replayed, in the order in which the guest took them. `None`
/// stands for a call that had no reply.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    replies: Vec<Option<GuestMessage>>,
    /// How many of them the guest was told, where a cell is replayed.
    replayed: usize,
}

impl Replies {
    /// The replies of a record, to be replayed.
    pub(crate) fn of(record: &CellRecord) -> Self {
        Self { replies: record.replies.clone(), replayed: 0 }
    }

    /// The next recorded reply; the outer `None` says that there is none.
    pub(crate) fn next(&mut self) -> Option<Option<GuestMessage>> {
        let reply = self.replies.get(self.replayed).cloned();
        self.replayed += 1;
        reply
    }

    /// Keeps a reply, if a cell is recorded and the record has room for it.
    pub(crate) fn keep(&mut self, wasi: &mut Wasi, reply: Option<&GuestMessage>) {
        let bytes = reply.map_or(0, |reply| reply.own_bytes() + reply.long_bytes());
        if wasi.journal().hold(size_of::<Option<GuestMessage>>() as u64 + bytes) {
            self.replies.push(reply.cloned());
        } else {
            self.replies = Vec::new();
        }
    }

    /// All that were kept.
    pub(crate) fn take(&mut self) -> Vec<Option<GuestMessage>> {
        std::mem::take(self).replies
    }

    /// Whether the guest was told all of them and asked for no more.
    pub(crate) fn are_replayed(&self) -> bool {
        self.replayed == self.replies.len()
    }
}
