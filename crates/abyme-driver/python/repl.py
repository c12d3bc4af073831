"""One Python session: a namespace that many cells share. No transport, standard library only.

A backend makes one `Repl(host)` and calls `run(request)` for each cell. `host` has three methods:

    call(name, args, kwargs) -> value      calls a host function and blocks; raises what the cell shall get
    submit(via, fields, value)             takes a submission: `fields` (a dict), or `value` if that is None
    output(stream, text)                   takes the next piece of the head of "stdout" or "stderr"

Requests and answers are described in PROTOCOL.md (`run` and `done`), with values as Python objects.
"""

import builtins
import sys
from _operator import is_
from itertools import repeat
from time import monotonic

from _abyme import processes
from _abyme.capture import Capture, NoInput, stream_of_session, text_out
from _abyme.convert import plain
from _abyme.display import (
    SIZED, UNSIZED, WORDS, clip, is_module, message_of, one_line, show, show_scalar, size_of, summary,
    type_name,
)  # fmt: skip
from _abyme.errors import bare_report, hide_frames_of, report
from _abyme.gate import Gate
from _abyme.given import GivenTexts
from _abyme.program import COMPILE_ERRORS, SessionLoop, execute
from _abyme.scope import ToolModules, host_function
from _abyme.sources import Sources
from _abyme.submit import MISSING, Submissions, is_stop

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

PREIMPORTED = (
    "json", "re", "math", "collections", "itertools", "functools", "textwrap", "string", "copy", "datetime",
)  # fmt: skip
DEFAULT_OUTPUT_CHARS = 10_000
MAX_CHANGED = 30
NAME_CHARS = 200  # of a variable's name, type or summary in an answer

_SHOW_VARS_DOC = (
    "All variables of the session, one line each: name, type with size, preview. Print or return it."
)
_ONLY_STR = frozenset((str,))
_OUTPUTS = ("stdout", "stderr", "__stdout__", "__stderr__")
_DYNAMIC = ("globals", "locals", "vars", "dir", "eval", "exec", "__dict__")
_BUILTINS = vars(builtins)
_REBOUND = "{}: the session provides this and has put it back; use another name for your own\n"
_modules = sys.modules
_pristine_builtins = dict(_BUILTINS)
_import = __import__
_set_recursion_limit, _get_recursion_limit = sys.setrecursionlimit, sys.getrecursionlimit

for _function in (lambda: None, Gate.attempt, Capture.write, plain, show, SessionLoop.run):
    hide_frames_of(_function)


