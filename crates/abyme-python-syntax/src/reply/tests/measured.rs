//! The replies on which DSPy 3.4.1 and rlms 0.1.3 were measured, one test per row, and more about fences.

use super::super::fence;
use super::{code, other_language, parts, text};

/// DSPy: runs. rlms: nothing.
#[test]
fn python_tags_and_attributes() {
    for tag in [
        "python",
        "py",
        "py3",
        "python3",
        "Python",
        "PYTHON",
        "python title=a",
        "python3.11",
        "{.python}",
        " python",
        "python:a.py",
    ] {
        assert_eq!(code(&format!("```{tag}\nx\n```")), "x", "{tag}");
    }
}

/// DSPy: a SyntaxError naming the tag. rlms: runs.
#[test]
fn repl_tag() {
    assert_eq!(code("```repl\nx\n```"), "x");
}

/// DSPy: a SyntaxError for each. rlms: nothing.
#[test]
fn ipython_runs_and_other_languages_are_named() {
    assert_eq!(code("```ipython\nx\n```"), "x");
    assert_eq!(code("```tool_code\nx\n```"), "x");
    assert_eq!(other_language("```text\nx\n```"), "text");
    assert_eq!(other_language("So:\n```json\n{\"a\": 1}\n```"), "json");
    assert_eq!(other_language("```JavaScript\nx()\n```"), "JavaScript");
}

/// DSPy: a SyntaxError. rlms: nothing.
#[test]
fn repl_tag_in_any_case_with_attributes() {
    assert_eq!(code("```REPL\nx\n```"), "x");
    assert_eq!(code("```repl x\nx\n```"), "x");
}

/// DSPy: the first, silently. rlms: both.
#[test]
fn two_blocks_run_the_first_and_count_the_rest() {
    let reply = "One\n```python\na()\n```\nTwo\n```py\nb()\n```\nThree\n```bash\nls\n```";
    let (reasoning, code, ignored) = parts(reply);
    assert_eq!((code.as_str(), ignored), ("a()", 1));
    assert_eq!(reasoning, "One\nTwo\nThree\n```bash\nls\n```");
}

/// DSPy: the body. rlms: nothing.
#[test]
fn unclosed_fence() {
    assert_eq!(code("```python\na()\nb()"), "a()\nb()");
    assert_eq!(code("```python\na()\n"), "a()");
    assert_eq!(code("````python\na()\n```"), "a()", "closed with too few ticks");
    assert_eq!(code("```python\na()\n```python\nb()\n```"), "a()", "the next one opens before it is closed");
    assert_eq!(code("```python\na()\n```json\n{}\n```"), "a()");
}

/// DSPy: a SyntaxError about a "```x``` fence". rlms: not tried.
#[test]
fn inline_ticks_before_the_fence() {
    let (reasoning, code, _) = parts("Use ```x``` now:\n```python\na()\n```");
    assert_eq!((reasoning.as_str(), code.as_str()), ("Use ```x``` now:", "a()"));
}

/// DSPy and rlms: cut at the inner ticks.
#[test]
fn ticks_within_strings_and_comments() {
    for body in [
        "s = '''\n```\ninner\n```\n'''\nprint(s)",
        "s = \"\"\"\n```python\nx\n```\n\"\"\"",
        "s = f'''{x}\n```\n{ {'a': \"```\"}['a'] }\n```\n'''",
        "s = r'''\\\n```\n'''",
        "s = '```'  # ``` isn't the end\nprint(s)",
        "# it's ```\nx = 1",
        "s = 'a\\\n```\\\nb'\nf()",
        "s = f\"{d[\"k\"]}\"\nt = '''\n```\n'''",
    ] {
        assert_eq!(code(&format!("Text\n```python\n{body}\n```\nIt's \"done\"")), body);
        assert_eq!(code(&format!("```\n{body}\n```")), body, "bare");
    }
}

/// DSPy: a SyntaxError. rlms: nothing.
#[test]
fn unfenced_code_with_a_json_fence_in_a_string() {
    let reply = "s = '''\n```json\n{}\n```\n'''\nprint(s)";
    assert_eq!(code(reply), reply);
}

/// DSPy: runs only the string's content. rlms: nothing.
#[test]
fn unfenced_code_with_a_python_fence_in_a_string() {
    let reply = "s = '''\n```python\nevil()\n```\n'''\nprint(s)\n";
    assert_eq!(code(reply), reply.trim_end());
}

/// DSPy: a SyntaxError. rlms: nothing.
#[test]
fn four_backticks() {
    assert_eq!(code("````python\nx\n````"), "x");
    assert_eq!(code("````markdown\nlike\n```python\nno()\n```\n````\n```py\nyes()\n```"), "yes()");
}

