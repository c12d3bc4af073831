"""Runs a session over its standard input and output: `python3 -I stdio.py`. PROTOCOL.md specifies it.

The first message goes out as soon as this file is there: the other files are loaded while it travels. Before
a cell runs, the protocol moves to private duplicates of descriptors 0 and 1. Descriptor 0 is then /dev/null,
and 1 and 2 are pipes into the capture of the running cell. So nothing that a cell, its subprocesses or C code
write can be taken for a frame.
"""

import os
import sys

import _warnings
from _signal import SIG_IGN, SIGINT, set_wakeup_fd, signal
from _thread import RLock, allocate_lock, get_ident, start_new_thread
from codecs import getincrementaldecoder
from itertools import count
from marshal import loads

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

PROTOCOL = 1
_PACKAGE = "_abyme"


class _Finder:
    """Finds the other files in the code that `boot.py` was given."""

    def __init__(self, codes):
        self.codes = codes

    def find_spec(self, name, path=None, target=None):
        package, _, file = name.partition(".")
        if package == _PACKAGE and file in self.codes:
            return type(sys.__spec__)(name, self, origin="abyme")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(loads(self.codes.pop(module.__name__.partition(".")[2])), module.__dict__)


def _say_ready(code):
    """Send the first message. It is made by hand: what makes the others is not loaded yet."""
    path = "".join(c if " " <= c not in '"\\' else f"\\u{ord(c):04x}" for c in sys.executable or "")
    header = '{"type":"ready","protocol":%d,"python":"%d.%d.%d","executable":"%s","pid":%d%s}' % (
        PROTOCOL,
        *sys.version_info[:3],
        path,
        os.getpid(),
        "" if code is None else ',"code":{"$bytes":0}',
    )
    header = header.encode("utf-8", "replace")  # a path may have lone surrogates
    sizes = b"" if code is None else len(code).to_bytes(8, "big")
    prefix = b"ABY1" + len(header).to_bytes(4, "big") + (len(sizes) // 8).to_bytes(4, "big") + sizes
    frame = memoryview(prefix + header + (code or b""))
    while frame:
        frame = frame[os.write(1, frame) :]


def _load_driver(codes=None, handed_back=None):
    """Say `ready`, import the other files as package `_abyme`, and hide it from cells again.

    The imports take longer than all before them, and a request does not come before the first message has
    arrived. An interrupt is ignored meanwhile, as whenever no cell runs.
    """
    package = type(sys)(_PACKAGE)
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[_PACKAGE] = package
    finder = _Finder(codes or {})
    sys.meta_path.insert(0, finder)
    try:
        if len(sys.argv) > 1:
            from _abyme import confine

            confine.refuse_programs(sys.argv[1])  # before there are threads, which it would not hold for
        signal(SIGINT, SIG_IGN)
        _say_ready(handed_back)
        from _abyme import errors, repl, scope, wire

        return errors, repl, scope, wire
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]


# `boot.py` sets these two names.
errors, repl, scope, wire = _load_driver(globals().pop("codes", None), globals().pop("handed_back", None))
errors.hide_frames_of(_load_driver)
errors.hide_frames_of(wire.pack)
errors.hide_frames_of(wire.FilledText.text)

# Not with the other imports: the first message does not wait for a library of its own.
from select import POLLIN, poll

EXIT_OK, EXIT_PROTOCOL = 0, 70
FOLLOWER_SECONDS = 0.05  # how often the main thread checks for an interrupt while another thread reads
PRIVATE_FD = 120
LONG_TEXT_CHARS = 10_000  # of each text in an answer that would be too large
DRAIN_ROUNDS = 64  # of 64 KiB, per stream at the end of a cell
_REENTERED = "a host function cannot be called from a finaliser or signal handler at this moment"
_exit, _read_fd, _poll_in = os._exit, os.read, POLLIN


class Slot:
    """A message that a thread waits for."""

    __slots__ = ("frame", "lock")

    def __init__(self):
        self.frame = None
        self.lock = allocate_lock()
        self.lock.acquire()

    def wake(self):
        """Let the waiting thread check again."""
        try:
            self.lock.release()
        except RuntimeError:  # no thread sleeps there
            pass