class Repl:
    """A session. One thread calls `run` for all cells. Any thread may call host functions."""

    def __init__(self, host, preload=False):
        self.host = host
        self.gate = Gate()
        self.stdout = Capture("stdout", host.output, self.gate)
        self.stderr = Capture("stderr", host.output, self.gate)
        self.gate.before_raise = self.flush
        self._streams = (text_out(self.stdout), text_out(self.stderr), stream_of_session(NoInput))
        self.module = type(sys)("__main__")
        self.variables = vars(self.module)
        self.variables["__builtins__"] = builtins
        self._own = dict(self.variables)  # what each module has
        self._front = ((), ())  # see `_front_of`
        self._look = None  # names, values and their front at the end of a cell, until they may have changed
        self._sources = Sources(self.variables)
        self._loop = SessionLoop()
        self._tools = ToolModules(self._sources.add)
        self._submissions = Submissions(host, self.gate, self.variables, self._user_variables)
        self._submissions.source = self._sources.text
        self._provided = {}  # the names that are put back after every cell
        self._answer_input = MISSING  # what the host has set as a variable called `answer`
        self._lazy = dict.fromkeys(PREIMPORTED)
        self._states = {}  # name -> (id, size) of every user variable after the last cell
        self._others = {}  # name -> value of what is not a user variable: provided names and modules
        self._last = None  # the value of `_`
        self.given = GivenTexts()
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
        cap = request.get("max_output_chars", DEFAULT_OUTPUT_CHARS)
        self._begin(request, cap)
        answer = {"value": None, "error": None, "changed": [], "changed_total": 0}
        try:
            self._run_cell(request, cap, answer)
            self._read(request.get("reads") or (), answer)
            kept = self.given.kept(self.variables)
            if kept:
                answer["given"] = kept
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

    def set_descriptors(self, stdin, stdout, stderr):
        """Set the descriptors whose input and output are those of the session, for `sys.stdout.fileno()`."""
        type(self._streams[2]).fd, self.stdout.fd, self.stderr.fd = stdin, stdout, stderr

    @property
    def running(self):
        """Whether a cell is running."""
        return self.gate.running

    # ---- the steps of a cell ----

    def _begin(self, request, cap):
        """Restore what an earlier cell may have changed, and open the session for this one."""
        if request.get("code"):  # the model, which counts cells too, does not know of one without code
            self._count += 1
        now = monotonic()
        self.stdout.begin(cap, now)
        self.stderr.begin(cap, now)
        self._enter()
        self._submissions.begin()
        self.gate.begin()

    def _run_cell(self, request, cap, answer):
        """Set the scope, compile, run and look at the result. Fills `answer`. An error names its stage."""
        code = request.get("code") or ""
        cell = request.get("name") or f"<cell {self._count}>"
        if self._must_prepare(request, code):
            _, problem = self.gate.attempt(self._prepare, request, code)
            if problem is not None:
                self._restore()
                answer["error"] = self._report(problem, "scope", cell)
                return
        self._sources.add(cell, code)
        compiled = []
        value, problem = self.gate.attempt(execute, code, cell, self.variables, self._loop, compiled)
        if problem is not None or "audithook" in code:
            _check_python(cell)
        if problem is not None and not compiled:
            stage = "compile" if isinstance(problem, COMPILE_ERRORS) else "run"
            answer["error"] = self._report(problem, stage, cell)
            return
        if self.after_cell is not None:
            problem = self.after_cell(problem) or problem
        late = self._settle()
        if problem is None or is_stop(problem):
            problem = late
        if problem is not None:
            self._look = None  # the report may run code that changes names
            answer["error"] = self._report(problem, "run", cell)
        elif value is not None:
            answer["value"] = self._show(value, cap)
        self._note_changes(answer)
        # The frames of an exception lead back to this one. In a cycle with it they would stay until the next
        # collection of garbage, and those of a few deep recursions fill a small memory.
        problem = late = None

    def _must_prepare(self, request, code):
        """Whether `_prepare` has anything to do."""
        if request.get("scope") is not None or request.get("variables") or self._lazy:
            return True
        return "multiprocessing" in code or self._loop.must_prepare(code)

    def _prepare(self, request, code):
        """Prepare what a cell needs when it starts: scope, variables, and the modules that it may mention."""
        scope = request.get("scope")
        if scope is not None:
            self._set_scope(scope)
        variables = request.get("variables")
        if variables:
            self._set_variables(variables)
            self.given.add(request.get("given"), self.variables)
        if self._lazy:
            self._import_lazy(code)
        if self._loop.must_prepare(code):
            self._loop.prepare()
        processes.prepare(code)

    def _settle(self):
        """Undo what the cell did to provided names. Return the error of an `answer` at its end, if any."""
        _restore_builtins()
        if _get_recursion_limit() < self._recursion_limit:
            _set_recursion_limit(self._recursion_limit)
        _, interrupt = self.gate.attempt(self._flush_others)
        names, values = list(self.variables), list(self.variables.values())
        front = self._front_of(names, values)
        if not _ONLY_STR.issuperset(map(type, names[front:])):
            _keep_names(self.variables)
        rebound = None if front else self._restore()
        self._look = (names, values, front) if front else None
        if rebound:
            self.stderr.write(_REBOUND.format(", ".join(rebound)))
        return self._settle_answer() or interrupt

    def _settle_answer(self):
        """Take over or leave what the name `answer` is bound to. A waiting interrupt breaks the first try."""
        special = self._submissions.answer
        current, late = self.variables["answer"], None
        if current is special and current is not self._answer_input and special.is_left_alone():
            return None
        self._look = None
        self.variables["answer"] = special
        for _ in range(2):
            bound, problem = self.gate.attempt(self._submissions.settle_answer, current, self._answer_input)
            if problem is None:
                self.variables["answer"] = bound
                return late
            late = late or problem
            if not isinstance(problem, KeyboardInterrupt):
                break
        return late

    def _flush_others(self):
        """Flush the streams that the cell put in the place of ours: what they keep back belongs to it."""
        out, err, _ = self._streams
        for stream in self._current_streams():
            if stream is not out and stream is not err and stream is not None:
                try:
                    stream.flush()
                except Exception:  # it is closed, or no stream at all
                    pass

    def _set_streams(self):
        sys.stdout, sys.stderr, sys.stdin = self._streams

    def _current_streams(self):
        """The streams that a cell may have replaced, and those that C code and careful programs use."""
        try:
            return sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
        except AttributeError:  # a cell deleted one
            return [getattr(sys, name, None) for name in _OUTPUTS]

    def _enter(self):
        """Make this session the program of the process. Replaced where sessions share a process."""
        self._restore_streams()
        _modules["__main__"] = self.module

    def _restore_streams(self):
        """Undo what a cell did to the streams: it may have replaced them or set attributes of ours."""
        self._set_streams()
        for stream in self._streams:
            if stream.__dict__:
                stream.__dict__.clear()

    def _restore(self):
        """Put back the provided names. Return those that were bound to something else."""
        variables = self.variables
        variables.setdefault("__name__", "__main__")
        if variables.get("__builtins__") is not builtins:
            variables["__builtins__"] = builtins
        variables.setdefault("answer", self._submissions.answer)
        rebound = []
        for name, value in self._provided.items():
            current = variables.get(name, MISSING)
            if current is not value:
                variables[name] = value
                if current is not MISSING:
                    rebound.append(name)
        return rebound

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
        parts = show_scalar(value, cap)
        if parts is None:
            self._look = None  # its code may change names
            parts, problem = self.gate.attempt(show, value, cap)
            if problem is not None:
                parts = (f"<repr failed: {type(problem).__name__}>", "", None)
        text, tail, total = parts
        return {"text": text, "tail": tail, "total": total}

    # ---- names ----

    def _set_scope(self, scope):
        """Replace the host functions, outputs and tools by those of `scope`."""
        host_call = self._host_call
        given = {spec["name"]: host_function(spec, host_call) for spec in scope.get("functions") or ()}
        self._submissions.outputs = scope.get("outputs") or []
        own = self._submissions.functions()
        own["SHOW_VARS"] = self._show_vars_function()
        answer = {"answer": self._submissions.answer}
        _check_clash("host functions", (own.keys() | answer.keys()) & given.keys())
        given.update(own)
        tools = self._tools.load(scope.get("modules") or (), {**given, **answer})
        given.update(tools)
        for name in self._provided.keys() - given.keys():
            self.variables.pop(name, None)
        self._provided, self._others = given, {**self._own, **given, **answer}
        self._restore()

    def _set_variables(self, variables):
        _check_clash("variables", variables.keys() & self._provided.keys())
        self.variables.update(variables)
        self._answer_input = variables.get("answer", self._answer_input)
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
            self.check_call(name)
            if self.stdout.waiting or self.stderr.waiting:
                self.flush()
            return self.host.call(name, args, self.given.name_in(kwargs))
        finally:
            gate.release(held)

    def check_call(self, name):
        """Refuse a host call where none may be made: between cells, and after the submission of a cell."""
        if not self.gate.running:
            raise RuntimeError(f"{name}(): no cell is running; host functions work only while one is")
        if self._submissions.taken:
            self._submissions.stop()

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
        look, self._look, others, provided = self._look, None, self._others, self._provided
        if look is None:
            names, values = list(self.variables), list(self.variables.values())
            look = names, values, self._front_of(names, values)
        names, values, front = look
        found = [
            (name, value)
            for name, value in zip(names[front:], values[front:])
            if type(name) is str
            and name[:1] != "_"
            and others.get(name, MISSING) is not value
            and name not in provided
            and (type(value) in WORDS or not self._is_module(name, value))
        ]
        if not front:  # not before: now the modules are known
            self._find_front(names, values)
        return found

    def _front_of(self, names, values):
        """How many names come before the user's in the namespace with all their values; 0 if one has another.

        Most sessions have some thirty of them. This check runs at C speed.
        """
        front_names, front_values = self._front
        intact = all(map(is_, names, front_names)) and all(map(is_, values, front_values))
        return len(front_names) if intact and len(names) >= len(front_names) else 0

    def _find_front(self, names, values):
        """Note the names that come first, if the provided ones are all among them."""
        others = map(self._others.get, names, repeat(MISSING))
        size = next((at for at, same in enumerate(map(is_, others, values)) if not same), len(names))
        has_all = set(names[:size]).issuperset((*self._provided, "answer", "__name__", "__builtins__"))
        self._front = (names[:size], values[:size]) if has_all else ((), ())

    def _is_module(self, name, value):
        if not is_module(value):
            return False
        if _modules.get(name) is value:  # most sessions have a dozen: remembering them makes this quick
            self._others[name] = value
        return True

    def _note_changes(self, answer):
        """Compare the namespace with that after the last cell, by identity and size, never by content."""
        changed, problem = self.gate.attempt(self._compare)
        self._look = None
        if problem is None:
            answer["changed"], answer["changed_total"] = changed[:MAX_CHANGED], len(changed)

    def _compare(self):
        before, now, changed = self._states, {}, []
        for name, value in self._user_variables():
            kind = type(value)
            size = len(value) if kind in SIZED else None if kind in UNSIZED else size_of(value)
            now[name] = state = (id(value), size)
            if before.get(name) != state:
                changed.append(_change(name, value, kind, size))
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
                reason, _ = self.gate.attempt(_reason, problem)
                answer["unreadable"][name] = reason or type(problem).__name__


