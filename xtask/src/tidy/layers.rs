//! Imports between crates run downwards only, and the core stays free of what belongs to backends.

use cargo_metadata::{DependencyKind, Metadata, Package};

use super::workspace::{Problem, Workspace};

/// The layer of each crate. A crate may use those of lower layers only.
const LAYERS: &[(&str, u32)] = &[
    ("abyme-python-syntax", 0),
    ("abyme-python-wasm", 0),
    ("abyme-wasi", 0),
    ("abyme-derive", 0),
    ("abyme-listen", 0),
    ("abyme-core", 1),
    ("abyme-conformance", 2),
    ("abyme-driver", 2),
    ("abyme-files", 2),
    ("abyme-eval", 2),
    ("abyme-model-http", 2),
    ("abyme-serve", 2),
    ("abyme-view", 2),
    ("abyme-interpreter-docker", 3),
    ("abyme-interpreter-modal", 3),
    ("abyme-interpreter-pyo3", 3),
    ("abyme-interpreter-subprocess", 3),
    ("abyme-interpreter-wasm", 3),
    ("abyme-model-anthropic", 3),
    ("abyme-model-gemini", 3),
    ("abyme-model-genai", 3),
    ("abyme-model-openai", 3),
    ("abyme-mcp", 3),
    ("abyme-mcp-server", 3),
    ("abyme", 4),
    ("abyme-benches", 5),
    ("abyme-cli", 5),
    ("abyme-examples", 5),
    ("abyme-tests", 5),
    ("abyme-third-party-backend", 5),
];

/// Crates that must not be found below `abyme-core`.
const FOREIGN_TO_CORE: &[&str] = &["bollard", "hyper", "pyo3", "reqwest", "wasmtime"];

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in workspace.metadata.workspace_packages() {
        check_layer(package, &workspace.metadata, &mut problems);
    }
    check_core(&workspace.metadata, &mut problems);
    problems
}

fn layer(name: &str) -> Option<u32> {
    LAYERS.iter().find(|(given, _)| *given == name).map(|(_, layer)| *layer)
}

/// Crates of one layer never import each other. Tests may: they are at the top.
fn check_layer(package: &Package, metadata: &Metadata, problems: &mut Vec<Problem>) {
    let name = package.name.as_str();
    let Some(own) = layer(name) else {
        if name != "xtask" {
            let text = format!("{name} has no layer: add it to LAYERS in xtask/src/tidy/layers.rs");
            problems.push(Problem::new(name, text));
        }
        return;
    };
    let ours = |name: &str| metadata.workspace_packages().iter().any(|package| package.name.as_str() == name);
    for dependency in &package.dependencies {
        let is_normal = dependency.kind != DependencyKind::Development;
        if is_normal && ours(&dependency.name) && layer(&dependency.name).is_none_or(|other| other >= own) {
            let text = format!("{name} (layer {own}) must not depend on {}", dependency.name);
            problems.push(Problem::new(name, text));
        }
    }
}

/// `abyme-core` has no HTTP, Python, WASM or Docker in it, with any feature.
fn check_core(metadata: &Metadata, problems: &mut Vec<Problem>) {
    let Some(resolve) = &metadata.resolve else { return };
    let node = |id: &cargo_metadata::PackageId| resolve.nodes.iter().find(|node| node.id == *id);
    let name_of = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
    let Some(core) = resolve.nodes.iter().find(|node| name_of(&node.id) == "abyme-core") else { return };
    let (mut queue, mut below) = (vec![core], Vec::new());
    while let Some(current) = queue.pop() {
        for dependency in &current.deps {
            let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if normal && !below.contains(&dependency.pkg) {
                below.push(dependency.pkg.clone());
                queue.extend(node(&dependency.pkg));
            }
        }
    }
    for name in below.iter().map(name_of).filter(|name| FOREIGN_TO_CORE.contains(&name.as_str())) {
        let text = format!("abyme-core must not depend on {name}, not even through others");
        problems.push(Problem::new("abyme-core", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_has_one_layer() {
        for (index, (name, _)) in LAYERS.iter().enumerate() {
            assert!(LAYERS[..index].iter().all(|(other, _)| other != name), "{name} is listed twice");
        }
        assert!(layer("abyme-core") < layer("abyme") && layer("abyme") < layer("abyme-cli"));
        assert_eq!(layer("serde"), None);
    }
}
