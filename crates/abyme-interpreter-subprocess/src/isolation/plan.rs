//! What of the isolation is applied to the sessions of a factory, and what that holds.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use abyme_core::{Access, Capabilities, Error, ErrorKind, Guarantee, Result};
use seccompiler::BpfProgram;

use super::{
    cgroup::{GroupLimits, GroupMaker},
    entry::{Entry, Watch},
    jail::{Jail, OwnSpace},
    landlock,
    layout::Layout,
    limits::Limits,
    mechanism::{Mechanism, is_shortage},
    mode::IsolationMode,
    mounts::{self, Root},
    namespaces::IdMaps,
    report, seccomp,
};
use crate::config::Config;

/// Directories that a session has of its own.
const OWN: &[&str] = &["/", "/dev", "/proc", "/tmp"];

/// The mechanisms that all sessions of a factory have. They are the same for all of them, because what a
/// factory declares does not change.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    mode: IsolationMode,
    namespaces: bool,
    landlock: bool,
    seccomp: bool,
    /// Where the control groups of sessions are made, if they may start processes and it is possible.
    groups: Option<Arc<GroupMaker>>,
}

/// A plan, and all that can be computed before a session is asked for.
#[derive(Debug)]
pub(crate) struct Prepared {
    plan: Plan,
    layout: Layout,
    root: Option<Arc<Root>>,
    filters: Arc<[BpfProgram]>,
    limits: Limits,
    group_limits: GroupLimits,
    /// What the driver is to refuse itself, as it is told on its command line.
    refusal: Option<String>,
}

impl Plan {
    /// Decides what is applied. With best effort, each mechanism is tried, which takes some milliseconds.
    pub(crate) fn of(config: &Config) -> Self {
        let all = config.isolation != IsolationMode::Off;
        let groups = (all && config.allow_processes).then(GroupMaker::find).flatten().map(Arc::new);
        let mut plan = Self { mode: config.isolation, namespaces: all, landlock: all, seccomp: all, groups };
        if config.isolation == IsolationMode::BestEffort {
            while let Some(mechanism) = plan.try_out(config) {
                let part = match mechanism {
                    Mechanism::Cgroup => {
                        plan.groups = None;
                        continue;
                    }
                    Mechanism::Landlock => &mut plan.landlock,
                    Mechanism::Seccomp => &mut plan.seccomp,
                    _ => &mut plan.namespaces,
                };
                // A mechanism that fails although it is not applied would be tried for ever.
                if !std::mem::take(part) {
                    break;
                }
            }
        }
        plan
    }

    fn is_off(&self) -> bool {
        !(self.namespaces || self.landlock || self.seccomp)
    }

    /// Starts nothing, as a session would be started, and returns what could not be applied.
    fn try_out(&self, config: &Config) -> Option<Mechanism> {
        let prepared = self.prepare(config, &[]).ok()?;
        let mut command = Command::new("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (entry, watch) = match prepared.enter(&std::env::temp_dir()) {
            Ok((entry, watch)) => (entry, watch?),
            Err((mechanism, error)) => return (!is_shortage(&error)).then_some(mechanism),
        };
        crate::command::before_exec(&mut command, entry);
        // There is no such program: what counts is what the child told before it looked for it.
        let started = crate::process::ChildProcess::start(command, Some(watch));
        // Something that is short for a moment is no mechanism that is missing: a session will say so.
        started.err().filter(|error| !is_shortage(&error.error)).and_then(|error| error.mechanism)
    }

