"""Converts any Python object to plain data: None, bool, int, float, str, bytes, list, and dict with str keys.

PROTOCOL.md has the table of the rules. Types of libraries are recognised without importing them: an object of
a library's class can only exist once that library is in `sys.modules`.
"""

import sys
from _collections_abc import Mapping, Sequence, Set

from _abyme.annotations import annotation, is_annotation

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

MAX_DEPTH = 100
MAX_INT_BITS = 400_000  # about 120 000 digits: larger ones take too long to write in decimal
_LARGEST_INT = (1 << MAX_INT_BITS) - 1
_modules = sys.modules
_PLAIN = frozenset((type(None), bool, int, float, str, bytes))
# Whether all values of these types can be passed on as they are.
are_simple = (_PLAIN - {int}).issuperset
_ONLY_STR = frozenset((str,))
_ONLY_INT = frozenset((int,))
_GENERATOR = type(item for item in ())
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
_ITERABLE = (list, tuple, range, _GENERATOR, map, filter, zip, enumerate, reversed) + _VIEWS


def plain(value):
    """`value` as plain data. Raises ValueError for a cycle or for nesting deeper than MAX_DEPTH."""
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not int else _passable(value)
    return _convert(value, 0, set())


def plain_fields(fields):
    """`plain` for each value of a dict. An error names the field."""
    answer = {}
    for name, value in fields.items():
        try:
            answer[name] = plain(value)
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    return answer


def _convert(value, depth, above):
    """Convert one node. `above` holds the ids of the containers around it."""
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not int else _passable(value)
    if depth >= MAX_DEPTH:
        raise ValueError(f"the value is nested more than {MAX_DEPTH} levels deep")
    if id(value) in above:
        raise ValueError(f"the value contains itself (a {kind.__name__} inside the same {kind.__name__})")
    above.add(id(value))
    try:
        if kind is list or kind is tuple:
            return _from_items(value, depth, above)
        if kind is dict:
            return _from_mapping(value, depth, above)
        return _convert_other(value, kind, depth, above)
    finally:
        above.discard(id(value))


def _passable(number):
    """An int, unless it is too large: the other side may have to write it in decimal."""
    if -_LARGEST_INT <= number <= _LARGEST_INT:
        return number
    raise ValueError(f"an integer of {number.bit_length()} bits is too large to pass on")


def _check_ints(items):
    """`_passable` for all ints of a collection of plain items."""
    kinds = set(map(type, items))
    if kinds == _ONLY_INT:  # at C speed
        _passable(min(items))
        _passable(max(items))
    elif int in kinds:
        for item in items:
            if type(item) is int:
                _passable(item)


def _from_items(items, depth, above):
    """A list. When all items are plain already, which is checked at C speed, a list is passed on as it is."""
    if type(items) is not list:
        items = list(items)
    if _PLAIN.issuperset(map(type, items)):
        _check_ints(items)
        return items
    return [_convert(item, depth + 1, above) for item in items]


def _from_mapping(mapping, depth, above):
    """A dict with str keys. One with a key that starts with `$` takes three levels on the wire."""
    if any([isinstance(key, str) and key[:1] == "$" for key in mapping]):
        depth += 2
    if type(mapping) is dict and _ONLY_STR.issuperset(map(type, mapping)):
        if _PLAIN.issuperset(map(type, mapping.values())):
            _check_ints(mapping.values())
            return mapping
        return {key: _convert(item, depth + 1, above) for key, item in mapping.items()}
    fields = {}
    for key in mapping:
        name = _key(key)
        if name in fields:
            raise ValueError(f"the {type(mapping).__name__} has two keys that become {name!r}")
        fields[name] = _convert(mapping[key], depth + 1, above)
    return fields


def _from_set(items, depth, above):
    """A list in stable order: sorted if the items can be compared, otherwise by type name and repr."""
    items = list(items)
    try:
        items.sort()
    except TypeError:
        items.sort(key=lambda item: (type(item).__name__, _text(item, repr)))
    return _from_items(items, depth, above)


