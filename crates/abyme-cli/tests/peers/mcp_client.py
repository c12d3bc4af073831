"""Asks `abyme mcp` with the official client of the Model Context Protocol, in each way that it can be reached
and by the old and the new rules of the protocol, and prints what came of it as JSON.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

GIVEN = json.loads(sys.argv[1])


def over_stdio(words):
    environment = {"ABYME_API_KEY": os.environ["ABYME_API_KEY"]}
    return stdio_client(StdioServerParameters(command=words[0], args=words[1:], env=environment))


def over_http(url):
    headers = {"Authorization": "Bearer " + GIVEN["token"]}
    return streamable_http_client(url, http_client=httpx2.AsyncClient(headers=headers, timeout=60))


async def ask(client):
    found = {"tools": [tool.name for tool in (await client.list_tools()).tools]}
    steps = []

    async def progress(number, total, message):
        steps.append(message)

    arguments = {"question": "?", "inputs": {"docs": "hay"}}
    answer = await client.call_tool("ask", arguments, progress_callback=progress)
    found["answer"] = answer.content[0].text
    found["outputs"] = answer.structured_content["outputs"]
    found["progress"] = len(steps)
    record = await client.read_resource(answer.structured_content["record"])
    found["record"] = record.contents[0].text
    found["refused"] = (await client.call_tool("ask", {})).content[0].text

    opened = await client.call_tool("session_open", {"inputs": {"n": 20}})
    session = opened.structured_content["session"]
    await client.call_tool("session_run", {"session": session, "code": "m = 2 * n"})
    ran = await client.call_tool("session_run", {"session": session, "code": "m + 2"})
    found["sessions"] = ran.structured_content["value"]
    failed = await client.call_tool("session_run", {"session": session, "code": "1 / 0"})
    assert failed.is_error, failed
    found["error"] = failed.structured_content["error"]["type"]
    assert not (await client.call_tool("session_close", {"session": session})).is_error
    return found


async def cancel(client):
    """Whether a call that its caller does not wait for has ended on the server."""
    try:
        async with asyncio.timeout(2):
            await client.call_tool("ask", {"question": "?"})
    except TimeoutError:
        pass
    for _ in range(100):
        records = (await client.list_resources(cache_mode="bypass")).resources
        if records:
            return "(cancelled)" in records[0].description
        await asyncio.sleep(0.1)
    return False


async def main():
    result = {}
    for way, transport in [("stdio", over_stdio), ("http", over_http)]:
        for mode in ["legacy", "2026-07-28"]:
            async with Client(transport(GIVEN[way]["fine"]), mode=mode) as client:
                found = await ask(client)
            async with Client(transport(GIVEN[way]["silent"]), mode=mode) as client:
                found["cancelled"] = await cancel(client)
            result[f"{way}, {mode}"] = found
    print(json.dumps(result))


asyncio.run(main())
