"""Reports an exception to the model, with the frames of the cell and without those of the driver."""

from _abyme.display import clip, message_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

TRACEBACK_CHARS = 8000
MESSAGE_CHARS = 4000
FILE = "<abyme>"  # the file name of generated code
_hidden = {FILE}


def hide_frames_of(function):
    """Keep the frames of the file that defines `function` out of tracebacks."""
    _hidden.add(function.__code__.co_filename)


hide_frames_of(hide_frames_of)


def report(problem, stage, cell):
    """The `error` object of a `done` message. `line` is the line in the file called `cell`."""
    return {
        "type": type_of(problem),
        "message": clip(_message(problem), MESSAGE_CHARS),
        "traceback": clip(_traceback(problem, cell), TRACEBACK_CHARS),
        "stage": stage,
        "line": _line(problem, cell),
    }


def bare_report(problem, stage):
    """The report without running any code of the exception's class, for the case that `report` fails."""
    name = type(problem).__name__
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
    return message_of(problem)


def _line(problem, cell):
    """The line in the cell: that of its innermost frame, or of the syntax error in it."""
    line = None
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == cell:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is None and isinstance(problem, SyntaxError) and problem.filename == cell:
        line = problem.lineno
    return line


def _traceback(problem, cell):
    try:
        from traceback import TracebackException

        view = TracebackException(type(problem), problem, problem.__traceback__)
        _drop_driver_frames(view, set())
        files = [frame.filename for frame in view.stack]
        if cell in files:  # the frames before it, of asyncio for example, only called the cell
            del view.stack[: files.index(cell)]
        return "".join(view.format())
    except Exception:  # the cell may have broken the traceback module, or the exception raises everywhere
        return f"{type_of(problem)}: {message_of(problem)}\n"


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
