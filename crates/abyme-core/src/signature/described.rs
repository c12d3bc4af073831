//! Types in Python's words from JSON Schema, as `schemars` writes it for Rust types and people write it for
//! tools, with all that a schema says about them in words.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{
    constraint::{Constraint, WITH_OFFSET},
    field::{Check, Field, FieldType, RecordField},
    scalar::DECIMAL_PATTERNS,
};
use crate::{
    error::{Error, ErrorKind, Result},
    value::{Value, text_repr},
};

/// A type, and what its schema says about it in words: descriptions, limits and the meaning of options, here
/// and inside.
///
/// ```
/// use abyme_core::signature::DescribedType;
///
/// #[derive(schemars::JsonSchema)]
/// struct Address {
///     /// Street and number
///     street: String,
///     zip: Option<String>,
/// }
///
/// let described = DescribedType::of::<Vec<Address>>("homes");
/// assert_eq!(described.ty.to_string(), "list[{'street': str, 'zip': NotRequired[str | None]}]");
/// assert_eq!(described.notes, ["homes[...]['street']: Street and number"]);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DescribedType {
    /// The type. A type that contains itself is `Any` where it comes again, and a note says what it is there.
    pub ty: FieldType,
    /// What the schema says of the whole.
    pub description: Option<String>,
    /// What it says of the parts: a Python path from the name that the whole has, and a text.
    pub notes: Vec<String>,
}

impl DescribedType {
    /// The type of a variable called `name` that holds a `T`, as `serde` reads it.
    pub fn of<T: JsonSchema>(name: &str) -> Self {
        let schema = schemars::schema_for!(T);
        Self::read(SchemaReader::of_rust(schema.as_value()), schema.as_value(), name)
    }

    /// The type of a variable called `name` that `schema` describes. References lead into `root`. What JSON
    /// Schema can say and Python's types cannot is `Any`.
    pub fn from_schema(name: &str, schema: &Json, root: &Json) -> Self {
        Self::read(SchemaReader::new(root), schema, name)
    }

    fn read(mut reader: SchemaReader<'_>, schema: &Json, name: &str) -> Self {
        let (ty, description) = reader.read(schema, name);
        Self { description: said(description, &ty), ty, notes: reader.notes }
    }

