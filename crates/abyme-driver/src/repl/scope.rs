//! The names that a session offers, as `Repl` takes them and as the driver knows them from earlier cells.

use std::sync::Arc;

use abyme_core::{Scope, Stage, Value};

use crate::repl::done::Done;

/// The scope as `Repl` takes it. Every `default` in it is the value itself.
pub fn scope_value(scope: &Scope) -> Value {
    // Only a map whose keys are not text could fail, and a scope has none.
    Value::from_serialize(scope).unwrap_or_default()
}

/// The scope that the driver has from earlier cells, so that a cell brings its scope only if it changed.
#[derive(Clone, Debug, Default)]
pub struct KnownScope(Option<Arc<Scope>>);

impl KnownScope {
    /// The scope of a cell, if the driver does not have it.
    pub fn changed<'a>(&self, scope: &'a Arc<Scope>) -> Option<&'a Arc<Scope>> {
        let same = self.0.as_ref().is_some_and(|last| Arc::ptr_eq(last, scope) || **last == **scope);
        (!same).then_some(scope)
    }

    /// Notes that a cell with this scope came to its end. `interrupted` says that the host interrupted it.
    pub fn learn(&mut self, scope: &Arc<Scope>, done: &Done, interrupted: bool) {
        // The driver may not have taken the scope over, so the next cell brings it again.
        let uncertain = interrupted || done.error.as_ref().is_some_and(|error| error.stage == Stage::Scope);
        self.0 = (!uncertain).then(|| scope.clone());
    }

    /// Forgets the scope: a cell was cut off, or the session is another one.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use abyme_core::{FunctionSpec, ParameterKind, ParameterSpec, PythonError};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_value;

    #[test]
    fn only_what_changed_goes_along() {
        let mut known = KnownScope::default();
        let (one, other) = (Arc::new(Scope::new().output("a", "int")), Arc::new(Scope::new()));
        assert_eq!(known.changed(&other), Some(&other), "the first cell brings its names, even none");
        known.learn(&one, &Done::default(), false);
        assert_eq!(known.changed(&one), None);
        assert_eq!(known.changed(&Arc::new(Scope::clone(&one))), None, "an equal one is the same");
        assert_eq!(known.changed(&other), Some(&other));
        known.forget();
        assert_eq!(known.changed(&one), Some(&one));
    }

    #[test]
    fn names_that_may_not_have_arrived_go_again() {
        let mut known = KnownScope::default();
        let scope = Arc::new(Scope::new());
        let failed_in = |stage| Done {
            error: Some(PythonError::new("ValueError", "no").stage(stage)),
            ..Done::default()
        };
        for (done, interrupted, arrived) in [
            (Done::default(), true, false),
            (failed_in(Stage::Scope), false, false),
            (failed_in(Stage::Run), false, true),
        ] {
            known.learn(&scope, &done, interrupted);
            assert_eq!(known.changed(&scope).is_none(), arrived, "{done:?}");
        }
    }

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
        let expected = Value::dict([
            ("functions", Value::list([function])),
            ("outputs", Value::list([Value::dict([("name", "score"), ("type", "float")])])),
            ("modules", Value::list([Value::dict([("name", "tools.py"), ("source", "x = 1")])])),
        ]);
        assert_eq!(scope_value(&scope), expected);
    }

    proptest! {
        #[test]
        fn a_default_stays_as_it_is(value in any_value()) {
            let parameter = ParameterSpec::new("a").default_value(value.clone());
            let scope = Scope::new().function(FunctionSpec::new("f", "").parameter(parameter));
            let scope = scope_value(&scope);
            let first = |value: &Value, key: &str| {
                let list = &value.as_dict().unwrap()[key];
                list.as_list().unwrap()[0].clone()
            };
            let parameter = first(&first(&scope, "functions"), "parameters");
            prop_assert_eq!(&parameter.as_dict().unwrap()["default"], &value);
        }
    }
}
