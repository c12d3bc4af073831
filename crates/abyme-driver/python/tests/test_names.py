"""What a session provides and reports: submissions, conversion, host functions, tools, changes."""

import os
import sys
import textwrap
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from repl_case import ECHO, ReplCase  # noqa: E402
from support import full, load  # noqa: E402

OUTPUTS = {"outputs": [{"name": "a", "type": "int"}, {"name": "b", "type": "list[str]"}]}


class Submission(ReplCase):
    def test_declared(self):
        self.ok(scope=OUTPUTS)
        want = [("SUBMIT", {"a": 1, "b": ["x"]})]
        for call in ("1, ['x']", "a=1, b=['x']", "1, b=('x',)", "b={'x'}, a=1", "{'b': ['x'], 'a': 1}"):
            answer = self.run_cell(f"SUBMIT({call})\nprint('never')")
            self.assertIsNone(answer["error"])
            self.assertEqual(answer["stdout"]["total"], 0)
            self.assertEqual(self.host.submits, want)

    def test_wrong_calls(self):
        self.ok(scope=OUTPUTS)
        dicts = ("{'a': 1}", "{'a': 1, 'b': 2, 3: 4}")
        for call in ("", "1", "1, 2, 3", "a=1", "a=1, b=2, c=3", "1, a=1, b=2", *dicts):
            message = self.fails(f"SUBMIT({call})", "TypeError")["message"]
            self.assertIn("SUBMIT(a=..., b=...)", message)
            self.assertIn("b: list[str]", message)
            self.assertEqual(self.host.submits, [])
        self.assertIn("SUBMIT", self.out("help(SUBMIT)"))

    def test_a_dict_for_one_output(self):
        for kind, want in {
            "int": {"a": 1},
            "dict[str, int]": {"a": {"a": 1}},
            "Any": {"a": {"a": 1}},
            "Optional[Dict]": {"a": {"a": 1}},
        }.items():
            self.ok(scope={"outputs": [{"name": "a", "type": kind}]})
            self.assertEqual(self.submitted("SUBMIT({'a': 1})"), [("SUBMIT", want)], kind)

    def test_undeclared(self):
        self.assertEqual(self.submitted("SUBMIT(5)"), [("SUBMIT", 5)])
        self.assertEqual(self.submitted("SUBMIT(5, 6)"), [("SUBMIT", [5, 6])])
        self.assertEqual(self.submitted("SUBMIT(x=5)"), [("SUBMIT", {"x": 5})])
        self.assertEqual(self.submitted("SUBMIT(None)"), [("SUBMIT", None)])

    def test_final(self):
        self.assertEqual(self.submitted("FINAL({'k': (1,)})"), [("FINAL", {"k": [1]})])
        self.assertEqual(self.submitted("r = 9\nFINAL_VAR('r')"), [("FINAL_VAR", 9)])
        self.assertEqual(self.submitted("FINAL_VAR(\" 'r' \")"), [("FINAL_VAR", 9)])
        self.assertEqual(self.submitted("FINAL_VAR([1])"), [("FINAL_VAR", [1])])
        message = self.fails("FINAL_VAR('nope')", "NameError")["message"]
        self.assertTrue(message.endswith("'nope'. Variables: r"), message)

    def test_final_var_without_quotes(self):
        code = "result = 'The total is 4.'\nFINAL_VAR(result)"
        self.assertEqual(self.submitted(code), [("FINAL_VAR", "The total is 4.")])
        self.assertEqual(self.submitted("result = 'yes'\nFINAL_VAR( result )"), [("FINAL_VAR", "yes")])
        self.assertEqual(self.submitted("FINAL_VAR({'a': 'not a name'}['a'])"), [("FINAL_VAR", "not a name")])
        self.assertEqual(self.submitted("x = 'x'\nFINAL_VAR(x)"), [("FINAL_VAR", "x")])
        self.ok("other = 5")
        error = self.fails("result = 'other'\nFINAL_VAR(result)", "TypeError")
        self.assertIn("FINAL_VAR('result') or FINAL(result)", error["message"])
        self.assertEqual(self.host.submits, [])
        self.assertEqual(self.submitted("FINAL_VAR('other')"), [("FINAL_VAR", 5)])
        self.assertEqual(self.submitted("FINAL_VAR('result')"), [("FINAL_VAR", "other")])
        self.assertEqual(self.submitted("def done(n):\n    FINAL_VAR(n)\ndone('other')"), [("FINAL_VAR", 5)])
        self.assertEqual(self.submitted("exec(\"FINAL_VAR('other')\")"), [("FINAL_VAR", 5)])
        for call in ("'results[0]'", "f'otter'", "'otter'.strip()"):
            self.fails(f"FINAL_VAR({call})", "NameError")

    def test_no_host_call_after_it(self):
        self.ok(scope={"functions": [ECHO]})
        for submit in ("SUBMIT(1)", "FINAL(1)", "answer['value'] = 1; answer['ready'] = True"):
            self.host.calls.clear()
            answer = self.run_cell(f"try:\n    {submit}\nexcept BaseException: pass\necho(2)\nprint('on')")
            self.assertEqual((len(self.host.submits), self.host.calls), (1, []), submit)
            self.assertEqual((answer["error"], answer["stdout"]["total"]), (None, 0))
        self.assertEqual(self.value("echo(3)"), "3")

    def test_nothing_swallows_it(self):
        for code in (
            "try:\n    SUBMIT(1)\nexcept:\n    pass\nx = 1",
            "try:\n    SUBMIT(1)\nfinally:\n    x = 1",
            "try:\n    SUBMIT(1)\nexcept BaseException:\n    SUBMIT(2)",
            "while True:\n    try:\n        SUBMIT(1)\n    except: break",
        ):
            self.assertEqual(self.submitted(code), [("SUBMIT", 1)])
        answer = self.run_cell("try:\n    SUBMIT(1)\nexcept:\n    1/0")
        self.assertEqual((self.host.submits, answer["error"]["type"]), ([("SUBMIT", 1)], "ZeroDivisionError"))
        answer = self.run_cell("try:\n    1/0\nfinally:\n    SUBMIT(1)")
        self.assertEqual((self.host.submits, answer["error"]), ([("SUBMIT", 1)], None))

    def test_redefinition(self):
        self.ok("def SUBMIT(*a): pass")
        self.assertEqual(self.submitted("SUBMIT(3)"), [("SUBMIT", 3)])

    def test_thread(self):
        answer = self.run_cell(
            "import threading\nt = threading.Thread(target=SUBMIT, args=(1,))\n"
            "t.start(); t.join()\nprint('on')"
        )
        self.assertEqual(self.host.submits, [("SUBMIT", 1)])
        self.assertEqual(
            (full(answer["stdout"]), full(answer["stderr"]), answer["error"]), ("on\n", "", None)
        )
        answer = self.run_cell(
            "from concurrent.futures import ThreadPoolExecutor as T\n"
            "with T() as p: p.submit(SUBMIT, 2).result()"
        )
        self.assertEqual((self.host.submits, answer["error"]), ([("SUBMIT", 2)], None))

    def test_bad_value_is_no_submission(self):
        self.fails("x = []; x.append(x); SUBMIT(x)", "ValueError")
        self.assertEqual(self.host.submits, [])

    def test_answer(self):
        ready = "answer['ready'] = True"
        self.assertEqual(self.submitted(f"answer['value'] = 5; {ready}"), [("answer", 5)])
        self.assertEqual(self.submitted(f"{ready}; answer['content'] = 'late'"), [("answer", "late")])
        self.assertEqual(self.submitted("pass"), [])
        self.assertEqual(self.submitted("answer['content'] = ''"), [])
        self.assertEqual(self.submitted(ready), [("answer", "")])
        self.assertEqual(self.submitted(ready), [("answer", None)])
        self.assertEqual(self.submitted("answer.update(ready=True, content='u')"), [("answer", "u")])
        self.assertEqual(self.submitted("answer = {'content': 'r', 'ready': True}"), [("answer", "r")])
        self.assertEqual(
            self.submitted("answer = {'value': [1], 'content': 'r', 'ready': 1}\n1/0"), [("answer", [1])]
        )
        self.assertEqual(self.submitted("answer = {'content': 'draft', 'ready': False}"), [])
        self.assertEqual(self.submitted(ready), [("answer", "draft")])
        self.assertEqual(
            self.submitted(f"answer['content'] = 'first'; {ready}; SUBMIT(2)"), [("answer", "first")]
        )
        self.assertEqual(self.submitted("answer['content'] += 'more'"), [])
        self.assertEqual(self.value("dict(answer)"), "{'value': None, 'content': 'more', 'ready': False}")

    def test_answer_as_a_name_of_the_cell(self):
        self.ok("answer = 17")
        self.assertEqual(self.value("answer += 25\nanswer"), "42")
        self.assertEqual(self.submitted("FINAL_VAR('answer')"), [("FINAL_VAR", 42)])
        self.assertEqual(self.submitted("SUBMIT(answer=answer)"), [("SUBMIT", {"answer": 42})])
        self.assertIn("answer: int", self.value("SHOW_VARS()"))
        changed = self.ok("answer = []")["changed"]
        self.assertEqual([item["summary"] for item in changed], ["list[0]"])
        self.ok("answer.append(1)")
        self.assertEqual(self.value("len(answer), f'{answer}'"), "(1, '[1]')")
        self.ok("answer = {}")
        self.ok("answer['total'] = 3")
        self.assertEqual(self.value("answer"), "{'total': 3}")
        self.assertEqual(self.submitted("answer.update(value=4, ready=True)"), [("answer", 4)])
        self.assertEqual(self.value("answer"), "{'value': None, 'content': '', 'ready': False}")
        self.ok("def answer(): return 1")
        self.assertEqual(self.value("answer()"), "1")
        self.ok("del answer")
        self.assertEqual(self.value("answer['ready']"), "False")
        self.ok("answer = 'x'")
        self.assertEqual(self.submitted("answer = {'value': 1, 'ready': True}"), [("answer", 1)])

    def test_answer_dict_by_other_ways(self):
        self.ok("answer['content'] = 'draft'")
        self.assertEqual(self.submitted("FINAL_VAR('answer')"), [("FINAL_VAR", "draft")])
        self.assertEqual(self.submitted("FINAL(answer)"), [("FINAL", "draft")])
        self.assertEqual(self.submitted("SUBMIT(answer)"), [("SUBMIT", "draft")])

    def test_answer_as_an_input(self):
        self.assertEqual(self.value("answer", variables={"answer": "of a student"}), "'of a student'")
        self.assertEqual(self.value("answer"), "'of a student'")
        given = {"value": 1, "ready": True}
        self.assertEqual(self.submitted("answer['value'] += 1", variables={"answer": given}), [])
        self.assertEqual(self.value("answer", scope={"functions": [ECHO]}), "{'value': 2, 'ready': True}")
        self.assertEqual(self.submitted("answer = {'value': 5, 'ready': True}"), [("answer", 5)])

    def test_answer_without_a_truth_value(self):
        self.ok("class A:\n    def __bool__(self): raise ValueError('array')")
        self.ok("class B:\n    def __bool__(self): raise SystemExit")
        for kind, problem in (("A", "ValueError"), ("B", "SystemExit")):
            self.fails(f"answer['value'] = 1; answer['ready'] = {kind}()", problem)
            self.assertEqual(self.value("1"), "1")
            self.fails(f"answer = {{'value': 1, 'ready': {kind}()}}", problem)
            self.assertEqual(self.value("answer['ready']"), "False")
            self.fails(f"dict.__setitem__(answer, 'ready', {kind}())", problem)
            self.assertEqual(self.submitted("answer['value'] = 2; answer['ready'] = True"), [("answer", 2)])

    def test_answer_survives_later_edits_and_errors(self):
        self.assertEqual(
            self.submitted("answer['content'] = 'x'; answer['ready'] = True; answer['ready'] = False"),
            [("answer", "x")],
        )
        answer = self.run_cell("answer['ready'] = True; answer['content'] = 'x'\nraise ValueError")
        self.assertEqual((self.host.submits, answer["error"]["type"]), ([("answer", "x")], "ValueError"))
        self.fails("x = []; x.append(x); answer = {'value': x, 'ready': True}", "ValueError")
        self.assertEqual(self.submitted("pass"), [])

    def test_after_the_cell(self):
        self.ok("""\
            import threading
            go = threading.Event(); seen = []
            def late():
                go.wait()
                try: SUBMIT(1)
                except RuntimeError as e: seen.append(e)
            t = threading.Thread(target=late); t.start()
            """)
        self.repl.variables["go"].set()
        self.repl.variables["t"].join()
        self.assertIn("no cell is running", str(self.repl.variables["seen"][0]))
        self.assertEqual(self.host.submits, [])


