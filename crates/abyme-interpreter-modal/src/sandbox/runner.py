"""The own program of a sandbox that can be saved: it runs a driver, and connects it to relays in turn.

usage: runner.py <socket>

What is saved of a sandbox is its own program and what that started, and no command; so the driver is started
here, and relays, which are commands, carry its streams. A relay says in a line of JSON what to start and a
seed for random numbers, and sends the driver's input after it. What the driver writes to stderr, and how it
ended, is in files beside the socket.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading


class Driver:
    """The driver, and the relay that it is connected to."""

    def __init__(self, path, asked):
        self.path, self.link, self.linked = path, None, threading.Condition()
        pipe = subprocess.PIPE
        with open(path + ".stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                asked["command"],
                stdin=pipe,
                stdout=pipe,
                stderr=stderr,
                env=asked["env"],
                cwd=asked["cwd"],
                bufsize=0,
            )
        threading.Thread(target=self.send, daemon=True).start()

    def receive(self, link, stream):
        """Hands on what a relay sends, until it ends."""
        with self.linked:
            self.link = link
            self.linked.notify()
        target = self.process.stdin.fileno()
        try:
            while data := stream.read1(1 << 20):
                while data:
                    data = data[os.write(target, data):]
        except OSError:  # the driver has ended, or the relay was killed
            pass
        with self.linked:
            self.link = None

    def send(self):
        """Hands on what the driver writes, to the end."""
        source = self.process.stdout.fileno()
        while data := os.read(source, 1 << 20):
            with self.linked:
                self.linked.wait_for(lambda: self.link is not None)
                link = self.link
            try:
                link.sendall(data)
            except OSError:  # the relay was killed: its session is over
                pass
        with open(self.path + ".new", "w") as file:
            file.write(str(self.process.wait()))
        os.rename(self.path + ".new", self.path + ".exit")
        with self.linked:
            if self.link is not None:
                self.link.shutdown(socket.SHUT_RDWR)


def main(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    driver = None
    while True:
        link, _ = listener.accept()
        with link, link.makefile("rb") as stream:
            asked = json.loads(stream.readline())
            if driver is None:
                driver = Driver(path, asked)
            else:
                # It may be one of several copies, which are not to draw the same random numbers.
                with open(path + ".seed", "w") as file:
                    file.write(asked["seed"])
                if driver.process.poll() is None:
                    driver.process.send_signal(signal.SIGUSR1)
            driver.receive(link, stream)


main(sys.argv[1])
