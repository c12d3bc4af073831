//! Reads the string form of signatures and types, with errors that point at the offending text.

use std::str::FromStr;

use super::{
    field::{self, Field, FieldType, RecordField, check_new_name},
    suggest::nearest,
    task::TaskSignature,
};
use crate::{
    error::{Error, ErrorKind},
    names::{NameUse, ticked},
    value::{Dialect, Reader, Value},
};

#[cfg(test)]
mod tests;

impl FromStr for TaskSignature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (inputs, outputs) =
            Parser::new(text).signature().map_err(|problem| problem.in_text("signature", text))?;
        Self::new(inputs, outputs)
    }
}

impl TryFrom<&str> for TaskSignature {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for FieldType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Parser::new(text).only_type().map_err(|problem| problem.in_text("type", text))
    }
}

/// How deep types may be nested.
const MAX_DEPTH: usize = 32;

/// The types there are, for messages.
const TYPES: &[&str] = &[
    "str",
    "int",
    "float",
    "bool",
    "list",
    "dict",
    "tuple",
    "set",
    "Literal",
    "Optional",
    "Union",
    "Any",
    "None",
    "bytes",
    "date",
    "time",
    "datetime",
    "timedelta",
    "Decimal",
];

/// Names of types in other languages, and Python's names for them.
const FOREIGN: &[(&str, &str)] = &[
    ("array", "list"),
    ("boolean", "bool"),
    ("char", "str"),
    ("dictionary", "dict"),
    ("decimal", "Decimal"),
    ("double", "float"),
    ("duration", "timedelta"),
    ("enum", "Literal"),
    ("f64", "float"),
    ("hashmap", "dict"),
    ("i64", "int"),
    ("integer", "int"),
    ("json", "dict"),
    ("long", "int"),
    ("map", "dict"),
    ("null", "None"),
    ("number", "float"),
    ("option", "Optional"),
    ("sequence", "list"),
    ("string", "str"),
    ("text", "str"),
    ("timestamp", "datetime"),
    ("u64", "int"),
    ("vec", "list"),
];

/// What is wrong, and the byte offset of it.
#[derive(Debug)]
struct Problem {
    at: usize,
    message: String,
}

impl Problem {
    /// The error about `text`, which is a signature or a type. `Debug` draws a caret under the place.
    fn in_text(self, what: &str, text: &str) -> Error {
        let (before, after) = text.split_at_checked(self.at).unwrap_or((text, ""));
        let shown: String =
            text.chars().take(200).map(|char| if char.is_control() { ' ' } else { char }).collect();
        let dots = if text.chars().nth(200).is_some() { "..." } else { "" };
        let at = before.chars().count();
        let head = before.rsplit('\n').next().unwrap_or_default();
        let tail = after.split('\n').next().unwrap_or_default();
        let caret = format!("\n    {head}{tail}\n    {}^", " ".repeat(head.chars().count()));
        let message = format!("{what} \"{shown}{dots}\": at {at}: {}", self.message);
        Error::new(ErrorKind::Signature, message).with("here", caret)
    }
}

type Result<T, E = Problem> = std::result::Result<T, E>;

