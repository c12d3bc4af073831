"""Loads the files of the driver (PROTOCOL.md section 8) and those beside this one, once per process.

`load(sources)` takes `{file name: text}` and returns the module `session`. While the modules load they
are the package `_abyme`; afterwards no cell can import them.
"""

import sys

DRIVER = (
    "gate", "given", "capture", "annotations", "convert", "display", "errors", "scope", "sources", "submit",
    "processes", "program", "repl",
)  # fmt: skip
ORDER = (*DRIVER, "threads", "proxies", "session")


def load(sources):
    """Load all files; return the module of the last one."""
    package = type(sys)("_abyme")
    package.__path__ = []
    sys.modules["_abyme"] = package
    try:
        for name in ORDER:
            module = type(sys)("_abyme." + name)
            module.__package__ = "_abyme"
            sys.modules[module.__name__] = module
            setattr(package, name, module)
            exec(compile(sources[name], f"<abyme/{name}.py>", "exec", dont_inherit=True), vars(module))
        return module
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "_abyme"]:
            del sys.modules[name]
