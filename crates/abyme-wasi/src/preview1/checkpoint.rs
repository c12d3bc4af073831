//! The state of a system at one time: to return to it, to fork the system, to keep it as bytes.

use serde::{Deserialize, Serialize};

use super::{
    descriptors::{Descriptor, Descriptors, OpenNode, ROOT},
    random::{Random, RandomCheckpoint},
    system::Wasi,
};
use crate::fs::{FilesCheckpoint, Kind, NodeReference};

/// The state of a [`Wasi`]: its files, its open descriptors with their positions, its clock, and its seed of
/// random bytes if it has one. Output that was not taken is not part of it. The archive and the mounts are
/// those of the system that it is restored to.
///
/// Making one is cheap, however much the files hold: it shares their bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WasiCheckpoint {
    files: FilesCheckpoint,
    descriptors: Vec<DescriptorCheckpoint>,
    /// The time of the monotonic clock, in nanoseconds.
    pub(super) monotonic: u64,
    /// The time of day at its time 0, if only the guest advances it.
    fixed_day: Option<u64>,
    random: Option<RandomCheckpoint>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DescriptorCheckpoint {
    fd: u32,
    open_as: OpenAs,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum OpenAs {
    Input,
    Output(usize),
    Open { reference: NodeReference, kind: Kind, offset: u64, read: bool, write: bool, flags: u16 },
}

impl WasiCheckpoint {
    /// Serialises the state. The bytes carry no version: the caller adds one.
    ///
    /// # Errors
    /// A sentence that says what went wrong. No such case is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(self).map_err(|error| format!("cannot save the files of a guest: {error}"))
    }

    /// Reads a state from bytes, which need not be trusted.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("cannot restore the files of a guest: {error}"))
    }
}

impl Wasi {
    /// The present state.
    pub fn checkpoint(&self) -> WasiCheckpoint {
        let descriptors = self.descriptors.iter().map(|(fd, descriptor)| {
            let open_as = match descriptor {
                Descriptor::Input => OpenAs::Input,
                Descriptor::Output(stream) => OpenAs::Output(*stream),
                Descriptor::Open(open) => OpenAs::Open {
                    reference: self.files.reference(&open.node),
                    kind: open.kind,
                    offset: open.offset,
                    read: open.read,
                    write: open.write,
                    flags: open.flags,
                },
            };
            DescriptorCheckpoint { fd, open_as }
        });
        WasiCheckpoint {
            files: self.files.checkpoint(),
            descriptors: descriptors.collect(),
            monotonic: self.clock.monotonic(),
            fixed_day: self.clock.fixed_day(),
            random: self.random.checkpoint(),
        }
    }

    /// Returns to a state of this system or of another one. Files in mounts are opened anew. Output that was
    /// not taken is dropped. The host's monotonic clock does not go back.
    pub fn restore(&mut self, checkpoint: &WasiCheckpoint) {
        let references: Vec<NodeReference> = checkpoint
            .descriptors
            .iter()
            .filter_map(|saved| match &saved.open_as {
                OpenAs::Open { reference, .. } => Some(reference.clone()),
                OpenAs::Input | OpenAs::Output(_) => None,
            })
            .collect();
        let mut nodes = self.files.restore(&checkpoint.files, &references).into_iter();
        let mut table = Descriptors::empty();
        for saved in &checkpoint.descriptors {
            let descriptor = match saved.open_as {
                OpenAs::Input => Some(Descriptor::Input),
                OpenAs::Output(stream) => Some(Descriptor::Output(stream)),
                OpenAs::Open { kind, offset, read, write, flags, .. } => {
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
        self.clock = self.clock.restored(checkpoint.monotonic, checkpoint.fixed_day);
        self.random = Random::restored(checkpoint.random);
        for output in &mut self.output {
            output.take();
        }
    }
}
