"""Describes a Python and compiles the driver for it: `python3 -I -c <this>`, with the sources on stdin.

Writes one line of JSON (the real executable, its version, what it reads), then the code that `boot.py` takes
after `M`.
"""

import json
import marshal
import os
import sys

from _frozen_importlib_external import MAGIC_NUMBER

_sources = json.load(sys.stdin.buffer)
_codes = {
    name: marshal.dumps(compile(text, f"<abyme>/{name}.py", "exec", 0, True))
    for name, text in _sources.items()
}
_prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
_parts = ("lib", "lib64", "pyvenv.cfg", "share/zoneinfo")
_about = {
    "executable": sys.executable,
    "version": list(sys.version_info[:3]),
    "name": sys.implementation.name,
    # What it reads: its packages, and of the places where it is installed what belongs to Python.
    "reads": [path for path in sys.path if os.path.isabs(path)]
    + [os.path.join(prefix, part) for prefix in _prefixes for part in _parts],
}
sys.stdout.buffer.write(json.dumps(_about).encode() + b"\n" + MAGIC_NUMBER + marshal.dumps(_codes))
