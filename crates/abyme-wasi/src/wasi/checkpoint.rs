//! The state of a system at one moment: to come back to it, to fork it, to keep it as bytes.

use serde::{Deserialize, Serialize};

use super::{
    Wasi,
    descriptors::{Descriptor, Descriptors, OpenNode, ROOT},
};
use crate::fs::{Kind, Reference, Saved};

/// Files, open descriptors with their positions, and the clock. Output that was not taken is not in it, nor are the
/// archive and the mounts: those come from the system it is restored to.
///
/// To make one costs next to nothing, whatever the files hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WasiCheckpoint {
    files: Saved,
    descriptors: Vec<SavedDescriptor>,
    /// What the monotonic clock showed, in nanoseconds.
    pub(super) monotonic: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedDescriptor {
    fd: u32,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    Input,
    Output(usize),
    Open { reference: Reference, kind: Kind, offset: u64, read: bool, write: bool, flags: u16 },
}

impl WasiCheckpoint {
    /// As bytes. They carry no version: that is up to whoever keeps them.
    ///
    /// # Errors
    /// A sentence on what went wrong; nothing is known that could.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(self).map_err(|error| format!("cannot save the files of a session: {error}"))
    }

    /// From bytes, which may be anything.
    ///
    /// # Errors
    /// A sentence on what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("cannot restore the files of a session: {error}"))
    }
}

impl Wasi {
    /// The state now.
    pub fn checkpoint(&self) -> WasiCheckpoint {
        let descriptors = self.descriptors.iter().map(|(fd, descriptor)| {
            let what = match descriptor {
                Descriptor::Input => What::Input,
                Descriptor::Output(stream) => What::Output(*stream),
                Descriptor::Open(open) => What::Open {
                    reference: self.files.reference(&open.node),
                    kind: open.kind,
                    offset: open.offset,
                    read: open.read,
                    write: open.write,
                    flags: open.flags,
                },
            };
            SavedDescriptor { fd, what }
        });
        WasiCheckpoint {
            files: self.files.save(),
            descriptors: descriptors.collect(),
            monotonic: self.clock.monotonic(),
        }
    }

    /// Brings back a state, of this system or of another. What was opened in a mount is opened anew. Output that was
    /// not taken is dropped, and time goes on.
    pub fn restore(&mut self, checkpoint: &WasiCheckpoint) {
        let references: Vec<Reference> = checkpoint
            .descriptors
            .iter()
            .filter_map(|saved| match &saved.what {
                What::Open { reference, .. } => Some(reference.clone()),
                What::Input | What::Output(_) => None,
            })
            .collect();
        let mut nodes = self.files.restore(&checkpoint.files, &references).into_iter();
        let mut table = Descriptors::empty();
        for saved in &checkpoint.descriptors {
            let descriptor = match saved.what {
                What::Input => Some(Descriptor::Input),
                What::Output(stream) => Some(Descriptor::Output(stream)),
                What::Open { kind, offset, read, write, flags, .. } => {
                    let node = nodes.next().flatten();
                    node.map(|node| Descriptor::Open(OpenNode { node, kind, offset, read, write, flags }))
                }
            };
            if let (Some(descriptor), false) = (descriptor, saved.fd == ROOT) {
                table.put(saved.fd, descriptor);
            }
        }
        table.put_root(self.files.root());
        self.descriptors = table;
        self.clock.advance_to(checkpoint.monotonic);
        for output in &mut self.output {
            output.take();
        }
    }
}
