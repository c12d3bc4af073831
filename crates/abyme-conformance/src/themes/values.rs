//! C6: every value goes in and comes out as what it is.

use abyme_core::{ErrorKind, Value, Via};
use serde_json::json;

use crate::{
    case::cases,
    host::Host,
    observed::{assert_same, plain},
    session::SessionUnderTest,
};

cases! {
    theme c06_values, clause 6;

    /// C6: `None`, truth values, numbers, text, lists and dicts are the same after a round trip.
    async fn json_values_survive(s) {
        survives(
            s,
            plain(json!([null, true, false, 0, -1, 1.5, "", "text", [], {}, [[1], {"a": {"b": [2]}}]])),
            "list",
        )
        .await;
        survives(s, Value::None, "NoneType").await;
        survives(s, Value::from(true), "bool").await;
        survives(s, Value::from("x"), "str").await;
    }

    /// C6: Python sees values as its own types.
    async fn python_sees_its_own_types(s) {
        s.set("v", plain(json!([null, true, 1, 1.0, "a", [], {}]))).await;
        s.run("[type(item).__name__ for item in v]")
            .await
            .value_is("['NoneType', 'bool', 'int', 'float', 'str', 'list', 'dict']");
        s.set("b", Value::Bytes(vec![1, 2].into())).await;
        s.run("(type(b).__name__, b)").await.value_is(r"('bytes', b'\x01\x02')");
    }

    /// C6: NaN comes back as NaN.
    async fn nan_survives(s) {
        survives(s, Value::from(f64::NAN), "float").await;
        s.run("v != v").await.value_is("True");
    }

    /// C6: the infinities survive, alone and among others.
    async fn infinities_survive(s) {
        survives(s, Value::from(f64::INFINITY), "float").await;
        s.run("v > 1e308").await.value_is("True");
        survives(s, Value::from(f64::NEG_INFINITY), "float").await;
        let mixed = Value::from_iter([Value::from(1.5), Value::from(f64::INFINITY), Value::from(f64::NAN)]);
        survives(s, Value::from_iter([("deep".to_owned(), mixed)]), "dict").await;
    }

    /// C6: floats keep every bit: -0.0, the smallest and the largest, and those without a short form.
    async fn floats_keep_every_bit(s) {
        for float in [-0.0, 0.1, 1.0 / 3.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e16, 123_456_789.123_456_79]
        {
            survives(s, Value::from(float), "float").await;
        }
        survives(s, Value::from(2.0), "float").await;
    }

    /// C6: integers at and beyond the limits of 64 bits survive.
    async fn big_integers_survive(s) {
        survives(s, Value::from(i64::MAX), "int").await;
        survives(s, Value::from(i64::MIN), "int").await;
        survives(s, Value::BigInt("9223372036854775808".into()), "int").await;
        survives(s, Value::BigInt("-9223372036854775809".into()), "int").await;
        s.run("v == -2**63 - 1").await.value_is("True");
        let cell = s.cell("v = [2**200, -2**200, 2**64]").read("v");
        let big = "1606938044258990275541962092341162602522202993782792835301376";
        s.run(cell).await.variable_is(
            "v",
            vec![
                Value::BigInt(big.into()),
                Value::BigInt(format!("-{big}")),
                Value::BigInt("18446744073709551616".into()),
            ],
        );
    }

    /// C6: integers of more digits than Python converts by default survive.
    async fn huge_integers_survive(s) {
        let digits = "7".repeat(10_000);
        survives(s, Value::BigInt(digits), "int").await;
        s.run("v == 7 * (10**10_000 - 1) // 9").await.value_is("True");
    }

    /// C6: text survives character by character.
    async fn text_survives(s) {
        for text in [
            "é",
            "日本",
            "🦀",
            "a\0b",
            "\r\n\r",
            "\u{feff}bom",
            "e\u{301}",
            "\u{2028}\u{85}",
            "'''\"\"\"\\",
            "\\n",
            "{x} %s $y",
        ] {
            survives(s, Value::from(text), "str").await;
        }
        s.set("v", "a🦀\0é").await;
        s.run("[ord(c) for c in v]").await.value_is("[97, 129408, 0, 233]");
    }

    /// C6: text of a length near any likely threshold survives, in one, two and four bytes a character.
    async fn text_of_any_length_survives(s) {
        for length in [1023, 1024, 8191, 8192, 8193, 65_535, 65_536, 65_537, 300_000] {
            for character in ["a", "é", "日", "🦀"] {
                let text = character.repeat(length);
                let cell = s
                    .cell("n, first, last = len(v), v[0], v[-1]")
                    .variable("v", text.clone())
                    .read("v")
                    .read("n");
                s.run(cell)
                    .await
                    .variable_is("n", i64::try_from(length).unwrap_or_default())
                    .variable_is("v", text);
            }
        }
    }

    /// C6: half a surrogate pair, which only Python has, is no reason to lose the rest.
    async fn a_lone_surrogate_is_replaced(s) {
        let cell = s.cell(r"v = ['a\ud800b', '\udfff', 'c']").read("v");
        let observed = s.run(cell).await;
        let items = observed.variables.get("v").and_then(Value::as_list).unwrap_or_default();
        let text = |index: usize| items.get(index).and_then(Value::as_text).unwrap_or_default();
        observed.expect(
            text(0).starts_with('a') && text(0).ends_with('b') && text(2) == "c",
            "expected the other characters",
        );
        s.in_step().await;
    }

    /// C6: bytes of all 256 values survive.
    async fn bytes_survive(s) {
        let all: Vec<u8> = (0..=255).collect();
        survives(s, Value::Bytes(all.into()), "bytes").await;
        s.run("v == bytes(range(256))").await.value_is("True");
        survives(s, Value::Bytes(Vec::new().into()), "bytes").await;
        survives(s, Value::Bytes(vec![0xff; 1 << 20].into()), "bytes").await;
        let nested =
            Value::from_iter([("b".to_owned(), Value::from_iter([Value::Bytes(vec![0, 1].into())]))]);
        survives(s, nested, "dict").await;
    }

    /// C6: a dict that looks like something of the wire's is still that dict.
    async fn keys_with_a_dollar_are_just_keys(s) {
        for json in [
            json!({"$int": 1}),
            json!({"$int": "12"}),
            json!({"$float": "nan"}),
            json!({"$text": 0}),
            json!({"$bytes": 0}),
            json!({"$dict": [["a", 1]]}),
            json!({"$": null}),
            json!({"$a": 1, "b": {"$c": [{"$int": "5"}]}}),
            json!({"$ref": "#/x", "type": "$int"}),
        ] {
            survives(s, plain(json), "dict").await;
        }
    }

    /// C6: keys may be any text, and keep their order.
    async fn keys_keep_their_order(s) {
        let keys = ["b", "a", "", "__class__", "é", "0", "a b", "\0", "type"];
        survives(s, keys.iter().map(|key| ((*key).to_owned(), Value::from(*key))).collect(), "dict").await;
        let cell = s.cell("w = {'z': 1, 'a': 2, 'm': 3}").read("w");
        let observed = s.run(cell).await;
        let order = observed
            .variables
            .get("w")
            .and_then(Value::as_dict)
            .map(|dict| dict.keys().cloned().collect::<Vec<_>>());
        let is_kept = order.is_some_and(|order| order == ["z", "a", "m"]);
        observed.expect(is_kept, "expected the keys in their order");
        let value = Value::dict([("z", 1), ("a", 2), ("m", 3)]);
        s.run(s.cell("''.join(v)").variable("v", value)).await.value_is("'zam'");
    }

    /// C6: large lists and dicts survive.
    async fn large_containers_survive(s) {
        survives(s, (0..100_000).map(Value::from).collect(), "list").await;
        survives(s, (0..20_000).map(|n| Value::from(format!("item {n}"))).collect(), "list").await;
        survives(s, (0..20_000).map(|n| (format!("key {n}"), Value::from(n))).collect(), "dict").await;
    }

    /// C6: fifty megabytes of text go in and come out the same.
    #[alone = "holds several copies of 50 MB"]
    #[limit(60)]
    async fn fifty_megabytes_survive(s) {
        let text = "A line of some length, é included.\n".repeat(1_430_000);
        let cell = s.cell("n = len(v)\nv = v[:]").variable("v", text.clone()).read("v").read("n");
        let observed = s.run(cell).await;
        let length = i64::try_from(text.chars().count()).unwrap_or_default();
        observed.variable_is("n", length);
        let same = observed.variables.get("v").and_then(Value::as_text) == Some(&text);
        observed.expect(same, "expected the same text back");
    }

    /// C6: whatever the depth, and whichever way it goes, a value crosses or is refused; the session goes on.
    async fn every_depth_is_kept_or_refused(s) {
        s.outputs("out: list");
        s.serve(&Host::new().echo());
        s.run("def nested(n):\n    v = 1\n    for _ in range(n): v = [v]\n    return v").await.ok();
        for depth in [90, 98, 99, 100, 101, 102, 103, 130] {
            let cell = s.cell(&format!("out = nested({depth})")).read("out");
            let observed = s.run(cell).await;
            observed.expect(observed.session_ended.is_none(), "nesting should not cost the session");
            observed.expect(depth > 98 || observed.variables.contains_key("out"), "expected the value");
            for code in ["SUBMIT(out)", "FINAL(out)", "FINAL({'k': out})", "echo(out)", "echo({'$k': out})"] {
                let observed = s.run(code).await;
                let refused = observed.error.as_ref().is_some_and(|error| error.type_name == "ValueError");
                observed.expect(observed.is_ok() || refused, "expected the value, or a ValueError");
                s.in_step().await;
            }
        }
    }

    /// C6: half a character, as JSON and broken encodings leave it, is replaced and ends nothing.
    async fn half_a_surrogate_is_replaced(s) {
        s.serve(&Host::new().echo());
        let cell = s.cell(r"half = 'ab\ud83d'").read("half");
        s.run(cell).await.variable_is("half", "ab?");
        s.run(r"echo('ab\ud83d')").await.value_is("'ab?'");
        s.run(r"echo({'k\udc00': ['\ud800' * 3]})").await.value_is("{'k?': ['???']}");
        s.run(r"print('ab\ud83d')").await.stdout_is("ab?\n");
        s.run(r"raise ValueError('ab\ud83d')").await.message_is("ab?");
        s.run(r"FINAL('ab\ud83d')").await.submitted_value(Via::Final, "ab?");
    }

    /// C6: a value nested a hundred levels deep survives; one nested beyond reason is refused, in words.
    async fn nesting_is_kept_or_refused(s) {
        survives(s, nested(50), "list").await;
        for depth in [500, 5_000] {
            let cell = s.cell("").variable("deep", nested(depth)).read("deep");
            match s.try_run(cell).await {
                Ok(observed) if observed.error.is_none() => {
                    observed.expect(observed.session_ended.is_none(), "nesting should not cost the session");
                    observed.variable_is("deep", nested(depth));
                }
                Ok(observed) => {
                    observed.expect(!observed.exception().message.is_empty(), "expected a reason");
                }
                // Refused on the host's side, before anything was sent.
                Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                Err(error) => crate::result::fail(format!("nesting should not cost the session: {error:?}")),
            }
            s.in_step().await;
        }
        let cell = s.cell("out = []\nfor _ in range(100_000): out = [out]").read("out");
        let observed = s.run(cell).await;
        observed.expect(
            observed.error.is_some() || observed.variables.contains_key("out"),
            "expected the value, or a reason",
        );
        s.in_step().await;
    }
}

/// Sets `v`, reads it back, and asks Python what it is.
async fn survives(s: &mut SessionUnderTest, value: Value, type_name: &str) {
    let cell = s.cell("kind = type(v).__name__").variable("v", value.clone()).read("v").read("kind");
    let observed = s.run(cell).await;
    observed.ok().variable_is("kind", type_name);
    assert_same(observed.variables.get("v").unwrap_or(&Value::None), &value, "v, there and back");
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::from(1), |inner, _| Value::List(vec![inner]))
}
