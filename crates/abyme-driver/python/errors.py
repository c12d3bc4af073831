"""Reports an exception to the model, with the frames of the cell and without those of the driver."""

from _operator import attrgetter

from _abyme.display import clip, message_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

TRACEBACK_CHARS = 8000
MESSAGE_CHARS = 4000
TYPE_CHARS = 200
FRAMES = 25  # of a traceback: so many of the first, and as many of the last
CHAINED = 10  # exceptions in one report
FILE = "<abyme>"  # the file name of generated code
_FAR = 1000  # so many entries of a traceback are passed over at C speed
_far = attrgetter(".".join(["tb_next"] * _FAR))
_hidden = {FILE}
_slots = vars(BaseException)  # a class of the cell may have attributes of these names
_AT_ONCE = (
    "a host function returns its value at once, unless it is awaited itself: write `await f(x)` in an "
    "`async def`, or pass `asyncio.to_thread(f, x)`"
)
# What a session adds to Python's own words: (words of the message, hint). A backend may add to it.
hints = [
    ("can't be used in 'await' expression", "the function returned its value at once: leave `await` out"),
    ("EOF when reading a line", "nobody can type here: input() and sys.stdin have nothing to read"),
    ("awaitable is required", _AT_ONCE),
    ("a coroutine was expected", _AT_ONCE),
]


def hide_frames_of(function):
    """Keep the frames of the file that defines `function` out of tracebacks."""
    _hidden.add(function.__code__.co_filename)


hide_frames_of(hide_frames_of)


def report(problem, stage, cell):
    """The `error` object of a `done` message. `line` is the line in the file called `cell`."""
    ends = _ends(problem.__traceback__)
    return {
        "type": clip(type_of(problem), TYPE_CHARS),
        "message": clip(_message(problem), MESSAGE_CHARS),
        "traceback": clip(_traceback(problem, cell, ends), TRACEBACK_CHARS),
        "stage": stage,
        "line": _line(problem, cell, ends),
    }


def bare_report(problem, stage):
    """The report without running any code of the exception's class, for the case that `report` fails."""
    name = clip(type(problem).__name__, TYPE_CHARS)
    return {"type": name, "message": "", "traceback": f"{name}\n", "stage": stage, "line": None}


def last_words(problem):
    """How a forked child ends when it comes to the end of the cell: its exit code and its text for stderr."""
    if problem is None:
        return 0, ""
    if isinstance(problem, SystemExit):
        code = problem.code if isinstance(problem.code, int) else int(problem.code is not None)
        return code & 0xFF, ""
    return 1, report(problem, "run", "")["traceback"]


def type_of(problem):
    """The class name, with its module unless that is `builtins` or `__main__`."""
    kind = type(problem)
    module = getattr(kind, "__module__", None)
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{module}.{kind.__qualname__}"


def _message(problem):
    if type(problem) is SystemExit:
        return f"the cell asked to exit with code {problem.code!r}; the session goes on"
    message = message_of(problem)
    return message + _hint(message).rstrip().replace("(", " (", 1)


def _line(problem, cell, ends):
    """The line in the cell: that of its innermost frame, or of the syntax error in it.

    The frames that a very deep traceback leaves out are not looked at: the cell itself is among the first.
    """
    first, last, missing = ends
    traces = _traces(problem.__traceback__) if missing < _FAR else first + last
    for trace in reversed(traces):
        if trace.tb_frame.f_code.co_filename == cell:
            return trace.tb_lineno
    if isinstance(problem, SyntaxError) and problem.filename == cell:
        return problem.lineno
    return None


