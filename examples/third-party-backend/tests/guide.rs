//! The code in the guide is the code of this package.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;

/// The lines of a text without their indentation, which quoting changes.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn it_quotes_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("README.md")).unwrap();
    let quotes: Vec<_> = guide.split("<!-- ").skip(1).collect();
    assert!(quotes.len() > 5, "{} quotations", quotes.len());
    for quote in quotes {
        let (file, rest) = quote.split_once(" -->\n```rust\n").unwrap();
        let (code, _) = rest.split_once("```").unwrap();
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        let code = lines(code);
        assert!(
            lines(&source).windows(code.len()).any(|part| part == code),
            "{file} does not have these lines any more:\n{}",
            code.join("\n")
        );
    }
    assert_eq!(
        guide.matches("```rust").count(),
        guide.matches("<!-- ").count(),
        "each quotation names its file"
    );
}
