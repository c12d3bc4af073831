//! `cargo xtask python-wasm`: builds the data of the crate `abyme-python-wasm`, or checks that building it
//! again gives the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use sha2::{Digest as _, Sha256};

use crate::command::{self, Result, root};

/// What to do with what was built.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build in a fresh directory, compare with the committed data, and write nothing.
    #[arg(long)]
    check: bool,
}

/// The files that are compressed into `data/`.
const FILES: [&str; 2] = ["python.wasm", "stdlib.tar"];

/// The highest level that needs no more memory to decompress; higher ones gain less than one part in a
/// thousand.
const ZSTD_LEVEL: i32 = 19;

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check { check() } else { write() }
}

fn crate_dir() -> PathBuf {
    root().join("crates/abyme-python-wasm")
}

/// Where builds are kept between runs, so that a changed guest is a relink of seconds.
fn work_dir() -> PathBuf {
    root().join("target/python-wasm")
}

/// Runs the build script. What is missing on the machine, it says itself.
fn build(work: &Path, output: &Path) -> Result<()> {
    let mut script = Command::new("bash");
    script.arg(crate_dir().join("build.sh")).arg(work).arg(output);
    // A download is checked by its sha256 each time, so that a fresh directory may share it.
    command::run(script.env("DOWNLOADS", work_dir().join("downloads")))
}

fn write() -> Result<()> {
    let started = Instant::now();
    let output = work_dir().join("output");
    build(&work_dir(), &output)?;
    let built = started.elapsed();
    let data = crate_dir().join("data");
    let licenses = data.join("licenses");
    if licenses.exists() {
        fs::remove_dir_all(&licenses)
            .map_err(|error| format!("cannot empty {}: {error}", licenses.display()))?;
    }
    create_dir(&licenses)?;
    let mut sums = String::new();
    let mut sizes = Vec::new();
    for name in FILES {
        let content = read(&output.join(name))?;
        let compressed_name = format!("{name}.zst");
        let compressed = match kept(&data, name, &content) {
            Some(compressed) => compressed,
            None => zstd::bulk::compress(&content, ZSTD_LEVEL)
                .map_err(|error| format!("cannot compress {name}: {error}"))?,
        };
        for (name, content) in [(name, &content), (&compressed_name, &compressed)] {
            let sha256 = sha256(content);
            println!("{name:<16} {:>9} bytes  sha256 {sha256}", content.len());
            sums.push_str(&format!("{sha256}  {name}\n"));
        }
        write_file(&data.join(&compressed_name), &compressed)?;
        sizes.push((content.len(), sha256(&content)));
    }
    for name in texts(&output)? {
        write_file(&data.join(&name), &read(&output.join(&name))?)?;
    }
    write_file(&data.join("SHA256SUMS"), sums.as_bytes())?;
    let versions = String::from_utf8_lossy(&read(&output.join("versions.toml"))?).into_owned();
    write_file(&crate_dir().join("src/digests.rs"), digests(&versions, &sizes)?.as_bytes())?;
    let seconds = started.elapsed() - built;
    println!("built in {:.1} s, compressed in {:.1} s", built.as_secs_f64(), seconds.as_secs_f64());
    Ok(())
}

/// The compressed file, when it is whole and holds this content already. Compressing takes seconds, and
/// another version of zstd would change the bytes for nothing.
fn kept(data: &Path, name: &str, content: &[u8]) -> Option<Vec<u8>> {
    let sums = fs::read_to_string(data.join("SHA256SUMS")).ok()?;
    let compressed_name = format!("{name}.zst");
    let compressed = fs::read(data.join(&compressed_name)).ok()?;
    let is = |name: &str, content: &[u8]| digest_of(&sums, name) == Some(&sha256(content));
    (is(name, content) && is(&compressed_name, &compressed)).then_some(compressed)
}

/// A file's line in SHA256SUMS.
fn digest_of<'a>(sums: &'a str, name: &str) -> Option<&'a str> {
    sums.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix("  "))
}

/// The digests as Rust: what the crate checks its data against.
fn digests(versions: &str, files: &[(usize, String)]) -> Result<String> {
    let version = versions
        .lines()
        .skip_while(|line| *line != "[python]")
        .find_map(|line| line.strip_prefix("version = "))
        .ok_or("build.sh wrote no version of Python into versions.toml")?;
    let [(wasm_size, wasm_sha256), (stdlib_size, stdlib_sha256)] = files else {
        return Err("there are two files to describe".to_owned());
    };
    Ok(format!(
        r#"//! What the files in `data/` hold. Written by `cargo xtask python-wasm`; not edited by hand.

/// The version of CPython.
pub const PYTHON_VERSION: &str = {version};

/// The sha256 of [`python_wasm`](crate::python_wasm), in hexadecimal.
pub const PYTHON_WASM_SHA256: &str = "{wasm_sha256}";

/// The sha256 of [`stdlib_tar`](crate::stdlib_tar), in hexadecimal.
pub const STDLIB_SHA256: &str = "{stdlib_sha256}";

pub(crate) const PYTHON_WASM_SIZE: usize = {wasm_size};

pub(crate) const STDLIB_SIZE: usize = {stdlib_size};
"#
    ))
}

