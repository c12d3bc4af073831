//! Whole runs: what the loop, the session, the tools and the record make of each other, on every backend.

use std::{collections::BTreeMap, time::Duration};

use abyme::{
    CodePolicy, ErrorKind, Event, HostError, InterpreterFactory, Pool, PoolConfig, Response, Rlm, RlmBuilder,
    Signature, Status, Tool, Value, inputs, testing::ScriptedModel,
};
use indexmap::IndexMap;

use crate::Backend;

fn cell(code: &str) -> String {
    format!("```python\n{code}\n```")
}

pub(crate) fn rlm(backend: Backend, signature: &str, cells: &[&str]) -> (RlmBuilder, ScriptedModel) {
    let model = ScriptedModel::replies(cells.iter().map(|code| cell(code)));
    (Rlm::builder(signature).model(model.clone()).interpreter(backend), model)
}

pub(crate) fn said(model: &ScriptedModel, index: usize) -> String {
    model.requests()[index].messages.last().unwrap().content.clone()
}

pub(crate) async fn inputs_sub_calls_tools_and_types_work_together(backend: Backend) {
    let sub = ScriptedModel::from_fn(|request| {
        let prompt = &request.messages[0].content;
        Ok(Response::new(prompt.split("name: ").nth(1).unwrap_or("none").to_uppercase()))
    });
    let shout = Tool::from_parts(
        "shout",
        "Adds marks.",
        vec![abyme::ParameterSpec::new("text").annotation("str")],
        |arguments: IndexMap<String, Value>| async move {
            let text = arguments["text"].as_text().ok_or_else(|| HostError::type_error("text is a str"))?;
            Ok(Value::from(format!("{text}!")))
        },
    );
    let (builder, model) = rlm(
        backend,
        "docs, wanted: int -> names: list[str], total: int, share: float | None",
        &[
            "lines = docs.splitlines()\nprint(len(lines), wanted + 1)",
            "names = llm_query_batched([line for line in lines if 'name' in line])\n\
             names = [shout(n) for n in names]\nnames",
            "SUBMIT(names=names, total=str(len(names)), share=None)",
        ],
    );
    let docs: String =
        (0..50_000).map(|n| if n % 25_000 == 7 { format!("name: n{n}\n") } else { "x\n".into() }).collect();
    let answer = builder
        .sub_model(sub)
        .tool(shout)
        .build()
        .unwrap()
        .run(inputs! { docs: docs, wanted: "3" })
        .await
        .unwrap();
    assert_eq!(answer.get::<Vec<String>>("names").unwrap(), ["N7!", "N25007!"]);
    assert_eq!(answer.get::<u8>("total").unwrap(), 2);
    assert_eq!(answer.get::<Option<f64>>("share").unwrap(), None);
    assert!(said(&model, 1).contains("50000 4"), "{}", said(&model, 1));
    assert!(said(&model, 1).contains("lines: list[50000]"));
    let calls =
        answer.trajectory().events().filter(|event| matches!(event, Event::SubCallFinished { .. })).count();
    assert_eq!((calls, answer.usage().calls), (2, 5));
}

pub(crate) async fn sub_calls_are_typed_and_awaited(backend: Backend) {
    let sub = ScriptedModel::from_fn(|request| {
        Ok(match request.messages[0].content.lines().next() {
            Some("hits") => "Here:\n```json\n[{\"name\": \"x\"}]\n```".into(),
            Some("plain") => "words".into(),
            Some(n) => Response::new(format!("{{'n': {n}}}")),
            None => Response::new(""),
        })
    });
    let (builder, model) = rlm(
        backend,
        "q -> a: int",
        &[
            "import asyncio, dataclasses\nfrom typing import List, Optional\n\
             @dataclasses.dataclass\nclass Hit:\n    name: str\n    size: Optional[int] = None\n\
             async def ask(p): return await llm_query(p, schema={'n': int})\n\
             both = await asyncio.gather(ask('1'), ask('2'))\n\
             (llm_query('hits', schema=List[Hit]), await llm_query('hits', schema=list[Hit]), both)",
            "try: llm_query_batched(['1', 'hits'], schema={'n': int}, on_error='raise')\n\
             except ValueError as e: print(e)\n\
             Node = dataclasses.make_dataclass('Node', [('next', 'Node')])\n\
             Node.__annotations__['next'] = Node\n\
             try: llm_query('plain', schema=Node)\n\
             except ValueError as e: print(e)\n\
             llm_query('plain', None, timeout=60)",
            "SUBMIT(llm_query('3', schema={'n': int})['n'])",
        ],
    );
    let answer = builder.sub_model(sub).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(answer.get::<u8>("a").unwrap(), 3);
    let hits = "([{'name': 'x'}], [{'name': 'x'}], [{'n': 1}, {'n': 2}])";
    assert!(said(&model, 1).contains(hits), "{}", said(&model, 1));
    let failed = said(&model, 2);
    assert!(
        failed.contains("1 of 2 prompts failed, 1 worked: prompts[1]: the reply does not fit"),
        "{failed}"
    );
    assert!(failed.contains("the type Node contains itself") && failed.contains("'words'"), "{failed}");
}