    /// The type of a variable called `name` that somebody writes at run time, in one of three ways:
    ///
    /// - a Python annotation in a text: `"list[str]"`;
    /// - a JSON Schema: a dict whose `type` is one of JSON Schema's, or that has `$ref`, `anyOf`, `oneOf`,
    ///   `allOf`, `enum`, or `properties` or `items` that are schemas;
    /// - a dict of types, each in one of these ways, or a list of one type: `{"tags": ["str"]}`. A
    ///   key whose type is `NotRequired[...]` need not be there.
    ///
    /// Bring a value to it with [`FieldType::coerce`], which gives errors with the place inside; its
    /// [`json_schema`](FieldType::json_schema) is for a provider that takes one.
    ///
    /// ```
    /// use abyme_core::{Value, signature::DescribedType};
    ///
    /// let types = Value::dict([("name", "str"), ("lines", "int")]);
    /// let described = DescribedType::parse("reply", &Value::list([types]))?;
    /// assert_eq!(described.ty.to_string(), "list[{'name': str, 'lines': int}]");
    ///
    /// let schema = r#"{"type": "array", "items": {"type": "string", "minLength": 1}}"#;
    /// let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    /// let described = DescribedType::parse("reply", &schema.into())?;
    /// assert_eq!(described.ty.to_string(), "list[str]");
    /// assert_eq!(described.notes, ["reply[...]: not empty"]);
    /// let error = described.ty.coerce(Value::list(["a", ""])).unwrap_err();
    /// assert_eq!(error.to_string(), "at [1]: expected str (not empty), got str ''; that is 0");
    ///
    /// let error = DescribedType::parse("reply", &"lst[str]".into()).unwrap_err();
    /// assert!(error.to_string().contains("did you mean `list`?"));
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if it is no type, saying what is wrong and where.
    pub fn parse(name: &str, given: &Value) -> Result<Self> {
        let invalid = |message: String| Error::new(ErrorKind::Signature, message);
        let described = match given {
            Value::Text(text) => Self { ty: text.parse()?, description: None, notes: Vec::new() },
            Value::None => Self { ty: FieldType::None, description: None, notes: Vec::new() },
            Value::List(items) => match items.as_slice() {
                [item] => {
                    let item = Self::parse(&format!("{name}[...]"), item)?;
                    let notes = item.description.map(|text| format!("{name}[...]: {text}"));
                    let notes = notes.into_iter().chain(item.notes).collect();
                    Self { ty: FieldType::list(item.ty), description: None, notes }
                }
                _ => {
                    let count = items.len();
                    return Err(invalid(format!(
                        "`{name}`: a list of a type has one item, not {count}: `[\"str\"]`"
                    )));
                }
            },
            Value::Dict(entries) => match given.to_json() {
                json if is_schema(&json) => {
                    let mut reader = SchemaReader::new(&json);
                    let (ty, description) = reader.read(&json, name);
                    if let Some(problem) = reader.problems.into_iter().next() {
                        return Err(invalid(problem));
                    }
                    Self { description: said(description, &ty), ty, notes: reader.notes }
                }
                _ => {
                    let (mut fields, mut notes) = (Vec::new(), Vec::new());
                    for (key, ty) in entries {
                        let path = format!("{name}[{}]", text_repr(key, usize::MAX));
                        let optional = not_required(ty);
                        let part = Self::parse(&path, optional.as_ref().unwrap_or(ty))?;
                        notes.extend(part.description.map(|text| format!("{path}: {text}")));
                        notes.extend(part.notes);
                        fields.push(RecordField {
                            name: key.clone(),
                            ty: part.ty,
                            required: optional.is_none(),
                        });
                    }
                    let ty = match fields.is_empty() {
                        true => FieldType::dict(FieldType::Any, FieldType::Any),
                        false => FieldType::Record(fields),
                    };
                    Self { ty, description: None, notes }
                }
            },
            other => {
                let got = format!("{} {}", other.type_name(), other.repr(60));
                return Err(invalid(format!(
                    "`{name}`: {got} is no type: give a type such as `list[str]`, a dict of types, or a JSON \
                     Schema"
                )));
            }
        };
        let ty = described.ty.normalized().map_err(|problem| invalid(format!("`{name}`: {problem}")))?;
        Ok(Self { ty, ..described })
    }
}

/// The types of JSON Schema.
const JSON_TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "null", "array", "object"];

/// `T` of the text `NotRequired[T]`.
fn not_required(ty: &Value) -> Option<Value> {
    ty.as_text()?.strip_prefix("NotRequired[")?.strip_suffix(']').map(Value::from)
}

/// Whether this is a JSON Schema, and not a dict of types.
fn is_schema(json: &Json) -> bool {
    let Some(schema) = json.as_object() else { return false };
    let is_type = |name: &Json| name.as_str().is_some_and(|name| JSON_TYPES.contains(&name));
    schema.iter().any(|(keyword, value)| match (keyword.as_str(), value) {
        ("type", Json::Array(names)) => !names.is_empty() && names.iter().all(is_type),
        ("type", name) => is_type(name),
        ("$ref" | "$schema", Json::String(_)) => true,
        ("anyOf" | "oneOf" | "allOf", Json::Array(choices)) => choices.iter().all(is_schema),
        ("enum", Json::Array(_)) => true,
        ("properties", Json::Object(properties)) => {
            !properties.is_empty() && properties.values().all(is_schema)
        }
        ("items", items) => is_schema(items),
        _ => false,
    })
}

