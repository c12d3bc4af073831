"""A Modal for tests, on loopback: control plane and command router over the generated code of its own wheel.

usage: fake_modal.py [directory]. Its files are in the directory, which it removes when its stdin ends and it
exits. It writes `READY <control port> <router port> <isolated>` to stdout, and then answers each line of JSON
on stdin with one on stdout: `{"set": {...}}` changes the faults below, `{"kill": "<id>"}` terminates a
sandbox as somebody else would, `{"revoke": true}` makes every token that was made invalid, `{}` asks how
things are. A sandbox is a set of namespaces of this machine, with processes, a network and `/tmp` of its own,
where these can be made; commands in it are real processes. A sandbox is restored from a snapshot by starting
the same commands again, and writing to them what was written to the first ones.
"""

import asyncio
import base64
import collections
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import uuid

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as a
from modal_proto import api_pb2_grpc, task_command_router_pb2_grpc
from modal_proto import task_command_router_pb2 as t

WORK = "/mnt"  # the working directory in a sandbox
# The first process of a sandbox. All others end with it.
FIRST = 'mount --bind "$1" /mnt && mount -t tmpfs tmpfs /tmp && echo ready && exec sleep 86400'
# A process that is started so ends with this server, however that ends.
PARENT_DEATH = ["setpriv", "--pdeathsig", "KILL"]
NAMESPACES = [*PARENT_DEATH, "unshare", "-m", "-p", "--fork", "--kill-child", "--mount-proc"]
PLAIN_ENVIRONMENT = {"PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
MAX_MESSAGE = 100 << 20
KEPT_OUTPUT = 64 << 20  # of a stream, for readers that come again
STATUS = a.GenericResult


class Faults:
    """What this server does wrong, or slowly."""

    def __init__(self):
        self.token_id, self.token_secret = "ak-test", "as-test"
        self.secrets = {}
        self.builder_version = "2025.06"
        self.auth_seconds = 1200  # life of an auth token
        self.jwt_seconds = 600  # life of a router's token
        self.clock_offset = 0  # how far this server's clock is ahead
        self.delay = 0.0  # of each message, one way, in seconds
        self.throttle = {}  # method -> [how many times, seconds to wait]
        self.fail = {}  # method -> [how many times, status, message]
        self.late = {}  # method -> the same, after the work was done
        self.hang = []  # methods that never answer
        self.drop_streams = 0.0  # probability of each message of a stream to end it
        self.cut_streams = 0  # most bytes of a piece of a stream
        self.lose_write_answers = 0.0  # probability of a write to be done and its answer lost
        self.hold_write_answers = False  # until this is unset
        self.without_v2 = False
        self.build_lines = 3


F = Faults()


class State:
    """What there is."""

    def __init__(self):
        self.router_url = ""
        self.isolated = False
        self.apps, self.images, self.secrets = {}, {}, {}
        self.sandboxes, self.tasks, self.snapshots = {}, {}, {}
        self.jwts, self.auth_tokens = {}, {}
        self.calls = collections.Counter()
        self.seen = {}  # idempotency key -> answer
        self.duplicates = 0  # bytes that were written again and not delivered again


S = State()


class Refused(Exception):
    """An error of gRPC, with the details of a retry policy if there are any."""

    def __init__(self, code, message, retry_after=None):
        super().__init__(message)
        self.code, self.message, self.retry_after = code, message, retry_after

    async def abort(self, context):
        if self.retry_after is not None:
            detail = Any(
                type_url="type.googleapis.com/modal.client.RPCRetryPolicy",
                value=a.RPCRetryPolicy(retry_after_secs=self.retry_after).SerializeToString(),
            ).SerializeToString()
            status = b"\x08\x08\x1a" + bytes([len(detail)]) + detail  # a google.rpc.Status
            context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(self.code, self.message)


def refuse(code, message, retry_after=None):
    raise Refused(getattr(grpc.StatusCode, code), message, retry_after)


def token(seconds):
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    now = time.time() + F.clock_offset
    claims = {"iat": now, "exp": now + seconds, "jti": uuid.uuid4().hex}
    return ".".join([encode(b'{"alg":"none"}'), encode(json.dumps(claims).encode()), encode(b"signature")])


def counted(faults, method):
    """The rest of a fault that comes a number of times."""
    fault = faults.get(method)
    if not fault or fault[0] <= 0:
        return None
    fault[0] -= 1
    return fault[1:]


async def before(method, check, context):
    S.calls[method] += 1
    if F.delay:
        await asyncio.sleep(F.delay)
    metadata = dict(context.invocation_metadata())
    check(method, metadata)
    if method in F.hang:
        await asyncio.sleep(3600)
    if throttle := counted(F.throttle, method):
        refuse("RESOURCE_EXHAUSTED", "too many requests", throttle[0])
    if failure := counted(F.fail, method):
        refuse(*failure)
    return metadata


def served(check):
    """Make the methods of a servicer pass the faults above."""

    def decorate(servicer):
        for name, method in list(vars(servicer).items()):
            if name.startswith("_") or not callable(method):
                continue
            wrap = stream if hasattr(method, "__code__") and method.__code__.co_flags & 0x200 else unary
            setattr(servicer, name, wrap(name, method, check))
        return servicer

    return decorate


def unary(name, method, check):
    async def call(self, request, context):
        try:
            metadata = await before(name, check, context)
            key = metadata.get("x-idempotency-key")
            if key is not None and (name, key) in S.seen:
                answer = S.seen[name, key]
            else:
                answer = await method(self, request)
                if key is not None:
                    S.seen[name, key] = answer
            if late := counted(F.late, name):
                refuse(*late)
        except Refused as refusal:
            await refusal.abort(context)
        if F.delay:
            await asyncio.sleep(F.delay)
        return answer

    return call


def stream(name, method, check):
    async def call(self, request, context):
        try:
            await before(name, check, context)
            async for message in method(self, request):
                if F.delay:
                    await asyncio.sleep(F.delay)
                yield message
                if random.random() < F.drop_streams:
                    refuse("UNAVAILABLE", "the stream was dropped")
        except Refused as refusal:
            await refusal.abort(context)

    return call


def check_control(method, metadata):
    for header in ("x-modal-client-type", "x-modal-client-version"):
        if header not in metadata:
            refuse("FAILED_PRECONDITION", f"missing {header}")
    given = metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret")
    if given != (F.token_id, F.token_secret):
        refuse("UNAUTHENTICATED", f"Token validation failed for {given[0]}")
    if method.endswith("V2") or method == "SandboxGetCommandRouterAccess":
        if F.without_v2:
            refuse("UNIMPLEMENTED", "unknown method")
        if S.auth_tokens.get(metadata.get("x-modal-auth-token"), 0) < time.monotonic():
            refuse("UNAUTHENTICATED", "the auth token has expired")


def check_router(_method, metadata):
    if S.jwts.get(metadata.get("authorization", "").removeprefix("Bearer "), 0) < time.monotonic():
        refuse("UNAUTHENTICATED", "invalid or expired token")


@served(check_control)
class Control(api_pb2_grpc.ModalClientServicer):
    """The control plane."""

    async def AuthTokenGet(self, _request):
        made = token(F.auth_seconds)
        S.auth_tokens[made] = time.monotonic() + F.auth_seconds
        return a.AuthTokenGetResponse(token=made)

    async def AppGetOrCreate(self, request):
        if request.app_name not in S.apps:
            if request.object_creation_type != a.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                refuse("NOT_FOUND", f"App '{request.app_name}' not found")
            S.apps[request.app_name] = f"ap-{len(S.apps)}"
        return a.AppGetOrCreateResponse(app_id=S.apps[request.app_name])

    async def EnvironmentGetOrCreate(self, request):
        if request.deployment_name not in ("", "main"):
            refuse("NOT_FOUND", f"Environment '{request.deployment_name}' not found")
        settings = a.EnvironmentSettings(image_builder_version=F.builder_version)
        metadata = a.EnvironmentMetadata(name="main", settings=settings)
        return a.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def ImageGetOrCreate(self, request):
        if not request.builder_version or not request.image.dockerfile_commands:
            refuse("INVALID_ARGUMENT", "bad image")
        if request.app_id not in S.apps.values():
            refuse("NOT_FOUND", "no such app")
        for base in request.image.base_images:
            if base.image_id not in S.images:
                refuse("NOT_FOUND", f"Image {base.image_id} not found")
        commands = list(request.image.dockerfile_commands)
        known = next((i for i, image in S.images.items() if image["commands"] == commands), None)
        image_id = known or f"im-{len(S.images)}"
        image = S.images.setdefault(image_id, {"commands": commands, "built": False})
        result = a.GenericResult(status=STATUS.GENERIC_STATUS_SUCCESS) if image["built"] else None
        return a.ImageGetOrCreateResponse(image_id=image_id, result=result)

    async def ImageJoinStreaming(self, request):
        image = S.images[request.image_id]
        begin = int(request.last_entry_id.partition("-")[0] or 0)
        for line in range(begin, F.build_lines):
            logs = [a.TaskLogs(data=f"Step {line}: {image['commands'][0]}\n")]
            yield a.ImageJoinStreamingResponse(task_logs=logs, entry_id=f"{line + 1}-0")
        if any("FAIL" in command for command in image["commands"]):
            logs = [a.TaskLogs(data="ERROR: No matching distribution found\n")]
            yield a.ImageJoinStreamingResponse(task_logs=logs, entry_id="99-0")
            result = a.GenericResult(status=STATUS.GENERIC_STATUS_FAILURE, exception="Image build failed")
        else:
            image["built"] = True
            result = a.GenericResult(status=STATUS.GENERIC_STATUS_SUCCESS)
        yield a.ImageJoinStreamingResponse(result=result, eof=True)

    async def SecretGetOrCreate(self, request):
        name = request.deployment_name
        if name not in F.secrets:
            refuse("NOT_FOUND", f"Secret '{name}' not found")
        return a.SecretGetOrCreateResponse(secret_id=f"st-{name}")

    async def SandboxCreate(self, request):
        sandbox = await create(request, secret_ids=request.definition.secret_ids)
        return a.SandboxCreateResponse(sandbox_id=sandbox["id"])

    async def SandboxCreateV2(self, request):
        if request.definition.resources.HasField("gpu_config"):
            refuse("INVALID_ARGUMENT", "GPUs are not supported by V2 Sandboxes")
        sandbox = await create(request, sources=request.secret_sources, v2=True)
        access = a.CommandRouterAccess(**router_access())
        return a.SandboxCreateV2Response(
            sandbox_id=sandbox["id"], task_id=sandbox["task"], command_router_access=access
        )

    async def SandboxRestoreV2(self, request):
        if request.snapshot_id not in S.snapshots:
            refuse("NOT_FOUND", f"Snapshot {request.snapshot_id} not found")
        saved = S.snapshots[request.snapshot_id]
        sandbox = await make(saved["definition"], saved["environment"], saved["app"], {}, v2=True)
        for command in saved["commands"]:
            await do_again(sandbox, command)
        access = a.CommandRouterAccess(**router_access())
        return a.SandboxRestoreV2Response(
            sandbox_id=sandbox["id"], task_id=sandbox["task"], command_router_access=access
        )

    async def SandboxTagsSetV2(self, request):
        tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        S.sandboxes[request.sandbox_id]["tags"] = tags
        return Empty()

    async def SandboxGetTaskId(self, request):
        return a.SandboxGetTaskIdResponse(task_id=S.sandboxes[request.sandbox_id]["task"])

    async def TaskGetCommandRouterAccess(self, _request):
        return a.TaskGetCommandRouterAccessResponse(**router_access())

    async def SandboxGetCommandRouterAccess(self, _request):
        return a.SandboxGetCommandRouterAccessResponse(**router_access())

    async def SandboxTerminate(self, request):
        await end(request.sandbox_id, STATUS.GENERIC_STATUS_TERMINATED)
        return a.SandboxTerminateResponse()

    async def SandboxTerminateV2(self, request):
        await end(request.sandbox_id, STATUS.GENERIC_STATUS_TERMINATED)
        return a.SandboxTerminateResponse()

    async def SandboxWait(self, request):
        return await wait_for_sandbox(request)

    async def SandboxWaitV2(self, request):
        return await wait_for_sandbox(request)

    async def SandboxList(self, request):
        return listed(request)

    async def SandboxListV2(self, request):
        return listed(request)


async def create(request, secret_ids=(), sources=(), v2=False):
    definition = request.definition
    if definition.image_id not in S.images:
        refuse("NOT_FOUND", f"Image {definition.image_id} not found")
    if any(region not in ("us-east", "eu-west") for region in definition.scheduler_placement.regions):
        refuse("INVALID_ARGUMENT", f"unknown region {definition.scheduler_placement.regions[0]}")
    running = [s for s in S.sandboxes.values() if not s["result"]]
    if definition.name and any(s["name"] == definition.name for s in running):
        refuse("ALREADY_EXISTS", f"Sandbox with name '{definition.name}' already exists")
    environment = dict(PLAIN_ENVIRONMENT)
    for source in [*secret_ids, *sources]:
        secret_id = source if isinstance(source, str) else source.secret_id
        environment.update(F.secrets[secret_id[3:]] if secret_id else source.env.contents)
    tags = {tag.tag_name: tag.tag_value for tag in request.tags}
    return await make(definition, environment, request.app_id, tags, v2)


async def make(definition, environment, app_id, tags, v2):
    directory = tempfile.mkdtemp(prefix="fake-modal-")
    sandbox = {
        "id": f"sb-v2-{uuid.uuid4().hex}" if v2 else "sb-" + uuid.uuid4().hex[:22],
        "task": "ta-" + uuid.uuid4().hex[:12],
        "name": definition.name,
        "app": app_id,
        "tags": tags,
        "commands": [],
        "result": 0,
        "done": asyncio.Event(),
        "started": time.time(),
        "directory": directory,
        "definition": definition,
    }
    if S.isolated:
        blocked = definition.network_access.network_access_type == a.NetworkAccess.BLOCKED
        sandbox["first"], sandbox["inside"] = await first_process(directory, ["-n"] if blocked else [])
    environment = {**environment, **dict.fromkeys(["HOME", "TMPDIR"], WORK if S.isolated else directory)}
    S.sandboxes[sandbox["id"]] = sandbox
    S.tasks[sandbox["task"]] = {"sandbox": sandbox, "environment": environment, "execs": {}}
    if definition.enable_snapshot:
        # The own program of a sandbox matters only where it is saved with it.
        arguments = list(definition.entrypoint_args)
        sandbox["own"] = Exec(await start(S.tasks[sandbox["task"]], arguments, environment))
    asyncio.get_running_loop().call_later(
        definition.timeout_secs or 300,
        lambda: asyncio.ensure_future(end(sandbox["id"], STATUS.GENERIC_STATUS_TIMEOUT)),
    )
    return sandbox


async def first_process(directory, more):
    """A process that holds the namespaces of a sandbox, and what runs another one in them."""
    command = [*NAMESPACES, *more, "sh", "-c", FIRST, "sh", directory]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.DEVNULL}
    process = await asyncio.create_subprocess_exec(*command, **pipes, env=PLAIN_ENVIRONMENT)
    if await process.stdout.readline() != b"ready\n":
        raise OSError("no namespaces")
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        pid = children.read().split()[0]
    enter = ["nsenter", "-t", pid, "-m", "-p", *more, "--", "sh", "-c", 'cd "$0" && exec "$@"']
    return process, enter


