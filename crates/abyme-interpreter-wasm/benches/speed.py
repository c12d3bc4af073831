"""Pure-Python work, timed inside: the same file runs in a session and with `python3 benches/speed.py`."""

import collections
import json
import random
import re
import time


def timed(name, work):
    """Print the best of three."""
    best = None
    for _ in range(3):
        start = time.perf_counter()
        work()
        taken = time.perf_counter() - start
        best = taken if best is None else min(best, taken)
    print(f"{name:<16}{best:8.3f} s")


def loop():
    total = 0
    for number in range(2_000_000):
        total += number & 7
    return total


def fib(n=25):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


random.seed(1)
WORDS = ["".join(random.choices("abcdefghij", k=7)) for _ in range(1000)]
TEXT = " ".join(random.choices(WORDS, k=1_300_000))
ROWS = [{"id": n, "name": WORDS[n % 1000], "tags": ["a", "b"], "score": n / 7} for n in range(60_000)]
JSON = json.dumps(ROWS)
NUMBERS = [random.random() for _ in range(200_000)]

timed("loop 2M", loop)
timed("fib(25)", fib)
timed("re 10 MB", lambda: len(re.findall(r"\b[a-e]+\b", TEXT)))
timed("split 10 MB", lambda: TEXT.split())
timed("Counter 1.3M", lambda words=TEXT.split(): collections.Counter(words))
timed("json dumps", lambda: json.dumps(ROWS))
timed("json loads", lambda: json.loads(JSON))
timed("sort 200k", lambda: sorted(NUMBERS))
