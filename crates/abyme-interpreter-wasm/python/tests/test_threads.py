"""Threads, locks, queues, timers, identity: the programs that people write for real threads."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402

IMPORTS = "import threading, queue, time\nfrom threading import *\n"
START = "for t in ts: t.start()\nfor t in ts: t.join()\n"


class Threads(WorldCase):
    def test_all_in_flight(self):
        seen = self.value(
            IMPORTS + "results = [None] * 8\ndef work(n): results[n] = meet(n, 8)\n"
            "ts = [Thread(target=work, args=(n,)) for n in range(8)]\n" + START + "results",
            "[0, 1, 2, 3, 4, 5, 6, 7]",
        )
        self.assertEqual(seen["most"], 8)

    def test_the_main_code_takes_part(self):
        self.value(
            IMPORTS + "ts = [Thread(target=meet, args=(n, 4)) for n in (1, 2, 3)]\nfor t in ts: t.start()\n"
            "own = meet(0, 4)\nfor t in ts: t.join()\nown",
            "0",
        )

    def test_alive_joined_and_started_once(self):
        self.value(
            IMPORTS + "t = Thread(target=llm_query, args=('x',), name='me')\n"
            "before = t.is_alive(), t.ident\nt.start()\n"
            "during = t.is_alive(), t.ident > 0, t in threading.enumerate()\n"
            "t.join()\nbefore, during, t.is_alive(), t in threading.enumerate(), t.name, active_count()",
            "((False, None), (True, True, True), False, False, 'me', 1)",
        )
        self.fails(IMPORTS + "t = Thread(target=print)\nt.start()\nt.start()", "RuntimeError", "once")
        self.fails(IMPORTS + "Thread(target=print).join()", "RuntimeError", "before it is started")

    def test_join_with_a_timeout(self):
        self.value(
            IMPORTS + "t = Timer(5, print)\nt.start()\nt.join(2)\nalive = t.is_alive()\nt.cancel()\nalive",
            "True",
        )

    def test_a_thread_that_fails_is_reported(self):
        seen = self.run_cell(IMPORTS + "t = Thread(target=lambda: 1 / 0)\nt.start()\nt.join()\n'went on'")
        self.assertEqual((seen["error"], seen["value"]), (None, "'went on'"))
        self.assertIn("Exception in thread Thread-1 (<lambda>):\nTraceback", seen["stderr"])
        self.assertIn("ZeroDivisionError: division by zero", seen["stderr"])
        self.assertNotIn("abyme", seen["stderr"])

    def test_own_excepthook(self):
        self.value(
            IMPORTS + "seen = []\nthreading.excepthook = lambda args: seen.append(args.exc_type.__name__)\n"
            "t = Thread(target=lambda: [].x)\nt.start(); t.join()\n"
            "threading.excepthook = threading.__excepthook__\nseen",
            "['AttributeError']",
        )

    def test_exit_and_submission_end_the_thread_alone(self):
        self.value(IMPORTS + "t = Thread(target=sys.exit)\n"
        "import sys\n".replace("sys.exit)", "__import__('sys').exit)")
                   + "t.start(); t.join()\n'went on'", "'went on'")  # fmt: skip
        seen = self.value(
            IMPORTS + "t = Thread(target=FINAL, args=('kept',))\nt.start(); t.join()\n'went on'", "'went on'"
        )
        self.assertEqual(seen["submitted"], [["FINAL", "kept"]])

    def test_subclass(self):
        self.value(
            IMPORTS + "class Mine(Thread):\n    def run(self): self.answer = llm_query(self.name)\n"
            "ts = [Mine(name=n) for n in 'ab']\n" + START + "[t.answer for t in ts]",
            "['re: a', 're: b']",
        )

    def test_identity_and_locals(self):
        self.value(
            IMPORTS + "data, seen = local(), {}\ndata.x = 'main'\n"
            "def work(n):\n    data.x = n\n    llm_query('x')\n"
            "    seen[n] = data.x, current_thread().name, get_ident()\n"
            "ts = [Thread(target=work, args=(n,), name=f't{n}') for n in range(5)]\n" + START +
            "ok = all(seen[n][:2] == (n, f't{n}') for n in range(5))\n"
            "ok, data.x, len({s[2] for s in seen.values()} | {get_ident()}), current_thread() is "
            "main_thread()",
            "(True, 'main', 6, True)",
        )  # fmt: skip

    def test_locals_of_a_subclass(self):
        """Its `__init__` runs at the first access of each thread; other threads' attributes are not there."""
        self.value(
            IMPORTS + "class Mine(local):\n    def __init__(self, x): self.x = [x]\n"
            "mine, plain, seen = Mine(5), local(), []\nmine.x.append('main'); plain.y = 1\n"
            "def work(): seen.append((mine.x, hasattr(plain, 'y'), sorted(plain.__dict__)))\n"
            "t = Thread(target=work); t.start(); t.join()\ndel plain.y\nseen, mine.x, hasattr(plain, 'y')",
            "([([5], False, [])], [5, 'main'], False)",
        )
        self.fails(IMPORTS + "local(1)", "TypeError", "not supported")

    def test_context_variables_are_not_shared(self):
        self.value(
            IMPORTS + "import contextvars\nv = contextvars.ContextVar('v', default=0)\nv.set(1)\nseen = []\n"
            "def work():\n    seen.append(v.get()); v.set(2)\nt = Thread(target=work); t.start(); t.join()\n"
            "seen, v.get()",
            "([0], 1)",
        )

    def test_raw_threads(self):
        self.value(
            IMPORTS + "import _thread\nbox = queue.Queue()\n"
            "ident = _thread.start_new_thread(lambda a, b: box.put((a, b, get_ident())), (1,), {'b': 2})\n"
            "box.get() == (1, 2, ident)",
            "True",
        )

    def test_prints_belong_to_the_cell(self):
        first, second = self.cells(
            IMPORTS + "Thread(target=print, args=('late',)).start()\nprint('first')", "1"
        )
        self.assertEqual((first["stdout"], second["stdout"]), ("first\nlate\n", ""))

    def test_started_in_a_thread(self):
        self.value(
            IMPORTS + "log = []\ndef inner(): log.append(llm_query('inner'))\n"
            "def outer():\n    t = Thread(target=inner); t.start(); t.join(); log.append('outer')\n"
            "t = Thread(target=outer); t.start(); t.join()\nlog",
            "['re: inner', 'outer']",
        )


