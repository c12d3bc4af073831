//! C7: values outside JSON are converted by stated rules, field by field.

use abyme_core::{Value, Via};
use serde_json::json;

use crate::{
    case::cases,
    observed::{assert_same, plain},
    result::skip,
    session::SessionUnderTest,
};

cases! {
    theme c07_conversions, clause 7;

    /// C7: tuples become lists, at any depth.
    async fn tuples_become_lists(s) {
        becomes(s, "(1, ('a', [(2,)]), {'k': ()})", json!([1, ["a", [[2]]], {"k": []}])).await;
    }

    /// C7: sets become lists, in an order that does not change from run to run.
    async fn sets_become_lists(s) {
        becomes(s, "{3, 1, 2}", json!([1, 2, 3])).await;
        becomes(s, "frozenset(['b', 'a'])", json!(["a", "b"])).await;
        becomes(s, "[set()]", json!([[]])).await;
        let first = submitted(s, "{'a', 1, None, (2,), 1.5, 'b'}").await;
        let second = submitted(&mut s.another().await, "{'b', 1.5, 'a', (2,), None, 1}").await;
        assert_same(&second, &first, "a set of mixed types, in two sessions");
    }

    /// C7: dates, times and both become ISO text.
    async fn dates_become_iso_text(s) {
        s.run("import datetime as dt").await.ok();
        becomes(s, "dt.datetime(2024, 2, 29, 12, 30, 1)", json!("2024-02-29T12:30:01")).await;
        becomes(s, "dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)", json!("2024-01-01T00:00:00+00:00"))
            .await;
        becomes(s, "{'d': [dt.date(2024, 2, 29), dt.time(8, 5)]}", json!({"d": ["2024-02-29", "08:05:00"]}))
            .await;
    }

    /// C7: dataclasses become dicts, nested ones too.
    async fn dataclasses_become_dicts(s) {
        s.run(
            r#"
                from dataclasses import dataclass
                @dataclass
                class Point:
                    x: int
                    y: float = 0.5
                @dataclass
                class Line:
                    ends: tuple
                    name: str = 'l'
            "#,
        )
        .await
        .ok();
        becomes(s, "Point(1)", json!({"x": 1, "y": 0.5})).await;
        becomes(
            s,
            "[Line((Point(1), Point(2)))]",
            json!([{"ends": [{"x": 1, "y": 0.5}, {"x": 2, "y": 0.5}], "name": "l"}]),
        )
        .await;
    }

    /// C7: named tuples of both kinds become dicts.
    async fn named_tuples_become_dicts(s) {
        s.run(
            r#"
                import collections, typing
                Pair = collections.namedtuple('Pair', 'a b')
                class Named(typing.NamedTuple):
                    a: int
                    pair: Pair
            "#,
        )
        .await
        .ok();
        becomes(s, "Pair(1, (2,))", json!({"a": 1, "b": [2]})).await;
        becomes(s, "[Named(1, Pair(2, 3))]", json!([{"a": 1, "pair": {"a": 2, "b": 3}}])).await;
    }

    /// C7: pydantic models become dicts.
    async fn pydantic_models_become_dicts(s) {
        importable(s, "pydantic").await;
        s.run(
            r#"
                import pydantic
                class User(pydantic.BaseModel):
                    name: str
                    tags: list = []
            "#,
        )
        .await
        .ok();
        becomes(s, "{'users': [User(name='a')]}", json!({"users": [{"name": "a", "tags": []}]})).await;
    }

    /// C7: members of an enum become their values.
    async fn enums_become_their_values(s) {
        s.run(
            r#"
                import enum
                class Color(enum.Enum):
                    RED = 'red'
                class Level(enum.IntEnum):
                    LOW = 1
                class Kind(str, enum.Enum):
                    A = 'a'
            "#,
        )
        .await
        .ok();
        becomes(s, "[Color.RED, Level.LOW, Kind.A]", json!(["red", 1, "a"])).await;
    }

    /// C7: mappings of any kind become dicts, and keys become text.
    async fn mappings_become_dicts(s) {
        s.run("import collections").await.ok();
        becomes(s, "collections.Counter('aab')", json!({"a": 2, "b": 1})).await;
        becomes(s, "collections.OrderedDict(b=1, a=(2,))", json!({"b": 1, "a": [2]})).await;
        becomes(s, "collections.defaultdict(list, k=[1])", json!({"k": [1]})).await;
        becomes(s, "{1: 'a', 2.5: 'b', (1, 2): 'c'}", json!({"1": "a", "2.5": "b", "(1, 2)": "c"})).await;
    }

    /// C7: subclasses of the plain types become the plain types.
    async fn subclasses_become_plain(s) {
        s.run(
            r#"
                class S(str): pass
                class N(int): pass
                class F(float): pass
                class L(list): pass
                class D(dict): pass
            "#,
        )
        .await
        .ok();
        becomes(s, "D(a=L([S('x'), N(5), F(0.5)]))", json!({"a": ["x", 5, 0.5]})).await;
    }

    /// C7: everything else becomes its `str`.
    async fn the_rest_becomes_text(s) {
        s.run(
            r#"
                import decimal, pathlib, fractions
                class Own:
                    def __str__(self): return 'own text'
            "#,
        )
        .await
        .ok();
        let values = "[decimal.Decimal('1.10'), pathlib.PurePosixPath('/a/b'), fractions.Fraction(1, 3), \
                      1 + 2j, Own()]";
        becomes(s, values,
            json!(["1.10", "/a/b", "1/3", "(1+2j)", "own text"])).await;
        let value = submitted(s, "[Own, len, __import__('sys')]").await;
        let texts = value.as_list().unwrap_or_default().iter().all(|item| item.as_text().is_some());
        if !texts {
            crate::result::fail(format!("classes, functions and modules should become text, not {value:?}"));
        }
    }

    /// C7: what is JSON already stays as it is; so do bytes, NaN and big integers, at any depth.
    async fn values_of_the_host_stay(s) {
        becomes(s, "{'a': [1, 2.5, None, True, 'é']}", json!({"a": [1, 2.5, null, true, "é"]})).await;
        let value = submitted(s, "[b'\\x00\\xff', bytearray(b'a'), float('nan'), 2**70]").await;
        let wanted = Value::from(vec![
            Value::Bytes(vec![0, 255].into()),
            Value::Bytes(vec![b'a'].into()),
            Value::from(f64::NAN),
            Value::BigInt("1180591620717411303424".into()),
        ]);
        assert_same(&value, &wanted, "bytes, NaN and a big integer");
    }

    /// C7: arrays and scalars of numpy become lists and numbers.
    #[needs(NativePackages)]
    async fn numpy_becomes_plain(s) {
        importable(s, "numpy").await;
        s.run("import numpy as np").await.ok();
        becomes(
            s,
            "{'m': np.array([[1, 2], [3, 4]]), 'f': np.float64(0.5), 'b': np.bool_(True)}",
            json!({"m": [[1, 2], [3, 4]], "f": 0.5, "b": true}),
        )
        .await;
    }

    /// C7: every output is converted on its own.
    async fn every_field_is_converted(s) {
        s.outputs("when: date, items: set, point: tuple");
        s.run("import datetime\nSUBMIT(datetime.date(2024, 1, 2), items={1}, point=(1, 2))")
            .await
            .submitted_fields(json!({"when": "2024-01-02", "items": [1], "point": [1, 2]}));
    }

    /// C7: a value that contains itself is refused where it is submitted, and the next try counts.
    async fn a_cycle_is_refused(s) {
        s.outputs("answer: list");
        let observed = s.run("x = []\nx.append(x)\nSUBMIT(x)").await;
        observed.raises("ValueError").message_has("answer").nothing_submitted();
        s.run("SUBMIT([1])").await.submitted_fields(json!({"answer": [1]}));
    }

    /// C7: two keys that become the same text are refused: one of the entries would be lost.
    async fn keys_that_become_one_are_refused(s) {
        s.run("FINAL({1: 'a', '1': 'b'})")
            .await
            .raises("ValueError")
            .message_has("two keys that become '1'")
            .nothing_submitted();
        s.run("FINAL([{None: 1, 'null': 2}])").await.raises("ValueError").nothing_submitted();
    }

    /// C7: an object that cannot be turned into text harms nothing.
    async fn an_unprintable_object_does_no_harm(s) {
        s.run(
            r#"
                class Mute:
                    def __str__(self): raise ValueError('no')
                    __repr__ = __str__
                FINAL(['a', Mute()])
            "#,
        )
        .await;
        s.in_step().await;
    }
}

/// `FINAL(expression)` submits exactly `wanted`.
async fn becomes(s: &mut SessionUnderTest, expression: &str, wanted: serde_json::Value) {
    let found = submitted(s, expression).await;
    assert_same(&found, &plain(wanted), expression);
}

async fn submitted(s: &mut SessionUnderTest, expression: &str) -> Value {
    let observed = s.run(format!("FINAL({expression})")).await;
    let submission = observed.submitted();
    match &submission.submitted {
        abyme_core::Submitted::Value(value) if submission.via == Via::Final => value.clone(),
        _ => crate::result::fail(observed.complaint("expected one value, submitted by FINAL")),
    }
}

async fn importable(s: &mut SessionUnderTest, module: &str) {
    if s.run(format!("import {module}")).await.error.is_some() {
        skip(format!("{module} is not installed"));
    }
}
