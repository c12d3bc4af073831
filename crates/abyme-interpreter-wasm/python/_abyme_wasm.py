"""The session inside WebAssembly. Imported once, before the base image is taken: a session is a copy of that.

`run(request)` runs a cell. The C module `_abyme_guest` holds the functions of the host. The files beside this
one and those of the driver (PROTOCOL.md section 8) become the package `_abyme`, which no cell can import.
"""

import gc
import os
import sys
from _signal import SIGINT, signal

import _abyme_guest

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

DRIVER = (
    "gate", "given", "capture", "annotations", "convert", "display", "errors", "scope", "sources", "submit",
    "processes", "program", "repl",
)  # fmt: skip
OWN = (
    "task", "tasks", "locks", "local", "threads", "host", "pool", "thread_pool",
    "event_loop", "lacks", "prepare",
)  # fmt: skip
WORK, TEMPORARY = "/work", "/tmp"
_HERE = os.path.dirname(__file__)


def _load():
    """Load all files. Returns the modules by name. Each replaces its part of Python before the next one."""
    package = type(sys)("_abyme")
    package.__path__ = []
    sys.modules["_abyme"] = package
    modules = {}
    try:
        for name in DRIVER + OWN:
            file = os.path.join(_HERE, *(("driver",) if name in DRIVER else ()), name + ".py")
            with open(file, encoding="utf-8") as source:
                text = source.read()
            module = modules[name] = type(sys)("_abyme." + name)
            module.__package__ = "_abyme"
            sys.modules[module.__name__] = module
            setattr(package, name, module)
            exec(compile(text, f"<abyme/{name}.py>", "exec", dont_inherit=True), vars(module))
            if name in OWN and hasattr(module, "install"):
                module.install()
        return modules
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "_abyme"]:
            del sys.modules[name]


def _add_site_builtins():
    """`help`, `exit` and the like: the module `site` does not run here."""
    import builtins

    if not hasattr(builtins, "help"):
        import site

        for add in (site.setquit, site.setcopyright, site.sethelper):
            add()


def _set_up_process():
    """Set what a cell sees of its process."""
    import tempfile

    tempfile.tempdir = TEMPORARY
    os.environ.clear()
    sys.argv, sys.orig_argv, sys.executable = ["abyme"], ["abyme"], ""
    sys.path[:] = ["", *[path for path in sys.path if path and path != _HERE and os.path.isdir(path)]]
    try:
        os.chdir(WORK)
    except OSError:  # the directory does not exist before the base image is taken
        pass
    sys.path_importer_cache.clear()


class Session:
    """A `Repl` and the functions of the host that it works with."""

    def __init__(self, modules, guest):
        self._guest = guest
        self._scheduler = modules["tasks"].scheduler
        self.repl = modules["repl"].Repl(modules["host"].Host(guest), preload=True)
        # Handing output on costs next to nothing here, and what was handed on outlives a crash.
        modules["capture"].STREAM_CHARS = 1
        self.repl.gate.by_signal = True
        self.repl.before_end = self._collect_raw
        self.repl.after_cell = self._scheduler.after_cell
        self.repl.set_descriptors(0, 1, 2)
        self._scheduler.connect(guest, self.repl)
        sys.modules["__main__"] = self.repl.module

    def run(self, request):
        """Run a cell."""
        signal(SIGINT, self._scheduler.on_signal)
        self._scheduler.begin()
        return self.repl.run(request)

    def _collect_raw(self):
        """Take over what was written to descriptors 1 and 2, by C code for example."""
        raw = self._guest.raw
        for stream, capture in ((0, self.repl.stdout), (1, self.repl.stderr)):
            written = raw(stream)
            if written is not None:
                head, omitted, tail = written
                capture.write(head.decode("utf-8", "replace"))
                if omitted:
                    capture.skip(omitted)
                capture.write(tail.decode("utf-8", "replace"))


def _rehearse(modules):
    """Run some cells against a host that answers at once, and forget them."""
    import warnings

    filters = warnings.filters[:]
    session = Session(modules, modules["prepare"].Rehearsal())
    modules["prepare"].rehearse(session.run)
    modules["prepare"].compile_functions(os.path.join(_HERE, "functions.json"))
    modules["prepare"].clean_up()
    warnings.filters[:] = filters
    warnings._filters_mutated()


def _prepare():
    _add_site_builtins()
    modules = _load()
    modules["errors"].hide_frames_of(_load)
    modules["prepare"].import_all()
    _set_up_process()
    _rehearse(modules)
    session = Session(modules, _abyme_guest)
    sys.path_importer_cache.pop(WORK, None)
    return session


def _reseed():
    """Change what must differ between the copies of one base image."""
    _random.seed()
    _tempfile._name_sequence = None


def run(request):
    """Run a cell: a request as `Repl.run` takes it. `copied`: the session was copied since the last one, and
    whether it is to differ from its original."""
    is_first = sys.modules.pop(__name__, None) is not None
    if is_first or request.get("copied"):
        _reseed()
    if is_first or "copied" in request:
        _session.repl.given.clear()
    try:
        return _session.run(request)
    except BaseException as problem:  # the session is lost, and the host says why
        os.write(2, f"{type(problem).__name__}: {problem}\n".encode("utf-8", "replace"))
        raise


_session = _prepare()
import random as _random  # noqa: E402  (after the replacements, as all that may use threads)
import tempfile as _tempfile  # noqa: E402

gc.collect()
gc.freeze()
