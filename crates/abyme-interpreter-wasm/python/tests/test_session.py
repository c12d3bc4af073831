"""The session as a whole: traces of the rehearsal, the process, output of C code, the stack, the cost."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402


class NewSession(WorldCase):
    def test_no_trace_of_the_rehearsal(self):
        self.value("import sys, linecache, threading\n"
                   "_before = [n for n in globals() if n in 'x f A answer_one pool _'.split()]\n"
                   "_before, [n for n in linecache.cache if 'cell' in n and n != '<cell 1>'], "
                   "threading.active_count()",
                   "([], [], 1)")  # fmt: skip
        self.value("SHOW_VARS()", "'(no variables yet)'")
        seen = self.fails("1 / 0", "ZeroDivisionError")
        self.assertIn('File "<cell 1>", line 1', seen["error"]["traceback"])
        self.value("answer", "{'value': None, 'content': '', 'ready': False}")
        self.value("import threading; threading.Thread().name", "'Thread-1'")
        self.value("import gc; gc.get_freeze_count() > 10000", "True")

    def test_nothing_of_ours_can_be_imported(self):
        self.value(
            "import sys; [n for n in sys.modules if n.lstrip('_').startswith('abyme') and n != "
            "'_abyme_guest']",
            "[]",
        )
        for name in ("_abyme", "_abyme_wasm", "tasks", "locks", "pool", "prepare", "host", "repl", "driver"):
            self.fails(f"import {name}", "ModuleNotFoundError")

    def test_the_process(self):
        self.value("import sys, os, tempfile\n"
                   "sys.path[0], sys.argv, sys.executable, dict(os.environ), tempfile.gettempdir()",
                   "('', ['abyme'], '', {}, '/tmp')")  # fmt: skip
        self.value("import os; os.getcwd()", repr("/work" if os.path.isdir("/work") else os.getcwd()))
        self.value("__name__, __import__('__main__').__dict__ is globals(), callable(help), callable(exit)",
                   "('__main__', True, True, True)")  # fmt: skip

    def test_sessions_differ(self):
        code = "import random, tempfile\nrandom.random(), next(tempfile._get_candidate_names())"
        one, two = (self.run_cell(code)["value"] for _ in range(2))
        self.assertNotEqual(one, two)

    def test_reseed_after_a_copy(self):
        first, second = self.cells(
            "import random; random.seed(1)", {"code": "random.random()", "copied": True}
        )
        self.assertNotEqual(second["value"], "0.13436424411240122")
        first, second = self.cells("import random; random.seed(1)", "random.random()")
        self.assertEqual(second["value"], "0.13436424411240122")

    def test_a_lack_of_memory_has_its_name(self):
        words = "not enough memory to pass the value on"
        self.fails("too_large()", "MemoryError", words)
        self.fails("import asyncio\nawait asyncio.to_thread(too_large)", "MemoryError", words)
        self.fails("FINAL('too large')", "MemoryError", words)

    def test_modules_of_the_working_directory(self):
        name = f"abyme_test_{os.getpid()}"
        self.value(f"import os, tempfile\nos.chdir(tempfile.mkdtemp())\n"
                   f"with open('{name}.py', 'w') as f: f.write('x = 5')\n"
                   f"import {name}\n{name}.x", "5")  # fmt: skip

    def test_a_cell_may_take_the_signal_handler(self):
        cells = self.cells(
            "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
            {"code": "wait_forever()", "interrupt_after": 2},
            "1",
        )
        self.assertEqual(
            [cell["error"] and cell["error"]["type"] for cell in cells], [None, "KeyboardInterrupt", None]
        )

    def test_broken_modules(self):
        seen = self.cells(
            "import time, threading, signal, queue, asyncio, _thread, builtins, random\n"
            "for m in (time, threading, signal, queue, asyncio, _thread):\n"
            "    for n in dir(m):\n        if n[:2] != '__' and callable(getattr(m, n)):\n"
            "            setattr(m, n, None)\n"
            "builtins.len = builtins.list = None",
            "llm_query('x')",
            {"code": "wait_forever()", "interrupt_after": 1},
            "2",
        )
        self.assertEqual([cell["value"] for cell in seen][1:], ["'re: x'", None, "2"])
        self.assertEqual(seen[2]["error"]["type"], "KeyboardInterrupt")


class Output(WorldCase):
    def test_raw_output_follows(self):
        seen = self.run_cell("print('a')", raw=["b\n", 0, "c"])
        self.assertEqual(seen["stdout"], "a\nb\nc")

    def test_raw_output_left_out_is_counted(self):
        seen = self.run_cell("print('a')", raw=["b\n", 1000, "c"])
        self.assertEqual(
            (seen["stdout_total"], seen["stdout"][:4], seen["stdout"][-1]), (1005, "a\nb\n", "c")
        )

    def test_order_of_output_and_calls(self):
        seen = self.ok("print('before')\nllm_query('x')\nprint('after')")
        self.assertEqual(seen["stdout"], "before\nafter\n")


class Cost(WorldCase):
    def test_a_lone_call_asks_the_host_once(self):
        self.assertEqual(self.ok("llm_query('x')")["waits"], 1)

    def test_recursion_limit_at_full_nesting(self):
        """With 24 tasks on the stack the top one can still recurse several hundred levels."""
        seen = self.value(
            "from concurrent.futures import *\ndef deep(n): return n and deep(n - 1)\n"
            "def helper(n): return llm_query(str(n))\ndef process(n):\n    r = helper(n)\n"
            "    return deep(400)\n"
            "def first(n): deep(400); return process(n)\n"
            "with ThreadPoolExecutor(30) as pool: results = list(pool.map(first, range(60)))\nset(results)",
            "{0}",
        )
        self.assertEqual(seen["most"], 24)

    def test_threads_begin_only_where_there_is_room(self):
        """The main code waits near the recursion limit: nothing begins on top, so nothing fails there."""
        seen = self.value(
            "import threading\nlog = []\ndef work(): log.append(llm_query('x'))\n"
            "def deep(n):\n    if n: return deep(n - 1)\n    return llm_query('own')\n"
            "threading.Thread(target=work).start()\nr = deep(900), len(log)\nllm_query('y')\nr, log",
            "(('re: own', 0), ['re: x'])",
        )
        self.assertEqual(seen["most"], 2)

    def test_frames_and_c_stack_of_each_level(self):
        """What a level costs of Python's two limits. The C limit is far smaller in WebAssembly."""
        seen = self.run_cell(
            "from concurrent.futures import *\n"
            "try: from _testinternalcapi import get_recursion_depth as depth, get_c_recursion_remaining as "
            "left\n"
            "except ImportError: depth = None\n"
            "found = []\ndef process(n):\n    found.append((depth(), left())); return llm_query(str(n))\n"
            "if depth:\n    with ThreadPoolExecutor(24) as pool: list(pool.map(process, range(24)))\n"
            "    print((found[23][0] - found[0][0]) / 23, (found[0][1] - found[23][1]) / 23)"
        )
        self.assertIsNone(seen["error"], seen)
        if not seen["stdout"]:
            self.skipTest("this Python has no _testinternalcapi")
        frames, c_levels = map(float, seen["stdout"].split())
        self.assertLessEqual(frames, 14)
        self.assertLessEqual(c_levels, 5)