class Channel:
    """Frames from and to the host, shared by all threads.

    There is no reader thread. A thread that waits while no other reads becomes the reader. It delivers the
    messages of other threads, and when its own message is there it wakes one of them to read on. A lone call
    thus costs one write and one read.
    """

    def __init__(self, fd_in, fd_out, gate):
        self._reader = wire.FrameReader(fd_in)
        self._writer = wire.FrameWriter(fd_out)
        self._gate = gate
        self._reading = RLock()
        self._busy = False  # a step of reading is not finished
        self._run = None  # id of the current run
        self._max_bytes = None  # of the host's memory, for a message
        self._main = get_ident()
        self._calls = {}  # call id -> Slot
        self._inbox = Slot()  # what is not the result of a call, for the main thread
        self._call_ids = count(1)  # next() of it is atomic
        self._wakeup = self._install_wakeup()
        self._poll = poll()
        self._poll.register(fd_in, _poll_in)
        self._poll.register(self._wakeup[0], _poll_in)

    def begin(self, run, max_bytes):
        """Allow messages of run `run` from now on, each of which may take `max_bytes` of the host."""
        self._run, self._max_bytes = run, max_bytes

    def end(self, run, values):
        """Send `done`. No message of this run follows it, and the calls of its threads fail.

        The calls fail first. Otherwise a thread that reads for all could take the next request, find its own
        call unanswered, and block on the empty channel while that request's cell waits for the thread.
        """
        with self._writer.lock:
            self._run = None
        self._abandon_calls()
        parts = None
        if not values["variables"] and not values["unreadable"]:  # the rest is texts and small numbers
            parts = wire.encode_short({"type": "done", "run": run, **values}, self._max_bytes)
        if parts is None:
            self.send({"type": "done", "run": run}, values)
        else:
            self._write_parts(parts, None)

    def send(self, message, values=None):
        """Send a message with `values` packed into it. ValueError if they are too large."""
        self._write(message, values, None)

    def send_of_run(self, message, values):
        """Send a message that belongs to the current run."""
        run = message["run"] = self._run
        if run is None or not self._write(message, values, lambda: self._run == run):
            raise RuntimeError("no cell is running: its functions work only while it runs")

    def _write(self, message, values, allowed):
        parts = None
        if values and not wire.needs_packing(values.values()):
            parts = wire.encode_short({**message, **values}, self._max_bytes)
        if parts is None:
            blobs = wire.Blobs(self._max_bytes)
            if values:
                for key, value in values.items():
                    message[key] = wire.pack(value, blobs)
            parts = wire.encode(message, blobs)
        return self._write_parts(parts, allowed)

    def _write_parts(self, parts, allowed):
        try:
            return self._writer.write(parts, allowed)
        except wire.ChannelClosed:
            _exit(EXIT_OK)

    def next_request(self):
        """Block until a message that is not a result: `(message, blobs)`. Interrupts do not end this."""
        inbox = self._inbox
        self._wait(inbox, None)
        frame, inbox.frame = inbox.frame, None
        return frame

    def call(self, message, values):
        """Send a call and block until its result: `(message, blobs)`, or None if an interrupt came first."""
        if self._writer.busy_here():
            raise RuntimeError(_REENTERED)
        _check_headroom(12)
        call = next(self._call_ids)
        slot = self._calls[call] = Slot()
        message["id"] = call
        try:
            self.send_of_run(message, values)
            self._wait(slot, self._gate if get_ident() == self._main else None)
        except (wire.ProtocolError, wire.ChannelClosed) as problem:
            self.fatal(problem)
        finally:
            self._calls.pop(call, None)
            if slot.frame is None:
                self._pass_on()  # this thread may just have been woken to read
        return slot.frame

    def fatal(self, problem):
        """End the process: the protocol cannot go on."""
        if isinstance(problem, wire.ChannelClosed):
            _exit(EXIT_PROTOCOL if problem.partial else EXIT_OK)
        text = str(problem) if isinstance(problem, wire.ProtocolError) else f"driver error: {problem!r}"
        try:
            self.send({"type": "fatal", "message": text[:1000]})
        finally:
            _exit(EXIT_PROTOCOL)

    def install_wakeup(self):
        """Set the wake-up descriptor again, because a cell may have set another."""
        set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)

    def _abandon_calls(self):
        """Fail the calls that threads still wait for: their cell is over."""
        for call in list(self._calls):
            slot = self._calls.pop(call, None)
            if slot is not None and slot.frame is None:
                error = {"type": "RuntimeError", "message": "the cell that made this call is over"}
                slot.frame = ({"type": "result", "error": error}, [])
                slot.wake()

    def _install_wakeup(self):
        wakeup = os.pipe()
        for fd in wakeup:
            os.set_blocking(fd, False)
        set_wakeup_fd(wakeup[1], warn_on_full_buffer=False)
        return wakeup

    def _wait(self, slot, gate):
        """Return when `slot` is filled or an interrupt is pending at `gate`."""
        while slot.frame is None:
            if self._reading.acquire(False):
                try:
                    self._lead(slot, gate)
                finally:
                    self._reading.release()
                    self._pass_on()
            elif gate is None:
                slot.lock.acquire()
            else:
                slot.lock.acquire(True, FOLLOWER_SECONDS)
            if gate is not None and gate.pending:
                return

    def _lead(self, slot, gate):
        """Read for all threads until `slot` is filled."""
        while slot.frame is None:
            if self._guarded(self._deliver):
                continue
            if gate is None or self._readable():
                self._guarded(self._reader.fill)
            if gate is not None and gate.pending:
                return

    def _deliver(self):
        """Deliver a complete frame, if there is one. It is dropped last, so it cannot get lost."""
        frame = self._reader.peek()
        if frame is None:
            return False
        self._dispatch(frame)
        self._reader.drop()
        return True

    def _guarded(self, step):
        """Do a step of reading. A signal handler or finaliser of the cell must not enter it a second time."""
        if self._busy:
            raise RuntimeError(_REENTERED)
        self._busy = True
        try:
            return step()
        finally:
            self._busy = False

    def _readable(self):
        """Block until there is input or a signal, which writes to the wake-up pipe however early it comes."""
        readable = False
        for fd, _event in self._poll.poll(1000):
            if fd != self._wakeup[0]:
                readable = True
                continue
            try:
                _read_fd(fd, 512)
            except BlockingIOError:
                pass
        return readable

    def _dispatch(self, frame):
        """Put a message into its slot. The result of an abandoned call is dropped."""
        message = frame[0]
        if message["type"] == "result":
            slot = self._calls.pop(message.get("call"), None)
            if slot is None:
                return
        else:
            slot = self._inbox
            if slot.frame is not None or self._gate.running:
                raise wire.ProtocolError(f"unexpected message {message['type']!r} while a cell is running")
        slot.frame = frame
        slot.wake()

    def _pass_on(self):
        """Wake one thread that still waits, so that it reads."""
        for slot in list(self._calls.values()):
            if slot.frame is None:
                slot.wake()
                return
        if not self._gate.running:  # the main thread waits for a request only while no cell runs
            self._inbox.wake()


