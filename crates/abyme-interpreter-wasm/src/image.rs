//! The base image: CPython started, with its modules imported, compiled and kept on disk.

pub(crate) mod cache;
pub(crate) mod files;
pub(crate) mod load;
pub(crate) mod prefault;
pub(crate) mod prepare;
