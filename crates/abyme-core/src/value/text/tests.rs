//! Tests of shared text.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn a_string_is_taken_over_without_a_copy() {
    let string = "x".repeat(100);
    let address = string.as_ptr();
    let text = Text::from(string);
    let clone = text.clone();
    assert_eq!(clone.as_ptr(), address);
    assert_eq!(text.to_bytes().as_ptr(), address);
    drop(clone);
    let string = text.into_string();
    assert_eq!(string.as_ptr(), address);
}

#[test]
fn it_is_made_from_every_kind_of_text() {
    let all = [
        Text::from("a"),
        Text::from(String::from("a")),
        Text::from(&String::from("a")),
        Text::from(Cow::Borrowed("a")),
        Text::from(Box::<str>::from("a")),
        Text::from('a'),
        Text::from(&Text::from("a")),
    ];
    assert!(all.iter().all(|text| text == "a" && *text == *"a"));
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 1);
    assert!(HashSet::from([Text::from("a")]).contains("a"));
}

#[test]
fn debug_is_short_and_says_how_long_the_text_is() {
    assert_eq!(format!("{:?}", Text::from("a\n\"b\"")), r#""a\n\"b\"""#);
    assert_eq!(format!("{:?}", Text::from("é".repeat(60))), format!("{:?}", "é".repeat(60)));
    assert_eq!(format!("{:?}", Text::from("é".repeat(61))), format!("{:?}... (61 chars)", "é".repeat(60)));
    assert_eq!(format!("[{:>3}]", Text::from("a")), "[  a]");
}

#[test]
fn a_preview_keeps_head_and_tail() {
    let text = Text::from("0123456789");
    assert_eq!(text.preview(10), "0123456789");
    assert_eq!(text.preview(5), "012... (5 characters omitted) ...89");
    assert_eq!(text.preview(1), "0... (9 characters omitted) ...");
    assert_eq!(text.preview(0), "... (10 characters omitted) ...");
    assert_eq!(Text::default().preview(0), "");
    assert_eq!(Text::from("ééé").preview(3), "ééé");
}

#[test]
fn files_are_read_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.txt");
    std::fs::write(&path, "\u{feff}a\r\nb").unwrap();
    assert_eq!(Text::from_file(&path).unwrap(), "\u{feff}a\r\nb");
}

#[test]
fn file_errors_name_the_file_and_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        let error = Text::from_file(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        error.to_string().replace(&directory.path().display().to_string(), "DIR")
    };
    assert_eq!(message(&directory.path().join("no.txt")), "cannot read `DIR/no.txt`: there is no such file");
    assert_eq!(message(directory.path()), "cannot read `DIR`: it is a directory, not a file");
    let relative = Text::from_file("no-such-file.txt").unwrap_err().to_string();
    assert!(relative.contains("looked from `"), "{relative}");

    let path = directory.path().join("latin1.txt");
    std::fs::write(&path, b"caf\xe9").unwrap();
    assert_eq!(
        message(&path),
        "cannot read `DIR/latin1.txt` as text: byte 3 (0xe9) is not UTF-8; convert the file to UTF-8, or \
         pass it on as bytes"
    );
    assert_eq!(Text::from_file_lossy(&path).unwrap(), "caf\u{fffd}");
}

#[test]
fn serde_sees_a_string() {
    let text: Text = serde_json::from_str(r#""a\u00e9""#).unwrap();
    assert_eq!(serde_json::to_string(&text).unwrap(), "\"aé\"");
}

proptest! {
    #[test]
    fn previews_are_cut_on_characters(text in any::<String>(), max in 0_usize..40) {
        let text = Text::from(text);
        let chars: Vec<char> = text.chars().collect();
        prop_assert_eq!(text.chars_len(), chars.len());
        let preview = text.preview(max);
        if chars.len() <= max {
            prop_assert_eq!(preview, text.as_str());
        } else {
            let head: String = chars[..max.div_ceil(2)].iter().collect();
            let tail: String = chars[chars.len() - max / 2..].iter().collect();
            let omitted = chars.len() - max;
            prop_assert_eq!(preview, format!("{head}... ({omitted} characters omitted) ...{tail}"));
        }
    }
}
