"""Runs Abyme sessions for hosts on other machines: `python3 agent.py --listen 127.0.0.1:7411`.

The agent needs Python 3.9 or later on a Unix machine and nothing else: no package, and no code of Abyme,
which each host sends. Host and agent share a secret, in the environment variable ABYME_AGENT_SECRET. It
proves the identity of both and encrypts nothing. Listen on loopback or inside a private network, and let
hosts connect through an ssh tunnel or WireGuard.

Each session has two connections. Both begin with three lines of JSON:

    agent  {"agent": "abyme", "version": 1, "nonce": N}
    host   {"version": 1, "nonce": M, "proof": HMAC("host:N:M"), "ask": "control" or "stream", ...}
    agent  {"ok": true, "proof": HMAC("agent:N:M"), ...} or {"ok": false, "error": KIND, "message": TEXT}

The HMAC is SHA-256 in hexadecimal, its key the secret. KIND is "version", "secret", "request", "busy" or
"start".

`control` comes first and makes a session; its answer has the name: "session". It then takes the lines
{"do": "interrupt"}, answered by {"done": "interrupt"} once the signal is delivered, and {"do": "kill"}. When
the process has ended, for whatever reason, the agent says so once: {"ended": "exited with code 3"}.

`stream` names the "session", and has "boot", the Python text to start, and "limits", an object of numbers
(see LIMITS). After the answer the connection itself is the standard input and output of a Python process that
runs this text.

The process has a group, a directory and a short environment of its own. It is killed, with its group, when
either connection ends, when the control connection says so, and when the agent ends in any way.
"""

import argparse
import hashlib
import hmac
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

VERSION = 1
SECRET = "ABYME_AGENT_SECRET"
SECRET_FD = "ABYME_AGENT_SECRET_FD"
SHORTEST_SECRET = 16
LONGEST_LINE = 1 << 17
HANDSHAKE_SECONDS = 10  # for the lines that begin a connection
LINGER_SECONDS = 2  # for the host to take the last words of a process
CLOSE_SECONDS = 5  # for the sessions to clean up after themselves when the agent ends
LAST_WORDS = 4096

LIMITS = {
    "memory": "RLIMIT_AS",
    "cpu_seconds": "RLIMIT_CPU",
    "file_size": "RLIMIT_FSIZE",
    "processes": "RLIMIT_NPROC",
    "open_files": "RLIMIT_NOFILE",
}

# This runs in the session's process before the code that the host sends. Code between fork and exec is not
# safe with threads, and this agent has many. A limit that is lower already stays. At the soft limit of
# processor time the kernel sends a signal that names it, at the hard one it kills.
LIMIT = """
def _limit(limits):
    import resource, sys
    for name, size in limits.items():
        number = getattr(resource, name)
        soft, hard = resource.getrlimit(number)
        lower = lambda size, now: size if now == resource.RLIM_INFINITY else min(size, now)
        resource.setrlimit(number, (lower(size, soft), lower(size + (name == "RLIMIT_CPU"), hard)))
    del sys.modules["resource"]
_limit({limits})
del _limit
"""

# The process waits for the agent's answer on the connection, for nothing may come before it.
WAIT = """
import os
os.read({answered}, 1)
os.close({answered})
del os
"""

# The watchdog is a process of its own. The end of the agent, however it comes, closes the pipe, and then the
# watchdog cleans up what the agent had.
WATCHDOG = """
import json, os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
left = {}
for line in sys.stdin:
    process, directory = json.loads(line)
    if directory is None:
        left.pop(process, None)
    else:
        left[process] = directory
for process, directory in left.items():
    try:
        os.killpg(process, signal.SIGKILL)
    except OSError:
        pass
    shutil.rmtree(directory, ignore_errors=True)
"""


class Refused(Exception):
    """A connection that is not served: a kind for the host's program, and a message for its user."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


# ---- lines ----


def send_line(connection, message):
    """Sends one line."""
    connection.sendall(json.dumps(message).encode() + b"\n")


def read_lines(connection):
    """The messages of a connection until it ends. Raises ValueError for a line that is not JSON."""
    waiting = b""
    while True:
        try:
            data = connection.recv(4096)
        except OSError:
            return
        if not data:
            return
        waiting += data
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            yield json.loads(line)
        if len(waiting) > LONGEST_LINE:
            raise ValueError("a line is too long")


def read_first_line(connection, deadline):
    """The host's first line. On a stream the bytes after it are for the process."""
    line = b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        data = connection.recv(4096)
        line += data
        if not data or len(line) > LONGEST_LINE:
            raise ValueError("the connection did not begin with a line")
    message = json.loads(line)  # a second line makes this fail: a host waits for the answer
    if not isinstance(message, dict):
        raise ValueError("the first line is no JSON object")
    return message


