"""What the process of every peer does: one scenario is prepared, then sampled as often as the benchmark asks.

One JSON object on a line of stdin, one on a line of stdout:

    (start)                               {"version": "dspy 3.4.1, Python 3.11.7"}
    {"scenario": "text-in", "at": 10}     {"ready": true}, or false: the peer has no such thing
    {"sample": true}                      {"seconds": 0.07}

An exception is answered with {"error": "..."}. Only calls of the peer's public interface are timed, and every
result is checked.
"""

import functools
import importlib.metadata
import itertools
import json
import os
import platform
import sys
import time

CELLS = 100
CALLS = 1_000
PROMPTS = 1_000
DELAY = 0.05
LINES = {
    "text-in": "a line of some text, fifty characters long, or so.\n",
    "text-in-cyrillic": "строкатекстаизсорокашестибуквбезпробелов",
}
# Of samples that are not counted. What takes long, or large memory, has fewer of them than the rest.
UNCOUNTED = {"batch": 0, "text-in": 1, "text-in-cyrillic": 1}
OTHER_UNCOUNTED = 3
# More would need ten and more times as much memory in some peers.
MEGABYTES = 100


def timed(work):
    """The seconds that `work` takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def mean(sample):
    """A sample that is the mean of `CELLS` samples in a row: one short cell alone would be slower."""
    return lambda: sum(sample() for _ in range(CELLS)) / CELLS


def counting(run):
    """A sample of cells that count up: `run(count)` takes one, checks the count, and answers its seconds."""
    counts = itertools.count(1)
    return mean(lambda: run(next(counts)))


def check(seen, expected):
    """A sample whose work was not done is none."""
    if seen != expected:
        raise AssertionError(f"expected {expected!r}, got {seen!r:.200}")


def text(scenario, megabytes):
    """The text of a scenario, in megabytes of UTF-8. None: too large for peers."""
    if megabytes > MEGABYTES:
        return None
    line = LINES[scenario]
    return line * (megabytes * 1_000_000 // len(line.encode()))


def chosen(name, at, makers, text_in):
    """The sample of a scenario, made by the maker of that name or, of a text, by `text_in`.

    None: there is no such thing.
    """
    if name in LINES:
        value = text(name, at)
        return None if value is None else functools.partial(text_in, value)
    return makers[name]() if name in makers else None


def brief(error):
    """An error on one line.

    Where it quotes another program's output: what that calls an error, and the cause.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("error: ")), None)
    told = lines[:1] if first is None else lines[first : first + 2]
    return " ".join([f"{type(error).__name__}:", *told])[:500]


def version(package):
    return f"{package} {importlib.metadata.version(package)}, Python {platform.python_version()}"


def serve(package, scenarios):
    """Answer requests until stdin ends.

    `scenarios` makes of a name and a point a function that takes one sample, in seconds; None: no such thing.
    """
    # Peers may print, and one replaces sys.stdout: replies have a stream of their own.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(**message):
        print(json.dumps(message), file=replies, flush=True)

    reply(version=version(package))
    sample = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "scenario" in request:
                name = request["scenario"]
                sample = scenarios(name, request.get("at"))
                if sample is not None:
                    for _ in range(UNCOUNTED.get(name, OTHER_UNCOUNTED)):
                        sample()
                reply(ready=sample is not None)
            else:
                reply(seconds=sample())
        # SystemExit too: the benchmark has to hear of everything.
        except BaseException as error:
            reply(error=brief(error))
