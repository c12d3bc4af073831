"""DSPy with `LocalInterpreter`: CPython in a child process."""

import dspy
import dspy_work

dspy_work.serve(dspy.LocalInterpreter)
