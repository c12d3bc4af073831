"""The locks, semaphores and queues of tasks that take turns: blocking means giving others their turn.

These objects need no protection from concurrent access, but an interrupt must not leave one half changed, or
locked by a `with` that never got to its end. So no interrupt is raised in this file: `Scheduler.shield`.
"""

import queue
import threading
from collections import deque
from contextlib import contextmanager
from queue import Empty, Full, ShutDown
from types import GenericAlias, MethodType
from weakref import WeakKeyDictionary, WeakSet

from _abyme.errors import hide_frames_of
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)


def _wait_for(lock, blocking, timeout):
    """The slow half of every `acquire`: whether the lock became free."""
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return False
    if timeout == -1:
        return scheduler.block(lock._free, source=lock)
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return scheduler.block(lock._free, timeout, source=lock)


class Lock:
    """`threading.Lock`. While one is held, host calls run nothing on top of themselves (see tasks.py)."""

    __slots__ = ("_owner", "_epoch", "__weakref__")

    def __init__(self):
        self._owner = None
        self._epoch = -1

    def acquire(self, blocking=True, timeout=-1):
        """As for any lock."""
        if self._owner is not None and not _wait_for(self, blocking, timeout):
            return False
        self._owner = scheduler.current
        self._epoch = scheduler.epoch
        scheduler.held += 1
        return True

    __enter__ = acquire_lock = acquire

    def release(self):
        """As for any lock; any task may do it."""
        if self._owner is None:
            raise RuntimeError("release unlocked lock")
        self._owner = None
        if self._epoch == scheduler.epoch:
            scheduler.held -= 1

    release_lock = release

    def __exit__(self, *_problem):
        if self._owner is None:
            raise RuntimeError("release unlocked lock")
        self._owner = None
        if self._epoch == scheduler.epoch:
            scheduler.held -= 1

    def locked(self):
        """Whether it is held."""
        return self._owner is not None

    locked_lock = locked

    def _free(self):
        return self._owner is None

    def _at_fork_reinit(self):
        self._owner = None

    def __repr__(self):
        state = "unlocked" if self._owner is None else "locked"
        return f"<{state} _thread.lock object at {id(self):#x}>"


class Signal(Lock):
    """The lock on which a `Condition` waits: the waiting task locked it, so it does not count as held."""

    __slots__ = ()

    def acquire(self, blocking=True, timeout=-1):
        """As for any lock."""
        if self._owner is not None:
            if not blocking:
                return False
            if not scheduler.block(self._free, None if timeout == -1 else timeout):
                return False
        self._owner = scheduler.current
        return True

    __enter__ = acquire

    def release(self):
        """As for any lock."""
        if self._owner is None:
            raise RuntimeError("release unlocked lock")
        self._owner = None


class RLock:
    """`threading.RLock`, with what `Condition` wants of it."""

    __slots__ = ("_owner", "_count", "_epoch", "__weakref__")

    def __init__(self):
        self._owner = None
        self._count = 0
        self._epoch = -1

    def acquire(self, blocking=True, timeout=-1):
        """As for any reentrant lock."""
        me = scheduler.current
        if self._owner is me:
            self._count += 1
            return True
        if self._owner is not None and not _wait_for(self, blocking, timeout):
            return False
        self._owner = me
        self._count = 1
        self._epoch = scheduler.epoch
        scheduler.held += 1
        return True

    __enter__ = acquire

    def release(self):
        """As for any reentrant lock."""
        if self._owner is not scheduler.current:
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            if self._epoch == scheduler.epoch:
                scheduler.held -= 1

    def __exit__(self, *_problem):
        if self._owner is not scheduler.current:
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            if self._epoch == scheduler.epoch:
                scheduler.held -= 1

    def _free(self):
        return self._owner is None

    def _is_owned(self):
        return self._owner is scheduler.current

    def _recursion_count(self):
        return self._count if self._owner is scheduler.current else 0

    def _release_save(self):
        if self._owner is not scheduler.current:
            raise RuntimeError("cannot release un-acquired lock")
        count, self._count = self._count, 1
        self.release()
        return count

    def _acquire_restore(self, count):
        self.acquire()
        self._count = count

    def _at_fork_reinit(self):
        self._owner = None
        self._count = 0

    def __repr__(self):
        owner = None if self._owner is None else self._owner.ident
        state = "unlocked" if owner is None else "locked"
        return f"<{state} _thread.RLock object owner={owner} count={self._count} at {id(self):#x}>"


