"""`concurrent.futures.ThreadPoolExecutor` for tasks that take turns.

An item whose callable is itself a host function needs no task: the call is started at once and the future
completed when the host answers, so `max_workers` calls are in flight with nothing on the stack. Any other
item runs as a task. A task that has its answer, but has to wait for its turn, has no call in flight, so
another item may begin.
"""

import concurrent.futures
import threading
from collections import deque
from concurrent.futures import thread as _stock
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, LOGGER, CANCELLED, Executor, Future
from itertools import count

from _abyme.errors import hide_frames_of
from _abyme.host import detached, outcome_of
from _abyme.task import Task, strip_context
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
DEFAULT_WORKERS = 32
_active = threading._active
_DONE = (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)


class ThreadPoolExecutor(Executor):
    """Runs callables as tasks; up to `max_workers` of them wait for the host at once."""

    _counter = count().__next__

    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()):
        if max_workers is None:
            max_workers = DEFAULT_WORKERS
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._max_workers = max_workers
        self._thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{type(self)._counter()}"
        self._initializer = initializer
        self._initargs = initargs
        self._threads = set()
        self._idle = []
        self._backlog = deque()
        self._active = 0  # items begun or queued
        self._broken = False
        self._shutdown = False
        self.answered = 0  # how many of the active ones wait for nothing but their turn
        self.may_overlap = max_workers > 1  # a pool of one is there to do one thing after the other

    # ---- for users ----

    def submit(self, fn, /, *args, **kwargs):
        """Schedule `fn(*args, **kwargs)` and return its Future."""
        if self._broken:
            raise _stock.BrokenThreadPool(self._broken)
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        start = None if self._initializer else detached(fn, args, kwargs)
        scheduler.closed(self._add, Item(future, fn, args, kwargs, start))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Accept no more; with `wait`, return when everything is done."""
        self._shutdown = True
        if cancel_futures:
            for item in self._backlog:
                item.future.cancel()
        if wait and not self._is_done():
            scheduler.block(self._is_done)

    def _is_done(self):
        return not self._active and not self._backlog

    # ---- for the scheduler, with the gate closed ----

    def _add(self, item):
        scheduler.current.acted = True
        self._backlog.append(item)
        self.pump()

    def pump(self):
        """Begin what may begin."""
        while self._backlog and not scheduler.stopping and self._active - self.answered < self._max_workers:
            scheduler.pools.add(self)
            item = self._backlog.popleft()
            if item.start is None:
                worker = self._idle.pop() if self._idle else Worker(self)
                worker.item = item
                _active[worker.ident] = worker.thread
                self._active += 1
                scheduler.queue.append(worker)
            elif item.future.set_running_or_notify_cancel():
                self._begin(item)
        if self._is_done():
            scheduler.pools.discard(self)

    def _begin(self, item):
        """Start a host call that no task waits for. Converting its arguments may run code of the cell."""
        number, problem = scheduler.open(item.start)
        if problem is not None:
            scheduler.open(item.future.set_exception, problem)
            return
        self._active += 1
        scheduler.detached += 1
        scheduler.calls[number] = Detached(self, item.future)

    def finished(self):
        """An item is over."""
        self._active -= 1
        if self._is_done():
            scheduler.pools.discard(self)

    def drop(self):
        """Cancel what has not begun: the cell was stopped."""
        while self._backlog:
            cancel(self._backlog.popleft().future)

    def break_down(self):
        """An initializer failed: nothing runs here any more."""
        self._broken = "A thread initializer failed, the thread pool is not usable anymore"
        while self._backlog:
            self._backlog.popleft().future.set_exception(_stock.BrokenThreadPool(self._broken))


class Item:
    """One call that was submitted."""

    __slots__ = ("future", "fn", "args", "kwargs", "start")

    def __init__(self, future, fn, args, kwargs, start):
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.start = start  # begins it as a host call and returns its number; None if it is no host call


class Worker(Task):
    """A thread of a pool: one item after the other, with the same identity."""

    def __init__(self, pool):
        super().__init__(scheduler.new_ident())
        self.pool = pool
        self.item = None
        self._uninitialized = pool._initializer is not None
        self.thread = threading.Thread(name=f"{pool._thread_name_prefix}_{len(pool._threads)}")
        self.thread._ident, self.thread._handle = self.ident, self
        self.thread._started.set()
        pool._threads.add(self.thread)

    def run(self):
        """Run the item; whatever it raises goes to its future."""
        self.waited = 0.0
        item, future = self.item, self.item.future
        if self._uninitialized and not self._initialize():
            future.set_exception(_stock.BrokenThreadPool(self.pool._broken))
            return
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = item.fn(*item.args, **item.kwargs)
        except BaseException as problem:
            strip_context(problem, self.around)
            problem.__traceback__ = problem.__traceback__ and problem.__traceback__.tb_next
            future.set_exception(problem)
        else:
            future.set_result(result)

    def end(self):
        """Make room for the next item."""
        pool, item, self.item = self.pool, self.item, None
        _active.pop(self.ident, None)
        if item.future._state not in _DONE:  # an interrupt came at the wrong moment
            cancel(item.future)
        pool._idle.append(self)
        pool.finished()
        if pool._backlog:
            pool.pump()

    def drop(self):
        """The cell was stopped before the item began."""
        cancel(self.item.future)
        self.item = None
        _active.pop(self.ident, None)
        self.pool._idle.append(self)
        self.pool.finished()

    def is_done(self):
        """For `Thread.is_alive`: a worker lives as long as its pool takes work."""
        return self.pool._shutdown

    def join(self, timeout=None):
        """For `Thread.join`."""
        scheduler.block(self.is_done, timeout)

    def _initialize(self):
        try:
            self.pool._initializer(*self.pool._initargs)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            self.pool.break_down()
            return False
        self._uninitialized = False
        return True


class Detached:
    """A host call in flight that completes a future."""

    __slots__ = ("pool", "future")

    def __init__(self, pool, future):
        self.pool = pool
        self.future = future

    def answer(self, reply):
        """The host has answered. A future may have callbacks, so it is completed with the gate open."""
        self.pool.finished()
        value, problem = outcome_of(reply)
        if problem is None:
            scheduler.open(self.future.set_result, value)
        else:
            scheduler.open(self.future.set_exception, problem)
        if self.pool._backlog:
            self.pool.pump()

    def drop(self):
        """The cell was stopped."""
        cancel(self.future)
        self.pool.finished()


def cancel(future):
    """Cancel a future, running or not, without calling anything of the cell."""
    if future._state not in _DONE:
        future._state = CANCELLED_AND_NOTIFIED
        for waiter in future._waiters:
            waiter.finished_futures.append(future)


def install():
    """Put the executor in the place of Python's own."""
    scheduler.shield(Future.set_result)
    ThreadPoolExecutor.__module__ = _stock.__name__
    _stock.ThreadPoolExecutor = concurrent.futures.ThreadPoolExecutor = ThreadPoolExecutor
