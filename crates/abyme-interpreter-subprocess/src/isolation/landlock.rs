//! Landlock: which files a process may open, whatever the rights of its user are, and what it may reach.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Result,
};

use super::syscall;

/// The devices that a process may write to.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Rules, made before the fork, that a child applies to itself.
#[derive(Debug)]
pub(crate) struct Rules {
    ruleset: OwnedFd,
    /// What is added in the child, by places that are only there then.
    inside: Vec<(&'static CStr, u64)>,
}

/// The version that the kernel has.
pub(crate) fn version() -> Result<ABI> {
    syscall::landlock_version().map(ABI::from)
}

/// Whether it can refuse that a file is emptied, as it does since its third version.
pub(crate) fn knows_truncation() -> bool {
    version().is_ok_and(|abi| AccessFs::from_all(abi).contains(AccessFs::Truncate))
}

impl Rules {
    /// For a child with a file system of its own: it may read all of it and write to `/tmp`.
    pub(crate) fn inside() -> io::Result<Self> {
        let abi = version()?;
        let inside = vec![
            (c"/", readable(abi).bits()),
            (c"/tmp", writable(abi).bits()),
            (c"/dev", device(abi).bits()),
        ];
        Ok(Self { ruleset: opened(ruleset(abi).and_then(Ruleset::create))?, inside })
    }

    /// For a child in the host's file system: it may read `paths` and write to `work_dir`.
    pub(crate) fn outside<'a>(paths: impl Iterator<Item = &'a Path>, work_dir: &Path) -> io::Result<Self> {
        let abi = version()?;
        let rules = ruleset(abi).and_then(|ruleset| {
            ruleset
                .create()?
                .add_rules(path_beneath_rules(paths, readable(abi)))?
                .add_rules(path_beneath_rules(DEVICES, device(abi)))?
                .add_rules(path_beneath_rules([work_dir], writable(abi)))
        });
        Ok(Self { ruleset: opened(rules)?, inside: Vec::new() })
    }

    /// Applies the rules. For a child between fork and exec that has given up new privileges.
    pub(crate) fn apply(&self) -> Result<()> {
        for (path, access) in &self.inside {
            let dir = rustix::fs::open(*path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            syscall::landlock_allow(self.ruleset.as_fd(), dir.as_fd(), *access)?;
        }
        syscall::landlock_restrict(self.ruleset.as_fd())
    }
}

/// Everything that this version can refuse is refused.
fn ruleset(abi: ABI) -> std::result::Result<Ruleset, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?
        // What is newer than the kernel is left out.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?;
    Ok(ruleset)
}

fn readable(abi: ABI) -> BitFlags<AccessFs> {
    AccessFs::from_read(abi)
}

fn writable(abi: ABI) -> BitFlags<AccessFs> {
    AccessFs::from_all(abi) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock)
}

fn device(abi: ABI) -> BitFlags<AccessFs> {
    (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate) & AccessFs::from_all(abi)
}

fn opened(rules: std::result::Result<landlock::RulesetCreated, RulesetError>) -> io::Result<OwnedFd> {
    let descriptor: Option<OwnedFd> = rules.map_err(io::Error::other)?.into();
    descriptor.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}
