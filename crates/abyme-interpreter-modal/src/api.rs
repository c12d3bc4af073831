//! The client of Modal's servers: the control plane, which makes sandboxes, and the command router of a
//! sandbox, which runs commands in it.

mod channel;
mod control_plane;
mod credentials;
mod failure;
pub(crate) mod messages;
mod retry;
mod router;
mod token;

pub(crate) use self::{
    control_plane::{ControlPlane, NewSandbox, SandboxHandle, random_id},
    retry::is_temporary,
    router::Router,
};
