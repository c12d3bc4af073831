"""The driver as a process. The tests make the frames that it reads."""

import os
import random
import signal
import struct
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import Session, full, load  # noqa: E402

ECHO = {"functions": [{"name": "echo", "parameters": [{"name": "x", "default": None}]}]}
POOL = "from concurrent.futures import ThreadPoolExecutor as Pool\n"


def echo(_name, _args, kwargs):
    return kwargs["x"]


class StdioCase(unittest.TestCase):
    def session(self, answer=echo):
        session = Session(answer)
        self.addCleanup(session.__exit__)
        return session

    def check(self, answer):
        self.assertIsNone(answer["error"], answer["error"])
        return answer

    def value(self, session, code, **fields):
        return self.check(session.run(code, **fields))["value"]["text"]

    def begin(self, session, code, **fields):
        """Start a cell and wait until it calls `echo`: an interrupt that comes before its cell is ignored."""
        session.start(code, **fields)
        message = session.receive()
        self.assertEqual(message["type"], "call", message)
        session.reply(message)

    def interrupt(self, session, after=0.0):
        time.sleep(after)
        session.process.send_signal(signal.SIGINT)


class Basics(StdioCase):
    def test_ready(self):
        ready = self.session().ready
        self.assertEqual((ready["type"], ready["protocol"]), ("ready", 1))
        self.assertEqual(ready["python"], ".".join(map(str, sys.version_info[:3])))

    def test_ready_names_an_executable_with_any_characters(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, 'a"b\\c\t\x7f\xe9\U0001f600')
        os.symlink(sys.executable, path)
        session = Session(executable=path)
        self.addCleanup(session.__exit__)
        self.assertEqual(session.ready["executable"], path)
        self.assertEqual(session.ready["pid"], session.process.pid)

    def test_interrupts_before_the_first_cell_are_ignored(self):
        session = self.session()
        for _ in range(20):
            self.interrupt(session, 0.001)
        self.assertEqual(self.value(session, "6 * 7"), "42")

    def test_cell(self):
        session = self.session()
        answer = self.check(session.run("x = 1\nprint('hi')\nx + 1"))
        self.assertEqual(
            (full(answer["stdout"]), answer["value"]), ("hi\n", {"text": "2", "tail": "", "total": 1})
        )
        self.assertEqual(answer["changed"], [{"name": "x", "type": "int", "summary": "int"}])

    def test_process_state(self):
        session = self.session()
        self.assertEqual(self.value(session, "import sys; sys.argv"), "['abyme']")
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.assertEqual(
            self.value(session, f"{here!r} in sys.path, [m for m in sys.modules if 'abyme' in m]"),
            "(False, [])",
        )
        self.check(
            session.run("import subprocess\nr = subprocess.run(['ls', '/proc/self/fd'], stdout=-1).stdout")
        )
        self.assertEqual(
            self.value(session, "r.split()"), "[b'0', b'1', b'2', b'3']"
        )  # 3 is the directory itself

    def test_shutdown_and_end_of_input(self):
        session = self.session()
        session.run("import threading, time; threading.Thread(target=time.sleep, args=(100,)).start()")
        session.send({"type": "shutdown"})
        self.assertEqual(session.end(), 0)
        session = self.session()
        session.process.stdin.close()
        self.assertEqual(session.end(), 0)

    def test_exit_in_a_cell(self):
        session = self.session()
        self.assertEqual(session.run("import sys; sys.exit(2)")["error"]["type"], "SystemExit")
        self.assertEqual(self.value(session, "1"), "1")
        with self.assertRaises(EOFError):
            session.run("import os; os._exit(3)")
        self.assertEqual(session.end(), 3)

    def test_submit(self):
        session = self.session()
        answer = session.run(
            "try: SUBMIT(1, b={2})\nexcept: pass",
            scope={"outputs": [{"name": "a", "type": "int"}, {"name": "b", "type": "list"}]},
        )
        self.assertEqual(
            [(m["via"], m["fields"]) for m in answer["submits"]], [("SUBMIT", {"a": 1, "b": [2]})]
        )
        self.assertEqual(session.run("FINAL(None)")["submits"][0]["value"], None)

    def test_early_output_arrives_before_death(self):
        session = self.session()
        session.start("print('early'); echo(1); import os; os._exit(1)", scope=ECHO)
        self.assertEqual(session.receive()["text"], "early\n")


