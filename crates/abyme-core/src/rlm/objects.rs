//! Inputs as objects: what the first cell of a session does to their dicts, dates, times and decimals.

use crate::{
    inputs::Inputs,
    signature::{Field, TaskSignature},
};

const OBJECTS: &str = include_str!("objects.py");

/// The code of the cell that puts these inputs into a session: none, unless one is to be an object, or to
/// hold one.
pub(super) fn setup(signature: &TaskSignature, inputs: &Inputs) -> String {
    let fields = inputs.names().filter_map(|name| signature.input(name));
    let lines: String = fields.filter_map(line).collect();
    match lines.is_empty() {
        true => String::new(),
        false => OBJECTS.replace("    pass  # inputs\n", &lines),
    }
}

fn line(field: &Field) -> Option<String> {
    let (name, objects) = (field.name(), field.ty().objects());
    if objects.is_none() && !field.is_object() {
        return None;
    }
    // JSON of texts, lists and dicts is Python too.
    let kind = objects.map_or_else(|| "None".to_owned(), |kind| kind.to_string());
    let is_object = if field.is_object() { "True" } else { "False" };
    Some(format!("    {name} = _abyme_input({name}, {kind}, {is_object})\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn only_objects_take_code() {
        let signature = |field: Field| TaskSignature::new([field], [Field::untyped("total")]).unwrap();
        let inputs = Inputs::new().with("rows", Value::list([1]));
        assert_eq!(setup(&signature(Field::untyped("rows")), &inputs), "");
        let rows = signature(Field::untyped("rows").as_object());
        assert_eq!(setup(&rows, &Inputs::new()), "");
        let code = setup(&rows, &inputs);
        assert!(code.contains("\n    rows = _abyme_input(rows, None, True)\n"), "{code}");
        assert!(!code.contains("# inputs"), "{code}");
        let days = "days: list[date], docs: str -> total".parse().unwrap();
        let code = setup(&days, &Inputs::new().with("docs", "x").with("days", Value::list(["2024-02-29"])));
        assert!(
            code.contains("\ntry:\n    days = _abyme_input(days, [\"each\",\"date\"], False)\nfinally"),
            "{code}"
        );
    }
}
