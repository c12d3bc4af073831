"""Describes a Python and compiles the driver for it: `python3 -I -c <this>`, with the sources on stdin.

Writes one line of JSON (the real executable and its version), then the code that `boot.py` takes after `M`.
"""

import json
import marshal
import sys

_sources = json.load(sys.stdin.buffer)
_codes = {name: compile(text, f"<abyme>/{name}.py", "exec", 0, True) for name, text in _sources.items()}
_about = {
    "executable": sys.executable,
    "version": list(sys.version_info[:3]),
    "name": sys.implementation.name,
}
sys.stdout.buffer.write(json.dumps(_about).encode() + b"\n" + marshal.dumps(_codes))
