"""DSPy with `PythonInterpreter`, its default: Pyodide in Deno. The first start needs the network."""

import dspy
import dspy_work

dspy_work.serve(dspy.PythonInterpreter)