fn check() -> Result<()> {
    let started = Instant::now();
    let fresh = std::env::temp_dir().join(format!("abyme-python-wasm-{}", std::process::id()));
    create_dir(&fresh)?;
    let output = fresh.join("output");
    build(&fresh.join("work"), &output).map_err(|problem| format!("{problem}; see {}", fresh.display()))?;
    let differences = differences(&output, &crate_dir().join("data"))?;
    println!("built in {:.1} s", started.elapsed().as_secs_f64());
    if !differences.is_empty() {
        return Err(format!(
            "building again gives something else than crates/abyme-python-wasm/data:\n  {}\n\
             What was built is in {}. When the sources have changed, run `cargo xtask python-wasm` and \
             commit the data",
            differences.join("\n  "),
            output.display()
        ));
    }
    println!("the committed data is what its sources give");
    fs::remove_dir_all(&fresh).map_err(|error| format!("cannot remove {}: {error}", fresh.display()))
}

/// Each file that differs, compared uncompressed: another version of zstd may compress otherwise.
fn differences(built: &Path, data: &Path) -> Result<Vec<String>> {
    let sums = String::from_utf8_lossy(&read(&data.join("SHA256SUMS"))?).into_owned();
    let mut differences = Vec::new();
    for name in FILES {
        let content = read(&built.join(name))?;
        let found = sha256(&content);
        println!("{name:<16} {:>9} bytes  sha256 {found}", content.len());
        match digest_of(&sums, name) {
            Some(committed) if committed == found => {}
            Some(committed) => {
                differences.push(format!("{name}: built with sha256 {found}, committed with {committed}"));
            }
            None => differences.push(format!("{name}: SHA256SUMS does not name it")),
        }
    }
    let (new, old) = (texts(built)?, texts(data)?);
    for name in &new {
        match fs::read(data.join(name)) {
            Ok(committed) if committed == read(&built.join(name))? => {}
            Ok(_) => differences.push(format!("{name}: its text is another one")),
            Err(_) => differences.push(format!("{name}: not committed")),
        }
    }
    differences.extend(
        old.iter().filter(|name| !new.contains(name)).map(|name| format!("{name}: committed, not built")),
    );
    Ok(differences)
}

/// The texts beside the two files, relative to their directory: licences and versions.
fn texts(dir: &Path) -> Result<Vec<String>> {
    let licenses = dir.join("licenses");
    let entries =
        fs::read_dir(&licenses).map_err(|error| format!("cannot list {}: {error}", licenses.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| format!("licenses/{}", entry.file_name().to_string_lossy()))
        .chain(["versions.toml".to_owned()])
        .collect();
    names.sort();
    Ok(names)
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| format!("cannot create {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("abyme-xtask-{}-{name}", std::process::id()));
        create_dir(&dir.join("licenses")).unwrap();
        for (name, content) in files {
            write_file(&dir.join(name), content.as_bytes()).unwrap();
        }
        dir
    }

    #[test]
    fn each_difference_is_named() {
        let sums = format!("{}  python.wasm\n00  stdlib.tar\n00  stdlib.tar.zst\n", sha256(b"module"));
        let built = dir_with(
            "built",
            &[
                ("python.wasm", "module"),
                ("stdlib.tar", "library"),
                ("versions.toml", "1"),
                ("licenses/a", "a"),
                ("licenses/b", "b"),
                ("licenses/new", ""),
            ],
        );
        let data = dir_with(
            "data",
            &[
                ("SHA256SUMS", &sums),
                ("versions.toml", "1"),
                ("licenses/a", "a"),
                ("licenses/b", "c"),
                ("licenses/old", ""),
            ],
        );
        let expected = [
            format!("stdlib.tar: built with sha256 {}, committed with 00", sha256(b"library")),
            "licenses/b: its text is another one".to_owned(),
            "licenses/new: not committed".to_owned(),
            "licenses/old: committed, not built".to_owned(),
        ];
        assert_eq!(differences(&built, &data).unwrap(), expected);
        fs::remove_dir_all(built).unwrap();
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn the_digests_are_written_as_they_are_committed() {
        let (data, committed) = (crate_dir().join("data"), crate_dir().join("src/digests.rs"));
        let text = |path: &Path| String::from_utf8(read(path).unwrap()).unwrap();
        let (sums, committed) = (text(&data.join("SHA256SUMS")), text(&committed));
        let of = |name: &str, constant: &str| {
            let sha256 = digest_of(&sums, name).unwrap();
            let size =
                committed.lines().find_map(|line| line.split_once(constant)?.1.strip_suffix(';')).unwrap();
            (size.parse().unwrap(), sha256.to_owned())
        };
        let files =
            [of("python.wasm", "PYTHON_WASM_SIZE: usize = "), of("stdlib.tar", "STDLIB_SIZE: usize = ")];
        assert_eq!(digests(&text(&data.join("versions.toml")), &files).unwrap(), committed);
    }
}