/// A recursive reader with a limit on depth.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The inputs and the outputs of `inputs -> outputs`.
    fn signature(mut self) -> Result<(Vec<Field>, Vec<Field>)> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        while !self.take("->") {
            self.at_end("`->` and the outputs after the inputs, as in `docs -> answer`")?;
            let field = self.field(NameUse::Input, &inputs, &outputs)?;
            inputs.push(field);
            if !self.take(",") && !self.rest().starts_with("->") {
                return self.unexpected("`,` or `->`");
            }
        }
        loop {
            if self.rest().is_empty() && !outputs.is_empty() {
                return Ok((inputs, outputs));
            }
            self.at_end("at least one output after `->`")?;
            let field = self.field(NameUse::Output, &inputs, &outputs)?;
            outputs.push(field);
            if !self.take(",") && !self.rest().is_empty() {
                return self.unexpected("`,` or the end");
            }
        }
    }

    /// The one type that the text consists of.
    fn only_type(mut self) -> Result<FieldType> {
        let ty = self.union()?;
        if self.rest().is_empty() { Ok(ty) } else { self.unexpected("`|` or the end") }
    }

    fn field(&mut self, usage: NameUse, inputs: &[Field], outputs: &[Field]) -> Result<Field> {
        let rest = self.rest();
        let start = self.at;
        let stop = |char: char| char.is_whitespace() || matches!(char, ',' | ':' | '[' | '=');
        let end = rest.find(stop).unwrap_or(rest.len());
        let name = rest[..end].split("->").next().unwrap_or_default();
        if name.is_empty() {
            return self.unexpected(&format!("the name of an {usage}"));
        }
        check_new_name(name, usage, inputs, outputs).map_err(|message| Problem { at: start, message })?;
        self.at += name.len();
        if self.take(":") { Ok(Field::new(name, self.union()?)) } else { Ok(Field::untyped(name)) }
    }

    /// `A | B | C`.
    fn union(&mut self) -> Result<FieldType> {
        let mut members = vec![self.member()?];
        while self.take("|") {
            members.push(self.member()?);
        }
        Ok(FieldType::union(members))
    }

    /// `{'name': str, 'zip': NotRequired[str]}`.
    fn record(&mut self) -> Result<FieldType> {
        self.take("{");
        self.deeper()?;
        let mut fields: Vec<RecordField> = Vec::new();
        while !self.take("}") {
            self.rest();
            let start = self.at;
            let name = match self.rest().starts_with(['"', '\'']) {
                true => self.string()?,
                false => return self.unexpected("a key in quotes, as in `{'name': str}`"),
            };
            if fields.iter().any(|field| field.name == name) {
                return Err(Problem { at: start, message: format!("the key {} comes twice", ticked(&name)) });
            }
            if !self.take(":") {
                return self.unexpected("`:` and the type of the key's value");
            }
            let optional = self.take("NotRequired[");
            let ty = self.union()?;
            if optional && !self.take("]") {
                return self.unexpected("`]` after the type in `NotRequired[...]`");
            }
            fields.push(RecordField { name, ty, required: !optional });
            if !self.take(",") && !self.rest().starts_with('}') {
                return self.unexpected("`,` or `}`");
            }
        }
        self.depth -= 1;
        Ok(match fields.is_empty() {
            true => FieldType::dict(FieldType::Any, FieldType::Any),
            false => FieldType::Record(fields),
        })
    }

    fn member(&mut self) -> Result<FieldType> {
        let rest = self.rest();
        if rest.starts_with('{') {
            return self.record();
        }
        let start = self.at;
        let end = rest
            .find(|char: char| !char.is_alphanumeric() && char != '_' && char != '.')
            .unwrap_or(rest.len());
        let full = &rest[..end];
        if full.is_empty() {
            return self.unexpected("a type");
        }
        self.at += end;
        let name = ["typing.", "typing_extensions.", "builtins.", "datetime.", "decimal."]
            .iter()
            .find_map(|module| full.strip_prefix(module))
            .unwrap_or(full);
        let any = || Box::new(FieldType::Any);
        let ty = match name {
            "str" => FieldType::Str,
            "int" => FieldType::Int,
            "float" => FieldType::Float,
            "bool" => FieldType::Bool,
            "bytes" => FieldType::Bytes,
            "None" | "NoneType" => FieldType::None,
            "Any" | "object" => FieldType::Any,
            "date" => FieldType::Date,
            "time" => FieldType::Time,
            "datetime" => FieldType::Datetime,
            "timedelta" => FieldType::Timedelta,
            "Decimal" => FieldType::Decimal,
            "list" | "List" => FieldType::List(self.parameter(name)?.unwrap_or_else(any)),
            "set" | "Set" | "frozenset" | "FrozenSet" => {
                FieldType::Set(self.parameter(name)?.unwrap_or_else(any))
            }
            "dict" | "Dict" => self.dict(name)?,
            "tuple" | "Tuple" => self.tuple()?,
            "Optional" => match self.parameter(name)? {
                Some(inner) => inner.optional(),
                None => return self.unexpected("`[` and a type after `Optional`"),
            },
            "Union" => match self.parameters()? {
                Some(members) if !members.is_empty() => FieldType::union(members),
                _ => return self.unexpected("`[` and types after `Union`"),
            },
            "Literal" => self.literal()?,
            _ => return Err(unknown(start, full)),
        };
        if self.rest().starts_with('[') {
            return Err(Problem { at: self.at, message: format!("`{full}` takes no more `[...]`") });
        }
        Ok(ty)
    }

    /// `[A, B]`, if it comes next.
    fn parameters(&mut self) -> Result<Option<Vec<FieldType>>> {
        if !self.take("[") {
            return Ok(None);
        }
        self.deeper()?;
        let mut types = Vec::new();
        while !self.take("]") {
            types.push(self.union()?);
            if !self.take(",") && !self.rest().starts_with(']') {
                return self.unexpected("`,` or `]`");
            }
        }
        self.depth -= 1;
        Ok(Some(types))
    }

    fn parameter(&mut self, name: &str) -> Result<Option<Box<FieldType>>> {
        self.rest();
        let start = self.at;
        let Some(types) = self.parameters()? else { return Ok(None) };
        match <[FieldType; 1]>::try_from(types) {
            Ok([ty]) => Ok(Some(Box::new(ty))),
            Err(types) => {
                Err(Problem { at: start, message: format!("`{name}` takes one type, not {}", types.len()) })
            }
        }
    }

    fn dict(&mut self, name: &str) -> Result<FieldType> {
        self.rest();
        let start = self.at;
        let Some(types) = self.parameters()? else {
            return Ok(FieldType::dict(FieldType::Any, FieldType::Any));
        };
        match <[FieldType; 2]>::try_from(types) {
            Ok([key, value]) => Ok(FieldType::dict(key, value)),
            Err(types) => Err(Problem {
                at: start,
                message: format!("`{name}` takes two types, of keys and of values, not {}", types.len()),
            }),
        }
    }

    /// `tuple`, `tuple[()]`, `tuple[A, B]` or `tuple[A, ...]`.
    fn tuple(&mut self) -> Result<FieldType> {
        if !self.take("[") {
            return Ok(FieldType::TupleOf(Box::new(FieldType::Any)));
        }
        self.deeper()?;
        let mut types = Vec::new();
        if self.take("(") {
            if !self.take(")") || !self.take("]") {
                return self.unexpected("`)]`, as in `tuple[()]`");
            }
            self.depth -= 1;
            return Ok(FieldType::Tuple(types));
        }
        while !self.take("]") {
            if types.len() == 1 && self.take("...") {
                if !self.take("]") {
                    return self.unexpected("`]` after `...`");
                }
                self.depth -= 1;
                return Ok(FieldType::TupleOf(Box::new(types.swap_remove(0))));
            }
            types.push(self.union()?);
            if !self.take(",") && !self.rest().starts_with(']') {
                return self.unexpected("`,` or `]`");
            }
        }
        self.depth -= 1;
        Ok(FieldType::Tuple(types))
    }

    fn literal(&mut self) -> Result<FieldType> {
        let start = self.at;
        if !self.take("[") {
            return self.unexpected("`[` and the options after `Literal`");
        }
        let mut options = Vec::new();
        while !self.take("]") {
            options.push(self.option()?);
            if !self.take(",") && !self.rest().starts_with(']') {
                return self.unexpected("`,` or `]`");
            }
        }
        field::literal(options).map_err(|message| Problem { at: start, message })
    }

    /// One option of a `Literal`.
    fn option(&mut self) -> Result<Value> {
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            return self.string().map(Value::from);
        }
        let end =
            rest.find(|char: char| !char.is_alphanumeric() && !"+-._".contains(char)).unwrap_or(rest.len());
        let value = match &rest[..end] {
            "None" => Some(Value::None),
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            word => Value::int_from_decimal(word),
        };
        match value {
            Some(value) => {
                self.at += end;
                Ok(value)
            }
            None => self.unexpected("a text in quotes, an int, True, False or None"),
        }
    }

    /// A text in quotes.
    fn string(&mut self) -> Result<String> {
        let mut reader = Reader::new(self.text, self.at, Dialect::Python);
        let text = reader.string().map_err(|problem| Problem { at: problem.at, message: problem.message })?;
        self.at = reader.position();
        Ok(text)
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("types are nested deeper than {MAX_DEPTH} levels");
            return Err(Problem { at: self.at, message });
        }
        Ok(())
    }

    /// What is left, without leading white space.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Fails at the end of the text.
    fn at_end(&mut self, expected: &str) -> Result<()> {
        if self.rest().is_empty() { self.unexpected(expected) } else { Ok(()) }
    }

    fn unexpected<T>(&mut self, expected: &str) -> Result<T> {
        let rest = self.rest();
        let found = if rest.is_empty() {
            "the end".to_owned()
        } else if rest.starts_with("->") {
            "`->`".to_owned()
        } else {
            let word = rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').count();
            ticked(&rest.chars().take(word.max(1)).collect::<String>())
        };
        let hint = match rest.as_bytes() {
            [b'=', ..] => "; a field has no default",
            _ => "",
        };
        Err(Problem { at: self.at, message: format!("expected {expected}, found {found}{hint}") })
    }
}

fn unknown(at: usize, name: &str) -> Problem {
    let lower = name.to_lowercase();
    let near = match FOREIGN.iter().find(|(foreign, _)| *foreign == lower) {
        Some((_, python)) => Some(*python),
        None => nearest(name, TYPES.iter().copied()),
    };
    let expected = match near {
        Some(near) => format!(", did you mean `{near}`? Expected"),
        None => "; expected".to_owned(),
    };
    Problem { at, message: format!("unknown type {}{expected} one of {}", ticked(name), TYPES.join(", ")) }
}
