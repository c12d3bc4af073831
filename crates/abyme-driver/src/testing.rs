//! Values of every kind, for the property tests.

use abyme_core::Value;
use proptest::prelude::*;

/// Any value but NaN, which is not equal to itself.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "-?[1-9][0-9]{20,40}".prop_map(Value::BigInt),
        any::<f64>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        (8190usize..8200).prop_map(|n| Value::from("é".repeat(n))),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec(("[$a-c]{0,3}", inner), 0..5)
                .prop_map(|e| Value::Dict(e.into_iter().collect())),
        ]
    })
}
