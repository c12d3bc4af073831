"""The frames of PROTOCOL.md: values to bytes and back, and a reader and a writer of descriptors."""

from _thread import RLock, get_ident
from os import read as read_fd
from os import readv, writev

from _abyme.texts import FilledText, find_functions

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

MAGIC = b"ABY1"
MAX_HEADER, MAX_BLOBS, MAX_BLOB = 1 << 30, 1 << 22, 8 << 30  # of a frame from the host
MAX_SENT_HEADER, MAX_SENT_BLOBS = 64 << 20, 1 << 20  # of a frame to the host
TEXT_BLOB = 512  # strings of at least this many characters travel as blobs
READ_BYTES = 65536
MAX_INT_BITS = 400_000  # about 120 000 digits: larger ones take too long to write in decimal

# How many steps of 64 bits the writing of large integers may take, for a message: an integer takes the square
# of its words. The host counts in the same way.
MAX_DIGIT_STEPS = 1 << 28

# What values take of the host's memory (`DecodeBudget` of abyme-core), besides texts and bytes themselves.
_ITEM, _ENTRY, _KEY, _LIST, _TEXT, _BLOB = 72, 128, 24, 24, 96, 80

_PREFIX = 12
_NONE = type(None)
_ATOMIC = 4096  # PIPE_BUF: a write of this size to a pipe is never cut
_NO_BLOBS = bytes(4)
_LITTLE = 1 << 20  # more than any message of so few bytes takes
_WRITE_PARTS = 512  # below IOV_MAX of every system


class ProtocolError(Exception):
    """The other side does not speak the protocol."""


class ChannelClosed(Exception):
    """The other side has closed the stream. `partial` says that it did so in the middle of a frame."""

    def __init__(self, partial=False):
        super().__init__("the channel ended in the middle of a frame" if partial else "the channel is closed")
        self.partial = partial


# ---- JSON ----


def _json_functions():
    """`(dumps, loads)` of the C accelerator: importing `json` would nearly double Python's start-up time."""
    try:
        import _json

        class Options:
            strict, object_hook, object_pairs_hook, memo = True, None, None, {}
            parse_float, parse_int, parse_constant = float, int, None

        encode = _json.make_encoder(None, None, _json.encode_basestring, None, ":", ",", False, False, False)
        scan = _json.make_scanner(Options)

        def dumps(value):
            return "".join(encode(value, 0))

        def loads(text):
            value, end = scan(text, 0)
            if end != len(text) and text[end:].strip():
                raise ValueError("more than one JSON value")
            return value

        if loads(dumps({"a": [1, 2.5, "x", None]})) == {"a": [1, 2.5, "x", None]}:
            return dumps, loads
    except Exception:  # another Python, another accelerator
        pass
    import json

    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode, json.loads


_dumps, _loads = _json_functions()


# ---- values ----


