"""What the scheduler (tasks.py) keeps of tasks, of what they wait for, and of host calls."""

from _abyme.errors import hide_frames_of

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)


class Abandoned(BaseException):
    """Ends a plain thread whose wait nothing can end, or that sleeps while others could go on."""

    parks = None  # the `ready` of the wait, if the thread is to begin again when that is true


class Task:
    """One thread of control, which executes `run`. Threads and the workers of pools are subclasses."""

    daemon = False
    pool = None  # the executor it works for
    thread = None  # the `threading.Thread`, where one stands behind it

    def __init__(self, ident):
        self.ident = ident
        self.around = None  # the exception that was being handled where this task began
        self.waited = 0.0  # seconds it slept while others could have gone on
        self.acted = False  # it has called the host, put something into a queue, or the like
        self.took = None  # the queue it took from last

    def run(self):
        """The code of the cell. An exception that leaves it is dropped."""

    def end(self):
        """Called after `run`, also after an interrupt. No interrupt can come here."""

    def drop(self):
        """Called when the cell was stopped before the task began."""


class Call:
    """A host call in flight that a task waits for."""

    __slots__ = ("outcome", "pool")

    def __init__(self, pool):
        self.outcome = None  # (ok, value) when the host has answered
        self.pool = pool  # of the waiting task, once the answer came while other tasks ran on top of it

    def answered(self):
        return self.outcome is not None


class Wait:
    """What a task on the stack waits for."""

    __slots__ = ("ready", "deadline", "needs_others", "source", "task", "call")

    def __init__(self, ready, deadline, needs_others, source, task, call=None):
        self.ready = ready
        self.deadline = deadline
        self.needs_others = needs_others  # only another task, or a call that no task waits for, can end it
        self.source = source  # the queue, lock or event that decides, so that `ready` has a lasting meaning
        self.task = task
        self.call = call  # the Call, where it is a host call

    def is_over(self, now):
        """Whether the task could go on if it were on top."""
        return (self.deadline is not None and now >= self.deadline) or self.ready()


def strip_context(problem, around):
    """Take the exception that was being handled beneath a task out of the context of the task's own."""
    seen = set()
    while problem is not None and around is not None and id(problem) not in seen:
        seen.add(id(problem))
        if problem.__context__ is around:
            problem.__context__ = None
            return
        problem = problem.__context__
