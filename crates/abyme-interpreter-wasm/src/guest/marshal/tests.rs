//! Values are read as they were written, and no data that is read can do harm.

use abyme_core::{DecodeBudget, DecodeProblem, OverBudget, Value};
use proptest::{prelude::*, strategy::ValueTree};

use super::{Encoder, decode::decode as decode_bounded, format::MIN_LONG_BYTES};

fn decode(data: &[u8]) -> Result<Value, String> {
    decode_bounded(data, &mut DecodeBudget::default()).map_err(|problem| problem.to_string())
}

fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.value(value).unwrap();
    let (data, longs) = encoder.finish();
    assert!(longs.is_empty());
    data
}

/// Made with `marshal.dumps(..., 2)` of CPython 3.13.
#[test]
fn cpython_writes_the_same() {
    let value = Value::list([
        Value::None,
        Value::Bool(true),
        Value::Int(7),
        Value::Int(-1 << 40),
        Value::Float(1.5),
        Value::from("aé"),
        Value::Bytes("b".into()),
        Value::dict([("k", Value::list([0_i64; 0]))]),
    ]);
    let expected =
        b"[\x08\0\0\0NTi\x07\0\0\0l\xfd\xff\xff\xff\0\0\0\0\0\x04g\0\0\0\0\0\0\xf8?u\x03\0\0\0a\xc3\xa9\
                     s\x01\0\0\0b{u\x01\0\0\0k[\0\0\0\x000";
    assert_eq!(encode(&value), expected);
    assert_eq!(decode(expected).unwrap(), value);
}

#[test]
fn long_texts_and_bytes_are_kept_apart() {
    let text = "x".repeat(MIN_LONG_BYTES);
    let mut encoder = Encoder::default();
    encoder
        .value(&Value::list([Value::from(text.as_str()), Value::Bytes(vec![1; MIN_LONG_BYTES].into())]))
        .unwrap();
    let (data, longs) = encoder.finish();
    assert_eq!(data, b"[\x02\0\0\0..");
    assert_eq!(longs.len(), 2);
}

#[test]
fn lone_surrogates_become_question_marks() {
    assert_eq!(decode(b"u\x05\0\0\0a\xed\xa0\x80b").unwrap(), Value::from("a?b"));
    assert_eq!(decode(b"u\x02\0\0\0a\xff").unwrap(), Value::from("a?"));
}

#[test]
fn nothing_over_two_gigabytes_is_sent() {
    use super::encode::fits;

    assert!(fits(2_000_000_000).is_ok());
    let problem = fits(1 << 31).unwrap_err();
    assert!(problem.contains("2048 MiB"), "{problem}");
}

#[test]
fn nesting_is_bounded() {
    let mut value = Value::None;
    for _ in 0..=Value::MAX_LEVELS {
        value = Value::list([value]);
    }
    assert!(Encoder::default().value(&value).unwrap_err().contains("nested more than 100"));
    let data = [b'[', 1, 0, 0, 0].repeat(100_000);
    assert!(decode(&data).unwrap_err().contains("nested more than 100"));
    // A record writes a dict with such a key in three levels of JSON.
    let dicts = |count: usize| [&b"{u\x01\0\0\0$".repeat(count)[..], b"N", &b"0".repeat(count)[..]].concat();
    let most = DecodeBudget::MAX_LEVELS / 3;
    let value = decode(&dicts(most)).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&serde_json::to_vec(&value).unwrap()).unwrap(), value);
    assert!(decode(&dicts(most + 1)).unwrap_err().contains("nested more than 100"));
    let value = decode(&dicts(Value::MAX_LEVELS / 3 + 1)).unwrap();
    assert!(Encoder::default().value(&value).is_err());
}

#[test]
fn short_data_is_refused() {
    let data = encode(&Value::dict([("key", Value::list([1_i64, 1 << 50]))]));
    for len in 0..data.len() {
        assert!(decode(&data[..len]).is_err(), "{len}");
    }
    // A length beyond the end of the data takes no memory.
    assert!(decode(b"[\xff\xff\xff\x7f").is_err());
    assert!(decode(b"[\xff\xff\xff\xff").is_err());
}

#[test]
fn all_that_is_made_is_charged() {
    for item in
        [Value::Int(1), Value::list([0_i64; 0]), "".into(), Value::dict([("", 1)]), Value::Bytes("".into())]
    {
        let data = encode(&Value::list(vec![item; 20_000]));
        let problem = decode_bounded(&data, &mut DecodeBudget::new(1 << 20)).unwrap_err();
        assert_eq!(problem, DecodeProblem::TooLarge(OverBudget::Bytes(1 << 20)));
        assert!(decode(&data).is_ok());
    }
}

#[test]
fn large_integers_are_bounded_in_both_directions() {
    let large = Value::BigInt("7".repeat(120_000));
    let data = encode(&large);
    let many = [&b"[\xe8\x03\0\0"[..], &data.repeat(1000)].concat();
    assert!(decode(&many).unwrap_err().contains("large integers"));
    let problem = Encoder::default().value(&Value::list(vec![large; 1000])).unwrap_err();
    assert!(problem.contains("large integers"), "{problem}");
    let small = Value::list(vec![Value::BigInt("7".repeat(300)); 10_000]);
    assert_eq!(decode(&encode(&small)), Ok(small));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(i64::from(number))),
        "-?[1-9][0-9]{19,120}".prop_map(|digits| Value::int_from_decimal(&digits).unwrap()),
        any::<f64>().prop_filter("NaN is not itself", |number| !number.is_nan()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((".{0,8}", inner), 0..6).prop_map(Value::dict),
        ]
    })
}

