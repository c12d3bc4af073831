"""One Python session: a namespace that many cells share. No transport, standard library only.

A backend makes one `Repl(host)` and calls `run(request)` for each cell. `host` has three methods:

    call(name, args, kwargs) -> value      calls a host function and blocks; raises what the cell shall get
    submit(via, fields, value)             takes a submission: `fields` (a dict), or `value` if that is None
    output(stream, text)                   takes the next piece of the head of "stdout" or "stderr"

Requests and answers are described in PROTOCOL.md (`run` and `done`), with values as Python objects.
"""

import builtins
import sys
from _ast import PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST, Expr, Expression

from _abyme.capture import Capture, NoInput, TextOut
from _abyme.convert import plain
from _abyme.display import is_module, one_line, show, size_of, summary, type_name
from _abyme.errors import bare_report, hide_frames_of, report
from _abyme.gate import Gate
from _abyme.scope import ToolModules, host_function
from _abyme.submit import MISSING, Submissions, is_stop

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

PREIMPORTED = (
    "json", "re", "math", "collections", "itertools", "functools", "textwrap", "string", "copy", "datetime",
)  # fmt: skip
DEFAULT_OUTPUT_CHARS = 10_000
MAX_CHANGED = 30
MAX_SOURCES = 1000

_SHOW_VARS_DOC = (
    "All variables of the session, one line each: name, type with size, preview. Print or return it."
)
_FUTURES = 0x1FE0000  # the bits that `from __future__ import ...` sets in co_flags
_COROUTINE = 0x80
_COMPILE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
_DYNAMIC = ("globals", "locals", "vars", "dir", "eval", "exec", "__dict__")
_BUILTINS = vars(builtins)
_modules = sys.modules
_pristine_builtins = dict(_BUILTINS)
_import = __import__
_set_recursion_limit, _get_recursion_limit = sys.setrecursionlimit, sys.getrecursionlimit

for _function in (lambda: None, Gate.attempt, Capture.write, plain, show):
    hide_frames_of(_function)


