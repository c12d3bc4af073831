//! C8: host functions are Python functions.

use abyme_core::{FunctionSpec, ParameterKind, ParameterSpec, Value};
use serde_json::json;

use crate::{
    case::cases,
    host::{Host, argument},
    observed::{assert_same, plain},
    result::fail,
};

cases! {
    theme c08_host_functions, clause 8;

    /// C8: arguments may be given by position, by name, or both, and defaults are filled in.
    async fn arguments_are_bound_by_python(s) {
        let host = search();
        s.serve(&host);
        s.run(
            "search('a'); search('b', 5); search(query='c', limit=6, flags=['x']); search('d', flags=None)",
        )
        .await
        .ok();
        let wanted = [
            json!({"query": "a", "limit": 10, "flags": null}),
            json!({"query": "b", "limit": 5, "flags": null}),
            json!({"query": "c", "limit": 6, "flags": ["x"]}),
            json!({"query": "d", "limit": 10, "flags": null}),
        ];
        received(&host, &wanted);
    }

    /// C8: a wrong call is Python's own `TypeError`, and the host hears nothing of it.
    async fn wrong_calls_are_type_errors(s) {
        let host = search();
        s.serve(&host);
        for call in ["search()", "search('a', 1, None, 2)", "search('a', query='b')", "search('a', colour=1)"]
        {
            s.run(call).await.raises("TypeError").message_has("search");
        }
        received(&host, &[]);
    }

    /// C8: `*args`, `**kwargs` and keyword-only parameters work.
    async fn variadic_functions_work(s) {
        let variadic = FunctionSpec::variadic("anything", "Takes anything.");
        let keyword =
            FunctionSpec::new("strict", "Takes a name.").parameter(ParameterSpec::new("first")).parameter(
                ParameterSpec::new("named")
                    .kind(ParameterKind::KeywordOnly)
                    .default_value(plain(json!({"deep": [1]}))),
            );
        let host = Host::new()
            .function(variadic, |_| Ok(Value::None))
            .function(keyword, |call| Ok(argument(&call, "named")));
        s.serve(&host);
        s.run("anything(1, 'two', three=[3])").await.ok();
        let calls = host.calls();
        let call = calls.first().map(|call| (call.args.clone(), Value::Dict(call.kwargs.clone())));
        let (args, kwargs) = call.unwrap_or_default();
        assert_same(&Value::List(args), &plain(json!([1, "two"])), "*args");
        assert_same(&kwargs, &plain(json!({"three": [3]})), "**kwargs");
        s.run("strict(1)").await.value_is("{'deep': [1]}");
        s.run("strict(1, named=2)").await.value_is("2");
        s.run("strict(1, 2)").await.raises("TypeError");
    }

    /// C8: parameters may have any name.
    async fn parameters_may_have_any_name(s) {
        let names = ["call", "self", "name", "args", "kwargs", "host", "d", "print", "type", "_x"];
        let spec = names.iter().fold(FunctionSpec::new("f", ""), |spec, name| {
            spec.parameter(ParameterSpec::new(*name).default_value(0))
        });
        let host = Host::new().function(spec, |call| Ok(Value::Dict(call.kwargs)));
        s.serve(&host);
        s.run("[*f(1, self=2, _x=3).values()]").await.value_is("[1, 2, 0, 0, 0, 0, 0, 0, 0, 3]");
    }

    /// C8: signature, name and docstring are real.
    async fn they_can_be_inspected(s) {
        s.serve(&search());
        s.run(
            r#"
                import inspect
                p = inspect.signature(search).parameters
                (list(p), p['limit'].default, p['flags'].default)
            "#,
        )
        .await
        .value_is("(['query', 'limit', 'flags'], 10, None)");
        s.run("(search.__name__, inspect.getdoc(search), inspect.iscoroutinefunction(search))")
            .await
            .value_is("('search', 'Finds things.', False)");
        s.run("'str' in str(inspect.signature(search))").await.value_is("True");
        s.run("help(search)").await.stdout_has("Finds things.").stdout_has("query");
    }

    /// C8: a long text that the host put in comes back whole, alone and in a list, whatever its name is bound
    /// to since.
    async fn long_inputs_come_back(s) {
        let host = Host::new().echo();
        s.serve(&host);
        let docs = "0123456789abcdé\n".repeat(100_000);
        s.set("docs", docs.clone()).await;
        s.run("alias = docs; echo(docs) == docs, echo([1, docs, 'x', docs]) == [1, docs, 'x', docs]")
            .await
            .value_is("(True, True)");
        s.run("docs = docs[:-1] + '!'; echo(docs) == docs, echo(alias) == alias, len(alias) - len(docs)")
            .await
            .value_is("(True, True, 0)");
        s.run("echo(docs)[-1], echo(alias)[-1], echo({'deep': alias})['deep'] == alias")
            .await
            .value_is(r"('!', '\n', True)");
        s.set("docs", docs.replace('0', "1")).await;
        s.run("echo(docs)[0], echo(alias)[0]").await.value_is("('1', '0')");
        s.run("del docs, alias").await.ok();
        s.run("echo('x' * 2_000_000) == 'x' * 2_000_000").await.value_is("True");
    }

    /// C8: values go to the host and come back as what they are.
    async fn values_pass_both_ways(s) {
        let host = Host::new().echo();
        s.serve(&host);
        for expression in [
            "None",
            "True",
            "0",
            "-2**63",
            "2**200",
            "1.0",
            "-0.0",
            "''",
            "'é🦀\\x00'",
            "b'\\x00\\xff'",
            "[]",
            "{}",
            "{'$int': 1}",
            "[1, [None, {'k': b''}]]",
            "float('inf')",
        ] {
            s.run(format!("x = {expression}\ny = echo(x)\n(y == x, type(y) is type(x))"))
                .await
                .value_is("(True, True)");
        }
        s.run("y = echo(float('nan'))\ny != y").await.value_is("True");
        assert_same(&Value::from(host.calls().len()), &Value::from(16), "the number of calls");
    }

    /// C8: `None` stays `None`, as an argument and as a result.
    async fn none_stays_none(s) {
        let host = Host::new().echo();
        s.serve(&host);
        s.run("echo(None) is None").await.value_is("True");
        received(&host, &[json!({"value": null})]);
    }

    /// C8: arguments outside JSON are converted as submissions are.
    async fn arguments_are_converted(s) {
        let host = Host::new().echo();
        s.serve(&host);
        s.run(
            r#"
                import dataclasses, datetime
                @dataclasses.dataclass
                class P:
                    x: tuple
            "#,
        )
        .await
        .ok();
        s.run("echo([P((1,)), {2, 1}, datetime.date(2024, 1, 2)])")
            .await
            .value_is("[{'x': [1]}, [1, 2], '2024-01-02']");
        s.run("x = []\nx.append(x)\necho(x)").await.raises("ValueError");
        s.in_step().await;
    }

    /// C8: types can be arguments. The host gets the text of their annotation.
    async fn types_can_be_arguments(s) {
        s.serve(&Host::new().echo());
        s.run(
            r#"
                import dataclasses, enum
                from typing import List, Literal, Optional
                class Color(enum.Enum):
                    RED = 'red'
                @dataclasses.dataclass
                class P:
                    x: Optional[int]
                    color: Color = Color.RED
            "#,
        )
        .await
        .ok();
        s.run("[echo(t) for t in (int, list[str], List[int], Literal['a', 1], Color)]")
            .await
            .value_is("['int', 'list[str]', 'list[int]', \"Literal['a', 1]\", \"Literal['red']\"]");
        s.run("echo({'points': list[P]})['points']")
            .await
            .value_is("\"list[{'x': int | None, 'color': NotRequired[Literal['red']]}]\"");
        s.run("P.__annotations__['x'] = list[P]\necho(P)").await.raises("ValueError");
        s.in_step().await;
    }

    /// C8: ten megabytes pass in both directions.
    #[alone = "holds several copies of 10 MB"]
    async fn large_values_pass(s) {
        s.serve(&Host::new().echo());
        s.run("x = 'aé🦀' * 3_000_000\necho(x) == x").await.value_is("True");
        s.run("x = bytes(range(256)) * 40_000\necho(x) == x").await.value_is("True");
        s.run("x = [f'line {n}' for n in range(200_000)]\necho(x) == x").await.value_is("True");
    }

    /// C8: a failure raises the exception of that name, with its message, and can be caught.
    async fn a_failure_raises_its_own_type(s) {
        s.serve(&Host::new().fail());
        s.run(
            r#"
                try:
                    fail('ValueError', 'no 🦀\nat all')
                except ValueError as error:
                    text = str(error)
                text
            "#,
        )
        .await
        .value_is(r"'no 🦀\nat all'");
        s.run(
            r#"
                try:
                    fail('KeyError', 'k')
                except LookupError as error:
                    args = error.args
                args
            "#,
        )
        .await
        .value_is("('k',)");
    }

    /// C8: a failure of a kind Python does not know is a `RuntimeError` of that name.
    async fn an_unknown_failure_is_a_runtime_error(s) {
        s.serve(&Host::new().fail());
        s.run(
            r#"
                try:
                    fail('RateLimited', 'slow down')
                except RuntimeError as error:
                    seen = (type(error).__name__, str(error))
                seen
            "#,
        )
        .await
        .value_is("('RateLimited', 'slow down')");
        s.run("fail('RateLimited', 'slow down')")
            .await
            .raises("RateLimited")
            .message_is("slow down")
            .line_is(1);
    }

    /// C8: a failure that names something else than an exception raises one all the same.
    async fn a_failure_of_an_odd_name_raises(s) {
        s.serve(&Host::new().fail());
        for name in
            ["", "print", "not a name", "SystemExit", "KeyboardInterrupt", "UnicodeDecodeError", "__import__"]
        {
            s.run(format!(
                r#"
                    try:
                        fail({name:?}, 'why')
                    except Exception as error:
                        seen = 'why' in str(error)
                    seen
                "#
            ))
            .await
            .value_is("True");
        }
    }

    /// C8: a failure nobody catches is the cell's error, and the session goes on.
    async fn an_uncaught_failure_ends_the_cell(s) {
        s.serve(&Host::new().fail());
        s.run("x = 1\nfail('ValueError', 'plain')\nx = 2")
            .await
            .raises("ValueError")
            .message_is("plain")
            .line_is(2)
            .traceback_has("fail('ValueError', 'plain')");
        s.run("x").await.value_is("1");
    }

    /// C8: calls can be anywhere: in comprehensions, sort keys, generators, methods and functions of other
    /// cells.
    async fn calls_can_be_anywhere(s) {
        s.serve(&Host::new().echo());
        s.run(
            r#"
                def relay(n): return echo(n)
                class C:
                    def __getitem__(self, n): return echo(n)
            "#,
        )
        .await
        .ok();
        s.run("([echo(n) for n in range(3)], sorted([3, 1, 2], key=echo), max(map(relay, [1, 5])))")
            .await
            .value_is("([0, 1, 2], [1, 2, 3], 5)");
        s.run("(C()[7], {echo('k'): 1})").await.value_is("(7, {'k': 1})");
        s.run("import functools\nfunctools.partial(echo, 1)()").await.value_is("1");
    }

    /// C8: a thousand calls in one cell are a thousand calls.
    async fn many_calls_in_a_cell(s) {
        let host = Host::new().echo();
        s.serve(&host);
        s.run("sum(echo(n) for n in range(1000))").await.value_is("499500");
        assert_same(&Value::from(host.calls().len()), &Value::from(1000), "the number of calls");
    }

    /// C8: output printed before a call comes before output printed after it.
    async fn output_keeps_its_order(s) {
        s.serve(&Host::new().echo());
        s.run("print('before')\nprint(echo('during'))\nprint('after')")
            .await
            .stdout_is("before\nduring\nafter\n");
    }

    /// C8: a host function may be awaited, as models like to write.
    async fn they_can_be_awaited(s) {
        s.serve(&Host::new().echo());
        s.run("(await echo('a'), [await echo(n) for n in (1, 2)])").await.value_is("('a', [1, 2])");
        let code = "import asyncio\nasync def ask(x): return await echo(x)\nasyncio.run(ask(3))";
        s.run(code).await.value_is("3");
        s.run("type(await echo('text')) is str").await.value_is("True");
    }

    /// C8: a cell sees the functions of its own scope: new ones appear, dropped ones go, changed ones change.
    async fn functions_follow_the_scope(s) {
        s.serve(&Host::new().echo());
        s.run("echo(1)").await.value_is("1");
        let doubled = FunctionSpec::new("echo", "Doubles.").parameter(ParameterSpec::new("n"));
        s.serve(
            &Host::new()
                .function(doubled, |call| Ok(Value::from(argument(&call, "n").to::<i64>().unwrap_or(0) * 2))),
        );
        s.run("echo(n=4)").await.value_is("8");
        s.serve(&Host::new().fail());
        s.run("echo(1)").await.raises("NameError");
    }
}

fn search() -> Host {
    let spec = FunctionSpec::new("search", "Finds things.")
        .parameter(ParameterSpec::new("query").annotation("str"))
        .parameter(ParameterSpec::new("limit").annotation("int").default_value(10))
        .parameter(ParameterSpec::new("flags").annotation("list[str] | None").default_value(Value::None))
        .returns("list[str]");
    Host::new().function(spec, |_| Ok(Value::None))
}

/// The host was called with these arguments, in this order.
#[track_caller]
fn received(host: &Host, wanted: &[serde_json::Value]) {
    let calls = host.calls();
    if calls.len() != wanted.len() {
        fail(format!("expected {} calls of the host, saw {calls:?}", wanted.len()));
    }
    for (call, wanted) in calls.iter().zip(wanted) {
        assert_same(&Value::Dict(call.kwargs.clone()), &plain(wanted.clone()), "the arguments");
        if !call.args.is_empty() {
            fail(format!("named arguments should come by name, not as {:?}", call.args));
        }
    }
}
