"""Starts the driver without a file on disk: `python3 -I -c <this>`, with a bundle at the start of stdin.

A bundle is a letter, a length (8 bytes, big endian), and that many bytes. For `J` and `C` they are a JSON
object of file names and sources. For `M` they are code that a Python made of these, so that they need not be
compiled again: the number of its bytecode's version, and the code as `marshal` writes it. With `C` the driver
hands such code back when it is ready. Code of another Python is answered with a frame that asks for sources,
and a bundle with these follows.

Each driver file becomes a module of the package `_abyme`, and `stdio` is run. The protocol follows on
standard input.
"""

import sys
from marshal import dumps, loads
from os import read, write

from _frozen_importlib_external import MAGIC_NUMBER

_PACKAGE = "_abyme."
_ASKING = b'{"type":"sources"}'


def _read(size):
    parts = []
    while size:
        part = read(0, min(size, 1 << 20))
        if not part:
            sys.exit("the driver's source ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _bundle():
    kind, size = _read(1), int.from_bytes(_read(8), "big")
    return kind, _read(size)


def _codes(names):
    """The code of each file. What the driver hands back of it becomes one of its names."""
    kind, data = _bundle()
    if kind == b"M":
        if data.startswith(MAGIC_NUMBER):
            try:
                return dict(loads(memoryview(data)[len(MAGIC_NUMBER) :]))
            except Exception:  # it is damaged
                pass
        write(1, b"ABY1" + len(_ASKING).to_bytes(4, "big") + bytes(4) + _ASKING)
        kind, data = _bundle()
    from json import loads as parse

    sources = parse(data).items()
    codes = {name: compile(text, f"<abyme>/{name}.py", "exec", 0, True) for name, text in sources}
    if kind == b"C":
        names["handed_back"] = MAGIC_NUMBER + dumps(codes)
    return codes


class _Finder:
    """Finds `_abyme.<file>` in the bundle."""

    def __init__(self, codes):
        self.codes = codes

    def find_spec(self, name, path=None, target=None):
        if name.startswith(_PACKAGE) and name[len(_PACKAGE) :] in self.codes:
            return type(sys.__spec__)(name, self, origin="abyme")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self.codes.pop(module.__name__[len(_PACKAGE) :]), module.__dict__)
        # Cells import without this finder. The last file may have been imported by this one.
        if not self.codes and self in sys.meta_path:
            sys.meta_path.remove(self)


def _boot():
    names = {"__name__": "__main__", "__file__": "<abyme>/stdio.py", "__builtins__": __builtins__}
    codes = _codes(names)
    stdio = codes.pop("stdio")
    sys.meta_path.insert(0, _Finder(codes))
    exec(stdio, names)


_boot()
