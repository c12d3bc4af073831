//! Files of all kinds, good and bad, become the inputs of a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use abyme_core::{Field, FieldType, Value};
use abyme_files::{Given, LineKind, Loaded, Loader, Source};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, loader: &Loader, names: &[&str]) -> Loaded {
        loader.load(names.iter().map(|name| self.path(name)))
    }

    /// The lines of the report, without the directory.
    fn report(&self, loaded: &Loaded) -> Vec<String> {
        let root = format!("{}/", self.0.path().display());
        loaded.report().iter().map(|line| line.text.replace(&root, "")).collect()
    }
}

fn files(loaded: &Loaded) -> Vec<(String, Value)> {
    let inputs = loaded.inputs("why?");
    assert_eq!(inputs.get("question").and_then(Value::as_text), Some("why?"));
    let files = inputs.get("files").and_then(Value::as_dict).cloned().unwrap_or_default();
    let name = |name: &str| Path::new(name).file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|(path, value)| (name(path), value.clone())).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn files_of_all_kinds() {
    let dir = Dir::new();
    dir.write("notes.md", "# Notes\nThe fee is 20.\n");
    dir.write("old.txt", b"Geb\xfchr: f\xfcnf; Stra\xdfe, M\xfcnchen, K\xf6ln, D\xfcsseldorf");
    dir.write("a.json", r#"{"k": [1, 2.5, null]}"#);
    dir.write("b.jsonl.gz", gzip(b"{\"n\": 1}\n\n{\"n\": 2}\n"));
    dir.write("broken.json", "{'a': 1}");
    let names = ["notes.md", "old.txt", "a.json", "b.jsonl.gz", "broken.json"];
    let loaded = dir.load(&Loader::new(), &names);
    let report = dir.report(&loaded);
    assert_eq!(
        report,
        [
            "notes.md: text, 23 bytes",
            "old.txt: text, 47 bytes, taken for Latin-1",
            "a.json: JSON, 21 bytes",
            "b.jsonl.gz: JSON Lines, a list of 2, 19 bytes, decompressed (gzip)",
            "broken.json: text, 8 bytes",
            "broken.json: not JSON: expected a key in double quotes at line 1, column 2; it is there as text",
        ]
    );
    let files = files(&loaded);
    assert_eq!(files[1].1, "Gebühr: fünf; Straße, München, Köln, Düsseldorf".into());
    assert_eq!(files[2].1.repr(99), "{'k': [1, 2.5, None]}");
    assert_eq!(files[3].1.repr(99), "[{'n': 1}, {'n': 2}]");
    assert_eq!(files[4].1, "{'a': 1}".into());
}

#[test]
fn what_cannot_be_loaded_is_a_line_and_the_rest_goes_on() {
    let dir = Dir::new();
    dir.write("good.txt", "good");
    dir.write("empty.txt", "");
    dir.write("noise.bin", (0..=255).cycle().take(9_000).collect::<Vec<u8>>());
    dir.write("scan.pdf", "%PDF-1.7 ...");
    dir.write("cut.gz", &gzip(&b"abc".repeat(50_000))[..100]);
    dir.write("bomb.gz", gzip(&vec![b'x'; 3_000_000]));
    dir.write("none.csv", "a,b\n1,2\n3\n");
    // 100 GB of nothing, and as much that begins like text.
    File::create(dir.path("sparse.bin")).unwrap().set_len(100_000_000_000).unwrap();
    let mut long = File::create(dir.path("sparse.txt")).unwrap();
    long.write_all(&b"text ".repeat(4_000)).unwrap();
    long.set_len(100_000_000_000).unwrap();
    let names = [
        "good.txt",
        "empty.txt",
        "noise.bin",
        "scan.pdf",
        "cut.gz",
        "bomb.gz",
        "none.csv",
        "sparse.bin",
        "sparse.txt",
        "missing.txt",
    ];
    let loaded = dir.load(&Loader::new().max_total_bytes(2_000_000), &names);
    let report = dir.report(&loaded);
    let left = "the 2.0 MB left of the 2.0 MB that all files may have together";
    let problems: Vec<_> = loaded
        .report()
        .iter()
        .zip(&report)
        .filter(|(line, _)| line.kind == LineKind::Problem)
        .map(|(_, text)| text.as_str())
        .collect();
    assert_eq!(problems[..2], ["empty.txt: empty", "noise.bin: binary, which is not read"]);
    assert!(problems[2].starts_with("scan.pdf: a PDF"), "{problems:?}");
    assert!(problems[3].starts_with("cut.gz: "), "{problems:?}");
    assert_eq!(problems[4], format!("bomb.gz: larger than {left}"));
    if cfg!(feature = "sqlite") {
        assert_eq!(
            problems[5],
            "none.csv: no table: the first line has 2 fields, and there are 1 in line 3; it is there as text \
             alone"
        );
        assert_eq!(problems.len(), 9, "{problems:?}");
    }
    let rest = &problems[problems.len() - 3..];
    assert_eq!(
        rest,
        [
            "sparse.bin: binary, which is not read".to_owned(),
            format!("sparse.txt: 100.0 GB, over {left}"),
            "missing.txt: there is no such file".to_owned()
        ]
    );
    let files = files(&loaded);
    assert_eq!(
        files,
        [("good.txt".to_owned(), "good".into()), ("none.csv".to_owned(), "a,b\n1,2\n3\n".into())]
    );
}

#[test]
fn directories_and_stdin_are_said_together() {
    let dir = Dir::new();
    for number in 0..20 {
        dir.write(&format!("docs/{number:02}.txt"), "0123456789");
        dir.write(&format!("docs/{number:02}.png"), b"\x89PNG\0");
    }
    dir.write("docs/wide.txt", b"\xff\xfeh\0i\0");
    let piped = Given::stream("stdin", "piped".as_bytes());
    let loaded = Loader::new().load([Given::from(dir.path("docs")), piped]);
    assert_eq!(
        dir.report(&loaded),
        [
            format!("{}: 21 files, 206 bytes, 1 UTF-16LE", dir.path("docs").display()),
            "docs/00.png, docs/01.png, docs/02.png and 17 more: a picture, which is not read".to_owned(),
            "stdin: text, 5 bytes".to_owned(),
        ]
        .map(|line| line.replace(&format!("{}/", dir.0.path().display()), ""))
    );
    assert_eq!(files(&loaded).last().unwrap(), &("stdin".to_owned(), "piped".into()));
    let some = dir.load(&Loader::new().max_files(5), &["docs", "docs/wide.txt"]);
    let report = dir.report(&some);
    assert!(report.iter().any(|line| line.contains("more than 5 files in all directories")), "{report:?}");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_or_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let closed = dir.write("closed.txt", "secret");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let loaded = Loader::new().load([closed.as_os_str(), "/dev/zero".as_ref()]);
    let report = dir.report(&loaded);
    // The user `root` may read everything.
    if fs::read(&closed).is_err() {
        assert_eq!(report[0], "closed.txt: permission denied");
    }
    assert_eq!(report[1], "/dev/zero: no file and no pipe");
}

/// A quote is looked up in the file as it is, and the task sends back what is not there.
#[test]
fn quotes_are_found_with_line_and_byte() {
    let dir = Dir::new();
    dir.write("a/terms.md", "Terms\n\nThe fee for a café is\n  20 euros a month.\n");
    dir.write(
        "wide.txt",
        [b"\xff\xfe".to_vec(), "one\ntwo é three".encode_utf16().flat_map(u16::to_le_bytes).collect()]
            .concat(),
    );
    dir.write("ascii.json", r#"{"name": "caf\u00e9 \ud83d\ude00"}"#);
    dir.write("rows.jsonl", "{\"name\":\"A \\\"b\\\"\",\"n\":1}\n");
    dir.write("packed.txt.gz", gzip(b"first\nsecond\n"));
    let loaded = dir.load(&Loader::new(), &["a", "wide.txt", "rows.jsonl", "packed.txt.gz", "ascii.json"]);
    let root = format!("{}/", dir.0.path().display());
    let found = |file: &str, quote: &str| {
        let source = Source::new(file, quote);
        let submitted = Value::list([Value::from_serialize(&source).unwrap()]);
        match &loaded.sources(&submitted)[0] {
            Ok(found) => Ok(found.to_string().replace(&root, "")),
            Err(missing) => Err(missing.problem.replace(&root, "")),
        }
    };
    for (file, quote, shown) in [
        ("terms.md", "20 euros", "a/terms.md:4 (byte 32): \"20 euros\""),
        ("a/terms.md", "café is 20\neuros", "a/terms.md:3 (byte 21): \"café is 20 euros\""),
        ("wide.txt", "three", "wide.txt:2 (byte 22): \"three\""),
        ("ascii.json", "café 😀", "ascii.json:1 (byte 10): \"café 😀\""),
        ("rows.jsonl", "A \"b\"", "rows.jsonl:1 (byte 9): \"A \"b\"\""),
        ("rows.jsonl", "\"n\": 1", "rows.jsonl:1 (byte 18): \"\"n\": 1\""),
        ("packed.txt.gz", "second", "packed.txt.gz:2 (byte 6 of its text): \"second\""),
    ] {
        assert_eq!(found(file, quote), Ok(shown.to_owned()), "{quote}");
    }
    assert!(found("terms.md", "30 euros").unwrap_err().starts_with("this is not in \"a/terms.md\""));
    assert_eq!(found("terms.txt", "20").unwrap_err(), "no file is called \"terms.txt\"");
    assert_eq!(found("terms.md", " ").unwrap_err(), "the quote is empty");
    assert!(found("terms.md", &"x".repeat(3_000)).unwrap_err().contains("over 2000 characters"));
}

#[test]
fn the_task_names_files_and_refuses_made_up_quotes() {
    let dir = Dir::new();
    dir.write("plans.csv", "plan,refunds\nbasic,7\n");
    let loaded = dir.load(&Loader::new(), &["plans.csv"]);
    let signature = loaded.signature([Field::new("answer", FieldType::Str)]).unwrap();
    assert_eq!(
        signature.to_string(),
        "question: str, files -> answer: str, sources: list[{'file': str, 'quote': str}]"
    );
    let task = signature.instructions().unwrap();
    assert!(task.contains("plans.csv\": str (21 bytes)"), "{task}");
    assert_eq!(loaded.tools().len(), usize::from(cfg!(feature = "sqlite")));
    if cfg!(feature = "sqlite") {
        assert!(task.contains("- \"plans\"(\"plan\" TEXT, \"refunds\" INTEGER): 1 rows"), "{task}");
    }
    let submit = |quote: &str| {
        let sources = Value::list([Value::from_serialize(&Source::new("plans.csv", quote)).unwrap()]);
        let fields = [("answer".to_owned(), "basic".into()), ("sources".to_owned(), sources)];
        signature.coerce_outputs(fields.into_iter().collect()).map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(submit("basic,7"), Ok(()));
    let problem = submit("basic,8").unwrap_err();
    assert!(problem.contains("[0]: this is not in"), "{problem}");
    assert!(submit("basic,9").is_err());
    assert_eq!(submit("basic,9"), Ok(()), "the same again: the answer is not lost over it");
    let taken = loaded.signature([Field::new("sources", FieldType::Str)]).unwrap_err();
    assert!(taken.message().contains("call yours otherwise"));
}

#[test]
fn the_defaults() {
    let json = serde_json::to_value(Loader::new()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "max_total_bytes": 1 << 30, "max_files": 10_000, "hidden": false, "ignored": false,
            "html_source": false,
            "max_rows": 100_000, "query_timeout": 30.0,
        })
    );
    assert_eq!(serde_json::from_str::<Loader>("{}").unwrap(), Loader::new());
}

#[cfg(feature = "archives")]
mod archives {
    use super::*;

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in members {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.add_symlink("link", "a.txt", zip::write::SimpleFileOptions::default()).unwrap();
        archive.finish().unwrap().into_inner()
    }

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, *content).unwrap();
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        archive.append_link(&mut link, "link", "a.txt").unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn members_are_files() {
        let dir = Dir::new();
        let inner = gzip(b"{\"n\": 1}");
        let members: [(&str, &[u8]); 7] = [
            ("a.txt", b"The fee\nis 20."),
            ("data/b.json.gz", &inner),
            ("data/c.csv", b"x,y\n1,2\n"),
            (".hidden/d.txt", b"x"),
            ("__MACOSX/e.txt", b"x"),
            ("f.png", b"\x89PNG\0"),
            ("g.zip", b"PK\x03\x04"),
        ];
        dir.write("one.zip", zip(&members));
        dir.write("two.tar.gz", gzip(&tar(&members)));
        dir.write("three.tar", tar(&members));
        for name in ["one.zip", "two.tar.gz", "three.tar"] {
            let loaded = dir.load(&Loader::new(), &[name]);
            let report = dir.report(&loaded);
            let root = format!("{}/", dir.0.path().display());
            // The whole path is what was given.
            assert_eq!(
                report[0].replace(&root, ""),
                format!("{name}: 3 files, 30 bytes, 1 decompressed (gzip)")
            );
            let problems: Vec<_> = report[1..].iter().map(|line| line.replace(name, "*")).collect();
            assert_eq!(
                problems,
                [
                    "*/f.png: a picture, which is not read",
                    "*/g.zip: an archive in an archive, which is not read",
                    "*/link: a link, which is not followed",
                ]
            );
            let files = files(&loaded);
            assert_eq!(files[0], ("a.txt".to_owned(), "The fee\nis 20.".into()));
            assert_eq!((files[1].0.as_str(), files[1].1.repr(50)), ("b.json.gz", "{'n': 1}".to_owned()));
            let source = Source::new(format!("{name}/a.txt"), "is 20");
            let found = loaded.sources(&Value::list([Value::from_serialize(&source).unwrap()]));
            let found = found[0].as_ref().unwrap().to_string().replace(&root, "");
            assert_eq!(found, format!("{name}/a.txt:2 (byte 8 of its text): \"is 20\""));
        }
    }

    #[test]
    fn archives_are_bounded() {
        let dir = Dir::new();
        let large = vec![b'x'; 3_000_000];
        let members: [(&str, &[u8]); 3] = [("a.txt", b"a"), ("bomb.txt", &large), ("c.txt", b"c")];
        dir.write("bomb.zip", zip(&members));
        dir.write("bomb.tgz", gzip(&tar(&members)));
        dir.write("cut.zip", &zip(&members)[..200]);
        dir.write("cut.tar", &tar(&members)[..2_000_000]);
        for name in ["bomb.zip", "bomb.tgz"] {
            let loaded = dir.load(&Loader::new().max_total_bytes(1_000_000), &[name]);
            let names: Vec<_> = files(&loaded).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["a.txt", "c.txt"]);
            let report = dir.report(&loaded);
            assert!(report.iter().any(|line| line.contains("bomb.txt: 3.0 MB, over the")), "{report:?}");
            let loaded = dir.load(&Loader::new().max_files(1), &[name]);
            assert_eq!(files(&loaded).len(), 1);
            assert!(dir.report(&loaded)[1].contains("more than 1 files"), "{:?}", dir.report(&loaded));
        }
        for name in ["cut.zip", "cut.tar"] {
            let report = dir.report(&dir.load(&Loader::new(), &[name]));
            assert!(report.iter().any(|line| line.contains(name) && !line.contains("files")), "{report:?}");
        }
    }

    #[test]
    fn an_archive_is_loaded_once_and_is_one_of_the_files() {
        let dir = Dir::new();
        let members: [(&str, &[u8]); 1] = [("a.txt", b"a")];
        let path = dir.write("docs/a.zip", zip(&members));
        let loaded = dir.load(&Loader::new(), &["docs", "docs/a.zip"]);
        assert_eq!(files(&loaded), [("a.txt".to_owned(), "a".into())]);
        assert_eq!(loaded.paths().collect::<Vec<_>>(), [path.as_path()]);
    }

    /// What is left out takes time, too: an archive ends where that is too much.
    #[test]
    fn an_archive_ends_where_it_is_too_much_work() {
        let dir = Dir::new();
        let bomb = gzip(&vec![b'x'; 3_000_000]);
        let names: Vec<_> = (1..=6).map(|number| format!("bomb{number}.txt.gz")).collect();
        let bombs = names.iter().map(|name| (name.as_str(), bomb.as_slice()));
        let members: Vec<(&str, &[u8])> = [("a.txt", b"a".as_slice())]
            .into_iter()
            .chain(bombs)
            .chain([("z.txt", b"z".as_slice())])
            .collect();
        dir.write("bombs.zip", zip(&members));
        dir.write("bombs.tgz", gzip(&tar(&members)));
        let large = vec![b'x'; 6_000_000];
        let members: [(&str, &[u8]); 3] = [("a.txt", b"a"), (".hidden/bomb.txt", &large), ("z.txt", b"z")];
        dir.write("skipped.tgz", gzip(&tar(&members)));
        let loader = Loader::new().max_total_bytes(1_000_000);
        let ended = "the archive has more than 4.2 MB to unpack, and what comes after that is left out";
        for (name, at) in [
            ("bombs.zip", "bombs.zip/bomb5.txt.gz, bombs.zip"),
            ("bombs.tgz", "bombs.tgz/bomb5.txt.gz, bombs.tgz"),
            ("skipped.tgz", "skipped.tgz"),
        ] {
            let loaded = dir.load(&loader, &[name]);
            let report = dir.report(&loaded);
            assert_eq!(files(&loaded), [("a.txt".to_owned(), "a".into())], "{report:?}");
            assert_eq!(report.last().unwrap(), &format!("{at}: {ended}"), "{report:?}");
            assert_eq!(report.iter().filter(|line| line.contains("to unpack")).count(), 1, "{report:?}");
        }
        let loaded = dir.load(&Loader::new(), &["skipped.tgz"]);
        assert_eq!(files(&loaded).len(), 2, "{:?}", dir.report(&loaded));
    }
}

