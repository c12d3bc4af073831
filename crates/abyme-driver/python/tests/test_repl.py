"""A session without a process: namespace, values, errors, output, tampering, interrupts."""

import builtins
import gc
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from repl_case import ECHO, FakeHost, ReplCase, repl_module  # noqa: E402
from support import full, load  # noqa: E402


class Namespace(ReplCase):
    def test_state_and_rebinding(self):
        self.ok("k = 1\ndef f(): return k")
        self.ok("k = 2")
        self.assertEqual(self.value("f()"), "2")

    def test_main_module(self):
        self.ok("""
            import dataclasses, pickle, typing, inspect, sys
            @dataclasses.dataclass
            class P:
                x: "int"
                y: list = dataclasses.field(default_factory=list)
            def g():
                # a comment
                return 1
            """)
        self.assertEqual(self.value("pickle.loads(pickle.dumps(P(3))) == P(3)"), "True")
        self.assertEqual(self.value("typing.get_type_hints(P)['x']"), "<class 'int'>")
        self.assertIn("a comment", self.value("inspect.getsource(g)"))
        self.assertEqual(self.out("if __name__ == '__main__': print('main')"), "main\n")
        self.assertEqual(self.value("import __main__; __main__.__dict__ is globals()"), "True")

    def test_source_of_cell_without_import(self):
        self.ok("def plain():\n    return 'here'")
        self.assertIn("here", self.value("import inspect\ninspect.getsource(plain)"))
        self.ok("def again():\n    return 'there'")
        self.assertIn("there", self.value("inspect.getsource(again)"))

    def test_sources_are_bounded(self):
        module = load(("sources",))
        sources = module.Sources({})
        for number in range(3000):
            sources.add(f"<bounded {number}>", "x")
        self.assertEqual(len(sources._texts), module.MAX_SOURCES)
        self.assertLessEqual(len(sources._waiting), module.MAX_SOURCES)

    def test_source_of_classes(self):
        plain = "class Plain:\n    x = 1\n    y = 2"
        self.ok(plain)
        self.ok("import dataclasses\n\n@dataclasses.dataclass\nclass Point:\n    x: int")
        self.ok("class Outer:\n    class Inner:\n        def f(self): return 'inner'\n    size = 1")
        self.ok("other = 1\nclass Plain2(Outer): pass")
        source = "import inspect\nprint(inspect.getsource({}))"
        self.assertEqual(self.out(source.format("Plain")).strip(), plain)
        self.assertIn("x: int", self.out(source.format("Point")))
        self.assertIn("return 'inner'", self.out(source.format("Outer.Inner")))
        self.assertNotIn("size", self.out(source.format("Outer.Inner")))
        self.assertEqual(self.out(source.format("Plain2")).strip(), "class Plain2(Outer): pass")
        self.ok("class Plain:\n    x = 'newer'")
        self.assertIn("newer", self.out(source.format("Plain")))
        error = self.run_cell("exec('class Ghost: pass')\ninspect.getsource(Ghost)")["error"]
        self.assertIn(error["type"], ("OSError", "TypeError"))
        self.assertIn("class Fraction", self.value("import fractions\ninspect.getsource(fractions.Fraction)"))

    def test_future_flags(self):
        self.assertEqual(
            self.value("from __future__ import annotations\ndef f(a: nope): pass\nf.__annotations__"),
            "{'a': 'nope'}",
        )
        self.fails("def f(a: nope): pass", "NameError")

    def test_preimported(self):
        for name in repl_module.PREIMPORTED:
            self.assertEqual(self.value(f"import sys\n{name} is sys.modules['{name}']"), "True")
        fresh = repl_module.Repl(self.host)
        answer = fresh.run({"code": "sorted(k for k in globals() if k[0] != '_')"})
        self.assertIn("textwrap", answer["value"]["text"])

    def test_input_named_like_a_module(self):
        self.assertEqual(self.value("string", variables={"string": 5}), "5")
        self.assertEqual(self.value("globals()['string']"), "5")

    def test_variables_keep_edits(self):
        data = [1]
        self.ok("data.append(2)", variables={"data": data})
        self.assertEqual(self.value("data"), "[1, 2]")
        self.ok("data = 'mine'")
        self.assertEqual(self.value("data"), "'mine'")

    def test_two_sessions_share_nothing(self):
        other = repl_module.Repl(FakeHost())
        self.ok("x = 1; answer['content'] = 'a'")
        answer = other.run({"code": "answer['content'], 'x' in globals()"})
        self.assertEqual(answer["value"]["text"], "('', False)")

    def test_odd_values_in(self):
        self.assertEqual(
            self.value("n, b, big", variables={"n": None, "b": b"\0", "big": 10**30}),
            f"(None, b'\\x00', {10**30})",
        )


