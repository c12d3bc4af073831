"""The output of a cell: bounded in memory, counted exactly, and streamed while it grows."""

import io
from _thread import RLock
from os import write as write_fd
from time import monotonic

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

STREAM_CHARS = 8192  # the head is sent in batches of at least so many characters ...
STREAM_SECONDS = 0.05  # ... or when so much time has passed since the last batch


class Capture:
    """Keeps the head and the tail of a stream, and counts all of its characters.

    Of `cap` characters the first `cap // 2` are the head and the last `cap - cap // 2` the tail, so a text of
    up to `cap` characters is head + tail, complete. The head is sent early through `emit(name, text)`, so
    that output written before a kill is not lost. Any thread may write. The lock is reentrant because a
    finaliser or a signal handler of the cell may print while the same thread is inside `write`.
    """

    def __init__(self, name, emit, gate):
        self.name = name
        self._emit = emit
        self._gate = gate
        self._lock = RLock()
        self._active = False
        self._direct_fd = None
        self._last_emit = 0.0
        self.fd = None  # the descriptor whose output comes here too, for `fileno()`
        self._reset(0)

    def _reset(self, cap):
        self.total = 0
        self._cap = cap
        self._head_room = cap // 2
        self.waiting = []  # pieces of the head that are not sent yet
        self._waiting_chars = 0
        self._tail = []
        self._tail_chars = 0
        self._tail_cap = cap - cap // 2

    def begin(self, cap, now):
        """Start a cell that may write `cap` characters. Text written between cells is dropped."""
        if cap != self._cap or self.total or self.waiting:
            with self._lock:
                self._reset(cap)
        self._last_emit = now
        self._active = True

    def end(self):
        """End a cell. Return the unsent part of the head, the tail, and the number of characters."""
        self._active = False
        if not self.total:  # most cells leave one of their streams alone
            return {"head": "", "tail": "", "total": 0}
        with self._lock:
            answer = {"head": "".join(self.waiting), "tail": self._joined_tail(), "total": self.total}
            self._reset(self._cap)
        return answer

    def write(self, text):
        """Take `text` (an exact str)."""
        held = self._gate.hold()
        try:
            with self._lock:
                if self._direct_fd is None:
                    self._append(text)
                else:
                    self.waiting.append(text)
                    if "\n" in text:  # whole lines: parent and child write to the same pipe
                        self._write_direct()
        finally:
            self._gate.release(held)

    def skip(self, chars):
        """Count `chars` characters that were written elsewhere and not kept."""
        held = self._gate.hold()
        try:
            with self._lock:
                if self._active:
                    self.total += chars
        finally:
            self._gate.release(held)

    def flush(self):
        """Send what waits of the head: on a flush, before a host call, and before an interrupt is raised."""
        if not self.waiting:
            return
        held = self._gate.hold()
        try:
            with self._lock:
                if self._direct_fd is None:
                    self._send_head()
                else:
                    self._write_direct()
        finally:
            self._gate.release(held)

    def detach_to(self, fd):
        """In a forked child: write to the descriptor from now on. The parent reads its other end."""
        self._lock = RLock()  # another thread of the parent may have held the old one
        self.waiting = []  # they belong to the parent
        self._direct_fd = fd

    def _append(self, text):
        size = len(text)
        if not self._active:
            return
        self.total += size
        room = self._head_room
        if room:
            part = text if size <= room else text[:room]
            taken = len(part)
            self.waiting.append(part)
            self._waiting_chars += taken
            self._head_room -= taken
            if self._waiting_chars >= STREAM_CHARS or monotonic() - self._last_emit >= STREAM_SECONDS:
                self._send_head()
            if taken == size:
                return
            text = text[taken:] if size - taken <= self._tail_cap else text
            size = len(text)
        self._append_tail(text, size)

    def _append_tail(self, text, size):
        cap = self._tail_cap
        if size >= cap:
            self._tail = [text[size - cap :]]
            self._tail_chars = cap
            return
        self._tail.append(text)
        self._tail_chars += size
        if self._tail_chars > 2 * cap + STREAM_CHARS:  # rarely, for a constant cost per character
            self._tail = [self._joined_tail()]
            self._tail_chars = cap

    def _joined_tail(self):
        text = "".join(self._tail)
        return text[len(text) - self._tail_cap :] if len(text) > self._tail_cap else text

    def _send_head(self):
        pieces, self.waiting, self._waiting_chars = self.waiting, [], 0
        self._last_emit = monotonic()
        if pieces:
            self._emit(self.name, "".join(pieces))

    def _write_direct(self):
        pieces, self.waiting = self.waiting, []
        data = memoryview("".join(pieces).encode("utf-8", "replace"))
        while data:
            data = data[write_fd(self._direct_fd, data) :]


def stream_of_session(kind, **attributes):
    """A stream of a class of its own, which has its attributes: what is in its dict then is from a cell."""
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**about, **attributes})()


def text_out(capture):
    """A `TextOut` that writes to a capture."""
    name = f"<{capture.name}>"
    return stream_of_session(TextOut, _capture=capture, name=name, buffer=ByteOut(capture, name))


class TextOut(io.TextIOBase):
    """`sys.stdout` and `sys.stderr` of a session, made by `text_out`."""

    encoding = "utf-8"
    errors = "replace"
    newlines = None
    line_buffering = True
    write_through = True
    mode = "w"

    def write(self, text):
        """Write `text`. Return the number of characters."""
        if type(text) is not str:
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            text = str.__str__(text)  # a subclass may lie about its slices
        self._capture.write(text)
        return len(text)

    def writelines(self, lines):
        """Write every string of `lines`."""
        for line in lines:
            self.write(line)

    def writable(self):
        """Always true."""
        return True

    def flush(self):
        """Send what was written, so that it is there even if the session is killed."""
        self._capture.flush()

    def fileno(self):
        """The descriptor of this stream, for child processes, where the session has one."""
        return _checked(self._capture.fd)

    def close(self):
        """Do nothing: a session's output outlives a cell that closes it."""

    def reconfigure(self, **_options):
        """Accept and ignore what programs set on a terminal."""


class ByteOut(io.RawIOBase):
    """`sys.stdout.buffer`: bytes are decoded as UTF-8, and invalid ones replaced."""

    mode = "wb"

    def __init__(self, capture, name):
        self._capture = capture
        self.name = name

    def write(self, data):
        """Write bytes. Return their number."""
        data = bytes(data)
        self._capture.write(data.decode("utf-8", "replace"))
        return len(data)

    def writable(self):
        """Always true."""
        return True

    def fileno(self):
        """As for the text stream."""
        return _checked(self._capture.fd)

    def flush(self):
        """Do nothing: nothing written here waits for a flush."""

    def close(self):
        """Do nothing, as for the text stream."""


class NoInput(io.TextIOBase):
    """`sys.stdin` of a session: always at its end."""

    encoding = "utf-8"
    errors = "replace"
    name = "<stdin>"
    mode = "r"
    fd = None  # a descriptor that is at its end too

    @property
    def buffer(self):
        """The bytes: none."""
        return io.BytesIO()

    def readable(self):
        """Always true."""
        return True

    def read(self, _size=-1):
        """Nothing, as at the end of a file."""
        return ""

    def readline(self, _size=-1):
        """Nothing, as at the end of a file. `input()` makes an EOFError of it."""
        return ""

    def fileno(self):
        """The descriptor of this stream, for child processes, where the session has one."""
        return _checked(self.fd)

    def close(self):
        """Do nothing."""


def _checked(fd):
    if fd is None:
        raise io.UnsupportedOperation("fileno: this stream has no descriptor, it goes to the session")
    return fd