    /// Computes what all sessions have in common. `python` are the paths that Python itself needs.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a path that is to be readable cannot be.
    pub(crate) fn prepare(&self, config: &Config, python: &[PathBuf]) -> Result<Prepared> {
        for path in &config.read_allow {
            let is_own = path.canonicalize().map(|real| OWN.iter().any(|own| real == Path::new(own)));
            let problem = match is_own {
                Ok(false) if path.is_absolute() => continue,
                Ok(true) => "each session has one of its own".to_owned(),
                Ok(false) => "its path is not absolute".to_owned(),
                Err(error) => error.to_string(),
            };
            let message = format!("{} cannot be made readable for sessions: {problem}", path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let failed = |what: &str, error: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("{what}: {error}")).with_source(error)
        };
        let paths = python.iter().chain(&config.read_allow).map(PathBuf::as_path);
        let layout = if self.is_off() { Layout::default() } else { Layout::new(paths, OWN) };
        let root = match self.namespaces {
            true => Some(Root::new(&layout, config.disk_limit_bytes).map(Arc::new)),
            false => None,
        };
        let root = root.transpose().map_err(|error| failed("a path cannot be mounted", error))?;
        let allowance = seccomp::Allowance {
            processes: config.allow_processes,
            namespaces: self.namespaces,
            truncation: self.namespaces || landlock::knows_truncation(),
        };
        let filters = if self.seccomp { seccomp::filters(allowance) } else { Ok(Vec::new()) };
        let filters = filters.map_err(|error| failed("no filter of system calls can be made", error))?;
        let refusal = (self.seccomp && !config.allow_processes).then(seccomp::no_exec).transpose();
        let refusal = refusal.map_err(|error| failed("no filter of system calls can be made", error))?;
        let how = if self.mode == IsolationMode::Required { "must" } else { "may" };
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let limits = Limits::of(config);
        Ok(Prepared {
            plan: self.clone(),
            layout,
            root,
            filters: filters.into(),
            group_limits: GroupLimits {
                // Files in memory count, too.
                memory_bytes: config
                    .memory_limit_bytes
                    .map(|bytes| bytes.saturating_add(config.disk_limit_bytes)),
                processes: config.max_processes,
            },
            limits: if self.is_off() { limits } else { limits.and_of_the_kernel() },
            refusal: refusal.map(|bytes| format!("{how}:{}", hex(bytes))),
        })
    }

    /// Declares what the sessions hold.
    pub(crate) fn declare(&self, config: &Config, capabilities: &mut Capabilities) {
        let own_files = self.namespaces || self.landlock;
        if own_files {
            capabilities.host_files = Access::AllowList;
            capabilities.environment = Access::AllowList;
            capabilities.notes.push("Files can be written in the working directory.".into());
        }
        if self.namespaces || self.seccomp {
            capabilities.network = Access::Denied;
            capabilities.notes.push("There is no network.".into());
        }
        let no_processes = self.seccomp && !config.allow_processes;
        if no_processes {
            capabilities.processes = Access::Denied;
            capabilities.notes.push("No other process can be started; threads can.".into());
        }
        capabilities.guarantees = self.guarantees(config, no_processes);
    }