class Repl:
    """A session. One thread calls `run` for all cells. Any thread may call host functions."""

    def __init__(self, host, preload=False):
        self.host = host
        self.gate = Gate()
        self.stdout = Capture("stdout", host.output, self.gate)
        self.stderr = Capture("stderr", host.output, self.gate)
        self.gate.before_raise = self.flush
        self._streams = (TextOut(self.stdout), TextOut(self.stderr), NoInput())
        self._stream_states = [dict(vars(stream)) for stream in self._streams]
        self.module = type(sys)("__main__")
        self.variables = vars(self.module)
        self.variables["__builtins__"] = builtins
        self._sources = Sources()
        self._tools = ToolModules(self._sources.add)
        self._submissions = Submissions(host, self.gate, lambda: self.variables)
        self._provided = {}
        self._lazy = dict.fromkeys(PREIMPORTED)
        self._states = {}  # name -> (id, size) of every user variable after the last cell
        self._others = {}  # name -> value of what is not a user variable: provided names and modules
        self._last = None  # the value of `_`
        self._count = 0
        self._recursion_limit = _get_recursion_limit()
        self.before_end = None  # a hook that collects late output
        self.after_cell = None  # a hook that may end a forked child or return the error of unfinished work
        self._set_scope({})
        if preload:
            self._import_lazy("".join(_DYNAMIC))

    # ---- what a backend calls ----

    def run(self, request):
        """Run one cell and return the fields of a `done` message."""
        self._begin(request)
        cap = request.get("max_output_chars", DEFAULT_OUTPUT_CHARS)
        answer = {"value": None, "error": None, "changed": [], "changed_total": 0}
        try:
            self._run_cell(request, cap, answer)
            self._read(request.get("reads") or (), answer)
        finally:
            if self.before_end is not None:
                self.before_end()
            answer["stdout"], answer["stderr"] = self.stdout.end(), self.stderr.end()
            self._submissions.end()
            answer["interrupted"] = self.gate.end()
        return answer

    def interrupt(self):
        """Ask the running cell, if there is one, to stop with KeyboardInterrupt. Any thread may call this."""
        self.gate.interrupt()

    def flush(self):
        """Send the output that waits."""
        self.stdout.flush()
        self.stderr.flush()

    @property
    def running(self):
        """Whether a cell is running."""
        return self.gate.running

    # ---- the steps of a cell ----

    def _begin(self, request):
        """Restore what an earlier cell may have changed, and open the session for this one."""
        if request.get("code"):  # the model, which counts cells too, does not know of one without code
            self._count += 1
        cap = request.get("max_output_chars", DEFAULT_OUTPUT_CHARS)
        self.stdout.begin(cap)
        self.stderr.begin(cap)
        self._enter()
        self._submissions.begin()
        self.gate.begin()

    def _run_cell(self, request, cap, answer):
        """Set the scope, compile, run and look at the result. Fills `answer`. An error names its stage."""
        code = request.get("code") or ""
        cell = request.get("name") or f"<cell {self._count}>"
        _, problem = self.gate.attempt(self._prepare, request, code)
        if problem is not None:
            self._restore()
            answer["error"] = self._report(problem, "scope", cell)
            return
        self._sources.add(cell, code)
        parts, problem = self.gate.attempt(_compile_cell, code, cell)
        if problem is not None:
            stage = "compile" if isinstance(problem, _COMPILE_ERRORS) else "run"
            answer["error"] = self._report(problem, stage, cell)
            return
        value, problem = self.gate.attempt(_execute, parts, self.variables)
        if self.after_cell is not None:
            problem = self.after_cell(problem) or problem
        late = self._settle()
        if problem is None or is_stop(problem):
            problem = late
        if problem is not None:
            answer["error"] = self._report(problem, "run", cell)
        elif value is not None:
            answer["value"] = self._show(value, cap)
        self._note_changes(answer)

    def _prepare(self, request, code):
        """Prepare what a cell needs when it starts: scope, variables, and the modules that it may mention."""
        scope = request.get("scope")
        if scope is not None:
            self._set_scope(scope)
        self._set_variables(request.get("variables") or {})
        if self._lazy:
            self._import_lazy(code)

    def _settle(self):
        """Undo what the cell did to provided names. Return the error of an `answer` at its end, if any."""
        _restore_builtins()
        if _get_recursion_limit() < self._recursion_limit:
            _set_recursion_limit(self._recursion_limit)
        current = self.variables.get("answer", MISSING)
        self._restore()
        if current is self._submissions.answer and not current.is_ready():
            return None
        return self.gate.attempt(self._submissions.settle_answer, current)[1]

    def _enter(self):
        """Make this session the program of the process. Replaced where sessions share a process."""
        self._restore_streams()
        _modules["__main__"] = self.module

    def _restore_streams(self):
        """Undo what a cell did to the streams: it may have replaced them or set attributes of ours."""
        sys.stdout, sys.stderr, sys.stdin = self._streams
        for stream, state in zip(self._streams, self._stream_states):
            vars(stream).clear()
            vars(stream).update(state)

    def _restore(self):
        variables = self.variables
        variables.setdefault("__name__", "__main__")
        variables.setdefault("__builtins__", builtins)
        for name, value in self._provided.items():
            if variables.get(name) is not value:
                variables[name] = value

    def _report(self, problem, stage, cell):
        """The error object. A waiting interrupt may break the first try, and a broken class both."""
        for _ in range(2):
            answer, failure = self.gate.attempt(self._report_once, problem, stage, cell)
            if failure is None:
                return answer
        return bare_report(problem, stage)

    def _report_once(self, problem, stage, cell):
        self._sources.publish()
        return report(problem, stage, cell)

    def _show(self, value, cap):
        """The last expression's value for the answer. `_` is bound to it, as in any Python prompt."""
        variables = self.variables
        if variables.get("_", self._last) is self._last:  # unless the cell uses the name for something else
            self._last = variables["_"] = value
        parts, problem = self.gate.attempt(show, value, cap)
        if problem is not None:
            parts = (f"<repr failed: {type(problem).__name__}>", "", None)
        return dict(zip(("text", "tail", "total"), parts))

    # ---- names ----

    def _set_scope(self, scope):
        """Replace the host functions, outputs and tools by those of `scope`."""
        host_call = self._host_call
        given = {spec["name"]: host_function(spec, host_call) for spec in scope.get("functions") or ()}
        self._submissions.outputs = scope.get("outputs") or []
        own = self._submissions.functions()
        own["answer"] = self._submissions.answer
        own["SHOW_VARS"] = self._show_vars_function()
        _check_clash("host functions", own.keys() & given.keys())
        given.update(own)
        given.update(self._tools.load(scope.get("modules") or (), given))
        for name in self._provided.keys() - given.keys():
            self.variables.pop(name, None)
        self._provided, self._others = given, dict(given)
        self._restore()

    def _set_variables(self, variables):
        _check_clash("variables", variables.keys() & self._provided.keys())
        self.variables.update(variables)
        for name, value in variables.items():
            self._lazy.pop(name, None)
            self._states[name] = (id(value), size_of(value))

    def _import_lazy(self, code):
        """Import the promised modules that a cell may use.

        Importing all of them doubles the start-up time of Python. So each is imported before the first cell
        whose text contains its name, or could reach names that it does not contain.
        """
        everything = any(word in code for word in _DYNAMIC)
        for name in list(self._lazy):
            if everything or name in code:
                del self._lazy[name]
                self.variables.setdefault(name, _import(name))

    def _host_call(self, name, args, kwargs):
        """Call the host for a generated host function. The gate is closed while the transport works."""
        gate = self.gate
        held = gate.hold()
        try:
            if not gate.running:
                raise RuntimeError(f"{name}(): no cell is running; host functions work only while one is")
            if self.stdout.waiting or self.stderr.waiting:
                self.flush()
            return self.host.call(name, args, kwargs)
        finally:
            gate.release(held)

    def _show_vars_function(self):
        def SHOW_VARS():
            variables = sorted(self._user_variables(), key=lambda pair: pair[0])
            lines = [f"{name}: {summary(value)}  {one_line(value)}" for name, value in variables]
            return "\n".join(lines) or "(no variables yet)"

        SHOW_VARS.__module__, SHOW_VARS.__qualname__ = "abyme", "SHOW_VARS"
        SHOW_VARS.__doc__ = _SHOW_VARS_DOC
        return SHOW_VARS

    def _user_variables(self):
        """The variables that the model or the user made: `(name, value)` pairs."""
        others = self._others
        return [
            (name, value)
            for name, value in list(self.variables.items())
            if others.get(name, MISSING) is not value and name[:1] != "_" and self._is_variable(name, value)
        ]

    def _is_variable(self, name, value):
        if is_module(value):
            if _modules.get(name) is value:  # most sessions have a dozen: remembering them makes this quick
                self._others[name] = value
            return False
        return name not in self._provided

    def _note_changes(self, answer):
        """Compare the namespace with that after the last cell, by identity and size, never by content."""
        changed, problem = self.gate.attempt(self._compare)
        if problem is None:
            answer["changed"], answer["changed_total"] = changed[:MAX_CHANGED], len(changed)

    def _compare(self):
        before, now, changed = self._states, {}, []
        for name, value in self._user_variables():
            size = size_of(value)
            now[name] = state = (id(value), size)
            if before.get(name) != state:
                changed.append({"name": name, "type": type_name(value), "summary": summary(value, size)})
        self._states = now
        return changed

    # ---- answers ----

    def _read(self, names, answer):
        """Convert the variables that the host reads."""
        answer["variables"], answer["missing"], answer["unreadable"] = {}, [], {}
        for name in names:
            value = self.variables.get(name, MISSING)
            if value is MISSING:
                answer["missing"].append(name)
                continue
            value, problem = self.gate.attempt(plain, value)
            if problem is None:
                answer["variables"][name] = value
            else:
                answer["unreadable"][name] = f"{type(problem).__name__}: {problem}"


