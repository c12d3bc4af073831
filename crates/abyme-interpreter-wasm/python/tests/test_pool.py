"""ThreadPoolExecutor: how many calls are in flight, results, errors, order, nesting."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402

POOL = "from concurrent.futures import *\nimport time, threading\n"


class InFlight(WorldCase):
    def test_chunks_are_processed_together(self):
        seen = self.value(
            POOL + "def process(chunk):\n    return llm_query(chunk.upper()).lower()\n"
            "with ThreadPoolExecutor(8) as pool: results = list(pool.map(process, 'abcdefgh'))\nresults",
            str([f"re: {c}" for c in "abcdefgh"]),
        )
        self.assertEqual((seen["most"], seen["seconds"]), (8, 1.0))

    def test_more_chunks_than_workers(self):
        seen = self.value(
            POOL + "with ThreadPoolExecutor(8) as pool:\n"
            "    results = list(pool.map(lambda n: llm_query(str(n)), range(100)))\n"
            "results == [f're: {n}' for n in range(100)]",
            "True",
        )
        self.assertEqual(seen["most"], 8)
        self.assertLessEqual(seen["seconds"], 13.0)

    def test_two_calls_for_each_item(self):
        seen = self.value(
            POOL + "def process(n): return llm_query(llm_query(str(n), 1 + n % 3), 2)\n"
            "with ThreadPoolExecutor(6) as pool: results = list(pool.map(process, range(30)))\n"
            "results == [f're: re: {n}' for n in range(30)]",
            "True",
        )
        self.assertLessEqual(seen["most"], 6)

    def test_an_item_that_waits_for_its_turn_makes_room(self):
        """One slow call on top holds up the others' turns; meanwhile their places are used."""
        seen = self.value(
            POOL + "def process(n): return llm_query(str(n), 10 if n == 3 else 1)\n"
            "with ThreadPoolExecutor(4) as pool: results = list(pool.map(process, range(16)))\nlen(results)",
            "16",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (4, 10.0))

    def test_a_pool_of_one_does_one_thing_after_the_other(self):
        seen = self.value(
            POOL + "log = []\ndef process(n):\n    log.append(n); llm_query(str(n)); log.append(-n)\n"
            "with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(4) as other:\n"
            "    a = [one.submit(process, n) for n in (1, 2, 3)]\n"
            "    b = [other.submit(lambda: llm_query('x', 5) and None) for n in range(4)]\n"
            "log",
            "[1, -1, 2, -2, 3, -3]",
        )
        self.assertEqual(seen["most"], 5)

    def test_garbage_is_collected_after_a_call_that_could_not_start(self):
        self.value(
            POOL + "import gc\nbefore = gc.get_threshold()\n"
            "with ThreadPoolExecutor(1) as pool: problem = pool.submit(llm_query).exception()\n"
            "type(problem).__name__, gc.get_threshold() == before",
            "('TypeError', True)",
        )

    def test_host_functions_need_no_stack(self):
        seen = self.value(
            POOL + "prompts = [str(n) for n in range(1000)]\n"
            "with ThreadPoolExecutor(50) as pool: results = list(pool.map(llm_query, prompts))\n"
            "results == ['re: ' + p for p in prompts]",
            "True",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (50, 20.0))

    def test_partial_host_functions_need_no_stack(self):
        seen = self.value(
            POOL + "from functools import partial\n"
            "with ThreadPoolExecutor(40) as pool:\n"
            "    futures = [pool.submit(partial(partial(llm_query, delay=3), f'p{n}')) for n in range(40)]\n"
            "[f.result() for f in futures] == [f're: p{n}' for n in range(40)]",
            "True",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (40, 3.0))

    def test_they_go_on_while_the_cell_computes(self):
        seen = self.value(
            POOL + "pool = ThreadPoolExecutor(4)\nf = [pool.submit(llm_query, 'x', 2) for _ in range(4)]\n"
            "own = llm_query('own', 2)\n[own] + [x.result() for x in f]",
            "['re: own', 're: x', 're: x', 're: x', 're: x']",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (5, 2.0))

    def test_nested_pools(self):
        seen = self.value(
            POOL + "def inner(n): return llm_query(str(n))\n"
            "def outer(n):\n"
            "    with ThreadPoolExecutor(3) as p: return list(p.map(inner, [n, n + 1, n + 2]))\n"
            "with ThreadPoolExecutor(3) as pool: results = list(pool.map(outer, [0, 10, 20]))\n"
            "results == [[f're: {n + k}' for k in range(3)] for n in (0, 10, 20)]",
            "True",
        )
        self.assertGreaterEqual(seen["most"], 3)

    def test_forty_workers_are_limited_by_the_stack(self):
        seen = self.value(
            POOL + "with ThreadPoolExecutor(40) as pool:\n"
            "    results = list(pool.map(lambda n: llm_query(str(n)), range(80)))\nlen(results)",
            "80",
        )
        self.assertEqual(seen["most"], 24)