class Values(ReplCase):
    def test_last_expression(self):
        self.assertEqual(self.value("1 + 1"), "2")
        self.assertIsNone(self.value("None"))
        self.assertIsNone(self.value("x = 5"))
        self.assertEqual(self.value("x"), "5")
        self.assertEqual(self.value("_ + 1"), "6")
        self.assertEqual(self.value("'only a string'"), "'only a string'")
        self.assertIsNone(self.value(""))

    def test_underscore_of_the_cell(self):
        self.ok("_ = 'gettext'")
        self.ok("3")
        self.assertEqual(self.value("_"), "'gettext'")

    def test_failing_repr(self):
        text = self.value("class B:\n  def __repr__(self): raise ValueError('bad')\nB()")
        self.assertEqual(text, "<repr failed: ValueError: bad>")
        self.assertIn("SystemExit", self.value("class C:\n  def __repr__(self): exit(1)\nC()"))
        self.assertIn("RecursionError", self.value("class D:\n  def __repr__(self): return repr(self)\nD()"))
        self.assertIn("TypeError", self.value("class E:\n  def __repr__(self): return 5\nE()"))

    def test_huge_values_are_bounded(self):
        for code in (
            "'x' * 10**8",
            "b'x' * 10**8",
            "list(range(10**6))",
            "{i: i for i in range(10**5)}",
            "['y' * 10**7] * 10",
            "set(range(10**5))",
            "(('z' * 10**7,),)",
            "{'k': {'k': 'v' * 10**7}}",
            "frozenset(range(10**5))",
        ):
            value = self.ok(code, max_output_chars=1000)["value"]
            self.assertLess(len(value["text"]), 1300, code)
            self.assertIsNone(value["total"])
        text = self.value("list(range(10**6))", max_output_chars=100)
        self.assertTrue(text.startswith("[0, 1,") and text.endswith("999999]"), text)

    def test_known_length(self):
        value = self.ok("['ab'] * 300", max_output_chars=1000)["value"]
        self.assertEqual(value["total"], 1800)
        self.assertEqual((len(value["text"]), len(value["tail"])), (500, 500))
        self.assertTrue(value["tail"].endswith("'ab']"))
        self.assertEqual(self.value("x = [1]; x.append(x); x"), "[1, [...]]")

    def test_replaced_streams_are_flushed(self):
        rewrap = "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\n"
        rewrap += "print('seen')"
        self.assertEqual(self.out(rewrap), "seen\n")
        self.assertEqual(self.out("print('next')"), "next\n")
        self.assertEqual(self.out(rewrap + "\nsys.stdout.close()"), "seen\n")

    def test_top_level_await(self):
        self.assertEqual(
            self.value("import asyncio\nasync def f(): return 7\nx = await f()\nx + await f()"), "14"
        )
        self.assertEqual(
            self.out("async with __import__('contextlib').AsyncExitStack(): print('in')"), "in\n"
        )
        self.assertEqual(self.fails("async def g(): return 1/0\nawait g()", "ZeroDivisionError")["line"], 1)
        self.assertEqual(self.submitted("async def h(): SUBMIT(4)\nawait h()"), [("SUBMIT", 4)])

    def test_asyncio_run_and_loop_state(self):
        self.assertEqual(
            self.value("import asyncio\nasync def f(): return await asyncio.sleep(0, 3)\nasyncio.run(f())"),
            "3",
        )


