"""`threading.local` by task. (The version in Python's library takes a lock at every access.)"""

from weakref import WeakKeyDictionary

from _abyme.errors import hide_frames_of
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
_get, _set, _delete = object.__getattribute__, object.__setattr__, object.__delattr__


class local:
    """Thread-local data: attributes that each thread has its own of."""

    __slots__ = ("_local__dicts", "_local__arguments", "__dict__", "__weakref__")

    def __new__(cls, /, *args, **kwargs):
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        _set(self, "_local__dicts", WeakKeyDictionary({scheduler.current: _get(self, "__dict__")}))
        _set(self, "_local__arguments", (args, kwargs))
        return self

    def __getattribute__(self, name):
        _switch(self)
        return _get(self, name)

    def __setattr__(self, name, value):
        _switch(self)
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        _set(self, name, value)

    def __delattr__(self, name):
        _switch(self)
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        _delete(self, name)


def _switch(self):
    """Put the attributes of the current task in place; a task's first access runs `__init__`."""
    dicts, task = _get(self, "_local__dicts"), scheduler.current
    own = dicts.get(task)
    if own is None:
        own = dicts[task] = {}
        _set(self, "__dict__", own)
        if type(self).__init__ is not object.__init__:
            args, kwargs = _get(self, "_local__arguments")
            type(self).__init__(self, *args, **kwargs)
    elif _get(self, "__dict__") is not own:
        _set(self, "__dict__", own)


def install():
    """Make it `threading.local`."""
    import _thread
    import threading

    local.__module__, local.__qualname__ = "_thread", "_local"
    threading.local = _thread._local = local
    scheduler.shield(_switch)
