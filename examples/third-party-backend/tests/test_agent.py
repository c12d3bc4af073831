"""Tests the agent as a process, with a host made here.

No code of Abyme runs: a session can be any Python text.
"""

import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
import unittest

AGENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agent.py")
SECRET = "a secret of some length"
SPIN = "import sys\nprint('up', flush=True)\nwhile True:\n    pass"
REPORT = """
import os, subprocess, sys
print(os.getpid(), subprocess.Popen(["sleep", "1000"]).pid, os.getcwd(), flush=True)
"""


def start(*arguments, secret=SECRET):
    environment = {**os.environ, "ABYME_AGENT_SECRET": secret}
    return subprocess.Popen(
        [sys.executable, AGENT, "--listen", "127.0.0.1:0", "--with-stdin", *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def is_running(process):
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return bool(file.read())  # a zombie has none
    except OSError:
        return False


def eventually(what):
    start = time.monotonic()
    while not what():
        if time.monotonic() - start > 5:
            return False
        time.sleep(0.01)
    return True


class Connection:
    """One connection, from the greeting on."""

    def __init__(self, port, ask, secret=SECRET, version=1, **fields):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")
        self.greeting = self.read()
        nonces = self.greeting["nonce"] + ":mine"
        proof = lambda who: hmac.new(secret.encode(), f"{who}:{nonces}".encode(), hashlib.sha256).hexdigest()
        self.write({"version": version, "nonce": "mine", "proof": proof("host"), "ask": ask, **fields})
        self.answer = self.read()
        self.proven = self.answer.get("proof") == proof("agent")

    def write(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def read(self):
        return json.loads(self.file.readline())

    def close(self):
        self.file.close()
        self.socket.close()


class AgentCase(unittest.TestCase):
    arguments = ()

    def setUp(self):
        self.agent = start(*self.arguments)
        self.addCleanup(self.end)
        self.port = int(self.agent.stdout.readline().rpartition(b":")[2])

    def end(self):
        self.agent.stdin.close()
        self.agent.wait(20)
        self.agent.stdout.close()
        self.agent.stderr.close()

    def connect(self, ask, **fields):
        connection = Connection(self.port, ask, **fields)
        self.addCleanup(connection.close)
        return connection

    def session(self, boot, **limits):
        control = self.connect("control")
        stream = self.connect("stream", session=control.answer["session"], boot=boot, limits=limits)
        self.assertTrue(control.answer["ok"] and stream.answer["ok"] and stream.proven, stream.answer)
        return control, stream

    def reporting(self, then=""):
        control, stream = self.session(REPORT + then)
        process, child, directory = stream.file.readline().decode().split()

        def is_left(with_child=True):
            return is_running(process) or os.path.exists(directory) or (with_child and is_running(child))

        return control, stream, is_left

    def refused(self, ask, **fields):
        answer = self.connect(ask, **fields).answer
        self.assertFalse(answer["ok"])
        return answer["error"]


class Handshake(AgentCase):
    arguments = ("--max-sessions", "2")

    def test_what_is_refused(self):
        self.assertEqual(self.refused("control", secret="another secret, longer"), "secret")
        self.assertEqual(self.refused("control", proof="é"), "secret")
        self.assertEqual(self.refused("control", proof=None), "secret")
        self.assertEqual(self.refused("control", version=2), "version")
        self.assertEqual(self.refused("something"), "request")
        self.assertEqual(self.refused("stream"), "request")
        self.assertEqual(self.refused("stream", session="none", boot=""), "request")

    def test_requests_that_make_no_sense(self):
        name = self.connect("control").answer["session"]
        wrong_limits = ({"boot": "", "limits": limits} for limits in ({"memory": -1}, {"x": 1}))
        for fields in ({}, {"boot": 1}, *wrong_limits):
            self.assertEqual(self.refused("stream", session=name, **fields), "request", fields)
        stream = self.connect("stream", session=name, boot=SPIN)
        self.assertTrue(stream.answer["ok"])
        self.assertEqual(self.refused("stream", session=name, boot=SPIN), "request")

    def test_sessions_are_counted(self):
        first = self.connect("control")
        self.connect("control")
        self.assertEqual(self.refused("control"), "busy")
        first.close()
        self.assertTrue(eventually(lambda: self.connect("control").answer["ok"]))

    def test_garbage_is_hung_up_on(self):
        deep = b"[" * 100000 + b"\n"
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", deep, b"x" * 200000):
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                connection.recv(1000)
                try:
                    connection.sendall(garbage)
                    self.assertEqual(connection.recv(1000), b"")
                except ConnectionError:
                    pass
        self.assertTrue(self.connect("control").answer["ok"])


class Sessions(AgentCase):
    def test_the_connection_is_standard_input_and_output(self):
        echo = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
        control, stream = self.session(echo)
        stream.socket.sendall(b"hello\n")
        self.assertEqual(stream.file.readline(), b"HELLO\n")
        stream.socket.shutdown(socket.SHUT_WR)
        self.assertIn("ended", control.read())

    def test_the_environment_is_short(self):
        _, stream = self.session("import os, json\nprint(json.dumps([dict(os.environ), os.getcwd()]))")
        environment, directory = stream.read()
        allowed = "PATH LANG LC_CTYPE LD_LIBRARY_PATH MALLOC_ARENA_MAX HOME TMPDIR TZ"
        self.assertLessEqual(set(environment), set(allowed.split()))
        self.assertEqual((environment["HOME"], environment["TMPDIR"]), (directory, directory))

    def test_the_directory_is_private(self):
        code = "import os\nprint(oct(os.stat('.').st_mode & 0o777), os.getpgid(0) == os.getpid())"
        _, stream = self.session(code)
        self.assertEqual(stream.file.readline(), b"0o700 True\n")

    def test_limits(self):
        code = "import sys\nprint('resource' in sys.modules, '_limit' in globals())\n"
        code += "from resource import *\n"
        code += "print(getrlimit(RLIMIT_CPU), getrlimit(RLIMIT_NOFILE)[0], getrlimit(RLIMIT_CORE))"
        _, stream = self.session(code, cpu_seconds=3, open_files=40)
        self.assertEqual(stream.file.read(), b"False False\n(3, 4) 40 (0, 0)\n")

    def test_an_interrupt_is_confirmed_after_it_is_delivered(self):
        # Python sleeps on where a signal comes just before it begins to.
        code = "import time\ntry:\n    print('up', flush=True)\n    while True: time.sleep(0.01)\n"
        code += "except KeyboardInterrupt:\n    print('caught')"
        control, stream = self.session(code)
        stream.file.readline()
        control.write({"do": "interrupt"})
        self.assertEqual(control.read(), {"done": "interrupt"})
        self.assertEqual(stream.file.readline(), b"caught\n")
        self.assertEqual(control.read(), {"ended": "exited with code 0"})
        control.write({"do": "interrupt"})
        self.assertEqual(control.read(), {"done": "interrupt"})

    def test_how_it_ended(self):
        for code, how in (
            ("import os\nos._exit(3)", "exited with code 3"),
            ("import os\nos.abort()", "was killed by SIGABRT"),
            ("import os\nos.kill(os.getpid(), 9)", "was killed by SIGKILL, perhaps because memory ran out"),
            ("import sys\nsys.exit('no luck')", "exited with code 1; its last words: no luck"),
        ):
            control, _ = self.session(code)
            self.assertEqual(control.read(), {"ended": how})

    def test_used_up_processor_time(self):
        control, _ = self.session(SPIN, cpu_seconds=1)
        self.assertEqual(control.read(), {"ended": "was killed by SIGXCPU: the processor time is used up"})

    def test_last_output_arrives_although_input_is_unread(self):
        control, stream = self.session("import os\nos.read(0, 1)\nos.write(1, b'x' * 100000)\nos._exit(0)")
        stream.socket.sendall(b"unread" * 1000)
        control.read()
        self.assertEqual(len(stream.file.read()), 100000)


class Ends(AgentCase):
    def test_a_kill(self):
        control, _, is_left = self.reporting("while True: pass")
        control.write({"do": "kill"})
        self.assertEqual(control.read(), {"ended": "was killed by its host"})
        self.assertTrue(eventually(lambda: not is_left()))

    def test_the_stream_ends(self):
        control, stream, is_left = self.reporting("while True: pass")
        stream.close()
        self.assertEqual(control.read(), {"ended": "was killed when its host hung up"})
        self.assertTrue(eventually(lambda: not is_left()))

    def test_the_control_connection_ends(self):
        control, stream, is_left = self.reporting("while True: pass")
        control.close()
        self.assertEqual(stream.file.read(), b"")
        self.assertTrue(eventually(lambda: not is_left()))

    def test_it_ends_by_itself(self):
        _, _, is_left = self.reporting("os.makedirs('a/b')\nos.chmod('a', 0)")
        self.assertTrue(eventually(lambda: not is_left()))

    def test_the_agent_ends(self):
        control, _, is_left = self.reporting("while True: pass")
        self.agent.stdin.close()
        self.agent.wait(20)
        self.assertFalse(is_left(with_child=False))
        # The agent does not wait for what was killed with the process.
        self.assertTrue(eventually(lambda: not is_left()))
        self.assertEqual(control.file.readline()[:6], b'{"ende')

    def test_the_agent_is_terminated(self):
        _, _, is_left = self.reporting("while True: pass")
        self.agent.terminate()
        self.assertEqual(self.agent.wait(20), 0)
        self.assertFalse(is_left(with_child=False))
        self.assertTrue(eventually(lambda: not is_left()))

    def test_the_agent_is_killed(self):
        _, stream, is_left = self.reporting("while True: pass")
        self.agent.kill()
        self.agent.wait(20)
        self.assertTrue(eventually(lambda: not is_left()))
        self.assertEqual(stream.file.read(), b"")


class CommandLine(unittest.TestCase):
    def fails(self, *arguments, **given):
        agent = start(*arguments, **given)
        _, words = agent.communicate(timeout=20)
        self.assertNotEqual(agent.returncode, 0)
        return words.decode()

    def test_wrong_arguments(self):
        self.assertIn("set ABYME_AGENT_SECRET", self.fails(secret=""))
        self.assertIn("at least 16 characters", self.fails(secret="short"))
        self.assertIn("is not an address", self.fails("--listen", "7411"))
        self.assertIn("cannot listen", self.fails("--listen", "192.0.2.1:1"))

    def test_a_python_that_is_not_there(self):
        agent = start("--python", "/nonexistent/python3")
        port = int(agent.stdout.readline().rpartition(b":")[2])
        control = Connection(port, "control")
        stream = Connection(port, "stream", session=control.answer["session"], boot="")
        self.assertEqual(stream.answer["error"], "start")
        self.assertIn("/nonexistent/python3", stream.answer["message"])
        control.close()
        stream.close()
        agent.communicate(timeout=20)


if __name__ == "__main__":
    unittest.main()
