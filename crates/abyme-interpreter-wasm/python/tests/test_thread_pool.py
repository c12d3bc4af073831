"""multiprocessing.pool.ThreadPool: results, errors, calls in flight."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402

POOL = "from multiprocessing.pool import ThreadPool\nimport multiprocessing\n"


class Pool(WorldCase):
    def test_items_are_processed_together(self):
        seen = self.value(
            POOL + "with ThreadPool(8) as pool: x = pool.map(lambda c: llm_query(c), 'abcdefgh')\nx",
            str([f"re: {c}" for c in "abcdefgh"]),
        )
        self.assertEqual((seen["most"], seen["seconds"]), (8, 1.0))

    def test_host_functions_need_no_stack(self):
        seen = self.value(
            POOL + "with ThreadPool(50) as pool: x = pool.map(llm_query, map(str, range(100)))\nlen(x)",
            "100",
        )
        self.assertEqual((seen["most"], seen["seconds"]), (50, 2.0))

    def test_the_other_ways(self):
        self.value(
            POOL + "seen = []\n"
            "with ThreadPool(4) as pool:\n"
            "    a = pool.apply(pow, (2, 3)), pool.starmap(pow, [(2, 2), (3, 2)])\n"
            "    a += (list(pool.imap(abs, [-1, -2])),)\n"
            "    b = sorted(pool.imap_unordered(abs, [-3, -4])), pool.map(abs, [])\n"
            "    r = pool.apply_async(pow, (2, 5), callback=seen.append)\n"
            "    m = pool.map_async(abs, [-1, 2], callback=seen.append)\n"
            "    r.wait(); m.wait()\n"
            "    c = r.get(timeout=1), r.ready(), r.successful(), m.get()\n"
            "    pool.close(); pool.join()\n"
            "a, b, c, seen",
            "((8, [4, 9], [1, 2]), ([3, 4], []), (32, True, True, [1, 2]), [32, [1, 2]])",
        )
        self.value(
            "from multiprocessing.dummy import Pool\nwith Pool(2) as pool: x = pool.map(abs, [-1])\nx", "[1]"
        )

    def test_errors(self):
        self.value(
            POOL + "seen = []\npool = ThreadPool(2)\n"
            "r = pool.apply_async(lambda: 1 / 0, error_callback=seen.append)\n"
            "try: r.get()\nexcept ZeroDivisionError as e: seen.append('raised')\n"
            "try: pool.map(lambda n: 1 / n, [1, 0])\nexcept ZeroDivisionError: seen.append('map')\n"
            "pool.terminate()\n"
            "try: pool.map(abs, [1])\nexcept ValueError as e: seen.append(str(e))\n"
            "[str(s) for s in seen], r.successful()",
            "(['division by zero', 'raised', 'map', 'Pool not running'], False)",
        )


if __name__ == "__main__":
    import unittest

    unittest.main()
