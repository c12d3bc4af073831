//! The inputs and outputs of a signature, and their types, written as Python annotations.

use std::{
    fmt::{self, Display},
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
};

use super::{
    constraint::{Constraint, Measure, Pattern, WITH_OFFSET},
    date_time, scalar,
    suggest::nearest,
};
use crate::{
    names::{NameUse, check_name},
    value::{Value, text_repr},
};

/// How much of an option a note shows.
const SHOWN_CHARS: usize = 60;

/// One input or output of a signature. How `serde` writes it leaves out what only Rust knows of a
/// [typed](Self::of) field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "FieldParts", into = "FieldParts")]
pub struct Field {
    name: String,
    /// `None` where the signature gives no type.
    ty: Option<FieldType>,
    /// What the field is, in the words of the signature's author.
    text: Option<String>,
    /// What the Rust type says of its parts.
    notes: Vec<String>,
    /// What Rust has to say about a value beyond its type.
    checks: Vec<Check>,
    /// All that the model is told: the text, the constraints, the checks, and the notes.
    description: Option<String>,
    /// Whether a Rust type made the value, so that there is nothing to convert.
    is_typed_input: bool,
    is_object: bool,
}

/// How `serde` sees a field.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FieldParts {
    name: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    ty: Option<FieldType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// As a record has it.
#[cfg(test)]
impl schemars::JsonSchema for Field {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        FieldParts::json_schema(generator)
    }
}

impl From<Field> for FieldParts {
    fn from(Field { name, ty, description, .. }: Field) -> Self {
        Self { name, ty, description }
    }
}

impl From<FieldParts> for Field {
    fn from(FieldParts { name, ty, description }: FieldParts) -> Self {
        let mut field = Self { ty, ..Self::untyped(name) };
        field.set_description(description.unwrap_or_default());
        field
    }
}

impl Field {
    /// A field of a type.
    pub fn new(name: impl Into<String>, ty: FieldType) -> Self {
        Self { ty: Some(ty), ..Self::untyped(name) }
    }

    /// The same field with the shape of a Rust type, what that says of itself, and its check. An input that a
    /// Rust type makes has none.
    pub(super) fn with_shape(
        mut self,
        ty: FieldType,
        description: Option<String>,
        notes: Vec<String>,
        check: Option<Check>,
    ) -> Self {
        let text = self.text.take().or(description);
        let is_typed_input = check.is_none();
        let checks = check.into_iter().collect();
        Self { ty: Some(ty), text, notes, checks, is_typed_input, ..self }.described()
    }

    pub(super) fn is_typed_input(&self) -> bool {
        self.is_typed_input
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// A field without a declared type: an output is a `str`, an input takes any value.
    pub fn untyped(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ty: None,
            text: None,
            notes: Vec::new(),
            checks: Vec::new(),
            description: None,
            is_typed_input: false,
            is_object: false,
        }
    }

