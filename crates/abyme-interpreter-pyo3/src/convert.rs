//! Values and Python objects, into each other. One copy of a text, no JSON.

use abyme_core::Value;
use indexmap::IndexMap;
use num_bigint::BigInt;
use pyo3::{
    prelude::*,
    types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple},
};

/// Deeper values cannot come from the driver, which refuses them.
const MAX_DEPTH: usize = 200;

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

/// The value of an object of plain data, as the driver hands it over.
///
/// # Errors
/// What is not plain data about it.
pub(crate) fn from_python(object: &Bound<'_, PyAny>) -> Result<Value, String> {
    convert(object, 0)
}

fn convert(object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err("a value is nested too deeply".to_owned());
    }
    // Exact types: of a subclass, code of the cell could run here.
    if object.is_none() {
        return Ok(Value::None);
    }
    if let Ok(text) = object.cast_exact::<PyString>() {
        return Ok(Value::from(text_of(text)));
    }
    if let Ok(value) = object.cast_exact::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if let Ok(number) = object.cast_exact::<PyInt>() {
        return int(number);
    }
    if let Ok(number) = object.cast_exact::<PyFloat>() {
        return Ok(Value::Float(number.value()));
    }
    if let Ok(list) = object.cast_exact::<PyList>() {
        return list.iter().map(|item| convert(&item, depth + 1)).collect::<Result<_, _>>().map(Value::List);
    }
    if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        return tuple.iter().map(|item| convert(&item, depth + 1)).collect::<Result<_, _>>().map(Value::List);
    }
    if let Ok(dict) = object.cast_exact::<PyDict>() {
        let mut entries = IndexMap::with_capacity(dict.len());
        for (key, value) in dict.iter() {
            let Ok(key) = key.cast_exact::<PyString>() else {
                return Err("a dict has a key that is not a str".to_owned());
            };
            entries.insert(text_of(key), convert(&value, depth + 1)?);
        }
        return Ok(Value::Dict(entries));
    }
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return Ok(Value::Bytes(bytes.as_bytes().to_vec().into()));
    }
    let kind = object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    Err(format!("an object of type {kind} is not plain data"))
}

fn int(number: &Bound<'_, PyInt>) -> Result<Value, String> {
    if let Ok(small) = number.extract::<i64>() {
        return Ok(Value::Int(small));
    }
    let large: BigInt = number.extract().map_err(|error: PyErr| error.to_string())?;
    Value::int_from_decimal(&large.to_string()).ok_or_else(|| "an integer cannot be written".to_owned())
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