class Results(WorldCase):
    def test_exceptions_reach_their_futures(self):
        self.value(
            POOL + "def process(n):\n    if n % 2: return fail('KeyError', str(n))\n"
            "    return llm_query(str(n))\n"
            "def outcome(f):\n    return repr(f.exception()) if f.exception() else f.result()\n"
            "with ThreadPoolExecutor(4) as pool: futures = [pool.submit(process, n) for n in range(4)]\n"
            "[outcome(f) for f in futures]",
            """['re: 0', "KeyError('1')", 're: 2', "KeyError('3')"]""",
        )

    def test_exceptions_of_host_functions(self):
        self.value(
            POOL + "with ThreadPoolExecutor(4) as pool:\n"
            "    futures = [pool.submit(fail, 'ValueError', 'm'), pool.submit(llm_query), pool.submit(fail, "
            "'Odd', 'o')]\n"
            "[type(f.exception()).__name__ for f in futures], str(futures[0].exception())",
            "(['ValueError', 'TypeError', 'Odd'], 'm')",
        )

    def test_the_traceback_shows_the_cell_only(self):
        seen = self.fails(
            POOL + "def process(n):\n    return fail('ValueError', 'm')\n"
            "with ThreadPoolExecutor(4) as pool: list(pool.map(process, [1]))",
            "ValueError",
        )
        self.assertIn("in process", seen["error"]["traceback"])
        self.assertNotIn("abyme", seen["error"]["traceback"])

    def test_exceptions_are_not_chained_to_those_of_the_waiting_code(self):
        self.value(
            POOL + "pool = ThreadPoolExecutor(2)\nf = pool.submit(lambda: 1 / 0)\n"
            "try:\n    int('x')\nexcept ValueError: problem = f.exception()\nproblem.__context__",
            None,
        )

    def test_as_completed_in_the_order_of_completion(self):
        self.value(
            POOL + "with ThreadPoolExecutor(4) as pool:\n"
            "    futures = {pool.submit(llm_query, str(n), delay=n): n for n in (4, 2, 3, 1)}\n"
            "    order = [futures[f] for f in as_completed(futures)]\norder",
            "[1, 2, 3, 4]",
        )

    def test_wait(self):
        self.value(
            POOL + "pool = ThreadPoolExecutor(4)\nfs = [pool.submit(llm_query, 'x', n) for n in (1, 5)]\n"
            "first = wait(fs, return_when=FIRST_COMPLETED)\nboth = wait(fs)\n"
            "len(first.done), len(first.not_done), len(both.done)",
            "(1, 1, 2)",
        )

    def test_timeouts(self):
        seen = self.value(
            POOL + "pool = ThreadPoolExecutor(4)\nf = pool.submit(llm_query, 'x', 5)\n"
            "try: f.result(timeout=2)\nexcept TimeoutError: late = f.done()\nlate, f.result()",
            "(False, 're: x')",
        )
        self.assertEqual(seen["seconds"], 5.0)

    def test_cancel(self):
        self.value(
            POOL + "ran = []\nwith ThreadPoolExecutor(1) as pool:\n"
            "    fs = [pool.submit(ran.append, n) for n in range(3)]\n    done = fs[1].cancel()\n"
            "done, ran, fs[1].cancelled(), fs[0].cancel()",
            "(True, [0, 2], True, False)",
        )

    def test_callbacks(self):
        self.value(
            POOL + "seen = []\nwith ThreadPoolExecutor(2) as pool:\n"
            "    for f in [pool.submit(llm_query, 'a'), pool.submit(lambda: llm_query('b'))]:\n"
            "        f.add_done_callback(lambda f: seen.append(llm_query(f.result())))\n"
            "sorted(seen)",
            "['re: re: a', 're: re: b']",
        )

    def test_shutdown(self):
        self.fails(
            POOL + "p = ThreadPoolExecutor(2)\np.shutdown()\np.submit(print)",
            "RuntimeError",
            "after shutdown",
        )
        self.value(
            POOL + "p = ThreadPoolExecutor(1)\nfs = [p.submit(llm_query, 'x') for _ in range(3)]\n"
            "p.shutdown(wait=True, cancel_futures=True)\n[f.cancelled() for f in fs]",
            "[False, True, True]",
        )

    def test_initializer_runs_once_for_each_worker(self):
        self.value(
            POOL + "data = threading.local()\nmade = []\ndef init(x):\n    data.x = x; made.append(x)\n"
            "with ThreadPoolExecutor(2, initializer=init, initargs=(7,)) as pool:\n"
            "    results = list(pool.map(lambda n: data.x + n, range(6)))\nresults, len(made) <= 2",
            "([7, 8, 9, 10, 11, 12], True)",
        )

    def test_broken_initializer(self):
        seen = self.run_cell(
            POOL + "pool = ThreadPoolExecutor(2, initializer=lambda: 1 / 0)\nf = pool.submit(print)\n"
            "problem = type(f.exception()).__name__\n"
            "try: pool.submit(print)\nexcept BrokenExecutor: problem += ' again'\nproblem"
        )
        self.assertEqual(seen["value"], "'BrokenThreadPool again'")
        self.assertIn("ZeroDivisionError", seen["stderr"])

    def test_names_and_identities(self):
        self.value(
            POOL + "def who(n):\n    llm_query('x')\n"
            "    return threading.current_thread().name, threading.get_ident()\n"
            "with ThreadPoolExecutor(3, 'w') as pool: found = list(pool.map(who, range(3)))\n"
            "sorted(name for name, _ in found), len({i for _, i in found} | {threading.get_ident()})",
            "(['w_0', 'w_1', 'w_2'], 4)",
        )

    def test_wrong_arguments(self):
        self.fails(POOL + "ThreadPoolExecutor(0)", "ValueError", "greater than 0")
        self.fails(POOL + "ThreadPoolExecutor(initializer=1)", "TypeError", "callable")

    def test_what_is_not_waited_for_is_done_at_the_end_of_the_cell(self):
        first, second = self.cells(
            POOL + "pool = ThreadPoolExecutor(2)\nfs = [pool.submit(llm_query, str(n)) for n in range(4)]\n"
            "g = pool.submit(lambda: llm_query('g') + '!')",
            "[f.done() for f in fs], g.result()",
        )
        self.assertEqual(first["most"], 2)
        self.assertEqual(second["value"], "([True, True, True, True], 're: g!')")
        self.assertEqual(second["started"], [])

    def test_a_submission_in_a_pool(self):
        seen = self.run_cell(
            POOL + "with ThreadPoolExecutor() as pool: pool.submit(FINAL, 'x').result()\nprint('no')"
        )
        self.assertEqual((seen["error"], seen["submitted"], seen["stdout"]), (None, [["FINAL", "x"]], ""))
        seen = self.ok(
            POOL + "with ThreadPoolExecutor() as pool: f = pool.submit(FINAL, 'kept')\n"
            "try: f.result()\nexcept BaseException: print('went on')"
        )
        self.assertEqual((seen["submitted"], seen["stdout"]), ([["FINAL", "kept"]], "went on\n"))