class Locks(WorldCase):
    def test_a_lock_held_across_a_host_call(self):
        """While it is held nothing begins on top, so no task waits for a holder beneath it."""
        seen = self.value(
            IMPORTS + "lock, total = Lock(), 0\ndef work(n):\n    global total\n    with lock:\n"
            "        old = total; llm_query('x'); total = old + n\n"
            "ts = [Thread(target=work, args=(n,)) for n in range(6)]\n" + START + "total",
            "15",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (1, 6.0))

    def test_a_lock_after_the_host_call_costs_nothing(self):
        seen = self.value(
            IMPORTS + "lock, log = RLock(), []\ndef work(n):\n    r = llm_query(str(n))\n"
            "    with lock: log.append(r)\n"
            "ts = [Thread(target=work, args=(n,)) for n in range(6)]\n" + START + "len(log)",
            "6",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (6, 1.0))

    def test_a_thread_that_met_a_held_lock_comes_back(self):
        for end in ("t.join(); log", "log"):
            seen = self.cells(
                IMPORTS + "l, log = Lock(), []\ndef work():\n    with l: log.append(llm_query('x'))\n"
                "t, other = Thread(target=work), Thread(target=llm_query, args=('y',))\n"
                f"with l: t.start(); other.start(); other.join()\n{end}",
                "log, t.is_alive()",
            )
            self.assertEqual((seen[1]["value"], seen[0]["stderr"]), ("(['re: x'], False)", ""))
            self.assertEqual(seen[0]["value"], "['re: x']")  # shown after what was left to do is done

    def test_a_lock_that_was_released_costs_nothing(self):
        for use in (
            "l.acquire(); l.release()",
            "with r: pass",
            "r.acquire(); r.release()",
            "s.acquire(); s.release()",
        ):
            seen = self.ok(
                IMPORTS + f"l, r, s = Lock(), RLock(), Semaphore(1)\n{use}\n"
                "ts = [Thread(target=llm_query, args=('x',)) for _ in range(4)]\n" + START
            )
            self.assertEqual(seen["most"], 4)

    def test_a_semaphore_limits(self):
        seen = self.value(
            IMPORTS + "s, log = Semaphore(3), []\ndef work(n):\n    with s: log.append(llm_query(str(n)))\n"
            "ts = [Thread(target=work, args=(n,)) for n in range(12)]\n" + START + "len(log)",
            "12",
        )
        self.assertEqual(seen["most"], 3)

    def test_lock_methods(self):
        self.value(
            IMPORTS + "l = Lock()\na = l.acquire(), l.locked(), l.acquire(False), l.acquire(timeout=0.5)\n"
            "l.release()\n"
            "a, l.locked(), isinstance(l, threading.Lock)",
            "((True, True, False, False), False, True)",
        )
        self.fails(IMPORTS + "Lock().release()", "RuntimeError", "release unlocked lock")
        self.fails(IMPORTS + "RLock().release()", "RuntimeError", "un-acquired")
        self.fails(IMPORTS + "l = Lock(); l.acquire(); l.acquire(False, 1)", "ValueError", "non-blocking")
        self.fails(IMPORTS + "l = Lock(); l.acquire(); l.acquire(timeout=-2)", "ValueError", "non-negative")
        self.value(IMPORTS + "r = RLock()\nwith r:\n    with r: x = r.acquire()\n    r.release()\nx", "True")
        self.fails(IMPORTS + "s = BoundedSemaphore(1)\ns.release()", "ValueError", "too many")
        self.value(
            IMPORTS + "s = Semaphore(1)\ns.acquire(), s.acquire(False), s.acquire(timeout=1)",
            "(True, False, False)",
        )

    def test_a_deadlock_is_an_error(self):
        words = "would wait for ever"
        self.fails(IMPORTS + "l = Lock(); l.acquire(); l.acquire()", "RuntimeError", words)
        self.fails(IMPORTS + "Event().wait()", "RuntimeError", words)
        self.fails(IMPORTS + "queue.Queue().get()", "RuntimeError", words)
        self.fails(IMPORTS + "queue.SimpleQueue().get()", "RuntimeError", words)
        self.fails(IMPORTS + "c = Condition()\nwith c: c.wait()", "RuntimeError", words)
        self.fails(IMPORTS + "Barrier(2).wait()", "RuntimeError", words)
        self.fails(
            IMPORTS + "from concurrent.futures import Future\nFuture().result()", "RuntimeError", words
        )
        self.fails(
            IMPORTS + "from concurrent.futures import *\nl = Lock()\ndef f():\n    with l: return 1\n"
            "with ThreadPoolExecutor() as p:\n    with l: p.submit(f).result()",
            "RuntimeError",
            words,
        )

    def test_after_a_deadlock_the_session_is_as_before(self):
        cells = self.cells(
            IMPORTS + "l = Lock(); l.acquire(); t = Thread(target=print, args=('ran',)); t.start(); "
            "l.acquire()",
            "ts = [Thread(target=llm_query, args=('x',)) for _ in range(4)]\n" + START + "l.release()\n"
            "len(ts)",
        )
        self.assertEqual(cells[0]["stdout"], "ran\n")
        self.assertEqual((cells[1]["value"], cells[1]["most"]), ("4", 4))

    def test_condition_and_event(self):
        self.value(
            IMPORTS + "c, items, log = Condition(), [], []\n"
            "def take():\n    with c:\n        while not items: c.wait()\n        log.append(items.pop())\n"
            "def give():\n    with c: items.append(1); c.notify()\n"
            "ts = [Thread(target=take), Thread(target=give)]\n" + START + "log",
            "[1]",
        )
        self.value(
            IMPORTS + "e, log = Event(), []\ndef wait(n): e.wait(); log.append(n)\n"
            "ts = [Thread(target=wait, args=(n,)) for n in range(3)]\nfor t in ts: t.start()\ntime.sleep(1)\n"
            "log.append('set'); e.set()\nfor t in ts: t.join()\nlog[0], sorted(log[1:]), e.wait(1)",
            "('set', [0, 1, 2], True)",
        )

    def test_barrier(self):
        self.value(
            IMPORTS + "b, log = Barrier(5), []\ndef work(n): log.append(n); b.wait(); log.append('past')\n"
            "ts = [Thread(target=work, args=(n,)) for n in range(5)]\n" + START + "sorted(log[:5]), log[5:]",
            "([0, 1, 2, 3, 4], ['past', 'past', 'past', 'past', 'past'])",
        )


