"""The event loop of a session, and host functions that are awaited."""

import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from repl_case import ECHO, ReplCase  # noqa: E402

BATCH = {"name": "batch", "parameters": [{"name": "items", "kind": "var_positional"}]}


class Loop(ReplCase):
    def test_get_event_loop(self):
        main = "import asyncio\nasync def main(): return 5\n"
        run = "asyncio.get_event_loop().run_until_complete(main())"
        self.assertEqual(self.value(main + run), "5")
        self.assertEqual(self.value("await main()"), "5")
        self.assertEqual(self.value(run), "5")
        self.assertEqual(self.value("asyncio.run(main())"), "5")
        self.assertEqual(self.value(run), "5")
        self.assertEqual(self.value("asyncio.get_event_loop().close()"), None)
        self.assertEqual(self.value(run), "5")
        self.assertEqual(self.value("await main()"), "5")

    def test_a_task_goes_on_in_a_later_cell(self):
        self.ok("""\
            import asyncio
            seen = []
            async def work(n):
                for i in range(n):
                    await asyncio.sleep(0.001)
                    seen.append(i)
                return n
            task = asyncio.create_task(work(3))
            await asyncio.sleep(0)
            """)
        self.assertEqual(self.value("seen"), "[]")
        self.assertEqual(self.value("asyncio.run(asyncio.sleep(0, 'other'))"), "'other'")
        self.assertEqual(self.value("await task, seen"), "(3, [0, 1, 2])")
        self.ok("loop = asyncio.get_event_loop()\ntask = loop.create_task(work(1))")
        self.assertEqual(self.value("await task"), "1")
        self.fails("task = asyncio.create_task(work(2))\nawait asyncio.sleep(0)\n1/0", "ZeroDivisionError")
        self.assertEqual(self.value("await task"), "2")

    def test_a_loop_of_the_cells_own(self):
        self.ok("import asyncio\nmine = asyncio.new_event_loop()\nasyncio.set_event_loop(mine)")
        self.assertEqual(self.value("asyncio.get_event_loop() is mine"), "True")
        self.assertEqual(self.value("await asyncio.sleep(0, asyncio.get_running_loop() is mine)"), "True")
        self.ok("mine.close()")
        self.assertEqual(self.value("await asyncio.sleep(0, 7)"), "7")

    def test_what_was_stopped_does_not_go_on(self):
        stopped = """\
            import asyncio
            seen = []
            async def forever():
                while True:
                    await asyncio.sleep(0.001)
                    seen.append(1)
            task = asyncio.create_task(forever())
            await asyncio.sleep(0.01)
            """
        self.assertEqual(self.submitted(stopped + "SUBMIT(1)"), [("SUBMIT", 1)])
        self.assertEqual(self.value("task.cancelled()"), "True")

        def interrupt():
            timer.wait(0.2)
            self.repl.interrupt()

        timer = threading.Event()
        threading.Thread(target=interrupt).start()
        self.fails(stopped + "while True: await asyncio.sleep(0.001)", "KeyboardInterrupt")
        self.assertEqual(self.value("task.cancelled()"), "True")
        self.assertEqual(self.value("n = len(seen)\nawait asyncio.sleep(0.01)\nlen(seen) == n"), "True")

    def test_a_broken_asyncio_is_the_cells_own_matter(self):
        import asyncio

        self.addCleanup(setattr, asyncio, "events", asyncio.events)
        self.ok("import asyncio\nasyncio.events = None")
        self.assertEqual(self.value("1"), "1")


class Awaited(ReplCase):
    def setUp(self):
        super().setUp()
        self.ok(scope={"functions": [ECHO, BATCH]})

    def test_a_host_function_can_be_awaited(self):
        self.assertEqual(self.value("await echo('a')"), "'a'")
        self.assertEqual(self.value("x = await echo(x='b')\nx, type(x) is str"), "('b', True)")
        self.assertEqual(self.value("[await echo(n) for n in 'ab']"), "['a', 'b']")
        code = "async def ask(n): return (await echo(n)).upper()\nawait ask('c')"
        self.assertEqual(self.value(code), "'C'")
        self.host.answer = lambda name, args, kwargs: args
        self.assertEqual(self.value("await batch(1, 2)"), "[1, 2]")

    def test_without_await_it_is_a_plain_function(self):
        self.assertEqual(self.value("import asyncio\nasync def ask(): return echo('d')\nawait ask()"), "'d'")
        self.assertEqual(self.value("await asyncio.sleep(0, echo('e'))"), "'e'")
        self.assertEqual(self.value("await asyncio.to_thread(echo, 'f')"), "'f'")
        code = "class C:\n    def __await__(self):\n        yield from asyncio.sleep(0).__await__()\n"
        self.assertEqual(self.value(code + "        return echo('g')\nawait C()"), "'g'")

    def test_awaited_calls_are_in_flight_together(self):
        barrier = threading.Barrier(4, timeout=10)
        self.host.answer = lambda name, args, kwargs: (barrier.wait(), kwargs["x"])[1]
        code = "import asyncio\nasync def ask(n): return await echo(n)\n"
        self.assertEqual(self.value(code + "await asyncio.gather(*map(ask, range(4)))"), "[0, 1, 2, 3]")

    def test_without_an_event_loop(self):
        code = "async def ask(): return await echo('h')\ntry: ask().send(None)\n"
        self.assertEqual(self.value(code + "except StopIteration as e: r = e.value\nr"), "'h'")

    def test_a_failure_raises_in_place(self):
        def fail(name, args, kwargs):
            raise ValueError("no")

        self.host.answer = fail
        error = self.fails("x = 1\nawait echo('a')", "ValueError")
        self.assertEqual((error["message"], error["line"]), ("no", 2))
        self.assertNotIn("abyme", error["traceback"])

    def test_it_stops_after_a_submission(self):
        code = "try: SUBMIT(1)\nexcept BaseException: pass\nawait echo('a')\nprint('on')"
        answer = self.run_cell(code)
        self.assertEqual((len(self.host.submits), self.host.calls), (1, []))
        self.assertEqual((answer["error"], answer["stdout"]["total"]), (None, 0))

    def test_what_cannot_be_awaited_is_explained(self):
        error = self.fails("import asyncio\nawait asyncio.gather(echo('a'), echo('b'))", "TypeError")
        self.assertIn("asyncio.to_thread(f, x)", error["traceback"])
        error = self.run_cell("task = asyncio.create_task(echo('a'))\nawait task")["error"]
        self.assertIn("asyncio.to_thread(f, x)", error["traceback"])
        error = self.fails("def plain(): return 'x'\nawait plain()", "TypeError")
        self.assertIn("leave `await` out", error["traceback"])


if __name__ == "__main__":
    unittest.main()
