"""Monty: an interpreter of its own for a part of Python, in workers of a pool. It knows no models."""

import common
import pydantic_monty

WORKERS = 4  # as many as the pool of ours keeps


def run(session, code, expected, **options):
    """The seconds of a cell whose value is what is expected."""
    seconds, value = common.timed(lambda: session.feed_run(code, **options))
    common.check(value, expected)
    return seconds


def printed(session):
    """The seconds of a cell that prints."""
    output = pydantic_monty.CollectString()
    seconds, _ = common.timed(lambda: session.feed_run("print(6 * 7)", print_callback=output))
    common.check(output.output, "42\n")
    return seconds


def scenarios(name, at):
    makers = {"start": lambda: start, "pool-start": pool_start, "cell": cell, "host-call": host_call}
    return common.chosen(name, at, makers, text_in)


def opened(manager):
    """The seconds until a context manager is entered, and what it gives."""
    return common.timed(manager.__enter__)


def start():
    """Sessions come from a pool alone, so one with a worker is started for the session."""
    pool = pydantic_monty.Monty()
    starting, _ = opened(pool)
    with_session = pool.checkout()
    taking, session = opened(with_session)
    seconds = starting + taking + printed(session)
    with_session.__exit__(None, None, None)
    pool.__exit__(None, None, None)
    return seconds


def pool_start():
    pool = pydantic_monty.Monty(min_processes=WORKERS, max_processes=WORKERS)
    pool.__enter__()

    def sample():
        with_session = pool.checkout()
        taking, session = opened(with_session)
        seconds = taking + printed(session)
        with_session.__exit__(None, None, None)
        return seconds

    return sample


def session(**options):
    _, pool = opened(pydantic_monty.Monty())
    return opened(pool.checkout(**options))[1]


def cell():
    counting = session()
    counting.feed_run("x = 0")
    return common.counting(lambda count: run(counting, "x = x + 1\nx", count))


def host_call():
    calling = session(limits={"max_suspensions": 1_000_000})  # of the session; 1 000 without it
    code = f"for _ in range({common.CALLS}):\n    seen = echo('x')\nseen"
    functions = {"echo": lambda value: value}
    return lambda: run(calling, code, "x", external_lookup=functions) / common.CALLS


def text_in(value):
    taking = session()
    return run(taking, "len(text)", len(value), inputs={"text": value})


common.serve("pydantic-monty", scenarios)