    fn guarantees(
        &self,
        config: &Config,
        no_processes: bool,
    ) -> std::collections::BTreeMap<Guarantee, String> {
        use Guarantee::{
            CleanEnvironment, CpuCapped, DiskCapped, FilesystemAllowlist, FilesystemReadonlyMetadata,
            KilledWithHost, MemoryCapped, NoExec, NoNetwork, NoNewPrivileges, NoUnixSockets, OwnAddressSpace,
            PrivateTmp, ProcessCapped, ReducedKernelSurface, WallCapped,
        };

        let (namespaces, landlock, seccomp) = (self.namespaces, self.landlock, self.seccomp);
        let files = namespaces || landlock;
        // Who can write to the host's files can leave a group.
        let groups = files && self.groups.is_some();
        // Each with whether it is given, and by what.
        let by = [
            (OwnAddressSpace, namespaces, "pid namespace"),
            (OwnAddressSpace, landlock, "Landlock"),
            (OwnAddressSpace, seccomp && files, "seccomp"),
            (FilesystemAllowlist, namespaces, "private mounts"),
            (FilesystemAllowlist, landlock, "Landlock"),
            (FilesystemReadonlyMetadata, namespaces, "read-only mounts"),
            (FilesystemReadonlyMetadata, seccomp && !namespaces, "seccomp"),
            (PrivateTmp, namespaces, "a file system in memory"),
            (DiskCapped, namespaces, "a file system in memory"),
            (NoNetwork, namespaces, "network namespace"),
            (NoNetwork, seccomp, "seccomp"),
            (NoUnixSockets, seccomp, "seccomp"),
            (MemoryCapped, groups && config.memory_limit_bytes.is_some(), "control group"),
            (ProcessCapped, groups && config.max_processes.is_some(), "control group"),
            (MemoryCapped, no_processes && config.memory_limit_bytes.is_some(), "rlimit"),
            (CpuCapped, no_processes && config.cpu_timeout.is_some(), "rlimit"),
            (ProcessCapped, no_processes, "seccomp"),
            (WallCapped, true, "the host's clock"),
            (CleanEnvironment, files, "a list of names"),
            (KilledWithHost, namespaces, "pid namespace"),
            (KilledWithHost, no_processes && !namespaces, "parent death signal"),
            (NoNewPrivileges, !self.is_off(), "no_new_privs"),
            (ReducedKernelSurface, seccomp, "seccomp"),
            (NoExec, no_processes && self.mode == IsolationMode::Required, "seccomp"),
        ];
        let mut guarantees = std::collections::BTreeMap::<_, String>::new();
        for (guarantee, _, mechanism) in by.into_iter().filter(|(_, given, _)| *given) {
            let list = guarantees.entry(guarantee).or_default();
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(mechanism);
        }
        guarantees
    }
}

impl Prepared {
    /// The working directory, if it is not one of the host's.
    pub(crate) fn own_work_dir(&self) -> Option<&'static Path> {
        self.root.as_ref().map(|_| mounts::work_dir())
    }

    /// What is added to the driver's command line.
    pub(crate) fn driver_arguments(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// What one more child does before it is Python, and what its host sees of that.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] with the mechanism that is missing, and what to do.
    pub(crate) fn entry(&self, work_dir: &Path) -> Result<(Entry, Option<Watch>)> {
        self.enter(work_dir).map_err(|(mechanism, error)| mechanism.missing(&error))
    }

    fn enter(&self, work_dir: &Path) -> std::result::Result<(Entry, Option<Watch>), (Mechanism, io::Error)> {
        let host = std::process::id();
        if self.plan.is_off() {
            return Ok((Entry::Open { limits: self.limits.clone(), host }, None));
        }
        let at = |mechanism| move |error| (mechanism, error);
        let (reading, writing) = report::pipe().map_err(at(Mechanism::Init))?;
        let (own, lifeline) = match &self.root {
            Some(root) => {
                let (lifeline, end) = io::pipe().map_err(at(Mechanism::Init))?;
                let maps = IdMaps::of_this_user();
                (Some(OwnSpace { maps, root: root.clone(), lifeline }), Some(end))
            }
            None => (None, None),
        };
        let rules = match (self.plan.landlock, &own) {
            (false, _) => None,
            (true, Some(_)) => Some(landlock::Rules::inside().map_err(at(Mechanism::Landlock))?),
            (true, None) => {
                let rules = landlock::Rules::outside(self.layout.host_paths(), work_dir);
                Some(rules.map_err(at(Mechanism::Landlock))?)
            }
        };
        let made = self.plan.groups.as_ref().map(|maker| maker.make(self.group_limits)).transpose();
        let group = made.map_err(at(Mechanism::Cgroup))?;
        let entrances = group.as_ref().map_or(Ok(Vec::new()), |group| group.entrances());
        let groups = entrances.map_err(at(Mechanism::Cgroup))?;
        let (filters, limits) = (self.filters.clone(), self.limits.clone());
        let jail = Jail { report: writing, groups, own, rules, filters, limits, host };
        Ok((Entry::Jail(jail), Some(Watch { report: reading, lifeline, group })))
    }
}
