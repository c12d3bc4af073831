//! Thinking tags.

use super::{code, parts, text};

#[test]
fn tags_in_any_case() {
    for (open, close) in [
        ("<think>", "</think>"),
        ("<THINKING>", "</Thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
    ] {
        let reply = format!("{open}a\n```python\nno()\n```{close}\nb\n```python\nyes()\n```");
        assert_eq!(parts(&reply), ("b".into(), "yes()".into(), 0), "{open}");
    }
}

#[test]
fn text_around_thoughts() {
    assert_eq!(text("<think>hm</think>\nParis"), "Paris");
    assert_eq!(text("Well, <think>hm</think>Paris"), "Well, Paris");
    assert_eq!(code("<think>a</think>```python\nx\n```"), "x");
    assert_eq!(code("<think>a</think>\nprint('<think>')"), "print('<think>')");
}

#[test]
fn closing_tag_alone() {
    assert_eq!(code("a\n```python\nno()\n```\n</think>\n```python\nyes()\n```"), "yes()");
    assert_eq!(
        code("a ```python\nno = \n</think>\n```python\nyes()\n```"),
        "yes()",
        "the draft was never closed"
    );
    assert_eq!(text("hm\n</think>\nParis"), "Paris");
    assert_eq!(text("hm</think>Paris"), "Paris");
    assert_eq!(code("```python\nx\n```\n</think>"), "x", "nothing follows it");
    assert_eq!(code("```python\nx\n```\nI closed </think> early."), "x", "a mention");
}

#[test]
fn opening_tag_alone() {
    assert_eq!(text("<think>\nI could\n```python\nno()\n```\nbut"), "");
    assert_eq!(code("<think>\nI could\n```python\nyes()\n```\n"), "yes()", "ends in a complete fence");
    assert_eq!(code("The <think> tag.\n```python\nx\n```\nend"), "x", "a mention");
}

#[test]
fn tags_within_code_are_code() {
    for body in ["s = '<think>'\nt = '</think>'", "s = '''\n<think>\n</think>\n'''", "x = 1  # </think>"] {
        assert_eq!(code(&format!("```python\n{body}\n```")), body);
        assert_eq!(code(&format!("<think>a `</think>` b</think>\n```python\n{body}\n```\nok")), body);
        assert_eq!(code(body), body);
    }
    assert_eq!(code("```python\nx =\n</think>\n```"), "x =\n</think>", "a closed fence is never altered");
}