/// What a schema says, with the limits in words.
fn said(description: Option<String>, ty: &FieldType) -> Option<String> {
    let words: Vec<_> = description.into_iter().chain(ty.limits()).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

impl FieldType {
    /// The shape of a Rust type, as `serde` reads it.
    ///
    /// ```
    /// use abyme_core::signature::FieldType;
    ///
    /// #[derive(schemars::JsonSchema)]
    /// #[serde(rename_all = "lowercase")]
    /// enum Level { Low, High }
    ///
    /// let ty = FieldType::of::<std::collections::BTreeMap<String, Level>>();
    /// assert_eq!(ty.to_string(), "dict[str, Literal['low', 'high']]");
    /// ```
    pub fn of<T: JsonSchema>() -> Self {
        DescribedType::of::<T>("value").ty
    }
}

impl Field {
    /// A field that holds a `T`. The model is shown the shape of `T` and its doc comments; a submission that
    /// `serde` cannot read as a `T` goes back to the model.
    ///
    /// ```
    /// use abyme_core::signature::Field;
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Module {
    ///     /// As `import` takes it
    ///     name: String,
    ///     lines: u32,
    /// }
    ///
    /// let field = Field::of::<Vec<Module>>("modules").with_description("All modules");
    /// assert_eq!(field.to_string(), "modules: list[{'name': str, 'lines': int}]");
    /// assert_eq!(field.description(), Some("All modules; modules[...]['name']: As `import` takes it"));
    /// ```
    pub fn of<T: DeserializeOwned + JsonSchema>(name: impl Into<String>) -> Self {
        Self::untyped(name).typed::<T>()
    }

    pub(super) fn typed<T: DeserializeOwned + JsonSchema>(self) -> Self {
        self.shaped::<T>(Some(Check::reads::<T>()))
    }

    /// An input that a Rust program gives as a `T`. The model is shown the shape of `T`, and the value goes
    /// in as it is, dates and decimals as Python's own objects.
    pub fn input_of<T: JsonSchema>(name: impl Into<String>) -> Self {
        Self::untyped(name).shaped::<T>(None)
    }

    fn shaped<T: JsonSchema>(self, check: Option<Check>) -> Self {
        let schema = schemars::schema_for!(T);
        let mut reader = SchemaReader::of_rust(schema.as_value());
        let (ty, description) = reader.read(schema.as_value(), self.name());
        self.with_shape(ty, description, reader.notes, check)
    }
}

/// The keywords of a schema, with those of all schemas that it refers to.
pub(crate) fn merged(schema: &Json, root: &Json) -> Map<String, Json> {
    SchemaReader::new(root).merged(schema).0
}

struct SchemaReader<'a> {
    root: &'a Json,
    /// The references that are being read, and where in the value: a type may contain itself.
    open: Vec<(String, String)>,
    notes: Vec<String>,
    /// What cannot be in a schema.
    problems: Vec<String>,
    /// Whether the schema is that of a Rust type, whose reader takes `date-time` as RFC 3339 has it.
    is_rust: bool,
}

impl<'a> SchemaReader<'a> {
    fn new(root: &'a Json) -> Self {
        Self { root, open: Vec::new(), notes: Vec::new(), problems: Vec::new(), is_rust: false }
    }

    /// The reader of the schema that `schemars` made of a Rust type.
    fn of_rust(root: &'a Json) -> Self {
        Self { is_rust: true, ..Self::new(root) }
    }

    fn note(&mut self, path: &str, text: impl Display) {
        self.notes.push(format!("{path}: {text}"));
    }

    /// The type of the value at `path`. Gives what the schema says about it.
    fn read(&mut self, schema: &Json, path: &str) -> (FieldType, Option<String>) {
        let (schema, references) = self.merged(schema);
        let unknown = |reference: &&String| self.target(reference).is_none();
        if let Some(reference) = references.iter().find(unknown) {
            self.problems.push(format!("`{path}`: the schema has nothing at {reference:?}"));
        }
        if let Some((_, before)) = self.open.iter().find(|(open, _)| references.contains(open)) {
            let before = before.clone();
            self.note(path, format_args!("what `{before}` is, again"));
            return (FieldType::Any, None);
        }
        let depth = self.open.len();
        self.open.extend(references.into_iter().map(|reference| (reference, path.to_owned())));
        let description = schema.get("description").and_then(Json::as_str).map(one_line);
        let ty = self.convert(&schema, path);
        self.open.truncate(depth);
        // Others than Rust write `date-time` for whatever date and time.
        let is_meant = |one: &Constraint| {
            self.is_rust || !matches!(one, Constraint::Format(name) if *name == WITH_OFFSET)
        };
        let constraints = Constraint::of_schema(&schema).into_iter();
        let constraints = constraints.filter(|one| ty.takes(one) && is_meant(one)).collect();
        (ty.constrained(constraints), description.filter(|text| !text.is_empty()))
    }

    /// The same, with what the schema says as a note.
    fn read_part(&mut self, schema: &Json, path: &str) -> FieldType {
        let at = self.notes.len();
        let (ty, description) = self.read(schema, path);
        if let Some(text) = said(description, &ty) {
            self.notes.insert(at, format!("{path}: {text}"));
        }
        ty
    }

    /// The schema with all that its `$ref` and `allOf` say, and those references.
    fn merged(&self, schema: &Json) -> (Map<String, Json>, Vec<String>) {
        let (mut merged, mut references) = (Map::new(), Vec::new());
        self.merge_into(&mut merged, schema, &mut references);
        (merged, references)
    }

    fn merge_into(&self, into: &mut Map<String, Json>, schema: &Json, references: &mut Vec<String>) {
        let Some(schema) = schema.as_object() else { return };
        if let Some(reference) = schema.get("$ref").and_then(Json::as_str)
            && !references.iter().any(|known| known == reference)
        {
            references.push(reference.to_owned());
            if let Some(target) = self.target(reference) {
                self.merge_into(into, target, references);
            }
        }
        for part in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.merge_into(into, part, references);
        }
        for (keyword, value) in schema {
            match (keyword.as_str(), into.get_mut(keyword), value) {
                ("$ref" | "allOf" | "$defs" | "definitions", ..) => {}
                ("properties", Some(Json::Object(known)), Json::Object(more)) => {
                    known.extend(more.iter().map(|(name, schema)| (name.clone(), schema.clone())));
                }
                ("required", Some(Json::Array(known)), Json::Array(more)) => {
                    known.extend(more.iter().cloned())
                }
                _ => drop(into.insert(keyword.clone(), value.clone())),
            }
        }
    }

    fn target(&self, reference: &str) -> Option<&'a Json> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    fn convert(&mut self, schema: &Map<String, Json>, path: &str) -> FieldType {
        if let Some(option) = schema.get("const") {
            return options([option]);
        }
        if let Some(values) = schema.get("enum").and_then(Json::as_array) {
            return options(values);
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(choices) = schema.get(keyword).and_then(Json::as_array) {
                return self.choices(schema, keyword, choices, path);
            }
        }
        let pattern = schema.get("pattern").and_then(Json::as_str);
        if pattern.is_some_and(|pattern| DECIMAL_PATTERNS.contains(&pattern)) {
            let names = schema.get("type").and_then(Json::as_array);
            let may_be_none = names.is_some_and(|names| names.iter().any(|name| name == "null"));
            return if may_be_none { FieldType::Decimal.optional() } else { FieldType::Decimal };
        }
        match schema.get("type") {
            Some(Json::Array(names)) => {
                let names: Vec<_> = names.iter().filter_map(Json::as_str).collect();
                FieldType::union(names.into_iter().map(|name| self.simple(name, schema, path)))
            }
            Some(Json::String(name)) => self.simple(name, schema, path),
            _ if schema.contains_key("properties") => self.simple("object", schema, path),
            _ if schema.contains_key("items") || schema.contains_key("prefixItems") => {
                self.simple("array", schema, path)
            }
            _ => FieldType::Any,
        }
    }

    /// One of several types. What the schema says beside them holds for each.
    fn choices(
        &mut self,
        schema: &Map<String, Json>,
        keyword: &str,
        choices: &[Json],
        path: &str,
    ) -> FieldType {
        let mut base = schema.clone();
        for word in [keyword, "description", "title", "default"] {
            base.remove(word);
        }
        let mut types = Vec::new();
        let mut literals = Vec::new();
        for choice in choices {
            let choice = match base.contains_key("properties") {
                true => serde_json::json!({"allOf": [base, choice]}),
                false => choice.clone(),
            };
            let at = self.notes.len();
            let (ty, description) = self.read(&choice, path);
            if let Some(text) = said(description, &ty) {
                // An option is known by its value, and a shape by its tag.
                let place = match ty.telling() {
                    Some(telling) => format!("{path} = {telling}: {text}"),
                    None => format!("{path}: {text}"),
                };
                self.notes.insert(at, place);
            }
            match ty {
                // One `Literal` with all options reads better than one for each.
                FieldType::Literal(options) => literals.extend(options),
                other => types.push(other),
            }
        }
        let literals = (!literals.is_empty()).then_some(FieldType::Literal(literals));
        FieldType::union(literals.into_iter().chain(types))
    }

    fn simple(&mut self, name: &str, schema: &Map<String, Json>, path: &str) -> FieldType {
        match name {
            "string" => match schema.get("format").and_then(Json::as_str) {
                Some("date") => FieldType::Date,
                Some("time" | "partial-time") => FieldType::Time,
                Some("date-time" | "partial-date-time") => FieldType::Datetime,
                Some("duration") => FieldType::Timedelta,
                _ => FieldType::Str,
            },
            "integer" => FieldType::Int,
            "number" => FieldType::Float,
            "boolean" => FieldType::Bool,
            "null" => FieldType::None,
            "array" => self.array(schema, path),
            "object" => self.object(schema, path),
            other => {
                let types = JSON_TYPES.join(", ");
                self.problems.push(format!("`{path}`: {other:?} is no type of JSON Schema: {types}"));
                FieldType::Any
            }
        }
    }

    fn array(&mut self, schema: &Map<String, Json>, path: &str) -> FieldType {
        if let Some(items) = schema.get("prefixItems").and_then(Json::as_array) {
            let items = items.iter().enumerate();
            return FieldType::Tuple(
                items.map(|(index, item)| self.read_part(item, &format!("{path}[{index}]"))).collect(),
            );
        }
        let item = match schema.get("items") {
            Some(items) => self.read_part(items, &format!("{path}[...]")),
            None => FieldType::Any,
        };
        match schema.get("uniqueItems").and_then(Json::as_bool) {
            Some(true) => FieldType::Set(Box::new(item)),
            _ => FieldType::list(item),
        }
    }

    fn object(&mut self, schema: &Map<String, Json>, path: &str) -> FieldType {
        let properties = schema.get("properties").and_then(Json::as_object);
        if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
            let fields = properties.iter().map(|(name, property)| {
                let ty = self.read_part(property, &format!("{path}[{}]", text_repr(name, usize::MAX)));
                RecordField { name: name.clone(), ty, required: requires(schema, name) }
            });
            return FieldType::Record(fields.collect());
        }
        let inside = format!("{path}[...]");
        // A map with integers for keys is described by a pattern.
        let by_pattern = schema.get("patternProperties").and_then(Json::as_object);
        if let Some((pattern, value)) = by_pattern.and_then(|patterns| patterns.iter().next()) {
            let is_integer = ["^\\d+$", "^-?\\d+$", "^[0-9]+$", "^-?[0-9]+$"].contains(&pattern.as_str());
            let key = if is_integer { FieldType::Int } else { FieldType::Str };
            return FieldType::dict(key, self.read_part(value, &inside));
        }
        match schema.get("additionalProperties") {
            Some(value @ Json::Object(_)) => FieldType::dict(FieldType::Str, self.read_part(value, &inside)),
            _ => FieldType::dict(FieldType::Any, FieldType::Any),
        }
    }
}

/// Whether the schema of an object requires a property.
pub(crate) fn requires(schema: &Map<String, Json>, name: &str) -> bool {
    let required = schema.get("required").and_then(Json::as_array);
    required.is_some_and(|names| names.iter().any(|given| given == name))
}

/// A `Literal` of these options; those that it cannot hold make it `Any`.
fn options<'a>(values: impl IntoIterator<Item = &'a Json>) -> FieldType {
    let options: Vec<Value> = values.into_iter().cloned().map(Value::from).collect();
    match options.as_slice() {
        [Value::None] => FieldType::None,
        _ => FieldType::Literal(options).normalized().unwrap_or(FieldType::Any),
    }
}

/// A doc comment as one line: line breaks in it are those of its source.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
