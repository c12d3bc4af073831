"""Short views of values: bounded reprs and one-word summaries. Their cost does not grow with the data."""

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_MODULE = type(__import__("sys"))
_FUNCTION = type(lambda: None)
SIZED = frozenset((str, bytes, bytearray, list, tuple, dict, set, frozenset))
UNSIZED = frozenset((int, float, bool, complex, type(None), type, _FUNCTION))  # the common ones
WORDS = {kind: kind.__name__ for kind in (*SIZED, *UNSIZED)}  # the types of which `type_name` needs no look
WORDS[type] = "class"
_BRACKETS = {list: "[]", tuple: "()", set: "{}", dict: "{}"}


def clip(text, limit):
    """`text` in at most about `limit` characters: its head, a note on what is missing, and its tail."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... [{len(text) - 2 * half} characters omitted] ...\n{text[len(text) - half :]}"


def show(value, limit):
    """`(head, tail, total)`: the repr, whole or its first and last half, and its length if it was built."""
    try:
        if _weight(value, limit * 2, set()) <= limit * 2:
            text = str.__str__(repr(value))
            if len(text) <= limit:
                return text, "", len(text)
            return text[: limit // 2], text[len(text) - (limit - limit // 2) :], len(text)
        return clip(_bounded(value, limit), limit), "", None
    except BaseException as problem:  # a repr may run any code, even exit
        return f"<repr failed: {type(problem).__name__}: {clip(message_of(problem), 200)}>", "", None


def show_scalar(value, limit):
    """What `show` returns for a short text or a number, for which no code of a cell runs; None for others."""
    kind = type(value)
    if kind is not int and kind is not float and kind is not bool:
        if kind is not str or len(value) > limit:
            return None
    try:
        text = repr(value)
    except ValueError:  # an integer with too many digits
        return None
    return (text, "", len(text)) if len(text) <= limit else None


def message_of(problem):
    """`str(exception)`, which may fail like any other method."""
    try:
        return str.__str__(str(problem))
    except BaseException:
        return f"<unprintable {type(problem).__name__} object>"


def _weight(value, limit, counted):
    """A lower bound for the length of the repr. It stops counting above `limit`, so it visits few items."""
    kind = type(value)
    if kind not in SIZED:
        return 1
    if kind is str or kind is bytes or kind is bytearray:
        return len(value)
    if id(value) in counted:
        return 1
    counted.add(id(value))
    weight = 2 * len(value)
    if weight > limit:
        return weight
    for item in value.items() if kind is dict else value:
        weight += _weight(item, limit - weight, counted)
        if weight > limit:
            break
    return weight


def _bounded(value, limit):
    """A repr of builtin containers and texts that builds no more than it returns."""
    kind = type(value)
    if kind not in SIZED or limit < 16:
        is_short = _weight(value, 1000, set()) <= 1000
        return clip(repr(value), max(limit, 16)) if is_short else f"<{summary(value)}>"
    if kind is str or kind is bytes or kind is bytearray:
        return _bounded_text(value, limit)
    size = len(value)
    head = _some(iter(value.items() if kind is dict else value), kind, limit // 2)
    tail = []
    if len(head) < size and kind in (list, tuple, dict):
        backwards = reversed(value.items()) if kind is dict else reversed(value)
        tail = _some(backwards, kind, limit // 2)[: size - len(head)]
    missing = size - len(head) - len(tail)
    middle = [f"... <{missing} more> ..."] if missing else []
    inner = ", ".join(head + middle + tail[::-1])
    brackets = _BRACKETS.get(kind)
    return brackets[0] + inner + brackets[1] if brackets else f"frozenset({{{inner}}})"


def _bounded_text(value, limit):
    """The head and the tail of a long str or bytes, each as a literal of its own."""
    half = limit // 2
    if len(value) <= limit:
        return repr(value)
    missing = len(value) - 2 * half
    return f"{value[:half]!r} ... <{missing} more> ... {value[len(value) - half :]!r}"


def _some(items, kind, limit):
    """The reprs of the first items, until `limit` characters are used."""
    texts = []
    for item in items:
        if kind is dict:
            text = f"{_bounded(item[0], limit // 2)}: {_bounded(item[1], limit)}"
        else:
            text = _bounded(item, limit)
        texts.append(text)
        limit -= len(text) + 2
        if limit <= 0:
            break
    return texts


def size_of(value):
    """The length of a builtin, the shape of an array or table, or None for a value without a cheap size."""
    kind = type(value)
    if kind in SIZED:
        return len(value)
    if kind in UNSIZED or kind.__module__ == "builtins":
        return None
    if hasattr(kind, "shape"):
        shape = getattr(value, "shape", None)
        return shape if isinstance(shape, tuple) else None
    if kind.__module__ == "collections" and hasattr(kind, "__len__"):
        return len(value)
    return None


def type_name(value):
    """The type of `value` in one word."""
    if isinstance(value, type):
        return "class"
    return "function" if type(value) is _FUNCTION else type(value).__name__


def summary(value, size=None):
    """`list[412]`, `str[10485760]`, `DataFrame 1000000x4`, `int`."""
    size = size_of(value) if size is None else size
    name = type_name(value)
    if size is None:
        return name
    if type(size) is int:
        return f"{name}[{size}]"
    return f"{name} {'x'.join(map(str, size))}"


def one_line(value, limit=60):
    """A preview for listings."""
    head, tail, _ = show(value, limit)
    return " ".join((f"{head} ... {tail}" if tail else head).split())


def is_module(value):
    """Whether `value` is a module."""
    return isinstance(value, _MODULE)