class Conversion(ReplCase):
    def plain(self, code):
        answer = self.ok(code, reads=["v"])
        self.assertEqual(answer["unreadable"], {})
        return answer["variables"]["v"]

    def test_table(self):
        for expression, want in {
            "(1, 2.5, None, True, 'x')": [1, 2.5, None, True, "x"],
            "{3, 1, 2}": [1, 2, 3],
            "{1, 'a', (2,)}": [1, "a", [2]],
            "range(3)": [0, 1, 2],
            "(i for i in range(2))": [0, 1],
            "{'a': 1}.keys()": ["a"],
            "collections.deque([1, (2,)])": [1, [2]],
            "collections.Counter('aab')": {"a": 2, "b": 1},
            "collections.OrderedDict(z=1)": {"z": 1},
            "collections.UserDict(a=1)": {"a": 1},
            "collections.UserList([1])": [1],
            "collections.UserString('s')": "s",
            "bytearray(b'ab')": b"ab",
            "memoryview(b'ab')": b"ab",
            "datetime.datetime(2024, 1, 2, 3, 4)": "2024-01-02T03:04:00",
            "datetime.date(2024, 1, 2)": "2024-01-02",
            "datetime.timedelta(days=1)": "1 day, 0:00:00",
            "__import__('decimal').Decimal('1.10')": "1.10",
            "__import__('fractions').Fraction(1, 3)": "1/3",
            "__import__('pathlib').Path('/a/b')": "/a/b",
            "__import__('uuid').UUID(int=1)": "00000000-0000-0000-0000-000000000001",
            "__import__('array').array('i', [1, 2])": [1, 2],
            "1 + 2j": "(1+2j)",
            "[int, list[str], Exception]": ["int", "list[str]", "Exception"],
            "ValueError('text')": "text",
            "collections.namedtuple('P', 'x y')(1, (2,))": {"x": 1, "y": [2]},
        }.items():
            self.assertEqual(self.plain(f"v = {expression}"), want, expression)

    def test_keys(self):
        self.assertEqual(
            self.plain("v = {1: 'a', None: 2, False: 3, 2.5: 4, (1, 2): 5}"),
            {"1": "a", "null": 2, "false": 3, "2.5": 4, "(1, 2)": 5},
        )

    def test_keys_that_become_one(self):
        for code in ("{1: 'a', '1': 'b'}", "[{None: 1, 'null': 2}]", "{'k': {True: 1, 'true': 2}}"):
            self.assertIn("two keys that become", self.fails(f"SUBMIT({code})", "ValueError")["message"])
            self.assertEqual(self.host.submits, [])

    def test_pandas_by_its_shape(self):
        """The classes of pandas as far as they are looked at: the tests do not need it."""
        self.ok("""\
            import sys, types
            class NaTType:
                def isoformat(self): return 'NaT'
            class NAType:
                def __str__(self): return '<NA>'
            sys.modules['pandas'] = pandas = types.ModuleType('pandas')
            pandas.NaT, pandas.NA = NaTType(), NAType()
            class Index(list):
                names = [None]
            class Series:
                def __init__(self, values, labels): self.values, self.index = values, labels
                def tolist(self): return self.values
                def to_dict(self): raise AssertionError
            class DataFrame:
                columns = ['a']
                def __init__(self, labels, names=(None,)):
                    self.index = Index(labels)
                    self.index.names = names
                def to_dict(self, orient):
                    return [{'a': pandas.NaT} for _ in self.index]
                def reset_index(self):
                    rows = [{'index': label, 'a': 1} for label in self.index]
                    return types.SimpleNamespace(to_dict=lambda orient: rows)
            """)
        self.addCleanup(sys.modules.pop, "pandas", None)
        self.assertEqual(self.plain("v = [pandas.NaT, pandas.NA, NaTType]")[:2], [None, None])
        self.assertEqual(self.plain("v = Series([3, 5], ['a', 'b'])"), {"a": 3, "b": 5})
        self.assertEqual(self.plain("v = Series([3, 5], [0, 1])"), [3, 5])
        self.assertEqual(self.plain("v = Series([3, 5], [1, 0])"), {"1": 3, "0": 5})
        self.assertEqual(self.plain("v = Series([3, 5], ['a', 'a'])"), [3, 5])
        self.assertEqual(self.plain("v = DataFrame([4])"), [{"a": None}])
        self.assertEqual(self.plain("v = DataFrame(['x'])"), [{"index": "x", "a": 1}])
        self.assertEqual(self.plain("v = DataFrame([0], ['year'])"), [{"index": 0, "a": 1}])
        self.ok("DataFrame.columns = ['a', 'a']")
        self.assertIn("same name", self.fails("SUBMIT(DataFrame([0]))", "ValueError")["message"])

    def test_subclasses_and_enums(self):
        self.ok("""\
            import enum
            class I(enum.IntEnum): A = 3
            class E(enum.Enum): A = (1, 2)
            class S(str):
              def __str__(self): return 'lie'
            class F(float): pass
            class N(int):
              __int__ = None
            """)
        got = self.plain("v = [I.A, E.A, S('s'), F(1.5), N(4), {E.A: I.A, S('k'): 1}]")
        self.assertEqual(got, [3, [1, 2], "s", 1.5, 4, {"(1, 2)": 3, "k": 1}])
        self.assertEqual([type(item) for item in got[2:5]], [str, float, int])

    def test_records(self):
        code = """
        import dataclasses, typing
        @dataclasses.dataclass
        class In: x: int
        @dataclasses.dataclass
        class Out:
            item: In
            items: list
            kind: typing.ClassVar[int] = 3
        class Two:
            def model_dump(self): return {"m": (1,)}
        class One:
            __fields__ = {}
            def dict(self): return {"d": 1}
        class Att:
            class F: name = "a"
            __attrs_attrs__ = (F,)
            a = {5}
        class Table:
            columns = ["c"]
            def to_dict(self, orient): return [{"c": 1}]
        v = [Out(In(1), [In(2)]), Two(), One(), Att(), Table(), Out]
        """
        got = self.plain(code)
        self.assertEqual(
            got[:5], [{"item": {"x": 1}, "items": [{"x": 2}]}, {"m": [1]}, {"d": 1}, {"a": [5]}, [{"c": 1}]]
        )
        self.assertIsInstance(got[5], str)

    def test_unprintable(self):
        self.assertEqual(
            self.plain("class B:\n  def __str__(self): raise ValueError\nv = [B()]"),
            ["<unprintable B object>"],
        )
        self.assertEqual(len(self.plain("v = {B(), 1}")), 2)

    def test_cycles_and_depth(self):
        for code in ("v = []; v.append(v)", "v = {}; v['k'] = [v]", "v = []\nfor _ in range(200): v = [v]"):
            answer = self.ok(code, reads=["v", "gone"])
            self.assertEqual(answer["missing"], ["gone"])
            self.assertIn("ValueError", answer["unreadable"]["v"])
        for code in ("v = 1\nfor _ in range(101): v = [v]", "v = []\nfor _ in range(100): v = [v]"):
            self.assertIn("ValueError", self.ok(code, reads=["v"])["unreadable"]["v"])
        value = self.plain("v = 1\nfor _ in range(100): v = [v]")
        for _ in range(100):
            (value,) = value
        self.assertEqual(value, 1)
        self.assertEqual(self.plain("a = [1]; v = [a, a]"), [[1], [1]])

    def test_large_lists_are_not_walked(self):
        self.ok("v = list(range(10**6))")
        self.assertIs(self.ok(reads=["v"])["variables"]["v"], self.repl.variables["v"])

    def test_numpy_and_pandas(self):
        try:
            import numpy  # noqa: F401
        except ImportError:
            self.skipTest("no numpy")
        self.assertEqual(
            self.plain(
                "import numpy as np\n"
                "v = [np.int64(3), np.arange(4).reshape(2, 2), np.float32(.5), np.bool_(True)]"
            ),
            [3, [[0, 1], [2, 3]], 0.5, True],
        )


