"""What sessions of one process share and what they do not: tests of the files above, with hosts in Python."""

import builtins
import io
import linecache
import os
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DRIVER = os.path.join(HERE, "..", "..", "abyme-driver", "python")


def _load():
    sources = {}
    for directory in (DRIVER, HERE):
        for file in os.listdir(directory):
            if file.endswith(".py"):
                with open(os.path.join(directory, file), encoding="utf-8") as source:
                    sources[file[:-3]] = source.read()
    space = {"__name__": "load"}
    exec(compile(sources["load"], "load.py", "exec"), space)
    return space["load"](sources)


session_module = _load()


class Worker:
    """A session in a thread of its own, as the host has it."""

    def __init__(self, call=None):
        self.pieces, self.cells = [], 0
        self.call = call or (lambda name, args, kwargs: (True, None))
        self._jobs, self._answers = [], []
        self._wake, self._done = threading.Semaphore(0), threading.Semaphore(0)
        # A daemon, so that a test that fails because a session does not end can report it.
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._done.acquire()

    def _serve(self):
        self.session = session_module.Session(
            self.call, lambda *args: None, lambda *args: self.pieces.append(args)
        )
        self._done.release()
        while True:
            self._wake.acquire()
            job = self._jobs.pop()
            if job is None:
                self.session.close()
                return
            self.cells += 1
            self._answers.append(self.session.run_cell(self.cells, job))
            self._done.release()

    def begin(self, code, **request):
        self._jobs.append({"code": code, **request})
        self._wake.release()

    def finish(self):
        self._done.acquire()
        answer = self._answers.pop()
        streamed = {
            name: "".join(text for stream, text in self.pieces if stream == name)
            for name in ("stdout", "stderr")
        }
        self.pieces.clear()
        for name in streamed:
            answer[name] = streamed[name] + answer[name]["head"] + answer[name]["tail"]
        return answer

    def run(self, code, **request):
        self.begin(code, **request)
        return self.finish()

    def close(self):
        self._jobs.append(None)
        self._wake.release()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the session does not close"


