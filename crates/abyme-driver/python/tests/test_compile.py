"""The two ways to compile a cell: by its last line, and by its tree. They must give the same code."""

import itertools
import os
import sys
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import load  # noqa: E402

program = load(("gate", "capture", "annotations", "convert", "display", "errors", "submit", "program"))
by_line, by_tree = program._compile_line, program._compile_parts

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
                found = by_line(code, "<cell 1>")
                if found is None:
                    continue  # the other way is taken, with its code or its error
                taken += 1
                expected = by_tree(code, "<cell 1>")
                self.assertEqual(
                    [view(part) for part in self.parts(found)], [view(part) for part in expected]
                )
        self.assertGreater(taken, 300)

    def test_usual_cells_take_the_short_way(self):
        for code in (
            "x",
            "x = 1\nx",
            "for x in y:\n    z\nprint(x)",
            "import re\n\nre.findall('a', b)[:10]\n\n",
        ):
            with self.subTest(code=code):
                self.assertIsNotNone(by_line(code, "<cell 1>"))

    @staticmethod
    def parts(found):
        """A head without statements is None for one way, and code that does nothing for the other."""
        statements, last = found
        if statements is not None and view(statements) == view(compile("", "<cell 1>", "exec", 0, True)):
            statements = None
        return statements, last


if __name__ == "__main__":
    unittest.main()
