//! Records of real runs: real Python, and a model that follows a script.

use abyme_core::{
    Limits, Request, Response, Rlm, RlmBuilder, Trajectory, Usage, inputs, testing::ScriptedModel, tool,
};
use abyme_interpreter_subprocess::Subprocess;

/// What would do something if a page took it for anything but text. `hacked` is what the tests look for.
pub(crate) const HOSTILE: &str = "</script><script>globalThis.hacked=1</script>\
                                  <img src=x onerror=\"hacked=2\"><!--<script>\u{2028}\u{2029}' \
                                  onclick=hacked=3 {{data}} &lt;b&gt; \u{0} é 日本";

/// Looks a key up.
#[tool]
fn lookup(key: &str) -> String {
    format!("<b>{key}</b>")
}

fn cell(thought: &str, code: &str) -> String {
    format!("{thought}\n\n```python\n{code}\n```")
}

fn turn(request: &Request) -> usize {
    request.messages.len() / 2 - 1
}

fn usage(input: u64, output: u64) -> Usage {
    let mut usage = Usage::tokens(input, output).cost(0.0125);
    usage.cached_tokens = Some(input / 2);
    usage.reasoning_tokens = Some(output / 4);
    usage
}

fn finished(builder: RlmBuilder, label: &str) -> Trajectory {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let run = builder.build().unwrap().run(inputs! { docs: "a line\n".repeat(500) }).label(label);
        run.await.unwrap().trajectory().clone()
    })
}

/// A run with everything: an exception, a tool, sub-calls, two children, long and hostile texts.
pub(crate) fn rich() -> Trajectory {
    rich_with("lines = docs.splitlines()\nprint(len(lines), 'lines')")
}

/// The same, but for its first cell.
pub(crate) fn rich_with(first: &str) -> Trajectory {
    let first = first.to_owned();
    let model = ScriptedModel::from_fn(move |request| {
        let is_sub_call = request.messages.len() == 1;
        let is_child = !is_sub_call && request.messages[1].content.contains("Read the half");
        let text = match turn_of(request) {
            _ if is_sub_call => format!("no: {HOSTILE}"),
            0 if is_child => cell("I read.", "print(llm_query('Is it here? ' + context[:30]))"),
            _ if is_child => cell("Done.", "SUBMIT(answer='nothing here')"),
            0 => cell("I count the lines.", &first),
            1 => cell(
                "I ask about each.",
                "answers = llm_query_batched([f'Line {i}: {line}' for i, line in \
                      enumerate(lines[:30])])\nprint(answers[0])\nanswers",
            ),
            2 => cell("A key that is not there.", "found = lookup(key='needle')\nprint(found)\n{}['plan']"),
            3 => cell(
                &format!("Two children. {HOSTILE}"),
                "halves = rlm_query_batched(['Read the half.'] * 2, [docs[:100], docs[100:200]])\n\
                 print('long line', 'x' * 30_000)\nhalves",
            ),
            // JSON's texts are Python's.
            _ => cell("I know it.", &format!("SUBMIT(answer={})", serde_json::json!(HOSTILE))),
        };
        Ok(Response::new(text).usage(usage(1_000, 120)))
    });
    let builder = Rlm::builder("docs -> answer: str")
        .instructions(format!("Find it. {HOSTILE}"))
        .model(model.with_name("openai/gpt-5"))
        .tool(lookup)
        .interpreter(Subprocess::new());
    finished(builder, &format!("refunds {HOSTILE}"))
}

fn turn_of(request: &Request) -> usize {
    if request.messages.len() < 2 { 0 } else { turn(request) }
}

/// A run that ended by its limit, with a call for its outputs, and was resumed with a higher one: it did not
/// go on from that call, which was paid for.
pub(crate) fn left() -> Trajectory {
    let model = ScriptedModel::from_fn(|request| {
        let is_extract =
            request.messages.iter().any(|message| message.content.contains("best outputs you can"));
        let is_child =
            request.messages.get(1).is_some_and(|message| message.content.contains("Read the half"));
        let text = match turn_of(request) {
            _ if is_extract => r#"{"answer": "a guess that was set aside"}"#.to_owned(),
            _ if is_child => cell("Done.", "SUBMIT(answer='nothing here')"),
            0 => cell("I ask a child.", "print(rlm_query('Read the half.', docs[:100]))"),
            1 => cell("I look.", "print(len(docs))"),
            _ => cell("I know it.", "SUBMIT(answer='it is there')"),
        };
        Ok(Response::new(text).usage(usage(1_000, 120)))
    });
    let rlm =
        Rlm::builder("docs -> answer: str").model(model).interpreter(Subprocess::new()).build().unwrap();
    let inputs = inputs! { docs: "a line\n".repeat(500) };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        rlm.run(inputs).limits(|limits| limits.max_iterations(2)).trace(&path).await.unwrap();
        rlm.resume(&path).limits(|limits| limits.max_iterations(4)).await.unwrap();
    });
    Trajectory::load(&path).unwrap()
}

/// A thousand turns with ten sub-calls each.
pub(crate) fn long() -> Trajectory {
    let model = ScriptedModel::from_fn(|request| {
        let text = match turn_of(request) {
            _ if request.messages.len() == 1 => "a short answer".to_owned(),
            999 => cell("The end.", "SUBMIT(answer='done')"),
            number => {
                let code = format!(
                    "step = {number}\nanswers = llm_query_batched([f'Part {{i}} of {number}' for i in \
                     range(10)])\nprint('\\n'.join(f'{{step}} line {{i}}' for i in range(step % 50)))"
                );
                cell(&format!("Step {number}."), &code)
            }
        };
        Ok(Response::new(text).usage(usage(500, 40)))
    });
    let limits = |limits: Limits| limits.max_iterations(1_001).max_llm_calls(20_000);
    let builder =
        Rlm::builder("docs -> answer: str").model(model).limits(limits).interpreter(Subprocess::new());
    finished(builder, "a long run")
}
