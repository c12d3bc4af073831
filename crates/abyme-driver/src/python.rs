//! All Python source of Abyme, embedded as text.

/// The driver's files by module name. `stdio` is the main one. `PROTOCOL.md` says how they are loaded.
pub const DRIVER: &[(&str, &str)] = &[
    ("annotations", include_str!("../python/annotations.py")),
    ("capture", include_str!("../python/capture.py")),
    ("confine", include_str!("../python/confine.py")),
    ("convert", include_str!("../python/convert.py")),
    ("display", include_str!("../python/display.py")),
    ("errors", include_str!("../python/errors.py")),
    ("gate", include_str!("../python/gate.py")),
    ("given", include_str!("../python/given.py")),
    ("processes", include_str!("../python/processes.py")),
    ("program", include_str!("../python/program.py")),
    ("repl", include_str!("../python/repl.py")),
    ("scope", include_str!("../python/scope.py")),
    ("sources", include_str!("../python/sources.py")),
    ("stdio", include_str!("../python/stdio.py")),
    ("submit", include_str!("../python/submit.py")),
    ("texts", include_str!("../python/texts.py")),
    ("wire", include_str!("../python/wire.py")),
];

/// A program for `python3 -I -c` that starts the driver from a bundle on stdin, without a file on disk.
pub const BOOT: &str = include_str!("../python/boot.py");

/// A program for `python3 -I -c` that describes its Python and compiles the driver for it.
pub const PROBE: &str = include_str!("../python/probe.py");

/// The driver's sources as the JSON object that [`PROBE`] reads.
pub fn sources_json(driver: &[(&str, &str)]) -> Vec<u8> {
    let sources: serde_json::Map<String, serde_json::Value> =
        driver.iter().map(|(name, source)| ((*name).to_owned(), (*source).into())).collect();
    serde_json::Value::Object(sources).to_string().into_bytes()
}

/// A bundle of the driver's sources.
pub(crate) fn sources_bundle(kind: BundleKind) -> Vec<u8> {
    bundle(kind, &sources_json(DRIVER))
}

/// The bundle that [`BOOT`] reads: sources for any Python, or code that one has compiled.
pub fn bundle(kind: BundleKind, data: &[u8]) -> Vec<u8> {
    let mut bundle = Vec::with_capacity(9 + data.len());
    bundle.push(match kind {
        BundleKind::Sources => b'J',
        BundleKind::SourcesForCode => b'C',
        BundleKind::Compiled => b'M',
    });
    bundle.extend((data.len() as u64).to_be_bytes());
    bundle.extend(data);
    bundle
}

/// The content of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// Sources, as [`sources_json`] writes them.
    Sources,
    /// The same, and the driver hands its code back: see [`DriverCode`](crate::DriverCode).
    SourcesForCode,
    /// Code, as [`PROBE`] or an earlier driver compiled it. Where another Python did so, the driver asks for
    /// the sources.
    Compiled,
}
