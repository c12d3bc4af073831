//! `cargo xtask pictures`: draws the README's pictures anew, from a real run of the demo: the terminal, and
//! the page of its record in a headless Chromium.

use std::{fs, process::Command};

use crate::command::{self, Result, cargo, root};

/// The emulator of the terminal that is drawn.
const EMULATOR: &str = "pyte==0.8.2";
const COLUMNS: &str = "100";
const ROWS: &str = "30";
const PAGE_SIZE: &str = "1280,860";

pub(crate) fn run() -> Result<()> {
    let (environment, work) = (root().join("target/venvs/pictures"), root().join("target/pictures"));
    let pictures = root().join("crates/abyme-cli/pictures");
    for directory in [&work, &pictures] {
        fs::create_dir_all(directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    }
    let python = environment.join("bin/python");
    if !python.exists() {
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", EMULATOR];
    command::run(Command::new(&python).args(install))?;
    command::run(&mut cargo(&["build", "--release", "--locked", "--package", "abyme-cli"]))?;
    let (abyme, record) = (root().join("target/release/abyme"), work.join("demo.jsonl"));
    // What it takes the first time on a machine is not in the picture.
    command::output(Command::new(&abyme).arg("prepare"))?;
    let mut terminal = Command::new(&python);
    terminal.arg("-I").arg(root().join("xtask/src/pictures.py")).arg(pictures.join("demo.svg"));
    terminal.args([COLUMNS, ROWS]).arg(&abyme).args(["demo", "--trace"]).arg(&record);
    command::run(&mut terminal)?;
    let page = work.join("demo.html");
    command::output(Command::new(&abyme).arg("view").arg(&record).arg("--output").arg(&page))?;
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=2000"]);
    browser.arg(format!("--window-size={PAGE_SIZE}"));
    browser.arg(format!("--screenshot={}", pictures.join("page.png").display()));
    browser.arg(format!("file://{}#turn-3", page.display()));
    command::output(&mut browser)?;
    eprintln!("look at {}", pictures.display());
    Ok(())
}
