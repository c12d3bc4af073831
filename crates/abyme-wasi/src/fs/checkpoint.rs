//! The state of the files at one time, and the way back to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    file_system::FileSystem,
    node::Node,
    path::GuestPath,
    private::{Ino, Tree},
};

/// The private area at one time. The archive and the mounts are not part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Tree")]
pub(crate) struct FilesCheckpoint(Arc<Tree>);

/// The node of an open descriptor, in a form that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NodeReference {
    /// In the private area, where it may have been removed from its directory.
    Private(Ino),
    /// In any other part.
    Path(String),
}

impl FileSystem {
    /// The present state.
    pub(crate) fn checkpoint(&self) -> FilesCheckpoint {
        FilesCheckpoint(self.private.clone())
    }

    /// Returns to a checkpoint. `open` are the descriptors that were open then; the result is their nodes,
    /// `None` for one that does not exist any more. Removed files that no descriptor holds are dropped.
    pub(crate) fn restore(
        &mut self,
        checkpoint: &FilesCheckpoint,
        open: &[NodeReference],
    ) -> Vec<Option<Node>> {
        self.private = checkpoint.0.clone();
        // Both conditions are checked first, because `private_mut` copies a tree that is shared.
        if self.private.has_descriptors() {
            self.private_mut().forget_descriptors();
        }
        let nodes = open.iter().map(|reference| self.reopen(reference)).collect();
        if self.private.has_removed() {
            self.private_mut().collect_all();
        }
        nodes
    }

    /// A reference to an open node.
    pub(crate) fn reference(&self, node: &Node) -> NodeReference {
        match node {
            Node::Private(ino) => NodeReference::Private(*ino),
            Node::Fixed(dir) => NodeReference::Path(self.fixed.path(*dir)),
            Node::Null => NodeReference::Path("/dev/null".into()),
            Node::Archive(node) => NodeReference::Path(self.fixed.archive.path_of(*node)),
            Node::Mounted(mounted) => NodeReference::Path(mounted.guest_path()),
        }
    }

    fn reopen(&mut self, reference: &NodeReference) -> Option<Node> {
        match reference {
            NodeReference::Private(ino) => {
                self.private_mut().retain(*ino).ok()?;
                Some(Node::Private(*ino))
            }
            // If a mount has lost the file, the next read reports it.
            NodeReference::Path(path) => self.walk(&self.root(), &GuestPath::parse(path).ok()?).ok(),
        }
    }
}

impl TryFrom<Tree> for FilesCheckpoint {
    type Error = String;

    /// Checks a tree that was deserialised.
    fn try_from(mut tree: Tree) -> Result<Self, String> {
        tree.check().map_err(|reason| format!("the saved files are damaged: {reason}"))?;
        Ok(Self(Arc::new(tree)))
    }
}