class HostFunctions(ReplCase):
    SCOPE = {
        "functions": [
            ECHO,
            {
                "name": "f",
                "doc": "Docs.",
                "returns": "list[str]",
                "parameters": [
                    {"name": "a"},
                    {"name": "call", "default": {"k": [None]}},
                    {"name": "rest", "kind": "var_positional"},
                    {"name": "d", "kind": "keyword_only", "default": None},
                    {"name": "kw", "kind": "var_keyword"},
                ],
            },
            {"name": "k", "parameters": [{"name": "a"}, {"name": "b", "kind": "keyword_only"}]},
        ]
    }

    def test_binding(self):
        self.ok(scope=self.SCOPE)
        self.ok("f(1); f(1, 2, 3, (4,), d=5, z={6}); k(1, b=2); echo(x='y')")
        self.assertEqual(
            self.host.calls,
            [
                ("f", [], {"a": 1, "call": {"k": [None]}, "d": None}),
                ("f", [3, [4]], {"a": 1, "call": 2, "d": 5, "z": [6]}),
                ("k", [], {"a": 1, "b": 2}),
                ("echo", [], {"x": "y"}),
            ],
        )
        self.assertIn(
            "missing 1 required positional argument: 'x'", self.fails("echo()", "TypeError")["message"]
        )
        self.assertIn(
            "echo() got an unexpected keyword argument", self.fails("echo(1, y=2)", "TypeError")["message"]
        )

    def test_looks_like_python(self):
        self.ok(scope=self.SCOPE)
        self.assertEqual(
            self.value("import inspect\nstr(inspect.signature(echo)), echo.__name__, echo.__doc__"),
            "('(x: str) -> str', 'echo', 'Say it again.')",
        )
        self.assertEqual(
            self.value("str(inspect.signature(f))"),
            "\"(a, call={'k': [None]}, *rest, d=None, **kw) -> 'list[str]'\"",
        )
        self.assertIn("Say it again.", self.out("help(echo)"))

    def test_none_stays_none(self):
        self.ok(scope=self.SCOPE)
        self.assertEqual(self.value("echo(None) is None"), "True")

    def test_errors(self):
        scope = load(("gate", "capture", "annotations", "convert", "display", "errors", "scope"))

        def answer(name, args, kwargs):
            raise scope.host_error(kwargs["x"], "the message")

        self.host.answer = answer
        self.ok(scope=self.SCOPE)
        error = self.fails("y = 1\necho('ValueError')", "ValueError")
        self.assertEqual((error["message"], error["line"]), ("the message", 2))
        self.assertIn("echo('ValueError')", error["traceback"])
        self.assertNotIn("<abyme", error["traceback"])
        self.fails("echo('RateLimited')", "RateLimited")
        self.fails("echo('KeyboardInterrupt')", "KeyboardInterrupt")
        self.assertEqual(
            self.value("try: echo('KeyboardInterrupt')\nexcept RuntimeError as e: r = str(e)\nr"),
            "'the message'",
        )
        self.fails("echo('UnicodeDecodeError')", "UnicodeDecodeError")

    def test_bad_specs(self):
        for name in ("a b", "def", "x): pass\nimport os\ndef g(", ""):
            self.assertIsNotNone(self.run_cell(scope={"functions": [{"name": name}]})["error"])
        self.fails("1", "ValueError", "scope", scope={"functions": [{"name": "SUBMIT"}]})
        self.ok(scope=self.SCOPE)
        self.fails("ran = 1", "ValueError", "scope", variables={"echo": 1})
        self.fails("ran", "NameError")

    def test_outside_a_cell(self):
        self.ok("keep = echo", scope=self.SCOPE)
        with self.assertRaisesRegex(RuntimeError, "no cell is running"):
            self.repl.variables["keep"]("x")

    def test_scope_replaced(self):
        self.ok(scope=self.SCOPE)
        self.ok(scope={"functions": [{"name": "other"}]})
        self.fails("echo(1)", "NameError")
        self.ok("other()")

    def test_many_threads(self):
        barrier = threading.Barrier(8, timeout=10)
        self.host.answer = lambda name, args, kwargs: barrier.wait() * 0 + kwargs["x"]
        self.ok(scope=self.SCOPE)
        self.assertEqual(
            self.value(
                "from concurrent.futures import ThreadPoolExecutor as T\nlist(T(8).map(echo, range(8)))"
            ),
            "[0, 1, 2, 3, 4, 5, 6, 7]",
        )