/// A length as it is, or a lie about it.
fn told(length: usize, lie: i32) -> [u8; 4] {
    i32::try_from(length).unwrap().wrapping_add(lie).to_le_bytes()
}

/// Data in the form of the format, and of the whole of CPython's: what a guest may write that does as it
/// likes. Tags that are not read here, counts that lie, integers that are not written as they should be, keys
/// that are no texts.
fn written() -> impl Strategy<Value = Vec<u8>> {
    let lie = || prop_oneof![200 => Just(0), 2 => -2..3_i32, 1 => Just(i32::MAX), 1 => Just(i32::MIN)];
    let bytes = prop_oneof![
        ".{0,6}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
        Just(b"a\xed\xa0\x80".to_vec()),
    ];
    let digits = prop::collection::vec(prop_oneof![any::<u16>(), Just(0_u16), Just(0x7fff)], 0..12);
    let leaf = prop_oneof![
        60 => prop::sample::select(b"NFT".to_vec()).prop_map(|tag| vec![tag]),
        1 => prop::sample::select(b".0S".to_vec()).prop_map(|tag| vec![tag]),
        60 => any::<i32>().prop_map(|number| [&b"i"[..], &number.to_le_bytes()].concat()),
        60 => any::<f64>().prop_map(|number| [&b"g"[..], &number.to_le_bytes()].concat()),
        60 => (digits, any::<bool>(), lie()).prop_map(|(digits, is_negative, lie)| {
            let count = i32::try_from(digits.len()).unwrap() * if is_negative { -1 } else { 1 };
            let digits = digits.iter().flat_map(|digit| digit.to_le_bytes()).collect::<Vec<_>>();
            [&b"l"[..], &count.wrapping_add(lie).to_le_bytes(), &digits].concat()
        }),
        90 => (prop::sample::select(b"sut".to_vec()), bytes.clone(), lie())
            .prop_map(|(tag, bytes, lie)| [&[tag][..], &told(bytes.len(), lie), &bytes].concat()),
        // A short text, a reference, and one to the end of nothing.
        1 => bytes.prop_map(|bytes| [&[b'z', bytes.len() as u8][..], &bytes].concat()),
        1 => (0..4_i32).prop_map(|number| [&b"r"[..], &number.to_le_bytes()].concat()),
    ];
    leaf.prop_recursive(6, 80, 6, move |inner| {
        let items = prop::collection::vec(inner.clone(), 0..6);
        let tags = prop_oneof![
            60 => prop::sample::select(b"[(".to_vec()),
            1 => prop::sample::select(b"<>c\xdb".to_vec()),
        ];
        let pairs = prop::collection::vec((".{0,4}", inner.clone()), 0..5);
        prop_oneof![
            30 => (tags, items, lie()).prop_map(|(tag, items, lie)| {
                [&[tag][..], &told(items.len(), lie), &items.concat()].concat()
            }),
            30 => (pairs, prop::bool::weighted(0.98)).prop_map(|(pairs, ends)| {
                let pair = |(key, value): (String, Vec<u8>)| {
                    [&b"u"[..], &told(key.len(), 0), key.as_bytes(), &value].concat()
                };
                let end: &[u8] = if ends { b"0" } else { b"" };
                [&b"{"[..], &pairs.into_iter().map(pair).collect::<Vec<_>>().concat()[..], end].concat()
            }),
            // Keys of any kind.
            1 => (inner.clone(), inner).prop_map(|(key, value)| [&b"{"[..], &key[..], &value, b"0"].concat()),
        ]
    })
}

/// What is generated is mostly read: data that are refused at once would try little.
#[test]
fn written_data_are_mostly_values() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut next = || written().new_tree(&mut runner).unwrap().current();
    let (values, nested) = (0..1_000).fold((0, 0), |(values, nested), _| match decode(&next()) {
        Ok(value) => (values + 1, nested + u32::from(value.has_more_levels_than(2))),
        Err(_) => (values, nested),
    });
    assert!((250..900).contains(&values) && nested > 20, "{values} values, {nested} of them nested");
}

proptest! {
    /// What is read is written and read again as the same: nothing is taken that cannot be passed on.
    #[test]
    fn what_a_guest_writes_is_a_value_or_an_error(data in written()) {
        let mut budget = DecodeBudget::new(100_000);
        let value = decode_bounded(&data, &mut budget);
        prop_assert!(budget.used() <= 100_000);
        if let Ok(value) = value {
            let again = decode(&encode(&value)).unwrap();
            // NaN is not equal to itself.
            prop_assert_eq!(again.repr(10_000), value.repr(10_000));
        }
    }

    #[test]
    fn all_values_come_back(value in values()) {
        prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&data);
    }

    /// Near good data, where garbage would be refused at its first byte.
    #[test]
    fn damaged_data_are_a_value_or_an_error(
        value in values(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let mut data = encode(&value);
        for (at, byte, insert) in edits {
            match (at.index(data.len()), insert) {
                (at, true) => data.insert(at, byte),
                (at, false) => data[at] = byte,
            }
        }
        let mut budget = DecodeBudget::new(100_000);
        let _ = decode_bounded(&data, &mut budget);
        prop_assert!(budget.used() <= 100_000);
    }
}
