//! Reads the public functions out of a Python source, so that the model is told of them.

use ruff_python_ast::{Expr, Parameter, ParameterWithDefault, Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextRange};

use crate::{Error, ErrorKind, FunctionSpec, Result, interpreter::ModuleSource};

/// The public functions that a source defines at its top level. Signatures are kept as they are written.
///
/// # Errors
/// [`ErrorKind::Config`] with file and line if the source does not parse, or defines no function.
pub(crate) fn describe_module(module: &ModuleSource) -> Result<Vec<FunctionSpec>> {
    let parsed = ruff_python_parser::parse_module(&module.source).map_err(|error| {
        let before = &module.source[..usize::from(error.location.start()).min(module.source.len())];
        let line = before.matches('\n').count() + 1;
        Error::new(ErrorKind::Config, format!("{}, line {line}: {}", module.name, error.error))
    })?;
    let functions: Vec<_> = parsed
        .syntax()
        .body
        .iter()
        .filter_map(|statement| match statement {
            Stmt::FunctionDef(function) if !function.name.starts_with('_') => {
                Some(describe(function, &module.source))
            }
            _ => None,
        })
        .collect();
    if functions.is_empty() {
        let message = format!("{} defines no public function to use as a tool", module.name);
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(functions)
}

/// A Python function as it is written. Its parameters stay one text: they are shown to the model, and Python itself
/// binds them.
fn describe(function: &StmtFunctionDef, source: &str) -> FunctionSpec {
    let text =
        |range: TextRange| source.get(std::ops::Range::<usize>::from(range)).unwrap_or_default().to_owned();
    let mut spec = FunctionSpec::new(function.name.as_str(), docstring(function));
    spec.returns = function.returns.as_ref().map(|returns| text(returns.range()));
    let parameters = &function.parameters;
    let plain = |given: &Parameter| {
        let mut parameter = crate::ParameterSpec::new(given.name.as_str());
        parameter.annotation = given.annotation.as_ref().map(|annotation| text(annotation.range()));
        parameter
    };
    let with_default = |given: &ParameterWithDefault| {
        let mut parameter = plain(&given.parameter);
        if let Some(default) = &given.default {
            // The default is shown beside the annotation, in the words of the source.
            let annotation = parameter.annotation.take().unwrap_or_else(|| "Any".to_owned());
            parameter.annotation = Some(format!("{annotation} = {}", text(default.range())));
        }
        parameter
    };
    for given in parameters.posonlyargs.iter().chain(&parameters.args) {
        spec.parameters.push(with_default(given));
    }
    if let Some(given) = &parameters.vararg {
        spec.parameters.push(plain(given).kind(crate::ParameterKind::VarPositional));
    }
    for given in &parameters.kwonlyargs {
        spec.parameters.push(with_default(given).kind(crate::ParameterKind::KeywordOnly));
    }
    if let Some(given) = &parameters.kwarg {
        spec.parameters.push(plain(given).kind(crate::ParameterKind::VarKeyword));
    }
    spec
}

fn docstring(function: &StmtFunctionDef) -> String {
    let Some(Stmt::Expr(first)) = function.body.first() else { return String::new() };
    let Expr::StringLiteral(literal) = &*first.value else { return String::new() };
    let text = literal.value.to_str().trim();
    // Continuation lines of a docstring are indented like the code around them.
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_functions_are_described_as_written() {
        let source = "import re\n\ndef find(text: str, flags=re.I, *, limit: int = 3) -> list:\n    '''Find.\n\n    More.'''\n\ndef _private(): ...\n";
        let module = ModuleSource { name: "tools.py".into(), source: source.into() };
        let [find] = &describe_module(&module).unwrap()[..] else { unreachable!() };
        assert_eq!(find.description, "Find.\n\nMore.");
        assert_eq!(
            super::super::describe_function(find),
            "- `find(text: str, flags: Any = re.I, *, limit: int = 3) -> list`\n  Find.\n  \n  More."
        );
    }

    #[test]
    fn a_source_that_does_not_parse_names_its_line() {
        let module = ModuleSource { name: "tools.py".into(), source: "x = 1\ndef f(:\n".into() };
        let message = describe_module(&module).unwrap_err().to_string();
        assert!(message.starts_with("tools.py, line 2: "), "{message}");
    }
}
