//! A cell as `Repl.run` takes it.

use abyme_core::{Cell, Scope};
use abyme_driver::repl::scope_value;
use pyo3::{prelude::*, types::PyDict};

use crate::convert::to_python;

/// The request for a cell. The names that the session offers go along only when they changed.
pub(crate) fn request<'py>(
    py: Python<'py>,
    cell: &Cell,
    scope: Option<&Scope>,
) -> PyResult<Bound<'py, PyDict>> {
    let request = PyDict::new(py);
    request.set_item("code", &cell.code)?;
    if !cell.variables.is_empty() {
        let variables = PyDict::new(py);
        for (name, value) in &cell.variables {
            variables.set_item(name, to_python(py, value)?)?;
        }
        request.set_item("variables", variables)?;
    }
    if let Some(scope) = scope {
        request.set_item("scope", to_python(py, &scope_value(scope))?)?;
    }
    if !cell.reads.is_empty() {
        request.set_item("reads", &cell.reads)?;
    }
    request.set_item("max_output_chars", cell.max_output_chars)?;
    Ok(request)
}
