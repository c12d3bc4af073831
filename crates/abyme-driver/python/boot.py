"""Starts the driver without a file on disk: `python3 -I -c <this>`, with a bundle at the start of stdin.

A bundle is a letter, a length (8 bytes, big endian), and that many bytes. For `J` and `C` they are a JSON
object of file names and sources. For `M` they are code that a Python made of these, so that they need not be
compiled again: the number of its bytecode's version, and by the names the code of each file, as `marshal`
writes it. With `C` the driver hands such code back when it is ready. Code of another Python is answered with
a frame that asks for sources, and a bundle with these follows.

`stdio` is run, and makes modules of the other files. The protocol follows on standard input. Python compiles
this text in each session, so what can be elsewhere is elsewhere.
"""

import sys
from marshal import dumps, loads
from os import read, write

from _frozen_importlib_external import MAGIC_NUMBER


def _read(size):
    data = bytearray()
    while len(data) < size:
        data += read(0, min(size - len(data), 1 << 16)) or sys.exit("the driver's source ended early")
    return data


def _bundle():
    return _read(1), _read(int.from_bytes(_read(8), "big"))


def _names():
    kind, data = _bundle()
    if kind == b"M":
        try:
            if data.startswith(MAGIC_NUMBER):
                return {"codes": dict(loads(memoryview(data)[len(MAGIC_NUMBER) :]))}
        except Exception:  # it is damaged
            pass
        write(1, b'ABY1\0\0\0\x12\0\0\0\0{"type":"sources"}')
        kind, data = _bundle()
    from json import loads as parse

    sources = parse(data).items()
    codes = {name: dumps(compile(text, f"<abyme>/{name}.py", "exec", 0, True)) for name, text in sources}
    return {"codes": codes, "handed_back": MAGIC_NUMBER + dumps(codes) if kind == b"C" else None}


_of_main = {"__name__": "__main__", "__file__": "<abyme>/stdio.py", "__builtins__": __builtins__, **_names()}
exec(loads(_of_main["codes"].pop("stdio")), _of_main)
