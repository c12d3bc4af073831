"""The filter that a host has the driver install before the first cell."""

import os
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import PYTHON_DIR  # noqa: E402

EXECVE = {"x86_64": 59, "aarch64": 221}.get(os.uname().machine)
PROGRAM = """
import ctypes, os, runpy, sys
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no new privileges, as a host asks for
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@unittest.skipUnless(sys.platform == "linux" and EXECVE, "no seccomp here")
class Confine(unittest.TestCase):
    def start(self, argument):
        """What the driver writes before it reads, and the end of its stderr."""
        command = [sys.executable, "-I", "-c", PROGRAM, os.path.join(PYTHON_DIR, "stdio.py"), argument]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        return done.stdout[:4], done.stderr.decode()

    def test_a_filter_is_installed(self):
        instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, EXECVE), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
        program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
        child = f"""
import os, sys
sys.path.insert(0, {PYTHON_DIR!r})
import ctypes
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
import confine
confine.refuse_programs("must:{program.hex()}")
try:
    os.execv(sys.executable, [sys.executable, "-c", "print('executed')"])
except PermissionError:
    print("refused")
"""
        done = subprocess.run([sys.executable, "-I", "-B", "-c", child], capture_output=True, timeout=30)
        self.assertEqual(done.stdout, b"refused\n", done)

    def test_without_a_filter_that_must_be_there_it_does_not_start(self):
        frame, words = self.start("must:00")
        self.assertEqual(frame, b"")
        self.assertIn("cannot be kept from running programs", words)
        self.assertIn("IsolationMode::BestEffort", words)

    def test_without_one_that_may_be_missing_it_does(self):
        frame, _ = self.start("may:00")
        self.assertEqual(frame, b"ABY1")


if __name__ == "__main__":
    unittest.main()