/// DSPy: verbatim with its ticks, which Python refuses. rlms: nothing.
#[test]
fn one_line() {
    assert_eq!(code("```python x=1 ```"), "x=1");
    assert_eq!(code("```x = 1```"), "x = 1");
    assert_eq!(code("```python print(1)\nprint(2)\n```"), "print(1)\nprint(2)");
    assert_eq!(code("```python\nprint(1)```"), "print(1)");
    assert_eq!(code("Here: ```python\nprint(1)\n```"), "print(1)");
}

/// DSPy: verbatim. rlms: nothing.
#[test]
fn tildes() {
    assert_eq!(code("~~~python\nx = ~~~y\n~~~"), "x = ~~~y");
    assert_eq!(code("~~~~\nf()\n~~~~"), "f()");
}

/// DSPy: the thought's code. rlms: both.
#[test]
fn fence_within_a_thought() {
    assert_eq!(
        parts("<think>\n```python\nno()\n```\n</think>\n```python\nyes()\n```"),
        (String::new(), "yes()".into(), 0)
    );
}

/// DSPy: runs. rlms: nothing.
#[test]
fn indented_fences_lists_and_quotations() {
    assert_eq!(code("```python\nx\n   ```"), "x");
    assert_eq!(code("   ```python\n   if a:\n       b()\n   ```"), "if a:\n    b()");
    assert_eq!(code("1. ```python\n   if a:\n       b()\n   ```"), "if a:\n    b()");
    assert_eq!(code("> ```python\n> if a:\n>     b()\n> ```\nend"), "if a:\n    b()");
    assert_eq!(code("\t```python\n\tx\n\t```"), "x");
}

/// DSPy: the inner code. rlms: not tried.
#[test]
fn decorative_outer_fence() {
    assert_eq!(parts("```\n```python\nx\n```\n```"), (String::new(), "x".into(), 0));
    assert_eq!(code("```python\n```python\nx\n```\n```"), "x");
    assert_eq!(parts("```markdown\n```python\nx\n```\n```\nend"), ("end".into(), "x".into(), 0));
}

#[test]
fn crlf_becomes_lf() {
    assert_eq!(code("Hi\r\n```python\r\na()\r\nb()\r\n```\r\n"), "a()\nb()");
}

#[test]
fn bare_fences() {
    assert_eq!(code("```\nx = 1\n```"), "x = 1");
    assert_eq!(code("```\nno()\n```\n```python\nyes()\n```"), "yes()", "a tag wins");
    assert_eq!(code("```\nOutput: 5 lines\n```\n```\nprint(1)\n```"), "print(1)");
    assert_eq!(
        code("```\nfor x in y:\nprint(x)\n```"),
        "for x in y:\nprint(x)",
        "its error is the model's to see"
    );
    assert_eq!(text("```\n{\"a\": true}\n```"), "```\n{\"a\": true}\n```");
    assert_eq!(text("```\nthe answer is 5\n```"), "```\nthe answer is 5\n```");
}

#[test]
fn empty_blocks_are_passed_over() {
    assert_eq!(code("```python\n```\n```python\nx\n```"), "x");
    assert_eq!(text("```python\n\n```"), "```python\n\n```");
}

#[test]
fn unterminated_strings_end_at_the_first_closing_line() {
    assert_eq!(code("```python\ns = '''\n```\nSorry."), "s = '''");
    assert_eq!(code("```python\ns = '''\n```\nthen\n```python\nt = '''a'''\n```"), "s = '''");
    assert_eq!(code("```python\nprint('it's)\n```\nIt's."), "print('it's)");
}

#[test]
fn unfenced_code_and_prose() {
    assert_eq!(
        code("import re\nprint(re.findall('a', context))\n"),
        "import re\nprint(re.findall('a', context))"
    );
    assert_eq!(code("SUBMIT(answer=\"x\")"), "SUBMIT(answer=\"x\")");
    assert_eq!(code("\n\nx = 1\r\ny = 2"), "x = 1\ny = 2");
    for prose in [
        "Paris",
        "done",
        "yes, no",
        "42",
        "Answer: 42",
        "Paris (France)",
        "not found",
        "pass",
        "[1] (see [2])",
        "\"a\"",
        "",
        "x - y",
    ] {
        assert_eq!(text(prose), prose);
    }
    assert_eq!(text("I will print(x) now."), "I will print(x) now.");
}

#[test]
fn fence_is_longer_than_any_run_inside() {
    assert_eq!(fence("x"), "```python\nx\n```");
    assert_eq!(fence("s = '````'\n"), "`````python\ns = '````'\n`````");
}
