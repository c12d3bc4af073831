//! The first process of a session's pid namespace.
//!
//! When it ends, the kernel kills all others, whatever they did to stay: that is how a session ends. It
//! cannot be Python, because the kernel keeps many signals from a first process, those of a crash among
//! them. So it is a program that does one thing: it waits for the end of a pipe whose other end the host
//! holds, and thus ends with the host, too. It is written to the session's own file system and executed from
//! there, so that nothing of the host's memory stays in it.
#![allow(unsafe_code, reason = "the program is written in assembler, and its bytes are between two labels")]

use std::{ffi::CStr, os::fd::BorrowedFd};

use rustix::{
    io::{Errno, Result},
    process::Signal,
};

use super::syscall;

/// Where the program lies in the session's file system.
pub(crate) const PATH: &CStr = c"/init";

// The program: `read(0, NULL, 1); exit(0)`. The pipe brings no byte, so none is written to NULL.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.abyme_init, \"a\"",
    ".globl abyme_init_begin",
    ".globl abyme_init_end",
    "abyme_init_begin:",
    "xor eax, eax",
    "xor edi, edi",
    "xor esi, esi",
    "mov edx, 1",
    "syscall",
    "mov eax, 231",
    "xor edi, edi",
    "syscall",
    "abyme_init_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".pushsection .rodata.abyme_init, \"a\"",
    ".globl abyme_init_begin",
    ".globl abyme_init_end",
    "abyme_init_begin:",
    "mov x0, #0",
    "mov x1, #0",
    "mov x2, #1",
    "mov x8, #63",
    "svc #0",
    "mov x0, #0",
    "mov x8, #94",
    "svc #0",
    "abyme_init_end:",
    ".popsection",
);

/// The instructions of the program. Empty where there are none for the processor.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn instructions() -> &'static [u8] {
    unsafe extern "C" {
        static abyme_init_begin: u8;
        static abyme_init_end: u8;
    }
    // SAFETY: both labels are of one section of constants, one before the other, with bytes between them.
    unsafe {
        let (begin, end) = (&raw const abyme_init_begin, &raw const abyme_init_end);
        std::slice::from_raw_parts(begin, end.offset_from_unsigned(begin))
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instructions() -> &'static [u8] {
    &[]
}

/// The program as a file: the head of an executable with one piece that is loaded, and the instructions.
pub(crate) fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEAD: u64 = 64 + 56;
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let length = HEAD + instructions().len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "little") { 1 } else { 2 }, 1];
    file.resize(16, 0);
    // An executable, its machine, the version of the format, where it begins, and where its pieces are told.
    file.extend([2, machine].into_iter().flat_map(u16::to_ne_bytes));
    file.extend(1_u32.to_ne_bytes());
    file.extend([BASE + HEAD, 64, 0].into_iter().flat_map(u64::to_ne_bytes));
    file.extend(0_u32.to_ne_bytes());
    file.extend([64, 56, 1, 64, 0, 0].into_iter().flat_map(u16::to_ne_bytes));
    // Its one piece: loaded to be read and executed, from the beginning of the file.
    file.extend([1, 5].into_iter().flat_map(u32::to_ne_bytes));
    file.extend([0, BASE, BASE, length, length, 0x1000].into_iter().flat_map(u64::to_ne_bytes));
    file.extend(instructions());
    file
}

/// Becomes the program; `lifeline` is the end of the pipe that it reads. Returns only an error. For a child
/// between fork and exec.
pub(crate) fn run(lifeline: BorrowedFd<'_>) -> Errno {
    let prepare = || -> Result<()> {
        syscall::ignore_children();
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        rustix::stdio::dup2_stdin(lifeline)?;
        syscall::close_on_exec_from(1)
    };
    match prepare() {
        Ok(()) => syscall::exec(PATH),
        Err(errno) => errno,
    }
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn the_program_ends_with_its_pipe_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("init");
        fs::write(&path, program()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        let mut child = Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
        let lifeline = child.stdin.take();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
        drop(lifeline);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