class Errors(ReplCase):
    def test_state_and_output_before_stay(self):
        answer = self.run_cell("x = 1\nprint('seen')\n1/0")
        self.assertEqual(full(answer["stdout"]), "seen\n")
        self.assertEqual(answer["error"]["line"], 3)
        self.assertEqual(self.value("x"), "1")

    def test_traceback_has_only_the_cell(self):
        self.ok("def inner(v):\n    return 1 / v")
        error = self.fails("def outer():\n    return inner(0)\nouter()", "ZeroDivisionError")
        trace = error["traceback"]
        for part in (
            '"<cell 1>", line 2, in inner',
            "return 1 / v",
            '"<cell 2>", line 2, in outer',
            "return inner(0)",
            "outer()",
        ):
            self.assertIn(part, trace)
        self.assertNotIn("abyme", trace)
        self.assertEqual(error["line"], 2)

    def test_chained(self):
        trace = self.fails(
            "try:\n    {}['k']\nexcept KeyError as e:\n    raise RuntimeError('up') from e", "RuntimeError"
        )["traceback"]
        self.assertIn("KeyError: 'k'", trace)
        self.assertIn("direct cause", trace)
        self.assertNotIn("abyme", trace)

    def test_every_base_exception(self):
        self.assertIn("code 3", self.fails("import sys; sys.exit(3)", "SystemExit")["message"])
        self.fails("raise KeyboardInterrupt", "KeyboardInterrupt")
        self.fails("raise GeneratorExit", "GeneratorExit")
        self.fails("class Mine(BaseException): pass\nraise Mine('m')", "Mine")
        self.assertEqual(self.fails("import zlib\nzlib.decompress(b'')", "zlib.error")["line"], 2)

    def test_user_class_named_like_ours(self):
        self.fails("class Submitted(Exception): pass\nraise Submitted", "Submitted")

    def test_syntax_errors(self):
        error = self.fails("x = 1\ny = = 2", "SyntaxError", "compile")
        self.assertEqual(error["line"], 2)
        self.assertIn("^", error["traceback"])
        self.assertNotIn("Traceback", error["traceback"])
        self.fails("x", "NameError")
        self.fails("if True:\nx", "IndentationError", "compile")
        self.assertIsNotNone(self.run_cell("x = '\0'")["error"])
        self.fails("x = '\ud800'", "UnicodeEncodeError", "compile")
        self.fails("return 5", "SyntaxError", "compile")
        deep = self.run_cell("-" * 20000 + "1" if sys.version_info >= (3, 11) else "(" * 300)
        self.assertIsNotNone(deep["error"])
        self.assertEqual(self.value("1"), "1")

    def test_syntax_error_of_an_inner_compile_is_a_run_error(self):
        self.fails("eval('1 +')", "SyntaxError", "run")

    def test_exceptions_that_cannot_be_shown(self):
        self.fails(
            "class E(Exception):\n  def __str__(self): raise ValueError\n  __repr__ = __str__\nraise E", "E"
        )
        self.fails("class F(Exception):\n  def __str__(self): return 5\nraise F", "F")
        self.fails("class G(Exception):\n  def __str__(self): exit()\nraise G", "G")
        self.assertEqual(self.value("1"), "1")

    def test_recursion(self):
        error = self.fails("def f(): f()\nf()", "RecursionError")
        self.assertLess(len(error["traceback"]), 9000)
        error = self.fails("def a(): b()\ndef b(): a()\na()", "RecursionError")
        self.assertLess(len(error["traceback"]), 9000)
        self.fails("def p():\n    print('x', end='')\n    p()\np()", "RecursionError")
        self.assertEqual(self.value("2"), "2")

    def test_huge_message(self):
        error = self.fails("raise ValueError('x' * 10**7)", "ValueError")
        self.assertLess(len(error["message"]) + len(error["traceback"]), 20000)

    def test_input_is_closed(self):
        error = self.fails("input('name? ')", "EOFError")
        self.assertIn("nobody can type here", error["message"])
        self.assertIn("nobody can type here", error["traceback"])
        self.assertEqual(self.value("import sys; sys.stdin.read()"), "''")
        self.assertEqual(
            self.value("[*sys.stdin], sys.stdin.readline(), sys.stdin.readlines(), sys.stdin.buffer.read()"),
            "([], '', [], b'')",
        )

    def test_deep_tracebacks_keep_both_ends(self):
        limit = sys.getrecursionlimit()
        self.addCleanup(sys.setrecursionlimit, limit)
        deep = "import sys\nsys.setrecursionlimit(60_000)\ndef f(n):\n    return f(n + 1)\nf(0)"
        if sys.version_info < (3, 11):  # Python frames are C frames there
            deep = deep.replace("60_000", "3_000")
        error = self.fails(deep, "RecursionError")
        self.assertIn("line 5, in <module>", error["traceback"])
        self.assertIn(" frames omitted] ...", error["traceback"])
        self.assertTrue(error["traceback"].rstrip().splitlines()[-1].startswith("RecursionError: "))
        self.assertEqual(error["line"], 4)
        self.assertNotIn("gap", error["traceback"])
        # The line of this cell, whose frame is the outermost of all.
        self.assertEqual(self.fails("\nf(0)", "RecursionError")["line"], 2)

    def test_frames_are_counted_whatever_the_depth(self):
        self.ok("import sys\ndef f(n):\n    if n > 1: f(n - 1)\n    else: 1/0")
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        for depth in (1, 25, 49, 50, 51, 800, 1024, 1025, 1026, 1050, 2025, 2026, 3500):
            with self.subTest(depth):
                cell = f"sys.setrecursionlimit(5_000)\nf({depth})"
                text = self.fails(cell, "ZeroDivisionError")["traceback"]
                # Above those of `f` are the frame of the cell and three of the driver.
                missing = depth + 4 - 50
                self.assertEqual("frames omitted" in text, missing > 0, text)
                if missing > 0:
                    self.assertIn(f"  ... [{missing} frames omitted] ...", text)

    def test_a_deep_traceback_is_let_go_without_a_collection_of_garbage(self):
        self.addCleanup(gc.enable)
        self.ok(
            """
            import gc, weakref
            gc.collect()
            gc.disable()
            class Deep(Exception):
                def __init__(self): refs.append(weakref.ref(self))
            refs = []
            def f(n):
                if not n: raise Deep
                f(n - 1)
            """
        )
        self.assertIn("frames omitted", self.fails("f(200)", "Deep")["traceback"])
        self.assertEqual(self.value("refs[0]() is None"), "True")

    def test_no_garbage_is_collected_between_an_error_and_its_report(self):
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.callbacks.clear)
        self.ok(
            """
            import gc
            seen = []
            gc.callbacks.append(lambda *_: seen.append(1))
            def collected():
                seen.clear()
                kept = [[] for _ in range(100)]
                return len(seen) > 0
            class Failed(Exception):
                def __str__(self): return str(collected())
            """
        )
        fails = "gc.set_threshold(20, 5, 6)\nraise Failed"
        self.assertEqual(self.fails(fails, "Failed")["message"], "False")
        self.assertEqual(self.value("gc.get_threshold()[:2], collected()"), "((20, 5), True)")

    def test_reporting_changes_no_exception(self):
        self.ok(
            "import traceback\ndef f(n):\n    if n: f(n - 1)\n    else: 1/0\n"
            "def g(n):\n    try: f(200)\n    except Exception as problem:\n"
            "        if n: g(n - 1)\n        else: raise\n"
        )
        error = self.fails("try: g(30)\nexcept Exception as e:\n    kept = e\n    raise", "ZeroDivisionError")
        self.assertIn("frames omitted", error["traceback"])
        self.assertEqual(self.value("len(list(traceback.walk_tb(kept.__traceback__))) > 200"), "True")
        chain = "n, e = 0, kept\nwhile e is not None:\n    n, e = n + 1, e.__context__\nn"
        self.assertEqual(self.value(chain), "31")
        self.assertEqual(self.value("kept.__suppress_context__"), "False")

    def test_long_names_are_cut(self):
        answer = self.ok("globals()['v' * 10**6] = type('K' * 10**6, (), {})()")
        self.assertLess(sum(map(len, answer["changed"][0].values())), 2000)
        error = self.run_cell("raise type('E' * 10**6, (Exception,), {})")["error"]
        self.assertLess(len(error["type"]), 500)

    def test_hostile_keys_of_the_namespace(self):
        self.ok("""\
            class Bad:
                def __hash__(self): return hash('SUBMIT')
                def __eq__(self, other):
                    if armed: raise SystemExit
            class Name(str): pass
            armed = False
            globals()[Name('kept')] = 1
            globals()[Bad()] = 1
            armed = True
            """)
        self.assertEqual(self.value("kept"), "1")
        self.assertEqual(self.submitted("SUBMIT(1)"), [("SUBMIT", 1)])


