"""Tasks that take turns: what stands in for threads where Python has one stack.

A task that waits cannot be set aside, but another one can run *on top of* it: while a task waits for a host
call, a queued task begins, starts a host call of its own, waits for that, and so on. The host works on all
these calls at once. The task on top of the stack has to finish before the one beneath goes on, so tasks
finish in LIFO order.

Three rules keep programs written for real threads working:

- While any task holds a lock, waits that end by themselves (host calls, sleeps) run nothing on top: a task
  there could wait for the lock, whose holder is beneath it.
- A wait that nothing can end any more raises instead of hanging: RuntimeError in the main code and in pools.
  A plain thread is ended by `Abandoned`. If it had done nothing before that wait, or takes from a queue in a
  loop, it is *parked* and begins again, from its start, when its wait would end at once: a worker that idles
  in `queue.get()`.
- A task that sleeps while a task beneath it could go on is ended after some seconds, a daemon at once.
"""

import sys
from _contextvars import Context
from _thread import get_ident, interrupt_main
from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from time import monotonic, sleep

from _abyme.errors import hide_frames_of
from _abyme.submit import is_stop
from _abyme.task import Abandoned, Call, Task, Wait

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)

MAX_NESTED = 24  # tasks on top of each other, for the sake of more host calls at once
MAX_NEEDED = 40  # ... where a wait can only be ended by running another task
FRAMES_LEFT = 300  # of Python's recursion limit, for a task that begins
THREAD_SECONDS = 5.0  # how long a thread may sleep while a task beneath it could go on, ...
WAITING_SECONDS = 1.0  # ... or wait with a timeout for another task, ...
POOL_SECONDS = 60.0  # ... or the worker of a pool may do either, ...
DRAIN_SECONDS = 2.0  # ... and all tasks together, after the cell's own code has ended

_frame, _recursion_limit, _handled = sys._getframe, sys.getrecursionlimit, sys.exception
_STUCK = (
    "this would wait for ever: threads take turns here, the one that waits runs on top of those that wait "
    "already, and nothing that could still run would end this wait"
)
_HELD_UP = (
    "this sleeps too long: threads take turns here, and what this one runs on top of could go on, "
    "but only after it has returned"
)


class _Again:
    """Raises SIGINT again when it is deleted.

    A handler that did so itself would be called again in its own frame. Python drops what a handler returns
    after that frame has ended, and a builtin as `__del__` needs no frame, so SIGINT comes in the code that
    was interrupted.
    """

    __slots__ = ()
    __del__ = interrupt_main


