//! Says early, and with a way out, that there is no Python to link; lets this package's own programs find its
//! library.

use std::{env, path::Path, process::exit};

fn main() {
    let config = pyo3_build_config::get();
    // docs.rs has no libpython, and nothing is linked for documentation.
    let links = env::var_os("DOCS_RS").is_none();
    let version = config.version();
    let python = config.executable().unwrap_or("the Python that was found");
    if links && config.target_abi().kind().is_free_threaded() {
        fail(&format!(
            "{python} is a free-threaded build, on which sessions would not be kept apart: set PYO3_PYTHON \
             to one with the usual interpreter lock"
        ));
    }
    let name = config.lib_name().unwrap_or("python3").to_owned();
    let missing = match config.lib_dir() {
        _ if !config.shared() => Some(format!("{python} was built without a shared library")),
        Some(dir) if !has_library(Path::new(dir), &name) => Some(format!("lib{name}.so is not in {dir}")),
        _ => None,
    };
    if let Some(missing) = missing.filter(|_| links) {
        fail(&format!(
            "Python {version} cannot be linked: {missing}. Install it (Debian, Ubuntu: `apt-get install \
             python3-dev`; Fedora: `dnf install python3-devel`; pyenv: \
             `PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install`), or set \
             PYO3_PYTHON to a Python that has it"
        ));
    }
    pyo3_build_config::add_libpython_rpath_link_args();
    // The one that is linked, so that its standard library is found whatever `python3` is on PATH.
    println!("cargo:rustc-env=ABYME_PYTHON_EXECUTABLE={}", config.executable().unwrap_or_default());
    println!("cargo:rustc-env=ABYME_PYTHON_VERSION={version}");
}

fn has_library(dir: &Path, name: &str) -> bool {
    ["so", "dylib", "dll", "lib"].iter().any(|extension| {
        dir.join(format!("lib{name}.{extension}")).exists()
            || dir.join(format!("{name}.{extension}")).exists()
    })
}

fn fail(problem: &str) -> ! {
    println!("cargo::error={problem}");
    exit(1)
}