    /// Says in words what the field is.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.set_description(description.into());
        self
    }

    pub(super) fn set_description(&mut self, description: String) {
        self.text = Some(description).filter(|text| !text.is_empty());
        self.describe();
    }

    fn described(mut self) -> Self {
        self.describe();
        self
    }

    fn describe(&mut self) {
        let checks = self.checks.iter().filter_map(Check::words).map(str::to_owned);
        let parts = self.text.clone().into_iter().chain(self.ty.as_ref().and_then(FieldType::limits));
        let parts: Vec<_> = parts.chain(checks).chain(self.notes.clone()).collect();
        self.description = (!parts.is_empty()).then(|| parts.join("; "));
    }

    /// Asks for a number in a range, as in `.range(0..=10)` or `.range(0.5..)`. The model is told, and other
    /// values go back to it. For the numbers inside of a value, give the Rust type of an output a schema that
    /// says so.
    ///
    /// ```
    /// use abyme_core::{Field, FieldType};
    ///
    /// let field = Field::new("grade", FieldType::Int).range(1..=6).with_description("As in school");
    /// assert_eq!(field.description(), Some("As in school; 1 to 6"));
    /// ```
    pub fn range<N: Into<Value> + Clone>(self, range: impl RangeBounds<N>) -> Self {
        let bound = |bound: Bound<&N>| bound.map(|value| value.clone().into());
        self.constrained(Constraint::Range(bound(range.start_bound()), bound(range.end_bound())))
    }

    /// Asks for this many characters of a text, items of a list, or keys of a dict, as in `.length(1..)`.
    pub fn length(self, range: impl RangeBounds<u64>) -> Self {
        let least = match range.start_bound() {
            Bound::Included(least) => *least,
            Bound::Excluded(least) => least.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let most = match range.end_bound() {
            Bound::Included(most) => Some(*most),
            Bound::Excluded(most) => Some(most.saturating_sub(1)),
            Bound::Unbounded => None,
        };
        let measures = [Measure::Characters, Measure::Items, Measure::Keys];
        let all = measures.map(|measure| Constraint::Length(measure, least, most));
        let fitting = all.iter().find(|constraint| self.ty().takes(constraint)).unwrap_or(&all[0]);
        let fitting = fitting.clone();
        self.constrained(fitting)
    }

    /// Asks for a text in which a regular expression is found, in the syntax of the crate `regex`. To ask for
    /// the whole text, write `^...$`.
    pub fn pattern(self, pattern: impl Into<String>) -> Self {
        self.constrained(Constraint::Pattern(Pattern::new(pattern)))
    }

    fn constrained(mut self, constraint: Constraint) -> Self {
        let ty = self.ty.take().unwrap_or(FieldType::Str);
        self.ty = Some(ty.constrained(vec![constraint]));
        self.described()
    }

    /// Has a function look at each submitted value, read as a `T`. The model is told the `words`; what the
    /// function says is wrong goes back to it.
    ///
    /// ```
    /// use abyme_core::Field;
    ///
    /// fn is_even(total: &u32) -> Result<(), String> {
    ///     if total % 2 == 0 { Ok(()) } else { Err(format!("{total} is odd")) }
    /// }
    ///
    /// let field = Field::of::<u32>("total").check("an even number", is_even);
    /// assert_eq!(field.description(), Some("an even number"));
    /// ```
    pub fn check<T: DeserializeOwned, E: Display>(
        mut self,
        words: impl Into<String>,
        check: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check::by(words, check));
        self.described()
    }

    /// Makes an input one whose dicts are objects in Python: `row.name` in place of `row["name"]`.
    pub fn as_object(self) -> Self {
        Self { is_object: true, ..self }
    }

    /// Whether the dicts of an input are objects in Python.
    pub fn is_object(&self) -> bool {
        self.is_object
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type; `str` where none was declared, as in DSPy.
    pub fn ty(&self) -> &FieldType {
        self.ty.as_ref().unwrap_or(&FieldType::Str)
    }

    /// Whether the signature declares the type.
    pub fn has_explicit_type(&self) -> bool {
        self.ty.is_some()
    }

    /// What the field is, in words.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The same field with its type in the form that the parser gives.
    pub(super) fn normalized(self) -> Result<Self, String> {
        Ok(Self { ty: self.ty.map(FieldType::normalized).transpose()?, ..self })
    }
}

/// As in the string form of a signature: `name` or `name: type`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.ty {
            Some(ty) => write!(f, ": {ty}"),
            None => Ok(()),
        }
    }
}

/// Whether a field of this name can be added to those there are.
pub(super) fn check_new_name(
    name: &str,
    usage: NameUse,
    inputs: &[Field],
    outputs: &[Field],
) -> Result<(), String> {
    check_name(name, usage).map_err(|problem| problem.to_string())?;
    let among = |fields: &[Field]| fields.iter().any(|field| field.name() == name);
    match usage {
        NameUse::Input if among(inputs) => {
            Err(format!("the input `{name}` comes twice; give each its own name"))
        }
        NameUse::Output if among(outputs) => {
            Err(format!("the output `{name}` comes twice; give each its own name"))
        }
        _ if among(inputs) => Err(format!(
            "`{name}` is an input and cannot be an output as well; call the output something like \
             `new_{name}`"
        )),
        _ => Ok(()),
    }
}