def proof(secret, who, nonces):
    """A proof that only a holder of the secret can compute."""
    return hmac.new(secret, f"{who}:{nonces}".encode(), hashlib.sha256).hexdigest()


# ---- sessions ----


class Session:
    """A process, its two connections, and its directory."""

    def __init__(self, agent, control):
        self.name = secrets.token_hex(16)
        self._agent = agent
        self._control = control
        self._lock = threading.Lock()
        self._saying = threading.Lock()
        self._process = None
        self._over = False
        self._killed = None  # why the agent killed it

    def say(self, message):
        """Sends a message to the host, if it still listens."""
        with self._saying:
            try:
                send_line(self._control, message)
            except OSError:
                pass

    def interrupt(self):
        """Sends SIGINT to the process and to none of its children. It is delivered when this returns."""
        with self._lock:
            if self._process is not None and not self._over:
                self._process.send_signal(signal.SIGINT)

    def kill(self, why):
        """Kills the process with its group. It may be called at any time, also before the start."""
        with self._lock:
            if self._over:
                return
            if self._process is not None:
                self._killed = self._killed or why
                self._kill_group()
                return
            self._over = True
        self.say({"ended": f"was not started: it {why}"})

    def _kill_group(self):
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except OSError:
            pass

    def serve(self, stream, ask, welcome):
        """Starts the process on `stream`. Returns when its group has ended and its directory is removed."""
        directory = tempfile.mkdtemp(prefix="abyme-agent-", dir=self._agent.temp_dir)
        process = None
        # The process waits until no end of this pipe is open for writing.
        answered, unanswered = os.pipe()
        try:
            try:
                process = self._start(stream, ask, directory, answered)
            finally:
                os.close(answered)
            hung_up = threading.Thread(target=self._watch, args=(stream,), daemon=True)
            hung_up.start()
            try:
                send_line(stream, welcome)
            except OSError:
                self.kill("was killed when its host hung up")
            os.close(unanswered)
            unanswered = None
            code = process.wait()
            with self._lock:
                self._over = True
                self._kill_group()
            self.say({"ended": self._killed or describe(code, last_words(process.stderr))})
        finally:
            if unanswered is not None:
                os.close(unanswered)
            remove(directory)
            if process is not None:
                self._agent.watchdog.forget(process.pid)
                process.stderr.close()
        linger(stream)
        hung_up.join()

    def _start(self, stream, ask, directory, answered):
        before = LIMIT.replace("{limits}", repr(limits(ask))) + WAIT.replace("{answered}", str(answered))
        command = [self._agent.python, "-I", "-c", before + ask["boot"]]
        stream.setblocking(True)  # the process shares this, so nothing below may set a time limit
        with self._lock:
            if self._over or self._process is not None:
                raise Refused("request", "this session has a stream already, or has ended")
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=stream.fileno(),
                    stdout=stream.fileno(),
                    stderr=subprocess.PIPE,
                    cwd=directory,
                    env=environment(directory),
                    pass_fds=(answered,),
                    start_new_session=True,
                )
            except (OSError, ValueError) as problem:
                raise Refused("start", f"cannot start {self._agent.python}: {problem}") from None
            self._agent.watchdog.remember(self._process.pid, directory)
            return self._process

    def _watch(self, stream):
        """Kills the process when the host hangs up; a busy one would not notice."""
        poll = select.poll()
        poll.register(stream, getattr(select, "POLLRDHUP", 0))  # POLLHUP and POLLERR always count
        poll.poll()
        self.kill("was killed when its host hung up")


def limits(ask):
    """The limits of a request, by their names in Python's module `resource`."""
    given = ask.get("limits", {})
    if not isinstance(ask.get("boot"), str) or not isinstance(given, dict):
        raise Refused("request", "a stream needs a text `boot` and an object `limits`")
    for name, size in given.items():
        if name not in LIMITS or type(size) is not int or not 0 <= size < 1 << 62:
            raise Refused("request", f"`{name}: {size}` is not a limit that this agent knows")
    return {"RLIMIT_CORE": 0, **{LIMITS[name]: size for name, size in given.items()}}


