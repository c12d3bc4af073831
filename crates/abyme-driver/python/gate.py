"""Where an interrupt may surface: inside the cell's code, never inside the driver's own."""

from _thread import get_ident, interrupt_main
from sys import setprofile, settrace

# Every driver file takes a private copy of the builtins: a cell that says `builtins.len = None` must not break us.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))


class Gate:
    """Turns SIGINT into KeyboardInterrupt at a safe moment.

    The gate is *open* while code of the cell runs in the session's main thread and *closed* while the driver works.
    A signal that meets an open gate raises at once; one that meets a closed gate is remembered and raised when the
    gate opens again; one that arrives while nothing runs is ignored. So no frame is ever cut, no lock left behind.
    """

    def __init__(self):
        self.main = get_ident()
        self.running = False  # between begin() and end()
        self.open = False
        self.pending = False  # arrived at a closed gate, not raised yet
        self.delivered = False  # an interrupt reached this run
        self.by_signal = False  # on_signal is installed, so `interrupt` may use it
        self.before_raise = None  # called just before KeyboardInterrupt is raised in the cell

    def begin(self):
        """Start a run: interrupts count from here on, and the calling thread is the one they stop."""
        self.main = get_ident()
        self.open = self.pending = self.delivered = False
        self.running = True

    def end(self):
        """End a run and tell whether an interrupt reached it. A late one is dropped, it never hits the next run."""
        self.running = self.open = self.pending = False
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
        """Ask the current run to stop, from any thread of a backend that lives in this process."""
        if not self.running:
            return
        if self.by_signal:
            interrupt_main()
            return
        self.delivered = True
        from ctypes import c_ulong, py_object, pythonapi

        thread, exception = c_ulong(self.main), py_object(KeyboardInterrupt)
        if self.open:  # a thread that lives in the same process, not the main one: Python's own way to stop it
            pythonapi.PyThreadState_SetAsyncExc(thread, exception)
        else:
            self.pending = True

    def attempt(self, action, *args):
        """Run code of the cell with the gate open: `(value, None)`, or `(None, exception)` for any BaseException.

        The handler never raises in this very frame (`_BOUNDARY`), so the gate is closed again on every path;
        `_inside` has the first frame in which it may, and looks for an interrupt that came in between.
        """
        self.open = True
        try:
            return _inside(self, action, args), None
        except BaseException as problem:
            return None, problem
        finally:
            self.open = False
            try:  # what the cell left behind must not run inside the driver; one that raises is gone by that
                setprofile(None)
                settrace(None)
            except BaseException:
                settrace(None)

    def hold(self):
        """Close the gate on the way from the cell into the driver. Give the answer to `release`."""
        if not self.open or get_ident() != self.main:
            return False
        self.open = False
        return True

    def release(self, held):
        """Open the gate on the way back, and raise what arrived meanwhile."""
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
