"""The host as `Repl` sees it, on top of the module `_abyme_guest`; and host calls that no task waits for."""

from _contextvars import Context
from functools import partial
from weakref import WeakKeyDictionary

from _abyme import repl as repl_module
from _abyme.errors import hide_frames_of
from _abyme.scope import host_error, host_function
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
_STREAMS = {"stdout": 0, "stderr": 1}
_ContextRun = type(Context().run)
_specs = WeakKeyDictionary()  # host function -> its spec
_starters = WeakKeyDictionary()  # host function -> a function that starts the call and returns its number


class Host:
    """What `Repl` calls."""

    def __init__(self, guest):
        self.submit = _naming(guest.submit)
        self.call = _call_function(guest)
        self._output = guest.output

    def output(self, stream, text):
        """A piece of output."""
        self._output(_STREAMS[stream], text)


def _call_function(guest):
    """`Host.call`, a closure because every call runs through it. The gate is closed in it."""
    start, wait, reply = _naming(guest.start), guest.wait, guest.reply
    queue, calls, timers = scheduler.queue, scheduler.calls, scheduler.timers
    finish_call = scheduler.finish_call

    def call(name, args, kwargs):
        """Call a host function. Without other tasks: start, wait, reply. Other tasks run meanwhile."""
        number = start(name, args, kwargs)
        if not (queue or calls or timers or scheduler.depth) and wait(number, -1.0):
            ok, value = reply(number)
            if ok:
                return value
            raise host_error(value[0], value[1])
        outcome = finish_call(number)
        if outcome is None:
            return None  # interrupted: KeyboardInterrupt is raised as soon as the gate opens
        value, problem = outcome_of(outcome)
        if problem is not None:
            raise problem
        return value

    return call


def _naming(function):
    """Give its name to a lack of memory: `marshal` calls plain data unmarshallable then."""

    def pass_on(*args):
        try:
            return function(*args)
        except (ValueError, SystemError) as problem:
            if problem.args and problem.args[0] != "unmarshallable object":
                raise
            raise MemoryError("not enough memory to pass the value on") from None

    return pass_on


def outcome_of(reply):
    """`(value, None)` or `(None, exception)`."""
    if isinstance(reply, BaseException):
        return None, reply
    ok, value = reply
    return (value, None) if ok else (None, host_error(value[0], value[1]))


# ---- calls that no task waits for ----


def detached(function, args, kwargs):
    """Return a function that starts the call and returns its number; None if it is no host function.

    It is looked for inside of `functools.partial`, and of the `partial(context.run, function)` of
    `asyncio.to_thread`.
    """
    while True:
        if type(function) is partial:
            args, kwargs = function.args + args, {**function.keywords, **kwargs}
            function = function.func
        elif args and _is_context_run(function):
            function, args = args[0], args[1:]
        else:
            break
    try:
        starter = _starters.get(function) or _make_starter(function)
    except TypeError:  # not hashable, or no weak references: no host function
        return None
    return partial(starter, *args, **kwargs) if starter is not None else None


def _is_context_run(function):
    if type(function) is not _ContextRun or type(function.__self__) is not Context:
        return False
    return function.__name__ == "run"


def _make_starter(function):
    spec = _specs.get(function)
    if spec is None:
        return None
    starter = _starters[function] = host_function(spec, _start)
    return starter


def _start(name, args, kwargs):
    """Replaces `Repl._host_call`: begin the call and leave it to the scheduler."""
    gate = scheduler.gate
    held = gate.hold()
    try:
        scheduler.check_call(name)
        gate.before_raise()  # hands on the output that waits
        return _naming(scheduler.guest.start)(name, args, kwargs)
    finally:
        gate.release(held)


def _noting_host_function(spec, host_call):
    """Replaces `host_function` for `Repl`: the same, and notes the spec of each function."""
    function = host_function(spec, host_call)
    _specs[function] = spec
    return function


def install():
    """Note the host functions of all scopes to come."""
    repl_module.host_function = _noting_host_function