def _check_headroom(frames):
    """Raise RecursionError now if the stack is nearly used up, and not in the middle of an exchange."""
    if frames:
        _check_headroom(frames - 1)


class Host:
    """The host that `Repl` calls. Each call becomes messages."""

    def __init__(self, channel=None):
        self.channel = channel
        self.forked = False

    def call(self, name, args, kwargs):
        """Call a host function."""
        self._check_alive()
        message = {"type": "call", "run": 0, "id": 0, "name": name}
        frame = self.channel.call(message, {"args": args, "kwargs": kwargs})
        if frame is None:
            return None  # interrupted: KeyboardInterrupt is raised as soon as the gate opens
        message, blobs = frame
        wire.check_fits(message)
        try:
            error = wire.unpack(message.get("error"), blobs)
            value = wire.unpack(message.get("value"), blobs)
        except wire.ProtocolError as problem:
            self.channel.fatal(problem)
        if error is not None:
            raise scope.host_error(str(error.get("type")), str(error.get("message")))
        return value

    def submit(self, via, fields, value):
        """Send a submission."""
        self._check_alive()
        values = {"fields": fields} if fields is not None else {"value": value}
        self.channel.send_of_run({"type": "submit", "run": 0, "via": via}, values)

    def output(self, stream, text):
        """Send a piece of output."""
        if not self.forked:
            self.channel.send_of_run({"type": "output", "run": 0, "stream": stream}, {"text": text})

    def _check_alive(self):
        if self.forked:
            raise RuntimeError("a forked process cannot talk to the host")


class DescriptorReader:
    """Reads what is written to descriptors 1 and 2 into the captures."""

    def __init__(self, captures):
        self._lock = allocate_lock()
        self._captures = {}
        self._polls = (poll(), poll())  # one for the thread, one for the main thread
        for capture, fd in captures:
            read_end, write_end = os.pipe()
            os.dup2(write_end, fd)  # inheritable, unlike the pipe itself
            os.close(write_end)
            os.set_blocking(read_end, False)
            self._captures[read_end] = (capture, getincrementaldecoder("utf-8")("replace"))
            for poller in self._polls:
                poller.register(read_end, _poll_in)

    def run(self):
        """The thread: wait for output and read it, for ever."""
        while True:
            self._polls[0].poll()
            with self._lock:
                self._read(self._polls[0].poll(0))

    def drain(self):
        """Read what is there now, but not for ever: a child may write all the time."""
        with self._lock:
            for _ in range(DRAIN_ROUNDS):
                ready = self._polls[1].poll(0)
                if not ready:
                    return
                self._read(ready)

    def _read(self, ready):
        for fd, _event in ready:
            capture, decoder = self._captures[fd]
            try:
                data = _read_fd(fd, 65536)
            except BlockingIOError:
                continue
            capture.write(decoder.decode(data))


