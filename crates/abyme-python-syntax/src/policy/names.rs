//! The names of a cell and what they stand for, scope by scope, in the order of the text.

use std::collections::{BTreeSet, HashMap, HashSet};

/// The scopes that are open at one place, the module's first.
#[derive(Debug)]
pub(super) struct Names<'a> {
    scopes: Vec<Scope<'a>>,
    /// How many statements that may not run enclose this place.
    pub(super) conditional: usize,
}

#[derive(Debug, Default)]
struct Scope<'a> {
    bound: HashMap<&'a str, Value>,
    global: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn new() -> Self {
        Self { scopes: vec![Scope::default()], conditional: 0 }
    }

    pub(super) fn enter(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub(super) fn leave(&mut self) {
        self.scopes.pop();
    }

    pub(super) fn bind(&mut self, name: &'a str, value: Option<Value>) {
        let value = value.unwrap_or(Value::Own);
        // A binding that may not run keeps what the name stood for before.
        if self.conditional > 0 && value == Value::Own && self.scopes.len() == 1 && self.is_special(name) {
            return;
        }
        if let Some(scope) = self.scope(name) {
            scope.bound.insert(name, value);
        }
    }

    pub(super) fn unbind(&mut self, name: &'a str) {
        if let Some(scope) = self.scope(name) {
            scope.bound.remove(name);
        }
    }

    pub(super) fn declare_global(&mut self, name: &'a str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.global.insert(name);
        }
    }

    /// What `name` stands for. One that nothing binds is a built-in, or left over from an earlier cell: then
    /// it is taken to mean the module or built-in of that name. One of `denied` is a built-in.
    pub(super) fn lookup(&self, name: &str, denied: &BTreeSet<String>) -> Value {
        match self.scopes.iter().rev().find_map(|scope| scope.bound.get(name)) {
            Some(value) => value.clone(),
            None if name == "__builtins__" => Value::Path(BUILTINS.to_owned()),
            None if denied.contains(name) || LOOKUPS.contains(&name) => {
                Value::Path(format!("{BUILTINS}.{name}"))
            }
            None => Value::Path(name.to_owned()),
        }
    }

    fn is_special(&self, name: &str) -> bool {
        let bound = self.scopes.iter().rev().find_map(|scope| scope.bound.get(name));
        bound.is_none_or(|value| *value != Value::Own)
    }

    fn scope(&mut self, name: &str) -> Option<&mut Scope<'a>> {
        let is_global = self.scopes.last().is_some_and(|scope| scope.global.contains(name));
        if is_global { self.scopes.first_mut() } else { self.scopes.last_mut() }
    }
}

/// Built-ins that answer members by name.
const LOOKUPS: &[&str] = &["getattr", "vars", "globals", "locals", "__import__"];

/// What a name or an expression is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A module or something in it, by its full name: `os`, `os.system`, `builtins.open`.
    Path(String),
    /// A constant text.
    Text(String),
    /// The dictionary of a module.
    Namespace(String),
    /// The dictionary of the cell's own names.
    Globals,
    /// Something of the cell's own.
    Own,
}

impl Value {
    /// A text, unless it is too long to be anybody's name: repeated doubling must not fill memory.
    pub(super) fn text(text: String) -> Option<Self> {
        (text.len() <= LONGEST).then_some(Self::Text(text))
    }

    /// The member of this value called `name`, as an attribute or, in a module's dictionary, as an item.
    pub(super) fn member(&self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Path(_), "__builtins__") => Some(Self::Path(BUILTINS.to_owned())),
            (Self::Path(path), "__dict__") => Some(Self::Namespace(path.clone())),
            (Self::Path(path), _) if path.len() + name.len() < LONGEST => {
                Some(Self::Path(format!("{path}.{name}")))
            }
            _ => None,
        }
    }

    /// Whether its items are looked up by name.
    pub(super) fn is_dictionary(&self) -> bool {
        match self {
            Self::Namespace(_) | Self::Globals => true,
            Self::Path(path) => path == BUILTINS || path == "sys.modules",
            Self::Text(_) | Self::Own => false,
        }
    }

    /// The item of this value under `key`. The built-ins are a module in one place and a dictionary in
    /// another.
    pub(super) fn item(&self, key: &str) -> Option<Self> {
        match self {
            Self::Namespace(path) => Self::Path(path.clone()).member(key),
            Self::Path(path) if path == BUILTINS => self.member(key),
            Self::Path(path) if path == "sys.modules" => Some(Self::Path(key.to_owned())),
            _ => None,
        }
    }
}

/// The module of built-ins.
pub(super) const BUILTINS: &str = "builtins";

const LONGEST: usize = 1024;
