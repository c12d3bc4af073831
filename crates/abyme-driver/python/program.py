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
_modules = sys.modules
_import = __import__

hide_frames_of(lambda: None)


def compile_cell(code, cell):
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
    except COMPILE_ERRORS:
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


def execute(parts, variables, loop):
    """Run the statements and return the value of the last expression."""
    statements, last = parts
    if any([code is not None and code.co_flags & _COROUTINE for code in parts]):
        return loop.run(_execute_async(parts, variables))
    if statements is not None:
        exec(statements, variables)
    return eval(last, variables) if last is not None else None


async def _execute_async(parts, variables):
    """`execute` for a cell that awaits at top level."""
    for code in parts:
        value = None
        if code is not None:
            value = eval(code, variables)
            if code.co_flags & _COROUTINE:
                value = await value
    return value


class SessionLoop:
    """The event loop of a session, as in IPython.

    All cells that await at top level run in it, and `asyncio.get_event_loop()` finds it. A task that is not
    finished at the end of its cell goes on whenever a later cell awaits something. What a cell started is
    cancelled only if the cell was stopped, by an interrupt or its own submission.
    """

    def __init__(self):
        self._loop = None

    def prepare(self, code):
        """Have the loop in place for a cell that may ask `asyncio` for it, which costs an import."""
        if "asyncio" in _modules or "asyncio" in code:
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
