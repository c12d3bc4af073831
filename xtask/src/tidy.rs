//! `cargo xtask tidy`: the workspace's own rules, which no other tool knows. It is a test too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::command::{Result, root};

/// The layer of each crate. A crate may use those of lower layers only.
const LAYERS: &[(&str, u32)] = &[
    ("abyme-core", 0),
    ("abyme-python-wasm", 0),
    ("abyme-conformance", 1),
    ("abyme-driver", 1),
    ("abyme-interpreter-docker", 2),
    ("abyme-interpreter-pyo3", 2),
    ("abyme-interpreter-subprocess", 2),
    ("abyme-interpreter-wasm", 2),
    ("abyme-model-openai", 2),
    ("abyme", 3),
    ("abyme-benches", 4),
    ("abyme-cli", 4),
    ("abyme-examples", 4),
    ("abyme-tests", 4),
    ("abyme-third-party-backend", 4),
];

/// Lines of a file without its tests. Most files are far below.
const MAX_LINES: usize = 800;

/// Files over the limit, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Crates that must not be found below `abyme-core`.
const FOREIGN_TO_CORE: &[&str] = &["bollard", "hyper", "pyo3", "reqwest", "wasmtime"];

pub(crate) fn run() -> Result<()> {
    let problems = problems()?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("tidy found {} problems:\n  {}", problems.len(), problems.join("\n  ")))
}

fn problems() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .other_options(["--locked".to_owned()])
        .exec()
        .map_err(|error| format!("cargo metadata failed: {error}"))?;
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        check_layer(package, &metadata, &mut problems);
        check_package(package, &mut problems);
    }
    check_core(&metadata, &mut problems);
    for file in source_files(&root())? {
        check_file(&file, &mut problems)?;
    }
    check_protocol_version(&mut problems)?;
    Ok(problems)
}

fn layer(name: &str) -> Option<u32> {
    LAYERS.iter().find(|(given, _)| *given == name).map(|(_, layer)| *layer)
}

/// Imports run downwards only; crates of one layer never import each other. Tests may: they are at the top.
fn check_layer(package: &Package, metadata: &Metadata, problems: &mut Vec<String>) {
    let name = package.name.as_str();
    let Some(own) = layer(name) else {
        if name != "xtask" {
            problems.push(format!("{name} has no layer: add it to LAYERS in xtask/src/tidy.rs"));
        }
        return;
    };
    let ours = |name: &str| metadata.workspace_packages().iter().any(|package| package.name.as_str() == name);
    for dependency in &package.dependencies {
        let is_normal = dependency.kind != cargo_metadata::DependencyKind::Development;
        if is_normal && ours(&dependency.name) && layer(&dependency.name).is_none_or(|other| other >= own) {
            problems.push(format!("{name} (layer {own}) must not depend on {}", dependency.name));
        }
    }
}

/// Every backend passes the suite, and every published crate says what it is.
fn check_package(package: &Package, problems: &mut Vec<String>) {
    let name = package.name.as_str();
    let has_suite = package.targets.iter().any(|target| target.name == "conformance");
    if name.starts_with("abyme-interpreter-") && !has_suite {
        problems.push(format!("{name} has no `conformance` test target"));
    }
    if package.description.is_none() {
        problems.push(format!("{name} has no description"));
    }
    let published = package.publish.as_ref().is_none_or(|registries| !registries.is_empty());
    if published && package.readme.as_ref().is_none_or(|readme| !readme_exists(package, readme.as_str())) {
        problems.push(format!("{name} has no README.md"));
    }
}

fn readme_exists(package: &Package, readme: &str) -> bool {
    package.manifest_path.parent().is_some_and(|dir| dir.join(readme).exists())
}

/// `abyme-core` has no HTTP, Python, WASM or Docker in it, with any feature.
fn check_core(metadata: &Metadata, problems: &mut Vec<String>) {
    let Some(resolve) = &metadata.resolve else { return };
    let node = |id: &cargo_metadata::PackageId| resolve.nodes.iter().find(|node| node.id == *id);
    let name_of = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
    let Some(core) = resolve.nodes.iter().find(|node| name_of(&node.id) == "abyme-core") else { return };
    let (mut queue, mut seen) = (vec![core], Vec::new());
    while let Some(current) = queue.pop() {
        for dependency in &current.deps {
            let normal =
                dependency.dep_kinds.iter().any(|kind| kind.kind == cargo_metadata::DependencyKind::Normal);
            if normal && !seen.contains(&dependency.pkg) {
                seen.push(dependency.pkg.clone());
                queue.extend(node(&dependency.pkg));
            }
        }
    }
    for name in seen.iter().map(name_of).filter(|name| FOREIGN_TO_CORE.contains(&name.as_str())) {
        problems.push(format!("abyme-core must not depend on {name}, not even through others"));
    }
}

/// Every source file says what it is for, and none is too long.
fn check_file(file: &Path, problems: &mut Vec<String>) -> Result<()> {
    let text =
        fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let shown = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    let first = text.lines().next().unwrap_or_default();
    let has_header = match file.extension().and_then(|extension| extension.to_str()) {
        Some("py") => first.starts_with("\"\"\""),
        _ => first.starts_with("//!") || first.starts_with("#![doc = include_str!"),
    };
    if !has_header {
        problems.push(format!("{shown} does not say in its first line what it is for"));
    }
    let lines = text.lines().take_while(|line| *line != "mod tests {").count();
    if lines > MAX_LINES && !LONG_FILES.iter().any(|(allowed, _)| *allowed == shown) {
        problems.push(format!("{shown} has {lines} lines; split it (limit {MAX_LINES})"));
    }
    Ok(())
}

/// The specification and the code speak of the same version.
fn check_protocol_version(problems: &mut Vec<String>) -> Result<()> {
    let read = |path: &str| {
        fs::read_to_string(root().join(path)).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let code = read("crates/abyme-driver/src/message.rs")?;
    let version = code
        .lines()
        .find_map(|line| line.strip_prefix("pub const PROTOCOL_VERSION: u32 = ")?.strip_suffix(';'))
        .unwrap_or("?");
    let specification = read("crates/abyme-driver/PROTOCOL.md")?;
    if !specification.lines().take(10).any(|line| line.to_lowercase().contains(&format!("version {version}")))
    {
        problems.push(format!("PROTOCOL.md does not name version {version} in its first lines"));
    }
    Ok(())
}

/// The Rust and Python sources under `dir`, without what is built or hidden.
fn source_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || name == "target" || name == "__pycache__" {
            continue;
        }
        if path.is_dir() {
            files.extend(source_files(&path)?);
        } else if matches!(path.extension().and_then(|extension| extension.to_str()), Some("rs" | "py")) {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        assert_eq!(super::problems().unwrap(), Vec::<String>::new());
    }
}
