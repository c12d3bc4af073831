"""The ways to end a run from a cell: SUBMIT, FINAL, FINAL_VAR and the `answer` dict."""

from _ast import PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST, Call, Constant, JoinedStr, Name
from _thread import RLock, get_ident
from sys import _getframe

from _abyme.convert import plain, plain_fields
from _abyme.errors import hide_frames_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)
MISSING = object()  # stands for a name that the cell deleted
_STOPPED = object()


class Submitted(BaseException):
    """Stops the cell after a submission. Catching it changes nothing: the host has the submission already."""


def is_stop(problem):
    """Whether `problem` is the stop after a submission, also if a thread pool passed it on."""
    return isinstance(problem, Submitted) or (type(problem) is SystemExit and problem.code is _STOPPED)


class Submissions:
    """Takes the first submission of each cell and sends it to the host at once."""

    def __init__(self, host, gate, variables, user_variables):
        self._host = host
        self._gate = gate
        self._variables = variables  # {name: value} as the cell sees them
        self._user_variables = user_variables  # () -> (name, value) pairs of those that nobody provides
        self._lock = RLock()
        self._open = False
        self.outputs = []
        self.taken = False
        self.answer = Answer(self._from_answer)
        self.source = lambda file: None  # file name -> the text of a cell or tool

    def begin(self):
        """Start a cell."""
        self.taken = False
        self._open = True

    def end(self):
        """End a cell. Later submissions of its threads are refused."""
        self._open = False

    def functions(self):
        """The provided functions by name: new ones, bound to this session."""

        def SUBMIT(*args, **kwargs):
            """Submit the final outputs, by position in their order or by name, and stop the cell."""
            if self.outputs or (kwargs and not args):
                fields = {name: self._meant(value) for name, value in self._bind(args, kwargs).items()}
                self._take("SUBMIT", fields=plain_fields(fields))
            else:
                if kwargs:
                    problem = "SUBMIT() takes either values or names, not both: no outputs are declared"
                    raise TypeError(problem)
                self._take("SUBMIT", value=plain(self._meant(args[0]) if len(args) == 1 else list(args)))
            self.stop()

        def FINAL(value):
            """Submit `value` as the final answer and stop the cell."""
            self._take("FINAL", value=plain(self._meant(value)))
            self.stop()

        def FINAL_VAR(name):
            """Submit the variable called `name` as the final answer and stop the cell."""
            self._take("FINAL_VAR", value=plain(self._look_up(name, _getframe().f_back)))
            self.stop()

        functions = {"SUBMIT": SUBMIT, "FINAL": FINAL, "FINAL_VAR": FINAL_VAR}
        for name, function in functions.items():
            function.__module__, function.__qualname__ = "abyme", name
        if self.outputs:
            SUBMIT.__doc__ += f"\n\nOutputs: {self._outputs_text()}"
        return functions

    def settle_answer(self, current, given):
        """At the end of a cell: submit and reset the special dict if it is ready.

        `current` is what the name `answer` is bound to, `given` what the host has bound to it. Another dict
        with the key `ready` is taken over into the special one. Anything else is a variable like any other
        and keeps the name. Return what the name shall be bound to.
        """
        special = self.answer
        try:
            if current is given or not (isinstance(current, dict) and dict.__contains__(current, "ready")):
                special.reset()
                return current
            if current is not special:
                special.adopt(current)
            if special.is_ready():
                try:
                    special.submit()
                finally:
                    special.reset()
        except BaseException:  # `ready` may have no truth value, and would then fail again and again
            special.reset()
            raise
        return special

    def _take(self, via, fields=None, value=None):
        """Send the first submission of the cell. The host has it when this returns."""
        held = self._gate.hold()
        try:
            with self._lock:
                if not self._open:
                    raise RuntimeError("no cell is running: a submission must come from a running cell")
                if not self.taken:
                    self.taken = True
                    try:
                        self._host.submit(via, fields, value)
                    except (ValueError, MemoryError):  # too large: the cell may submit something smaller
                        self.taken = False
                        raise
        finally:
            self._gate.release(held)

    def stop(self):
        """Leave the cell. Another thread ends by SystemExit, which Python does not report there."""
        if get_ident() == self._gate.main:
            raise Submitted
        raise SystemExit(_STOPPED)

    def _from_answer(self, value):
        if self._open and not self.taken:
            self._take("answer", value=plain(value))

    def _bind(self, args, kwargs):
        """The fields of a SUBMIT call. A wrong call is a TypeError that shows the right one."""
        names = [output["name"] for output in self.outputs]
        if not names:
            return kwargs
        problems = []
        if len(args) > len(names):
            problems.append(f"got {len(args)} values for {len(names)} output{'s' if len(names) > 1 else ''}")
        if len(args) == 1 and not kwargs and isinstance(args[0], dict) and self._are_outputs(args[0]):
            args, kwargs = (), args[0]
        fields = dict(zip(names, args))
        twice = [name for name in kwargs if name in fields]
        unknown = [name for name in kwargs if name not in names]
        fields.update(kwargs)
        missing = [name for name in names if name not in fields]
        for label, listed in (("given twice", twice), ("unknown", unknown), ("missing", missing)):
            if listed:
                problems.append(f"{label}: {', '.join(map(str, listed))}")
        if problems:
            call = ", ".join(f"{name}=..." for name in names)
            problems = "; ".join(problems)
            raise TypeError(f"SUBMIT() {problems}. Call SUBMIT({call}) with {self._outputs_text()}")
        return {name: fields[name] for name in names}

    def _are_outputs(self, value):
        """Whether a dict holds the outputs, as `FINAL` takes them, and is not the value of the first one."""
        names = [output["name"] for output in self.outputs]
        if len(names) > 1:
            return any([name in value for name in names])
        kind = (self.outputs[0].get("type") or "any").lower()
        return list(value) == names and not any([word in kind for word in ("dict", "any", "object")])

    def _meant(self, value):
        """The value of `SUBMIT(answer=answer)`: the dict stands for what an earlier cell bound to it."""
        return value.given() if value is self.answer else value

    def _outputs_text(self):
        return ", ".join(f"{output['name']}: {output.get('type') or 'any'}" for output in self.outputs)

    def _look_up(self, given, frame):
        """The variable called `given`; `frame` calls FINAL_VAR.

        What is not a text is the value itself. So is the text in `FINAL_VAR(result)`, where the quotes are
        missing, unless it may be the name of a variable as well.
        """
        if not isinstance(given, str):
            return self._meant(given)
        variables = self._variables
        name = given.strip().strip("'\"")
        written = self._argument(frame)
        unquoted = isinstance(written, Name) and variables.get(written.id, MISSING) is given
        if name in variables:
            if unquoted and variables[name] is not given:
                raise TypeError(
                    f"FINAL_VAR({written.id}): the text in {written.id!r} is the name of another variable. "
                    f"Write FINAL_VAR({written.id!r}) or FINAL({written.id})"
                )
            return self._meant(variables[name])
        if unquoted or not (isinstance(written, _TEXTS) or name.isidentifier()):
            return given
        names = ", ".join(sorted(name for name, _ in self._user_variables())) or "none"
        raise NameError(f"FINAL_VAR(): there is no variable {name!r}. Variables: {names}")

    def _argument(self, frame):
        """The argument of the FINAL_VAR call in this frame as a node of the syntax tree; if unclear, a text.

        The line is all that old Pythons know of a frame, so two different calls on one line are unclear.
        """
        source = frame and self.source(frame.f_code.co_filename)
        if source is None:
            return _UNCLEAR
        flags = PyCF_ONLY_AST | PyCF_ALLOW_TOP_LEVEL_AWAIT
        found, waiting = [], [compile(source, "<cell>", "exec", flags, True)]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Call) and isinstance(node.func, Name) and node.func.id == "FINAL_VAR":
                if node.lineno <= frame.f_lineno <= node.end_lineno:
                    found.append(node)
            for field in node._fields:
                value = getattr(node, field, None)
                items = value if isinstance(value, list) else [value]
                waiting.extend([item for item in items if hasattr(item, "_fields")])
        return found[0].args[0] if len(found) == 1 and found[0].args else _UNCLEAR


