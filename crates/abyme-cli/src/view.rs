//! `abyme view`: recorded runs as a page.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use abyme_view::{Follow, Page, load};
use tempfile::NamedTempFile;

use crate::{
    args::ViewArgs,
    exit::{Exit, Failure},
    files,
    signals::unless_stopped,
    standard::Standard,
    terminal,
};

pub(crate) async fn run(args: ViewArgs, standard: &Standard) -> Result<Exit, Failure> {
    if args.follow {
        return follow(&args, standard).await;
    }
    let records = args.compare.as_ref().unwrap_or(&args.records);
    let written = args.output.as_deref().filter(|path| *path != Path::new("-"));
    files::check_written([("--output", written)], records.iter().map(AsRef::as_ref))?;
    records.iter().try_for_each(|path| files::check_read(path.as_ref()))?;
    let loaded = records.iter().map(load).collect::<Result<Vec<_>, _>>();
    let loaded = loaded.map_err(|error| Failure::before_run(&error))?;
    let mut page = Page::new();
    for (path, trajectory) in records.iter().zip(&loaded) {
        page = page.record(name(path, records), trajectory);
    }
    if args.compare.is_some() {
        page = page.side_by_side();
    }
    let rendered = page.render();
    for note in &rendered.notes {
        terminal::say(&format!("abyme: warning: {note}"));
    }
    match &args.output {
        Some(path) if path == Path::new("-") => standard.write_or_show(&rendered.html)?,
        Some(path) => {
            write_private(path, &rendered.html)?;
            standard.write_or_show(&format!("{}\n", path.display()))?;
        }
        None => {
            let path = temporary(&rendered.html)?;
            standard.write_or_show(&format!("{}\n", path.display()))?;
            if has_reader(&args, standard) {
                open(&path);
            }
        }
    }
    Ok(Exit::Ok)
}

async fn follow(args: &ViewArgs, standard: &Standard) -> Result<Exit, Failure> {
    let [path] = &args.records[..] else {
        return Err(Failure::usage("--follow shows one run, and several records are given"));
    };
    files::check_read(path)?;
    let follow = Follow::bind(path, args.port).await.map_err(|error| Failure::before_run(&error))?;
    let url = follow.url();
    // A program that reads the address may send a signal at once.
    let serve = async {
        standard.write(&format!("{url}\n"))?;
        if !path.exists() {
            terminal::say(&format!("abyme: {} is not there yet; the page waits for it", path.display()));
        }
        // The file goes when this future does: when serving ends, or a signal drops it.
        let _redirect = has_reader(args, standard).then(|| open_privately(&url)).flatten();
        Ok::<_, Failure>(follow.serve().await?)
    };
    unless_stopped(serve, Duration::ZERO).await??;
    Ok(Exit::Ok)
}

/// What the page calls a record: the name of its file, or the whole path where two have the same.
fn name(path: &Path, all: &[PathBuf]) -> String {
    let short = path.file_name();
    let is_alone = all.iter().filter(|other| other.file_name() == short).count() == 1;
    short.filter(|_| is_alone).unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Writes a file that its owner alone may read, because a record may hold what is secret. One that is there
/// keeps its permissions.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| not_written(path, &error))
}

fn temporary(text: &str) -> Result<PathBuf, Failure> {
    let kept = temporary_page(text).and_then(|file| file.keep().map_err(|error| error.error));
    let path = kept.map(|(_, path)| path).map_err(|error| not_written(&std::env::temp_dir(), &error))?;
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

/// A file that its owner alone may read, and that is removed when it is dropped.
fn temporary_page(text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("abyme-").suffix(".html").tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Opens an address that nobody else may know. All users of the machine can read the arguments of a process,
/// so the browser is given a file that leads to the address.
fn open_privately(url: &str) -> Option<NamedTempFile> {
    let page = redirect(url)
        .inspect_err(|error| terminal::say(&format!("abyme: the page is not opened by itself: {error}")))
        .ok()?;
    open(page.path());
    Some(page)
}

/// A page that leads to `url`, whose characters mean nothing in HTML.
fn redirect(url: &str) -> io::Result<NamedTempFile> {
    temporary_page(&format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n<title>Abyme</title>\n"
    ))
}

/// The error of a file that could not be written.
pub(crate) fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Output, format!("cannot write {}: {error}", path.display()))
}

/// Whether somebody sits before a browser, and wants it opened.
fn has_reader(args: &ViewArgs, standard: &Standard) -> bool {
    let has_display = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|to| !to.is_empty()));
    !args.no_open && has_display && standard.is_output_terminal()
}

/// Opens a browser. Where the page is was said already.
fn open(page: &Path) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let null = Stdio::null;
    let started = Command::new(program).arg(page).stdin(null()).stdout(null()).stderr(null()).spawn();
    if let Err(error) = started {
        terminal::say(&format!("abyme: `{program}` opens no browser here: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_address_is_opened_by_a_file_that_is_private_and_goes() {
        let url = "http://127.0.0.1:4321/0123456789abcdef/";
        let page = redirect(url).unwrap();
        let path = page.path().to_owned();
        assert!(fs::read_to_string(&path).unwrap().contains(&format!("content=\"0; url={url}\"")));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let path_text = path.to_string_lossy().into_owned();
        assert!(path_text.ends_with(".html") && !path_text.contains("0123456789abcdef"), "{path_text}");
        drop(page);
        assert!(!path.exists());
    }
}
