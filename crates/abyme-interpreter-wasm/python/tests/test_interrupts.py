"""Interrupts, which is what a time limit sends: they stop the whole cell, and the session is as before."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402

IMPORTS = (
    "import threading, time, asyncio, queue\nfrom threading import Thread\nfrom concurrent.futures import *\n"
)
AFTER = IMPORTS + (
    "with ThreadPoolExecutor(4) as pool: r = list(pool.map(lambda n: llm_query(str(n)), range(8)))\n"
    "t = Thread(target=r.append, args=(1,)); t.start(); t.join()\n"
    "async def f(): return await asyncio.to_thread(llm_query, 'x')\n"
    "len(r), asyncio.run(f()), threading.active_count(), threading.current_thread().name"
)


class Interrupts(WorldCase):
    def stopped(self, code, after=5.5, seconds=5.5):
        """The cell is stopped by an interrupt; the next one works, and finds no trace. Answers the first."""
        seen, later = self.cells({"code": IMPORTS + code, "interrupt_after": after}, AFTER)
        self.assertEqual(seen["error"] and seen["error"]["type"], "KeyboardInterrupt", seen)
        self.assertTrue(seen["interrupted"])
        self.assertEqual(seen["seconds"], seconds)
        self.assertIsNone(later["error"], later)
        self.assertEqual(later["value"], "(9, 're: x', 1, 'MainThread')")
        self.assertEqual((later["most"], later["stdout"], later["stderr"]), (4, "", ""))
        self.assertFalse(later["interrupted"])
        return seen

    def test_in_a_host_call(self):
        self.stopped("wait_forever()")

    def test_in_a_host_call_with_others_in_flight(self):
        self.stopped("Thread(target=llm_query, args=('x',)).start()\nwait_forever()")

    def test_in_a_pool(self):
        seen = self.stopped(
            "log = []\ndef process(n):\n    try: return wait_forever()\n    finally: log.append(n)\n"
            "with ThreadPoolExecutor(4) as pool: list(pool.map(process, range(100)))"
        )
        self.assertEqual((seen["most"], len(seen["started"])), (4, 4))

    def test_in_a_pool_that_swallows_everything(self):
        """Models write many bare excepts; the items that follow must not swallow one interrupt each."""
        seen = self.stopped(
            "def process(n):\n    try: return wait_forever()\n    except: return None\n"
            "with ThreadPoolExecutor(4) as pool: list(pool.map(process, range(100)))"
        )
        self.assertEqual(len(seen["started"]), 4)

    def test_in_threads(self):
        seen = self.stopped("ts = [Thread(target=wait_forever) for _ in range(4)]\n"
                            "for t in ts: t.start()\nfor t in ts: t.join()")  # fmt: skip
        self.assertEqual((len(seen["started"]), seen["stderr"]), (4, ""))

    def test_in_detached_calls(self):
        self.stopped("with ThreadPoolExecutor(4) as pool: list(pool.map(lambda f: f(), [wait_forever] * 3))")
        self.stopped(
            "pool = ThreadPoolExecutor(4)\nfs = [pool.submit(wait_forever) for _ in range(9)]\nfs[0].result()"
        )

    def test_in_sleeps_and_waits(self):
        self.stopped("time.sleep(60)")
        self.stopped("t = Thread(target=time.sleep, args=(60,)); t.start(); t.join()")
        self.stopped("pool = ThreadPoolExecutor()\npool.submit(wait_forever)\nqueue.Queue().get(timeout=60)")

    def test_in_asyncio(self):
        self.stopped("asyncio.run(asyncio.sleep(60))")
        self.stopped("await asyncio.gather(asyncio.to_thread(wait_forever), asyncio.sleep(60))")
        self.stopped("async def f(): await asyncio.to_thread(lambda: wait_forever())\nasyncio.run(f())")

    def test_while_a_nested_task_computes(self):
        """The signal meets an open gate in the nested task."""
        seen = self.run_cell(
            IMPORTS + "import signal\nlog = []\ndef work():\n    signal.raise_signal(signal.SIGINT)\n"
            "ts = [Thread(target=work), Thread(target=log.append, args=(1,))]\n"
            "for t in ts: t.start()\ntry:\n    for t in ts: t.join()\n"
            "finally: print(log, [t.is_alive() for t in ts])"
        )
        self.assertEqual((seen["error"]["type"], seen["stdout"], seen["stderr"]),
                         ("KeyboardInterrupt", "[] [False, False]\n", ""))  # fmt: skip

    def test_every_enclosing_wait_is_stopped(self):
        """The thread goes on after it caught the interrupt, but only as far as its next wait."""
        seen = self.stopped(
            "log = []\ndef outer():\n    with ThreadPoolExecutor(1) as p:\n"
            "        try: p.submit(lambda: wait_forever()).result()\n"
            "        except BaseException as e: log.append(type(e).__name__)\n"
            "    log.append('on'); llm_query('no')\n"
            "    log.append('never')\n"
            "t = Thread(target=outer); t.start()\ntry: t.join()\nfinally: print(log)"
        )
        self.assertEqual(seen["stdout"], "['KeyboardInterrupt', 'on']\n")

    def test_the_main_code_may_catch_it(self):
        seen = self.ok(
            IMPORTS + "pool = ThreadPoolExecutor(2)\n"
            "fs = [pool.submit(lambda: wait_forever()) for _ in range(5)]\n"
            "try: fs[0].result()\nexcept KeyboardInterrupt: print('caught', [f.done() for f in fs])\n"
            "with ThreadPoolExecutor(2) as p: print(list(p.map(lambda n: llm_query(n), 'ab')))",
            interrupt_after=2,
        )
        self.assertEqual(seen["stdout"], "caught [True, True, True, True, True]\n['re: a', 're: b']\n")
        self.assertTrue(seen["interrupted"])

    def test_at_any_moment(self):
        """Real signals from another process, at random times: all stop the cell, and leave nothing behind."""
        begin = (
            IMPORTS + "lock, data = threading.Lock(), threading.local()\n"
            "def work(n):\n    with lock: data.n = n\n    return llm_query(str(n))\n"
            "async def ask(n): return await asyncio.to_thread(work, n)\n"
            "async def asks():\n    while True: await asyncio.gather(*(ask(n) for n in range(5)))\n"
        )
        endless = (
            "while True:\n    with ThreadPoolExecutor(3) as pool: list(pool.map(work, range(9)))",
            "while True:\n    with ThreadPoolExecutor(3) as pool: list(pool.map(llm_query, 'abcdef'))",
            "while True:\n    ts = [Thread(target=work, args=(n,)) for n in range(5)]\n"
            "    for t in ts: t.start()\n    for t in ts: t.join()",
            "asyncio.run(asks())",
            "while True:\n    q = queue.Queue()\n"
            "    Thread(target=lambda: [q.put(work(n)) for n in range(3)]).start()\n"
            "    for n in range(3): q.get()",
        )
        cells = [begin]
        for turn in range(20):
            cells += [{"code": endless[turn % len(endless)], "signal_after": 0.002 + 0.0005 * turn}, AFTER]
        seen = self.cells(*cells)[1:]
        for stopped, later in zip(seen[::2], seen[1::2], strict=True):
            self.assertEqual(
                stopped["error"] and stopped["error"]["type"], "KeyboardInterrupt", stopped["error"]
            )
            self.assertEqual((later["error"], later["value"]), (None, "(9, 're: x', 1, 'MainThread')"))

    def test_not_in_the_middle_of_the_standard_library(self):
        """Code of the file `threading.py` is not torn apart; the cell gets the interrupt right after."""
        seen = self.run_cell(
            IMPORTS + "space, log = {}, []\nfile = Thread.join.__code__.co_filename\n"
            "exec(compile('import signal\\n"
            "def f(): signal.raise_signal(2); abs(1); return 1', file, 'exec'), space)\n"
            "try: log.append(space['f']())\nfinally: print(log)"
        )
        self.assertEqual(
            (seen["error"] and seen["error"]["type"], seen["stdout"]), ("KeyboardInterrupt", "[1]\n")
        )

    def test_after_the_code_of_the_cell(self):
        seen, later = self.cells(
            {"code": IMPORTS + "Thread(target=wait_forever).start()\nprint('done')", "interrupt_after": 3},
            AFTER,
        )
        self.assertTrue(seen["interrupted"])
        self.assertEqual((seen["stdout"], seen["seconds"]), ("done\n", 3.0))
        self.assertEqual((later["error"], later["interrupted"]), (None, False))

    def test_a_failed_cell_still_runs_what_it_started(self):
        seen = self.run_cell(IMPORTS + "Thread(target=lambda: print(llm_query('x'))).start()\n1 / 0")
        self.assertEqual((seen["error"]["type"], seen["stdout"]), ("ZeroDivisionError", "re: x\n"))

    def test_a_submission_drops_what_has_not_begun(self):
        seen, later = self.cells(
            IMPORTS + "Thread(target=lambda: print(llm_query('x'))).start()\nFINAL(1)", AFTER
        )
        self.assertEqual(
            (seen["error"], seen["stdout"], seen["started"], seen["submitted"]),
            (None, "", [], [["FINAL", 1]]),
        )
        self.assertEqual(later["value"], "(9, 're: x', 1, 'MainThread')")
