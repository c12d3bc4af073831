//! `cargo xtask cgroup-vm`: the tests of control groups of version 2, in a virtual machine with a kernel of
//! Debian's on this machine's own files. For machines that have version 1, or none to write to.

use std::{path::Path, process::Command};

use cargo_metadata::{Message, TargetKind};

use crate::command::{Result, cargo, exists, output, root, run};

/// What the machine needs, and where Debian has it.
const NEEDS: &[(&str, &str, &str)] = &[
    ("qemu-system-x86_64", "--version", "qemu-system-x86"),
    ("busybox", "--help", "busybox-static"),
    ("cpio", "--version", "cpio"),
    ("modprobe", "--version", "kmod"),
];

/// Which tests, and on which kernel.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel's version, as its file in /boot has it: `6.12.115+deb12-amd64`. Default: the newest there.
    #[arg(long)]
    kernel: Option<String>,
    /// Names of tests of the subprocess backend's target `isolation`. Default: those of control groups.
    tests: Vec<String>,
}

pub(crate) fn run_tests(args: &Args) -> Result<()> {
    if let Some((_, _, package)) = NEEDS.iter().find(|(program, version, _)| !exists(program, &[version])) {
        return Err(format!("a virtual machine needs `{package}`: apt-get install {package}"));
    }
    let kernel = match &args.kernel {
        Some(kernel) => kernel.clone(),
        None => newest_kernel(Path::new("/boot"))?,
    };
    let dir = root().join("target").join("cgroup-vm");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let isolation = test_program("abyme-interpreter-subprocess", "isolation")?;
    let faults = test_program("abyme-tests", "faults")?;
    let mut command = Command::new("bash");
    command.arg(root().join("xtask/src/cgroup_vm.sh")).arg(&dir).args([kernel, isolation, faults]);
    run(command.args(&args.tests))
}

/// Builds a target with tests, and answers where its program is.
fn test_program(package: &str, target: &str) -> Result<String> {
    let build = ["test", "--no-run", "--message-format=json", "--package", package, "--test", target];
    let told = output(&mut cargo(&build))?;
    let programs = Message::parse_stream(told.as_bytes()).filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.target.kind.contains(&TargetKind::Test) => {
            artifact.executable
        }
        _ => None,
    });
    let program = programs.last().ok_or_else(|| format!("cargo built no `{target}` of {package}"))?;
    Ok(program.into_string())
}

/// The newest kernel that has the modules that the machine needs: not one of Debian's for clouds.
fn newest_kernel(boot: &Path) -> Result<String> {
    let files = std::fs::read_dir(boot).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let kernels = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned));
    let usable = kernels.filter(|kernel| !kernel.contains("cloud"));
    let number = |kernel: &String| {
        let parts = kernel.split(|letter: char| !letter.is_ascii_digit());
        parts.map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
    };
    let none = "a virtual machine needs a kernel: apt-get install linux-image-amd64";
    usable.max_by_key(number).ok_or_else(|| none.to_owned())
}