class Given(ReplCase):
    """Long texts that the host put in are named by number in calls."""

    def setUp(self):
        super().setUp()
        self.docs = "x" * 100
        variables, scope = {"docs": self.docs, "n": 1}, {"functions": [ECHO]}
        self.answer = self.ok(scope=scope, variables=variables, given={"docs": 7})

    def sent(self, code):
        self.ok(code)
        return self.host.calls[-1][2]

    def test_arguments_and_items_of_lists(self):
        self.assertEqual(self.answer["given"], [7])
        self.assertEqual(self.sent("echo(docs)"), {"x": None, "$given": {"x": 7}})
        want = {"x": [1, None, "x"], "$given": {"x": {"1": 7}}}
        self.assertEqual(self.sent("alias = docs; echo([1, alias, 'x'])"), want)

    def test_what_is_another_text_is_sent(self):
        self.assertEqual(self.sent("echo(docs[:-1] + 'y')"), {"x": "x" * 99 + "y"})
        self.assertEqual(self.sent("echo({'deep': docs})"), {"x": {"deep": self.docs}})
        self.assertEqual(self.sent("echo(''.join(docs[:50]) + docs[50:])"), {"x": self.docs})

    def test_it_is_forgotten_with_its_name(self):
        self.assertEqual(self.ok("alias = docs")["given"], [7])
        self.assertNotIn("given", self.ok("docs = 1"))
        self.assertEqual(self.sent("echo(alias)"), {"x": self.docs})
        self.ok(variables={"docs": "y" * 100}, given={"docs": 8})
        self.assertEqual(self.sent("echo(docs)"), {"x": None, "$given": {"x": 8}})

    def test_a_name_that_cannot_be_set_gives_nothing(self):
        answer = self.run_cell(variables={"docs": "z", "SUBMIT": 1}, given={"docs": 9})
        self.assertEqual((answer["error"]["stage"], answer["given"]), ("scope", [7]))
        self.assertEqual(self.sent("echo(docs)"), {"x": None, "$given": {"x": 7}})


