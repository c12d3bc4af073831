//! Where a reply ends: what is kept of it, and the tokens of chat templates.

use super::{super::visible_text, code, kept, parts, text};

#[test]
fn a_reply_is_kept_as_written_up_to_the_end_of_its_cell() {
    let invented = "```python\nprint(1)\n```\nThis is the output:\n```\n1\n```";
    assert_eq!(kept(invented), "```python\nprint(1)\n```");
    assert_eq!(kept("One\n```python\na()\n```\nTwo\n```py\nb()\n```"), "One\n```python\na()\n```");
    let unclosed = "Look\n```\nx y\n```python\na()\n```";
    assert_eq!(kept(&format!("{unclosed}\nend")), unclosed);
    assert_eq!(kept("<think>\nlong\n</think>\n\nSo:\n```repl\na()\n```"), "So:\n```repl\na()\n```");
    assert_eq!(kept("a\r\n```python\r\nb()\r\n```\r\nc"), "a\r\n```python\r\nb()\r\n```");
    assert_eq!(kept("```python\na()\nb("), "```python\na()\nb(");
    assert_eq!(kept("print(1)\n"), "print(1)");
    let object = r#"{"reasoning": "r", "code": "x"}"#;
    assert_eq!(kept(object), object);
}

#[test]
fn a_token_of_a_chat_template_ends_a_reply() {
    let ends =
        ["<|im_end|>", "<|im_start|>user\nmore", "<end_of_turn>", "<|eot_id|>", "</s>", "<|endoftext|>"];
    for end in ends {
        assert_eq!(text(&format!("Paris{end}")), "Paris", "{end}");
        assert_eq!(text(&format!("Paris\n{end}")), "Paris", "{end}");
        assert_eq!(code(&format!("```python\na()\n```\n{end}\n```python\nno()\n```")), "a()", "{end}");
        assert_eq!(parts(&format!("```python\na()\n```{end}")).1, "a()", "{end}");
        assert_eq!(code(&format!("```python\na()\n{end}\nOutput:\n```\n1\n```")), "a()", "{end}");
        assert_eq!(code(&format!("```python\na(){end}")), "a()", "{end}");
        assert_eq!(code(&format!("a()\n{end}")), "a()", "{end}");
    }
    assert_eq!(text("<|im_start|>assistant\nParis<|im_end|>"), "Paris");
    let llama = "<|start_header_id|>assistant<|end_header_id|>\n\n```python\na()\n```<|eot_id|>";
    assert_eq!(kept(llama), "```python\na()\n```");
}

#[test]
fn tokens_in_code_and_mentions_are_text() {
    for body in [
        "parts = text.split('<|im_end|>')",
        "s = '''\n<|im_end|>\n<end_of_turn>\n'''\nf(s)",
        "x = 1  # not <|im_end|> yet\nf(x)",
        "s = f\"{a}<|eot_id|>\"\nf(s)",
    ] {
        assert_eq!(code(&format!("```python\n{body}\n```")), body);
        assert_eq!(code(body), body);
    }
    assert_eq!(text("It ends with `<|im_end|>`, always."), "It ends with `<|im_end|>`, always.");
    assert_eq!(text("An <s>old</s> word."), "An <s>old</s> word.");
}

#[test]
fn visible_text_has_no_thoughts() {
    assert_eq!(visible_text("<think>hm</think>\n\nParis"), "Paris");
    assert_eq!(visible_text("hm\n</think>\nParis"), "Paris");
    assert_eq!(visible_text("<think>cut off"), "");
    assert_eq!(visible_text("  as it is\n"), "  as it is\n");
}
