"""The threads of a session: the one that runs its cells, and those that its code starts."""

import _thread
import sys
import threading
import time
from _thread import get_ident

# Each file has a private copy of the builtins: a cell that says `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_owners = {}  # thread -> session
_sleep = time.sleep
_allocate_lock = _thread.allocate_lock
_current_frames = sys._current_frames
_WAIT = threading.Condition.wait.__code__
_STARTERS = ("start_new_thread", "start_new", "start_joinable_thread")


def current():
    """The session of the calling thread, or None for a thread of the host's own."""
    return _owners.get(get_ident())


def adopt(session):
    """Make the session the owner of the calling thread."""
    _owners[get_ident()] = session


def release():
    """Remove the owner of the calling thread."""
    _owners.pop(get_ident(), None)


def threads_of(session):
    """The threads of a session."""
    return [thread for thread, owner in list(_owners.items()) if owner is session]


class Sleeper:
    """`time.sleep` for a session's own thread. An interrupt ends it, as in Python's main thread."""

    def __init__(self):
        self._lock = _allocate_lock()
        self._lock.acquire()
        self._asleep = False

    def sleep(self, seconds):
        """Sleep until the time is over or `wake` is called."""
        self._lock.acquire(False)  # for a `wake` that came too late for the last sleep
        self._asleep = True
        try:
            # A pending interrupt is raised as soon as this returns to the interpreter's loop.
            self._lock.acquire(timeout=seconds)
        finally:
            self._asleep = False

    def wake(self):
        """End the sleep, from another thread."""
        if self._asleep and self._lock.locked():
            self._lock.release()


def _interruptible_sleep(seconds):
    session = _owners.get(get_ident())
    # Wrong arguments get Python's own error; a short sleep is over before it matters.
    if session is not None and session.thread == get_ident():
        if type(seconds) in (int, float) and 0.001 < seconds < 4e6:
            return session.sleeper.sleep(seconds)
    return _sleep(seconds)


_interruptible_sleep.__name__ = _interruptible_sleep.__qualname__ = "sleep"
_interruptible_sleep.__module__ = "time"
_interruptible_sleep.__doc__ = _sleep.__doc__


def wake(thread):
    """End the wait of a thread in an event loop or for a condition, which events, queues and futures use.

    The thread finds nothing to do, returns to Python, and there raises the exception that was set for it.
    """
    frame = _current_frames().get(thread)
    try:
        while frame is not None:
            code = frame.f_code
            if code is _WAIT:
                return frame.f_locals["waiter"].release()
            if code.co_name == "_run_once" and code is _code_of_loops():
                return frame.f_locals["self"]._write_to_self()
            frame = frame.f_back
    except Exception:  # the thread does not wait yet, or no longer
        pass


def _code_of_loops():
    loops = sys.modules.get("asyncio.base_events")
    return loops and loops.BaseEventLoop._run_once.__code__


def _inheriting(start):
    """Wrap a function that starts threads: a thread that a session's code starts belongs to that session."""

    def start_thread(function, *args, **kwargs):
        session = current()
        if session is None or not callable(function):  # which Python refuses in its own words
            return start(function, *args, **kwargs)

        def run(*args, **kwargs):
            adopt(session)
            try:
                return function(*args, **kwargs)
            finally:
                release()

        return start(run, *args, **kwargs)

    start_thread.__name__ = start_thread.__qualname__ = start.__name__
    start_thread.__module__, start_thread.__doc__ = start.__module__, start.__doc__
    return start_thread


def install():
    """Replace the functions that start threads, and `time.sleep`, for all code of the process."""
    for name in _STARTERS:
        start = getattr(_thread, name, None)
        if start is None:
            continue
        replacement = _inheriting(start)
        setattr(_thread, name, replacement)
        if hasattr(threading, "_" + name):
            setattr(threading, "_" + name, replacement)
    time.sleep = _interruptible_sleep