class Sources:
    """The text of recent cells and tools, for tracebacks and `inspect.getsource`.

    Both read it from `linecache`, which is slow to import: the text waits here until a cell imports
    something.
    """

    def __init__(self):
        self._names = {}  # in order of age
        self._waiting = {}

    def add(self, name, source):
        """Register the text of a file that does not exist."""
        names = self._names
        names.pop(name, None)
        names[name] = None
        self._waiting[name] = source
        if len(names) > MAX_SOURCES:
            self._forget(next(iter(names)))
        if "linecache" in _modules or "import" in source:
            self.publish()

    def publish(self):
        """Give linecache the texts that it does not have yet."""
        try:
            linecache = _modules.get("linecache") or _import("linecache")
            for name, source in self._waiting.items():
                lines = [line + "\n" for line in source.split("\n")]
                linecache.cache[name] = (len(source), None, lines, name)
        except BaseException:  # a cell broke linecache: tracebacks then lack source lines
            pass
        self._waiting.clear()

    def _forget(self, name):
        del self._names[name]
        self._waiting.pop(name, None)
        try:
            _modules["linecache"].cache.pop(name, None)
        except BaseException:  # not imported yet, or broken by a cell
            pass


def _check_clash(what, names):
    if names:
        names = ", ".join(sorted(names))
        raise ValueError(f"{what} cannot be called {names}: the session provides these names")


