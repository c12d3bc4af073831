"""`threading` and `_thread` for tasks that take turns. Python's own classes stay on top of replaced parts.

A thread begins when the running code waits, or at the end of the cell. A `Timer` that waits for its time is
not on the stack, so it holds up no other task.
"""

import _thread
import sys
import threading

from _abyme.errors import hide_frames_of
from _abyme.locks import Lock, RLock
from _abyme.submit import is_stop
from _abyme.task import Abandoned, Task, strip_context
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
_Timer = threading.Timer
_active = threading._active
_ONCE = ("_target", "_args", "_kwargs")  # what `Thread.run` deletes when it is done


class Handle(Task):
    """What `threading` calls a thread handle, and the task behind a thread."""

    def __init__(self, ident=None):
        super().__init__(ident)
        self._over = False
        self._parks = None
        self._kept = {}

    # ---- for threading ----

    def is_done(self):
        """Whether the thread has ended."""
        return self._over

    def join(self, timeout=None):
        """Wait until the thread has ended."""
        if not self._over:
            scheduler.block(self.is_done, timeout)

    def _set_done(self):
        self._over = True

    def start(self, thread):
        """Queue the thread; from here on it counts as alive."""
        scheduler.current.acted = True
        self.ident = thread._ident = scheduler.new_ident()
        self.thread, self.daemon = thread, thread._daemonic
        _active[self.ident] = thread
        thread._started.set()
        if isinstance(thread, _Timer) and type(thread).run is _Timer.run:
            scheduler.add_timer(self, thread.interval)
        else:
            scheduler.queue.append(self)

    # ---- for the scheduler ----

    def run(self):
        """Run the thread. What it raises goes to `threading.excepthook`, but what stops the cell does not."""
        thread = self.thread
        self.acted, self.took, self.waited = False, None, 0.0
        self._parks, self._kept = None, {name: vars(thread)[name] for name in _ONCE if name in vars(thread)}
        try:
            thread.run()
        except Abandoned as end:
            self._parks = end.parks
        except BaseException as problem:
            if is_stop(problem) or (scheduler.stopping and isinstance(problem, KeyboardInterrupt)):
                return
            strip_context(problem, self.around)
            problem.__traceback__ = problem.__traceback__.tb_next  # without this very frame
            thread._invoke_excepthook(thread)

    def end(self):
        """The thread is over, or begins again later."""
        if self._parks is None or scheduler.stopping:
            self.drop()
        else:
            vars(self.thread).update(self._kept)
            scheduler.park(self._parks, self)

    def drop(self):
        """The thread is over."""
        self._over = True
        self._kept = {}
        _active.pop(self.ident, None)


class Bare(Task):
    """A thread of `_thread.start_new_thread`."""

    daemon = True

    def __init__(self, function, args, kwargs):
        super().__init__(scheduler.new_ident())
        self.thread = self
        self.name = getattr(function, "__name__", "?")
        self._work = (function, args, kwargs)

    def run(self):
        """Call the function; an error goes to `sys.excepthook`."""
        function, args, kwargs = self._work
        try:
            function(*args, **kwargs)
        except (Abandoned, SystemExit):
            pass
        except BaseException as problem:
            if is_stop(problem) or (scheduler.stopping and isinstance(problem, KeyboardInterrupt)):
                return
            strip_context(problem, self.around)
            sys.excepthook(type(problem), problem, problem.__traceback__.tb_next)

    def end(self):
        """Forget the dummy that `threading.current_thread` may have made."""
        _active.pop(self.ident, None)


def get_ident():
    """Return a non-zero integer that uniquely identifies the current thread."""
    return scheduler.current.ident


def _start(self):
    """Start the thread's activity: it begins when the running code waits, or at the end of the cell."""
    if not self._initialized:
        raise RuntimeError("thread.__init__() not called")
    if self._started.is_set():
        raise RuntimeError("threads can only be started once")
    scheduler.closed(self._handle.start, self)


def start_new_thread(function, args, kwargs=None, /):
    """Start a new thread and return its identifier."""
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    task = Bare(function, args, kwargs or {})
    scheduler.current.acted = True
    scheduler.queue.append(task)
    return task.ident


def start_joinable_thread(function, handle=None, daemon=True):
    """Start a thread and return its handle."""
    raise NotImplementedError("use threading.Thread or start_new_thread: there are no other threads here")


def _timer_run(self):
    """Call the function of a `Timer` when its time has come."""
    if not self.finished.is_set():
        self.function(*self.args, **self.kwargs)
    self.finished.set()


def _timer_cancel(self):
    """Stop the timer if it hasn't finished yet."""
    if not self.finished.is_set():
        self.finished.set()
        if self._started.is_set() and not self._handle.is_done():
            scheduler.closed(scheduler.hurry, self._handle)


def sleep(seconds, /):
    """Delay execution for a given number of seconds. The argument may be a floating-point number."""
    scheduler.sleep(seconds)


def install():
    """Replace what `threading` stands on. After `locks.install`."""
    threading.Thread.start = _start
    _start.__name__, _start.__qualname__, _start.__module__ = "start", "Thread.start", "threading"
    threading._ThreadHandle = threading._make_thread_handle = Handle
    threading.get_ident = get_ident
    if hasattr(threading, "get_native_id"):
        threading.get_native_id = get_ident
    _Timer.run, _Timer.cancel = _timer_run, _timer_cancel
    _timer_run.__qualname__, _timer_cancel.__qualname__ = "Timer.run", "Timer.cancel"
    _thread.get_ident = get_ident
    _thread.start_new_thread = _thread.start_new = start_new_thread
    _thread.start_joinable_thread = start_joinable_thread
    _thread.allocate_lock = _thread.allocate = _thread.LockType = _thread.lock = Lock
    _thread.RLock = RLock
    import time

    time.sleep = sleep
    sleep.__module__ = "time"
