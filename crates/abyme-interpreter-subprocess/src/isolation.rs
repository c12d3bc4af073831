//! What keeps the code of a session from the host: Linux's namespaces, mounts, Landlock, seccomp and limits.
//!
//! `plan` decides what is applied and declares what that holds; `jail` applies it in a child between fork and
//! exec; the other files are one mechanism each.

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(all(unix, not(target_os = "linux")))]
mod elsewhere;
#[cfg(unix)]
pub(crate) mod entry;
#[cfg(target_os = "linux")]
mod group_name;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod jail;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(unix)]
pub(crate) mod limits;
#[cfg(unix)]
pub(crate) mod mechanism;
pub(crate) mod mode;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(unix)]
mod parent_death;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(unix)]
mod report;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod syscall;
#[cfg(target_os = "linux")]
mod write;

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use self::elsewhere::{Plan, Prepared};
#[cfg(target_os = "linux")]
pub(crate) use self::plan::{Plan, Prepared};
