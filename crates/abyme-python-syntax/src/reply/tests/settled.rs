//! Where a reply may stop while it is written.

use super::super::{ReplyWatch, is_settled};

const CELL: &str = "Look first.\n```python\nprint(len(text))\n```\n";

#[test]
fn a_reply_is_settled_after_its_first_block_of_python() {
    assert!(is_settled(CELL, false));
    assert!(is_settled(&format!("{CELL}Output:\n```\n12"), false));
    assert!(is_settled("<think>\nIt's\n```python\ndraft()\n```\n</think>\n```py\nx\n```\n", true));
    assert!(is_settled("````python\nx = '''\n```\n'''\n````\n", false));
    assert!(is_settled("```markdown\n```python\nx = 1\n```\n", false));
    assert!(is_settled("I am done.<|im_end|>\n", false));
}

#[test]
fn a_reply_goes_on_while_more_could_change_what_runs() {
    for open in [
        "```python\nprint(1)\n```",                // may become the opening of another
        "```python\nprint(1)\n",                   // not closed
        "```python\nx = \"\"\"\n```\n",            // in a string
        "x = '''\n```python\nprint(1)\n```\n",     // a program that holds a fence
        "<think>\n```python\ndraft()\n```\n",      // in a thought
        "<tool_call>\n```python\nprint(1)\n```\n", // in a call
        "Action: python\nAction Input:\n```python\nx\n```\n", // so is this
        "[[ ## reasoning ## ]]\n```python\ndraft()\n```\n", // the field `code` comes later
        "```\nprint(1)\n```\n",                    // a block with a tag would come first
        "```json\n{}\n```\n",
        "```python\n\n```\n",
        "{\"code\": \"\n```python\nx\n```\n",
        "<|channel|>analysis\n```python\nx\n```\n",
        "Nothing yet.\n",
        "",
    ] {
        assert!(!is_settled(open, false), "{open:?}");
    }
    assert!(!is_settled(CELL, true), "all of it may be a thought");
}

#[test]
fn a_watch_sees_the_end_of_a_cell_in_any_pieces() {
    for size in 1..=CELL.len() {
        let mut watch = ReplyWatch::new(false);
        let pieces: Vec<String> =
            CELL.as_bytes().chunks(size).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect();
        let settled: Vec<bool> = pieces.iter().map(|piece| watch.push(piece)).collect();
        assert_eq!(settled.iter().position(|settled| *settled), Some(pieces.len() - 1), "{size}");
    }
    let mut watch = ReplyWatch::new(true);
    assert!(!watch.push(CELL));
    let mut watch = ReplyWatch::new(true);
    watch.thoughts_come_apart();
    assert!(watch.push(CELL));
}

#[test]
fn watching_takes_linear_time() {
    let started = std::time::Instant::now();
    let mut watch = ReplyWatch::new(false);
    for _ in 0..100_000 {
        assert!(!watch.push("```\n"));
    }
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
