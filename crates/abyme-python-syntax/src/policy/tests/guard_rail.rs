//! The default rules, on what OpenJarvis' list refuses wrongly and lets run, and more of both.

use super::super::CodePolicy;
use super::{denied, passes};

/// Each is a false alarm of a list of substrings.
#[test]
fn text_and_harmless_names_pass() {
    for code in [
        "print('socket')",
        "print('open(')  # open(x), subprocess, __import__",
        "reopen('x')\nis_open()\nself.open()\ngate.open('x')",
        "def open_file(name):\n    return docs[name]\nopen_file('a')",
        "def open(name):\n    return docs[name]\nopen('a')",
        "class Gate:\n    def open(self):\n        return 1\nGate().open()",
        "def f(compile, eval=None):\n    return compile(eval)",
        "[open for open in docs]",
        "lambda open: open()",
        "import re\nre.compile('a').findall(context)",
        "import os\nos.path.join('a', 'b')\nos.environ.get('HOME')",
        "getattr(row, name)\nvars(row)[name]\nglobals()[name]\ndata['unlink']",
        "import io, json, math, collections, itertools\nio.StringIO('a').read()",
        "from urllib.parse import urlparse\nfrom pathlib import PurePath",
        "import sys\nsys.exit()\nsys.stdout.write('a')",
        "requests = [1]\nfor socket in requests:\n    print(socket)",
        "import asyncio\nasyncio.gather(f())",
        "from concurrent.futures import ThreadPoolExecutor",
        "'open'.join(['a'])\nf'{open_count:>{width}}'",
        "x.system('a')\nplatform.system()",
        "SUBMIT(answer=llm_query('subprocess.run'))",
    ] {
        passes(&CodePolicy::guard_rail(), code);
    }
}

/// The patterns of OpenJarvis, as code.
#[test]
fn what_openjarvis_blocks() {
    for code in [
        "import os\nos.system('x')",
        "import os\nos.popen('x')",
        "import subprocess",
        "import shutil\nshutil.rmtree('x')",
        "__import__('os')",
        "open('x')",
        "with open('x') as f: pass",
        "import ctypes",
        "import socket",
        "import http.client",
        "import urllib.request",
    ] {
        denied(&CodePolicy::guard_rail(), code);
    }
}

/// Measured to run under OpenJarvis, the first three of them.
#[test]
fn ways_around_a_list_of_substrings() {
    for code in [
        "from shutil import rmtree",
        "import os\ngetattr(os,\"sys\"+\"tem\")(\"true\")",
        "import pathlib\npathlib.Path(\"/etc/passwd\").read_text()",
        "from pathlib import Path as P",
        "p.read_text()",
        "import os as o; o.system()",
        "from os import system as s; s()",
        "import os\nf = os.system; f()",
        "o = open; o('x')",
        "a, (b, c) = 1, (open, 2)",
        "m = __builtins__\nm.open('x')",
        "import os\nm = os\nm.system('x')",
        "import os\nn = 'sys'\nn += 'tem'\ngetattr(os, n)('x')",
        "getattr(os, f\"sys{'tem'}\")",
        "getattr(os, ''.join(['sys', 'tem']))",
        "g = getattr\ng(os, 'system')",
        "getattr(os, name)",
        "getattr(__builtins__, name)",
        "importlib.import_module('socket')",
        "importlib.import_module(name)",
        "__import__(name)",
        "os.__dict__['system']",
        "os.__dict__[name]",
        "vars(os)['system']",
        "d = vars(os)\nd.get('system')",
        "list(vars(os).values())",
        "os.__getattribute__('system')",
        "import builtins\nbuiltins.open('x')",
        "from builtins import open as o",
        "__builtins__[\"open\"]",
        "__builtins__.__dict__['open']",
        "globals()[\"__builtins__\"]",
        "sys.modules['os'].system('x')",
        "from os import *",
        "from builtins import *",
        "shutil.os.system('x')",
        "import random\nrandom._os.system('x')",
        "os.execvp('a', [])\nos.fork()",
        "(os if x else None).system('x')",
        "(o := os).system('x')",
        "for m in [os]:\n    m.system('x')",
        "[m.system('x') for m in [os]]",
        "def f():\n    return m.system('x')\nimport os as m\nf()",
        "class R:\n    def open(self):\n        return open('x')",
        "def open(x): pass\ndel open\nopen('x')",
        "if False:\n    def open(x): pass\nopen('x')",
        "def f(x=open): pass",
        "@eval\ndef f(): pass",
        "f'{open(\"x\")}'",
        "x: eval = 1",
        "().__class__.__base__.__subclasses__()",
        "f.__globals__['x']",
        "getattr(f, '__glo' 'bals__')",
        "match x:\n    case 1:\n        eval('1')",
        "async def f():\n    await asyncio.create_subprocess_shell('x')",
        "try:\n    pass\nexcept Exception as e:\n    exec(e)",
        "import io\nio.open('x')",
    ] {
        denied(&CodePolicy::guard_rail(), code);
    }
}

#[test]
fn the_default_rules() {
    let rules = serde_json::to_string_pretty(&CodePolicy::guard_rail()).unwrap();
    assert_eq!(rules.trim(), include_str!("guard_rail.json").trim());
}