class Driver:
    """The main loop: it reads a request, runs it, and answers."""

    def __init__(self):
        fd_in, fd_out = _private(0, os.O_RDONLY), _private(1, os.O_WRONLY)
        self._fds = (fd_in, fd_out)
        self._host = Host()
        self._repl = repl.Repl(self._host)
        self._gate = self._repl.gate
        self._gate.by_signal = True
        self._channel = self._host.channel = Channel(fd_in, fd_out, self._gate)
        self._output = DescriptorReader(((self._repl.stdout, 1), (self._repl.stderr, 2)))
        self._handler = self._gate.on_signal
        self._repl.set_descriptors(0, 1, 2)
        self._repl.before_end = self._output.drain
        self._repl.after_cell = self._end_forked_child
        signal(SIGINT, self._handler)
        os.register_at_fork(after_in_child=self._in_forked_child)
        start_new_thread(self._output.run, ())
        _warnings.filters.insert(0, ("ignore", ForkWarning, DeprecationWarning, None, 0))

    def serve(self):
        """Answer requests until the host sends `shutdown` or closes the stream."""
        try:
            while True:
                self._answer(*self._channel.next_request())
        except BaseException as problem:
            if self._host.forked:
                _exit(EXIT_PROTOCOL)
            self._channel.fatal(problem)

    def _answer(self, message, blobs):
        kind = message["type"]
        if kind == "shutdown":
            _exit(EXIT_OK)
        if kind != "run" or type(message.get("id")) is not int:
            raise wire.ProtocolError(f"unexpected message {kind!r}")
        signal(SIGINT, self._handler)
        self._channel.install_wakeup()
        max_bytes = message.get("max_message_bytes")
        self._channel.begin(message["id"], max_bytes if type(max_bytes) is int else None)
        self._send_done(message["id"], self._run(message, blobs))

    def _run(self, message, blobs):
        """Unpack and run a request. Values that do not fit into memory are an error of the cell alone."""
        try:
            wire.check_fits(message)
            request = {key: wire.unpack(value, blobs) for key, value in message.items()}
        except MemoryError as problem:
            request = {"code": "", "name": message.get("name")}
            answer = self._repl.run(request)
            answer["error"] = errors.report(problem, "scope", "")
            return answer
        del blobs, message
        if type(request.get("code")) is not str:
            raise wire.ProtocolError("a 'run' without code")
        return self._repl.run(request)

    def _send_done(self, run, answer):
        """Send the answer to a cell. What makes it too large is left out."""
        for leave_out in (_without_variables, _without_long_texts):
            try:
                self._channel.end(run, answer)
                return
            except (ValueError, MemoryError) as problem:
                leave_out(answer, str(problem) or "not enough memory")
        self._channel.end(run, answer)

    def _in_forked_child(self):
        """Keep a forked child from talking to the host, and let its output go through the parent."""
        self._host.forked = True
        for fd in self._fds:
            try:
                os.close(fd)
            except OSError:
                pass
        set_wakeup_fd(-1)
        self._repl.stdout.detach_to(1)
        self._repl.stderr.detach_to(2)

    def _end_forked_child(self, problem):
        """End a forked child that comes to the end of the cell. The cell goes on in the parent alone."""
        if not self._host.forked:
            return
        code, words = errors.last_words(problem)
        self._repl.stderr.write(words)
        self._repl.flush()
        _exit(code)


def _without_variables(answer, reason):
    answer["unreadable"].update(dict.fromkeys(answer["variables"], reason))
    answer["variables"] = {}


def _without_long_texts(answer, _reason):
    """Cut what has no bound of its own: the text of an exception, the names of variables."""
    for texts in (answer["error"] or {}, *answer["changed"], answer["unreadable"]):
        for key, text in texts.items():
            if type(text) is str:
                texts[key] = text[:LONG_TEXT_CHARS]


class ForkWarning:
    """Matches Python 3.12's warning about fork and threads, which `DescriptorReader` would always cause."""

    @staticmethod
    def match(text):
        """What the warnings filter calls."""
        return text.startswith("This process (pid=") and "fork" in text


def _private(fd, mode):
    """Move a standard descriptor to a private, close-on-exec one, and put /dev/null in its place."""
    try:
        # A high number is out of the way of `os.closerange(3, 64)` and the like.
        own = os.dup2(fd, PRIVATE_FD + fd, inheritable=False)
    except OSError:  # fewer descriptors are allowed
        own = os.dup(fd)
    null = os.open(os.devnull, mode)
    os.dup2(null, fd)
    os.close(null)
    return own


def main():
    """Set the process up as a session and serve it."""
    sys.argv = ["abyme"]
    sys.path.insert(0, "")  # the working directory, which `-I` leaves out: cells import what they write there
    sys.dont_write_bytecode = True  # a module that is written twice in a second would be taken from the cache
    Driver().serve()


if __name__ == "__main__":
    # A frame with other globals calls it: Python 3.9 passes the caller's builtins on within one module.
    eval("main()", {"main": main, "__builtins__": {}})
