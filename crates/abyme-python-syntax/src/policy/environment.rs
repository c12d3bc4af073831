//! Evaluation of expressions to what they stand for, and binding of targets.

use ruff_python_ast::{Expr, ExprCall, FStringPart, InterpolatedStringElement, Operator};

use super::{
    code_policy::CodePolicy,
    names::{Names, Value},
};

/// Names and the policy that says which of them matter.
#[derive(Debug)]
pub(super) struct Environment<'a> {
    pub(super) policy: &'a CodePolicy,
    pub(super) names: Names<'a>,
}

impl<'a> Environment<'a> {
    /// What a name stands for.
    pub(super) fn lookup(&self, name: &str) -> Value {
        self.names.lookup(name, &self.policy.deny_names)
    }

    /// What an expression stands for, if this cell shows it.
    pub(super) fn value(&self, expression: &Expr) -> Option<Value> {
        match expression {
            Expr::Name(it) => Some(self.lookup(&it.id)),
            Expr::StringLiteral(it) => Value::text(it.value.to_str().to_owned()),
            Expr::FString(it) => self.formatted(it),
            Expr::BinOp(it) if it.op == Operator::Add => {
                match (self.value(&it.left)?, self.value(&it.right)?) {
                    (Value::Text(left), Value::Text(right)) => Value::text(left + &right),
                    _ => None,
                }
            }
            Expr::Attribute(it) => self.value(&it.value)?.member(&it.attr.id),
            Expr::Subscript(it) => self.item(&self.value(&it.value)?, &self.text(&it.slice)?),
            Expr::Call(it) => self.result(&self.callee(it)),
            Expr::Named(it) => self.value(&it.value),
            Expr::Await(it) => self.value(&it.value),
            Expr::If(it) => self.either([&*it.body, &*it.orelse]),
            Expr::BoolOp(it) => self.either(&it.values),
            _ => None,
        }
    }

    /// A constant text, however it is spelled.
    pub(super) fn text(&self, expression: &Expr) -> Option<String> {
        match self.value(expression)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a call calls. Its parts are evaluated once each: otherwise chains of calls would take exponential
    /// time.
    pub(super) fn callee<'e>(&self, call: &'e ExprCall) -> Callee<'e> {
        match &*call.func {
            Expr::Attribute(it) => {
                let object = self.value(&it.value);
                let function = object.as_ref().and_then(|object| object.member(&it.attr.id));
                Callee { call, function, method: Some(it.attr.id.as_str()), object }
            }
            other => Callee { call, function: self.value(other), method: None, object: None },
        }
    }

    /// The module that a call imports: `Some(None)` if its name is only known at run time.
    pub(super) fn imported(&self, callee: &Callee<'_>) -> Option<Option<String>> {
        let is_import = matches!(
            callee.path()?,
            "builtins.__import__" | "importlib.__import__" | "importlib.import_module"
        );
        let arguments = &callee.call.arguments;
        is_import.then(|| arguments.find_argument_value("name", 0).and_then(|name| self.text(name)))
    }

    /// The object and the name that a call looks up in it: `getattr(os, "system")`, `vars(os).get("system")`.
    pub(super) fn looked_up<'e>(&self, callee: &Callee<'e>) -> Option<(Value, &'e Expr)> {
        let arguments = &callee.call.arguments.args[..];
        if callee.path() == Some("builtins.getattr") {
            let [object, name, ..] = arguments else { return None };
            return Some((self.value(object).unwrap_or(Value::Own), name));
        }
        let object = callee.object.as_ref()?;
        let by_name = match callee.method? {
            "get" | "pop" | "setdefault" | "__getitem__" => object.is_dictionary(),
            "__getattribute__" => true,
            _ => false,
        };
        by_name.then(|| arguments.first().map(|name| (object.clone(), name)))?
    }

    /// Binds a target of an assignment, name by name where both sides show them.
    pub(super) fn assign(&mut self, target: &'a Expr, value: Option<&'a Expr>) {
        match target {
            Expr::Name(it) => {
                let value = value.and_then(|value| self.value(value));
                self.names.bind(it.id.as_str(), value);
            }
            Expr::Tuple(_) | Expr::List(_) => {
                let targets = elements(target);
                let values = value.map(elements).filter(|values| values.len() == targets.len());
                for (index, target) in targets.iter().enumerate() {
                    self.assign(target, values.and_then(|values| values.get(index)));
                }
            }
            Expr::Starred(it) => self.assign(&it.value, None),
            _ => {}
        }
    }

    fn item(&self, object: &Value, key: &str) -> Option<Value> {
        match object {
            Value::Globals => Some(self.lookup(key)),
            other => other.item(key),
        }
    }

    fn result(&self, callee: &Callee<'_>) -> Option<Value> {
        if let Some(module) = self.imported(callee) {
            return module.map(Value::Path);
        }
        if let Some((object, name)) = self.looked_up(callee) {
            let name = self.text(name)?;
            return self.item(&object, &name).or_else(|| object.member(&name));
        }
        let first = callee.call.arguments.args.first();
        if let (Some("join"), Some(Value::Text(separator))) = (callee.method, &callee.object) {
            let parts: Option<Vec<String>> = elements(first?).iter().map(|part| self.text(part)).collect();
            return parts
                .filter(|parts| !parts.is_empty())
                .and_then(|parts| Value::text(parts.join(separator)));
        }
        match (callee.path()?, first) {
            ("builtins.vars", Some(object)) => match self.value(object)? {
                Value::Path(path) => Some(Value::Namespace(path)),
                _ => None,
            },
            ("builtins.vars" | "builtins.globals" | "builtins.locals", None) => Some(Value::Globals),
            _ => None,
        }
    }

    fn formatted(&self, it: &ruff_python_ast::ExprFString) -> Option<Value> {
        let mut text = String::new();
        for part in &it.value {
            match part {
                FStringPart::Literal(literal) => text.push_str(literal.as_str()),
                FStringPart::FString(formatted) => {
                    for element in &formatted.elements {
                        match element {
                            InterpolatedStringElement::Literal(literal) => text.push_str(&literal.value),
                            InterpolatedStringElement::Interpolation(inner)
                                if inner.format_spec.is_none() =>
                            {
                                text.push_str(&self.text(&inner.expression)?);
                            }
                            InterpolatedStringElement::Interpolation(_) => return None,
                        }
                    }
                }
            }
        }
        Value::text(text)
    }

    fn either<'e>(&self, choices: impl IntoIterator<Item = &'e Expr>) -> Option<Value> {
        choices.into_iter().find_map(|choice| self.value(choice).filter(|value| *value != Value::Own))
    }
}

/// A call, with what its function stands for and, for a method, the method's object.
#[derive(Debug)]
pub(super) struct Callee<'e> {
    call: &'e ExprCall,
    function: Option<Value>,
    method: Option<&'e str>,
    object: Option<Value>,
}

impl Callee<'_> {
    fn path(&self) -> Option<&str> {
        match &self.function {
            Some(Value::Path(path)) => Some(path),
            _ => None,
        }
    }
}

/// The elements of a list or tuple that is written out.
pub(super) fn elements(expression: &Expr) -> &[Expr] {
    match expression {
        Expr::Tuple(it) => &it.elts,
        Expr::List(it) => &it.elts,
        _ => &[],
    }
}