def _compile_cell(code, cell):
    """`(statements, expression)`: code objects or None. `expression` is the last statement if it is one."""
    return _compile_line(code, cell) or _compile_parts(code, cell)


def _compile_line(code, cell):
    """Compile a cell whose last line is an expression, such as `print(x)`. None for any other cell.

    This takes half the time because it makes no tree. If the lines before the last one are a program, no
    statement of them continues in the last line, so that is a statement of its own.
    """
    start = code.rfind("\n", 0, len(code.rstrip())) + 1
    if code[start : start + 1] in " \t\f#" or "\r" in code:
        return None
    source = "\n" * code.count("\n", 0, start) + code[start:]
    try:
        last = compile(source, cell, "eval", 0, True)
        if not start:
            return None, last
        statements = compile(code[:start], cell, "exec", 0, True)
        futures = statements.co_flags & _FUTURES
        return statements, compile(source, cell, "eval", futures, True) if futures else last
    except _COMPILE_ERRORS:
        return None


def _compile_parts(code, cell):
    """Compile any cell, with the errors that the model gets."""
    tree = compile(code, cell, "exec", PyCF_ONLY_AST, True)
    statements = last = None
    if tree.body and isinstance(tree.body[-1], Expr):
        last = Expression(tree.body.pop().value)
    futures = 0
    if tree.body:
        statements = _compile_tree(tree, cell, "exec", 0, code)
        futures = statements.co_flags & _FUTURES
    if last is not None:
        last = _compile_tree(last, cell, "eval", futures, code)
    return statements, last


def _compile_tree(tree, cell, mode, flags, code):
    """Compile a tree. Top-level `await`, which models like to write, is allowed where it occurs."""
    try:
        return compile(tree, cell, mode, flags, True)
    except SyntaxError:
        if "await" not in code and "async" not in code:
            raise
        return compile(tree, cell, mode, flags | PyCF_ALLOW_TOP_LEVEL_AWAIT, True)


def _execute(parts, variables):
    """Run the statements and return the value of the last expression."""
    statements, last = parts
    if any([code is not None and code.co_flags & _COROUTINE for code in parts]):
        import asyncio

        return asyncio.run(_execute_async(parts, variables))
    if statements is not None:
        exec(statements, variables)
    return eval(last, variables) if last is not None else None


async def _execute_async(parts, variables):
    """`_execute` for a cell that awaits at top level."""
    for code in parts:
        value = None
        if code is not None:
            value = eval(code, variables)
            if code.co_flags & _COROUTINE:
                value = await value
    return value


def _restore_builtins():
    """Put back what the cell rebound or deleted in `builtins`. What it added stays."""
    try:
        if _BUILTINS == _pristine_builtins:  # the usual case, at C speed
            return
    except BaseException:  # a value that the cell put there may raise when it is compared
        pass
    for name, value in _pristine_builtins.items():
        if _BUILTINS.get(name, MISSING) is not value:
            _BUILTINS[name] = value