def _key(key):
    """A key as `json.dumps` writes it. A key that it refuses becomes `str(key)`."""
    enum = _modules.get("enum")
    if enum is not None and isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return str.__str__(key)
    if key is None:
        return "null"
    if key is True or key is False:
        return "true" if key else "false"
    return _text(key, str)


def _convert_other(value, kind, depth, above):
    """Convert what is not a plain scalar, list, tuple or dict. The order of the checks matters."""
    enum = _modules.get("enum")
    if enum is not None and isinstance(value, enum.Enum):
        return _convert(value.value, depth + 1, above)
    for base, as_base in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        if isinstance(value, base):
            return as_base(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if is_annotation(value):
        return _from_type(value, depth, above)
    fields = _record(value, kind)
    if fields is not None:
        return _from_mapping(fields, depth, above)
    if isinstance(value, (set, frozenset)):
        return _from_set(value, depth, above)
    if isinstance(value, _ITERABLE):
        return _from_items(value, depth, above)
    if isinstance(value, Mapping):
        return _from_mapping(value, depth, above)
    return _convert_library(value, kind, depth, above)


def _from_type(value, depth, above):
    """The text of a type as an annotation. A class of pydantic says more of itself as a JSON Schema."""
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return _convert(value.model_json_schema(), depth + 1, above)
    return annotation(value)


def _record(value, kind):
    """The fields of a namedtuple, dataclass, pydantic model (2, then 1) or attrs object, or None."""
    if isinstance(value, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        return dict(zip(kind._fields, value))
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in _modules["dataclasses"].fields(value)}
    if hasattr(kind, "model_dump"):
        return value.model_dump()
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if hasattr(kind, "__fields__") and hasattr(kind, "dict"):
        return value.dict()
    return None


def _convert_library(value, kind, depth, above):
    """Convert dates, arrays, tables, paths, collections of libraries; anything else to `str(value)`."""
    if kind.__name__ in ("NaTType", "NAType") and _is_missing(value):
        return None
    datetime = _modules.get("datetime")
    if datetime is not None and isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if hasattr(kind, "to_dicts"):  # polars
        return _convert(value.to_dicts(), depth + 1, above)
    if hasattr(kind, "to_dict") and hasattr(kind, "columns"):
        return _convert(_table_rows(value), depth + 1, above)
    if hasattr(kind, "to_dict") and hasattr(kind, "tolist"):
        return _convert(_series(value), depth + 1, above)
    for method in ("tolist", "to_list", "to_pylist"):  # numpy, array.array, tensors, polars, pyarrow
        if hasattr(kind, method):
            return _convert(getattr(value, method)(), depth + 1, above)
    if isinstance(value, Set):
        return _from_set(value, depth, above)
    if hasattr(kind, "popleft") or (isinstance(value, Sequence) and not hasattr(kind, "casefold")):
        return _from_items(value, depth, above)
    return _text(value, str)


def _is_missing(value):
    """Whether this is one of the two values that stand for "nothing" in pandas, besides NaN."""
    pandas = _modules.get("pandas")
    return value is getattr(pandas, "NaT", value) or value is getattr(pandas, "NA", value)


def _table_rows(table):
    """The rows of a pandas table as dicts. Labels of the rows that say something become a column."""
    columns = list(table.columns)
    if len(set(columns)) < len(columns):
        raise ValueError("two columns of the table have the same name")
    index = getattr(table, "index", ())
    if any([name is not None for name in getattr(index, "names", ())]) or not _are_numbers(index):
        try:
            table = table.reset_index()
        except ValueError:  # there is a column of that name
            pass
    return table.to_dict("records")


def _series(series):
    """A pandas series: a list if its labels are 0, 1, 2, ..., otherwise a dict by label."""
    labels, values = list(series.index), series.tolist()
    if labels == list(range(len(labels))) or len(set(labels)) < len(labels):
        return values
    return dict(zip(labels, values))


def _are_numbers(index):
    return all([isinstance(label, int) for label in index])


def _text(value, convert):
    """`str(value)` or `repr(value)`, whatever the class does."""
    try:
        return str.__str__(convert(value))
    except Exception:
        return f"<unprintable {type(value).__name__} object>"