class ValuesOnTheWire(StdioCase):
    def test_round_trip(self):
        session = self.session()
        session.run("", scope=ECHO)
        values = (
            "[None, True, 0, -2**63, 2**63-1, 1.0, 1e22, -0.0, '', 'é\\u2028', [], {}, b'', b'\\xff' * 9000"
        )
        values += ", {'$a': [1]}, {'$text': 0}, {'a': {'$': 1}}, 'x' * 8191, 'é' * 8192]"
        answer = self.check(session.run(f"v = {values}", reads=["v"]))
        self.assertEqual(repr(answer["variables"]["v"]), repr(eval(values)))
        answer = self.check(
            session.run(
                "v = [2**63, float('nan')], [float('inf')] * 3, [1e308] * 3, [2**63] * 2", reads=["v"]
            )
        )
        self.assertEqual(
            repr(answer["variables"]["v"]),
            repr([[2**63, float("nan")], [float("inf")] * 3, [1e308] * 3, [2**63] * 2]),
        )

    def test_lone_surrogates(self):
        answer = self.check(self.session().run("v = ['\\ud800' + 'y' * 9000, '\\udfff']", reads=["v"]))
        self.assertEqual(answer["variables"]["v"], ["?" + "y" * 9000, "?"])

    def test_big_integers(self):
        session = self.session()
        session.start("v = 10**5000", reads=["v"])
        self.assertEqual(self.value_of_big(session), 1)
        self.assertEqual(
            self.value(
                session,
                "n == 10**5000 + 1, m == -2**64",
                variables={"n": {"$int": "1" + "0" * 4999 + "1"}, "m": {"$int": str(-(2**64))}},
            ),
            "(True, True)",
        )

    def value_of_big(self, session):
        """Read `done` without Python's own limit on digits in the way."""
        if hasattr(sys, "set_int_max_str_digits"):
            before = sys.get_int_max_str_digits()
            sys.set_int_max_str_digits(0)
            self.addCleanup(sys.set_int_max_str_digits, before)
        return self.check(session.finish())["variables"]["v"] // 10**5000

    def test_special_in(self):
        session = self.session()
        fields = {
            "a": {"$float": "nan"},
            "b": {"$dict": [["$x", {"$text": 0}]]},
            "c": {"$bytes": 1},
            "d": [{"$float": "-inf"}],
            "e": 1.0,
        }
        self.assertEqual(
            self.value(session, "a, b, c, d, e", variables=fields, blobs=["é".encode(), b"\0"]),
            "(nan, {'$x': 'é'}, b'\\x00', [-inf], 1.0)",
        )

    def test_surrogates_in_output(self):
        session = self.session()
        self.assertEqual(full(self.check(session.run("print('a\\ud800b')"))["stdout"]), "a?b\n")

    def test_100_mb(self):
        session = self.session()
        size = 100_000_000
        self.assertEqual(
            self.value(
                session, "len(t), t[:2], t[-2:]", variables={"t": {"$text": 0}}, blobs=[b"ab" * (size // 2)]
            ),
            f"({size}, 'ab', 'ab')",
        )
        answer = self.check(session.run("t = t[1:] + 'é'", reads=["t"]))
        self.assertEqual((len(answer["variables"]["t"]), answer["variables"]["t"][-2:]), (size, "bé"))
        self.assertEqual(self.value(session, "len(t)"), str(size))

    def test_many_blobs(self):
        session = self.session()
        count = 5000
        texts = [b"%d" % number * 3000 for number in range(count)]
        answer = self.check(
            session.run("", variables={"v": [{"$text": i} for i in range(count)]}, blobs=texts, reads=["v"])
        )
        self.assertEqual(answer["variables"]["v"], [text.decode() for text in texts])

    def test_values_too_large_for_a_message(self):
        wire = load(("texts", "wire"))
        wire.MAX_SENT_HEADER, wire.MAX_SENT_BLOBS = 1000, 3
        with self.assertRaisesRegex(ValueError, "too large"):
            wire.encode({"value": list(range(1000))}, wire.Blobs())
        with self.assertRaisesRegex(ValueError, "more than 3"):
            wire.pack([b"x"] * 4, wire.Blobs())

    def test_values_that_need_no_packing(self):
        wire = load(("texts", "wire"))
        for value in ("é", "x" * 511, 1, -(1 << 63), True, None, [], {}, {"a": "b", "c": 1, "d": []}):
            with self.subTest(str(value)[:20]):
                self.assertFalse(wire.needs_packing([value]))
                packed = wire.pack(value, blobs := wire.Blobs())
                self.assertEqual(wire.encode_short([value], None), wire.encode([packed], blobs))
        for value in ("x" * 512, 1 << 63, 1.5, b"", [1], {"a": "x" * 512}, {"b": 1, "$a": 1}, {"a": {}}):
            with self.subTest(str(value)[:20]):
                self.assertTrue(wire.needs_packing([None, value]))

    def test_values_that_would_take_too_much_of_the_host(self):
        wire = load(("texts", "wire"))
        deep = [[number] for number in range(1000)]
        for value in ([0] * 10_000, ["a"] * 1000, deep, {str(n): n for n in range(1000)}, [b"x" * 200_000]):
            with self.subTest(str(value)[:20]), self.assertRaisesRegex(ValueError, "more than 100000 bytes"):
                wire.encode(wire.pack(value, blobs := wire.Blobs(100_000)), blobs)
            wire.pack(value, wire.Blobs(1_000_000))

    def test_large_integers_take_no_more_time_than_a_cell_can_wait(self):
        wire = load(("texts", "wire"))
        large = (1 << 399_999) - 1
        self.assertEqual(len(wire.pack([large] * 5, wire.Blobs())), 5)
        self.assertEqual(len(wire.pack([1 << 512] * 10_000, wire.Blobs())), 10_000)
        answer = self.session().run("SUBMIT([(1 << 399_999) - 1] * 1500)")
        self.assertEqual(answer["error"]["type"], "ValueError")
        self.assertIn("its large integers have too many digits", answer["error"]["message"])

    def test_a_value_too_large_for_the_host_is_an_error_of_the_cell(self):
        session = self.session()
        code = "try:\n    SUBMIT([0] * 1_000_000)\nexcept ValueError as e:\n    print(e)\nSUBMIT(7)"
        answer = session.run(code, max_message_bytes=1 << 20)
        self.assertIn("more than 1 MiB of the host's memory", answer["stdout"]["head"])
        self.assertEqual([message["value"] for message in answer["submits"]], [7])
        answer = session.run("SUBMIT([0] * 1_000_000)", max_message_bytes=1 << 20)
        self.assertIn("SUBMIT([0]", answer["error"]["traceback"])
        self.assertNotIn("wire.py", answer["error"]["traceback"])
        answer = session.run("v = [0] * 1_000_000", reads=["v"], max_message_bytes=1 << 20)
        self.assertIn("more than 1 MiB", answer["unreadable"]["v"])
        self.assertEqual(self.value(session, "len(v)"), "1000000")

    def test_an_answer_with_texts_too_large_for_the_host_is_cut(self):
        session = self.session()
        answer = session.run("raise ValueError('x' * 3_000_000)", max_message_bytes=1 << 20)
        self.assertEqual(answer["error"]["type"], "ValueError")
        self.assertLessEqual(max(len(str(text)) for text in answer["error"].values()), 10_000)
        session.run("globals()['v' * 3_000_000] = 1", max_message_bytes=1 << 20)
        self.assertEqual(self.value(session, "1 + 1"), "2")

    def test_large_lists_pass(self):
        session = self.session()
        self.check(session.run("v = ['x' * 1000] * 100_000"))
        self.assertEqual(len(session.run("", reads=["v"])["variables"]["v"]), 100_000)


class Calls(StdioCase):
    def test_errors_by_name(self):
        def answer(name, args, kwargs):
            raise LookupError("not there")

        session = self.session(answer)
        error = session.run("echo(1)", scope=ECHO)["error"]
        self.assertEqual((error["type"], error["message"], error["line"]), ("LookupError", "not there", 1))
        self.assertNotIn("stdio", error["traceback"])

    def test_eight_threads_answered_in_reverse(self):
        session = self.session()
        session.start(POOL + "list(Pool(8).map(echo, range(8)))", scope=ECHO)
        for _ in range(3):
            calls = [session.receive() for _ in range(8)]
            self.assertEqual(len({call["id"] for call in calls}), 8)
            for call in reversed(calls):
                session.reply(call)
            self.assertEqual(session.finish()["value"]["text"], "[0, 1, 2, 3, 4, 5, 6, 7]")
            session.start("list(Pool(8).map(echo, range(8)))")
        [session.reply(session.receive()) for _ in range(8)]
        session.finish()

    def test_many_calls_from_many_threads(self):
        session = self.session()
        answer = session.run(
            POOL + "r = list(Pool(16).map(lambda i: echo(i), range(2000)))\nr == list(range(2000))",
            scope=ECHO,
        )
        self.assertEqual(self.check(answer)["value"]["text"], "True")

    def test_large_values(self):
        session = self.session()
        self.assertEqual(self.value(session, "len(echo('x' * 9_000_000))", scope=ECHO), "9000000")

    def test_leftover_threads(self):
        session = self.session()
        code = """
import threading, time
problems = []
def work():
    while len(problems) < 3:
        try: echo(1)
        except RuntimeError as problem: problems.append(str(problem))
        time.sleep(0.001)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
"""
        self.check(session.run(code, scope=ECHO))
        for number in range(30):
            self.assertEqual(self.value(session, f"time.sleep(0.002); {number}"), str(number))
        self.assertEqual(
            self.value(session, "for t in threads: t.join()\nall('cell' in p for p in problems)"), "True"
        )

    def test_call_left_open_at_the_end(self):
        session = self.session()
        session.start(
            """\
            import threading
            out = []
            def w():
                try: out.append(echo(1))
                except RuntimeError as e: out.append(str(e))
            t = threading.Thread(target=w); t.start()
            import time; time.sleep(0.05)
            """,
            scope=ECHO,
        )
        call = session.receive()
        self.assertEqual(call["type"], "call")
        self.check(session.finish())
        self.assertIn("is over", self.value(session, "t.join(); out"))
        session.reply(call)  # no thread waits for it
        self.assertEqual(self.value(session, "echo(2)"), "2")

    def test_from_signal_handlers_and_finalisers(self):
        session = self.session()
        code = """
import signal
hits = []
def handler(*_):
    try: hits.append(echo('h'))
    except RuntimeError: pass
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
class N:
    def __init__(self): self.me = self
    def __del__(self):
        try: echo('d')
        except RuntimeError: pass
for i in range(1500):
    N()
    assert echo(i) == i
signal.setitimer(signal.ITIMER_REAL, 0)
"""
        self.check(session.run(code, scope=ECHO))
        self.assertEqual(self.value(session, "echo(5)"), "5")

    def test_timeout_handler_that_raises(self):
        session = self.session()
        code = """\
            import signal
            def late(*_): raise TimeoutError('mine')
            signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            echo(1)
            """
        session.start(code, scope=ECHO)
        call = session.receive()
        done = session.finish()
        self.assertEqual(done["error"]["message"], "mine")
        session.reply(call)
        self.assertEqual(self.value(session, "echo(2)"), "2")

    def test_near_the_recursion_limit(self):
        session = self.session()
        answer = session.run("def f():\n    echo(1)\n    f()\nf()", scope=ECHO)
        self.assertEqual(answer["error"]["type"], "RecursionError")
        self.assertEqual(self.value(session, "echo(2)"), "2")


class Output(StdioCase):
    def test_descriptors(self):
        session = self.session()
        answer = self.check(
            session.run("""\
                import os, subprocess
                print('py')
                os.write(1, b'low\\n')
                os.system('echo sys; echo err >&2')
                subprocess.run(['echo', 'sub']);
                """)
        )
        self.assertEqual(
            (sorted(full(answer["stdout"]).split()), full(answer["stderr"])),
            (["low", "py", "sub", "sys"], "err\n"),
        )
        answer = self.check(session.run("e = '€'.encode(); os.write(1, e[:2]); os.write(1, e[2:]);"))
        self.assertEqual(
            full(answer["stdout"]),
            "€",
        )

    def test_a_lot_on_a_descriptor(self):
        session = self.session()
        stream = self.check(session.run("import os\nfor _ in range(200): os.write(1, b'x' * 1_000_000)"))[
            "stdout"
        ]
        self.assertGreater(stream["total"], 0)
        self.assertEqual(stream["total"], int(self.value(session, "200 * 1_000_000")))
        self.assertEqual(len(stream["head"] + stream["tail"]), 10_000)

    def test_endless_child_does_not_block(self):
        session = self.session()
        self.check(session.run("import subprocess\np = subprocess.Popen(['yes'])"))
        self.assertEqual(self.value(session, "p.kill(); p.wait()"), "-9")
        self.assertEqual(full(self.check(session.run("print('clean')"))["stdout"])[-6:], "clean\n")

    def test_memory_stays_flat(self):
        session = self.session()
        rss = "int(open('/proc/self/statm').read().split()[1]) * 4096"
        before = int(self.value(session, rss))
        stream = self.check(session.run("s = 'y' * 1_000_000\nfor _ in range(1000): print(s)"))["stdout"]
        self.assertEqual(stream["total"], 1000 * 1_000_001)
        self.assertLess(int(self.value(session, rss)) - before, 40_000_000)

    def test_fork(self):
        session = self.session()
        code = """\
            import os
            pid = os.fork()
            if pid == 0:
                try: echo(1)
                except RuntimeError as e: print('child:', e)
            else:
                status = os.waitpid(pid, 0)[1]
                print('parent', status)
            """
        answer = self.check(session.run(code, scope=ECHO))
        self.assertEqual((answer["calls"], full(answer["stderr"])), ([], ""))
        self.assertEqual(
            sorted(full(answer["stdout"]).splitlines()),
            ["child: a forked process cannot talk to the host", "parent 0"],
        )
        answer = self.check(session.run("pid = os.fork()\nif not pid: 1/0\nos.waitpid(pid, 0)[1]"))
        self.assertEqual(answer["value"]["text"], "256")
        self.assertIn("ZeroDivisionError", answer["stderr"]["head"])
        self.assertEqual(
            self.value(session, "pid = os.fork()\nif not pid: SUBMIT(1)\nos.waitpid(pid, 0)[1]"), "256"
        )

    def test_multiprocessing(self):
        session = self.session()
        code = """\
            import multiprocessing as m
            def sq(x): return x * x
            with m.get_context('fork').Pool(2) as p: r = p.map(sq, range(5))
            r
            """
        self.assertEqual(self.value(session, code), "[0, 1, 4, 9, 16]")


class Interrupts(StdioCase):
    def test_what_blocks(self):
        session = self.session()
        session.run("import time, threading, re", scope=ECHO)
        for code in (
            "echo()\nwhile True: pass",
            "echo(); time.sleep(60)",
            "echo(); re.match('(a+)+$', 'a' * 40 + 'b')",
            "echo(); threading.Lock().acquire() and (l := threading.Lock()).acquire() and l.acquire()",
            "echo(); threading.Event().wait()",
            "echo(); [0 for _ in iter(int, 1)]",
            "echo()\nwhile True: print('x' * 100)",
            "import subprocess; echo(); subprocess.run(['sleep', '60'])",
            "import asyncio\necho()\nawait asyncio.sleep(60)",
            "class R:\n  def __repr__(self):\n    echo()\n    while True: pass\nR()",
        ):
            self.begin(session, code)
            self.interrupt(session, 0.15)
            began = time.monotonic()
            answer = session.finish()
            self.assertLess(time.monotonic() - began, 20, code)
            self.assertTrue(answer["interrupted"])
            if "__repr__" in code:
                self.assertIn("KeyboardInterrupt", answer["value"]["text"])
            else:
                self.assertEqual(answer["error"]["type"], "KeyboardInterrupt", code)
            self.assertEqual(self.value(session, "1 + 1"), "2")

    def test_waiting_for_a_result(self):
        session = self.session()
        session.start("kept = 1\necho(1)", scope=ECHO)
        call = session.receive()
        self.interrupt(session, 0.05)
        answer = session.finish()
        self.assertEqual((answer["error"]["type"], answer["error"]["line"]), ("KeyboardInterrupt", 2))
        session.reply(call)
        self.assertEqual(self.value(session, "kept, echo(3)"), "(1, 3)")

    def test_waiting_while_a_thread_reads(self):
        session = self.session()
        session.start(
            """\
            import threading, time
            t = threading.Thread(target=echo, args=(1,)); t.start()
            time.sleep(0.05)
            echo(2)
            """,
            scope=ECHO,
        )
        calls = [session.receive(), session.receive()]
        self.interrupt(session, 0.05)
        self.assertEqual(session.finish()["error"]["type"], "KeyboardInterrupt")
        for call in calls:
            session.reply(call)
        self.assertEqual(self.value(session, "t.join(); echo(3)"), "3")

    def test_idle_is_ignored(self):
        session = self.session()
        for _ in range(20):
            self.interrupt(session)
        time.sleep(0.05)
        answer = self.check(session.run("5"))
        self.assertFalse(answer["interrupted"])

    def test_cell_may_catch_it(self):
        session = self.session()
        with tempfile.TemporaryDirectory() as directory:
            # A file says that the cell has begun. A call would send the output, which the interrupt must do.
            begun = os.path.join(directory, "begun")
            code = (
                f"print('early')\ntry:\n    open({begun!r}, 'w').close()\n    for _ in iter(int, 1): x = 0\n"
            )
            session.start(code + "except KeyboardInterrupt: x = 'caught'")
            deadline = time.monotonic() + 20
            while not os.path.exists(begun) and time.monotonic() < deadline:
                time.sleep(0.01)
            self.interrupt(session)
        self.assertEqual(session.receive()["text"], "early\n")
        self.assertTrue(self.check(session.finish())["interrupted"])
        self.assertEqual(self.value(session, "x"), "'caught'")

    def test_swallowed_handler_is_put_back(self):
        session = self.session()
        self.check(
            session.run(
                "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.set_wakeup_fd(-1);",
                scope=ECHO,
            )
        )
        self.begin(session, "echo()\nwhile True: pass")
        self.interrupt(session, 0.1)
        self.assertEqual(session.finish()["error"]["type"], "KeyboardInterrupt")

    def test_tool_module_that_hangs(self):
        session = self.session()
        module = {"name": "t.py", "source": "echo()\nwhile True: pass"}
        self.begin(session, "1", scope={**ECHO, "modules": [module]})
        self.interrupt(session, 0.2)
        error = session.finish()["error"]
        self.assertEqual((error["type"], error["stage"]), ("KeyboardInterrupt", "scope"))

    def test_answer_after_an_interrupt(self):
        session = self.session()
        code = "answer['ready'] = True\nanswer['content'] = 'so far'\necho()\nwhile True: pass"
        self.begin(session, code, scope=ECHO)
        self.interrupt(session, 0.1)
        self.assertEqual([m["value"] for m in session.finish()["submits"]], ["so far"])

    def storm(self, code, rounds, before="pass", spread=0.004):
        """Interrupt `code` at random moments. The session must stay usable and in step after each."""
        session = self.session()
        self.check(session.run(before, scope=ECHO))
        chance = random.Random(7)
        interrupted = 0
        for number in range(rounds):
            timer = threading.Thread(target=self.interrupt, args=(session, chance.random() * spread))
            early = number % 4 == 0  # some come while the cell begins; before that they are ignored
            if early:
                timer.start()
            session.start(code)
            first = session.receive()
            if not early:
                timer.start()
            answer = session.finish(first)
            timer.join()
            interrupted += answer["interrupted"]
            if answer["error"] is not None:
                self.assertEqual(answer["error"]["type"], "KeyboardInterrupt", answer["error"])
            self.assertEqual(self.value(session, f"{number}, echo({number})"), f"({number}, {number})")
        self.assertGreater(interrupted, rounds // 10)

    def test_random_moments_of_calls(self):
        self.storm("for i in range(60): assert echo(i) == i", 100)

    def test_random_moments_of_output(self):
        self.storm("echo()\nfor i in range(3000): print(i, 'x' * 40)", 60)
        self.storm("for i in range(40): print(i); echo(i)", 60)

    def test_random_moments_of_large_values(self):
        self.storm("for i in range(10): assert len(echo('x' * 300_000)) == 300_000", 40)

    def test_random_moments_beside_threads(self):
        """Threads read for the main thread and the other way round.

        (Interrupting a thread pool itself may block in Python's own `threading`, which leaves locks behind.)
        """
        before = """
        import _thread, time
        wrong = []
        def work(number):
            while True:
                try:
                    if echo(number) != number: wrong.append(number)
                except RuntimeError:
                    time.sleep(0.001)
        for number in range(4): _thread.start_new_thread(work, (number,))
        """
        self.storm("for i in range(40): assert echo(i) == i and not wrong", 60, before, 0.02)


class BadInput(StdioCase):
    def refused(self, data):
        session = self.session()
        try:
            session.send_bytes(data)
        except BrokenPipeError:
            pass
        message = session.receive()
        self.assertEqual(message["type"], "fatal")
        self.assertEqual(session.end(), 70)
        return message["message"]

    def frame(self, header, count=0, size=None):
        return b"ABY1" + struct.pack(">II", len(header) if size is None else size, count) + header

    def test_garbage(self):
        self.assertIn("not a frame", self.refused(b"GET / HTTP/1.1\r\n\r\n"))
        self.assertIn("not a frame", self.refused(b"XY"))

    def test_limits(self):
        self.assertIn("limits", self.refused(self.frame(b"", size=(1 << 30) + 1)))
        self.assertIn("limits", self.refused(self.frame(b"", count=(1 << 22) + 1)))
        self.assertIn("limit", self.refused(self.frame(b"", count=1) + struct.pack(">Q", (8 << 30) + 1)))

    def test_bad_headers(self):
        for header in (
            b"",
            b"[1]",
            b"{}",
            b"nope",
            b'{"type": 5}',
            b'{"type":"run"}',
            b'{"type":"run","id":1,"code":5}',
            b'{"type":"unknown"}',
            b'{"type":"run"} x',
            b"\xff\xfe",
            b'{"type":"run","id":1,"code":"","variables":{"a":{"$text":0}}}',
            b'{"type":"run","id":1,"code":"","variables":{"a":{"$odd":0}}}',
            b'{"type":"run","id":1,"code":"","variables":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        ):
            self.refused(self.frame(header))

    def test_truncated(self):
        for data in (
            b"DR",
            b"ABY1\0\0\0\x05\0\0\0\0{",
            b"ABY1\0\0\0\x02\0\0\0\x01" + struct.pack(">Q", 1 << 20) + b"{}abc",
        ):
            session = self.session()
            session.send_bytes(data)
            session.process.stdin.close()
            self.assertEqual(session.end(), 70)

    def test_run_while_running(self):
        session = self.session()
        session.start("echo(1)", scope=ECHO)
        self.assertEqual(session.receive()["type"], "call")
        session.start("2")
        self.assertEqual(session.receive()["type"], "fatal")

    def test_an_audit_hook_that_raises_ends_the_session(self):
        code = """
        import sys
        def hook(event, args):
            if {}: raise RuntimeError('no')
        sys.addaudithook(hook)
        """
        said = {"True": "no", "event == 'compile'": "audit hook", "event == 'exec'": "audit hook"}
        for events, said in said.items():
            session = self.session()
            session.start(code.format(events))
            message = session.receive()
            self.assertEqual(message["type"], "fatal", events)
            self.assertIn(said, message["message"])
        session = self.session()
        session.run("import sys\nraised = []\nadd = getattr(sys, 'addaudit' + 'hook')")
        session.run("add(lambda event, _: 1 / 0 if raised and event == 'compile' else 0)")
        session.run("raised.append(1)")
        session.start("1 + 1")
        self.assertEqual(session.receive()["type"], "fatal")

    def test_pieces(self):
        session = self.session()
        header = b'{"type":"run","id":1,"code":"len(a)","variables":{"a":{"$text":0}}}'
        data = b"ABY1" + struct.pack(">IIQ", len(header), 1, 100_000) + header + b"z" * 100_000
        session.runs = 1
        for start in range(0, 200, 1):
            session.send_bytes(data[start : start + 1])
        session.send_bytes(data[200:])
        self.assertEqual(self.check(session.finish())["value"]["text"], "100000")

    def test_no_memory_for_a_value(self):
        session = self.session()
        self.check(session.run("import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))"))
        session.start("1", variables={"a": {"$bytes": 0}}, blobs=[bytes(700_000_000)])
        self.assertEqual(session.finish()["error"]["type"], "MemoryError")
        session.start("1", variables={"a": {"$bytes": 0}}, blobs=[bytes(1_200_000_000)])
        self.assertEqual(session.finish()["error"]["type"], "MemoryError")
        self.assertEqual(self.value(session, "2"), "2")

    def test_no_memory_for_a_header(self):
        session = self.session()
        limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, ({0} << 20, {0} << 20))"
        self.check(session.run(limit.format(250)))
        items = b"[0" + b",0" * 20_000_000 + b"]"
        for size in (items, items * 8):  # the text fits, its items do not; and not even the text

            def header(start):
                return b'{"type":%s,"value":%s}' % (start, size)

            session.runs += 1
            start = b'"run","id":%d,"code":"1","variables":{"v":1},"junk":""' % session.runs
            data = header(start)
            session.send_bytes(b"ABY1" + struct.pack(">II", len(data), 0) + data)
            problem = session.finish()["error"]
            self.assertEqual((problem["type"], problem["stage"]), ("MemoryError", "scope"))
            session.start("try:\n    echo(1)\nexcept MemoryError as e:\n    print(e)", scope=ECHO)
            call = session.receive()
            data = header(b'"result","call":%d' % call["id"])
            session.send_bytes(b"ABY1" + struct.pack(">II", len(data), 0) + data)
            self.assertIn("does not fit", session.finish()["stdout"]["head"])
        self.assertEqual(self.value(session, "2"), "2")


class Processes(unittest.TestCase):
    def test_pools_that_do_not_fork_know_no_function_of_a_cell(self):
        code = (
            "import functools, multiprocessing\ndef f(n): return n\n"
            "def g(n, m): return n\n"
            "with multiprocessing.get_context('{}').Pool(1) as pool: pool.{}"
        )
        with Session() as s:
            for start in ("spawn", "forkserver"):
                for call in ("map(f, [1])", "apply_async(f, (1,))", "imap(functools.partial(g, m=1), [1])"):
                    error = s.run(code.format(start, call))["error"]
                    self.assertEqual(error["type"], "ValueError", error)
                    self.assertIn("ThreadPool", error["message"])
            done = s.run(code.format("fork", "map(f, [1])"))
            self.assertIsNone(done["error"])
            done = s.run(
                "with open('work.py', 'w') as file: file.write('def f(n): return n + 1')\n"
                "import os, work\n"
                "spawn = multiprocessing.get_context('spawn')\n"
                "try:\n    with spawn.Pool(1) as pool: x = pool.map(work.f, [1])\n"
                "finally: os.remove('work.py')\nx"
            )
            self.assertEqual(done["value"] and done["value"]["text"], "[2]", done)


if __name__ == "__main__":
    unittest.main()