class Scheduler:
    """The tasks of a session. All methods but `begin` are for the time while a cell runs."""

    def __init__(self):
        self.main = self.current = Task(get_ident())
        self.guest = self.gate = self.note = self.check_call = None
        self.queue = deque()  # tasks that have not begun
        self.timers = []  # heap of (when, number, task)
        self.parked = []  # (ready, task) of threads that begin again when there is something for them to do
        self.calls = {}  # id -> Call, or what else has `answer` (see pool.py)
        self.detached = 0  # how many of the calls no task on the stack waits for
        self.pools = set()  # executors with work
        self.waits = []  # the stack
        self.depth = 0
        self.held = 0  # locks held, since the epoch began
        self.epoch = 0
        self.signals = 0
        self.shielded = set()  # files in whose code no interrupt is raised
        self.stopping = False  # an interrupt came in a nested task: everything beneath must stop too
        self.draining = False
        self.drained = 0.0
        self._idents = count(self.main.ident + 1)
        self._numbers = count()

    def connect(self, guest, repl):
        """Set the module `_abyme_guest`, and what the scheduler needs of the session."""
        self.guest, self.gate, self.check_call = guest, repl.gate, repl.check_call
        self.note = repl.stderr.write  # for remarks to the user

    def new_ident(self):
        """A thread identifier that was never used."""
        return next(self._idents)

    # ---- beginning and end of a cell ----

    def begin(self):
        """Forget what the last cell may have left, after an interrupt for example."""
        if self.busy():
            self.drop_all()
        if self.held:
            self.epoch += 1
            self.held = 0
        if self.waits:
            self.waits.clear()
        if get_running_loop() is not None:
            set_running_loop(None)
        self.current, self.depth = self.main, 0
        self.stopping = self.draining = False
        self.main.waited = 0.0

    def busy(self):
        """Whether anything is queued or in flight."""
        return bool(self.queue or self.timers or self.calls or self.pools)

    def after_cell(self, problem):
        """The hook of `Repl`: run what has not run yet. Returns the interrupt that came meanwhile, if any."""
        if problem is not None and (is_stop(problem) or isinstance(problem, KeyboardInterrupt)):
            self.drop_all(parked=True)
            return None
        if self.parked:
            self.unpark()
        return self._drain() if self.busy() else None

    def _drain(self):
        self.draining, self.drained = True, 0.0
        self._drop_late_timers()
        try:
            self._block(Wait(self._is_drained, None, True, None, self.main))
        except (KeyboardInterrupt, RuntimeError) as problem:
            return problem
        finally:
            self.draining = False
            self.drop_all()
        if self.gate.pending:
            self.gate.pending = False
            return KeyboardInterrupt()
        return None

    def _is_drained(self):
        return not (self.queue or self.timers or self.calls)

    def _drop_late_timers(self):
        limit = monotonic() + DRAIN_SECONDS
        late = [timer for timer in self.timers if timer[0] > limit]
        for timer in late:
            self.timers.remove(timer)
            timer[2].drop()
        if late:
            heapify(self.timers)
            plural = "s were" if len(late) > 1 else " was"
            self.note(f"{len(late)} timer{plural} dropped: nothing runs after the end of a cell\n")

    def drop_all(self, parked=False):
        """Forget all that has not begun and all calls: the cell was stopped, or is over."""
        while parked and self.parked:
            self.parked.pop()[1].drop()
        while self.queue:
            self.queue.popleft().drop()
        while self.timers:
            self.timers.pop()[2].drop()
        calls = list(self.calls.values())
        self.calls.clear()
        self.detached = 0
        for call in calls:
            if type(call) is not Call:
                call.drop()
        while self.pools:
            self.pools.pop().drop()

    def on_signal(self, signum=None, frame=None):
        """The SIGINT handler."""
        gate = self.gate
        if gate.running:
            if frame is not None and frame.f_code.co_filename in self.shielded:
                return _Again()
            self.signals += 1
            if self.depth:
                self.stopping = True
        return gate.on_signal(signum, frame)

    def closed(self, action, *args):
        """Run code of the driver in the middle of the cell's code, with no interrupt in it."""
        held = self.gate.hold()
        try:
            value = action(*args)
            if self.stopping:
                self._raise_stopped()
            return value
        finally:
            self.gate.release(held)

    def shield(self, *functions):
        """Raise no interrupt in the files that define these, but at the first chance after.

        For code that an interrupt would leave half done, and for callbacks of weak references, where Python
        drops it. Such code must not run long: it calls the cell's, or waits by `block`.
        """
        self.shielded.update([function.__code__.co_filename for function in functions])

    # ---- new tasks ----

    def add_timer(self, task, seconds):
        """Queue a task when the time has come."""
        heappush(self.timers, (monotonic() + seconds, next(self._numbers), task))

    def park(self, ready, task):
        """Begin the task again when `ready()`."""
        self.parked.append((ready, task))

    def unpark(self):
        """Look which parked tasks have something to do now."""
        for entry in self.parked[:]:
            if entry[0]():
                self.parked.remove(entry)
                self.queue.append(entry[1])

    def hurry(self, task):
        """Queue a task that waits for its time at once."""
        self.timers[:] = [timer for timer in self.timers if timer[2] is not task]
        heapify(self.timers)
        self.queue.append(task)

    # ---- waiting ----

    def block(self, ready, timeout=None, needs_others=True, source=None):
        """Wait until `ready()`, while other tasks run. Returns False when `timeout` seconds have passed.

        `ready` is called often, from anywhere on the stack, and must have no effect.
        """
        held = self.gate.hold()
        try:
            deadline = None if timeout is None else monotonic() + timeout
            return self._block(Wait(ready, deadline, needs_others, source, self.current))
        finally:
            self.gate.release(held)

    def sleep(self, seconds):
        """What `time.sleep` does."""
        if not (self.queue or self.calls or self.timers or self.stopping or self.depth) or not seconds >= 0:
            sleep(seconds)  # which also raises the usual errors
        else:
            self.block(_never, seconds, False)

    def poll(self):
        """Give other tasks one turn, without waiting."""
        if not (self.queue or self.calls or self.timers or self.stopping):
            return
        held = self.gate.hold()
        try:
            if self.stopping:
                self._raise_stopped()
            while self.calls:
                number = self.guest.wait(0, 0.0)
                if not number:
                    break
                self._dispatch(number)
            task = self._next(True)
            if task is not None:
                self._nest(task)
            if self.stopping:
                self._raise_stopped()
        finally:
            self.gate.release(held)

    def finish_call(self, number):
        """Wait for a host call while other tasks may run: `(ok, value)`, or None after an interrupt."""
        task = self.current
        task.acted = True
        call = self.calls[number] = Call(None)
        try:
            self._block(Wait(call.answered, None, False, None, task, call))
        finally:
            self.calls.pop(number, None)
            if call.pool is not None:
                call.pool.answered -= 1
        return call.outcome

    def _block(self, waiting):
        """Run other tasks until the wait is over. The gate is closed here, and open in the code of tasks."""
        gate, ready, deadline = self.gate, waiting.ready, waiting.deadline
        turns = 0
        if self.parked:
            self.unpark()
        self.waits.append(waiting)
        try:
            while True:
                if self.stopping:
                    self._raise_stopped()
                if gate.pending:
                    self._note_interrupt()
                    return False
                if ready():
                    return True
                late = deadline is not None and monotonic() >= deadline
                if late and turns:
                    return False
                turns += 1  # one turn for other tasks even in `sleep(0)`, so that a loop around it ends
                allowed = self._may_nest(waiting.needs_others)
                task = self._next(allowed)
                if task is not None:
                    self._nest(task)
                elif late:
                    return False
                else:
                    self._pass_time(waiting, allowed)
        finally:
            self.waits.pop()

    # ---- running tasks ----

    def _may_nest(self, needs_others):
        """Whether a task may begin here."""
        if not needs_others and self.held:
            return False
        if self.depth >= (MAX_NEEDED if needs_others else MAX_NESTED):
            return False
        try:
            _frame(max(_recursion_limit() - FRAMES_LEFT, 0))
        except ValueError:  # the stack is not that deep
            return True
        return False

    def _next(self, allowed):
        """The task to begin now."""
        if not allowed:
            return None
        if self.timers and self.timers[0][0] <= monotonic():
            self.queue.append(heappop(self.timers)[2])
        return self.queue.popleft() if self.queue else None

    def _nest(self, task):
        """Run a task on top of the current one, with what is one per thread of its own."""
        outer, loop = self.current, get_running_loop()
        task.around = _handled()
        self.current = task
        self.depth += 1
        set_running_loop(None)
        try:
            self.open(Context().run, task.run)
        finally:
            set_running_loop(loop)
            self.depth -= 1
            self.current = outer
            task.end()
            task.around = None

    def open(self, action, *args):
        """Run code of the cell: `(value, problem)`. An interrupt in it stops all that is on the stack.

        One that waits at the gate does so too, but is not let into this code, which has to be run in any
        case.
        """
        gate = self.gate
        stop, before = gate.pending, self.signals
        gate.pending = False
        value, problem = gate.attempt(action, *args)
        gate.resume_collections()  # the cell goes on
        if stop or gate.pending or self.signals != before:
            self.stopping = True
            gate.pending = False
        return value, problem

    def _raise_stopped(self):
        """Carry an interrupt on to the task beneath; the main code is the last that gets it."""
        if not self.depth:
            self.stopping = False
            self.gate.pending = False
            self.drop_all()
        raise KeyboardInterrupt

    def _note_interrupt(self):
        """An interrupt waits at the gate; it is raised on the way back into the cell."""
        if self.depth:
            self.stopping = True
        else:
            self.drop_all()

    # ---- letting time pass ----

    def _pass_time(self, waiting, allowed):
        """Nothing can be run: wait for the host, for a timer, or for the deadline."""
        limit, waiting_up = self._limit(waiting, allowed)
        now = monotonic()
        if self.calls and (waiting.call is not None or self.detached or limit is not None):
            number = self.guest.wait(0, -1.0 if limit is None else max(limit - now, 0.0))
            if number:
                self._dispatch(number)
        elif limit is not None:
            if self.open(sleep, max(limit - now, 0.0))[1] is not None:  # only a signal handler ends a sleep
                self.stopping = True
        else:
            self._give_up(waiting, _STUCK)
        if waiting_up:
            self._account(waiting.task, monotonic() - now)

    def _limit(self, waiting, allowed):
        """The latest time to look again, and whether a task beneath could go on."""
        limit = waiting.deadline
        if allowed and self.timers:
            due = self.timers[0][0]
            limit = due if limit is None else min(limit, due)
        if limit is None or waiting.deadline is None or not self.depth:
            return limit, False
        now = monotonic()
        beneath = self.waits[:-1]
        if any(lower.is_over(now) for lower in beneath):
            left = self._time_left(waiting)
            if left <= 0:
                self._give_up(waiting, _HELD_UP)
            return min(limit, now + left), True
        deadlines = [lower.deadline for lower in beneath if lower.deadline is not None]
        return min([limit, *deadlines]), False

    def _time_left(self, waiting):
        """For how many more seconds a task may hold up the tasks beneath it."""
        task = waiting.task
        if task.daemon:
            return 0.0
        if self.draining:
            return DRAIN_SECONDS - self.drained
        if task.pool is not None or task.thread is None:
            return POOL_SECONDS - task.waited
        return (WAITING_SECONDS if waiting.needs_others else THREAD_SECONDS) - task.waited

    def _account(self, task, seconds):
        if self.draining:
            self.drained += seconds
        else:
            task.waited += seconds

    def _give_up(self, waiting, why):
        """End a wait that nothing else can end, in the way that fits the task."""
        task = waiting.task
        if task.thread is None or task.pool is not None:
            raise RuntimeError(why)
        end = Abandoned(why)
        source = waiting.source
        if source is not None and (not task.acted or task.took is source):
            end.parks = waiting.ready
        elif not task.daemon:
            self.note(f"thread {task.thread.name} was ended: {why}\n")
        raise end

    # ---- answers of the host ----

    def _dispatch(self, number):
        """Hand the reply of a call to its task or its future. Without one, the reply is dropped."""
        call = self.calls.get(number)
        try:
            outcome = self.guest.reply(number)
        except Exception as problem:  # no memory for it
            outcome = problem
        if call is None:
            return
        if type(call) is not Call:
            del self.calls[number]
            self.detached -= 1
            call.answer(outcome)
            return
        call.outcome = outcome
        self._count_answered(call)

    def _count_answered(self, call):
        """A worker that only waits for its turn has no call in flight: its pool may begin another item."""
        for waiting in self.waits[:-1]:
            if waiting.call is call:
                pool = waiting.task.pool
                if pool is not None and pool.may_overlap:
                    call.pool = pool
                    pool.answered += 1
                    pool.pump()
                return


def _never():
    return False


def get_running_loop():
    """Replaced by asyncio's own once that is imported (event_loop.py)."""


def set_running_loop(_loop):
    """The same."""


scheduler = Scheduler()
