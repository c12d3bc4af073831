"""An asyncio event loop without sockets: what it waits for are tasks (tasks.py), host calls and time."""

import asyncio
from asyncio import base_events, events, futures

from _abyme import tasks
from _abyme.errors import hide_frames_of
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
_NO_NETWORK = "there is no network in this session"
_NO_PROCESSES = "this session cannot start processes"
_NO_FILES = "this event loop cannot watch files, pipes or sockets"
_NO_SIGNALS = "this event loop takes no signal handlers"
_REFUSED_COROUTINES = {
    _NO_NETWORK: """create_connection create_server create_datagram_endpoint create_unix_connection
        create_unix_server connect_accepted_socket start_tls getaddrinfo getnameinfo sock_recv sock_recv_into
        sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept
        sock_sendfile sendfile""",
    _NO_PROCESSES: "subprocess_exec subprocess_shell",
    _NO_FILES: "connect_read_pipe connect_write_pipe",
}
_REFUSED = {
    _NO_FILES: "add_reader remove_reader add_writer remove_writer",
    _NO_SIGNALS: "add_signal_handler remove_signal_handler",
}


class EventLoop(base_events.BaseEventLoop):
    """The loop of `asyncio.run` in a session."""

    def __init__(self):
        super().__init__()
        self._selector = Selector(self._ready)

    def _process_events(self, _events):
        """There are none: tasks call back through `call_soon_threadsafe`."""

    def _write_to_self(self):
        """Nothing sleeps where this would have to wake it."""

    async def shutdown_default_executor(self, timeout=None):
        """Wait for what runs in the default executor; no thread is needed for that."""
        self._executor_shutdown_called = True
        if self._default_executor is not None:
            self._default_executor.shutdown(wait=True)


class Selector:
    """Replaces the selector: lets tasks run until the loop has something to do."""

    def __init__(self, ready):
        self._is_ready = ready.__len__

    def select(self, timeout):
        """What `BaseEventLoop` calls once in each round."""
        if timeout is not None and timeout <= 0:
            scheduler.poll()
        elif not self._is_ready():
            scheduler.block(self._is_ready, timeout)
        return ()

    def close(self):
        """There is nothing to close."""


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes such loops where no other loop is asked for."""

    _loop_factory = EventLoop


def _refuse(name, why, is_coroutine):
    """A method that says what cannot work here."""

    async def refuse(self, *_args, **_kwargs):
        raise NotImplementedError(f"{name}(): {why}")

    def refuse_at_once(self, *_args, **_kwargs):
        raise NotImplementedError(f"{name}(): {why}")

    method = refuse if is_coroutine else refuse_at_once
    method.__name__, method.__qualname__ = name, f"EventLoop.{name}"
    setattr(EventLoop, name, method)


for _table, _kind in ((_REFUSED_COROUTINES, True), (_REFUSED, False)):
    for _why, _names in _table.items():
        for _name in _names.split():
            _refuse(_name, _why, _kind)


def install():
    """Make this the loop of `asyncio`, and tell the scheduler how to switch loops."""
    # Each round of the loop comes to `Selector.select`, and there an interrupt does no harm.
    scheduler.shield(base_events.BaseEventLoop.__init__, events.Handle.__init__, futures.wrap_future)
    scheduler.shield(asyncio.gather, asyncio.run, asyncio.to_thread, asyncio.Lock.__init__)
    scheduler.shield(asyncio.Queue.__init__, asyncio.TaskGroup.__init__, asyncio.Timeout.__init__)
    EventLoop.__module__ = EventLoopPolicy.__module__ = "asyncio"
    tasks.get_running_loop, tasks.set_running_loop = events._get_running_loop, events._set_running_loop
    asyncio.SelectorEventLoop = asyncio.EventLoop = EventLoop
    asyncio.DefaultEventLoopPolicy = EventLoopPolicy
    asyncio.set_event_loop_policy(EventLoopPolicy())
