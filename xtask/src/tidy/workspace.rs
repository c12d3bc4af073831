//! What the checks look at: the packages by cargo's account, and the text of every source file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, MetadataCommand};

use crate::command::{Result, root};

/// The package name of files that belong to no package.
const NO_PACKAGE: &str = "workspace";

/// The workspace, read once for all checks.
pub(crate) struct Workspace {
    pub(crate) metadata: Metadata,
    pub(crate) files: Vec<SourceFile>,
}

/// A source file: Rust, Python, Markdown and what builds them.
pub(crate) struct SourceFile {
    /// Its path in the workspace.
    pub(crate) path: String,
    /// The package that it belongs to.
    pub(crate) package: String,
    pub(crate) text: String,
}

/// Something that breaks a rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) package: String,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(package: &str, text: String) -> Self {
        Self { package: package.to_owned(), text }
    }
}

impl SourceFile {
    #[cfg(test)]
    pub(crate) fn of_text(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), package: "p".to_owned(), text: text.to_owned() }
    }

    pub(crate) fn extension(&self) -> &str {
        extension(Path::new(&self.path))
    }

    /// The file's name without its extension.
    pub(crate) fn stem(&self) -> &str {
        Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }

    /// Whether the file is about tests or benchmarks alone.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        self.stem() == "tests" || parts.any(|part| matches!(part, "tests" | "benches"))
    }

    pub(crate) fn problem(&self, text: &str) -> Problem {
        Problem::new(&self.package, format!("{}: {text}", self.path))
    }

    /// A problem of the line with this index.
    pub(crate) fn problem_at(&self, index: usize, text: &str) -> Problem {
        Problem::new(&self.package, format!("{}:{}: {text}", self.path, index + 1))
    }
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .current_dir(root())
            .other_options(["--locked".to_owned()])
            .exec()
            .map_err(|error| format!("cargo metadata failed: {error}"))?;
        let mut workspace = Self { metadata, files: Vec::new() };
        let mut paths = Vec::new();
        list(&root(), &mut paths)?;
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let package = workspace.package_of(&path);
            workspace.files.push(SourceFile { path: in_workspace(&path), package, text });
        }
        Ok(workspace)
    }

    pub(crate) fn has_package(&self, name: &str) -> bool {
        name == NO_PACKAGE || self.metadata.workspace_packages().iter().any(|package| package.name == name)
    }

    /// The package in whose directory the file is, and the innermost if there are several.
    fn package_of(&self, path: &Path) -> String {
        let packages = self.metadata.workspace_packages();
        let directory = |package: &cargo_metadata::Package| {
            package.manifest_path.parent().map(|dir| dir.as_std_path().to_owned()).unwrap_or_default()
        };
        let holders = packages.iter().filter(|package| path.starts_with(directory(package)));
        let innermost = holders.max_by_key(|package| directory(package).components().count());
        innermost.map_or_else(|| NO_PACKAGE.to_owned(), |package| package.name.to_string())
    }
}

/// The path as seen from the workspace's root, with slashes.
pub(crate) fn in_workspace(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string().replace('\\', "/")
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// The source files under `dir`, without what is built, hidden, or somebody else's.
fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || matches!(name, "target" | "__pycache__" | "data") {
            continue;
        }
        if path.is_dir() {
            list(&path, files)?;
        } else if matches!(extension(&path), "rs" | "py" | "md" | "toml" | "sh" | "c" | "h") {
            files.push(path);
        }
    }
    Ok(())
}
