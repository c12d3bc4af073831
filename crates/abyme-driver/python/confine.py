"""Gives up what a session never needs, and what only the process itself can give up: to run other programs.

A host that isolates its sessions refuses most system calls before Python starts. `execve` cannot be among
them, because it starts Python. So the host hands over a seccomp filter, which is installed before the first
cell runs and stays for good.
"""

import sys

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_PR_SET_SECCOMP, _MODE_FILTER, _RTLD_NOW = 22, 2, 2
_INSTRUCTION = 8  # bytes


def refuse_programs(argument):
    """Install a filter: `must:` or `may:`, and its instructions in hexadecimal. The latter may fail."""
    how, _, text = argument.partition(":")
    try:
        _install(bytearray.fromhex(text))
    except Exception as problem:
        if how == "must":
            sys.exit(
                f"this session cannot be kept from running programs ({type(problem).__name__}: {problem}): "
                "that needs a Python with `ctypes`. Install one, or start sessions with what there is "
                "(`.isolation(IsolationMode::BestEffort)`, `--isolation best-effort`)"
            )


def _install(program):
    # The C part of `ctypes` alone: importing the rest takes milliseconds.
    import _ctypes

    char = type("char", (_ctypes._SimpleCData,), {"_type_": "c"})
    instructions = (char * len(program)).from_buffer(program)
    # struct sock_fprog: the number of instructions, and where they are
    count = (len(program) // _INSTRUCTION).to_bytes(8, sys.byteorder)
    where = _ctypes.addressof(instructions).to_bytes(8, sys.byteorder)
    filter = (char * 16).from_buffer(bytearray(count + where))
    prctl = _ctypes.dlsym(_ctypes.dlopen(None, _RTLD_NOW), "prctl")
    if _ctypes.call_function(prctl, (_PR_SET_SECCOMP, _MODE_FILTER, filter, 0, 0)) != 0:
        raise OSError("the kernel refused the filter")