_TEXTS = (Constant, JoinedStr)  # what is in quotes
_UNCLEAR = Constant("")


class Answer(dict):
    """The `answer` dict: set `value` or `content`, then `ready = True`.

    When `ready` becomes true and a value was set, the value is submitted at once, so that nothing the cell
    does afterwards can lose it. Otherwise it is submitted at the end of the cell, if `ready` is true then.
    """

    __slots__ = ("_submit_value", "_given")

    def __init__(self, submit_value):
        super().__init__()
        self._submit_value = submit_value
        self.reset()

    def reset(self):
        """Make it empty and not ready again."""
        self._given = None
        dict.clear(self)
        dict.update(self, {"value": None, "content": "", "ready": False})

    def __setitem__(self, key, value):
        is_ready = key == "ready" and bool(value)  # first: what has no truth value is not stored
        dict.__setitem__(self, key, value)
        if key in ("value", "content"):
            self._given = key
        if is_ready and self._given is not None:
            self.submit()

    def update(self, *args, **kwargs):
        """As for any dict, but `ready` is set last."""
        items = dict(*args, **kwargs)
        ready = items.pop("ready", MISSING)
        for key, value in items.items():
            self[key] = value
        if ready is not MISSING:
            self["ready"] = ready

    def __ior__(self, other):
        self.update(other)
        return self

    def setdefault(self, key, default=None):
        """As for any dict."""
        if key not in self:
            self[key] = default
        return self[key]

    def adopt(self, other):
        """Take over another dict that the cell bound to the name `answer`."""
        items = dict(other)
        self.reset()
        self._given = "value" if "value" in items else "content" if "content" in items else None
        dict.update(self, items)

    def is_left_alone(self):
        """Whether `ready` is as it was, for which no code of a cell runs."""
        return dict.get(self, "ready") is False

    def is_ready(self):
        """Whether `ready` is true."""
        return bool(dict.get(self, "ready"))

    def submit(self):
        """Submit the value that was set, or None if only `ready` was set."""
        self._submit_value(self.given())

    def given(self):
        """The value that was set."""
        return dict.get(self, self._given or "value")
