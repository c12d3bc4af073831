"""The two ways to compile a cell: in two parts, and by its tree. They must give the same code."""

import ast
import itertools
import os
import sys
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import load  # noqa: E402

program = load(("gate", "capture", "annotations", "convert", "display", "errors", "submit", "program"))
in_two, by_tree = program._compile_split, program._compile_parts

HEADS = [
    "",
    "\n",
    "\n\n\n",
    "# a comment\n",
    "# a comment \\\n",
    "x = 1\n",
    "'''a docstring'''\n",
    "x = '''\nif x:\n'''\n",
    "x = 1; y = 2\n",
    "if x:\n    y\n",
    "if x: y\n",
    "for a in b:\n    print(a)\nelse:\n    pass\n\n",
    "def f():\n    return 1\n\n",
    "@decorator\ndef f(): pass\n",
    "class A:\n    x = 1\n",
    "try:\n    x\nexcept E:\n    pass\n",
    "with a as b:\n    c\n",
    "from __future__ import annotations\ndef f(a: b): pass\n",
    "import re\n\n\n\n",
    "x = (1,\n2)\n",
    "x = [\n]\n",
    "x = 1 + \\\n    2\n",
    "async def f():\n    await g()\n",
    "lambda: 0\n",
    "\f\nx = 1\n",
    "x = 'ä€😀'\n",
    # Beginnings that reach into the last line.
    "x = 1 \\\n",
    "x = \\\n",
    "if x:\n",
    "if x: \\\n",
    "@decorator\n",
    "x = '''\n",
    'f"""\n',
    "x = (\n",
    "f(a,\n",
    "x = [y\n",
    "try:\n    x\n",
    "def f():\n    '''\n",
    "def f():\n    x\n  ",
    "  ",
    "return\n",
    "x = = 1\n",
    "await x\n",
    "global x\n",
    "x = f(\n",
    "x = [a\n",
    "x = {\n",
    "print(\n",
    "x\r\ny\r\n",
    "x\ry\r",
    "\0\n",
]
LASTS = [
    "",
    "x",
    "x\n\n\n",
    "x  # a comment",
    "x;",
    "x; y",
    "x = 1",
    "x, y",
    "*x, y",
    "x if y else z",
    "(x := 1)",
    "x := 1",
    "lambda a: a",
    "print(f'{x!r:>{width}} {y}')",
    "'text'",
    "'''text'''",
    "'''",
    ")",
    "]",
    "else: y",
    "yield x",
    "await x",
    "[await x for x in y]",
    "return",
    "pass",
    "match(x)",
    "not x",
    "1 +",
    "x \\\n",
    "x \\",
    "for x in y: z",
    "    x",
    "\tx",
    "\fx",
    "\ufeffx",
    "x \f",
    "x\n    ",
    "x\n# the end",
    "x\r\n",
    "x\ry",
    "(x,\ny)",
    "{x: 1,\n}",
    "f(\nx)\n",
    "ä",
    "0o9",
    "ﬁ",
    "None",
    "__debug__",
    "x == 1",
    "x <= y",
    "x # a = b",
    "x += 1",
    "x @= y",
    "x <<= 1",
    "x: int = 1",
    "x.y = 1",
    "x, y[a] = 1, 2",
    "x[y] = z\n\n",
    "x['='] = z",
    "x['=']",
    "x[y == z]",
    "x[(y := z)]",
    "'a' '= b'",
    "lambda a=1: a",
    "f(a=1)",
    "x = 1; y",
    "x = 1; y = 2",
    "x = 1 ;\ty ",
    "x = 1; y = 2; z",
    "x = 1; None",
    "x = 1;; y",
    "x = 1; ; y",
    "; y",
    "x; y; z",
    "f(x); y",
    "x = 'a;b'; y",
    "x = 'a;b",
    "x = 'a; b",
    "x = 1 # a; b",
    "x = [a; b",
    "x = [a, b]; \\\ny",
    "x: int = 1; y",
    "x = {1: 2}; y",
    "await x; y",
    "return; x",
    "pass; x",
    "del x; x",
    "global x; x",
    "import x; x",
    "from __future__ import annotations; x",
    "while(x): y; z",
    "if(x): y; z",
    "try: y; z",
    "class A: x; y",
    "match x:\n    case 1: y; z",
    "if x:\n    y; z",
    "); x",
    "]; x",
    "'''; x",
    "else: y; x",
    "x = [\n1,\n]",
    "x = [\n1,\n]; x",
    "a = 1)",
    "a = 1\n)",
    "for a in b]",
    "for a in b]\n",
    "if a else b)",
    "for x in y:\n    z",
    "for x in y:\n    global z",
    "for x in y:\n    z\nelse:\n    z",
    "async for x in y:\n    z",
    "if x:\n    y\nelif z:\n    y\n# a comment\nelse:\n\n    y\n",
    "try:\n    x\nexcept (A,\nB):\n    y\nfinally:\n    z",
    "while x: y; z",
    "with x as y: z",
    "with (x as y,\n      z):\n    a",
    "def f(\n    a,\n):\n    return a",
    "def f():\n    '''a\nb'''\n    return 1",
    "@a\n@b(c)\ndef f(): pass",
    "@a(\nb)\ndef f(): pass",
    "@a",
    "class A:\n    x: int = 1",
    "import a, b",
    "from a import (\n    b,\n)",
    "from __future__ import annotations",
    "del x",
    "f(\n    x,\n)",
    "f(\nx = 1\n)",
    "[\nx\nfor x in y\n]",
    "match x:\n    case 1: y",
    "global x",
    "(" * 300,
    "x" + ".y" * 50,
]


