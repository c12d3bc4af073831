"""A session that shares its process with the host and with others."""

import _signal  # noqa: F401  (3.11.2 crashes in `interrupt_main` when nobody imported it)
import os
import sys
from _thread import get_ident
from ctypes import c_ulong, py_object, pythonapi
from itertools import count

from _abyme import proxies, threads
from _abyme.capture import text_out
from _abyme.errors import hide_frames_of, last_words
from _abyme.repl import Repl
from _abyme.scope import host_error

# Each file has a private copy of the builtins: a cell that says `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_numbers = count(1)
_exit, _getpid, _write = os._exit, os.getpid, os.write
_set_exception = pythonapi.PyThreadState_SetAsyncExc

hide_frames_of(lambda: None)
hide_frames_of(threads.current)
hide_frames_of(proxies.install)


class Host:
    """The host, as `Repl` calls it."""

    def __init__(self, call, submit, output):
        self._call, self.submit, self.output = call, submit, output
        self._process = _getpid()

    def call(self, name, args, kwargs):
        """Call a host function."""
        if self.forked():  # no answer would ever come
            raise RuntimeError("a forked process cannot talk to the host")
        reply = self._call(name, args, kwargs)
        if reply is None:
            return None  # interrupted: KeyboardInterrupt is raised as soon as the gate opens
        succeeded, value = reply
        if succeeded:
            return value
        raise host_error(*value)

    def forked(self):
        """Whether this process is a child that a cell made by `os.fork`."""
        return _getpid() != self._process


class Session(Repl):
    """A `Repl` that has its own streams, `__main__`, sleep and threads in a process that it shares."""

    def __init__(self, call, submit, output):
        self.number = next(_numbers)
        self.thread = get_ident()
        self.sleeper = threads.Sleeper()
        self.streams = dict.fromkeys(proxies.STREAMS)
        self._cell = 0  # the number of the cell that runs, or ran last
        self._interrupted = None  # the number of the cell that was interrupted last
        threads.adopt(self)
        super().__init__(Host(call, submit, output))
        captures = [proxies.CaptureOfWriter(self, name) for name in ("stdout", "stderr")]
        self._streams = (*map(text_out, captures), self._streams[2])
        self.after_cell = self._end_forked_child

    def _enter(self):
        """Prepare the process for a cell of this session; called when the cell begins."""
        proxies.reinstall()
        self._restore_streams()

    def _set_streams(self):
        streams = self.streams
        streams["stdout"], streams["stderr"], streams["stdin"] = self._streams

    def _current_streams(self):
        others = (getattr(sys, name, None) for name in ("__stdout__", "__stderr__"))
        return [self.streams["stdout"], self.streams["stderr"], *others]

    def run_cell(self, number, request):
        """Run a cell, which `interrupt` knows by its number."""
        self._cell = number
        return self.run(request)

    def _run_cell(self, request, cap, answer):
        if self._interrupted == self._cell:  # the interrupt came before the cell
            super().interrupt()
        super()._run_cell(request, cap, answer)

    def interrupt(self, number):
        """Interrupt a cell, even if it sleeps; return whether it is the one that runs. For any thread."""
        self._interrupted = number
        if number != self._cell or not self.running:
            return False
        super().interrupt()
        self.sleeper.wake()
        threads.wake(self.thread)
        return True

    def abandon(self):
        """Raise `SystemExit` in every thread of the session; called repeatedly until they end."""
        for thread in threads.threads_of(self):
            if thread != get_ident():
                _set_exception(c_ulong(thread), py_object(SystemExit))
        self.sleeper.wake()

    def close(self):
        """End the session: drop its variables and tell its threads to end. Called in its own thread."""
        while True:
            try:
                self.gate.end()
                self.abandon()
                proxies.lines.forget(self.number)
                self.variables.clear()
                self._loop.close()
                threads.release()
                return
            except SystemExit:  # from `abandon`, which the host called because this took too long
                pass

    def _end_forked_child(self, problem):
        """End a child process made by `os.fork` with its cell; the session goes on in the parent."""
        if self.host.forked():
            code, words = last_words(problem)
            try:
                _write(2, words.encode("utf-8", "replace"))
            finally:  # even if the cell closed the descriptor
                _exit(code)


threads.install()
proxies.install()
if "" not in sys.path:  # last, so that no file of the host's working directory hides a module from the host
    sys.path.append("")