pub(crate) async fn a_failing_cell_is_explained_and_repaired(backend: Backend) {
    let (builder, model) = rlm(
        backend,
        "q -> a: int",
        &[
            "x = 41\nprint('before')\ny = x.upper()",
            "def f(:\n    pass",
            "def f():\n    return x + 1",
            "FINAL(f())",
        ],
    );
    let answer = builder
        .limits(|limits| limits.max_iterations(3))
        .build()
        .unwrap()
        .run(inputs! { q: "?" })
        .await
        .unwrap();
    assert_eq!(answer.get::<i64>("a").unwrap(), 42);
    let first = said(&model, 1);
    assert!(
        first.contains("before") && first.contains("line 3") && first.contains("y = x.upper()"),
        "{first}"
    );
    let repair = said(&model, 2);
    assert!(
        repair.contains("SyntaxError") && repair.contains("^") && repair.contains("costs no turn"),
        "{repair}"
    );
}

pub(crate) async fn python_tools_are_offered_and_described(backend: Backend) {
    let tools = "import re\n\ndef headings(text: str, level: int = 1) -> list:\n    \
                 \"\"\"Finds markdown headings.\"\"\"\n    \
                 return re.findall(r'^#{%d} (.*)$' % level, text, re.M)\n";
    let (builder, model) =
        rlm(backend, "docs -> found: list[str]", &["headings = None", "SUBMIT(headings(docs, level=2))"]);
    let rlm = builder.python_tools("tools.py", tools).build().unwrap();
    let answer = rlm.run(inputs! { docs: "# a\n## b\n## c" }).await.unwrap();
    assert_eq!(answer.get::<Vec<String>>("found").unwrap(), ["b", "c"]);
    let task = model.requests()[0].messages[1].content.clone();
    assert!(task.contains("`headings(text: str, level: int = 1) -> list`"), "{task}");
}