/// A saved page: the model reads its text, and a quote stands where it is in the file.
#[test]
fn html_is_what_a_reader_sees_and_quotes_stand_in_the_file() {
    let dir = Dir::new();
    let page = "<html><head><meta charset=\"iso-8859-2\"><script>rate = '12 % of all';</script></head>\n\
                <body><p>The <b>refund</b>\nrate of &quot;Gr\u{f6}\u{df}e&quot; is\n\
                <em>12&nbsp;%</em></p></body></html>";
    let latin: Vec<u8> = page.chars().map(|char| char as u32 as u8).collect();
    dir.write("page.html", &latin);
    dir.write("app.htm", "<html><body><div id=root></div><script src=app.js></script></body></html>");
    dir.write("page.html.gz", gzip(&latin));
    let loaded = dir.load(&Loader::new(), &["page.html", "app.htm", "page.html.gz"]);
    let size = latin.len();
    assert_eq!(
        dir.report(&loaded),
        [
            format!("page.html: text, {size} bytes, ISO-8859-2, HTML without its markup"),
            "app.htm: text, 73 bytes".to_owned(),
            "app.htm: no text is in this page, which may be made by a script; its source is there".to_owned(),
            format!(
                "page.html.gz: text, {size} bytes, decompressed (gzip), ISO-8859-2, HTML without its markup"
            ),
        ]
    );
    let files = files(&loaded);
    assert_eq!(files[0].1, "The refund rate of \"Gr\u{f6}\u{df}e\" is 12 %".into());
    assert!(files[1].1.as_text().is_some_and(|text| text.starts_with("<html>")), "{:?}", files[1]);
    let quotes = ["refund rate", "\"Gr\u{f6}\u{df}e\"  is 12 %", "<b>refund", "of all"];
    let found = loaded.sources(&Value::list(quotes.iter().map(|quote| {
        Value::dict([("file", dir.path("page.html").display().to_string()), ("quote", (*quote).to_owned())])
    })));
    let byte = |text: &str| page.chars().take(page[..page.find(text).unwrap()].chars().count()).count();
    let shown = |index: usize| found[index].as_ref().unwrap().to_string();
    assert!(shown(0).contains(&format!("page.html:2 (byte {}):", byte("refund</b>"))), "{}", shown(0));
    assert!(shown(1).contains(&format!("page.html:3 (byte {}):", byte("&quot;Gr"))), "{}", shown(1));
    assert!(found[2].is_err() && found[3].is_err(), "{found:?}");
    let raw = dir.load(&Loader::new().html_source(true), &["page.html"]);
    assert!(dir.report(&raw)[0].starts_with("page.html: text, "), "{:?}", dir.report(&raw));
    assert_eq!(raw.inputs("why?").get("files").unwrap().as_dict().unwrap()[0].as_text(), Some(page));
}
