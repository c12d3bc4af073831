"""asyncio without sockets."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402

A = "import asyncio, time\n"


class Loop(WorldCase):
    def test_sleep_and_gather(self):
        seen = self.value(
            A + "async def f(n):\n    await asyncio.sleep(n)\n    return n\n"
            "async def main(): return await asyncio.gather(*(f(n) for n in (3, 1, 2)))\nasyncio.run(main())",
            "[3, 1, 2]",
        )
        self.assertEqual(seen["seconds"], 3.0)

    def test_top_level_await(self):
        self.value(A + "x = await asyncio.sleep(1, 'x')\nawait asyncio.to_thread(llm_query, x)", "'re: x'")

    def test_to_thread_with_host_functions(self):
        seen = self.value(
            A + "r = await asyncio.gather(*(asyncio.to_thread(llm_query, str(n)) for n in range(30)))\n"
            "r == [f're: {n}' for n in range(30)]",
            "True",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (30, 1.0))

    def test_to_thread_with_functions_of_the_cell(self):
        seen = self.value(
            A + "def work(n): return llm_query(str(n)) + '!'\n"
            "r = await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(10)))\n"
            "r == [f're: {n}!' for n in range(10)]",
            "True",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (10, 1.0))

    def test_run_in_executor(self):
        seen = self.value(
            A + "from functools import partial\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "async def main():\n    loop = asyncio.get_running_loop()\n    pool = ThreadPoolExecutor(2)\n"
            "    return await asyncio.gather(*(loop.run_in_executor(None, meet, n, 3) for n in range(3)),\n"
            "        loop.run_in_executor(pool, partial(llm_query, delay=2), 'x'))\nasyncio.run(main())",
            "[0, 1, 2, 're: x']",
        )
        self.assertEqual(seen["most"], 4)

    def test_semaphore_limits(self):
        seen = self.value(
            A + "async def main():\n    s = asyncio.Semaphore(3)\n    async def f(n):\n"
            "        async with s: return await asyncio.to_thread(llm_query, str(n))\n"
            "    return len(await asyncio.gather(*(f(n) for n in range(9))))\nasyncio.run(main())",
            "9",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (3, 3.0))

    def test_timeouts(self):
        seen = self.value(
            A + "async def main():\n"
            "    try: await asyncio.wait_for(asyncio.to_thread(llm_query, 'x', 10), 2)\n"
            "    except TimeoutError: first = time.monotonic()\n"
            "    try:\n        async with asyncio.timeout(1): await asyncio.sleep(60)\n"
            "    except TimeoutError: return time.monotonic() - first\nasyncio.run(main())",
            "1.0",
        )
        self.assertEqual(seen["seconds"], 10.0)  # `run` waits for the executor

    def test_task_groups(self):
        self.value(
            A + "async def main():\n    async with asyncio.TaskGroup() as g:\n"
            "        ts = [g.create_task(asyncio.to_thread(llm_query, c)) for c in 'ab']\n"
            "    return [t.result() for t in ts]\n"
            "asyncio.run(main())",
            "['re: a', 're: b']",
        )
        self.fails(
            A + "async def main():\n    async with asyncio.TaskGroup() as g:\n"
            "        g.create_task(asyncio.to_thread(fail, 'ValueError', 'm')); "
            "g.create_task(asyncio.sleep(9))\n"
            "asyncio.run(main())",
            "ExceptionGroup",
        )

    def test_queue_event_and_as_completed(self):
        self.value(
            A + "async def main():\n    q, log = asyncio.Queue(2), []\n    async def produce():\n"
            "        for n in range(5): await q.put(await asyncio.to_thread(llm_query, str(n)))\n"
            "        await q.put(None)\n"
            "    async def consume():\n        while (x := await q.get()) is not None: log.append(x)\n"
            "    await asyncio.gather(produce(), consume())\n"
            "    return log == [f're: {n}' for n in range(5)]\n"
            "asyncio.run(main())",
            "True",
        )
        self.value(
            A + "async def main():\n    cs = [asyncio.to_thread(llm_query, str(n), n) for n in (3, 1, 2)]\n"
            "    return [await f for f in asyncio.as_completed(cs)]\nasyncio.run(main())",
            "['re: 1', 're: 2', 're: 3']",
        )

    def test_exceptions(self):
        self.fails(A + "asyncio.run(asyncio.to_thread(fail, 'KeyError', 'm'))", "KeyError", "m")
        seen = self.value(
            A + "r = await asyncio.gather(asyncio.to_thread(fail, 'KeyError', 'm'), asyncio.sleep(1, 2), "
            "return_exceptions=True)\n"
            "r", "[KeyError('m'), 2]")  # fmt: skip
        self.assertEqual(seen["seconds"], 1.0)

    def test_a_busy_loop_lets_others_finish(self):
        self.value(
            A + "async def main():\n    a = asyncio.create_task(asyncio.to_thread(llm_query, 'a', 0))\n"
            "    b = asyncio.create_task(asyncio.to_thread(lambda: 'b'))\n"
            "    while not (a.done() and b.done()): await asyncio.sleep(0)\n"
            "    return a.result() + b.result()\n"
            "asyncio.run(main())",
            "'re: ab'",
        )

    def test_callbacks_from_threads(self):
        self.value(
            A + "import threading\nasync def main():\n    loop = asyncio.get_running_loop()\n"
            "    f = loop.create_future()\n"
            "    threading.Thread(target=lambda: loop.call_soon_threadsafe(f.set_result, "
            "llm_query('x'))).start()\n"
            "    return await f\nasyncio.run(main())",
            "'re: x'",
        )
        self.value(
            A + "import threading\nasync def main():\n    loop, log = asyncio.get_running_loop(), []\n"
            "    async def f(): return await asyncio.sleep(0, 5)\n"
            "    future = asyncio.run_coroutine_threadsafe(f(), loop)\n    await asyncio.sleep(1)\n"
            "    return future.result()\n"
            "asyncio.run(main())",
            "5",
        )

    def test_a_loop_in_a_thread_under_a_loop(self):
        self.value(
            A + "async def inner(): return await asyncio.sleep(1, asyncio.get_running_loop())\n"
            "async def main():\n    other = await asyncio.to_thread(lambda: asyncio.run(inner()))\n"
            "    return other is not asyncio.get_running_loop()\nasyncio.run(main())",
            "True",
        )

    def test_blocking_calls_stay_text(self):
        self.value(A + "async def f(): return llm_query('x').upper()\nasyncio.run(f())", "'RE: X'")

    def test_a_running_loop_is_no_place_for_run(self):
        self.fails(
            A + "async def f():\n    c = asyncio.sleep(0)\n    try: asyncio.run(c)\n    finally: c.close()\n"
            "asyncio.run(f())",
            "RuntimeError",
            "asyncio.run() cannot be called from a running event loop",
        )

    def test_nothing_to_wait_for(self):
        seen, later = self.cells(
            A + "async def f(): await asyncio.Event().wait()\nasyncio.run(f())",
            A + "asyncio.run(asyncio.sleep(1, 5))",
        )
        self.assertEqual(seen["error"]["type"], "RuntimeError")
        self.assertIn("would wait for ever", seen["error"]["message"])
        self.assertEqual((later["value"], later["stderr"]), ("5", ""))

    def test_what_cannot_work_says_so(self):
        for code, words in (
            ("await asyncio.open_connection('localhost', 80)", "no network"),
            ("await asyncio.start_server(print, port=1)", "no network"),
            ("await asyncio.create_subprocess_exec('ls')", "cannot start processes"),
            ("await asyncio.create_subprocess_shell('ls')", "cannot start processes"),
            ("asyncio.get_running_loop().add_reader(0, print)\nawait asyncio.sleep(0)", "cannot watch files"),
        ):
            self.fails(A + code, "NotImplementedError", words)

    def test_other_ways_to_run(self):
        self.value(A + "with asyncio.Runner() as r: x = r.run(asyncio.sleep(1, 3))\nx", "3")
        self.value(
            A + "loop = asyncio.new_event_loop()\n"
            "x = loop.run_until_complete(asyncio.sleep(1, 3)); loop.close(); x",
            "3",
        )
        self.value(A + "asyncio.run(asyncio.sleep(1, 3), loop_factory=asyncio.EventLoop, debug=True)", "3")