class Sharing(unittest.TestCase):
    def setUp(self):
        self.a, self.b = Worker(), Worker()
        self.addCleanup(self.a.close)
        self.addCleanup(self.b.close)

    def value(self, worker, code):
        answer = worker.run(code)
        self.assertIsNone(answer["error"], answer["error"])
        return answer["value"]["text"]

    def test_the_host_keeps_its_streams_and_main(self):
        original, mine = sys.stdout, io.StringIO()
        sys.stdout = mine
        try:
            print("the host's")
            self.assertEqual(self.a.run("print('the session')")["stdout"], "the session\n")
            print("still the host's")
        finally:
            sys.stdout = original
        self.assertEqual(mine.getvalue(), "the host's\nstill the host's\n")
        self.a.run("x = 1")
        self.assertFalse(hasattr(sys.modules["__main__"], "x"))
        self.assertIn("__main__", repr(sys.modules["__main__"]))

    def test_a_stream_is_set_for_one_session(self):
        self.a.run("import sys, io; sys.stdout = mine = io.StringIO()")
        self.assertEqual(self.b.run("print('seen')")["stdout"], "seen\n")
        self.assertEqual(self.a.run("print('back')")["stdout"], "back\n")

    def test_main_is_the_thread_s_session(self):
        self.a.run("x = 'a'")
        self.b.run("x = 'b'")
        self.assertEqual(self.value(self.a, "import __main__; __main__.x"), "'a'")
        self.assertEqual(self.value(self.b, "import __main__; __main__.x"), "'b'")
        self.a.run("__main__.y = 5; del __main__.x")
        code = "(y, 'x' in globals(), 'y' in dir(__main__))"
        self.assertEqual(self.value(self.a, code), "(5, False, True)")

    def test_threads_belong_to_the_session_that_starts_them(self):
        code = (
            "import threading, _thread\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "lock = _thread.allocate_lock()\n"
            "lock.acquire()\n_thread.start_new_thread(lambda: (print('raw'), lock.release()), ())\n"
            "lock.acquire()\n"
            "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
            "ThreadPoolExecutor(1).submit(print, 'pool').result()"
        )
        self.assertEqual(self.a.run(code)["stdout"], "raw\nthread\npool\n")

    def test_a_finished_thread_is_forgotten(self):
        owners = session_module.threads._owners
        before = len(owners)
        self.a.run(
            "import threading\nfor _ in range(5):\n"
            "    t = threading.Thread(target=len, args=('',)); t.start(); t.join()"
        )
        self.assertEqual(len(owners), before)

    def test_a_thread_that_cannot_start_says_so(self):
        answer = self.a.run("import _thread; _thread.start_new_thread(1, ())")
        self.assertEqual(answer["error"]["type"], "TypeError")

    def test_a_sleep_is_interrupted(self):
        begun = threading.Event()
        self.a.run("import time; kept = 1", variables={"begun": begun})
        self.a.begin("begun.set(); time.sleep(60)")
        self.assertTrue(begun.wait(30))
        time.sleep(0.2)
        self.assertTrue(self.a.session.interrupt(self.a.cells))
        answer = self.a.finish()
        self.assertEqual((answer["error"]["type"], answer["interrupted"]), ("KeyboardInterrupt", True))
        self.assertEqual(self.value(self.a, "kept"), "1")

    def test_a_late_interrupt_hits_no_other_cell(self):
        self.a.run("import time")
        late = self.a.cells
        self.assertFalse(self.a.session.interrupt(late))
        self.a.begin("time.sleep(0.3); 'untouched'")
        time.sleep(0.1)
        self.assertFalse(self.a.session.interrupt(late))
        answer = self.a.finish()
        self.assertEqual((answer["error"], answer["interrupted"]), (None, False))

    def test_an_interrupt_that_comes_early_finds_its_cell(self):
        self.a.run("x = 1")
        self.assertFalse(self.a.session.interrupt(self.a.cells + 1))
        answer = self.a.run("while True: pass")
        self.assertEqual((answer["error"]["type"], answer["interrupted"]), ("KeyboardInterrupt", True))
        self.assertEqual(self.value(self.a, "x"), "1")

    def test_waits_are_interrupted(self):
        for code in (
            "import queue; begun.set(); queue.Queue().get()",
            "import asyncio; begun.set(); await asyncio.sleep(60)",
        ):
            begun = threading.Event()
            self.a.begin(code, variables={"begun": begun})
            self.assertTrue(begun.wait(30))
            time.sleep(0.3)
            self.assertTrue(self.a.session.interrupt(self.a.cells))
            self.assertEqual(self.a.finish()["error"]["type"], "KeyboardInterrupt", code)

    def test_a_wake_that_comes_late_shortens_no_sleep(self):
        self.a.run("import time; time.sleep(0.01)")
        self.a.session.sleeper.wake()
        slept = self.value(self.a, "t = time.monotonic(); time.sleep(0.05); time.monotonic() - t >= 0.05")
        self.assertEqual(slept, "True")

    def test_sleep_keeps_its_errors(self):
        for code, kind in (
            ("time.sleep(-1)", "ValueError"),
            ("time.sleep('1')", "TypeError"),
            ("time.sleep()", "TypeError"),
        ):
            self.assertEqual(self.a.run("import time; " + code)["error"]["type"], kind)
        self.assertEqual(self.value(self.a, "time.sleep.__name__, time.sleep(0)"), "('sleep', None)")

    def test_a_kept_stream_is_that_of_the_writer(self):
        self.a.run("import sys, builtins; builtins.kept = sys.stdout")
        self.addCleanup(lambda: delattr(builtins, "kept"))
        answer = self.b.run("kept.write('from b'); kept.flush()")
        self.assertEqual(answer["stdout"], "from b")
        self.assertEqual(self.a.run("1")["stdout"], "")

    def test_no_stream_is_silence(self):
        self.assertIsNone(self.a.run("import sys; sys.stdout = None; print('nowhere')")["error"])

    def test_close_outlasts_those_who_ask_to_end(self):
        worker, closing, closed = Worker(), threading.Event(), threading.Event()
        code = (
            "class Slow:\n    def __del__(self, closing=closing):\n"
            "        closing.set()\n        while True: pass\nit = Slow()"
        )
        worker.run(code, variables={"closing": closing})
        thread = worker.session.thread

        def ask():
            closing.wait(30)
            while not closed.wait(0.02):
                worker.session.abandon()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            worker.close()
        finally:
            closed.set()
            asking.join()
        self.assertNotIn(thread, session_module.threads._owners)

    def test_lines_of_cells_are_the_session_s_own(self):
        self.a.run("import linecache\ndef f(): raise ValueError  # of a")
        self.b.run("import linecache\ndef f(): raise ValueError  # of b")
        self.assertIn("# of a", self.a.run("f()")["error"]["traceback"])
        self.assertIn("# of b", self.b.run("f()")["error"]["traceback"])
        self.assertEqual(linecache.getline("<cell 1>", 1), "")
        linecache.checkcache()
        self.assertIn("# of a", self.a.run("linecache.checkcache(); f()")["error"]["traceback"])

    def test_the_end_forgets_the_lines(self):
        worker = Worker()
        worker.run("import linecache\n1")
        number = worker.session.number
        lines = session_module.proxies.lines
        self.assertTrue([key for key in list(lines) if key[0] == number])
        worker.close()
        self.assertFalse([key for key in list(lines) if type(key) is tuple and key[0] == number])

    def test_proxies_are_installed_again(self):
        for code in (
            "import sys; vars(sys)['stdout'] = None",
            "import sys; sys.modules.pop('__main__')",
            "import linecache; linecache.cache = {}",
        ):
            self.a.run(code)
            answer = self.b.run("import __main__; print(__main__.__name__)")
            self.assertEqual(answer["stdout"], "__main__\n", code)

    def test_threads_are_asked_to_end(self):
        worker = Worker()
        worker.run(
            "import threading\ndef spin():\n    while True: pass\n"
            "for _ in range(2): threading.Thread(target=spin).start()"
        )
        spinning = [thread for thread in session_module.threads.threads_of(worker.session)]
        self.assertEqual(len(spinning), 3)
        worker.close()
        deadline = time.monotonic() + 10
        while session_module.threads.threads_of(worker.session) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(session_module.threads.threads_of(worker.session), [])

    def test_errors_of_host_functions_are_raised(self):
        def call(name, args, kwargs):
            return (False, ("KeyError", "gone")) if kwargs["key"] == "x" else (True, kwargs["key"])

        worker = Worker(call)
        self.addCleanup(worker.close)
        scope = {"functions": [{"name": "get", "doc": "", "parameters": [{"name": "key"}]}]}
        answer = worker.run("try: get('x')\nexcept KeyError as e: seen = str(e)\nseen, get('y')", scope=scope)
        self.assertEqual(answer["value"]["text"], "(\"'gone'\", 'y')")


if __name__ == "__main__":
    unittest.main()
