//! Hostile replies come to an end: with quadratic time anywhere, these would run for hours.

use super::super::parse_reply;

const SIZE: usize = if cfg!(debug_assertions) { 1 << 18 } else { 5 << 20 };

#[test]
fn hostile_replies_come_to_an_end() {
    for unit in [
        "`",
        "~",
        "```\n",
        "```python\n",
        "```python\n'''\n```\n",
        "```python\n\\'''\n```\n",
        "```python\nx = f'''{\n```\n",
        "```\n\\'''\n```\n",
        "```\n```python\n",
        "```python\n</think>\n\\'''\n",
        "<think>",
        "</think>",
        "a <think>",
        "<reasoning>```x ",
        "<think></think>```x ",
        "<think></think>\n",
        "[[ ## code ## ]]\n'''\n",
        "[[ ## code ## ]]\n```\n",
        "```json\n{}\n```\n",
        "```\nx y\n```\n",
        "> ```python\n",
        "1. ```\n",
        "(",
        "[[",
        "x\n",
        "the answer ",
        "\n",
        " ",
        "{\"a\":",
        "<code>",
        "<code>x</code>",
        "a <code>",
        "a <execute>x = (</execute> ",
        "a <python>b</python> ",
        "```\n```\n<code>",
        "<think></think><code>",
        "to=python<|message|>",
        "<tool_call>{",
        "<invoke><parameter name=\"code\">",
        "<arg_key>code</arg_key><arg_value>",
        "<|message|>",
        "<|python_tag|>",
        "<|im_end|>",
        "`<|im_end|>`",
        "</s> x ",
        "FINAL(",
        "FINAL(1) ",
        "`FINAL(1)` ",
        "'",
        "\\",
    ] {
        let reply = unit.repeat(SIZE / unit.len());
        let _ = parse_reply(&reply);
    }
}