/// The type of an input or output. `Display` writes the Python annotation, `FromStr` reads it.
///
/// | annotation | values |
/// |---|---|
/// | `str` `int` `float` `bool` `bytes` `None` | as in Python |
/// | `Any`, `object` | every value |
/// | `date`, `time`, `datetime`, `timedelta` | ISO 8601 text; as an input, Python's own object |
/// | `Decimal` | its digits as text; as an input, Python's `decimal.Decimal` |
/// | `list[T]`, `list` | a list |
/// | `set[T]`, `frozenset[T]` | a list without repetitions |
/// | `tuple[A, B]`, `tuple[T, ...]`, `tuple` | a list, of that very length where it is fixed |
/// | `dict[K, V]`, `dict` | a dict; keys are text that reads as a `K` |
/// | <code>A &#124; B</code>, `Union[A, B]`, `Optional[A]` | any of them |
/// | `Literal["a", 1, True, None]` | exactly these |
/// | `{'name': str, 'zip': NotRequired[str]}` | a dict with these keys, the shape of a Rust struct |
///
/// The forms of `typing` (`List[int]`, `typing.Optional[str]`, `datetime.datetime`) are read as well.
///
/// A cell may submit the objects of Python in place of the texts: `datetime.date(2024, 2, 29)` is
/// `"2024-02-29"`. An offset from UTC is kept, and digits of seconds after the sixth are too, though Python's
/// objects have no place for these.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldType {
    /// `Any`.
    Any,
    /// `None`.
    None,
    /// `bool`.
    Bool,
    /// `int`, of any size.
    Int,
    /// `float`.
    Float,
    /// `str`.
    Str,
    /// `bytes`.
    Bytes,
    /// `date`, as ISO 8601 text.
    Date,
    /// `time`, as ISO 8601 text.
    Time,
    /// `datetime`, as ISO 8601 text.
    Datetime,
    /// `timedelta`, as the text of an ISO 8601 duration in hours, minutes and seconds: `PT36H0.5S`.
    Timedelta,
    /// `Decimal`, as its digits.
    Decimal,
    /// `list[T]`.
    List(Box<FieldType>),
    /// `set[T]`, as a list.
    Set(Box<FieldType>),
    /// `tuple[A, B]`, as a list of that length.
    Tuple(Vec<FieldType>),
    /// `tuple[T, ...]`, as a list.
    TupleOf(Box<FieldType>),
    /// `dict[K, V]`.
    Dict(Box<FieldType>, Box<FieldType>),
    /// `A | B`. Make one with [`union`](Self::union).
    Union(Vec<FieldType>),
    /// `Literal["a", 1]`: texts, ints, bools or `None`.
    Literal(Vec<Value>),
    /// `{'name': str, 'zip': NotRequired[str]}`: a dict with these keys. Others are kept as they come.
    Record(Vec<RecordField>),
    /// A type of which only some values are meant. `Display` writes the type alone: what is asked of a value
    /// is told in words.
    Constrained(Box<FieldType>, Vec<Constraint>),
}

/// One key of a [`FieldType::Record`].
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "a key has a name, a type, and is there or not")]
pub struct RecordField {
    /// The key.
    pub name: String,
    /// The type of its value.
    pub ty: FieldType,
    /// Whether the key has to be there.
    pub required: bool,
}

/// A check of a value by Rust code. Two checks of the same field count as equal, so that signatures can be
/// compared.
#[derive(Clone)]
pub(super) struct Check {
    words: Option<String>,
    run: Arc<CheckFn>,
}

type CheckFn = dyn Fn(&Value) -> Result<(), String> + Send + Sync;

impl Check {
    /// Whether `serde` reads a `T`.
    pub(super) fn reads<T: DeserializeOwned>() -> Self {
        let run = |value: &Value| T::deserialize(value).map(drop).map_err(|error| error.to_string());
        Self { words: None, run: Arc::new(run) }
    }

    /// Whether a function takes the value, once `serde` has read it.
    pub(super) fn by<T: DeserializeOwned, E: Display>(
        words: impl Into<String>,
        check: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let run = move |value: &Value| {
            let value = T::deserialize(value).map_err(|error| error.to_string())?;
            check(&value).map_err(|problem| problem.to_string())
        };
        Self { words: Some(words.into()).filter(|words| !words.is_empty()), run: Arc::new(run) }
    }

