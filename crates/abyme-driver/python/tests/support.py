"""Helpers of the tests: the driver, loaded as PROTOCOL.md says, and an independent codec of its frames."""

import json
import os
import select
import struct
import subprocess
import sys
import textwrap
import time

PYTHON_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = (
    "gate", "given", "capture", "annotations", "convert", "display", "errors", "scope", "sources", "submit",
    "processes", "program", "repl",
)  # fmt: skip


def load(files=FILES):
    """The loader of PROTOCOL.md section 8. Returns the last module."""
    package = type(sys)("_abyme")
    package.__path__ = []
    sys.modules["_abyme"] = package
    try:
        for name in files:
            with open(os.path.join(PYTHON_DIR, name + ".py"), encoding="utf-8") as file:
                text = file.read()
            module = type(sys)("_abyme." + name)
            module.__package__ = "_abyme"
            sys.modules[module.__name__] = module
            exec(compile(text, f"<abyme/{name}.py>", "exec"), module.__dict__)
        return module
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "_abyme"]:
            del sys.modules[name]


def full(stream, streamed=""):
    """The text of a stream of `done`, if it is complete."""
    text = streamed + stream["head"] + stream["tail"]
    assert stream["total"] == len(text), (stream["total"], len(text))
    return text


class Session:
    """A driver process and a host that answers calls with `answer(name, args, kwargs)`."""

    def __init__(self, answer=None, timeout=30, executable=sys.executable):
        self.answer = answer or (lambda name, args, kwargs: None)
        self.timeout = timeout
        self.runs = 0
        self.process = subprocess.Popen(
            [executable, "-I", "-B", os.path.join(PYTHON_DIR, "stdio.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.ready = self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def send_bytes(self, data):
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) :]

    def send(self, message, blobs=()):
        header = json.dumps(message).encode()
        sizes = b"".join(struct.pack(">Q", len(blob)) for blob in blobs)
        self.send_bytes(b"ABY1" + struct.pack(">II", len(header), len(blobs)) + sizes + header)
        for blob in blobs:
            self.send_bytes(blob)

    def _read(self, size):
        data, deadline = bytearray(), time.monotonic() + self.timeout
        while len(data) < size:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no frame within {self.timeout} s")
            piece = self.process.stdout.read(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def receive(self):
        """The next message, with its values as Python objects."""
        magic, header, count = struct.unpack(">4sII", self._read(12))
        assert magic == b"ABY1", magic
        sizes = struct.unpack(f">{count}Q", self._read(8 * count))
        message = json.loads(self._read(header))
        blobs = [self._read(size) for size in sizes]
        return unpack(message, blobs)

    def start(self, code, blobs=(), **fields):
        self.runs += 1
        self.send({"type": "run", "id": self.runs, "code": textwrap.dedent(code), **fields}, blobs)

    def finish(self, message=None):
        """Serve until `done`. Returns it with `output` texts, submissions and calls added.

        `message` is one that was received and not served yet.
        """
        streamed, submits, calls = {"stdout": "", "stderr": ""}, [], []
        while True:
            message = message or self.receive()
            kind = message["type"]
            assert message.get("run", self.runs) == self.runs, message
            if kind == "output":
                streamed[message["stream"]] += message["text"]
            elif kind == "submit":
                submits.append(message)
            elif kind == "call":
                calls.append(message)
                self.reply(message)
            elif kind == "done":
                for name, text in streamed.items():
                    message[name]["head"] = text + message[name]["head"]
                return {**message, "submits": submits, "calls": calls}
            else:
                raise AssertionError(message)
            message = None

    def reply(self, message):
        try:
            value = self.answer(message["name"], message["args"], message["kwargs"])
        except Exception as problem:
            error = {"type": type(problem).__name__, "message": str(problem)}
            self.send({"type": "result", "call": message["id"], "error": error})
        else:
            self.send({"type": "result", "call": message["id"], "value": value})

    def run(self, code, blobs=(), **fields):
        self.start(code, blobs, **fields)
        return self.finish()

    def end(self):
        """Wait for the process to end by itself. Returns its code."""
        return self.process.wait(self.timeout)


def unpack(value, blobs):
    """Abyme JSON as Python objects, written from PROTOCOL.md alone."""
    if isinstance(value, list):
        return [unpack(item, blobs) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        mark, inner = next(iter(value.items()))
        if mark == "$text":
            return blobs[inner].decode()
        if mark == "$bytes":
            return blobs[inner]
        if mark == "$int":
            return int(inner)
        if mark == "$float":
            return float(inner)
        if mark == "$dict":
            return {key: unpack(item, blobs) for key, item in inner}
    return {key: unpack(item, blobs) for key, item in value.items()}
