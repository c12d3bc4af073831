"""Starts the driver without a file on disk: `python3 -I -c <this>`, with a bundle at the start of stdin.

A bundle is `J` or `M`, a length (8 bytes, big endian), and that many bytes. For `J` they are a JSON object of
file names and sources. For `M` they are the code that `probe.py` compiled with the same Python, so that it
need not be compiled again. Each driver file becomes a module of the package `_abyme`, and `stdio` is run. The
protocol follows on standard input.
"""

import sys
from os import read

_PACKAGE = "_abyme."


def _read(size):
    parts = []
    while size:
        part = read(0, min(size, 1 << 20))
        if not part:
            sys.exit("the driver's source ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _codes():
    kind, size = _read(1), int.from_bytes(_read(8), "big")
    data = _read(size)
    if kind == b"M":
        from marshal import loads

        return loads(data)
    from json import loads

    return {name: compile(text, f"<abyme>/{name}.py", "exec", 0, True) for name, text in loads(data).items()}


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
    codes = _codes()
    stdio = codes.pop("stdio")
    sys.meta_path.insert(0, _Finder(codes))
    exec(stdio, {"__name__": "__main__", "__file__": "<abyme>/stdio.py", "__builtins__": __builtins__})


_boot()