    /// What the model is told of it.
    pub(super) fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }

    /// What is wrong with the value, if something is.
    pub(super) fn run(&self, value: &Value) -> Result<(), String> {
        (self.run)(value)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.words).finish()
    }
}

impl PartialEq for Check {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl FieldType {
    /// Whether values of this type are texts for Rust: `str`, and what has no type of its own there.
    pub fn is_text(&self) -> bool {
        match self {
            FieldType::Str
            | FieldType::Date
            | FieldType::Time
            | FieldType::Datetime
            | FieldType::Timedelta
            | FieldType::Decimal => true,
            FieldType::Constrained(inner, _) => inner.is_text(),
            _ => false,
        }
    }

    /// `list[item]`.
    pub fn list(item: FieldType) -> Self {
        FieldType::List(Box::new(item))
    }

    /// `dict[key, value]`.
    pub fn dict(key: FieldType, value: FieldType) -> Self {
        FieldType::Dict(Box::new(key), Box::new(value))
    }

    /// `self | None`.
    pub fn optional(self) -> Self {
        FieldType::union([self, FieldType::None])
    }

    /// This type, of which only those values are meant for which the constraints hold.
    pub fn constrained(self, constraints: Vec<Constraint>) -> Self {
        match self {
            ty if constraints.is_empty() => ty,
            FieldType::Constrained(inner, mut all) => {
                all.extend(constraints);
                FieldType::Constrained(inner, all)
            }
            ty => FieldType::Constrained(Box::new(ty), constraints),
        }
    }