def router_access():
    made = token(F.jwt_seconds)
    S.jwts[made] = time.monotonic() + F.jwt_seconds
    return {"jwt": made, "url": S.router_url}


async def end(sandbox_id, status):
    sandbox = S.sandboxes.get(sandbox_id)
    if sandbox is None:
        refuse("NOT_FOUND", f"Sandbox {sandbox_id} not found")
    if sandbox["result"]:
        return
    sandbox["result"] = status
    if "first" in sandbox:
        sandbox["first"].kill()
        await sandbox["first"].wait()
    for running in [*S.tasks[sandbox["task"]]["execs"].values(), *filter(None, [sandbox.get("own")])]:
        running.kill()
    sandbox["done"].set()
    shutil.rmtree(sandbox["directory"], ignore_errors=True)


async def wait_for_sandbox(request):
    sandbox = S.sandboxes[request.sandbox_id]
    try:
        await asyncio.wait_for(sandbox["done"].wait(), max(request.timeout, 0.001))
    except asyncio.TimeoutError:
        return a.SandboxWaitResponse()
    return a.SandboxWaitResponse(result=a.GenericResult(status=sandbox["result"], exitcode=137))


def listed(request):
    wanted = {(tag.tag_name, tag.tag_value) for tag in request.tags}
    before = request.before_timestamp or float("inf")
    found = [
        a.SandboxInfo(
            id=s["id"],
            app_id=s["app"],
            created_at=s["started"],
            tags=[a.SandboxTag(tag_name=name, tag_value=value) for name, value in s["tags"].items()],
        )
        for s in S.sandboxes.values()
        if not s["result"] and wanted <= set(s["tags"].items()) and s["started"] < before
    ]
    found.sort(key=lambda info: -info.created_at)
    return a.SandboxListResponse(sandboxes=found[:50])


