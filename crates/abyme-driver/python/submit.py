"""The ways to end a run from a cell: SUBMIT, FINAL, FINAL_VAR and the `answer` dict."""

from _thread import RLock, get_ident

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

    def __init__(self, host, gate, variables):
        self._host = host
        self._gate = gate
        self._variables = variables  # () -> {name: value} as the cell sees them
        self._lock = RLock()
        self._open = False
        self.outputs = []
        self.taken = False
        self.answer = Answer(self._from_answer)

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
                self._take("SUBMIT", value=plain(args[0] if len(args) == 1 else list(args)))
            self._stop()

        def FINAL(value):
            """Submit `value` as the final answer and stop the cell."""
            self._take("FINAL", value=plain(value))
            self._stop()

        def FINAL_VAR(name):
            """Submit the variable called `name` as the final answer and stop the cell."""
            self._take("FINAL_VAR", value=plain(self._look_up(name)))
            self._stop()

        functions = {"SUBMIT": SUBMIT, "FINAL": FINAL, "FINAL_VAR": FINAL_VAR}
        for name, function in functions.items():
            function.__module__, function.__qualname__ = "abyme", name
        if self.outputs:
            SUBMIT.__doc__ += f"\n\nOutputs: {self._outputs_text()}"
        return functions

    def settle_answer(self, current):
        """At the end of a cell: take over what `answer` is bound to. Submit and reset it if it is ready."""
        special = self.answer
        if current is not special:
            special.adopt(current)
        if special.is_ready():
            try:
                special.submit()
            finally:
                special.reset()

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
                    except ValueError:  # too large: the cell may submit something smaller
                        self.taken = False
                        raise
        finally:
            self._gate.release(held)

    def _stop(self):
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
        fields = dict(zip(names, args))
        twice = [name for name in kwargs if name in fields]
        unknown = [name for name in kwargs if name not in names]
        fields.update(kwargs)
        missing = [name for name in names if name not in fields]
        for label, listed in (("given twice", twice), ("unknown", unknown), ("missing", missing)):
            if listed:
                problems.append(f"{label}: {', '.join(listed)}")
        if problems:
            call = ", ".join(f"{name}=..." for name in names)
            problems = "; ".join(problems)
            raise TypeError(f"SUBMIT() {problems}. Call SUBMIT({call}) with {self._outputs_text()}")
        return {name: fields[name] for name in names}

    def _meant(self, value):
        """The value of `SUBMIT(answer=answer)`: the dict stands for what an earlier cell bound to it."""
        return value.given() if value is self.answer else value

    def _outputs_text(self):
        return ", ".join(f"{output['name']}: {output.get('type') or 'any'}" for output in self.outputs)

    def _look_up(self, name):
        """The variable called `name`. A `name` that is not a str is taken for the value itself."""
        if not isinstance(name, str):
            return name
        variables = self._variables()
        name = name.strip().strip("'\"")
        if name not in variables:
            names = ", ".join(sorted(key for key in variables if not key.startswith("_"))) or "none"
            raise NameError(f"FINAL_VAR(): there is no variable {name!r}. Variables: {names}")
        return variables[name]


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
        dict.__setitem__(self, key, value)
        if key in ("value", "content"):
            self._given = key
        if key == "ready" and value and self._given is not None:
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
        """Take over what the cell bound to the name `answer`. A plain value becomes `value`."""
        if other is MISSING:
            return
        self.reset()
        if isinstance(other, dict):
            items = dict(other)
            self._given = "value" if "value" in items else "content" if "content" in items else None
            dict.update(self, items)
        else:
            self._given = "value"
            dict.__setitem__(self, "value", other)

    def is_ready(self):
        """Whether `ready` is true."""
        return bool(dict.get(self, "ready"))

    def submit(self):
        """Submit the value that was set, or None if only `ready` was set."""
        self._submit_value(self.given())

    def given(self):
        """The value that was set."""
        return dict.get(self, self._given or "value")
