//! Lets a command with the feature `pyo3` find the libpython it was linked with, wherever that is.

fn main() {
    #[cfg(feature = "pyo3")]
    pyo3_build_config::add_libpython_rpath_link_args();
}
