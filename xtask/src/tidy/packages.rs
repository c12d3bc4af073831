//! Every backend runs the conformance suite, every published crate says what it is, and the protocol's
//! specification and code have the same version.

use cargo_metadata::Package;

use super::workspace::{Problem, Workspace};

/// The crate that holds the protocol's code and specification.
const DRIVER: &str = "abyme-driver";

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in workspace.metadata.workspace_packages() {
        check_package(package, &mut problems);
    }
    let of_driver = || workspace.files.iter().filter(|file| file.package == DRIVER);
    let version = of_driver().find_map(|file| protocol_version(&file.text)).unwrap_or("?");
    let specification = of_driver().find(|file| file.path.ends_with("/PROTOCOL.md"));
    if !specification.is_some_and(|file| names_version(&file.text, version)) {
        let text = format!("PROTOCOL.md does not name version {version} in its first lines");
        problems.push(Problem::new(DRIVER, text));
    }
    problems
}

fn check_package(package: &Package, problems: &mut Vec<Problem>) {
    let name = package.name.as_str();
    let mut push = |text: String| problems.push(Problem::new(name, text));
    let has_suite = package.targets.iter().any(|target| target.name == "conformance");
    if name.starts_with("abyme-interpreter-") && !has_suite {
        push(format!("{name} has no `conformance` test target"));
    }
    if package.description.is_none() {
        push(format!("{name} has no description"));
    }
    let published = package.publish.as_ref().is_none_or(|registries| !registries.is_empty());
    if published && package.license.is_none() {
        push(format!("{name} has no `license`"));
    }
    if published && package.readme.as_ref().is_none_or(|readme| !readme_exists(package, readme.as_str())) {
        push(format!("{name} has no README.md"));
    }
}

fn readme_exists(package: &Package, readme: &str) -> bool {
    package.manifest_path.parent().is_some_and(|dir| dir.join(readme).exists())
}

/// The protocol's version in the code, if this is the file that has it.
fn protocol_version(code: &str) -> Option<&str> {
    let start = "const PROTOCOL_VERSION: u32 = ";
    code.lines().find_map(|line| line.split_once(start)?.1.strip_suffix(';'))
}

/// The specification says near its top which version it describes.
fn names_version(specification: &str, version: &str) -> bool {
    let wanted = format!("version {version}");
    specification.lines().take(10).any(|line| line.to_lowercase().contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_crate_has_a_license() {
        let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
        let core = metadata.packages.iter().find(|package| package.name.as_str() == "abyme-core");
        let mut package = core.unwrap().clone();
        let mut problems = Vec::new();
        check_package(&package, &mut problems);
        assert!(problems.is_empty());
        package.license = None;
        check_package(&package, &mut problems);
        assert_eq!(problems.len(), 1);
        package.publish = Some(Vec::new());
        check_package(&package, &mut problems);
        assert_eq!(problems.len(), 1, "what is not published needs none");
    }

    #[test]
    fn the_version_is_read_from_code_and_specification() {
        let code = "//! Doc.\n\npub(crate) const PROTOCOL_VERSION: u32 = 7;\n";
        assert_eq!(protocol_version(code), Some("7"));
        assert_eq!(protocol_version("const OTHER: u32 = 7;"), None);
        assert!(names_version("# The protocol\n\nVersion 7.\n", "7"));
        assert!(!names_version("# The protocol\n\nVersion 6.\n", "7"));
    }
}