class Blobs(list):
    """The blobs of a frame to the host, and what its values may still take of the host's memory."""

    __slots__ = ("left", "limit", "steps")

    def __init__(self, limit=None):
        self.limit = self.left = limit
        self.steps = 0

    def charge(self, cost):
        """Take memory of the host. ValueError if there is not enough."""
        if self.limit is not None:
            self.left -= cost
            if self.left < 0:
                raise ValueError(too_large(self.limit))

    def charge_integer(self, bits):
        """Take memory for the digits of an integer, and time to write them. ValueError if either is short."""
        self.steps += (bits // 64) ** 2
        if self.steps > MAX_DIGIT_STEPS:
            problem = "its large integers have too many digits together"
            raise ValueError(f"the value is too large to pass on: {problem}; pass on less of it, or in parts")
        self.charge(bits // 3 + _KEY)

    def charge_list(self, size):
        """Take memory for a list, which grows by a quarter."""
        room = 0
        while room < size:
            room += max(room >> 2, 4)
        self.charge(room * _ITEM + (_LIST if size else 0))

    def charge_dict(self, keys):
        """Take memory for a dict, which grows to double its size."""
        room = 3 if keys else 0
        while room < len(keys):
            room *= 2
        self.charge(room * _ENTRY + sum(map(len, keys)) + len(keys) * _KEY)


def too_large(limit):
    """What a cell is told of a value that takes more than `limit` bytes of the host's memory."""
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
    problem = f"it would take more than {size} of the host's memory"
    return f"the value is too large to pass on: {problem}; pass on less of it, or in parts"


def pack(value, blobs):
    """Plain data (see convert.py) as Abyme JSON. Long texts and all bytes are appended to `blobs`."""
    kind = type(value)
    if kind is str:
        if len(value) < TEXT_BLOB:
            blobs.charge(_TEXT + len(value))
            return value
        return _blob("$text", value.encode("utf-8", "replace"), blobs)
    if kind is bool or value is None:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else {"$int": _decimal(value, blobs)}
    if kind is float:
        return value if value - value == 0 else {"$float": _FLOATS.get(value, "nan")}
    if kind is bytes:
        return _blob("$bytes", value, blobs)
    if kind is list:
        blobs.charge_list(len(value))
        return value if _passes(value, blobs) else [pack(item, blobs) for item in value]
    if kind is dict:
        return _pack_dict(value, blobs)
    raise TypeError(f"{kind.__name__} is not plain data")


def _pack_dict(value, blobs):
    blobs.charge_dict(value)
    if any([key[:1] == "$" for key in value]):
        return {"$dict": [[pack(key, blobs), pack(item, blobs)] for key, item in value.items()]}
    packed = {}
    for key, item in value.items():
        if item is not None and type(item) is not bool:
            item = pack(item, blobs)
        packed[key] = item
    return packed


_FLOATS = {float("inf"): "inf", float("-inf"): "-inf"}


def _passes(items, blobs):
    """Whether a list of scalars is its own Abyme JSON. The check runs at C speed."""
    kinds = set(map(type, items))
    kinds -= {_NONE, bool}
    if not kinds:
        return True
    if len(kinds) > 1 or len(kinds) < len(set(map(type, items))):
        return False
    kind = kinds.pop()
    if kind is str:
        if max(map(len, items)) >= TEXT_BLOB:
            return False
        blobs.charge(_TEXT * len(items) + sum(map(len, items)))
        return True
    if kind is int:
        return -(1 << 63) <= min(items) and max(items) < 1 << 63
    if kind is float:
        total = sum(items)
        return total - total == 0  # false also if the sum overflows: the items are then checked one by one
    return False


def _blob(mark, data, blobs):
    if len(blobs) >= MAX_SENT_BLOBS:
        raise ValueError(f"the value has more than {MAX_SENT_BLOBS} long texts or bytes objects")
    blobs.charge(_TEXT + _BLOB + len(data))
    blobs.append(data)
    return {mark: len(blobs) - 1}


def _decimal(value, blobs):
    """The decimal digits of a big integer, also beyond the limit that Python sets on them."""
    bits = value.bit_length()
    if bits > MAX_INT_BITS:
        raise ValueError(f"an integer of {bits} bits is too large to pass on")
    blobs.charge_integer(bits)
    try:
        return str(value)
    except ValueError:
        import sys

        limit = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            return str(value)
        finally:
            sys.set_int_max_str_digits(limit)


def unpack(value, blobs):
    """Abyme JSON as Python objects. Each blob is released after its use, which halves the memory peak."""
    kind = type(value)
    if kind is list:
        kinds = set(map(type, value))
        return [unpack(item, blobs) for item in value] if list in kinds or dict in kinds else value
    if kind is not dict:
        return value
    if len(value) == 1:
        ((mark, inner),) = value.items()
        if mark[:1] == "$":
            return _unpack_special(mark, inner, blobs)
    return {key: unpack(item, blobs) for key, item in value.items()}


def _unpack_special(mark, inner, blobs):
    try:
        if mark == "$text" or mark == "$bytes":
            blob, blobs[inner] = blobs[inner], None
            if blob is _TOO_LARGE:
                raise MemoryError("not enough memory for a value from the host")
            if type(blob) is FilledText:
                return blob.text() if mark == "$text" else blob.data()
            return str(blob, "utf-8") if mark == "$text" else bytes(blob)
        if mark == "$int":
            return _parse_int(inner)
        if mark == "$float":
            return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[inner]
        if mark == "$dict":
            return {unpack(key, blobs): unpack(item, blobs) for key, item in inner}
    except (KeyError, IndexError, TypeError, ValueError) as problem:
        raise ProtocolError(f"bad {mark} value: {problem}") from None
    raise ProtocolError(f"unknown value mark {mark!r}")


def _parse_int(text):
    try:
        return int(text)
    except ValueError:
        if not text.lstrip("-").isdigit() or len(text) > MAX_INT_BITS // 3:
            raise
        value = 0
        for start in range(0, len(text.lstrip("-")), 4000):
            piece = text.lstrip("-")[start : start + 4000]
            value = value * 10 ** len(piece) + int(piece)
        return -value if text.startswith("-") else value


# ---- frames out ----


def encode(message, blobs):
    """The parts of one frame. Large texts are not copied: each blob is a part of its own."""
    header = _dumps(message).encode("utf-8", "replace")
    blobs.charge(len(header))
    if len(header) > MAX_SENT_HEADER:
        limit = f"{MAX_SENT_HEADER >> 20} MiB"
        raise ValueError(f"the value is too large for one message: more than {limit} besides its long texts")
    prefix = [MAGIC, len(header).to_bytes(4, "big"), len(blobs).to_bytes(4, "big")]
    prefix += [len(blob).to_bytes(8, "big") for blob in blobs]
    prefix.append(header)
    return [b"".join(prefix), *blobs]


def needs_packing(values):
    """Whether `pack` may change any of the values. It leaves those of most calls as they are."""
    for value in values:
        if type(value) is not dict:
            if not _is_own(value):
                return True
        elif "$" in "".join(value) or not all(map(_is_own, value.values())):
            return True
    return False


def _is_own(value):
    """Whether this is its own Abyme JSON for sure: a short text, an integer, a constant, or an empty list."""
    kind = type(value)
    if kind is str:
        return len(value) < TEXT_BLOB
    if kind is int:
        return -(1 << 63) <= value < 1 << 63
    return value is None or kind is bool or (kind is list and not value)


def encode_short(message, limit):
    """`encode` for a message that needs no packing, if it is short: then it takes little of the host's
    memory. None for a long one.
    """
    if limit is not None and limit < _LITTLE:
        return None
    header = _dumps(message).encode("utf-8", "replace")
    if len(header) > _ATOMIC - _PREFIX:
        return None
    return [b"".join((MAGIC, len(header).to_bytes(4, "big"), _NO_BLOBS, header))]


class FrameWriter:
    """Writes whole frames, one at a time, from any thread."""

    def __init__(self, fd):
        self._fd = fd
        self.lock = RLock()
        self._owner = None  # the thread in the middle of a frame
        self._waiting = []

    def write(self, parts, allowed=None):
        """Write a frame, unless `allowed()` says that it comes too late. Return whether it was taken.

        A finaliser or signal handler of the cell may call this while the same thread is writing (the lock is
        reentrant). Its frame then waits until the other one is complete.
        """
        with self.lock:
            if allowed is not None and not allowed():
                return False
            if self._owner is not None:
                self._waiting.append(parts)
                return True
            self._owner = get_ident()
            try:
                self._write(parts)
                while self._waiting:
                    self._write(self._waiting.pop(0))
            finally:
                self._owner = None
        return True

    def busy_here(self):
        """Whether the calling thread is in the middle of a frame further down its stack."""
        return self._owner == get_ident()

    def _write(self, parts):
        """Write all bytes. After the first byte only C functions are called. A cut frame ends the session."""
        fd = self._fd
        # A pipe takes all or nothing of it, a socket perhaps a part.
        if len(parts) == 1 and len(parts[0]) <= _ATOMIC:
            try:
                written = writev(fd, parts)
            except OSError:
                raise ChannelClosed from None
            if written == len(parts[0]):
                return
            parts = [memoryview(parts[0])[written:]]
        try:
            views, index = [memoryview(part) for part in parts], 0
            while index < len(views):
                written = writev(fd, views[index : index + _WRITE_PARTS])
                while index < len(views) and written >= len(views[index]):
                    written -= len(views[index])
                    index += 1
                if index < len(views):
                    views[index] = views[index][written:]
        except BaseException:
            raise ChannelClosed(partial=True) from None


# ---- frames in ----

_TOO_LARGE = object()
_HEAD_BYTES = 200  # the beginning of a header, which says what the message is
_LARGE = 1 << 20  # from this size on, memory is not taken from a heap and cleared


class FrameReader:
    """Collects frames: `fill()` reads once, `peek()` returns a complete frame or None, `drop()` forgets it.

    The object keeps all progress, so a frame may arrive in any number of pieces and calls. Small frames are
    taken out of one buffer. Large blobs are read straight into memory of their own size. The caller keeps
    signal handlers and finalisers of the cell from entering a second time.
    """

    def __init__(self, fd):
        self._fd = fd
        self._buffer = b""  # bytes that are read and not used yet
        self._sizes = None  # sizes of header and blobs, once they are read
        self._header = None
        self._head = b""  # the beginning of a header that did not fit into memory
        self._blobs = []
        self._target = None  # what `fill` fills directly: [piece, its memory, bytes filled]
        self._target_size = 0
        self._functions = ()  # for texts that are filled; looked for when the first large blob comes

    def fill(self):
        """Block until there are more bytes, and keep them."""
        try:
            if self._target is not None:
                self._fill_target()
                return
            data = read_fd(self._fd, READ_BYTES)
        except OSError:
            raise ChannelClosed from None
        if not data:
            raise ChannelClosed(partial=bool(self._buffer) or self._sizes is not None)
        self._buffer = self._buffer + data if self._buffer else data

    def peek(self):
        """`(message, blobs)` if a frame is complete: the header as parsed JSON, with packed values."""
        buffer = self._buffer
        if self._sizes is None and buffer[8:_PREFIX] == _NO_BLOBS and buffer[:4] == MAGIC:
            size = int.from_bytes(buffer[4:8], "big")
            if len(buffer) == _PREFIX + size:  # most often one frame is there, and nothing else
                self._sizes, self._header, self._buffer = [size], buffer[_PREFIX:], b""
        if self._sizes is None and not self._take_sizes():
            return None
        if self._header is None and not self._take_header():
            return None
        while len(self._blobs) < len(self._sizes) - 1:
            if not self._take_blob(self._sizes[len(self._blobs) + 1]):
                return None
        return _parse_header(self._header, self._head), self._blobs

    def drop(self):
        """Forget the frame that `peek` returned."""
        self._sizes, self._header, self._blobs = None, None, []

    def _take_sizes(self):
        buffer = self._buffer
        if len(buffer) < _PREFIX:
            if buffer[:4] != MAGIC[: len(buffer)]:
                raise ProtocolError(f"not a frame: it begins with {bytes(buffer[:16])!r}")
            return False
        if buffer[:4] != MAGIC:
            raise ProtocolError(f"not a frame: it begins with {bytes(buffer[:16])!r}")
        header, count = int.from_bytes(buffer[4:8], "big"), int.from_bytes(buffer[8:12], "big")
        if header > MAX_HEADER or count > MAX_BLOBS:
            what = f"a header of {header} bytes and {count} blobs"
            raise ProtocolError(f"a frame with {what} is over the limits")
        end = _PREFIX + 8 * count
        if len(buffer) < end:
            return False
        sizes = [int.from_bytes(buffer[at : at + 8], "big") for at in range(_PREFIX, end, 8)]
        if sizes and max(sizes) > MAX_BLOB:
            raise ProtocolError(f"a blob of {max(sizes)} bytes is over the limit")
        self._buffer, self._sizes = buffer[end:], [header, *sizes]
        return True

    def _take_header(self):
        piece = self._take_piece(self._sizes[0])
        if piece is None:
            return False
        self._header = piece
        return True

    def _take_blob(self, size):
        piece = self._take_piece(size)
        if piece is None:
            return False
        self._blobs.append(piece)
        return True

    def _take_piece(self, size):
        """`size` bytes from the buffer, or from memory that `fill` fills if the buffer cannot hold them."""
        if self._target is not None:
            piece, _memory, filled = self._target
            if filled < size:
                return None
            self._target = None
            return piece
        if len(self._buffer) >= size:
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            return piece
        if size > READ_BYTES:
            self._begin_target(size)
        return None

    def _begin_target(self, size):
        piece, memory, start = *self._room(size), self._buffer
        if memory is not None:
            memory[: len(start)] = start
        elif self._header is None:
            self._head = start[:_HEAD_BYTES]
        self._target, self._target_size, self._buffer = [piece, memory, len(start)], size, b""

    def _fill_target(self):
        target = self._target
        piece, memory, filled = target
        if memory is None:  # read past it: the session goes on with a MemoryError
            data = read_fd(self._fd, min(READ_BYTES, self._target_size - filled))
            if self._header is None:
                self._head += data[: _HEAD_BYTES - len(self._head)]
            got = len(data)
        else:
            got = readv(self._fd, [memory[filled:]])
        if not got:
            raise ChannelClosed(partial=True)
        target[2] = filled = filled + got
        if type(piece) is FilledText:
            piece.look(filled)

    def _room(self, size):
        """A header or a blob that is to come, and its memory."""
        try:
            if size < _LARGE:
                piece = bytearray(size)
                return piece, memoryview(piece)
            if self._header is not None:
                if self._functions == ():
                    self._functions = find_functions()
                if self._functions is not None:
                    piece = FilledText(self._functions, size)
                    return piece, piece.view
            from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

            # Anonymous pages need no clearing and return to the system after use. Shared ones cost more.
            piece = mmap(-1, size, MAP_PRIVATE | MAP_ANONYMOUS)
            return piece, memoryview(piece)
        except (MemoryError, OSError, ImportError):
            return _TOO_LARGE, None


def _parse_header(data, head):
    if data is _TOO_LARGE:
        return _parse_head(head)
    try:
        message = _loads(str(data, "utf-8"))
    except MemoryError:
        return _parse_head(bytes(data[:_HEAD_BYTES]))
    except (ValueError, StopIteration) as problem:
        raise ProtocolError(f"bad header: {problem or 'not JSON'}") from None
    if type(message) is not dict or type(message.get("type")) is not str:
        raise ProtocolError("a header must be an object with a type")
    return message


def _parse_head(head):
    """A message whose header does not fit into memory: its fields before the first one of any size."""
    text = str(head, "utf-8", "replace")
    for mark in (',"code":', ',"value":', ',"error":'):
        start = text.partition(mark)[0]
        if start != text:
            return {**_loads(start + "}"), "does_not_fit": True}
    raise ProtocolError("not enough memory for a header")


def check_fits(message):
    """MemoryError if the message did not fit into memory."""
    if message.get("does_not_fit"):
        raise MemoryError("a value from the host does not fit what is left of the session's memory")
