//! Code in other markup than a fence, and submissions in prose.

use super::{super::code_in_arguments, code, kept, markup, parts, text};

/// One model answers like this in 11 of 14 runs.
#[test]
fn function_calls() {
    let reply = "I look.\n<function_calls>\n<invoke name=\"repl\">\n<parameter name=\"code\">print(len(q))\
        </parameter>\n</invoke>\n</function_calls>";
    assert_eq!(parts(reply).1, "print(len(q))");
    assert_eq!(kept(reply), reply);
    let spaced = "<x:function_calls><x:invoke name='python'><x:parameter name='code'>\nif a &lt; 1:\n    \
        b()\n</x:parameter></x:invoke></x:function_calls>";
    assert_eq!(code(spaced), "if a < 1:\n    b()");
    let other = "<function_calls><invoke name=\"search\"><parameter name=\"query\">a word</parameter>\
        </invoke></function_calls>";
    assert_eq!(markup(other), "`<function_calls>`");
}

#[test]
fn tags_around_code() {
    for tag in ["code", "execute", "execute_ipython", "python", "tool_code", "repl", "code_interpreter"] {
        assert_eq!(code(&format!("So:\n<{tag}>\nprint(1)\n</{tag}>\n")), "print(1)", "{tag}");
        assert_eq!(code(&format!("<{tag}>print(1)</{tag}>")), "print(1)", "{tag}");
        assert_eq!(code(&format!("<{tag}>\n```python\nprint(1)\n```\n</{tag}>")), "print(1)", "{tag}");
        assert_eq!(code(&format!("<{tag}>\nprint(1)")), "print(1)", "{tag} never closed");
    }
    assert_eq!(code("<execute>\nx = (\n</execute>"), "x = (", "its error is the model's to see");
    assert_eq!(code("<code>\ns = '</code>'\nprint(s)\n</code>"), "s = '</code>'\nprint(s)");
    assert_eq!(code("Use <code>x</code>:\n```python\nprint(x)\n```"), "print(x)", "HTML in prose");
    let prose = "The name is <code>x</code>, as `<code>` says.";
    assert_eq!(text(prose), prose);
    assert_eq!(markup("<code>Paris</code>"), "`<code>`");
}

#[test]
fn calls_as_json() {
    for reply in [
        r#"<tool_call>{"name": "python", "arguments": {"code": "print(1)"}}</tool_call>"#,
        r#"<tool_call>
{"name": "python", "arguments": "{\"code\": \"print(1)\"}"}
</tool_call>"#,
        r#"<function=python>{"code": "print(1)"}</function>"#,
        r#"[TOOL_CALLS] [{"name": "python", "arguments": {"code": "print(1)"}}]"#,
        r#"{"name": "python", "arguments": {"code": "print(1)"}}"#,
        "<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>print(1)</arg_value>\n</tool_call>",
        "<tool_call>\n<function=python>\n<parameter=code>\nprint(1)\n</parameter>\n</function>\n</tool_call>",
        "<|python_tag|>print(1)<|eom_id|>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>python\n```json\n\
         {\"code\": \"print(1)\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.python:0{\"code\": \"print(1)\"}\
         <|tool_call_end|><|tool_calls_section_end|>",
    ] {
        assert_eq!(code(reply), "print(1)", "{reply}");
    }
    let newline =
        "<tool_call>{\"name\": \"python\", \"arguments\": {\"code\": \"a = 1\nprint(a)\"}}</tool_call>";
    assert_eq!(code(newline), "a = 1\nprint(a)");
    let search = r#"{"name": "search", "arguments": {"query": "x"}}"#;
    assert_eq!(markup(&format!("<tool_call>{search}</tool_call>")), "`<tool_call>`");
    assert_eq!(markup(search), "a call of `search`");
    assert_eq!(text(r#"{"name": "Ada", "born": 1815}"#), r#"{"name": "Ada", "born": 1815}"#);
}

#[test]
fn calls_in_words_and_code_in_an_object() {
    let reply = "Thought: I count.\nAction: python\nAction Input: print(1)\nObservation: 1\nThought: done";
    assert_eq!(parts(reply).1, "print(1)");
    assert_eq!(kept(reply), "Thought: I count.\nAction: python\nAction Input: print(1)");
    assert_eq!(code("Action: python\nAction Input: {\"code\": \"print(1)\"}"), "print(1)");
    assert_eq!(markup("Action: search\nAction Input: a word"), "`Action Input:`");
    assert_eq!(code(r#"{"code": "print(1)"}"#), "print(1)");
    assert_eq!(text(r#"{"code": "E42"}"#), r#"{"code": "E42"}"#);
}

#[test]
fn harmony() {
    let call = "<|channel|>analysis<|message|>I count.<|end|><|start|>assistant<|channel|>commentary \
        to=python code<|message|>print(1)<|call|>";
    assert_eq!(code(call), "print(1)");
    assert_eq!(kept(call), "```python\nprint(1)\n```", "without tokens");
    assert_eq!(code("to=python code<|message|>print(1)"), "print(1)");
    assert_eq!(code("to=functions.repl <|constrain|>json<|message|>{\"code\": \"print(1)\"}"), "print(1)");
    let search = "to=functions.search json<|message|>{\"query\": \"x\"}";
    assert_eq!(markup(search), "a call of `functions.search`");
    let answer = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Paris\
        <|return|>";
    assert_eq!(text(answer), "Paris");
}

#[test]
fn a_call_and_a_fence() {
    let body = "s = '''\n```python\nno()\n```\n'''\nf(s)";
    let call = format!("<invoke name=\"repl\"><parameter name=\"code\">{body}</parameter></invoke>");
    assert_eq!(code(&call), body, "a fence in the code's own string");
    assert_eq!(code("```python\ns = '<tool_call>'\n```"), "s = '<tool_call>'");
    assert_eq!(code("<execute>a()</execute>\n```python\nb()\n```"), "a()", "the first one");
    let two = "<execute>a()</execute>\n<execute>b()</execute>";
    assert_eq!((parts(two).1.as_str(), parts(two).2), ("a()", 1));
    assert_eq!(kept(two), "<execute>a()</execute>");
}

#[test]
fn arguments_of_native_calls() {
    assert_eq!(code_in_arguments(r#"{"source": "x = 1\nprint(x)"}"#).as_deref(), Some("x = 1\nprint(x)"));
    assert_eq!(code_in_arguments(r#"{"text": "print(x)"}"#).as_deref(), Some("print(x)"), "the only one");
    assert_eq!(code_in_arguments(r#"{"text": "hello"}"#), None);
    assert_eq!(code_in_arguments(""), None);
}

#[test]
fn submissions_in_prose() {
    assert_eq!(code("The answer is FINAL(42)."), "FINAL(42)");
    let spelled_out = "I know it: FINAL(\"Paris (France)\") and that is all.";
    assert_eq!(code(spelled_out), "FINAL(\"Paris (France)\")");
    assert_eq!(code("Done.\n\nSUBMIT(answer=result)"), "SUBMIT(answer=result)");
    assert_eq!(kept("So:\nFINAL_VAR(\"x\")\nBye."), "So:\nFINAL_VAR(\"x\")");
    for unclear in [
        "I will call FINAL(result) once I have checked it all.",
        "Then SUBMIT(answer=...) ends it.",
        "FINAL(The capital is Paris)",
    ] {
        assert!(markup(unclear).contains("outside of a block"), "{unclear}");
    }
    assert_eq!(text("`FINAL(x)` ends a run."), "`FINAL(x)` ends a run.");
    assert_eq!(text("SEMIFINAL(1) was lost."), "SEMIFINAL(1) was lost.");
}
