"""A command in a sandbox that can be saved: it carries the streams of the driver that its runner starts.

usage: relay.py <socket> <seed> <the driver's command>...

It ends when its input does, or with the driver, as that ended.
"""

import json
import os
import signal
import socket
import sys
import threading
import time

START_TIMEOUT = 30  # seconds until the runner has to listen
MAX_STDERR = 1 << 16


def connect(path):
    limit = time.monotonic() + START_TIMEOUT
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(path)
            return link
        except OSError as problem:
            link.close()
            if time.monotonic() > limit:
                sys.exit(f"the runner of the sandbox does not answer: {problem}")
            time.sleep(0.01)


def send(link):
    try:
        while data := os.read(0, 1 << 20):
            link.sendall(data)
        link.shutdown(socket.SHUT_WR)
    except OSError:  # the driver has ended
        pass


def main(path, seed, *command):
    link = connect(path)
    asked = {"command": command, "seed": seed, "env": dict(os.environ), "cwd": os.getcwd()}
    link.sendall(json.dumps(asked).encode() + b"\n")
    threading.Thread(target=send, args=(link,), daemon=True).start()
    while data := link.recv(1 << 20):
        while data:
            data = data[os.write(1, data):]
    try:
        with open(path + ".exit") as file:
            code = int(file.read())
    except FileNotFoundError:  # it goes on
        return 0
    with open(path + ".stderr", "rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - MAX_STDERR, 0))
        os.write(2, file.read())
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


sys.exit(main(*sys.argv[1:]))
