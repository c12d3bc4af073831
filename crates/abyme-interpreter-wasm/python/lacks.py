"""What Python lacks in WebAssembly: hints that say so, and the one time zone that needs no database."""

import io
import zoneinfo._common

from _abyme import errors
from _abyme.errors import hide_frames_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
_NO_PROCESSES = (
    "this session runs in WebAssembly, without processes, pipes, users and terminals; "
    "threads are there: concurrent.futures.ThreadPoolExecutor"
)
HINTS = (
    ("No module named", "this session has Python's standard library and pure Python, but no native packages"),
    ("module 'os' has no attribute", _NO_PROCESSES),
    ("module 'shutil' has no attribute 'disk_usage'", _NO_PROCESSES),
    ("module 'signal' has no attribute", "this session has no timers; its own time limit ends a cell"),
    ("No time zone found", "this session has no time zones but UTC; use datetime.timezone with an offset"),
)
UTC = ("UTC", "Etc/UTC", "UCT", "Etc/UCT", "GMT", "Etc/GMT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu")
_load_tzdata = zoneinfo._common.load_tzdata


def load_tzdata(key):
    """The data of a time zone: UTC as RFC 8536 has it, with one type and no transitions."""
    if key not in UTC:
        return _load_tzdata(key)
    counts = b"".join([number.to_bytes(4, "big") for number in (0, 0, 0, 0, 1, 4)])
    name = b"GMT\0" if "GMT" in key else b"UTC\0"
    return io.BytesIO(b"TZif" + bytes(16) + counts + bytes(6) + name)


def install():
    """Add the hints, and give `zoneinfo` its one time zone."""
    errors.hints.extend(HINTS)
    zoneinfo._common.load_tzdata = load_tzdata
