"""Runs in the tested Python: a host in virtual time as `_abyme_guest`, a server that forks for each scenario.

Started as `python3.13 -I world.py <directory>`. Each line of standard input is a scenario, a JSON list of
cells (with `code`, and optionally `interrupt_after` seconds of virtual time, or `signal_after` real ones);
each line of standard output is what came of them. The fork stands for the base image of WebAssembly:
everything is loaded once, every scenario begins with a copy.
"""

import json
import os
import select
import signal
import sys
import time
from _signal import SIGINT, raise_signal

SCOPE = {
    "functions": [
        {
            "name": "llm_query",
            "parameters": [{"name": "prompt", "annotation": "str"}, {"name": "delay", "default": 1.0}],
            "returns": "str",
        },
        {
            "name": "fail",
            "parameters": [{"name": "kind"}, {"name": "message"}, {"name": "delay", "default": 1.0}],
        },
        {"name": "meet", "parameters": [{"name": "n"}, {"name": "of"}]},
        {"name": "wait_forever", "parameters": []},
        {"name": "too_large", "parameters": []},
    ]
}


class Clock:
    """Virtual time, in which an interrupt may come."""

    def __init__(self):
        self.now = 1000.0
        self.interrupt_at = None

    def advance(self, to):
        """Go on to the time `to`, or to the interrupt before it: whether that came."""
        at = self.interrupt_at
        if at is not None and at <= to:
            self.now, self.interrupt_at = max(self.now, at), None
            raise_signal(SIGINT)
            return True
        self.now = max(self.now, to)
        return False

    def sleep(self, seconds):
        """What stands in for `time.sleep`."""
        if not isinstance(seconds, (int, float)):
            raise TypeError(f"'{type(seconds).__name__}' object cannot be interpreted as an integer")
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        until = self.now + seconds
        while self.advance(until):
            pass


class Host:
    """The functions of `_abyme_guest`."""

    def __init__(self, clock):
        self.clock = clock
        self.begin()

    def begin(self):
        """A new cell; the numbers go on."""
        self.calls = {}  # number -> [due or None, reply, reported]
        self.number = getattr(self, "number", 0)
        self.started, self.most, self.submitted, self.pieces, self.waits = [], 0, [], [], 0
        self.meeting = []
        self.raws = {0: None, 1: None}

    def start(self, name, args, kwargs):
        if name == "too_large":  # as `marshal` says without memory
            raise ValueError("unmarshallable object")
        self.number += 1
        self.started.append(
            [name, *args, *[kwargs[key] for key in ("prompt", "message", "n") if key in kwargs]]
        )
        due, reply = self.clock.now + kwargs.get("delay", 0), None
        if name == "llm_query":
            reply = (True, "re: " + kwargs["prompt"])
        elif name == "fail":
            reply = (False, [kwargs["kind"], kwargs["message"]])
        elif name == "meet":
            self.meeting.append(self.number)
            due, reply = None, (True, kwargs["n"])
        else:
            due = None
        self.calls[self.number] = [due, reply, False]
        if name == "meet" and len(self.meeting) == kwargs["of"]:
            for order, number in enumerate(reversed(self.meeting)):  # the last that came is answered first
                self.calls[number][0] = self.clock.now + order + 1
            self.meeting.clear()
        flying = sum(due is None or due > self.clock.now for due, _, _ in self.calls.values())
        self.most = max(self.most, flying)
        return self.number

    def wait(self, number, seconds):
        self.waits += 1
        limit = float("inf") if seconds < 0 else self.clock.now + seconds
        candidates = [
            (due, key)
            for key, (due, _, reported) in self.calls.items()
            if due is not None and (key == number if number else not reported)
        ]
        due, key = min(candidates, default=(float("inf"), 0))
        if due > limit or not key:
            if limit == float("inf"):
                if self.clock.interrupt_at is None:
                    os.write(2, b"the host would wait for ever\n")
                    os._exit(3)
                self.clock.advance(limit)
                return 0
            self.clock.advance(limit)
            return 0
        if self.clock.advance(due):
            return 0
        if not number:
            self.calls[key][2] = True
        return key

    def reply(self, number):
        due, reply, _ = self.calls.pop(number)
        if due is None or due > self.clock.now:
            raise RuntimeError("the call is not finished")
        return reply

    def output(self, stream, text):
        self.pieces.append((stream, text))

    def submit(self, via, fields, value):
        if value == "too large":
            raise SystemError
        self.submitted.append([via, fields if fields is not None else value])

    def raw(self, stream):
        written, self.raws[stream] = self.raws[stream], None
        return written


def send_signal(seconds):
    """Another process that sends a real signal after so many real seconds; returns its id.

    And a second one later: the first is ignored when it comes before the cell runs.
    """
    parent, child = os.getpid(), os.fork()
    if not child:
        for pause in (seconds, 1.0):
            select.select([], [], [], pause)
            os.kill(parent, SIGINT)
        os._exit(0)
    return child


def run_scenario(run, host, clock, cells):
    """Run the cells one after the other; returns what the test looks at."""
    seen = []
    for number, cell in enumerate(cells):
        host.begin()
        began = clock.now
        after = cell.pop("interrupt_after", None)
        clock.interrupt_at = None if after is None else clock.now + after
        if "raw" in cell:
            head, omitted, tail = cell.pop("raw")
            host.raws[0] = (head.encode(), omitted, tail.encode())
        request = {"max_output_chars": 1_000_000, **cell}
        if number == 0:
            request["scope"] = SCOPE
        killer = send_signal(cell["signal_after"]) if "signal_after" in cell else None
        answer = run(request)
        clock.interrupt_at = None
        if killer is not None:
            os.kill(killer, signal.SIGKILL)
            os.waitpid(killer, 0)
        for stream, name in enumerate(("stdout", "stderr")):
            end = answer[name]
            streamed = "".join(text for at, text in host.pieces if at == stream)
            answer[name] = streamed + end["head"] + end["tail"]
            answer[name + "_total"] = end["total"]
        answer["value"] = answer["value"] and answer["value"]["text"]
        answer["seconds"] = round(clock.now - began, 6)
        answer.update(started=host.started, most=host.most, submitted=host.submitted, waits=host.waits)
        seen.append(answer)
    return seen


def serve(run, host, clock):
    """One fork for each line."""
    for line in sys.__stdin__:
        child = os.fork()
        if child:
            status = os.waitpid(child, 0)[1]
            if status:  # without a result
                os.write(1, json.dumps({"broken": f"the session ended, status {status}"}).encode() + b"\n")
            continue
        try:
            signal.alarm(20)  # a scenario that hangs
            result = json.dumps(run_scenario(run, host, clock, json.loads(line)))
        except BaseException:
            import traceback

            result = json.dumps({"broken": traceback.format_exc()})
        os.write(1, result.encode() + b"\n")
        os._exit(0)


def load(directory, host):
    """Import `_abyme_wasm` as the guest does."""
    guest = type(sys)("_abyme_guest")
    for name in ("start", "wait", "reply", "output", "submit", "raw"):
        setattr(guest, name, getattr(host, name))
    sys.modules["_abyme_guest"] = guest
    sys.path.insert(0, directory)
    import _abyme_wasm

    return _abyme_wasm


def main():
    """Virtual time first: everything else binds its functions."""
    clock = Clock()
    time.monotonic = time.time = lambda: clock.now
    time.sleep = clock.sleep
    host = Host(clock)
    module = load(sys.argv[1], host)
    os.write(1, b"ready\n")
    serve(module.run, host, clock)


if __name__ == "__main__":
    main()
