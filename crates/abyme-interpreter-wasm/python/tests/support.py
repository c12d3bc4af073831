"""The base of the tests. Scenarios run in another CPython 3.13: locks and threads are replaced there."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

TESTS = os.path.dirname(os.path.abspath(__file__))
OWN = os.path.dirname(TESTS)
DRIVER = os.path.join(OWN, "..", "..", "abyme-driver", "python")
REASON = "the guest is CPython 3.13, and this is not"
is_guest_version = sys.version_info[:2] == (3, 13)


def lay_out(directory):
    """Put the files where the guest finds them: `/abyme` there."""
    os.makedirs(os.path.join(directory, "driver"))
    for source, target in ((OWN, directory), (DRIVER, os.path.join(directory, "driver"))):
        for name in os.listdir(source):
            if name.endswith(".py"):
                shutil.copy(os.path.join(source, name), target)


class World:
    """The server of world.py."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory()
        files = os.path.join(self._directory.name, "abyme")
        lay_out(files)
        self._process = subprocess.Popen(
            [sys.executable, "-I", os.path.join(TESTS, "world.py"), files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def run(self, cells):
        """Run a scenario."""
        self._process.stdin.write(json.dumps(cells) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the tested Python ended")
        return line

    def close(self):
        """End the server."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._directory.cleanup()


@unittest.skipUnless(is_guest_version, REASON)
class WorldCase(unittest.TestCase):
    """Tests that run scenarios."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.world.close)

    def cells(self, *cells):
        """Run cells (texts, or dicts with `code`) in one session; returns what came of each."""
        cells = [cell if isinstance(cell, dict) else {"code": cell} for cell in cells]
        for cell in cells:
            cell["code"] = textwrap.dedent(cell["code"])
        seen = self.world.run(cells)
        self.assertIsInstance(seen, list, seen)
        return seen

    def run_cell(self, code, **more):
        """Run one cell."""
        return self.cells({"code": code, **more})[0]

    def ok(self, code, **more):
        """Run one cell that has no error and says nothing on stderr."""
        seen = self.run_cell(code, **more)
        self.assertIsNone(seen["error"], seen["error"] and seen["error"]["traceback"])
        self.assertEqual(seen["stderr"], "")
        return seen

    def value(self, code, expected):
        """Run one cell; its last expression is `expected`, as text."""
        seen = self.ok(code)
        self.assertEqual(seen["value"], expected)
        return seen

    def fails(self, code, kind, words="", **more):
        """Run one cell that fails."""
        seen = self.run_cell(code, **more)
        self.assertIsNotNone(seen["error"], seen)
        self.assertEqual(seen["error"]["type"], kind, seen["error"])
        self.assertIn(words, seen["error"]["message"])
        return seen
