"""Compiles the code of a cell and runs it; what awaits at top level runs in the session's event loop."""

import sys
from _ast import PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST, Expr, Expression

from _abyme.errors import hide_frames_of
from _abyme.submit import is_stop

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

COMPILE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
_FUTURES = 0x1FE0000  # the bits that `from __future__ import ...` sets in co_flags
_COROUTINE = 0x80
_BLANKS = " \t\n"  # other spaces are no Python
_INNER = " \t\n#)]}"  # how lines begin that belong to the statement before them, and the lines without any
_CLAUSES = ("else:", "else ", "elif ", "except:", "except ", "except*", "finally:")  # and these do
_DECORATED = ("def ", "class ", "async ", "@")
# How statements begin that are no expressions.
_STATEMENTS = ("for ", "while ", "if ", "with ", "try:", "import ", "from ", "del ", *_DECORATED)
_COMPARING = "<>!"  # before a `=` that is not that of an assignment
# Before what may have a `=` in it: calls, texts, comments. And a cell's annotations belong together.
_MAY_HOLD_EQUALS = frozenset("('\"#\\:")
_MORE = frozenset("\n#:")
_KEYWORDS = frozenset(
    "False None True __debug__ and as assert async await break class continue def del elif else except "
    "finally for from global if import in is lambda nonlocal not or pass raise return try while with "
    "yield".split()
)
_modules = sys.modules
_import = __import__

hide_frames_of(lambda: None)


def compile_cell(code, cell):
    """`(statements, last, awaits)`: code objects to execute, what to evaluate after them, and whether any of
    these awaits at top level. `last` is the last statement if that is an expression: a code object, the name
    of a variable if it is just that, or None.
    """
    if not code:
        return (), None, False
    return _compile_split(code, cell) or _compile_parts(code, cell)


def _compile_split(code, cell):
    """Compile a cell in two: the statements before the last one, and the last one. None if that fails.

    This takes half the time because it makes no tree. Where the last one begins is a guess. If the lines
    before are a program, no statement of them continues behind it, so the guess is right.
    """
    text = code.rstrip(_BLANKS)
    start = _guess_last(text)
    if start < 0 or "\r" in code or "\f" in code:
        return None
    last, statements = text[start:], []
    try:
        if _is_name(last):
            tail = last
        else:
            above = "\n" * code.count("\n", 0, start)
            statement, tail = _name_at_end(last)
            if tail is None:
                if not last.startswith(_STATEMENTS) and not _is_assignment(last):
                    tail = compile(above + last, cell, "eval", 0, True)
                elif ";" in last:
                    return None  # an expression may follow
                else:
                    statement = last
            if statement:
                if "__future__" in statement or "global" in code:
                    return None  # it must be seen whole to find what is wrong with it
                statements.append(compile(above + statement, cell, "exec", 0, True))
        if start:
            statements.insert(0, compile(code[:start], cell, "exec", 0, True))
            if statements[0].co_flags & _FUTURES:
                return None  # what follows is compiled with them
    except COMPILE_ERRORS:
        return None
    return statements, tail, False


def _is_name(text):
    return text.isidentifier() and text.isascii() and text not in _KEYWORDS


def _name_at_end(last):
    """`(statements, name)`: `last` ends with a name, and has statements before it in its line.

    Without a line's end, a comment and a colon, these are simple statements, if they are statements at all.
    Else `("", None)`.
    """
    statements, semicolon, name = last.rpartition(";")
    name = name.strip(_BLANKS)
    if semicolon and _is_name(name) and _MORE.isdisjoint(statements):
        if statements.rstrip(_BLANKS)[-1:] not in ("", ";"):
            return statements, name
    return "", None


def _guess_last(code):
    """The beginning of the last line that looks like the first one of a statement; negative without one.

    No blanks follow the code.
    """
    end = len(code)
    while True:
        start = code.rfind("\n", 0, end) + 1
        if code[start : start + 1] not in _INNER and not code.startswith(_CLAUSES, start):
            break
        end = start - 1
        if end < 0:
            return -1
    while start and code.startswith(_DECORATED, start):
        above = code.rfind("\n", 0, start - 1) + 1
        if code[above] != "@":
            break
        start = above
    return start


def _is_assignment(statement):
    """Whether this is one for sure, such as `x = y`, `x.y += z` or `x, y[z] = a`."""
    target, equals, value = statement.partition("=")
    if not equals or value[:1] == "=" or target[-1:] in _COMPARING:
        return False
    return _MAY_HOLD_EQUALS.isdisjoint(target) and "lambda" not in target