class Semaphore:
    """`threading.Semaphore`. One that began above zero guards something: at zero it is a held lock."""

    def __init__(self, value=1):
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self._value = value
        self._guards = value > 0
        self._epoch = -1  # of the scheduler, when this one was exhausted

    def acquire(self, blocking=True, timeout=None):
        """As for any semaphore."""
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        if not self._value and not (blocking and scheduler.block(self._free, timeout, source=self)):
            return False
        self._value -= 1
        if self._guards and not self._value:
            self._epoch = scheduler.epoch
            scheduler.held += 1
        return True

    __enter__ = acquire

    def release(self, n=1):
        """As for any semaphore."""
        if n < 1:
            raise ValueError("n must be one or more")
        if self._guards and not self._value and self._epoch == scheduler.epoch:
            scheduler.held -= 1
        self._value += n

    def __exit__(self, *_problem):
        self.release()

    def _free(self):
        return self._value > 0

    def __repr__(self):
        return f"<threading.{type(self).__name__} at {id(self):#x}: value={self._value}>"


class BoundedSemaphore(Semaphore):
    """`threading.BoundedSemaphore`."""

    def __init__(self, value=1):
        super().__init__(value)
        self._initial_value = value

    def release(self, n=1):
        """As for any bounded semaphore."""
        if n >= 1 and self._value + n > self._initial_value:
            raise ValueError("Semaphore released too many times")
        super().release(n)


class Event:
    """`threading.Event`."""

    def __init__(self):
        self._flag = False

    def is_set(self):
        """Whether the flag is true."""
        return self._flag

    isSet = is_set

    def set(self):
        """Make the flag true."""
        self._flag = True
        scheduler.current.acted = True
        if scheduler.parked:
            scheduler.unpark()

    def clear(self):
        """Make the flag false."""
        self._flag = False

    def wait(self, timeout=None):
        """Wait until the flag is true; returns whether it is."""
        return self._flag or scheduler.block(self.is_set, timeout, source=self)

    def _at_fork_reinit(self):
        pass

    def __repr__(self):
        return f"<threading.Event at {id(self):#x}: {'set' if self._flag else 'unset'}>"


class SimpleQueue:
    """`queue.SimpleQueue`."""

    def __init__(self):
        self._items = deque()

    def put(self, item, block=True, timeout=None):
        """Put an item; never blocks."""
        self._items.append(item)
        scheduler.current.acted = True
        if scheduler.parked:
            scheduler.unpark()

    def put_nowait(self, item):
        """The same."""
        self.put(item)

    def get(self, block=True, timeout=None):
        """Take the oldest item, or raise `queue.Empty`."""
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if not self._items and not (block and scheduler.block(self._filled, timeout, source=self)):
            raise Empty
        task = scheduler.current
        task.acted, task.took = True, self
        return self._items.popleft()

    def get_nowait(self):
        """The same without waiting."""
        return self.get(False)

    def empty(self):
        """Whether there is nothing in it."""
        return not self._items

    def qsize(self):
        """How much there is in it."""
        return len(self._items)

    def _filled(self):
        return bool(self._items)

    __class_getitem__ = classmethod(GenericAlias)


# ---- methods of queue.Queue ----


def put(self, item, block=True, timeout=None):
    """Put an item. A bounded queue takes more than its size: waiting for consumers would end most of them."""
    if self.is_shutdown:
        raise ShutDown
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    if not block and 0 < self.maxsize <= self._qsize():
        raise Full
    self._put(item)
    self.unfinished_tasks += 1
    scheduler.current.acted = True
    if scheduler.parked:
        scheduler.unpark()
    if self.not_empty._waiters:
        with self.mutex:
            self.not_empty.notify()


def get(self, block=True, timeout=None):
    """Take an item, or raise Empty."""
    if timeout is not None and block and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    if not self._qsize():
        if self.is_shutdown:
            raise ShutDown
        if not (block and scheduler.block(MethodType(_has_item, self), timeout, source=self)):
            raise Empty
        if not self._qsize():
            raise ShutDown
    task = scheduler.current
    task.acted, task.took = True, self
    return self._get()


def _has_item(self):
    return self._qsize() > 0 or self.is_shutdown


def join(self):
    """Wait until all items were taken and are done."""
    if self.unfinished_tasks:
        scheduler.block(lambda: not self.unfinished_tasks, source=self)


def install():
    """Replace the primitives of `threading` and `queue`; what stands on them there is kept as it is."""
    scheduler.shield(install, threading.Condition.wait, queue.Queue.task_done, contextmanager)
    scheduler.shield(WeakSet.__init__, WeakKeyDictionary.__init__)
    threading.Lock = threading._LockType = Lock
    threading._allocate_lock = Signal
    threading._CRLock = RLock
    threading.Semaphore, threading.BoundedSemaphore, threading.Event = Semaphore, BoundedSemaphore, Event
    for kind in (Semaphore, BoundedSemaphore, Event):
        kind.__module__ = "threading"
    SimpleQueue.__module__ = "_queue"
    Lock.__module__, Lock.__qualname__ = "_thread", "lock"
    RLock.__module__ = "_thread"
    queue.SimpleQueue = SimpleQueue
    for method in (put, get, join):
        setattr(queue.Queue, method.__name__, method)
        method.__qualname__, method.__module__ = f"Queue.{method.__name__}", "queue"
