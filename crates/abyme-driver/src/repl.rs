//! The host's side of a cell without a wire: for backends that run `repl.py` themselves and hand values over as they
//! are.
//!
//! Such a backend gives `Repl` the scope ([`scope_value`]), feeds what it is called with into a [`Collector`]
//! ([`submission`]), and finishes that with the answer of `Repl.run` ([`Done::from_value`]). Nothing that comes from
//! Python is trusted. `PROTOCOL.md` says what each field means; a [`DriverSession`](crate::DriverSession) uses the same
//! parts.

mod collector;
mod done;
mod known;
mod life;

use abyme_core::{Scope, Submission, Value, Via};

pub use self::{
    collector::{Collector, Stream},
    done::{Done, Rest, Shown},
    known::KnownScope,
    life::{Life, session_ended},
};

/// The scope as `Repl` takes it, with every `default` as the value itself.
pub fn scope_value(scope: &Scope) -> Value {
    // A scope has no map whose keys are not text, which is all that could fail.
    Value::from_serialize(scope).unwrap_or_default()
}

/// What `host.submit(via, fields, value)` submits: the outputs by name, or one value where `fields` is `None`.
///
/// # Errors
/// What is wrong with it, for a message to whoever sent it.
pub fn submission(via: &str, fields: Option<Value>, value: Value) -> Result<Submission, String> {
    let via = match via {
        "SUBMIT" => Via::Submit,
        "FINAL" => Via::Final,
        "FINAL_VAR" => Via::FinalVar,
        "answer" => Via::Answer,
        _ => return Err(format!("`{}` is not a way to submit", via.escape_debug())),
    };
    match fields {
        None | Some(Value::None) => Ok(Submission::value(via, value)),
        Some(Value::Dict(fields)) => Ok(Submission::fields(via, fields)),
        Some(other) => Err(format!("submitted fields are of type {}, not dict", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use abyme_core::{FunctionSpec, ParameterKind, ParameterSpec};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_value;

    #[test]
    fn a_scope_is_the_one_of_the_protocol() {
        let function = FunctionSpec::new("f", "Does it.")
            .parameter(ParameterSpec::new("a").annotation("int"))
            .parameter(ParameterSpec::new("b").kind(ParameterKind::KeywordOnly).default_value(Value::None))
            .returns("str");
        let scope = Scope::new().function(function).output("score", "float").module("tools.py", "x = 1");
        let parameters = Value::list([
            Value::dict([("name", "a"), ("kind", "positional_or_keyword"), ("annotation", "int")]),
            Value::dict([
                ("name", Value::from("b")),
                ("kind", "keyword_only".into()),
                ("default", Value::None),
            ]),
        ]);
        let function = Value::dict([
            ("name", Value::from("f")),
            ("doc", "Does it.".into()),
            ("parameters", parameters),
            ("returns", "str".into()),
        ]);
        let wanted = Value::dict([
            ("functions", Value::list([function])),
            ("outputs", Value::list([Value::dict([("name", "score"), ("type", "float")])])),
            ("modules", Value::list([Value::dict([("name", "tools.py"), ("source", "x = 1")])])),
        ]);
        assert_eq!(scope_value(&scope), wanted);
    }

    #[test]
    fn a_submission_is_fields_or_a_value() {
        let fields = Value::dict([("a", 1)]);
        assert_eq!(
            submission("SUBMIT", Some(fields.clone()), Value::None),
            Ok(Submission::fields(Via::Submit, fields.as_dict().unwrap().clone()))
        );
        for none in [None, Some(Value::None)] {
            assert_eq!(submission("answer", none, 1.into()), Ok(Submission::value(Via::Answer, 1)));
        }
        assert_eq!(
            submission("FINAL_VAR", None, Value::None),
            Ok(Submission::value(Via::FinalVar, Value::None))
        );
        assert!(submission("final", None, Value::None).unwrap_err().contains("`final`"));
        assert!(
            submission("FINAL", Some(1.into()), Value::None).unwrap_err().contains("of type int, not dict")
        );
    }

    proptest! {
        #[test]
        fn a_default_stays_as_it_is(value in any_value()) {
            let parameter = ParameterSpec::new("a").default_value(value.clone());
            let scope = Scope::new().function(FunctionSpec::new("f", "").parameter(parameter));
            let found = scope_value(&scope);
            let first = |value: &Value, key: &str| value.as_dict().unwrap()[key].as_list().unwrap()[0].clone();
            let parameter = first(&first(&found, "functions"), "parameters");
            prop_assert_eq!(&parameter.as_dict().unwrap()["default"], &value);
        }
    }
}
