"""Writes types as the text of an annotation, which is how they cross to the host: `list[str]`, `int | None`,
`Literal['a', 'b']`, and `{'name': str, 'zip': NotRequired[str]}` for a class with fields.

Types of libraries are recognised without importing them: one can only exist once that library is in
`sys.modules`.
"""

import sys

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

MAX_CHARS = 100_000
MAX_LEVELS = 100
_modules = sys.modules
_NAMES = {type(None): "None", object: "Any", bytearray: "bytes", frozenset: "set"}
_NAMES.update({kind: kind.__name__ for kind in (bool, bytes, dict, float, int, list, set, str, tuple)})
# What the origin of an annotation with parameters is called, where it is not one of the types above.
_ORIGINS = {
    "Collection": "list",
    "Iterable": "list",
    "MutableSequence": "list",
    "Sequence": "list",
    "deque": "list",
    "AbstractSet": "set",
    "MutableSet": "set",
    "Set": "set",
    "Mapping": "dict",
    "MutableMapping": "dict",
    "OrderedDict": "dict",
    "defaultdict": "dict",
}
# Forms whose first parameter is what counts.
_WRAPPERS = ("ClassVar", "Final", "ReadOnly", "Required")
_generic_alias = type(list[int])


def is_annotation(value):
    """Whether this is a type, or made of types, as annotations are."""
    if isinstance(value, type):
        return True
    kind = type(value)
    if kind.__module__ in ("typing", "typing_extensions"):
        return True
    return kind is _generic_alias or kind.__name__ == "UnionType" and kind.__module__ == "types"


def annotation(value):
    """The text of a type; of a class that has no fields and is none of Python's types, its name.

    Raises ValueError for a type that contains itself, or is too large.
    """
    return _Writer().write(value)


class _Writer:
    def __init__(self):
        self.chars = 0
        self.depth = 0
        self.above = []  # the classes around the one that is being written

    def write(self, value):
        if self.depth >= MAX_LEVELS:
            raise ValueError(f"the type is nested more than {MAX_LEVELS} levels deep")
        self.depth += 1
        text = self._text(value)
        self.depth -= 1
        self.chars += len(text)
        if self.chars > MAX_CHARS:
            raise ValueError(f"the type is too large: its text has more than {MAX_CHARS} characters")
        return text

    def _text(self, value):
        if value is None or value is ...:
            return "None" if value is None else "..."
        if isinstance(value, str):
            return str.__str__(value)
        origin = getattr(value, "__origin__", None)
        if origin is None and isinstance(value, type):
            return self._class(value)
        name, args = _name(value, origin), getattr(value, "__args__", None)
        if hasattr(value, "__metadata__"):  # Annotated
            return self.write(args[0])
        if origin is None and args is None:
            return self._form(value, name)
        return self._parameterised(name, origin, args)

    def _form(self, value, name):
        """A type without parameters that is no class."""
        for attribute in ("__supertype__", "__forward_arg__", "__value__", "__bound__"):  # NewType, ...
            inner = getattr(value, attribute, None)
            if inner is not None:
                return self._inside(value, lambda: self.write(inner))
        return "Any" if type(value).__name__ in ("TypeVar", "ParamSpec") else name

    def _parameterised(self, name, origin, args):
        if name in ("Union", "Optional", "UnionType"):
            return " | ".join(map(self.write, args))
        if name == "Literal":
            return f"Literal[{', '.join(map(_option, args))}]"
        if name in _WRAPPERS:
            return self.write(args[0])
        if isinstance(origin, type) and origin not in _NAMES and name not in _ORIGINS:
            return self._class(origin)  # a generic class of the cell's own
        kind = _NAMES.get(origin) or _ORIGINS.get(name, name)
        if args is None:  # typing.List, without parameters
            return kind
        if args in ((), ((),)):
            return f"{kind}[()]"
        return f"{kind}[{', '.join(map(self.write, args))}]"

    def _class(self, kind):
        known = _NAMES.get(kind)
        if known is not None:
            return known
        if kind.__module__ == "datetime" and kind.__name__ in ("date", "datetime"):
            return kind.__name__
        if kind.__name__ == "Any" and kind.__module__ in ("typing", "typing_extensions"):
            return "Any"
        enum = _modules.get("enum")
        if enum is not None and issubclass(kind, enum.Enum) and len(kind):
            return f"Literal[{', '.join(map(_option, kind))}]"
        return self._inside(kind, lambda: self._record(kind))

    def _inside(self, kind, write):
        name = getattr(kind, "__name__", str(kind))
        if any([kind is above for above in self.above]):
            raise ValueError(f"the type {name} contains itself: write Any, list or dict where it comes again")
        self.above.append(kind)
        try:
            return write()
        finally:
            self.above.pop()

    def _record(self, kind):
        fields = _fields(kind)
        if fields is None:
            return _qualified(kind)
        parts = []
        for name, field, required in fields:
            text = self.write(field)
            parts.append(f"{name!r}: {text}" if required else f"{name!r}: NotRequired[{text}]")
        return f"{{{', '.join(parts)}}}" if parts else "dict"