async def start(task, command, environment, workdir=None):
    """A process in a sandbox."""
    sandbox, pipe = task["sandbox"], asyncio.subprocess.PIPE
    workdir = workdir or sandbox["definition"].workdir or (WORK if S.isolated else None)
    return await asyncio.create_subprocess_exec(
        *([*sandbox["inside"], workdir] if S.isolated else []),
        *command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=None if S.isolated else workdir or sandbox["directory"],
        env=environment,
        start_new_session=True,
    )


async def do_again(sandbox, command):
    """Start a command of a saved sandbox in its copy, and write to it what was written to the first one."""
    sandbox["commands"].append(command)
    running = Exec(await start(S.tasks[sandbox["task"]], command["arguments"], command["environment"]))
    for messages, data in command["writes"]:
        # Not before the driver has said what the host had read by then.
        while messages_in(running.output[0][0]) < messages:
            await asyncio.sleep(0.002)
        running.process.stdin.write(data)
        await running.process.stdin.drain()
    while messages_in(running.output[0][0]) < command["messages"]:
        await asyncio.sleep(0.002)
    running.process.stdin.close()
    await running.process.wait()


def messages_in(output):
    """How many messages of a driver there are, but for those that come as time passes."""
    count, at = 0, 0
    while at + 12 <= len(output):
        header, blobs = struct.unpack_from(">II", output, at + 4)
        begin = at + 12 + 8 * blobs
        if begin > len(output):
            break
        at = begin + header + sum(struct.unpack_from(f">{blobs}Q", output, at + 12))
        if at > len(output):
            break
        count += json.loads(bytes(output[begin : begin + header]))["type"] != "output"
    return count


