//! What this backend keeps from code on Linux. Each attack is judged on the host's side, and is tried without
//! isolation too, where it has to succeed: one that fails there would prove nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "isolation/again.rs"]
mod again;
#[path = "isolation/attack.rs"]
mod attack;
mod common;
#[path = "isolation/files.rs"]
mod files;
#[path = "isolation/groups.rs"]
mod groups;
#[path = "isolation/kernel.rs"]
mod kernel;
#[path = "isolation/machines.rs"]
mod machines;
#[path = "isolation/network.rs"]
mod network;
#[path = "isolation/processes.rs"]
mod processes;
