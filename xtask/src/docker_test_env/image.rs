//! The image of `cargo xtask docker-test-env`: Debian's own Python and what it needs, and nothing else.
//!
//! The packages come from the machine's own Debian mirror, and apt says which they are. No registry is used.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::engine::{Engine, say};
use crate::command::{Result, output};

/// What the image is called.
pub(super) const IMAGE: &str = "abyme-test-python:latest";

/// Dependencies that Python runs without: they serve installation, or modules that no test imports.
const NOT_NEEDED: &[&str] = &[
    "debconf",
    "debianutils",
    "dpkg",
    "install-info",
    "libc-bin",
    "libdb5.3",
    "libnsl2",
    "libreadline8",
    "libtirpc3",
    "mailcap",
    "media-types",
    "mime-support",
    "netbase",
    "perl",
    "readline-common",
    "tar",
    "tzdata",
];

/// Makes the image from packages.
pub(super) fn import(engine: &Engine) -> Result<()> {
    let made = |what: &Path, error| format!("cannot write {}: {error}", what.display());
    let downloads = engine.dir.join("packages");
    fs::create_dir_all(&downloads).map_err(|error| made(&downloads, error))?;
    let packages = needed()?;
    say(&format!("the image is made of {}", packages.iter().cloned().collect::<Vec<_>>().join(" ")));
    download(&packages, &downloads)?;
    let tree = engine.dir.join("root");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| format!("cannot empty {}: {error}", tree.display()))?;
    }
    for name in ["tmp", "usr/bin"] {
        fs::create_dir_all(tree.join(name)).map_err(|error| made(&tree, error))?;
    }
    for package in &packages {
        let Some(file) = file_of(package, &downloads) else {
            return Err(format!("the package {package} was not downloaded"));
        };
        let mut dpkg = Command::new("dpkg-deb");
        pipe(dpkg.arg("--fsys-tarfile").arg(file), Command::new("tar").arg("-x").arg("-C").arg(&tree))?;
    }
    let python = packages
        .iter()
        .find_map(|name| name.strip_suffix("-minimal").filter(|name| name.starts_with("python3.")));
    let python = python.ok_or("there is no Python among the packages")?;
    for (target, link) in [(python, "python3"), ("dash", "sh")] {
        link_to(target, &tree, link)?;
    }
    output(Command::new("chmod").args(["-R", "u+rwX,go+rX"]).arg(&tree))?;
    let mut client = engine.client();
    client.args([
        "import",
        "--change",
        "ENV PATH=/usr/bin:/bin",
        "--change",
        "CMD [\"python3\"]",
        "-",
        IMAGE,
    ]);
    pipe(Command::new("tar").arg("-c").arg("-C").arg(&tree).arg("."), &mut client)?;
    fs::remove_dir_all(&tree).map_err(|error| format!("cannot remove {}: {error}", tree.display()))
}

/// `python3` and `sh` are links that packages of their own would bring.
fn link_to(target: &str, tree: &Path, link: &str) -> Result<()> {
    // Where /bin is a link to /usr/bin, dash may be in either.
    let bin = ["usr/bin", "bin"].into_iter().find(|bin| tree.join(bin).join(target).exists());
    let at = tree.join(bin.ok_or_else(|| format!("there is no {target} in the packages"))?).join(link);
    if at.symlink_metadata().is_ok() {
        return Ok(());
    }
    output(Command::new("ln").args(["-s", target]).arg(&at)).map(|_| ())
}

/// The packages of this Debian's Python, with what it needs to run.
fn needed() -> Result<BTreeSet<String>> {
    let minimal = dependencies(&["python3-minimal".to_owned()])?;
    let minimal = minimal.into_iter().find(|name| name.starts_with("python3."));
    let minimal = minimal.ok_or("apt knows no python3-minimal: run `apt-get update`")?;
    let version = minimal.trim_start_matches("python").trim_end_matches("-minimal").to_owned();
    let mut next = vec![minimal, format!("libpython{version}-stdlib"), "dash".to_owned()];
    let mut found = BTreeSet::new();
    while !next.is_empty() {
        found.extend(next.iter().cloned());
        // Each question takes apt half a second, however many packages it is about.
        next = dependencies(&next)?;
        next.retain(|package| !NOT_NEEDED.contains(&package.as_str()) && !found.contains(package));
    }
    Ok(found)
}

/// What packages depend on: the last of alternatives, and no virtual ones.
fn dependencies(packages: &[String]) -> Result<Vec<String>> {
    let text = output(Command::new("apt-cache").args(["depends", "--important"]).args(packages))?;
    let names = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let name = line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("PreDepends: "))?;
        (!name.starts_with('<')).then(|| name.split(':').next().unwrap_or(name).to_owned())
    });
    Ok(names.collect())
}

fn download(packages: &BTreeSet<String>, into: &Path) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| file_of(package, into).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("downloading {} packages", missing.len()));
    // As root, apt downloads as another user, which cannot write here.
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "--option", "APT::Sandbox::User=root", "download"]).args(missing).current_dir(into);
    let failed = |problem| format!("{problem}\nIs the list of packages old? Run `apt-get update`");
    output(&mut apt).map(|_| ()).map_err(failed)
}

/// A downloaded package: `name_version_architecture.deb`.
fn file_of(package: &str, downloads: &Path) -> Option<std::path::PathBuf> {
    let start = format!("{package}_");
    let files = fs::read_dir(downloads).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| {
        path.extension().is_some_and(|extension| extension == "deb")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start))
    })
}

/// Runs two commands, the output of one being the input of the other.
fn pipe(from: &mut Command, to: &mut Command) -> Result<()> {
    let failed = |error: std::io::Error| format!("cannot start a command: {error}");
    let mut first = from.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let between = first.stdout.take().ok_or("a command has no output")?;
    let second = to.stdin(between).stdout(Stdio::null()).status().map_err(failed)?;
    let first = first.wait().map_err(failed)?;
    if first.success() && second.success() {
        return Ok(());
    }
    Err(format!(
        "`{}` to `{}` failed ({first}, {second})",
        from.get_program().to_string_lossy(),
        to.get_program().to_string_lossy()
    ))
}
