//! Which system calls are refused.
//!
//! The filters know what is refused and let all else pass: packages with native code make calls that no list
//! foresees. Calls that are refused with `ENOSYS` are those that have a substitute, which libraries then use.

use std::{collections::BTreeMap, io};

use libc as sys;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// What a session may do beyond what all may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Whether it starts processes.
    pub(crate) processes: bool,
    /// Whether it has a file system and processes of its own. Then it may change modes, owners, times and
    /// attributes of files, and limits and priorities of processes.
    pub(crate) namespaces: bool,
    /// Whether it may empty files by their paths, because something else refuses it for those of the host.
    pub(crate) truncation: bool,
}

type FilterRules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters that a child installs before exec, in this order.
pub(crate) fn filters(allowance: Allowance) -> io::Result<Vec<BpfProgram>> {
    let filters = [
        #[cfg(target_arch = "x86_64")]
        no_calls_of_32_bits(),
        compile(refused(allowance)?, sys::EPERM)?,
        compile(done_by_nothing(allowance)?, 0)?,
        // The last one: it refuses further filters, too.
        compile(absent(), sys::ENOSYS)?,
    ];
    Ok(filters.into())
}

/// The filter against exec, which can be installed only after exec: by the driver, before it takes a cell.
/// As the bytes that the kernel takes.
pub(crate) fn no_exec() -> io::Result<Vec<u8>> {
    let mut rules = FilterRules::from([sys::SYS_execve, sys::SYS_execveat].map(|call| (call, Vec::new())));
    // Each thread could have filters of its own, which count towards no limit.
    rules.insert(sys::SYS_prctl, vec![word(0, sys::PR_SET_SECCOMP as u64)?]);
    let program = compile(rules, sys::EPERM)?;
    let bytes = |instruction: &seccompiler::sock_filter| {
        let mut bytes = instruction.code.to_ne_bytes().to_vec();
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
        bytes
    };
    Ok(program.iter().flat_map(bytes).collect())
}

/// Applies filters to this process, for good. For a child between fork and exec: nothing is allocated unless
/// one fails.
pub(crate) fn apply(filters: &[BpfProgram]) -> Result<(), rustix::io::Errno> {
    filters.iter().try_for_each(|filter| {
        seccompiler::apply_filter(filter).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
                rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
            }
            _ => rustix::io::Errno::INVAL,
        })
    })
}

