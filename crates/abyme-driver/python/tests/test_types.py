"""Types as values: what a host function gets of them."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from repl_case import ECHO, ReplCase  # noqa: E402

CLASSES = """\
    import collections, collections.abc, dataclasses, datetime, enum, typing
    from typing import *
    @dataclasses.dataclass
    class Point:
        x: int
        y: 'Optional[float]' = None
        tags: list = dataclasses.field(default_factory=list)
    class Line(Point):
        ends: 'List[Point]'
    class Row(TypedDict, total=False):
        name: str
        points: List[Point]
    class Color(enum.Enum):
        RED = 'red'
        TWO = 2
    class Pair(NamedTuple):
        a: int
        b: str = 'x'
    Loose = collections.namedtuple('Loose', 'a b')
    T = TypeVar('T')
    @dataclasses.dataclass
    class Box(Generic[T]):
        held: T
    @dataclasses.dataclass
    class Node:
        children: 'list[Node]'
    @dataclasses.dataclass
    class Lost:
        it: 'Nowhere'
    """
POINT = "{'x': int, 'y': NotRequired[float | None], 'tags': NotRequired[list]}"


class Types(ReplCase):
    def setUp(self):
        super().setUp()
        self.ok(CLASSES, scope={"functions": [ECHO]})

    def text(self, expression):
        self.ok(f"echo({expression})")
        return self.host.calls[-1][2]["x"]

    def test_types_become_the_text_of_their_annotation(self):
        for expression, want in {
            "int": "int",
            "type(None)": "None",
            "object": "Any",
            "Any": "Any",
            "list": "list",
            "list[str]": "list[str]",
            "List[int]": "list[int]",
            "List": "list",
            "Dict": "dict",
            "Tuple": "tuple",
            "Dict[str, List[int]]": "dict[str, list[int]]",
            "tuple[()]": "tuple[()]",
            "Tuple[()]": "tuple[()]",
            "Tuple[int, ...]": "tuple[int, ...]",
            "tuple[int, str]": "tuple[int, str]",
            "FrozenSet[int]": "set[int]",
            "collections.abc.Sequence[int]": "list[int]",
            "Mapping[str, int]": "dict[str, int]",
            "collections.deque[int]": "list[int]",
            "Optional[str]": "str | None",
            "Union[int, str]": "int | str",
            "list[Optional[int]]": "list[int | None]",
            "Literal['it\\'s', 1, True, None]": "Literal[\"it's\", 1, True, None]",
            "Literal[Color.RED]": "Literal['red']",
            "Annotated[int, 'how many']": "int",
            "T": "Any",
            "List[NewType('Id', int)]": "list[int]",
            "ForwardRef('list[int]')": "list[int]",
            "list['int']": "list[int]",
            "datetime.date": "date",
            "List[datetime.datetime]": "list[datetime]",
            "datetime.time": "datetime.time",
            "Color": "Literal['red', 2]",
            "Point": POINT,
            "Pair": "{'a': int, 'b': NotRequired[str]}",
            "Loose": "{'a': Any, 'b': Any}",
            "Row": f"{{'name': NotRequired[str], 'points': NotRequired[list[{POINT}]]}}",
            "Box": "{'held': Any}",
            "Box[int]": "{'held': Any}",
            "list[Color]": "list[Literal['red', 2]]",
            "Lost": "{'it': Nowhere}",
            "ValueError": "ValueError",
            "Callable[[int], str]": "collections.abc.Callable",
        }.items():
            self.assertEqual(self.text(expression), want, expression)

    @unittest.skipIf(sys.version_info < (3, 10), "`int | None` is new in 3.10")
    def test_unions_as_written_today(self):
        self.assertEqual(self.text("int | None"), "int | None")
        self.assertEqual(self.text("list[int | str] | None"), "list[int | str] | None")

    @unittest.skipIf(sys.version_info < (3, 11), "Required is new in 3.11")
    def test_keys_that_need_not_be_there(self):
        self.ok("""\
            class Keys(TypedDict, total=False):
                a: Required[str]
                b: NotRequired[int]
                c: int
            """)
        self.assertEqual(self.text("Keys"), "{'a': str, 'b': NotRequired[int], 'c': NotRequired[int]}")
        self.assertEqual(self.text("{'a': NotRequired[int]}"), {"a": "NotRequired[int]"})

    @unittest.skipIf(sys.version_info < (3, 12), "`type X = ...` is new in 3.12")
    def test_named_types(self):
        self.ok("type Ids = list[int]\ntype Endless = list[Endless]")
        self.assertEqual(self.text("Ids"), "list[int]")
        self.assertIn("Endless contains itself", self.fails("echo(Endless)", "ValueError")["message"])

    def test_dicts_of_types(self):
        schema = "{'name': str, 'points': [Point], 'home': {'zip': Optional[str]}, 'left': None}"
        want = {"name": "str", "points": [POINT], "home": {"zip": "str | None"}, "left": None}
        self.assertEqual(self.text(schema), want)

    def test_a_type_that_contains_itself(self):
        message = self.fails("echo(Node)", "ValueError")["message"]
        self.assertEqual(
            message, "x: the type Node contains itself: write Any, list or dict where it comes again"
        )

    def test_types_that_are_too_large(self):
        self.ok("deep = int\nfor _ in range(300): deep = list[deep]")
        self.assertIn("more than 100 levels deep", self.fails("echo(deep)", "ValueError")["message"])
        self.ok("wide = int\nfor _ in range(30): wide = tuple[wide, wide]")
        self.assertIn("the type is too large", self.fails("echo(wide)", "ValueError")["message"])

    def test_a_class_of_pydantic_says_more(self):
        """A stand-in for pydantic, which the tests do not need."""
        self.ok("""\
            class Field:
                alias = None
                annotation = int
                def is_required(self): return False
            class Model:
                model_fields = {'size': Field()}
                @classmethod
                def model_json_schema(cls):
                    return {'type': 'object', 'properties': {'size': {'type': 'integer', 'minimum': 0}}}
            """)
        self.assertEqual(self.text("Model")["properties"], {"size": {"type": "integer", "minimum": 0}})
        self.assertEqual(self.text("list[Model]"), "list[{'size': NotRequired[int]}]")

    def test_attrs_by_its_shape(self):
        self.ok("""\
            import types
            attr = types.SimpleNamespace(NOTHING=object())
            import sys
            sys.modules['attr'] = attr
            class Size:
                n: int
                unit: 'str'
                __attrs_attrs__ = (types.SimpleNamespace(name='n', default=attr.NOTHING),
                                   types.SimpleNamespace(name='unit', default='m'))
            """)
        self.addCleanup(sys.modules.pop, "attr", None)
        self.assertEqual(self.text("Size"), "{'n': int, 'unit': NotRequired[str]}")

    def test_awaited_too(self):
        self.assertEqual(self.value("await echo(list[str])"), "'list[str]'")
        self.assertEqual(self.value("await echo({'a': Optional[int]})"), "{'a': 'int | None'}")


if __name__ == "__main__":
    unittest.main()
