"""rlms with `LocalREPL`: `exec` in the process of the program, so a host call is a plain call."""

import asyncio

import common
from rlm.clients.base_lm import BaseLM
from rlm.core.lm_handler import LMHandler
from rlm.core.types import ModelUsageSummary, UsageSummary
from rlm.environments.local_repl import LocalREPL


def run(session, code, expected):
    """The seconds of a cell that prints what is expected. There is no value of a last expression."""
    seconds, result = common.timed(lambda: session.execute_code(code))
    common.check((result.stdout, result.stderr), (f"{expected}\n", ""))
    return seconds


def scenarios(name, at):
    makers = {"start": lambda: start, "cell": cell, "host-call": host_call, "batch": batch}
    return common.chosen(name, at, makers, text_in)


def start():
    seconds, session = common.timed(LocalREPL)
    with session:
        return seconds + run(session, "print(6 * 7)", 42)


def cell():
    session = LocalREPL()
    session.execute_code("x = 0")
    return common.counting(lambda count: run(session, "x = x + 1\nprint(x)", count))


def host_call():
    session = LocalREPL(custom_tools={"echo": lambda value: value})
    code = f"for _ in range({common.CALLS}):\n    seen = echo('x')\nprint(seen)"
    return lambda: run(session, code, "x") / common.CALLS


def text_in(value):
    """The one input of rlms is `context`. It is written to a file, and read from there."""
    with LocalREPL() as session:
        seconds, _ = common.timed(lambda: session.load_context(value))
        return seconds + run(session, "print(len(context))", len(value))


class Model(BaseLM):
    """Answers with the prompt, after a while."""

    def completion(self, prompt):
        return asyncio.run(self.acompletion(prompt))

    async def acompletion(self, prompt):
        await asyncio.sleep(common.DELAY)
        return prompt

    def get_last_usage(self):
        return ModelUsageSummary(total_calls=1, total_input_tokens=0, total_output_tokens=0)

    def get_usage_summary(self):
        return UsageSummary(model_usage_summaries={})


def batch():
    handler = LMHandler(Model("model"))
    session = LocalREPL(lm_handler_address=handler.start())
    session.execute_code(f"prompts = [f'question {{number}}' for number in range({common.PROMPTS})]")
    return lambda: run(session, "answers = llm_query_batched(prompts)\nprint(answers == prompts)", True)


common.serve("rlms", scenarios)
