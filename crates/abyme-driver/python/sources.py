"""The text of cells and tools, for tracebacks, `inspect.getsource` and `FINAL_VAR`."""

import sys
from _weakref import ref

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

MAX_SOURCES = 1000
_modules = sys.modules
_import = __import__
_sessions = []  # weak references to the `Sources` of this process
_METHODS = (staticmethod, classmethod)


class Sources:
    """The text of the recent cells and tools of a session.

    Tracebacks and `inspect` read it from `linecache`, which is slow to import: the text waits here until a
    cell imports something.
    """

    def __init__(self, variables):
        self.variables = variables  # the namespace of the session
        self._texts = {}  # name -> text, in order of age
        self._waiting = {}
        _sessions[:] = [other for other in _sessions if other() is not None] + [ref(self)]

    def add(self, name, source):
        """Register the text of a file that does not exist."""
        texts = self._texts
        texts.pop(name, None)
        texts[name] = self._waiting[name] = source
        if len(texts) > MAX_SOURCES:
            self._forget(next(iter(texts)))
        if "linecache" in _modules or "import" in source:
            self.publish()
        if "inspect" in _modules or "inspect" in source:
            _teach_inspect()

    def text(self, name):
        """The text of a cell or tool, or None."""
        return self._texts.get(name)

    def publish(self):
        """Give linecache the texts that it does not have yet."""
        try:
            linecache = _modules.get("linecache") or _import("linecache")
            for name, source in self._waiting.items():
                lines = [line + "\n" for line in source.split("\n")]
                linecache.cache[name] = (len(source), None, lines, name)
        except BaseException:  # a cell broke linecache: tracebacks then lack source lines
            pass
        self._waiting.clear()

    def file_of(self, cls):
        """The cell that defines a class of `__main__`, or None.

        A class does not know its file. Its functions do; without any, its text is looked for.
        """
        for value in list(vars(cls).values()):
            if type(value) is property:
                value = value.fget
            elif type(value) in _METHODS:
                value = value.__func__
            if type(value) is _FUNCTION and value.__qualname__ == f"{cls.__qualname__}.{value.__name__}":
                if value.__code__.co_filename in self._texts:
                    return value.__code__.co_filename
        line = vars(cls).get("__firstlineno__")  # since Python 3.13; that of its first decorator, if any
        for name, text in reversed(list(self._texts.items())):
            lines = _class_lines(text, cls.__name__)
            if lines and (line is None or line in lines or _is_decorator(text, line)):
                return name
        return None

    def _forget(self, name):
        del self._texts[name]
        self._waiting.pop(name, None)
        try:
            _modules["linecache"].cache.pop(name, None)
        except BaseException:  # not imported yet, or broken by a cell
            pass


_FUNCTION = type(Sources.add)


def _class_lines(text, name):
    """The numbers of the lines that begin with `class <name>`."""
    if name not in text:
        return []
    heads = [line.replace("(", " ").replace(":", " ").split(None, 2)[:2] for line in text.split("\n")]
    return [number for number, words in enumerate(heads, 1) if words == ["class", name]]


def _is_decorator(text, line):
    lines = text.split("\n")
    return line <= len(lines) and lines[line - 1].lstrip()[:1] == "@"


def _teach_inspect():
    """Let `inspect` find the classes of cells: it looks for the file of their module, which has none."""
    try:
        inspect = _modules.get("inspect") or _import("inspect")
        if getattr(inspect.getfile, "knows_cells", False):
            return
        inspect.getfile = _knowing(inspect.getfile)
    except BaseException:  # a cell broke it
        pass


def _knowing(original):
    def getfile(object):
        if isinstance(object, type) and object.__module__ == "__main__":
            main = vars(_modules["__main__"])
            for sources in [reference() for reference in _sessions]:
                if sources is not None and sources.variables is main:
                    file = sources.file_of(object)
                    if file is not None:
                        return file
        return original(object)

    getfile.__doc__, getfile.__module__ = original.__doc__, original.__module__
    getfile.knows_cells = True
    return getfile
