"""Prints the table of prices. Argument 1 is LiteLLM's wheel, 2 its version, 3 its sha256."""

import json
import re
import sys
import zipfile

# Those that `abyme-model-openai` knows an endpoint of. OpenRouter says itself what a call costs.
PROVIDERS = (
    "anthropic cerebras deepinfra deepseek fireworks_ai gemini groq mistral moonshot openai together_ai xai"
).split()
TABLE = "litellm/model_prices_and_context_window_backup.json"
LONG = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def dollars(entry, field, suffix=""):
    """Dollars for a million tokens."""
    price = entry.get(field + suffix)
    if price is None:
        return None
    price = round(price * 1e6, 6)
    return int(price) if price == int(price) else price


def tokens(count):
    """A count of tokens as a whole number; some are written as texts."""
    return int(count) if str(count).isdigit() and int(count) > 0 else None


def prices(entry, suffix=""):
    """What tokens of requests, of cached requests, of writing to the cache and of replies cost."""
    found = {
        "input": dollars(entry, "input_cost_per_token", suffix),
        "cached_input": dollars(entry, "cache_read_input_token_cost", suffix),
        "cache_write": dollars(entry, "cache_creation_input_token_cost", suffix),
        "output": dollars(entry, "output_cost_per_token", suffix),
    }
    if found["cached_input"] == found["input"]:
        found["cached_input"] = None
    # Nobody asks less for writing to a cache than for reading a request: LiteLLM writes 0 where it knows no
    # price.
    if found["cache_write"] is not None and found["cache_write"] <= (found["input"] or 0):
        found["cache_write"] = None
    return {name: price for name, price in found.items() if price is not None}


def row(entry):
    """An entry of the table; None where the price of a call is not known from its tokens."""
    found = prices(entry)
    # Most of Fireworks' are old; what it serves now has a price for cached tokens.
    if entry["litellm_provider"] == "fireworks_ai" and "cached_input" not in found:
        return None
    # LiteLLM writes 0 where it knows no price, and where a model is free for now.
    if not found.get("input") or not found.get("output"):
        return None
    of_reply = entry["output_cost_per_token"]
    if entry.get("output_cost_per_reasoning_token", of_reply) != of_reply:
        return None
    thresholds = {int(match[1]) * 1000 for match in map(LONG.fullmatch, entry) if match}
    if len(thresholds) > 1:
        return None
    for above in thresholds:
        found["long"] = {"above": above, **prices(entry, f"_above_{above // 1000}k_tokens")}
        if not {"input", "output"} <= found["long"].keys():
            return None
    for name in ("max_input_tokens", "max_output_tokens"):
        if count := tokens(entry.get(name)):
            found[name] = count
    # LiteLLM repeats the size of the context where it does not know how long a reply may be.
    if found.get("max_output_tokens") == found.get("max_input_tokens"):
        found.pop("max_output_tokens", None)
    return found


def main():
    """Prints the table, a line for each model."""
    wheel, version, sha256 = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        entries = json.loads(archive.read(TABLE))
    models, differing = {}, set()
    for name, entry in entries.items():
        provider = entry.get("litellm_provider")
        if provider not in PROVIDERS or entry.get("mode") != "chat":
            continue
        key = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
        if found := row(entry):
            if models.setdefault(key, found) != found:
                differing.add(key)
    lines = [
        f"{json.dumps(key)}:{json.dumps(found, separators=(',', ':'))}"
        for key, found in sorted(models.items())
        if key not in differing
    ]
    source = f"LiteLLM {version} (MIT), {TABLE} in the wheel with sha256 {sha256}"
    sys.stdout.write(f'{{"source":{json.dumps(source)},\n"models":{{\n' + ",\n".join(lines) + "\n}}\n")


main()