/// Calls that fail with `EPERM`.
fn refused(allowance: Allowance) -> io::Result<FilterRules> {
    let mut rules: FilterRules = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    if !allowance.namespaces {
        rules.extend(METADATA.iter().map(|&call| (call, Vec::new())));
        // Limits and priorities of other processes of the same user.
        for call in OF_A_PROCESS {
            rules.insert(*call, vec![rule(0, SeccompCmpOp::Ne, 0)?]);
        }
        for (call, process) in [(sys::SYS_setpriority, 0), (sys::SYS_ioprio_set, 1)] {
            rules.insert(call, vec![rule(0, SeccompCmpOp::Ne, process)?, rule(1, SeccompCmpOp::Ne, 0)?]);
        }
        // What has it end with its host.
        rules.insert(sys::SYS_prctl, vec![word(0, sys::PR_SET_PDEATHSIG as u64)?]);
    }
    if !allowance.truncation {
        rules.insert(sys::SYS_truncate, Vec::new());
        // Opened to be read alone, and emptied.
        let mode = (sys::O_ACCMODE | sys::O_TRUNC) as u64;
        let empties = |argument| rule(argument, SeccompCmpOp::MaskedEq(mode), sys::O_TRUNC as u64);
        rules.insert(sys::SYS_openat, vec![empties(2)?]);
        // Its flags are behind a pointer.
        rules.insert(sys::SYS_openat2, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.insert(sys::SYS_open, vec![empties(1)?]);
    }
    // An event loop wakes itself through a pair of connected sockets. Pairs of other kinds can be sent
    // elsewhere.
    let kind = SeccompCmpOp::MaskedEq(0xf);
    rules.insert(
        sys::SYS_socketpair,
        vec![
            rule(0, SeccompCmpOp::Ne, sys::AF_UNIX as u64)?,
            rule(1, kind.clone(), sys::SOCK_DGRAM as u64)?,
            rule(1, kind.clone(), sys::SOCK_SEQPACKET as u64)?,
            rule(1, kind, sys::SOCK_RAW as u64)?,
        ],
    );
    let clone = if allowance.processes {
        let flags = [
            // A child of the host, which nobody would wait for: the session could not end.
            sys::CLONE_PARENT,
            sys::CLONE_NEWNS,
            sys::CLONE_NEWCGROUP,
            sys::CLONE_NEWUTS,
            sys::CLONE_NEWIPC,
            sys::CLONE_NEWUSER,
            sys::CLONE_NEWPID,
            sys::CLONE_NEWNET,
        ];
        let has = |flag: i32| rule(0, SeccompCmpOp::MaskedEq(flag as u64), flag as u64);
        flags.into_iter().map(has).collect::<io::Result<_>>()?
    } else {
        #[cfg(target_arch = "x86_64")]
        rules.extend([(sys::SYS_fork, Vec::new()), (sys::SYS_vfork, Vec::new())]);
        // Threads only.
        vec![rule(0, SeccompCmpOp::MaskedEq(sys::CLONE_THREAD as u64), 0)?]
    };
    rules.insert(sys::SYS_clone, clone);
    // A lease keeps the host from writing to a file of its own for most of a minute.
    let mut files = vec![word(1, sys::F_SETLEASE as u64)?];
    if !allowance.processes {
        // Locks of open files: as many as one likes, in the kernel's memory.
        for lock in [sys::F_OFD_SETLK, sys::F_OFD_SETLKW] {
            files.push(word(1, lock as u64)?);
        }
    }
    rules.insert(sys::SYS_fcntl, files);
    // Pages of a size that the machine has a number of.
    let huge = sys::MAP_HUGETLB as u64;
    rules.insert(sys::SYS_mmap, vec![rule(3, SeccompCmpOp::MaskedEq(huge), huge)?]);
    // Input for a terminal, as if it had been typed; a key that stays with its file system.
    let mut controls = vec![word(1, sys::TIOCSTI)?, word(1, FS_IOC_ADD_ENCRYPTION_KEY)?];
    if !allowance.namespaces {
        for attributes in [FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR] {
            controls.push(word(1, attributes)?);
        }
    }
    rules.insert(sys::SYS_ioctl, controls);
    // What changes how later programs run; asking is allowed.
    rules.insert(sys::SYS_personality, vec![rule(0, SeccompCmpOp::Ne, 0xffff_ffff)?]);
    Ok(rules)
}

/// Calls that succeed, and do nothing.
fn done_by_nothing(allowance: Allowance) -> io::Result<FilterRules> {
    // Writing out all that the machine has not written yet, over and over.
    let mut rules = FilterRules::from([sys::SYS_sync, sys::SYS_syncfs].map(|call| (call, Vec::new())));
    if !allowance.processes {
        // Locks keep out other processes, of which there are none. As many as one likes are in the kernel's
        // memory, and one on a file of the host's would keep out the host.
        let locks = [sys::F_SETLK, sys::F_SETLKW].map(|lock| word(1, lock as u64));
        rules.insert(sys::SYS_fcntl, locks.into_iter().collect::<io::Result<_>>()?);
    }
    Ok(rules)
}

/// Calls that fail with `ENOSYS`.
fn absent() -> FilterRules {
    ABSENT.iter().map(|&call| (call, Vec::new())).collect()
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
    SeccompRule::new(vec![condition.map_err(io::Error::other)?]).map_err(io::Error::other)
}

/// An argument of which the kernel reads 32 bits is this.
fn word(argument: u8, value: u64) -> io::Result<SeccompRule> {
    rule(argument, SeccompCmpOp::MaskedEq(u32::MAX.into()), value)
}

/// A filter under which the calls fail. Calls of another architecture end the process.
fn compile(rules: FilterRules, errno: i32) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let fails = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, arch).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

/// Ends the process at calls with addresses of 32 bits (x32), which have numbers of their own and the
/// architecture of the others.
#[cfg(target_arch = "x86_64")]
fn no_calls_of_32_bits() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32: u32 = 0x4000_0000;
    let instruction = |code, jt, k| seccompiler::sock_filter { code, jt, jf: 0, k };
    vec![
        instruction(LOAD_NUMBER, 0, 0),
        instruction(JUMP_IF_GREATER_OR_EQUAL, 1, X32),
        instruction(RETURN, 0, sys::SECCOMP_RET_ALLOW),
        instruction(RETURN, 0, sys::SECCOMP_RET_KILL_PROCESS),
    ]
}