    /// What is asked of a value beyond its type, in words for the model.
    pub fn limits(&self) -> Option<String> {
        let FieldType::Constrained(_, constraints) = self else { return None };
        let told: Vec<_> = constraints.iter().filter_map(Constraint::told).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Whether a constraint is about values of this type.
    pub(super) fn takes(&self, constraint: &Constraint) -> bool {
        match (self, constraint) {
            (FieldType::Any, _) => true,
            (FieldType::Union(members), _) => members.iter().any(|member| member.takes(constraint)),
            (FieldType::Constrained(inner, _), _) => inner.takes(constraint),
            (FieldType::Int | FieldType::Float, constraint) => matches!(
                constraint,
                Constraint::Range(..) | Constraint::MultipleOf(_) | Constraint::Format(_)
            ),
            (FieldType::Str, constraint) => matches!(
                constraint,
                Constraint::Pattern(_) | Constraint::Format(_) | Constraint::Length(Measure::Characters, ..)
            ),
            (FieldType::Date | FieldType::Datetime, Constraint::Pattern(_)) => true,
            (FieldType::Datetime, Constraint::Format(name)) => {
                name == WITH_OFFSET || name == "partial-date-time"
            }
            (FieldType::Time, Constraint::Format(name)) => name == "partial-time",
            (
                FieldType::List(_) | FieldType::Set(_) | FieldType::Tuple(_) | FieldType::TupleOf(_),
                Constraint::Length(Measure::Items, ..),
            ) => true,
            (FieldType::Dict(..) | FieldType::Record(_), Constraint::Length(Measure::Keys, ..)) => true,
            _ => false,
        }
    }

    /// What tells this type from others in a union: its only option, or the option of its tag.
    pub(super) fn telling(&self) -> Option<String> {
        match self {
            FieldType::Literal(options) => match options.as_slice() {
                [only] => Some(only.repr(SHOWN_CHARS)),
                _ => None,
            },
            FieldType::Record(fields) => fields.iter().find_map(|field| {
                let tag = matches!(field.ty, FieldType::Literal(_)).then(|| field.ty.telling()).flatten();
                tag.map(|tag| format!("{{{}: {tag}}}", text_repr(&field.name, SHOWN_CHARS)))
            }),
            FieldType::Constrained(inner, _) => inner.telling(),
            _ => None,
        }
    }

    /// The union of these types, as Python forms it: nested unions are flattened, repetitions dropped, and a
    /// union of one type is that type.
    pub fn union(members: impl IntoIterator<Item = FieldType>) -> Self {
        let mut flat = Vec::new();
        for member in members {
            let inner = match member {
                FieldType::Union(inner) => inner,
                single => vec![single],
            };
            for member in inner {
                if !flat.contains(&member) {
                    flat.push(member);
                }
            }
        }
        if flat.len() == 1 { flat.swap_remove(0) } else { FieldType::Union(flat) }
    }

    /// The same type in the one form that the parser gives it, or what is impossible about it.
    pub(super) fn normalized(self) -> Result<Self, String> {
        let boxed = |inner: Box<FieldType>| inner.normalized().map(Box::new);
        let each = |types: Vec<FieldType>| {
            types.into_iter().map(FieldType::normalized).collect::<Result<Vec<_>, _>>()
        };
        Ok(match self {
            FieldType::List(item) => FieldType::List(boxed(item)?),
            FieldType::Set(item) => FieldType::Set(boxed(item)?),
            FieldType::TupleOf(item) => FieldType::TupleOf(boxed(item)?),
            FieldType::Tuple(items) => FieldType::Tuple(each(items)?),
            FieldType::Dict(key, value) => FieldType::Dict(boxed(key)?, boxed(value)?),
            FieldType::Union(members) if members.is_empty() => return Err("a union of no types".to_owned()),
            FieldType::Union(members) => FieldType::union(each(members)?),
            FieldType::Literal(options) => literal(options)?,
            FieldType::Record(fields) => FieldType::Record(
                fields
                    .into_iter()
                    .map(|field| Ok(RecordField { ty: field.ty.normalized()?, ..field }))
                    .collect::<Result<_, String>>()?,
            ),
            FieldType::Constrained(inner, constraints) => {
                let inner = inner.normalized()?;
                if let Some(problem) = constraints.iter().find_map(Constraint::problem) {
                    return Err(problem);
                }
                if let Some(other) = constraints.iter().find(|constraint| !inner.takes(constraint)) {
                    return Err(format!("`{other}` can be asked of {}, not of {inner}", other.about()));
                }
                inner.constrained(constraints)
            }
            simple => simple,
        })
    }

    /// Whether the value is of this type as it stands, so that [`coerce`](Self::coerce) has nothing to
    /// convert.
    pub fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (FieldType::Any, _)
            | (FieldType::None, Value::None)
            | (FieldType::Bool, Value::Bool(_))
            | (FieldType::Int, Value::Int(_) | Value::BigInt(_))
            | (FieldType::Float, Value::Float(_))
            | (FieldType::Str, Value::Text(_))
            | (FieldType::Bytes, Value::Bytes(_)) => true,
            (FieldType::Date, Value::Text(text)) => date_time::iso_date(text).is_ok(),
            (FieldType::Time, Value::Text(text)) => date_time::iso_time(text).is_ok(),
            (FieldType::Datetime, Value::Text(text)) => date_time::iso_datetime(text).is_ok(),
            (FieldType::Timedelta, Value::Text(text)) => date_time::iso_duration(text).is_ok(),
            (FieldType::Decimal, Value::Text(text)) => scalar::digits(text).is_ok(),
            (FieldType::List(item) | FieldType::Set(item) | FieldType::TupleOf(item), Value::List(items)) => {
                items.iter().all(|value| item.matches(value))
            }
            (FieldType::Tuple(types), Value::List(items)) => {
                types.len() == items.len() && types.iter().zip(items).all(|(ty, value)| ty.matches(value))
            }
            (FieldType::Dict(key, inner), Value::Dict(entries)) => entries.iter().all(|(name, value)| {
                key.coerce_key(name).is_ok_and(|same| same == *name) && inner.matches(value)
            }),
            (FieldType::Record(fields), Value::Dict(entries)) => {
                let fits = |field: &RecordField| {
                    entries.get(&field.name).is_none_or(|value| field.ty.matches(value))
                };
                wrong_keys(fields, entries).is_none() && fields.iter().all(fits)
            }
            (FieldType::Union(members), value) => members.iter().any(|member| member.matches(value)),
            (FieldType::Literal(options), value) => options.contains(value),
            (FieldType::Constrained(inner, constraints), value) => {
                inner.matches(value) && constraints.iter().all(|constraint| constraint.check(value).is_ok())
            }
            _ => false,
        }
    }
}

