"""Work that is done once, before the base image is taken: imports, and a rehearsal of every path of a cell.

That fills the caches of Python: inline caches of bytecode, slots of types, codecs, compiled patterns. It
takes some rounds: what is not specialised counts down to its next attempt, in a page that the session then
has to copy, and starts the higher the more attempts were in vain.
"""

import json
import os
import sys
from importlib import import_module

from _abyme.errors import hide_frames_of
from _abyme.scope import host_function
from _abyme.tasks import scheduler

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

hide_frames_of(lambda: None)

MODULES = """
abc argparse array ast asyncio atexit base64 binascii bisect builtins calendar cmath codecs codeop collections
collections.abc concurrent.futures concurrent.futures.thread configparser contextlib contextvars copy copyreg
csv dataclasses datetime decimal difflib dis email email.message email.parser email.policy enum errno fnmatch
fractions functools gc getpass glob graphlib gzip hashlib heapq hmac html html.parser importlib.abc
importlib.machinery importlib.util inspect io ipaddress itertools json keyword linecache locale logging
marshal math mimetypes numbers opcode operator os os.path pathlib pickle pkgutil platform pprint pydoc queue
quopri random re reprlib sched secrets selectors shlex shutil signal stat statistics string stringprep struct
subprocess symtable sysconfig tempfile textwrap threading time timeit token tokenize tomllib traceback types
typing unicodedata unittest urllib.error urllib.parse uuid warnings weakref xml.dom.minidom
xml.etree.ElementTree xml.sax.saxutils zipfile zlib zoneinfo
encodings.ascii encodings.cp1252 encodings.idna encodings.latin_1 encodings.utf_16 encodings.utf_8_sig
""".split()

_TEXT, _ANY = {"annotation": "str"}, {"annotation": "Any"}
SCOPE = {
    "functions": [
        {
            "name": "llm_query",
            "doc": "Ask a language model.",
            "returns": "str",
            "parameters": [
                {"name": "prompt", **_TEXT},
                {"name": "model", "annotation": "str | None", "default": None},
            ],
        },
        *(
            {
                "name": name,
                "doc": "Ask a language model many things at once.",
                "returns": "list[str]",
                "parameters": [
                    {"name": "prompts", "annotation": "list[str]"},
                    {"name": "model", "annotation": "str | None", "default": None},
                ],
            }
            for name in ("llm_query_batched", "llm_batch")
        ),
        {"name": "any", "parameters": [{"name": "args", **_ANY, "kind": "var_positional"}]},
        {"name": "named", "parameters": [{"name": "x", **_ANY, "kind": "keyword_only", "default": 1}]},
    ],
    "outputs": [{"name": "answer_text", "type": "str"}],
    "modules": [{"name": "tools.py", "source": "def tool(x):\n    return x\n"}],
}

CELLS = [
    "1 + 1",
    "x = [1, 2.5, 'text', None, True]\nx",
    "print('text', len(context), x)\nprint('error', file=__import__('sys').stderr)",
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n\nf(12)",
    "class A:\n    def __init__(self, x):\n        self.x = x\n\n[A(n).x for n in range(20)]",
    "import re, json, math, collections, itertools\njson.loads(json.dumps({'a': [1, 2.5, None]}))",
    "re.findall(r'\\w+', context[:100]), collections.Counter(context).most_common(3)",
    "lines = context.splitlines()\nchunks = [context[i:i + 20] for i in range(0, len(context), 20)]\n"
    "len(chunks)",
    "f'{3.14159:.2f} {x!r:>10}'",
    "f(",
    "1 / 0",
    "nme",
    "def g():\n    raise ValueError('deep')\n\ntry:\n    g()\nexcept ValueError as e:\n"
    "    raise KeyError('k') from e",
    "import no_such_module_anywhere",
    "answer_one = llm_query('What?')\nprint(answer_one)",
    "llm_query_batched(['a', 'b'], model='m'), any(1, 2), named(x=3), tool(1)",
    "llm_query()",
    "llm_query('fail')",
    "from concurrent.futures import ThreadPoolExecutor, as_completed\n"
    "def process(chunk):\n    return llm_query(chunk)\n\n"
    "with ThreadPoolExecutor(max_workers=4) as pool:\n"
    "    one = list(pool.map(process, chunks))\n    two = list(pool.map(llm_query, chunks))\n"
    "    three = [future.result() for future in as_completed([pool.submit(process, c) for c in chunks])]\n"
    "len(one + two + three)",
    "import threading, queue, time\nthings = queue.Queue()\nlock = threading.Lock()\n"
    "def work():\n    with lock:\n        things.put(llm_query('x'))\n\n"
    "threads = [threading.Thread(target=work) for _ in range(3)]\n"
    "for t in threads:\n    t.start()\nfor t in threads:\n    t.join()\ntime.sleep(0)\nthings.qsize()",
    "import asyncio\nasync def ask(n):\n    await asyncio.sleep(0)\n"
    "    return await asyncio.to_thread(llm_query, str(n))\n\n"
    "await asyncio.gather(*[ask(n) for n in range(3)])",
    "asyncio.run(ask(1))",
    "print('x' * 30000)\n'y' * 30000",
    "SHOW_VARS()",
    "FINAL_VAR('x')",
    "FINAL({'a': 1})",
    "SUBMIT(answer_text='text')",
    "answer['value'] = 1\nanswer['ready'] = True",
    "",
]


class Rehearsal:
    """Replaces `_abyme_guest`: a host that answers at once."""

    def __init__(self):
        self._calls = {}
        self._numbers = iter(range(1, 1 << 30))

    def start(self, name, args, kwargs):
        """Begin a call."""
        number = next(self._numbers)
        failed = kwargs.get("prompt") == "fail"
        value = kwargs.get("prompts", "an answer") if name == "llm_query_batched" else "an answer"
        self._calls[number] = (False, ["ValueError", "failed"]) if failed else (True, value)
        return number

    def wait(self, call, _seconds):
        """Whether a call is finished."""
        return call or next(iter(self._calls), 0)

    def reply(self, call):
        """The reply."""
        return self._calls.pop(call)

    def output(self, stream, text):
        """Ignore the output."""

    def submit(self, via, fields, value):
        """Ignore the submission."""

    def raw(self, _stream):
        """Nothing was written."""


def import_all():
    """Import what cells may import; a module that this Python lacks is left out."""
    for name in MODULES:
        try:
            import_module(name)
        except ImportError:
            pass


def rehearse(run):
    """Run the cells, until sessions gain nothing from more rounds."""
    for _ in range(12):
        request = {"scope": SCOPE, "variables": {"context": "Some words to work on.\n" * 20}}
        for code in CELLS:
            answer = run({**request, "code": code, "reads": ["x"]})
            request = {}
            expected = code in ("f(", "1 / 0", "nme", "llm_query()", "llm_query('fail')") or "raise" in code
            if answer["error"] is not None and not expected and "no_such_module" not in code:
                raise RuntimeError(f"the rehearsal failed: {code!r}: {answer['error']['traceback']}")


def compile_functions(file):
    """Compile the functions that every run offers, for the scopes of all sessions, if a file names them."""
    if os.path.exists(file):
        with open(file, encoding="utf-8") as specs:
            for spec in json.load(specs):
                host_function(spec, None)


def clean_up():
    """Leave no trace of the rehearsal."""
    import linecache
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from itertools import count

    linecache.clearcache()
    threading._counter = count(1).__next__
    ThreadPoolExecutor._counter = count().__next__
    scheduler.drop_all(parked=True)
    for name in [name for name in sys.modules if name.startswith("abyme_tools_")]:
        del sys.modules[name]
