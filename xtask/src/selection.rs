//! What of the workspace can be built here: all of it, or all but what links libpython.

use std::{path::Path, process::Command};

use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::command::{Result, exists, root, unless_required};

/// The crate that users depend on.
pub(crate) const FACADE: &str = "abyme";

/// The feature that links libpython, and the crate that is nothing else.
const FEATURE: &str = "pyo3";
const CRATE: &str = "abyme-interpreter-pyo3";

/// Prints what is missing of the Python that would be linked, if anything is.
const PROBE: &str = r#"
import os, sys, sysconfig
get = sysconfig.get_config_var
name = get("INSTSONAME" if sys.platform == "darwin" else "LDLIBRARY")
library = os.path.join(get("LIBDIR") or "", name or "?")
if sys.version_info < (3, 9):
    print("it is older than 3.9")
elif get("Py_GIL_DISABLED"):
    print("it is a free-threaded build")
elif not get("Py_ENABLE_SHARED") and not get("PYTHONFRAMEWORK"):
    print("it has no shared library")
elif not os.path.exists(library):
    print(library + " is not there; on Debian and Ubuntu it comes with python3-dev")
"#;

/// The arguments by which cargo builds all of the workspace, or of one package, that can be built here. What
/// is left out is said, and is an error if `ABYME_REQUIRE` names it.
pub(crate) fn everything(of: Option<&str>) -> Result<Vec<String>> {
    let what = of.map_or_else(|| vec!["--workspace"], |package| vec!["--package", package]);
    let mut arguments: Vec<String> = what.into_iter().chain(["--locked"]).map(str::to_owned).collect();
    let Some(reason) = no_libpython()?.filter(|_| of != Some(CRATE)) else {
        arguments.push("--all-features".to_owned());
        return Ok(arguments);
    };
    eprintln!("xtask: ignored: all that is about {FEATURE}, because {reason}");
    let metadata = metadata()?;
    if of.is_none() {
        arguments.extend(["--exclude", CRATE].map(str::to_owned));
    }
    arguments.extend(["--features".to_owned(), other_features(&metadata, of).join(",")]);
    Ok(arguments)
}

/// The workspace's packages.
pub(crate) fn metadata() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(root()).no_deps().exec().map_err(|error| format!("cargo metadata failed: {error}"))
}

/// The packages that are meant for the registry.
pub(crate) fn published(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    let is_published = |package: &&Package| package.publish.as_ref().is_none_or(|to| !to.is_empty());
    metadata.workspace_packages().into_iter().filter(is_published)
}

/// Whether a package links libpython when it is built with these arguments.
pub(crate) fn links_python(package: &Package, arguments: &[String]) -> bool {
    let is_all =
        |argument: &String| argument == "--all-features" || argument.split(',').any(|one| one == FEATURE);
    package.name.as_str() == CRATE || (package.features.contains_key(FEATURE) && arguments.iter().any(is_all))
}

/// Each feature of the facade that can be built here, and none at all.
pub(crate) fn of_facade() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let facade = metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == FACADE);
    let features =
        facade.map(|facade| facade.features.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let without_python = no_libpython()?.is_some();
    let features = features.into_iter().filter(|feature| !(without_python && feature == FEATURE));
    Ok(std::iter::once(String::new()).chain(features).collect())
}

/// Every feature of the packages, but those that link libpython.
fn other_features(metadata: &Metadata, of: Option<&str>) -> Vec<String> {
    let packages = metadata.workspace_packages();
    let chosen = |name: &str| name != CRATE && of.is_none_or(|of| of == name);
    let of_package = packages.iter().filter(|package| chosen(package.name.as_str())).flat_map(|package| {
        let features = package.features.keys().filter(|feature| *feature != FEATURE);
        features.map(|feature| format!("{}/{feature}", package.name))
    });
    of_package.collect()
}

/// The Python that pyo3 would link: it looks in this order.
fn python() -> String {
    if let Ok(python) = std::env::var("PYO3_PYTHON") {
        return python;
    }
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(directory) = std::env::var_os(variable) {
            return Path::new(&directory).join("bin/python").display().to_string();
        }
    }
    let is_python_3 = |name: &&str| exists(name, &["-c", "import sys; sys.exit(sys.version_info[0] != 3)"]);
    ["python", "python3"].into_iter().find(is_python_3).unwrap_or("python3").to_owned()
}

/// Why the Python that pyo3 would link cannot be linked, if that is so; an error if `ABYME_REQUIRE` names it.
pub(crate) fn no_libpython() -> Result<Option<String>> {
    missing().map(|reason| unless_required(FEATURE, reason)).transpose()
}

fn missing() -> Option<String> {
    let python = python();
    match Command::new(&python).args(["-I", "-c", PROBE]).output() {
        Ok(output) if output.status.success() && output.stdout.is_empty() => None,
        Ok(output) if output.status.success() => {
            let missing = String::from_utf8_lossy(&output.stdout);
            Some(format!("`{python}` cannot be linked: {}", missing.trim()))
        }
        Ok(output) => Some(format!("`{python}` failed ({})", output.status)),
        Err(error) => Some(format!("`{python}` cannot be run: {error}")),
    }
}
