"""Where an interrupt may be raised: inside the cell's code, never inside the driver's own."""

from _functools import partial
from _thread import get_ident, interrupt_main
from gc import get_threshold, set_threshold
from sys import setprofile, settrace

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

# The thresholds at which garbage is never collected. Python 3.12 collects what is due after gc.disable() too.
_NEVER = (2**31 - 1,) * 3
# Each item holds the thresholds so far, and sets these. A collection that is due starts at the end of any
# call: two calls would be too late.
_pauses = zip(iter(get_threshold, None), iter(partial(set_threshold, *_NEVER), 0))


class Gate:
    """Turns SIGINT into KeyboardInterrupt at a safe moment.

    The gate is *open* while code of the cell runs in the session's main thread and *closed* while the driver
    works. A signal at an open gate raises at once. A signal at a closed gate is kept and raised when the gate
    opens again. A signal that arrives while no cell runs is ignored. So no frame is ever cut and no lock
    stays locked.
    """

    def __init__(self):
        self.main = get_ident()
        self.running = False  # between begin() and end()
        self.open = False
        self.pending = False  # an interrupt arrived at a closed gate and was not raised yet
        self.delivered = False  # an interrupt reached this run
        self.by_signal = False  # on_signal is installed, so `interrupt` may use it
        self.before_raise = None  # called just before KeyboardInterrupt is raised in the cell
        self.thresholds = None  # those of `gc`, while an exception keeps garbage from being collected

    def begin(self):
        """Start a run: interrupts count from now on and stop the calling thread."""
        self.main = get_ident()
        self.open = self.pending = self.delivered = False
        self.running = True

    def end(self):
        """End a run. Return whether an interrupt reached it. A late one never hits the next run."""
        self.running = self.open = self.pending = False
        self.resume_collections()
        return self.delivered

    def on_signal(self, _signum=None, frame=None):
        """The SIGINT handler. Python calls it in the main thread, between two bytecodes of `frame`."""
        if not self.running or get_ident() != self.main:
            return
        self.delivered = True
        if not self.open or (frame is not None and frame.f_code is _BOUNDARY):
            self.pending = True
            return
        if self.before_raise is not None:
            self.open = False
            try:
                self.before_raise()
            finally:
                self.open = True
        self.pending = False
        raise KeyboardInterrupt

    def interrupt(self):
        """Ask the current run to stop. Any thread of a backend in this process may call this."""
        if not self.running:
            return
        if self.by_signal:
            interrupt_main()
            return
        self.delivered = True
        from ctypes import c_ulong, py_object, pythonapi

        thread, exception = c_ulong(self.main), py_object(KeyboardInterrupt)
        if self.open:  # not the process's main thread: Python has its own way to stop it
            pythonapi.PyThreadState_SetAsyncExc(thread, exception)
        else:
            self.pending = True

    def attempt(self, action, *args):
        """Run code of the cell with the gate open. Return `(value, None)` or `(None, exception)`.

        After an exception no garbage is collected until `resume_collections` or the end of the run: a deep
        recursion leaves some hundred thousand frames, Python is due to look at each of them, and the report
        lets them go soon.

        The handler never raises in the frame of this method (`_BOUNDARY`), so the gate is closed again on
        every path. `_inside` has the first frame in which it may raise, and checks for an interrupt that came
        in between.
        """
        self.open = True
        try:
            return _inside(self, action, args), None
        except BaseException as problem:
            for thresholds, _ in _pauses:
                if thresholds != _NEVER:  # no other session of the process has paused them
                    self.thresholds = thresholds
                break
            return None, problem
        finally:
            self.open = False
            try:  # the cell's hooks must not run inside the driver; one that raises is removed by that
                setprofile(None)
                settrace(None)
            except BaseException:
                settrace(None)

    def resume_collections(self):
        """Collect garbage again, if an exception has paused it."""
        if self.thresholds is not None:
            set_threshold(*self.thresholds)
            self.thresholds = None

    def hold(self):
        """Close the gate on the way from the cell into the driver. `release` takes the result."""
        if not self.open or get_ident() != self.main:
            return False
        self.open = False
        return True

    def release(self, held):
        """Open the gate on the way back, and raise an interrupt that arrived meanwhile."""
        if held:
            self.open = True
            if self.pending:
                self.pending = False
                raise KeyboardInterrupt


def _inside(gate, action, args):
    """The outermost frame an interrupt may be raised in."""
    if gate.pending:
        gate.pending = False
        raise KeyboardInterrupt
    return action(*args)


_BOUNDARY = Gate.attempt.__code__