def _traceback(problem, cell, ends):
    changed = []
    try:
        from traceback import TracebackException

        gaps = _shorten(problem, ends, changed)
        view = TracebackException(type(problem), problem, problem.__traceback__)
        _drop_driver_frames(view, set())
        files = [frame.filename for frame in view.stack]
        if cell in files:  # the frames before it, of asyncio for example, only called the cell
            del view.stack[: files.index(cell)]
        text = "".join(view.format())
        for file, missing in gaps.items():
            before, *parts = text.split(f'  File "{file}"')
            parts = [f"  ... [{missing} frames omitted] ...{part[part.index(chr(10)) :]}" for part in parts]
            text = before + "".join(parts)
        return text + _hint(text)
    except Exception:  # the cell may have broken the traceback module, or the exception raises everywhere
        return f"{type_of(problem)}: {message_of(problem)}\n"
    finally:
        for exception, slot, value in reversed(changed):
            _slots[slot].__set__(exception, value)


def _shorten(problem, ends, changed):
    """Cut long tracebacks and chains of exceptions, for as long as they are being formatted.

    Formatting costs up to 0.3 ms a frame, and deep recursion leaves hundreds of thousands of them. What is
    cut is noted in `changed`: (exception, slot, value). `ends` are those of the problem's own traceback.
    Returns the files of the frames that stand for those left out, and how many these are.
    """
    gaps, seen, waiting = {}, set(), [(problem, 1)]

    def change(exception, slot, value):
        changed.append((exception, slot, _slots[slot].__get__(exception)))
        _slots[slot].__set__(exception, value)

    while waiting:
        exception, number = waiting.pop()
        if id(exception) in seen:
            continue
        seen.add(id(exception))
        if exception is not problem:
            ends = _ends(_slots["__traceback__"].__get__(exception))
        first, last, missing = ends
        if missing:
            file = f"<gap {missing}>"
            gaps[file] = missing
            change(exception, "__traceback__", _with_gap(first, last, file))
        if number == CHAINED:
            for slot in ("__suppress_context__", "__cause__", "__context__"):
                change(exception, slot, None if slot != "__suppress_context__" else True)
            continue
        others = [_slots[slot].__get__(exception) for slot in ("__cause__", "__context__")]
        others += getattr(exception, "exceptions", None) or ()
        waiting += [(other, number + 1) for other in others if isinstance(other, BaseException)]
    return gaps


def _with_gap(first, last, file):
    """The first and the last entries of a traceback, with one of the given file between them."""
    # The frame of a generator has no caller. That of a function would keep its callers', whose variables hold
    # the whole traceback, in a cycle that is there until the next collection of garbage.
    frame = eval(compile("(_ for _ in ())", file, "eval", 0, True)).gi_frame
    new = last[0]
    kind = type(new)
    new = kind(new, frame, 0, 1)
    for trace in reversed(first):
        new = kind(new, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
    return new


def _hint(text):
    return "".join([f"({hint})\n" for words, hint in hints if words in text[-300:]])


def _ends(trace):
    """The first and the last entries of a traceback, and how many are left out between them."""
    first = _traces(trace, FRAMES)
    trace = first[-1].tb_next if first else None
    missing, before = 0, None
    try:
        while (far := _far(trace)) is not None:
            missing, before, trace = missing + _FAR, trace, far
    except AttributeError:  # the end comes earlier
        pass
    if before is not None:
        missing, trace = missing - _FAR, before
    last = _traces(trace)
    more = max(len(last) - FRAMES, 0)
    return first, last[more:], missing + more


def _traces(trace, most=None):
    """The entries of a traceback, the outermost first."""
    traces = []
    while trace is not None and len(traces) != most:
        traces.append(trace)
        trace = trace.tb_next
    return traces


def _drop_driver_frames(view, visited):
    """Filter the stack of an exception and of all exceptions that it is chained to or groups."""
    if view is None or id(view) in visited:
        return
    visited.add(id(view))
    view.stack[:] = [frame for frame in view.stack if frame.filename not in _hidden]
    _drop_driver_frames(view.__cause__, visited)
    _drop_driver_frames(view.__context__, visited)
    for member in getattr(view, "exceptions", None) or ():
        _drop_driver_frames(member, visited)
