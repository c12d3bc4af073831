//! What of the workspace can be built here: all of it, or all but what links libpython.

use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

use crate::command::{Result, root};

/// The feature that links libpython, and the crate that is nothing else.
const FEATURE: &str = "pyo3";
const CRATE: &str = "droste-interpreter-pyo3";

/// Prints what is missing of the Python that would be linked, if anything is.
const PROBE: &str = r#"
import os, sys, sysconfig
get = sysconfig.get_config_var
library = os.path.join(get("LIBDIR") or "", get("INSTSONAME" if sys.platform == "darwin" else "LDLIBRARY") or "?")
if sys.version_info < (3, 9):
    print("it is older than 3.9")
elif get("Py_GIL_DISABLED"):
    print("it is a free-threaded build")
elif not get("Py_ENABLE_SHARED") and not get("PYTHONFRAMEWORK"):
    print("it has no shared library")
elif not os.path.exists(library):
    print(library + " is not there; on Debian and Ubuntu it comes with python3-dev")
"#;

/// The arguments by which cargo builds all that can be built here. What is left out is said, and is an error if
/// `DROSTE_REQUIRE` names it.
pub(crate) fn everything() -> Result<Vec<String>> {
    let all = ["--workspace", "--all-features", "--locked"].map(str::to_owned);
    let Some(reason) = no_libpython() else { return Ok(all.into()) };
    let required = std::env::var("DROSTE_REQUIRE").unwrap_or_default();
    if required.split(',').any(|name| name.trim() == FEATURE) {
        return Err(format!("DROSTE_REQUIRE names {FEATURE}, but {reason}"));
    }
    eprintln!("xtask: ignored: all that is about {FEATURE}, because {reason}");
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .map_err(|error| format!("cargo metadata failed: {error}"))?;
    let mut arguments =
        ["--workspace", "--exclude", CRATE, "--locked", "--features"].map(str::to_owned).to_vec();
    arguments.push(other_features(&metadata).join(","));
    Ok(arguments)
}

/// Every feature of every package, but those that link libpython.
fn other_features(metadata: &Metadata) -> Vec<String> {
    let packages = metadata.workspace_packages();
    let of_package = packages.iter().filter(|package| package.name.as_str() != CRATE).flat_map(|package| {
        let features = package.features.keys().filter(|feature| *feature != FEATURE);
        features.map(|feature| format!("{}/{feature}", package.name))
    });
    of_package.collect()
}

/// Why the Python that pyo3 would link cannot be linked.
fn no_libpython() -> Option<String> {
    let python = std::env::var("PYO3_PYTHON").unwrap_or_else(|_| "python3".to_owned());
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