def environment(directory):
    """The environment of a session.

    Each arena of malloc takes 64 MB of address space, which is limited, so there are few of them.
    """
    given = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    given.update({name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ})
    return {**given, "HOME": directory, "TMPDIR": directory}


def describe(code, last):
    """How a process ended, as the rest of a sentence that begins with "the interpreter"."""
    if code >= 0:
        how = f"exited with code {code}"
    else:
        notes = {
            signal.SIGKILL: ", perhaps because memory ran out",
            signal.SIGXCPU: ": the processor time is used up",
            signal.SIGXFSZ: ": a file grew over its limit",
        }
        try:
            how = f"was killed by {signal.Signals(-code).name}{notes.get(-code, '')}"
        except ValueError:
            how = f"was killed by signal {-code}"
    return f"{how}; its last words: {last}" if last else how


def last_words(stderr):
    """What a process wrote to stderr before the driver took it over. Its children may hold the pipe open."""
    os.set_blocking(stderr.fileno(), False)
    return (stderr.read(LAST_WORDS) or b"").decode("utf-8", "replace").strip()


def remove(directory):
    """Removes a session's directory, also if the code removed its own permissions in it."""
    shutil.rmtree(directory, ignore_errors=True)
    if os.path.exists(directory):
        for parent, names, _ in os.walk(directory):
            for name in names:
                path = os.path.join(parent, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(directory, ignore_errors=True)


def linger(stream):
    """Closes a connection without losing output. A close with unread input would reset the connection."""
    deadline = time.monotonic() + LINGER_SECONDS
    try:
        stream.shutdown(socket.SHUT_WR)
        while True:
            stream.settimeout(max(0.001, deadline - time.monotonic()))
            if not stream.recv(65536):
                break
    except OSError:
        pass
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


# ---- the agent ----


class Watchdog:
    """The process that cleans up after the agent."""

    def __init__(self):
        self._changed = threading.Condition()
        self._left = set()  # the processes that it remembers
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", WATCHDOG],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def remember(self, process, directory):
        """Lets the watchdog clean up this group and its directory from now on."""
        with self._changed:
            self._left.add(process)
            self._tell(process, directory)

    def forget(self, process):
        """The group has ended and its directory is removed."""
        with self._changed:
            self._left.discard(process)
            self._changed.notify_all()
            self._tell(process, None)

    def close(self):
        """Waits for the sessions to clean up. After a while the watchdog cleans up what is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._left, CLOSE_SECONDS)
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, process, directory):
        try:
            self._process.stdin.write(json.dumps([process, directory]).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # the watchdog was killed, or the agent is ending
            pass


class Agent:
    """A listening socket and the sessions of its hosts."""

    def __init__(self, listener, secret, python=sys.executable, temp_dir=None, max_sessions=256):
        self.listener = listener
        self.python = python
        self.temp_dir = temp_dir
        self.watchdog = Watchdog()
        self._secret = secret
        self._max_sessions = max_sessions
        self._sessions = {}

    def serve(self):
        """Accepts connections until the listening socket is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                if self.listener.fileno() < 0:
                    return
                time.sleep(0.1)  # no descriptor is free: some session will end
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self):
        """Ends all sessions, and returns when their processes and directories are gone."""
        for session in list(self._sessions.values()):
            session.kill("was killed because its agent ended")
        self.watchdog.close()

    def _serve(self, connection):
        with connection:
            try:
                tune(connection)
                ask, welcome = self._handshake(connection)
                if ask.get("ask") == "control":
                    self._control(connection, welcome)
                elif ask.get("ask") == "stream":
                    self._stream(connection, ask, welcome)
                else:
                    raise Refused("request", "a connection is for `control` or `stream`")
            except Refused as refused:
                refuse(connection, refused)
            except (OSError, RecursionError, ValueError):
                pass  # the connection ended, or its other end is no host

    def _handshake(self, connection):
        deadline = time.monotonic() + HANDSHAKE_SECONDS
        nonce = secrets.token_hex(16)
        connection.settimeout(HANDSHAKE_SECONDS)
        send_line(connection, {"agent": "abyme", "version": VERSION, "nonce": nonce})
        ask = read_first_line(connection, deadline)
        if ask.get("version") != VERSION:
            raise Refused("version", f"this agent speaks version {VERSION}, not {ask.get('version')}")
        nonces = f"{nonce}:{ask.get('nonce')}"
        expected = proof(self._secret, "host", nonces).encode()
        if not hmac.compare_digest(expected, str(ask.get("proof")).encode()):
            raise Refused("secret", "the secret is not this agent's")
        connection.setblocking(True)
        return ask, {"ok": True, "proof": proof(self._secret, "agent", nonces)}

    def _control(self, connection, welcome):
        session = Session(self, connection)
        if len(self._sessions) >= self._max_sessions:
            raise Refused("busy", f"this agent has {self._max_sessions} sessions and takes no more")
        self._sessions[session.name] = session
        try:
            send_line(connection, {**welcome, "session": session.name})
            for command in read_lines(connection):
                if command == {"do": "interrupt"}:
                    session.interrupt()
                    session.say({"done": "interrupt"})
                elif command == {"do": "kill"}:
                    session.kill("was killed by its host")
        finally:
            del self._sessions[session.name]
            session.kill("was killed when its host hung up")

    def _stream(self, connection, ask, welcome):
        session = self._sessions.get(ask.get("session")) if isinstance(ask.get("session"), str) else None
        if session is None:
            raise Refused("request", "there is no such session")
        session.serve(connection, ask, welcome)


