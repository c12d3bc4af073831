//! `cargo xtask prices`: makes the table of prices from LiteLLM's, or checks that it is what LiteLLM's wheel
//! gives.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest as _, Sha256};

use crate::command::{self, Result, root};

/// What to do with the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compare with the committed table, and write nothing.
    #[arg(long)]
    check: bool,
}

/// The wheel that the table is made from. A newer one has another hash: both change together.
const VERSION: &str = "1.110.2";
const WHEEL: &str = "litellm-1.110.2-cp310-abi3-manylinux_2_28_x86_64.whl";
const SHA256: &str = "9d94d1c7d524b6fd10c14f9c8c6c4f0ac31705f9964ac59dcfd8337c046d8917";

/// What chooses the wheel, whatever machine this is. It is read, not installed.
const PIP_DOWNLOAD: &[&str] = &[
    "-m",
    "pip",
    "download",
    "--quiet",
    "--no-deps",
    "--only-binary=:all:",
    "--platform=manylinux_2_28_x86_64",
    "--implementation=cp",
    "--python-version=3.10",
    "--abi=abi3",
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let made = table(&wheel()?)?;
    let path = root().join("crates/abyme-core/src/model/prices.json");
    if args.check {
        return match fs::read_to_string(&path) {
            Ok(committed) if committed == made => Ok(()),
            _ => Err(format!("{} is not what {WHEEL} gives: run `cargo xtask prices`", path.display())),
        };
    }
    fs::write(&path, &made).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    eprintln!("{}: {} models, {} bytes", path.display(), made.lines().count() - 3, made.len());
    Ok(())
}

/// The wheel, downloaded if it is not there, and checked.
fn wheel() -> Result<PathBuf> {
    let directory = root().join("target/prices");
    let path = directory.join(WHEEL);
    if !path.exists() {
        let mut pip = Command::new("python3");
        pip.args(PIP_DOWNLOAD).arg("--dest").arg(&directory).arg(format!("litellm=={VERSION}"));
        command::run(&mut pip)?;
    }
    let bytes = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != SHA256 {
        return Err(format!("{} has the sha256 {found}, not {SHA256}", path.display()));
    }
    Ok(path)
}

fn table(wheel: &Path) -> Result<String> {
    let mut python = Command::new("python3");
    command::output(python.args(["-c", include_str!("prices.py")]).arg(wheel).args([VERSION, SHA256]))
}
