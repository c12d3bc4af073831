"""Asks the server by LiteLLM, and prints what came."""

import json
import sys
import urllib.request

import litellm
import openai

base_url, token, rare = sys.argv[1:4]
litellm.suppress_debug_info = True
messages = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "word " * 2_000_000},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "How long?"},
]


def ask(content="?", key=token, **settings):
    message = {"role": "user", "content": content}
    asked = {"model": "openai/abyme", "messages": [message], "num_retries": 0, "max_retries": 0, **settings}
    return litellm.completion(api_base=base_url, api_key=key, **asked)


def refused(ask):
    try:
        ask()
    except openai.OpenAIError as error:
        return error
    raise AssertionError("it was answered")


def said(error, words, code):
    return code if words in str(error) else str(error)


whole = ask(messages=messages, temperature=0.2, max_tokens=50)
pieces, thoughts, usage = [], [], None
for chunk in ask(messages=messages, stream=True, stream_options={"include_usage": True}):
    usage = getattr(chunk, "usage", None) or usage
    for choice in chunk.choices:
        pieces.append(choice.delta.content or "")
        thoughts.append(getattr(choice.delta, "reasoning_content", None) or "")

wrong_token = refused(lambda: ask(key=token + "x"))
wrong_model = refused(lambda: ask(model="openai/gpt-5-of-nobody"))
picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
wrong_content = refused(lambda: ask([picture]))
failed = refused(lambda: ask("fail_auth"))
try:
    list(ask("fail_auth", stream=True))
    failed_stream = False
except Exception as error:
    failed_stream = "the key of the server's model is wrong" in str(error)
ask(key=rare)
too_often = refused(lambda: ask(key=rare))
models = urllib.request.Request(f"{base_url}/models", headers={"Authorization": f"Bearer {token}"})

json.dump(
    {
        "models": [model["id"] for model in json.load(urllib.request.urlopen(models))["data"]],
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
        # Its errors have the classes of OpenAI's client, and the texts of the server.
        "wrong_token": [wrong_token.status_code, said(wrong_token, "not one of", "invalid_api_key")],
        "wrong_model": [wrong_model.status_code, said(wrong_model, "is not here", "model_not_found")],
        "wrong_content": [wrong_content.status_code, said(wrong_content, "image_url", "messages[0].content")],
        "failed": failed.status_code,
        "failed_stream": failed_stream,
        "too_often": [too_often.status_code, isinstance(too_often, litellm.RateLimitError)],
    },
    sys.stdout,
)