def tune(connection):
    """Sends small messages at once, and detects within a minute that a host has vanished."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def refuse(connection, refused):
    """Says why a connection is not served."""
    try:
        send_line(connection, {"ok": False, "error": refused.kind, "message": str(refused)})
    except OSError:
        return
    linger(connection)


# ---- the program ----


def take_secret():
    """The secret, taken out of the environment: a session could read it there, in `/proc/<agent>/environ`.

    The kernel shows the environment that a program was started with, so this program starts itself once more,
    in the same process, and hands the secret over in a pipe.
    """
    if SECRET_FD in os.environ:
        with os.fdopen(int(os.environ.pop(SECRET_FD)), "rb") as pipe:
            return pipe.read()
    secret = os.environ.pop(SECRET, "").encode()
    if len(secret) < SHORTEST_SECRET:
        sys.exit(
            f"agent: set {SECRET} to a secret of at least {SHORTEST_SECRET} characters that the hosts know, "
            "such as the output of: python3 -c 'import secrets; print(secrets.token_hex(32))'"
        )
    if len(secret) > 4096:
        sys.exit(f"agent: {SECRET} is longer than 4096 characters")
    read_end, write_end = os.pipe()
    os.write(write_end, secret)
    os.close(write_end)
    os.set_inheritable(read_end, True)
    os.environ[SECRET_FD] = str(read_end)
    os.execv(sys.executable, [sys.executable, "-I", os.path.abspath(__file__), *sys.argv[1:]])


def address(text):
    """`host:port`, also `[::1]:port`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"`{text}` is not an address such as 127.0.0.1:7411")
    return host.strip("[]"), int(port)


def listen(where):
    """A listening socket for an address of either family."""
    family, kind, protocol, _, target = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(target)
    listener.listen(128)
    return listener


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs Abyme sessions for hosts on other machines.")
    add = parser.add_argument
    add("--listen", type=address, required=True, metavar="HOST:PORT", help="port 0 picks a free one")
    add("--python", default=sys.executable, help="the Python of the sessions; default: this one")
    add("--temp-dir", help="where the sessions' directories are made; default: the system's")
    add("--max-sessions", type=int, default=256)
    add("--with-stdin", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    if sys.version_info < (3, 9):
        sys.exit("agent: Python 3.9 or later is needed")
    secret = take_secret()
    try:
        listener = listen(options.listen)
    except OSError as problem:
        sys.exit(f"agent: cannot listen on {options.listen[0]}:{options.listen[1]}: {problem}")
    agent = Agent(listener, secret, options.python, options.temp_dir, options.max_sessions)
    host, port = listener.getsockname()[:2]
    if not (host.startswith("127.") or host == "::1"):
        warning = f"agent: {host} may be reached from other machines, and nothing here is encrypted"
        print(warning, file=sys.stderr)
    print(f"agent listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
    threading.Thread(target=agent.serve, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if options.with_stdin:
            while os.read(0, 4096):
                pass
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    agent.close()


if __name__ == "__main__":
    main()