class Tools(ReplCase):
    SOURCE = textwrap.dedent("""\
        import os
        from json import dumps
        count = 0
        _private = 1
        def shout(x):
            global count
            count += 1
            return echo(x) + '!'
        class Thing:
            size: 'int' = 1
        def broken():
            return 1/0
        """)

    def scope(self, source=SOURCE):
        return {"functions": [ECHO], "modules": [{"name": "tools.py", "source": source}]}

    def test_public_names(self):
        self.ok(scope=self.scope())
        self.assertEqual(self.value("shout('a'), Thing().size"), "('a!', 1)")
        for name in ("os", "dumps", "count", "_private"):
            self.assertEqual(self.value(f"'{name}' in globals()"), "False")
        self.ok("shout = None")
        self.assertEqual(self.value("shout('b')"), "'b!'")
        self.assertEqual(
            self.value(
                "import pickle, typing\n"
                "pickle.loads(pickle.dumps(Thing)) is Thing, typing.get_type_hints(Thing)"
            ),
            "(True, {'size': <class 'int'>})",
        )
        error = self.fails("broken()", "ZeroDivisionError")
        self.assertIn('"<tools.py>", line 12, in broken', error["traceback"])
        self.assertIn("return 1/0", error["traceback"])
        self.assertEqual(error["line"], 1)

    def test_runs_once_per_source(self):
        self.ok("shout('a')", scope=self.scope())
        self.ok(scope=self.scope())
        self.assertEqual(self.value("shout.__globals__['count']"), "1")
        self.ok(scope=self.scope("def fresh(): return 5"))
        self.assertEqual(self.value("fresh(), 'shout' in globals()"), "(5, False)")

    def test_errors(self):
        self.fails("ran = 1", "ZeroDivisionError", "scope", scope=self.scope("x = 1\n1/0"))
        self.fails("ran = 1", "SyntaxError", "scope", scope=self.scope("x = = 1"))
        self.assertIn(
            "SUBMIT",
            self.fails("ran = 1", "ValueError", "scope", scope=self.scope("def SUBMIT(): pass"))["message"],
        )
        self.fails("ran", "NameError")