def _change(name, value, kind, size):
    word = WORDS.get(kind)
    if word is not None:
        about = word if size is None else f"{word}[{size}]"
    else:
        word, about = clip(type_name(value), NAME_CHARS), clip(summary(value, size), NAME_CHARS)
    return {"name": clip(name, NAME_CHARS), "type": word, "summary": about}


def _reason(problem):
    return clip(f"{type(problem).__name__}: {message_of(problem)}", NAME_CHARS * 10)


def _keep_names(variables):
    """Drop the keys of a namespace that are no plain str: comparing them may run any code."""
    if not _ONLY_STR.issuperset(map(type, variables)):
        items = list(variables.items())
        variables.clear()
        variables.update([(str.__str__(name), value) for name, value in items if issubclass(type(name), str)])


def _check_python(cell):
    """End the session if no code can be compiled and run any more. Python never removes an audit hook."""
    try:
        exec(compile("0", cell, "exec", 0, True), {})
    except (MemoryError, RecursionError):  # what the cell made of its limits ends with it
        pass
    except BaseException:
        raise RuntimeError("an audit hook of a cell lets no code be compiled and run any more") from None


def _check_clash(what, names):
    if names:
        names = ", ".join(sorted(names))
        raise ValueError(f"{what} cannot be called {names}: the session provides these names")


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
