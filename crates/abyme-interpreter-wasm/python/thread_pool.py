"""`multiprocessing.pool.ThreadPool` on top of the executor in pool.py: Python's own needs pipes."""

import multiprocessing
import multiprocessing.pool
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import as_completed, wait
from time import monotonic

from _abyme.errors import hide_frames_of
from _abyme.pool import ThreadPoolExecutor

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)


class AsyncResult:
    """What `apply_async`, `map_async` and `starmap_async` return."""

    def __init__(self, futures, combine, callback, error_callback):
        self._futures = futures
        self._combine = combine
        self._callback, self._error_callback = callback, error_callback
        self._left = len(futures)
        for future in futures:
            future.add_done_callback(self._one_is_done)
        if not futures and callback is not None:
            callback(self.get())

    def get(self, timeout=None):
        """The result, or the exception of the first item that failed."""
        deadline = None if timeout is None else monotonic() + timeout
        results = []
        for future in self._futures:
            left = None if deadline is None else max(deadline - monotonic(), 0.0)
            try:
                results.append(future.result(left))
            except FutureTimeout:
                if future.done():
                    raise
                raise multiprocessing.TimeoutError from None
        return self._combine(results)

    def wait(self, timeout=None):
        """Wait until all is done."""
        wait(self._futures, timeout)

    def ready(self):
        """Whether all is done."""
        return not self._left

    def successful(self):
        """Whether nothing failed."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return all([future.exception() is None for future in self._futures])

    def _one_is_done(self, _future):
        self._left -= 1
        if self._left or (self._callback is None and self._error_callback is None):
            return
        try:
            value = self.get()
        except Exception as problem:
            if self._error_callback is not None:
                self._error_callback(problem)
        else:
            if self._callback is not None:
                self._callback(value)


class Results:
    """What `imap` and `imap_unordered` return."""

    def __init__(self, futures):
        self._futures = futures

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self, timeout=None):
        """The next result."""
        try:
            return next(self._futures).result(timeout)
        except FutureTimeout:
            raise multiprocessing.TimeoutError from None


class ThreadPool:
    """A pool of threads with the interface of `multiprocessing.Pool`."""

    def __init__(self, processes=None, initializer=None, initargs=()):
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        self._executor = ThreadPoolExecutor(processes, initializer=initializer, initargs=initargs)

    def apply(self, func, args=(), kwds={}):
        """Call `func(*args, **kwds)` in the pool and wait for it."""
        return self._submit(func, args, kwds).result()

    def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
        """`apply` without waiting."""
        return AsyncResult([self._submit(func, args, kwds)], _only, callback, error_callback)

    def map(self, func, iterable, chunksize=None):
        """Call `func` for each item; a list of the results in their order."""
        return self.map_async(func, iterable).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """`map` without waiting."""
        return AsyncResult([self._submit(func, (item,)) for item in iterable], list, callback, error_callback)

    def starmap(self, func, iterable, chunksize=None):
        """`map` with the items as several arguments."""
        return self.starmap_async(func, iterable).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """`starmap` without waiting."""
        return AsyncResult([self._submit(func, item) for item in iterable], list, callback, error_callback)

    def imap(self, func, iterable, chunksize=1):
        """The results one by one, in their order."""
        return Results(iter([self._submit(func, (item,)) for item in iterable]))

    def imap_unordered(self, func, iterable, chunksize=1):
        """The results one by one, as they come."""
        return Results(as_completed([self._submit(func, (item,)) for item in iterable]))

    def close(self):
        """Accept no more."""
        self._executor.shutdown(wait=False)

    def terminate(self):
        """Accept no more, and drop what has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def join(self):
        """Wait until all is done, after `close` or `terminate`."""
        if not self._executor._shutdown:
            raise ValueError("Pool is still running")
        self._executor.shutdown(wait=True)

    def __enter__(self):
        if self._executor._shutdown:
            raise ValueError("Pool not running")
        return self

    def __exit__(self, *_):
        self.terminate()

    def _submit(self, func, args, kwds={}):
        if self._executor._shutdown:
            raise ValueError("Pool not running")
        return self._executor.submit(func, *args, **kwds)


def _only(results):
    return results[0]


def install():
    """Put the pool in the place of Python's own."""
    for cls in (AsyncResult, Results, ThreadPool):
        cls.__module__ = "multiprocessing.pool"
    multiprocessing.pool.ThreadPool = ThreadPool
