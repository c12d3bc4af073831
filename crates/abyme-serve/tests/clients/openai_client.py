"""Asks the server by OpenAI's own client for Python, and prints what came."""

import json
import sys

from openai import APIError, APIStatusError, OpenAI

base_url, token, rare = sys.argv[1:4]
client = OpenAI(base_url=base_url, api_key=token, max_retries=0)
messages = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "word " * 2_000_000},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "How long?"},
]


def refused(ask):
    try:
        ask()
    except APIStatusError as error:
        return error
    raise AssertionError("it was answered")


def ask(client=client, content="?", **settings):
    message = {"role": "user", "content": content}
    return client.chat.completions.create(**{"model": "abyme", "messages": [message], **settings})


whole = client.chat.completions.create(
    model="abyme", messages=messages, temperature=0.2, max_tokens=50, seed=1, user="ada"
)
pieces, thoughts, usage = [], [], None
stream = client.chat.completions.create(
    model="abyme", messages=messages, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    if chunk.usage:
        usage = chunk.usage
    for choice in chunk.choices:
        pieces.append(choice.delta.content or "")
        thoughts.append(getattr(choice.delta, "reasoning_content", None) or "")
# The helper that puts a stream together by itself.
with client.chat.completions.stream(model="abyme", messages=messages) as events:
    final = events.get_final_completion().choices[0].message.content
assert final == "".join(pieces), final

wrong_token = refused(lambda: ask(OpenAI(base_url=base_url, api_key=token + "x", max_retries=0)))
wrong_model = refused(lambda: ask(model="gpt-5"))
wrong_content = refused(lambda: ask(content=[{"type": "image_url", "image_url": {"url": "data:,"}}]))
# With its retries, which the server asks it not to make.
failed = refused(lambda: ask(client.with_options(max_retries=3), "fail_auth"))
try:
    list(ask(content="fail_auth", stream=True))
    failed_stream = False
except APIError as error:
    failed_stream = "the key of the server's model is wrong" in str(error)
limited = OpenAI(base_url=base_url, api_key=rare, max_retries=0)
ask(limited)
too_often = refused(lambda: ask(limited))

json.dump(
    {
        "models": [model.id for model in client.models.list()],
        "answer": whole.choices[0].message.content,
        "finish_reason": whole.choices[0].finish_reason,
        "usage": [
            whole.usage.prompt_tokens,
            whole.usage.completion_tokens,
            whole.usage.total_tokens,
            whole.usage.prompt_tokens_details.cached_tokens,
        ],
        "streamed": "".join(pieces),
        "streamed_usage": [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
        "thought": "length = sum(" in "".join(thoughts),
        "wrong_token": [wrong_token.status_code, wrong_token.code],
        "wrong_model": [wrong_model.status_code, wrong_model.code],
        "wrong_content": [wrong_content.status_code, wrong_content.param],
        "failed": failed.status_code,
        "failed_stream": failed_stream,
        "too_often": [too_often.status_code, 0 < int(too_often.response.headers["retry-after"]) <= 60],
    },
    sys.stdout,
)