pub(crate) async fn tools_that_fail_are_named(backend: Backend) {
    let (builder, _) = rlm(backend, "docs -> found", &[]);
    let builder = builder.python_tools("tools.py", "x = 1 / 0\ndef f(): ...");
    let error = builder.build().unwrap().run(inputs! { docs: "" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("tools.py") && error.message().contains("ZeroDivisionError"), "{error}");
}

pub(crate) async fn a_cell_over_its_time_is_interrupted_with_its_state_kept(backend: Backend) {
    let (builder, model) = rlm(backend, "q -> a: int", &["n = 5\nwhile True: pass", "SUBMIT(n)"]);
    let rlm = builder.limits(|limits| limits.cell_timeout(Duration::from_secs(2))).build().unwrap();
    let answer = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(answer.get::<i64>("a").unwrap(), 5);
    assert!(said(&model, 1).contains("interrupted") && said(&model, 1).contains("Variables are kept"));
}

pub(crate) async fn a_submission_survives_whatever_the_cell_does_after_it(backend: Backend) {
    let code = "try:\n    SUBMIT('kept')\nexcept BaseException:\n    pass\nfinally:\n    SUBMIT = None\n\
                raise ValueError('late')";
    let (builder, _) = rlm(backend, "q -> a", &[code]);
    let answer = builder.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!((answer.get::<String>("a").unwrap().as_str(), answer.status()), ("kept", Status::Submitted));
}

pub(crate) async fn runs_at_the_same_time_from_a_pool_share_nothing(backend: Backend) {
    let pool = Pool::new(backend, PoolConfig::default().size(2));
    let model = ScriptedModel::from_fn(|request| {
        let task = &request.messages[1].content;
        let number =
            task.split("```\n").nth(1).and_then(|rest| rest.split('\n').next()).unwrap_or("?").to_owned();
        Ok(Response::new(cell(&format!(
            "assert 'mine' not in globals()\nmine = {number}\nSUBMIT(int(q) * 2)"
        ))))
    });
    let rlm = Rlm::builder("q -> a: int").model(model).interpreter(pool).build().unwrap();
    let runs: Vec<_> = (0..6)
        .map(|n| {
            tokio::spawn({
                let rlm = rlm.clone();
                async move { rlm.run(inputs! { q: n.to_string() }).await }
            })
        })
        .collect();
    for (n, run) in runs.into_iter().enumerate() {
        assert_eq!(run.await.unwrap().unwrap().get::<usize>("a").unwrap(), 2 * n);
    }
}

pub(crate) async fn a_long_value_keeps_both_of_its_ends(backend: Backend) {
    let (builder, model) = rlm(backend, "q -> a", &["'B' + 'x' * 14000 + 'E'", "SUBMIT('done')"]);
    builder.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let seen = said(&model, 1);
    assert!(
        seen.contains("[value (14004 characters)]\n'Bxx") && seen.contains("xxE'"),
        "{}",
        &seen[seen.len() - 200..]
    );
    assert!(seen.contains("... (4004 characters omitted) ..."));
}

pub(crate) async fn names_come_again_after_a_cell_that_never_got_them(backend: Backend) {
    use abyme::{Cell, CodeInterpreter, CodeInterpreterExt, NoHostFunctions, Scope};
    let scope = std::sync::Arc::new(
        Scope::new()
            .module("tools.py", "import time\ntime.sleep(3 * (not globals().get('x')))\ndef g(): return 5"),
    );
    let mut session = backend.create().await.unwrap().start_session().await.unwrap();
    let slow = Cell::new("g()").scope(scope.clone()).timeout(Duration::from_millis(300));
    assert!(session.execute(slow, &NoHostFunctions).await.unwrap().error.is_some());
    let again = Cell::new("g()").scope(scope).timeout(Duration::from_secs(20));
    assert_eq!(session.execute(again, &NoHostFunctions).await.unwrap().value.unwrap().to_string(), "5");
}

pub(crate) async fn deep_values_with_odd_keys_are_refused_and_not_fatal(backend: Backend) {
    let deep = "x = {}\nfor _ in range(%d): x = {'$ref': x}\ntry:\n    SUBMIT(x)\n\
                except ValueError as e:\n    print('refused', e)";
    let fine = deep.replace("%d", "30");
    let (builder, model) = rlm(backend, "q -> a: Any", &[&deep.replace("%d", "60"), &fine]);
    let answer = builder.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert!(said(&model, 1).contains("refused"), "{}", said(&model, 1));
    assert!(answer.outputs()["a"].as_dict().unwrap().contains_key("$ref"));
}

/// Add up.
#[derive(Signature)]
struct AddUp {
    #[input(object)]
    rows: Vec<BTreeMap<String, Value>>,
    /// The longest row, as it came
    #[output]
    longest: BTreeMap<String, Value>,
    #[output(range = 0..=100)]
    total: i64,
}

pub(crate) async fn inputs_are_objects_where_asked(backend: Backend) {
    let cells = [
        "print(rows[0], rows[1].inner.name, '_abyme_object' in globals())",
        "SUBMIT(longest=rows[1], total=300)",
        "SUBMIT(longest=rows[1], total=sum(row.size for row in rows))",
    ];
    let model = ScriptedModel::replies(cells.iter().map(|code| cell(code)));
    // The policy is for the model's code, not for what makes the objects.
    let policy = CodePolicy::new().deny_name("isinstance");
    let rlm = Rlm::of::<AddUp>().model(model.clone()).interpreter(backend).policy(policy).build().unwrap();
    let row = |size: i64| BTreeMap::from([("size".to_owned(), Value::from(size))]);
    let mut second = row(4);
    second.insert("inner".to_owned(), Value::dict([("name", "x")]));
    let found = rlm.run(AddUpInput { rows: vec![row(3), second.clone()] }).await.unwrap();
    assert_eq!(found.output, AddUpOutput { longest: second, total: 7 });
    assert!(said(&model, 1).contains("Object(size=3) x False"), "{}", said(&model, 1));
    let problem = "output `total`: expected int (0 to 100), got int 300";
    assert!(said(&model, 2).contains(problem), "{}", said(&model, 2));
}