class Changes(ReplCase):
    def changed(self, code, **request):
        return {item["name"]: item["summary"] for item in self.ok(code, **request)["changed"]}

    def test_what_changed(self):
        self.assertEqual(
            self.changed(
                "a = [0] * 412; b = 'x' * 10485760; c = 5; _d = 1; import os\ndef f(): pass\n"
                "class C: pass\nd = {1: 2}",
                variables={"given": [1]},
            ),
            {
                "a": "list[412]",
                "b": "str[10485760]",
                "c": "int",
                "f": "function",
                "C": "class",
                "d": "dict[1]",
            },
        )
        self.assertEqual(self.changed("a.append(1); given.append(2)"), {"a": "list[413]", "given": "list[2]"})
        self.assertEqual(self.changed("c = 'other'; d"), {"c": "str[5]"})
        self.assertEqual(self.changed("pass"), {})
        self.assertEqual(
            self.changed("class T:\n  shape = (1000000, 4)\nt = T()"), {"T": "class", "t": "T 1000000x4"}
        )

    def test_names_that_come_first_are_looked_at_together(self):
        self.ok("json.dumps(1)\nx = 1")
        names, values = map(list, self.repl._front)
        self.assertEqual(names[-1], "json")
        self.assertEqual(self.ok("json = x")["changed"][0]["name"], "json")
        self.assertIsNot(self.repl.variables["json"], values[-1])
        self.assertEqual(self.ok("x")["changed"], [])

    def test_at_most_thirty(self):
        answer = self.ok("for i in range(50): globals()[f'v{i}'] = i\ndel i")
        self.assertEqual((len(answer["changed"]), answer["changed_total"]), (30, 50))

    def test_after_an_error(self):
        answer = self.run_cell("z = 1\n1/0")
        self.assertEqual([item["name"] for item in answer["changed"]], ["z"])

    def test_hostile_values(self):
        self.ok("""\
            class H:
              def __len__(self): raise SystemExit
              @property
              def shape(self): raise ValueError
              __eq__ = __hash__ = None
            h = H()
            """)
        self.assertEqual(self.value("1"), "1")

    def test_show_vars(self):
        self.ok("x = [1, 2]; name = 'n' * 500; _hidden = 1; import os", scope={"functions": [ECHO]})
        self.assertEqual(self.out("print(SHOW_VARS())").splitlines()[1], "x: list[2]  [1, 2]")
        shown = self.value("SHOW_VARS()")
        for name in ("echo", "SUBMIT", "_hidden", "os:"):
            self.assertNotIn(name, shown)


if __name__ == "__main__":
    unittest.main()