/// What code in a session has no use for: other processes, the kernel, the machine, the network.
const REFUSED: &[i64] = &[
    // Other processes.
    sys::SYS_ptrace,
    sys::SYS_process_vm_readv,
    sys::SYS_process_vm_writev,
    sys::SYS_process_madvise,
    sys::SYS_pidfd_getfd,
    sys::SYS_kcmp,
    // The network, and sockets of the host. Without a socket the calls that take one are of no use.
    sys::SYS_socket,
    // What passes descriptors on. How many of a user are on their way is limited for all its processes.
    sys::SYS_sendmsg,
    sys::SYS_sendmmsg,
    // Attributes of files count towards no limit: lists of who may do what are 64 KB for each. The last is
    // setxattrat.
    sys::SYS_setxattr,
    sys::SYS_lsetxattr,
    sys::SYS_fsetxattr,
    463,
    // Mounts and namespaces.
    sys::SYS_mount,
    sys::SYS_umount2,
    sys::SYS_pivot_root,
    sys::SYS_chroot,
    sys::SYS_move_mount,
    sys::SYS_open_tree,
    // open_tree_attr
    467,
    sys::SYS_fsopen,
    sys::SYS_fsconfig,
    sys::SYS_fsmount,
    sys::SYS_fspick,
    sys::SYS_mount_setattr,
    sys::SYS_setns,
    sys::SYS_unshare,
    // Keys, programs for the kernel, and what watches it.
    sys::SYS_keyctl,
    sys::SYS_add_key,
    sys::SYS_request_key,
    sys::SYS_bpf,
    sys::SYS_perf_event_open,
    sys::SYS_userfaultfd,
    sys::SYS_fanotify_init,
    sys::SYS_open_by_handle_at,
    sys::SYS_name_to_handle_at,
    sys::SYS_lookup_dcookie,
    sys::SYS_syslog,
    // The machine.
    sys::SYS_acct,
    sys::SYS_adjtimex,
    sys::SYS_clock_adjtime,
    sys::SYS_clock_settime,
    sys::SYS_settimeofday,
    sys::SYS_delete_module,
    sys::SYS_finit_module,
    sys::SYS_init_module,
    sys::SYS_kexec_load,
    sys::SYS_kexec_file_load,
    sys::SYS_quotactl,
    sys::SYS_quotactl_fd,
    sys::SYS_reboot,
    sys::SYS_sethostname,
    sys::SYS_setdomainname,
    sys::SYS_swapoff,
    sys::SYS_swapon,
    sys::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_modify_ldt,
];

/// What the C library or others do another way if it is not there: starting a thread whose flags are behind a
/// pointer; memory that counts towards no limit of a process, pages that a pipe holds among it; input and
/// output past all other rules; what the whole machine or all processes of a user have a number of (watches
/// of files, operations at once); rules and filters, which were made before.
const ABSENT: &[i64] = &[
    sys::SYS_clone3,
    sys::SYS_memfd_create,
    sys::SYS_memfd_secret,
    sys::SYS_shmget,
    sys::SYS_semget,
    sys::SYS_msgget,
    sys::SYS_mq_open,
    sys::SYS_vmsplice,
    sys::SYS_io_uring_setup,
    sys::SYS_io_uring_enter,
    sys::SYS_io_uring_register,
    sys::SYS_io_setup,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_inotify_init,
    sys::SYS_inotify_init1,
    sys::SYS_landlock_create_ruleset,
    sys::SYS_landlock_add_rule,
    sys::SYS_landlock_restrict_self,
    sys::SYS_seccomp,
];

/// Calls whose first argument is a process, or 0 for the own one.
const OF_A_PROCESS: &[i64] = &[
    sys::SYS_prlimit64,
    sys::SYS_sched_setaffinity,
    sys::SYS_sched_setattr,
    sys::SYS_sched_setparam,
    sys::SYS_sched_setscheduler,
];

/// The controls of a file that set its attributes.
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
const FS_IOC_ADD_ENCRYPTION_KEY: u64 = 0xc050_6617;

/// What changes a file's mode, owner, times or attributes.
const METADATA: &[i64] = &[
    sys::SYS_fchmod,
    sys::SYS_fchmodat,
    // fchmodat2, removexattrat, file_setattr
    452,
    466,
    469,
    sys::SYS_fchown,
    sys::SYS_fchownat,
    sys::SYS_utimensat,
    sys::SYS_removexattr,
    sys::SYS_lremovexattr,
    sys::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_futimesat,
];
