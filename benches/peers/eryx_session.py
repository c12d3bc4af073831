"""pyeryx with `Session`: CPython for WebAssembly, in the process of the program. It knows no models."""

import pathlib
import tempfile

import common
import eryx


def run(session, code, expected):
    """The seconds of a cell that prints what is expected. There is no value of a last expression."""
    seconds, result = common.timed(lambda: session.execute(code))
    common.check((result.stdout_text, result.stderr_text), (f"{expected}\n", ""))
    return seconds


def scenarios(name, at):
    return common.chosen(name, at, {"start": lambda: start, "cell": cell, "host-call": host_call}, text_in)


def start():
    seconds, session = common.timed(eryx.Session)
    return seconds + run(session, "print(6 * 7)", 42)


def cell():
    session = eryx.Session()
    session.execute("x = 0")
    return common.counting(lambda count: run(session, "x = x + 1\nprint(x)", count))


def echo(value: str):
    return value


def host_call():
    session = eryx.Session(callbacks=[{"name": "echo", "fn": echo, "description": "Answers what it gets."}])
    code = f"for _ in range({common.CALLS}):\n    seen = await echo(value='x')\nprint(seen)"
    return lambda: run(session, code, "x") / common.CALLS


def text_in(value):
    """Sessions take no variables. A file in a shared directory is the fastest of the ways there are.

    As a literal in the code, or as the answer of a callback, it takes more than four times as long.
    """
    with tempfile.TemporaryDirectory() as directory:
        session = eryx.Session(volumes=[(directory, "/input", True)])
        session.execute("1")
        path = pathlib.Path(directory, "text")
        seconds, _ = common.timed(lambda: path.write_text(value, encoding="utf-8"))
        code = "text = open('/input/text', encoding='utf-8').read()\nprint(len(text))"
        return seconds + run(session, code, len(value))


common.serve("pyeryx", scenarios)