class Exec:
    """A process in a sandbox."""

    def __init__(self, process):
        self.process = process
        self.command = None  # what is noted of it, in a sandbox that can be saved
        # Of each stream: what is kept, how many bytes were dropped before it, whether it is at its end.
        self.output = ([bytearray(), 0, False], [bytearray(), 0, False])
        self.more = asyncio.Condition()
        self.stdin_offset, self.stdin_lock, self.stdin_closed = 0, asyncio.Lock(), False
        self.first_byte = ""
        for state, pipe in zip(self.output, (process.stdout, process.stderr)):
            asyncio.ensure_future(self._pump(state, pipe))

    async def _pump(self, state, pipe):
        while chunk := await pipe.read(1 << 20):
            state[0] += chunk
            if len(state[0]) > 2 * KEPT_OUTPUT:
                state[1] += len(state[0]) - KEPT_OUTPUT
                del state[0][:-KEPT_OUTPUT]
            async with self.more:
                self.more.notify_all()
        state[2] = True
        async with self.more:
            self.more.notify_all()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass


def running_exec(request):
    try:
        return S.tasks[request.task_id]["execs"][request.exec_id]
    except KeyError:
        refuse("NOT_FOUND", f"exec {request.exec_id} not found")


@served(check_router)
class Router(task_command_router_pb2_grpc.TaskCommandRouterServicer):
    """The command router."""

    async def TaskExecStart(self, request):
        task = S.tasks[request.task_id]
        sandbox = task["sandbox"]
        if sandbox["result"]:
            refuse("NOT_FOUND", "the task has finished")
        if sum(map(len, request.command_args)) > 1 << 16:
            refuse("INVALID_ARGUMENT", "the arguments are too long")
        if request.exec_id not in task["execs"]:
            program = request.command_args[0]
            if not shutil.which(program, path=task["environment"]["PATH"]):
                refuse("INVALID_ARGUMENT", f"failed to run {program}: executable file not found in $PATH")
            environment = dict(task["environment"])
            for source in request.secret_sources:
                secret = F.secrets[source.secret_id[3:]] if source.secret_id else source.env.contents
                environment.update(secret)
            arguments = list(request.command_args)
            running = Exec(await start(task, arguments, environment, request.workdir))
            task["execs"][request.exec_id] = running
            is_kept = request.stdout_config == t.TASK_EXEC_STDOUT_CONFIG_PIPE
            if sandbox["definition"].enable_snapshot and is_kept:
                command = {"arguments": arguments, "environment": environment, "writes": [], "messages": 0}
                sandbox["commands"].append(command)
                running.command = command
        return t.TaskExecStartResponse()

    async def TaskExecStdioRead(self, request):
        running, offset = running_exec(request), request.offset
        state = running.output[request.file_descriptor]
        while True:
            async with running.more:
                await running.more.wait_for(lambda: state[1] + len(state[0]) > offset or state[2])
            begin = offset - state[1]
            if begin < 0:
                refuse("OUT_OF_RANGE", "this output is not kept any more")
            data = bytes(state[0][begin : begin + (F.cut_streams or 1 << 20)])
            if not data:
                return
            offset += len(data)
            yield t.TaskExecStdioReadResponse(data=data)

    async def TaskExecStdinWrite(self, request):
        running = running_exec(request)
        async with running.stdin_lock:
            again, data = running.stdin_offset - request.offset, request.data
            if again < 0:
                refuse("FAILED_PRECONDITION", "there is a gap before this offset")
            S.duplicates += min(again, len(data))
            data = data[again:] if again else data
            running.first_byte = running.first_byte or data[:1].decode("latin1")
            if running.command is not None and data:
                running.command["writes"].append((messages_in(running.output[0][0]), data))
            try:
                running.process.stdin.write(data)
                running.stdin_offset += len(data)
                await running.process.stdin.drain()
            except (ConnectionError, RuntimeError):
                refuse("FAILED_PRECONDITION", "stdin is closed")
            if request.eof:
                running.process.stdin.close()
                running.stdin_closed = True
        while F.hold_write_answers:
            await asyncio.sleep(0.005)
        if random.random() < F.lose_write_answers:
            refuse("UNAVAILABLE", "the answer was lost")
        return t.TaskExecStdinWriteResponse()

    async def TaskExecStdinStatus(self, request):
        running = running_exec(request)
        return t.TaskExecStdinStatusResponse(
            num_bytes_written=running.stdin_offset, closed=running.stdin_closed
        )

    async def TaskSnapshotMemory(self, request):
        task = S.tasks[request.task_id]
        sandbox = task["sandbox"]
        if not sandbox["definition"].enable_snapshot:
            refuse("FAILED_PRECONDITION", "this sandbox was not made to be saved")
        if any(running.process.returncode is None for running in task["execs"].values()):
            refuse("FAILED_PRECONDITION", "a command runs in the sandbox")
        snapshot_id = f"sn-{uuid.uuid4().hex}"
        for running in task["execs"].values():
            if running.command is not None:
                running.command["messages"] = messages_in(running.output[0][0])
        S.snapshots[snapshot_id] = {
            "definition": sandbox["definition"],
            "environment": task["environment"],
            "app": sandbox["app"],
            "commands": list(sandbox["commands"]),
        }
        await end(sandbox["id"], STATUS.GENERIC_STATUS_TERMINATED)
        return t.TaskSnapshotMemoryResponse(snapshot_id=snapshot_id)

    async def TaskExecWait(self, request):
        running = running_exec(request)
        code = await running.process.wait()
        return t.TaskExecWaitResponse(signal=-code) if code < 0 else t.TaskExecWaitResponse(code=code)

    async def TaskExecPoll(self, request):
        code = running_exec(request).process.returncode
        if code is None:
            return t.TaskExecPollResponse()
        return t.TaskExecPollResponse(signal=-code) if code < 0 else t.TaskExecPollResponse(code=code)


