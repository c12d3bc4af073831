"""Runs DSPy's own RLM over `abyme interpreter`, with scripted models, and prints what came of it as JSON.

The adapter in here is what a program needs to drive the command as DSPy's `CodeInterpreter`.
"""

import inspect
import json
import subprocess
import sys

import dspy
from dspy.primitives.code_interpreter import CodeExecutionError, CodeInterpreterError, FinalOutput
from dspy.utils import DummyLM


class AbymeInterpreter:
    """One session of `abyme interpreter`."""

    def __init__(self, command):
        self.command = command
        self.output_fields = None
        self._tools = {}
        self._process = None

    @property
    def tools(self):
        return self._tools

    def start(self):
        if self._process is None:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )

    def execute(self, code, variables=None):
        self.start()
        outputs = [field["name"] for field in self.output_fields or []]
        answer = self._ask(
            {
                "code": code,
                "variables": variables or {},
                "tool_names": list(self._tools),
                "output_names": outputs,
            }
        )
        while "tool_call" in answer:
            answer = self._ask(self._call(answer["tool_call"]))
        error = answer["error"]
        if error is not None and error["type"] == "SyntaxError":
            raise SyntaxError(error["message"])
        if error is not None and error["type"] in ("SessionEnded", "BadInput"):
            raise CodeInterpreterError(error["message"])
        if error is not None:
            raise CodeExecutionError(f"{error['type']}: {error['message']}")
        if answer["final"] is not None:
            return FinalOutput(answer["final"])
        return answer["stdout"] or None

    def shutdown(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(timeout=10)
            self._process.stdout.close()

    def _ask(self, line):
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise CodeInterpreterError("the interpreter has ended")
        return json.loads(answer)

    def _call(self, call):
        try:
            tool = self._tools[call["name"]]
            # DSPy's tools take keywords alone.
            names = list(inspect.signature(tool).parameters)
            result = tool(**dict(zip(names, call["args"])), **call["kwargs"])
            json.dumps(result)
        except Exception as problem:
            return {"id": call["id"], "tool_error": str(problem)}
        return {"id": call["id"], "tool_result": result}


def shout(text: str) -> str:
    """Shouts."""
    return text.upper() + "!"


# Each step is one reply of the model that plans.
STEPS = [
    "print(len(context), shout(query))",
    "total = 0\nprint(totl)",
    "reply = llm_query('What is hidden?')\nprint('hidden' in reply)",
    "import dspy\nnumber = dspy.Predict('question -> number: int')(question='6 * 7?').number\nprint(number)",
    "def f(:",
    "SUBMIT(answer=number, note='done')",
]


def main(command):
    planner = DummyLM([{"reasoning": f"Step {number}.", "code": code} for number, code in enumerate(STEPS)])
    reader = DummyLM([{"answer": "a hidden needle"}, {"number": "42"}])
    dspy.configure(lm=planner)
    rlm = dspy.RLM(
        "context, query -> answer: int, note: str",
        interpreter_factory=lambda: AbymeInterpreter(command),
        sub_lm=reader,
        tools=[shout],
    )
    result = rlm(context="hay " * 100_000, query="where?")
    outputs = [step["output"] for step in result.trajectory]
    print(json.dumps({"answer": result.answer, "note": result.note, "outputs": outputs}))


if __name__ == "__main__":
    main(sys.argv[1:])