def _name(value, origin):
    """What an annotation is called: `List`, `Union`, `Literal`."""
    for named in (value, origin, type(value)):
        name = getattr(named, "_name", None) or getattr(named, "__name__", None)
        if isinstance(name, str):
            return name
    return str(value)


def _option(option):
    """An option of a Literal."""
    enum = _modules.get("enum")
    if enum is not None and isinstance(option, enum.Enum):
        option = option.value
    for base, as_base in ((str, str.__str__), (bool, bool), (int, int.__int__)):
        if isinstance(option, base):
            return repr(as_base(option))
    return repr(option)


def _qualified(kind):
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def _fields(kind):
    """`(name, type, whether it has to be there)` of a class with declared fields, or None."""
    if hasattr(kind, "model_fields"):  # pydantic 2
        return [(field.alias or name, field.annotation, field.is_required()) for name, field in
                kind.model_fields.items()]
    if hasattr(kind, "__attrs_attrs__"):
        attrs = kind.__attrs_attrs__
        missing = _modules["attr"].NOTHING
        return [(each.name, _hints(kind).get(each.name, "Any"), each.default is missing) for each in attrs]
    if hasattr(kind, "__dataclass_fields__"):
        dataclasses, hints = _modules["dataclasses"], _hints(kind)
        missing = dataclasses.MISSING
        return [
            (field.name, hints.get(field.name, field.type),
             field.default is missing and field.default_factory is missing)
            for field in dataclasses.fields(kind)
        ]
    if hasattr(kind, "__required_keys__"):  # TypedDict
        return [_typed_key(name, hint, name in kind.__required_keys__) for name, hint in _hints(kind).items()]
    if issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        hints, defaults = _hints(kind), getattr(kind, "_field_defaults", {})
        return [(name, hints.get(name, "Any"), name not in defaults) for name in kind._fields]
    if hasattr(kind, "__fields__") and hasattr(kind, "dict"):  # pydantic 1
        return [(field.alias, field.outer_type_, bool(field.required)) for field in kind.__fields__.values()]
    return None


def _typed_key(name, hint, required):
    """A key of a TypedDict. Its annotation may say whether it has to be there."""
    wrapper = _name(hint, getattr(hint, "__origin__", None))
    if wrapper in ("Required", "NotRequired") and hasattr(hint, "__args__"):
        return name, hint.__args__[0], wrapper == "Required"
    return name, hint, required


def _hints(kind):
    """The annotations of a class and of those that it is derived from, texts among them evaluated."""
    hints = {}
    for base in reversed(kind.__mro__):
        hints.update(base.__dict__.get("__annotations__") or {})
    if type(kind).__name__ == "_TypedDictMeta":
        hints = dict(kind.__annotations__)
    if any([isinstance(hint, str) or hasattr(hint, "__forward_arg__") for hint in hints.values()]):
        import typing

        try:
            evaluated = typing.get_type_hints(kind)
        except Exception:  # a name that is not there (yet): the text says what is meant
            return hints
        hints.update(evaluated)
    return hints