def how_things_are():
    sandboxes = {
        s["id"]: {
            "alive": not s["result"],
            "result": s["result"],
            "tags": s["tags"],
            "name": s["name"],
            "processes": sum(e.process.returncode is None for e in S.tasks[s["task"]]["execs"].values()),
            "first_bytes": [e.first_byte for e in S.tasks[s["task"]]["execs"].values() if e.first_byte],
            "timeout": s["definition"].timeout_secs,
            "idle_timeout": s["definition"].idle_timeout_secs,
            "memory_mb": [s["definition"].resources.memory_mb, s["definition"].resources.memory_mb_max],
            "milli_cpu": s["definition"].resources.milli_cpu,
            "gpu": s["definition"].resources.gpu_config.gpu_type,
            "regions": list(s["definition"].scheduler_placement.regions),
            "network": s["definition"].network_access.network_access_type,
            "domains": list(s["definition"].network_access.allowed_domains),
            "workdir": s["definition"].workdir,
        }
        for s in S.sandboxes.values()
    }
    images = {image_id: image["commands"] for image_id, image in S.images.items()}
    return {"calls": S.calls, "sandboxes": sandboxes, "images": images, "duplicates": S.duplicates}


async def command(request):
    for name, value in request.get("set", {}).items():
        if not hasattr(F, name):
            return {"error": f"there is no fault {name}"}
        setattr(F, name, value)
    if "kill" in request:
        await end(request["kill"], STATUS.GENERIC_STATUS_TERMINATED)
    if request.get("revoke"):
        S.jwts.clear()
        S.auth_tokens.clear()
    return how_things_are()


async def can_isolate():
    directory = tempfile.mkdtemp(prefix="fake-modal-")
    try:
        process, _ = await first_process(directory, ["-n"])
        process.kill()
        await process.wait()
    except (OSError, IndexError):
        return False
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return True


async def serve(add, servicer):
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ]
    server = grpc.aio.server(options=options)
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def main():
    S.isolated = await can_isolate()
    control, control_port = await serve(api_pb2_grpc.add_ModalClientServicer_to_server, Control())
    add = task_command_router_pb2_grpc.add_TaskCommandRouterServicer_to_server
    router, router_port = await serve(add, Router())
    S.router_url = f"http://127.0.0.1:{router_port}"
    print("READY", control_port, router_port, int(S.isolated), flush=True)
    lines = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        while line := await lines.readline():
            print(json.dumps(await command(json.loads(line))), flush=True)
    finally:
        for sandbox_id in list(S.sandboxes):
            await end(sandbox_id, STATUS.GENERIC_STATUS_TERMINATED)
        await control.stop(0)
        await router.stop(0)


if len(sys.argv) > 1:
    tempfile.tempdir = sys.argv[1]
try:
    asyncio.run(main())
finally:
    if len(sys.argv) > 1:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
