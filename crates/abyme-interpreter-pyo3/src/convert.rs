//! Values and Python objects, into each other. One copy of a text, no JSON.

use abyme_core::{DecodeBudget, DecodeProblem, Value};
use indexmap::IndexMap;
use num_bigint::BigInt;
use pyo3::{
    prelude::*,
    types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple},
};

/// The driver refuses such values, so code of a cell has gone around it.
const TOO_DEEP: &str = "a value is nested too deeply";

/// The Python object for a value.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Int(value) => value.into_pyobject(py)?.into_any(),
        Value::BigInt(digits) => match digits.parse::<BigInt>() {
            Ok(number) => number.into_pyobject(py)?.into_any(),
            Err(error) => return Err(pyo3::exceptions::PyValueError::new_err(error.to_string())),
        },
        Value::Float(value) => PyFloat::new(py, *value).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Dict(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(key, to_python(py, value)?)?;
            }
            dict.into_any()
        }
        Value::None => py.None().into_bound(py),
    })
}

/// The value of an object of plain data, as the driver hands it over. What it takes is charged.
///
/// # Errors
/// What is not plain data about it, or that it is too large.
pub(crate) fn from_python(
    object: &Bound<'_, PyAny>,
    budget: &mut DecodeBudget,
) -> Result<Value, DecodeProblem> {
    let value = convert(object, budget, 0)?;
    if value.has_more_levels_than(DecodeBudget::MAX_LEVELS) {
        return Err(DecodeProblem::from(TOO_DEEP));
    }
    Ok(value)
}

fn convert(
    object: &Bound<'_, PyAny>,
    budget: &mut DecodeBudget,
    depth: usize,
) -> Result<Value, DecodeProblem> {
    if depth > DecodeBudget::MAX_LEVELS {
        return Err(DecodeProblem::from(TOO_DEEP));
    }
    // Exact types: of a subclass, code of the cell could run here.
    if object.is_none() {
        return Ok(Value::None);
    }
    if let Ok(text) = object.cast_exact::<PyString>() {
        // Before it is made: a byte for each character. After that, what it has more.
        let chars = text.len().map_err(|error| DecodeProblem::Invalid(error.to_string()))?;
        budget.text(chars)?;
        let text = text_of(text);
        budget.charge(text.len().saturating_sub(chars))?;
        return Ok(Value::from(text));
    }
    if let Ok(value) = object.cast_exact::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if let Ok(number) = object.cast_exact::<PyInt>() {
        return int(number, budget);
    }
    if let Ok(number) = object.cast_exact::<PyFloat>() {
        return Ok(Value::Float(number.value()));
    }
    if let Ok(list) = object.cast_exact::<PyList>() {
        return items(list.len(), list.iter(), budget, depth);
    }
    if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        return items(tuple.len(), tuple.iter(), budget, depth);
    }
    if let Ok(dict) = object.cast_exact::<PyDict>() {
        let mut entries = IndexMap::new();
        for (key, value) in dict.iter() {
            let Ok(key) = key.cast_exact::<PyString>() else {
                return Err(DecodeProblem::from("a dict has a key that is not a str"));
            };
            let value = convert(&value, budget, depth + 1)?;
            budget.insert(&mut entries, text_of(key), value)?;
        }
        return Ok(Value::Dict(entries));
    }
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        budget.bytes(bytes.as_bytes().len())?;
        return Ok(Value::Bytes(bytes.as_bytes().to_vec().into()));
    }
    let kind = object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    Err(DecodeProblem::Invalid(format!("an object of type {kind} is not plain data")))
}

fn items<'py>(
    len: usize,
    objects: impl Iterator<Item = Bound<'py, PyAny>>,
    budget: &mut DecodeBudget,
    depth: usize,
) -> Result<Value, DecodeProblem> {
    let mut items = Vec::new();
    budget.reserve(&mut items, len)?;
    for object in objects {
        let item = convert(&object, budget, depth + 1)?;
        budget.push(&mut items, item)?;
    }
    Ok(Value::List(items))
}

fn int(number: &Bound<'_, PyInt>, budget: &mut DecodeBudget) -> Result<Value, DecodeProblem> {
    if let Ok(small) = number.extract::<i64>() {
        return Ok(Value::Int(small));
    }
    let large: BigInt = number.extract().map_err(|error: PyErr| DecodeProblem::Invalid(error.to_string()))?;
    budget.integer(usize::try_from(large.bits()).unwrap_or(usize::MAX))?;
    Value::int_from_decimal(&large.to_string())
        .ok_or_else(|| DecodeProblem::from("an integer cannot be written"))
}

/// A str as UTF-8. A lone surrogate, which has none, becomes `?`, as everywhere in Abyme.
pub(crate) fn text_of(text: &Bound<'_, PyString>) -> String {
    if let Ok(text) = text.to_str() {
        return text.to_owned();
    }
    let encoded = text.call_method1("encode", ("utf-8", "replace"));
    let bytes = encoded.as_ref().ok().and_then(|bytes| bytes.cast::<PyBytes>().ok());
    bytes.map(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned()).unwrap_or_default()
}