def _compile_parts(code, cell):
    """Compile any cell, with the errors that the model gets."""
    tree = compile(code, cell, "exec", PyCF_ONLY_AST, True)
    statements, last = (), None
    if tree.body and isinstance(tree.body[-1], Expr):
        last = Expression(tree.body.pop().value)
    futures = 0
    if tree.body:
        statements = (_compile_tree(tree, cell, "exec", 0, code),)
        futures = statements[0].co_flags & _FUTURES
    if last is not None:
        last = _compile_tree(last, cell, "eval", futures, code)
    codes = statements if last is None else (*statements, last)
    return statements, last, any([part.co_flags & _COROUTINE for part in codes])


def _compile_tree(tree, cell, mode, flags, code):
    """Compile a tree. Top-level `await`, which models like to write, is allowed where it occurs."""
    try:
        return compile(tree, cell, mode, flags, True)
    except SyntaxError:
        if "await" not in code and "async" not in code:
            raise
        return compile(tree, cell, mode, flags | PyCF_ALLOW_TOP_LEVEL_AWAIT, True)


def execute(code, cell, variables, loop, compiled):
    """Compile and run a cell; return the value of its last expression. `compiled` gets an item in between."""
    statements, last, awaits = compile_cell(code, cell)
    compiled.append(True)
    if awaits:
        return loop.run(_execute_async(statements, last, variables))
    for part in statements:
        exec(part, variables)
    if type(last) is str:
        if last in variables:
            return variables[last]
        last = _compile_parts(code, cell)[1]
    return eval(last, variables) if last is not None else None


async def _execute_async(statements, last, variables):
    """`execute` for a cell that awaits at top level."""
    for code in statements:
        await _awaited(code, variables)
    return await _awaited(last, variables) if last is not None else None


async def _awaited(code, variables):
    value = eval(code, variables)
    return await value if code.co_flags & _COROUTINE else value


class SessionLoop:
    """The event loop of a session, as in IPython.

    All cells that await at top level run in it, and `asyncio.get_event_loop()` finds it. A task that is not
    finished at the end of its cell goes on whenever a later cell awaits something. What a cell started is
    cancelled only if the cell was stopped, by an interrupt or its own submission.
    """

    def __init__(self):
        self._loop = None
        self._known = None  # asyncio, its names and policy, where this thread's loop is, if all are its own

    def must_prepare(self, code):
        """Whether a cell may ask `asyncio` for the loop, and it is not in place. No code of a cell runs."""
        asyncio = _modules.get("asyncio")
        if asyncio is None:
            return "asyncio" in code
        if self._known is None or asyncio is not self._known[0]:
            return True
        _, events, policy, of_thread, loop = self._known
        try:
            if events["_event_loop_policy"] is not policy or of_thread.get("_loop") is not loop:
                return True
            return loop._closed or loop._thread_id is not None
        except Exception:  # a cell broke asyncio
            return True

    def prepare(self):
        """Have the loop in place for a cell that may ask `asyncio` for it, which costs an import."""
        try:
            self._current()
        except Exception:  # a cell broke asyncio
            pass

    def run(self, coroutine):
        """Run the coroutine of a cell to its end."""
        loop = self._current()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except BaseException as problem:
            if not task.done() or isinstance(problem, KeyboardInterrupt) or is_stop(problem):
                _cancel_all(loop)
            raise

    def close(self):
        """Close the loop at the end of the session."""
        if self._loop is not None and not self._loop.is_running():
            self._loop.close()

    def _current(self):
        """The loop that is set in this thread if it can be used; otherwise the session's, which is set."""
        asyncio = _import("asyncio")
        events = asyncio.events
        policy = getattr(events, "_get_event_loop_policy", events.get_event_loop_policy)()
        # Asking for the current loop would raise, warn or make one, by the version of Python.
        loop = getattr(getattr(policy, "_local", None), "_loop", None)
        if not _is_usable(loop):
            loop = self._loop if _is_usable(self._loop) else policy.new_event_loop()
            policy.set_event_loop(loop)
        self._loop = loop
        is_own = all([type(each).__module__.partition(".")[0] == "asyncio" for each in (policy, loop)])
        self._known = (asyncio, vars(events), policy, vars(policy._local), loop) if is_own else None
        return loop


def _is_usable(loop):
    return loop is not None and not loop.is_closed() and not loop.is_running()


def _cancel_all(loop):
    """Cancel what is not finished, so that nothing of a stopped cell goes on in a later one."""
    asyncio = _modules["asyncio"]
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        try:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        except BaseException:  # the cell's own problem is what is reported
            pass
