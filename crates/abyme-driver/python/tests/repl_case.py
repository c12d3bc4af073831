"""The base of the tests of Repl: a host that is a few lists, and short ways to run a cell."""

import sys
import textwrap
import unittest

from support import full, load

repl_module = load()

ECHO = {
    "name": "echo",
    "doc": "Say it again.",
    "parameters": [{"name": "x", "annotation": "str"}],
    "returns": "str",
}


class FakeHost:
    def __init__(self):
        self.calls, self.submits, self.pieces = [], [], []
        self.answer = lambda name, args, kwargs: kwargs.get("x")

    def call(self, name, args, kwargs):
        self.calls.append((name, args, kwargs))
        return self.answer(name, args, kwargs)

    def submit(self, via, fields, value):
        self.submits.append((via, fields if fields is not None else value))

    def output(self, stream, text):
        self.pieces.append((stream, text))


class ReplCase(unittest.TestCase):
    def setUp(self):
        kept = sys.stdout, sys.stderr, sys.stdin, sys.modules["__main__"]
        self.addCleanup(self.restore, kept)
        self.host = FakeHost()
        self.repl = repl_module.Repl(self.host)

    @staticmethod
    def restore(kept):
        sys.stdout, sys.stderr, sys.stdin, sys.modules["__main__"] = kept

    def run_cell(self, code="", **request):
        self.host.pieces.clear()
        self.host.submits.clear()
        answer = self.repl.run({"code": textwrap.dedent(code), **request})
        for stream in ("stdout", "stderr"):
            streamed = "".join(text for name, text in self.host.pieces if name == stream)
            answer[stream]["head"] = streamed + answer[stream]["head"]
        return answer

    def ok(self, code="", **request):
        answer = self.run_cell(code, **request)
        self.assertIsNone(answer["error"], answer["error"])
        return answer

    def fails(self, code, kind, stage="run", **request):
        error = self.run_cell(code, **request)["error"]
        self.assertIsNotNone(error)
        self.assertEqual((error["type"], error["stage"]), (kind, stage), error)
        return error

    def value(self, code, **request):
        value = self.ok(code, **request)["value"]
        return value and value["text"]

    def out(self, code, **request):
        return full(self.ok(code, **request)["stdout"])

    def submitted(self, code, **request):
        self.run_cell(code, **request)
        return list(self.host.submits)