class Queues(WorldCase):
    WORKERS = IMPORTS + (
        "q, log = queue.Queue(), []\ndef worker():\n    while True:\n        item = q.get()\n"
        "        if item is None: break\n        log.append(llm_query(str(item))); q.task_done()\n"
    )

    def test_daemon_workers(self):
        """Idle workers are ended when tasks beneath are to go on, and begin again when there is work."""
        seen = self.cells(
            self.WORKERS + "for _ in range(4): Thread(target=worker, daemon=True).start()\n"
            "for n in range(10): q.put(n)\nq.join()\nlen(log)",
            "for n in range(5): q.put(n)\nq.join()\nlen(log)",
            "q.put(1)\nq.join()\nlen(log)",
        )
        self.assertEqual([(cell["value"], cell["error"], cell["stderr"]) for cell in seen],
                         [("10", None, ""), ("15", None, ""), ("16", None, "")])  # fmt: skip
        self.assertEqual(seen[0]["most"], 4)

    def test_workers_with_sentinels(self):
        self.value(
            self.WORKERS + "for n in range(10): q.put(n)\nfor _ in range(3): q.put(None)\n"
            "ts = [Thread(target=worker) for _ in range(3)]\n" + START + "len(log), q.qsize()",
            "(10, 0)",
        )

    def test_workers_that_begin_before_there_is_work(self):
        """The main code calls the host between puts, so they begin, find nothing, and begin again."""
        self.value(
            self.WORKERS + "ts = [Thread(target=worker) for _ in range(3)]\nfor t in ts: t.start()\n"
            "for n in range(4): q.put(llm_query(str(n), 1))\n"
            "for _ in range(3): q.put(None)\nfor t in ts: t.join()\nlen(log), [t.is_alive() for t in ts]",
            "(4, [False, False, False])",
        )

    def test_sentinels_after_join(self):
        self.value(
            self.WORKERS + "ts = [Thread(target=worker) for _ in range(3)]\nfor t in ts: t.start()\n"
            "for n in range(10): q.put(n)\nq.join()\nfor _ in range(3): q.put(None)\nfor t in ts: t.join()\n"
            "len(log)",
            "10",
        )

    def test_a_thread_that_gets_stuck_half_way_is_ended_with_a_note(self):
        """Each waits for the other twice: the one beneath could go on, but only after the one on top."""
        seen = self.run_cell(
            IMPORTS + "a, b, log = Event(), Event(), []\n"
            "def one(): a.wait(); b.set(); log.append('one')\n"
            "def two(): a.set(); b.wait(); log.append('two')\n"
            "ts = [Thread(target=f) for f in (one, two)]\n" + START + "log"
        )
        self.assertEqual(seen["value"], "['one']")
        self.assertIn("thread Thread-2 (two) was ended: this would wait for ever", seen["stderr"])

    def test_producer_and_consumer(self):
        for size in (0, 2):
            self.value(
                IMPORTS + f"q, log = queue.Queue({size}), []\ndef produce():\n"
                f"    for n in range(6): q.put(llm_query(str(n)))\n"
                "    q.put(None)\ndef consume():\n    while (item := q.get()) is not None: log.append(item)\n"
                "ts = [Thread(target=consume), Thread(target=produce)]\n" + START + "log == [f're: {n}' for "
                "n in range(6)]",
                "True",
            )

    def test_bounded_queue_of_the_main_code(self):
        self.value(
            self.WORKERS + "q.maxsize = 2\nfor _ in range(3): Thread(target=worker, daemon=True).start()\n"
            "for n in range(10): q.put(n)\nq.join()\nlen(log)",
            "10",
        )

    def test_methods(self):
        self.value(
            IMPORTS + "q = queue.PriorityQueue(2)\nq.put(2); q.put(1)\n"
            "try: q.put_nowait(3)\nexcept queue.Full: full = True\na = q.get(), q.get()\n"
            "try: q.get(timeout=1)\nexcept queue.Empty: a += ('late',)\n"
            "try: q.get_nowait()\nexcept queue.Empty: a += ('now',)\nfull, a",
            "(True, (1, 2, 'late', 'now'))",
        )
        self.fails(IMPORTS + "q = queue.Queue(); q.shutdown(); q.put(1)", "queue.ShutDown")
        self.fails(IMPORTS + "q = queue.Queue(); q.shutdown(); q.get()", "queue.ShutDown")
        self.value(
            IMPORTS + "q = queue.SimpleQueue(); q.put(1); q.put_nowait(2)\n"
            "q.qsize(), q.get(), q.get_nowait(), q.empty()",
            "(2, 1, 2, True)",
        )


