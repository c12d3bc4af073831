"""Pools of processes that do not fork: an error in place of a wait that nothing ends.

Such a process starts afresh and imports the functions that it is to run. It finds none of those that a cell
defines. A `multiprocessing.Pool` then loses the task, and the cell waits for it until its time is over.
"""

import sys

from _abyme.errors import hide_frames_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_METHODS = ("apply_async", "_map_async", "imap", "imap_unordered")
_FORKS = sys.version_info < (3, 14)  # unless another way to start processes is asked for by its name
_import = __import__
_PROBLEM = (
    "a pool of the start method {!r} cannot import {}, which a cell defines: use threads "
    "(multiprocessing.pool.ThreadPool), multiprocessing.get_context('fork'), or put the function into a "
    "module in the working directory"
)

hide_frames_of(lambda: None)


def prepare(code):
    """Have the check in place for a cell that may make such a pool."""
    if "multiprocessing" in code and (not _FORKS or "spawn" in code or "forkserver" in code):
        try:
            _import("multiprocessing.pool")
            pools, partial = sys.modules["multiprocessing.pool"], sys.modules["functools"].partial
            if not hasattr(pools.Pool.imap, "checks_functions"):
                for name in _METHODS:
                    setattr(pools.Pool, name, _checking(getattr(pools.Pool, name), pools, partial))
        except Exception:  # this Python has no processes, or a cell broke the module
            pass


def _checking(method, pools, partial):
    def call(self, func, *args, **kwargs):
        called = func
        while isinstance(called, partial):
            called = called.func
        if getattr(called, "__module__", None) == "__main__" and not isinstance(self, pools.ThreadPool):
            start = self._ctx.get_start_method()
            if start != "fork":
                raise ValueError(_PROBLEM.format(start, getattr(called, "__qualname__", called)))
        return method(self, func, *args, **kwargs)

    call.__name__, call.__doc__, call.checks_functions = method.__name__, method.__doc__, True
    return call
