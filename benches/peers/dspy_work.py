"""The work of both interpreters of DSPy: `execute(code, variables)` of its `CodeInterpreter` protocol."""

import functools
import time

import common
import dspy
from dspy import lm15

CELL = "x = x + 1\nx"
HOST_CALLS = f"for _ in range({common.CALLS}):\n    seen = echo('x')\nseen"
# In the cell, so that starting the interpreter and asking the root model are not in it.
BATCH = f"""import time
prompts = [f"question {{number}}" for number in range({common.PROMPTS})]
start = time.perf_counter()
answers = llm_query_batched(prompts)
seconds = time.perf_counter() - start
SUBMIT(seconds=seconds, right=answers == prompts)"""


def echo(value: str) -> str:
    return value


def scenarios(interpreter, name, at):
    makers = {"start": start, "cell": cell, "host-call": host_call, "batch": batch}
    makers = {name: functools.partial(make, interpreter) for name, make in makers.items()}
    return common.chosen(name, at, makers, functools.partial(text_in, interpreter))


def start(interpreter):
    def sample():
        session = interpreter()
        try:
            seconds, seen = common.timed(lambda: session.execute("print(6 * 7)"))
            common.check(seen.strip(), "42")
        finally:
            session.shutdown()
        return seconds

    return sample


def cell(interpreter):
    session = interpreter()
    session.execute("x = 0")

    def run(count):
        seconds, seen = common.timed(lambda: session.execute(CELL))
        # The Deno interpreter answers with text.
        common.check(str(seen), str(count))
        return seconds

    return common.counting(run)


def host_call(interpreter):
    session = interpreter(tools={"echo": echo})
    session.start()

    def sample():
        seconds, seen = common.timed(lambda: session.execute(HOST_CALLS))
        common.check(seen, "x")
        return seconds / common.CALLS

    return sample


def text_in(interpreter, value):
    """A variable is given with a cell.

    DSPy's RLM gives all inputs with every cell, so every cell costs this.
    """
    session = interpreter()
    try:
        session.execute("1")
        seconds, seen = common.timed(lambda: session.execute("len(text)", variables={"text": value}))
        common.check(str(seen), str(len(value)))
    finally:
        session.shutdown()
    return seconds


class Engine:
    """A model that answers through `reply` after a while."""

    def __init__(self, reply, delay=0):
        self.reply = reply
        self.delay = delay

    def complete(self, request):
        time.sleep(self.delay)
        message = lm15.Message.assistant([lm15.TextPart(self.reply(request.messages[-1].text))])
        usage = lm15.Usage(input_tokens=0, output_tokens=0, total_tokens=0)
        return lm15.Response(id=None, model="model", message=message, finish_reason="stop", usage=usage)

    def stream(self, request):
        return lm15.response_to_events(self.complete(request))

    def close(self):
        pass


def batch(interpreter):
    """A run of `dspy.RLM` whose root model writes one cell, with a batch of sub-calls.

    Only the sub-calls are timed.
    """
    code = f"[[ ## code ## ]]\n```python\n{BATCH}\n```"
    action = f"[[ ## reasoning ## ]]\nAsk.\n\n{code}\n\n[[ ## completed ## ]]\n"
    root = dspy.LM("model", engine=Engine(lambda prompt: action), cache=False)
    sub = dspy.LM("model", engine=Engine(lambda prompt: prompt, common.DELAY), cache=False)

    def sample():
        rlm = dspy.RLM(
            "question -> seconds: float, right: bool",
            max_iters=1,
            max_llm_calls=common.PROMPTS,
            sub_lm=sub,
            interpreter_factory=interpreter,
        )
        with dspy.context(lm=root):
            result = rlm(question="How long?")
        common.check(result.right, True)
        return result.seconds

    return sample


def serve(interpreter):
    common.serve("dspy", functools.partial(scenarios, interpreter))