class Time(WorldCase):
    def test_sleep_lets_others_run(self):
        seen = self.value(
            IMPORTS + "log = []\nt = Thread(target=lambda: log.append(llm_query('x', 2))); t.start()\n"
            "time.sleep(3); log",
            "['re: x']",
        )
        self.assertEqual(seen["seconds"], 3.0)

    def test_sleeps_overlap(self):
        seen = self.value(
            IMPORTS + "ts = [Thread(target=time.sleep, args=(2,)) for _ in range(5)]\n" + START + "1", "1"
        )
        self.assertEqual(seen["seconds"], 2.0)

    def test_polling_ends(self):
        self.value(
            IMPORTS
            + "from concurrent.futures import *\np = ThreadPoolExecutor()\n"
            "f = p.submit(llm_query, 'x', 3)\n"
            "g = p.submit(lambda: llm_query('y'))\nwhile not (f.done() and g.done()): time.sleep(0)\n"
            "f.result() + g.result()".replace("sleep(0)", "sleep(0.5)"),
            "'re: xre: y'",
        )
        self.value(
            IMPORTS + "done = []\nThread(target=lambda: done.append(1)).start()\n"
            "while not done: time.sleep(0)\ndone",
            "[1]",
        )

    def test_wrong_sleeps(self):
        self.fails("import time; time.sleep(-1)", "ValueError", "non-negative")
        self.fails("import time; time.sleep('x')", "TypeError")

    def test_timer(self):
        seen = self.value(
            IMPORTS + "log = []\nt = Timer(3, log.append, ['late']); t.start()\n"
            "log.append(llm_query('x', 1))\n"
            "time.sleep(5)\nlog",
            "['re: x', 'late']",
        )
        self.assertEqual(seen["seconds"], 6.0)

    def test_a_timer_holds_up_no_task_and_can_be_cancelled(self):
        seen = self.value(
            IMPORTS + "log = []\nt = Timer(60, log.append, ['late']); t.start()\nr = llm_query('x', 1)\n"
            "t.cancel(); t.join()\n"
            "log, t.is_alive()",
            "([], False)",
        )
        self.assertEqual(seen["seconds"], 1.0)

    def test_timers_at_the_end_of_the_cell(self):
        seen = self.run_cell(
            IMPORTS + "Timer(1, print, ['soon']).start(); Timer(60, print, ['late']).start()"
        )
        self.assertEqual((seen["stdout"], seen["seconds"]), ("soon\n", 1.0))
        self.assertIn("1 timer was dropped", seen["stderr"])

    def test_a_ticking_daemon_does_not_hold_up_the_main_code(self):
        seen = self.ok(
            IMPORTS + "stop = False\ndef tick():\n    while not stop: print('.', end=''); time.sleep(1)\n"
            "t = Thread(target=tick, daemon=True); t.start()\ntime.sleep(3.5)\nstop = True; t.join()\n"
            "print('end')"
        )
        self.assertEqual((seen["stdout"], seen["seconds"]), ("....end\n", 3.5))

    def test_a_ticking_thread_is_ended_with_a_note(self):
        for wait, note in (("time.sleep(1)", True), ("stop.wait(1)", False)):
            seen = self.run_cell(
                IMPORTS + f"stop = Event()\ndef tick():\n    while not stop.is_set(): {wait}\n"
                "t = Thread(target=tick); t.start()\nr = llm_query('x', 2)\nstop.set(); t.join()\nr"
            )
            self.assertEqual((seen["value"], seen["error"]), ("'re: x'", None))
            self.assertEqual("thread Thread-1 (tick) was ended: this sleeps too long" in seen["stderr"], note)
            self.assertLessEqual(seen["seconds"], 8.0)

    def test_threads_left_behind_end_with_the_cell(self):
        cells = self.cells(
            IMPORTS + "stop = False\ndef nag():\n    while not stop:\n        try: llm_query('left behind')\n"
            "        except Exception: pass\n        time.sleep(0.001)\n"
            "Thread(target=nag, daemon=True).start()",
            "llm_query('next')",
            IMPORTS + "Thread(target=time.sleep, args=(60,)).start()",
            "1",
        )
        self.assertEqual([cell["error"] for cell in cells], [None] * 4)
        self.assertEqual(cells[1]["started"], [["llm_query", "next"]])
        self.assertIn("was ended", cells[2]["stderr"])
        self.assertLessEqual(cells[2]["seconds"], 2.0)
