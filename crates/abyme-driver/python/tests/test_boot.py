"""The driver from a bundle on its stdin: sources, code of this Python, and code that is no use to it."""

import json
import marshal
import os
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import PYTHON_DIR, Session


def sources():
    """All files of the driver, as a bundle has them."""
    names = [name[:-3] for name in os.listdir(PYTHON_DIR) if name.endswith(".py")]
    texts = {}
    for name in set(names) - {"boot", "probe"}:
        with open(os.path.join(PYTHON_DIR, name + ".py"), encoding="utf-8") as file:
            texts[name] = file.read()
    return json.dumps(texts).encode()


def command():
    """What starts a Python that reads a bundle."""
    with open(os.path.join(PYTHON_DIR, "boot.py"), encoding="utf-8") as file:
        return [sys.executable, "-I", "-B", "-c", file.read()]


def bundle(kind, data):
    return kind + struct.pack(">Q", len(data)) + data


class Booted(Session):
    """A session whose driver comes as these bundles: one, and another one if that is asked for."""

    def __init__(self, *bundles):
        self.answer, self.timeout, self.runs, self.asked = None, 30, 0, 0
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command(), stdin=pipe, stdout=pipe, bufsize=0)
        for kind, data in bundles:
            self.send_bytes(bundle(kind, data))
            self.ready = self.receive()
            if self.ready["type"] == "ready":
                break
            assert self.ready == {"type": "sources"}, self.ready
            self.asked += 1


def printed(session):
    return session.run("print(6 * 7)")["stdout"]["head"]


class Boot(unittest.TestCase):
    """How the driver is loaded."""

    def code(self):
        with Booted((b"C", sources())) as session:
            self.assertEqual(printed(session), "42\n")
            return bytes(session.ready["code"])

    def test_sources_alone_bring_no_code(self):
        with Booted((b"J", sources())) as session:
            self.assertNotIn("code", session.ready)
            self.assertEqual(printed(session), "42\n")

    def test_code_that_was_handed_back_is_not_compiled_again(self):
        with Booted((b"M", self.code())) as session:
            self.assertEqual((session.asked, printed(session)), (0, "42\n"))
            self.assertNotIn("code", session.ready)

    def test_code_that_is_no_use_is_replaced_by_sources(self):
        code = self.code()
        for useless in (b"\x00" + code[1:], code[:1000], code[:4], b"", code[:4] + b"N"):
            with Booted((b"M", useless), (b"J", sources())) as session:
                self.assertEqual((session.asked, printed(session)), (1, "42\n"), useless[:20])

    def test_a_file_that_cannot_be_loaded_ends_the_process(self):
        code = self.code()
        files = marshal.loads(code[4:])
        broken = compile("raise ImportError('a library is missing')", "<abyme>/wire.py", "exec")
        files["wire"] = marshal.dumps(broken)
        given = bundle(b"M", code[:4] + marshal.dumps(files))
        done = subprocess.run(command(), input=given, capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout.count(b"ABY1")), (1, 1), done)
        self.assertIn(b"a library is missing", done.stderr)

    def test_nothing_of_the_loading_is_left_to_cells(self):
        modules = "import sys\n[name for name in sys.modules if 'abyme' in name]"
        finders = "[finder for finder in sys.meta_path if type(finder).__name__ == '_Finder']"
        with Booted((b"M", self.code())) as session:
            self.assertEqual(session.run(modules)["value"]["text"], "[]")
            self.assertEqual(session.run(finders)["value"]["text"], "[]")


if __name__ == "__main__":
    unittest.main()
