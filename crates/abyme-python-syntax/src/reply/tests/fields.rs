//! DSPy's field markers and JSON.

use super::{code, other_language, parts, text};

#[test]
fn markers_with_and_without_a_fence() {
    let reply = "[[ ## reasoning ## ]]\nFirst\n```python\nno()\n```\n\n\
        [[ ## code ## ]]\n```python\nyes()\n```\n\n[[ ## completed ## ]]";
    let (reasoning, code_, _) = parts(reply);
    assert_eq!((reasoning.as_str(), code_.as_str()), ("First", "yes()"));
    let reply = "[[ ## reasoning ## ]]\nFirst\n\n[[ ## code ## ]]\nyes()\nmore()\n\n[[ ## completed ## ]]\n";
    assert_eq!(parts(reply), ("First".into(), "yes()\nmore()".into(), 0));
    assert_eq!(code("[[ ## code ## ]]\n```\nx\n```\n[[ ## completed ## ]]"), "x");
    assert_eq!(code("[[ ## code ## ]]\n```python\nx\n[[ ## completed ## ]]"), "x", "never closed");
    assert_eq!(code("[[ ## code ## ]] f(\n"), "f(", "its error is the model's to see");
}

#[test]
fn markers_within_strings() {
    let body = "s = '''\n[[ ## completed ## ]]\n```python\n'''\nf(s)";
    assert_eq!(code(&format!("[[ ## code ## ]]\n{body}\n[[ ## completed ## ]]")), body);
    assert_eq!(code(&format!("```python\n{body}\n```")), body);
    assert_eq!(code("[[ ## code ## ]]\nSure:\n```python\nx\n```"), "x");
}

#[test]
fn json_objects() {
    let object = r#"{"reasoning": "r", "code": "s = '''\n```python\nx\n```\n'''\nf(s)"}"#;
    let expected = ("r".to_owned(), "s = '''\n```python\nx\n```\n'''\nf(s)".to_owned(), 0);
    assert_eq!(parts(&format!(" {object}\n")), expected);
    assert_eq!(parts(&format!("```json\n{object}\n```")), expected);
    assert_eq!(parts(&format!("<think>a</think>\n{object}")), expected);
    assert_eq!(code(r#"{"reasoning": "", "code": "```python\nx\n```", "other": 1}"#), "x");
    assert_eq!(code("{\"code\": \"x\",\n \"reasoning\": \"\"}"), "x");
}

#[test]
fn other_objects_are_not_code() {
    assert_eq!(text(r#"{"code": 5, "reasoning": ""}"#), r#"{"code": 5, "reasoning": ""}"#);
    assert_eq!(text(r#"{"answer": "x"}"#), r#"{"answer": "x"}"#);
    assert_eq!(other_language("```json\n{\"code\": \"x\"}\n```"), "json");
}