class Output(ReplCase):
    def test_streams(self):
        answer = self.ok("import sys\nprint('o')\nprint('e', file=sys.stderr)")
        self.assertEqual((full(answer["stdout"]), full(answer["stderr"])), ("o\n", "e\n"))

    def test_head_tail_total(self):
        for count in (0, 1, 9, 10, 11, 12, 50):
            for cap in (0, 1, 10, 11):
                text = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count]
                for code in (f"print({text!r}, end='')", f"for c in {text!r}: print(c, end='')"):
                    stream = self.ok(code, max_output_chars=cap)["stdout"]
                    self.assertEqual(stream["total"], count)
                    tail_cap = cap - cap // 2
                    self.assertEqual(stream["head"], text[: cap // 2])
                    rest = text[cap // 2 :]
                    self.assertEqual(stream["tail"], rest[max(0, len(rest) - tail_cap) :])

    def test_a_lot_is_counted_not_kept(self):
        stream = self.ok("for _ in range(200): print('x' * 10**6)\nprint('end')")["stdout"]
        self.assertEqual(stream["total"], 200 * (10**6 + 1) + 4)
        self.assertEqual((len(stream["head"]), len(stream["tail"])), (5000, 5000))
        self.assertTrue(stream["tail"].endswith("x\nend\n"))

    def test_what_was_skipped_is_counted(self):
        self.host.answer = lambda *_: self.repl.stdout.skip(7)
        self.ok(scope={"functions": [ECHO]})
        stream = self.ok("print('a', end='')\necho('b')\nprint('c', end='')")["stdout"]
        self.assertEqual((stream["head"] + stream["tail"], stream["total"]), ("ac", 9))
        self.repl.stdout.skip(7)  # between cells, so it is dropped
        self.assertEqual(self.ok()["stdout"]["total"], 0)

    def test_streamed_in_order(self):
        stream = self.ok("for i in range(5000): print(i)", max_output_chars=100_000)["stdout"]
        self.assertGreater(len(self.host.pieces), 1)
        self.assertEqual(full(stream), "".join(f"{i}\n" for i in range(5000)))

    def test_flushed_before_a_call(self):
        self.host.answer = lambda *_: list(self.host.pieces)
        self.ok(scope={"functions": [ECHO]})
        self.assertEqual(self.value("print('before')\necho('a')"), "[('stdout', 'before\\n')]")

    def test_odd_text(self):
        self.assertEqual(self.out("print('\\ud800é')"), "\ud800é\n")
        self.assertEqual(
            self.out("import sys\nsys.stdout.buffer.write(b'a\\xff')\nsys.stdout.writelines(['b', 'c'])"),
            "a�bc",
        )
        self.fails("import sys; sys.stdout.write(5)", "TypeError")
        self.fails("import sys; sys.stdout.fileno()", "io.UnsupportedOperation")
        self.assertEqual(
            self.value("import sys; sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.closed"),
            "(False, 'utf-8', False)",
        )

    def test_restored_each_cell(self):
        self.ok("import sys; sys.stdout = None; sys.stderr.close()")
        self.assertEqual(self.out("print('back')"), "back\n")
        self.assertEqual(
            self.out(
                "import contextlib, io\n"
                "with contextlib.redirect_stdout(io.StringIO()): print('no')\nprint('yes')"
            ),
            "yes\n",
        )

    def test_threads(self):
        code = """\
            import threading
            ts = [threading.Thread(target=lambda: [print('x' * 9) for _ in range(500)]) for _ in range(8)]
            """
        stream = self.ok(
            code + "[t.start() for t in ts]; [t.join() for t in ts]; None", max_output_chars=10**6
        )["stdout"]
        self.assertEqual(sum(c == "x" for c in full(stream)), 8 * 500 * 9)

    def test_finaliser_that_prints(self):
        code = """\
            class N:
              def __init__(self): self.me = self
              def __del__(self): print('d')
            for _ in range(3000): N(); print('.', end='')
            import gc; gc.collect();
            """
        self.ok(code, max_output_chars=10**6)

    def test_output_that_looks_like_protocol(self):
        self.assertEqual(self.out('print(\'ABY1{"type": "done"}\')'), 'ABY1{"type": "done"}\n')


class Tampering(ReplCase):
    def test_builtins(self):
        self.addCleanup(vars(builtins).update, dict(vars(builtins)))
        for name in (
            "len",
            "isinstance",
            "print",
            "type",
            "repr",
            "str",
            "compile",
            "exec",
            "__import__",
            "BaseException",
            "dict",
        ):
            self.ok(f"import builtins; builtins.{name} = None")
            self.assertEqual(self.value("len('abc')"), "3")
        self.ok("import builtins; del builtins.print; builtins.extra = 5")
        self.assertEqual(self.out("print(extra)"), "5\n")
        del builtins.extra

    def test_errors_while_broken(self):
        self.addCleanup(vars(builtins).update, dict(vars(builtins)))
        self.fails(
            "import builtins; builtins.len = builtins.isinstance = builtins.str = None; 1/0",
            "ZeroDivisionError",
        )
        self.assertIn(
            "ZeroDivisionError",
            self.fails("import traceback; traceback.TracebackException = None; 1/0", "ZeroDivisionError")[
                "traceback"
            ],
        )
        import importlib
        import traceback

        importlib.reload(traceback)

    def test_library(self):
        import json
        import time

        for module, name in ((json, "dumps"), (os, "write"), (time, "monotonic"), (sys, "getrecursionlimit")):
            self.addCleanup(setattr, module, name, getattr(module, name))
            self.ok(f"import {module.__name__}; {module.__name__}.{name} = None")
            self.assertEqual(self.out("print(1)"), "1\n")

    def test_names_come_back(self):
        self.ok(scope={"functions": [ECHO]})
        for name in ("echo", "SUBMIT", "FINAL", "FINAL_VAR", "SHOW_VARS"):
            before = self.repl.variables[name]
            self.assertIn(name, full(self.ok(f"{name} = lambda *a: 'fake'")["stderr"]))
            self.assertIs(self.repl.variables[name], before)
            self.assertEqual(full(self.ok(f"del {name}")["stderr"]), "")
            self.assertIs(self.repl.variables[name], before)
            self.run_cell(f"{name} = 1\n1/0")
            self.assertIs(self.repl.variables[name], before)

    def test_globals_clear(self):
        self.run_cell("globals().clear()")
        self.assertEqual(self.value("x = 1; x + len('ab')"), "3")
        self.assertEqual(self.submitted("SUBMIT(1)"), [("SUBMIT", 1)])

    def test_main_replaced(self):
        self.ok("import sys; sys.modules['__main__'] = None")
        self.assertEqual(self.value("import __main__; __main__.__name__"), "'__main__'")

    def test_low_recursion_limit(self):
        self.run_cell("import sys; sys.setrecursionlimit(60)")
        self.assertEqual(self.value("1"), "1")

    def test_driver_is_out_of_sight(self):
        self.fails("import _abyme", "ModuleNotFoundError")
        self.assertEqual(self.value("import sys; [m for m in sys.modules if m.startswith('_abyme')]"), "[]")


class Interrupts(ReplCase):
    def test_reaches_only_a_running_cell(self):
        self.repl.interrupt()
        self.assertFalse(self.ok("1")["interrupted"])

    def test_session_in_a_thread(self):
        answers = []
        worker = threading.Thread(
            target=lambda: answers.append(self.repl.run({"code": "x = 1\nwhile True: x = 2"}))
        )
        worker.start()
        deadline = time.monotonic() + 10
        while self.repl.variables.get("x") != 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        self.repl.interrupt()
        worker.join(10)
        self.assertEqual(
            (answers[0]["error"]["type"], answers[0]["interrupted"]), ("KeyboardInterrupt", True)
        )
        self.assertEqual(self.value("x"), "2")

    def test_gate(self):
        gate = self.repl.gate
        gate.begin()
        gate.on_signal(None, None)
        self.assertTrue(gate.pending)
        value, problem = gate.attempt(lambda: 5)
        self.assertIsInstance(problem, KeyboardInterrupt)
        self.assertEqual(gate.attempt(lambda: 5), (5, None))

        def inside():
            held = gate.hold()
            gate.on_signal(None, None)
            gate.release(held)

        self.assertIsInstance(gate.attempt(inside)[1], KeyboardInterrupt)
        self.assertTrue(gate.end())


if __name__ == "__main__":
    unittest.main()
