//! C2: one namespace that lives through the cells, and belongs to a real `__main__`.

use crate::case::cases;

cases! {
    theme c02_namespace, clause 2;

    /// C2: variables, functions, classes and imports are there in the next cell.
    async fn everything_persists(s) {
        s.run(
            r#"
                import base64 as b
                x = [1]
                def double(n): return 2 * n
                class Point: side = 3
            "#,
        )
        .await
        .ok();
        s.run("x.append(double(Point.side))").await.ok();
        s.run("(x, b.b64encode(b'a'))").await.value_is("([1, 6], b'YQ==')");
    }

    /// C2: what was deleted is gone.
    async fn deleting_persists(s) {
        s.run("x = 1").await.ok();
        s.run("del x").await.ok();
        s.run("x").await.raises("NameError");
    }

    /// C2: a function defined in an earlier cell sees what its globals are bound to now.
    async fn functions_see_later_rebinding(s) {
        s.run("rate = 2\ndef price(n): return helper(n) * rate").await.ok();
        s.run("def helper(n): return n + 1").await.ok();
        s.run("price(1)").await.value_is("4");
        s.run("rate = 10\ndef helper(n): return n").await.ok();
        s.run("price(1)").await.value_is("10");
    }

    /// C2: a function can rebind a global of another cell.
    async fn functions_can_write_globals(s) {
        s.run("count = 0\ndef bump():\n    global count\n    count += 1").await.ok();
        s.run("bump(); bump()").await.ok();
        s.run("count").await.value_is("2");
    }

    /// C2: globals and locals are one, so comprehensions, lambdas and recursion see the cell's own names.
    async fn there_is_one_namespace(s) {
        s.run(
            r#"
                k = 3
                rows = [[k * n for n in range(2)] for _ in range(2)]
                add = lambda n: n + k
                add(1), rows
            "#,
        )
        .await
        .value_is("(4, [[0, 3], [0, 3]])");
        s.run("def fact(n): return 1 if n < 2 else n * fact(n - 1)\nfact(10)").await.value_is("3628800");
        s.run("globals() is locals()").await.value_is("True");
    }

    /// C2: the namespace of the cells is that of the module `__main__`, as `import __main__` finds it.
    async fn main_is_a_real_module(s) {
        s.run("x = 5").await.ok();
        s.run("import __main__, sys\n(__name__, __main__.x, vars(sys.modules['__main__']) is globals())")
            .await
            .value_is("('__main__', 5, True)");
        s.run("__main__.y = 6").await.ok();
        s.run("y").await.value_is("6");
    }

    /// C2: dataclasses work, with types given as text and fields of classes from other cells.
    async fn dataclasses_work(s) {
        s.run(
            r#"
                from dataclasses import dataclass, field, asdict
                @dataclass
                class Item:
                    name: str
                    tags: 'list[str]' = field(default_factory=list)
            "#,
        )
        .await
        .ok();
        s.run(
            r#"
                @dataclass(order=True)
                class Box:
                    item: Item
                    count: int = 1
            "#,
        )
        .await
        .ok();
        s.run("asdict(Box(Item('a')))").await.value_is("{'item': {'name': 'a', 'tags': []}, 'count': 1}");
    }

    /// C2: pickle finds the classes of a cell again.
    async fn pickle_works(s) {
        s.run(
            r#"
                import pickle
                class Point:
                    def __init__(self, x): self.x = x
            "#,
        )
        .await
        .ok();
        s.run("data = pickle.dumps([Point(1), Point(2)])").await.ok();
        s.run("[p.x for p in pickle.loads(data)]").await.value_is("[1, 2]");
    }

    /// C2: `typing.get_type_hints` resolves names of the session.
    async fn type_hints_are_resolved(s) {
        s.run(
            r#"
                import typing
                class Node:
                    child: 'Node'
                    def f(self, other: 'Leaf') -> int: ...
            "#,
        )
        .await
        .ok();
        s.run("class Leaf: pass").await.ok();
        s.run(
            "(typing.get_type_hints(Node)['child'] is Node, typing.get_type_hints(Node.f)['other'] is Leaf)",
        )
        .await
        .value_is("(True, True)");
    }

    /// C2: `inspect.getsource` shows functions and classes of this and of earlier cells.
    async fn source_can_be_inspected(s) {
        s.run("def first(n):\n    # why\n    return n + 1").await.ok();
        s.run("import inspect\ninspect.getsource(first)")
            .await
            .value_is(r"'def first(n):\n    # why\n    return n + 1\n'");
        s.run("def second(): return 2\ninspect.getsource(second)")
            .await
            .value_is(r"'def second(): return 2\n'");
        s.run("class Plain:\n    x = 1").await.ok();
        s.run("class Tool:\n    def f(self): return 1").await.ok();
        s.run("inspect.getsource(Plain)").await.value_is(r"'class Plain:\n    x = 1\n'");
        s.run("inspect.getsource(Tool)").await.value_is(r"'class Tool:\n    def f(self): return 1\n'");
    }

    /// C2: `from __future__ import annotations` holds for its own cell and harms no other.
    async fn future_imports_are_fine(s) {
        s.run(
            r#"
                from __future__ import annotations
                def f(x: Missing): return x
                f(1)
            "#,
        )
        .await
        .value_is("1");
        s.run("def g(x: int): return x\ng.__annotations__").await.value_is("{'x': <class 'int'>}");
    }

    /// C2: enums, named tuples, caches and generators work as in any module.
    async fn the_standard_library_works(s) {
        s.run("import enum, typing, functools, itertools, statistics, hashlib, csv, io, uuid, urllib.parse")
            .await
            .ok();
        s.run(
            r#"
                class Color(enum.Enum):
                    RED = 1
                class Pair(typing.NamedTuple):
                    a: int
                    b: int = 2
            "#,
        )
        .await
        .ok();
        s.run("@functools.lru_cache(None)\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)")
            .await
            .ok();
        s.run("(Color(1).name, Pair(1), fib(50), list(itertools.islice(itertools.count(), 3)))")
            .await
            .value_is("('RED', Pair(a=1, b=2), 12586269025, [0, 1, 2])");
        s.run("hashlib.sha256(b'').hexdigest()[:8]").await.value_is("'e3b0c442'");
    }

    /// C2: `asyncio` works inside a cell.
    async fn asyncio_works(s) {
        s.run(
            r#"
                import asyncio
                async def f(n):
                    await asyncio.sleep(0)
                    return n
            "#,
        )
        .await
        .ok();
        s.run("async def both(): return await asyncio.gather(f(1), f(2))\nasyncio.run(both())")
            .await
            .value_is("[1, 2]");
    }

    /// C2: `asyncio.get_event_loop()` has a loop in a fresh session, and after other ways to run one.
    async fn there_is_an_event_loop(s) {
        let run = "asyncio.get_event_loop().run_until_complete(main())";
        s.run(format!("import asyncio\nasync def main(): return 5\n{run}")).await.value_is("5");
        s.run("await main()").await.value_is("5");
        s.run(run).await.value_is("5");
        s.run("asyncio.run(main())").await.value_is("5");
        s.run(run).await.value_is("5");
        s.run("asyncio.get_event_loop().close()").await.ok();
        s.run(run).await.value_is("5");
    }

    /// C2: a task that is not finished goes on when a later cell awaits something.
    async fn tasks_go_on_in_later_cells(s) {
        s.run(
            r#"
                import asyncio
                seen = []
                async def work(n):
                    for i in range(n):
                        await asyncio.sleep(0.001)
                        seen.append(i)
                    return n
                task = asyncio.create_task(work(3))
                await asyncio.sleep(0)
            "#,
        )
        .await
        .ok();
        s.run("seen").await.value_is("[]");
        s.run("(await task, seen)").await.value_is("(3, [0, 1, 2])");
    }

    /// C2: a module that is written into the working directory can be imported, also when it has changed.
    async fn the_working_directory_is_imported_from(s) {
        let observed = s
            .run(
                r#"
                    import importlib, os, random
                    name = f'fresh_{random.getrandbits(64)}'
                    try:
                        with open(name + '.py', 'w') as f: f.write('size = 1')
                        module = importlib.import_module(name)
                        first = module.size
                        with open(name + '.py', 'w') as f: f.write('size = 2')
                        second = importlib.reload(module).size
                    finally:
                        os.remove(name + '.py')
                    first, second
                "#,
            )
            .await;
        observed.value_is("(1, 2)");
    }

    /// C2: an empty cell, a comment and blank lines are cells like any other.
    async fn an_empty_cell_is_fine(s) {
        for code in ["", "\n\n", "# nothing", "   ", "pass"] {
            s.run(code).await.ok().no_value().stdout_is("");
        }
        s.in_step().await;
    }

    /// C2: names, text and comments may be in any script; lines may end as on any system.
    async fn source_is_unicode_with_any_line_ends(s) {
        s.run("größe = '🦀 日本'  # ça va\ngröße").await.value_is("'🦀 日本'");
        s.run("a = 1\r\nif a:\r\n    b = 2\r\na + b").await.value_is("3");
        s.run("text = '''one\ntwo'''\ntext").await.value_is(r"'one\ntwo'");
    }

    /// C2: a cell of twenty thousand lines is a cell.
    async fn a_long_cell_is_fine(s) {
        let code = format!("n = 0\n{}n", "n += 1\n".repeat(20_000));
        s.run(code).await.value_is("20000");
    }
}