def view(code):
    """All parts of a code object that have an effect when it runs or fails."""
    if not hasattr(code, "co_code"):
        return type(code), repr(code)
    lines = list(code.co_lines()) if hasattr(code, "co_lines") else code.co_lnotab
    positions = list(code.co_positions()) if hasattr(code, "co_positions") else None
    consts = [view(const) for const in code.co_consts]
    return (
        code.co_code,
        code.co_name,
        code.co_flags,
        code.co_names,
        consts,
        lines,
        positions,
        code.co_filename,
    )


class Compile(unittest.TestCase):
    def setUp(self):
        catch = warnings.catch_warnings()
        catch.__enter__()
        self.addCleanup(catch.__exit__, None, None, None)
        warnings.simplefilter("ignore")

    def test_both_ways_give_the_same(self):
        taken = 0
        for head, last in itertools.product(HEADS, LASTS):
            code = head + last
            with self.subTest(code=code):
                found = in_two(code, "<cell 1>")
                if found is None:
                    continue  # the other way is taken, with its code or its error
                taken += 1
                expected = by_tree(code, "<cell 1>")
                self.assertEqual((found[2], expected[2]), (False, False))
                if type(found[1]) is str:
                    self.check_name(found[1], expected[1])
                else:
                    self.assertEqual(view(found[1]), view(expected[1]))
                start = program._guess_last(code)
                if found[1] is not None and (type(found[1]) is not str or ";" not in code[start:]):
                    self.assertEqual(self.statements(found), self.statements(expected))
                else:
                    self.check_statements(code, start, found)
        self.assertGreater(taken, 1400)

    def check_name(self, name, expected):
        """An expression that is a name and nothing else. Its code is never run, unless it is missing."""
        code = compile(name, "<cell 1>", "eval", expected.co_flags & program._FUTURES, True)
        self.assertEqual((expected.co_code, expected.co_names), (code.co_code, (name,)))

    def check_statements(self, code, start, found):
        """A cell of which the last line has a statement: the parts are the whole."""
        end = code.rindex(";") if found[1] else len(code)
        parts = [code[:start]] * bool(start)
        parts.append("\n" * code.count("\n", 0, start) + code[start:end].rstrip(" \t\n"))
        codes = [compile(part, "<cell 1>", "exec", 0, True) for part in parts]
        self.assertEqual(list(map(view, found[0])), list(map(view, codes)))
        nodes = [node for part in parts for node in ast.parse(part).body]
        whole = ast.parse(code).body
        if found[1]:
            last = whole.pop()
            self.assertEqual((type(last), last.value.id), (ast.Expr, found[1]))
        else:
            self.assertNotIsInstance(nodes[-1], ast.Expr)
        self.assertEqual(
            [ast.dump(node, include_attributes=True) for node in nodes],
            [ast.dump(node, include_attributes=True) for node in whole],
        )

    def test_usual_cells_take_the_short_way(self):
        for code in (
            "x",
            "x = 1\nx",
            "x = 1",
            "x += 1\n",
            "x.y, z[1] = 2, 3",
            "import re",
            "for x in y:\n    z\nprint(x)",
            "for x in y:\n    z",
            "x = [\n    1,\n]\n",
            "print(\n    x,\n)",
            "@a\ndef f():\n\n    return 1\n",
            "if x:\n    y\nelse:\n    z",
            "import re\n\nre.findall('a', b)[:10]\n\n",
            "x = x + 1; x",
            "import re\nx = f('a;b'); y = 2; x\n",
        ):
            with self.subTest(code=code):
                self.assertIsNotNone(in_two(code, "<cell 1>"))

    def test_a_name_is_looked_up_as_python_does(self):
        variables = {"x": 1, "None": 2, "__builtins__": {"y": 3}}
        cells = ("x", 1), ("z = 5\nz\n", 5), ("y", 3), ("None", None), ("", None), ("z = 6; z", 6)
        for code, value in cells:
            self.assertEqual(program.execute(code, "<cell 1>", variables, None, []), value, code)
        for code in ("x\n\nmissing", "x\n\ny = x; missing"):
            try:
                program.execute(code, "<cell 1>", variables, None, [])
                self.fail("there is no such variable")
            except NameError as problem:
                trace = problem.__traceback__
            while trace.tb_next:
                trace = trace.tb_next
            frame = trace.tb_frame.f_code
            self.assertEqual((frame.co_filename, trace.tb_lineno), ("<cell 1>", 3))
            if hasattr(frame, "co_positions"):  # where the marks below the line are
                column = code.index("missing") - code.rindex("\n") - 1
                self.assertEqual(list(frame.co_positions())[trace.tb_lasti // 2], (3, 3, column, column + 7))

    @staticmethod
    def statements(parts):
        """A head without statements is left out by one way, and code that does nothing for the other."""
        nothing = view(compile("", "<cell 1>", "exec", 0, True))
        return [code for code in map(view, parts[0]) if code != nothing]


if __name__ == "__main__":
    unittest.main()