/// What is wrong with the keys of a dict that should have these. A key that the record does not know is kept,
/// unless it looks like one that is meant.
pub(super) fn wrong_keys(fields: &[RecordField], entries: &IndexMap<String, Value>) -> Option<String> {
    let shown = |key: &str| text_repr(key, SHOWN_CHARS);
    let absent = || fields.iter().filter(|field| !entries.contains_key(&field.name));
    let mut unknown = entries.keys().filter(|key| !fields.iter().any(|field| field.name == **key));
    let misspelt = unknown
        .find_map(|key| nearest(key, absent().map(|field| field.name.as_str())).map(|meant| (key, meant)));
    match (misspelt, absent().find(|field| field.required)) {
        (Some((key, meant)), _) => Some(format!("the key {} should be {}", shown(key), shown(meant))),
        (None, Some(missing)) => Some(format!("the key {} is missing", shown(&missing.name))),
        (None, None) => None,
    }
}

/// `Literal` of these options, without repetitions.
pub(super) fn literal(options: Vec<Value>) -> Result<FieldType, String> {
    let mut unique = Vec::new();
    for option in options {
        if !matches!(option, Value::Text(_) | Value::Int(_) | Value::BigInt(_) | Value::Bool(_) | Value::None)
        {
            return Err(format!("Literal takes str, int, bool and None, not {}", option.type_name()));
        }
        if !unique.contains(&option) {
            unique.push(option);
        }
    }
    if unique.is_empty() {
        Err("Literal needs at least one option".to_owned())
    } else {
        Ok(FieldType::Literal(unique))
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::Any => f.write_str("Any"),
            FieldType::None => f.write_str("None"),
            FieldType::Bool => f.write_str("bool"),
            FieldType::Int => f.write_str("int"),
            FieldType::Float => f.write_str("float"),
            FieldType::Str => f.write_str("str"),
            FieldType::Bytes => f.write_str("bytes"),
            FieldType::Date => f.write_str("date"),
            FieldType::Time => f.write_str("time"),
            FieldType::Datetime => f.write_str("datetime"),
            FieldType::Timedelta => f.write_str("timedelta"),
            FieldType::Decimal => f.write_str("Decimal"),
            FieldType::List(item) => parameterised(f, "list", item),
            FieldType::Set(item) => parameterised(f, "set", item),
            FieldType::TupleOf(item) if **item == FieldType::Any => f.write_str("tuple"),
            FieldType::TupleOf(item) => write!(f, "tuple[{item}, ...]"),
            FieldType::Tuple(items) if items.is_empty() => f.write_str("tuple[()]"),
            FieldType::Tuple(items) => write!(f, "tuple[{}]", joined(items, ", ")),
            FieldType::Dict(key, value) if **key == FieldType::Any && **value == FieldType::Any => {
                f.write_str("dict")
            }
            FieldType::Dict(key, value) => write!(f, "dict[{key}, {value}]"),
            FieldType::Union(members) => f.write_str(&joined(members, " | ")),
            FieldType::Literal(options) => {
                let options: Vec<_> = options.iter().map(|option| option.repr(usize::MAX)).collect();
                write!(f, "Literal[{}]", options.join(", "))
            }
            FieldType::Record(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|field| {
                        let (name, ty) = (text_repr(&field.name, usize::MAX), &field.ty);
                        if field.required {
                            format!("{name}: {ty}")
                        } else {
                            format!("{name}: NotRequired[{ty}]")
                        }
                    })
                    .collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
            FieldType::Constrained(inner, _) => inner.fmt(f),
        }
    }
}

/// Without a parameter, `list` means `list[Any]`.
fn parameterised(f: &mut fmt::Formatter<'_>, name: &str, item: &FieldType) -> fmt::Result {
    match item {
        FieldType::Any => f.write_str(name),
        item => write!(f, "{name}[{item}]"),
    }
}

fn joined(types: &[FieldType], between: &str) -> String {
    types.iter().map(FieldType::to_string).collect::<Vec<_>>().join(between)
}

/// As the Python annotation.
impl Serialize for FieldType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
