"""The names that a scope adds to a session: host functions and the public names of the user's tools."""

import sys
from sys import _getframe

from _abyme.convert import are_simple, plain, plain_fields
from _abyme.errors import FILE, hide_frames_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_USUAL = "positional_or_keyword"
_STARS = {"var_positional": "*", "var_keyword": "**"}
_SIMPLE_TYPES = {kind.__name__: kind for kind in (bool, bytes, dict, float, int, list, set, str, tuple)}
_SIMPLE_TYPES["None"] = None
_ModuleType = type(sys)
_modules = sys.modules

hide_frames_of(lambda: None)


# ---- host functions ----


def host_function(spec, host_call):
    """A plain Python function for `spec`: `help`, `inspect.signature` and Python's own TypeErrors work.

    `host_call(name, args, kwargs)` gets what a call binds: named parameters by name, and `args` only from
    `*args`.
    """
    parameters = spec.get("parameters") or []
    defaults = [parameter["default"] for parameter in parameters if "default" in parameter]
    call = _converting(host_call, lambda: function)
    function = _builder(spec["name"], parameters)(call, defaults)
    function.__qualname__ = spec["name"]
    function.__doc__ = spec.get("doc")
    function.__annotations__ = _annotations(spec, parameters)
    return function


# Signature -> its builder. Most sessions start with the same functions, and a base image has their builders.
_builders = {}


def _builder(name, parameters):
    """`build(call, d)` of `_source`, made once for all functions of one signature."""
    key = (name, *[(each["name"], each.get("kind", _USUAL), "default" in each) for each in parameters])
    build = _builders.get(key)
    if build is None:
        if len(_builders) > 1000:
            _builders.clear()
        space = {"__builtins__": __builtins__, "__name__": "abyme"}
        exec(compile(_source(name, parameters), FILE, "exec", dont_inherit=True), space)
        build = _builders[key] = space.pop("build")  # functions of all sessions share the rest of `space`
    return build


def _source(name, parameters):
    """`def build(call, d): def f(a, b=d[0], *c): return call("f", c, {"a": a, "b": b}); return f`."""
    _check_identifier(name)
    # The helpers reach the function by closure, under names no parameter of it has.
    taken = {parameter["name"] for parameter in parameters}
    call_name, defaults_name = _free_name("call", taken), _free_name("d", taken)
    signature, by_name, args = [], [], "()"
    default_index, starred = 0, False
    for parameter in parameters:
        own, kind = parameter["name"], parameter.get("kind", _USUAL)
        _check_identifier(own)
        if kind == "keyword_only" and not starred:
            signature.append("*")
            starred = True
        text = _STARS.get(kind, "") + own
        if "default" in parameter:
            text += f"={defaults_name}[{default_index}]"
            default_index += 1
        signature.append(text)
        if kind == "var_positional":
            args, starred = own, True
        else:
            by_name.append(f"**{own}" if kind == "var_keyword" else f"{own!r}: {own}")
    return (
        f"def build({call_name}, {defaults_name}):\n"
        f"  def {name}({', '.join(signature)}):\n"
        f"    return {call_name}({name!r}, {args}, {{{', '.join(by_name)}}})\n"
        f"  return {name}\n"
    )


def _free_name(wish, taken):
    while wish in taken:
        wish += "_"
    return wish


def _check_identifier(name):
    """Check that a name is one, because it becomes source. (A keyword fails in the compiler.)"""
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{name!r} is not a Python name")


def _annotations(spec, parameters):
    """The annotations: texts, but simple builtin types as themselves, which `help()` shows better."""
    texts = {each["name"]: each["annotation"] for each in parameters if each.get("annotation")}
    if spec.get("returns"):
        texts["return"] = spec["returns"]
    return {name: _SIMPLE_TYPES.get(text, text) for name, text in texts.items()}


def _converting(host_call, function):
    """Convert arguments while the gate is still open, because conversion may run code of the cell."""

    def call(name, args, kwargs):
        # Most arguments are plain as they are. This check runs at C speed.
        args = plain(list(args)) if args else []
        if not are_simple(map(type, kwargs.values())):
            kwargs = plain_fields(kwargs)
        caller = _getframe(1).f_back
        if caller is not None and caller.f_code.co_flags & _ASYNC and _awaits(caller):
            if not _in_event_loop():
                return _done(host_call(name, args, kwargs))
            return _in_thread(host_call, name, args, kwargs) if args else _in_thread(function(), **kwargs)
        return host_call(name, args, kwargs)

    return call


# ---- host functions that are awaited ----


def _awaits(frame):
    """Whether a frame awaits the result of the call that it is in, as in `await llm_query(x)`.

    A host function is no coroutine, but models write that, and mean that other tasks go on meanwhile.
    """
    global _get_awaitable
    if _get_awaitable is None:
        from opcode import opmap

        _get_awaitable = opmap["GET_AWAITABLE"]
    code, at = frame.f_code.co_code, frame.f_lasti + 2
    while at < len(code) and code[at] == _CACHE:
        at += 2
    return at < len(code) and code[at] == _get_awaitable


_ASYNC = 0x280  # CO_COROUTINE and CO_ASYNC_GENERATOR
_CACHE = 0  # what stands after a call since Python 3.11
_get_awaitable = None


def _in_event_loop():
    asyncio = _modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


async def _done(value):
    return value


async def _in_thread(function, /, *args, **kwargs):
    try:
        return await _modules["asyncio"].to_thread(function, *args, **kwargs)
    except Exception as problem:
        raise problem.with_traceback(None)  # without the frames of the thread


# ---- errors of host functions ----

_error_types = {}


def host_error(name, message):
    """The exception for an error of the host: a builtin Exception by name, or a RuntimeError of that name."""
    kind = __builtins__.get(name)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # it needs more arguments, as UnicodeDecodeError does
            pass
    kind = _error_types.get(name)
    if kind is None:
        if len(_error_types) > 1000:
            _error_types.clear()
        kind = _error_types[name] = type(name, (RuntimeError,), {"__module__": "__main__"})
    return kind(message)


# ---- the user's Python tools ----


class ToolModules:
    """Python tools given as source. Each runs once in its own module, until its source changes."""

    def __init__(self, register_source):
        self._register_source = register_source
        self._loaded = {}  # name -> (source, module)

    def load(self, specs, given):
        """Run new tools and return all public names. Tools may use names in `given`, not define them."""
        kept, names = {}, {}
        for spec in specs:
            name, source = spec["name"], spec["source"]
            loaded = self._loaded.get(name)
            if loaded is not None and loaded[0] == source:
                module = loaded[1]
                vars(module).update(given)
            else:
                module = self._run(name, source, given)
            kept[name] = (source, module)
            names.update(_public_names(name, module, given))
        self._loaded = kept
        return names

    def _run(self, name, source, given):
        stem = name[:-3] if name.endswith(".py") else name
        module = _ModuleType("abyme_tools_" + "".join(char if char.isalnum() else "_" for char in stem))
        file = f"<{name}>"
        self._register_source(file, source)
        vars(module).update(given)
        sys.modules[module.__name__] = module  # dataclasses, pickle and get_type_hints look it up there
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))
        return module


def _public_names(name, module, given):
    """Functions and classes defined in the module itself, without a leading underscore."""
    names = {}
    for key, value in vars(module).items():
        if key.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if not callable(value):
            continue
        if key in given:
            raise ValueError(f"{name} defines {key!r}, a name the session provides")
        names[key] = value
    return names
