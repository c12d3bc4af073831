"""Proxies for what Python has once per process: the streams, `__main__`, the source lines of cells.

Each proxy stands for the session of the calling thread. Threads of the host's own see what was there before.
"""

import linecache
import sys

from _abyme.threads import current

# Each file has a private copy of the builtins: a cell that says `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

STREAMS = ("stdout", "stderr", "stdin")
_ModuleType = type(sys)
_host_streams = {name: getattr(sys, name) for name in STREAMS}
_host_main = sys.modules.get("__main__")


class CaptureOfWriter:
    """The writer below a session's stream: text goes to the capture of the session that writes.

    An object that all sessions share, such as a handler of `logging`, keeps the stream of the session that
    made it.
    """

    def __init__(self, session, name):
        self._session = session
        self.name = name

    def _capture(self):
        return getattr(current() or self._session, self.name)

    def write(self, text):
        """See `Capture`."""
        self._capture().write(text)

    def flush(self):
        """See `Capture`."""
        self._capture().flush()


class Stream:
    """The `sys.stdout` of `print` and C code: passes everything on to the stream of the calling thread."""

    def __init__(self, name):
        self._name = name

    def write(self, text):
        """Write to the stream of the calling thread; to none if that is None, which `print` cannot see."""
        stream = _stream(self._name)
        return len(text) if stream is None else stream.write(text)

    def flush(self):
        """Flush the stream of the calling thread."""
        stream = _stream(self._name)
        if stream is not None:
            stream.flush()

    def __getattr__(self, name):
        return getattr(_stream(self._name), name)

    def __iter__(self):
        return iter(_stream(self._name))


def _stream(name):
    session = current()
    return _host_streams[name] if session is None else session.streams[name]


def _stream_property(name):
    def read(_module):
        return _stream(name)

    def write(_module, stream):
        session = current()
        streams = _host_streams if session is None else session.streams
        streams[name] = stream

    return property(read, write)


class Sys(_ModuleType):
    """The class of `sys`: `sys.stdout`, `stderr` and `stdin` are those of the calling thread's session."""

    stdout, stderr, stdin = (_stream_property(name) for name in STREAMS)


class Main(_ModuleType):
    """`__main__`: the module of the calling thread's session."""

    def __getattribute__(self, name):
        return getattr(_main(), name)

    def __setattr__(self, name, value):
        setattr(_main(), name, value)

    def __delattr__(self, name):
        delattr(_main(), name)

    def __dir__(self):
        return dir(_main())

    def __repr__(self):
        return repr(_main())


def _main():
    session = current()
    return _host_main if session is None else session.module


class Lines(dict):
    """The cache of `linecache`, in which `<cell 1>` is the one of the calling thread's session."""

    def _key(self, key):
        session = current()
        if session is None or type(key) is not str or key[:1] != "<":
            return key
        return (session.number, key)

    def __getitem__(self, key):
        return dict.__getitem__(self, self._key(key))

    def __setitem__(self, key, value):
        dict.__setitem__(self, self._key(key), value)

    def __delitem__(self, key):
        dict.__delitem__(self, self._key(key))

    def __contains__(self, key):
        return dict.__contains__(self, self._key(key))

    def get(self, key, default=None):
        """See `dict`."""
        return dict.get(self, self._key(key), default)

    def pop(self, key, *default):
        """See `dict`."""
        return dict.pop(self, self._key(key), *default)

    def copy(self):
        """The entries of files alone, for `checkcache`, which looks for files that changed."""
        return {key: value for key, value in self.items() if type(key) is str}

    def forget(self, number):
        """Drop the source lines of a session's cells."""
        for key in [key for key in list(self) if type(key) is tuple and key[0] == number]:
            dict.pop(self, key, None)


main = Main("__main__")
lines = Lines(linecache.cache)


def install():
    """Install all proxies, once per process."""
    sys.__class__ = Sys
    reinstall()


def reinstall():
    """Install the proxies that are entries of dicts, which a cell may have replaced."""
    values = vars(sys)
    for name in STREAMS:
        if type(values.get(name)) is not Stream:
            values[name] = Stream(name)
    if sys.modules.get("__main__") is not main:
        sys.modules["__main__"] = main
    if linecache.cache is not lines:
        linecache.cache = lines
