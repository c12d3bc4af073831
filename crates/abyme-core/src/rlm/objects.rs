//! Inputs as objects with attributes: what the first cell of a session does to their dicts.

use crate::signature::{Field, TaskSignature};

const OBJECTS: &str = include_str!("objects.py");

/// The code of a session's first cell: none, unless an input is to be an object.
pub(super) fn setup(signature: &TaskSignature) -> String {
    let objects = signature.inputs().iter().filter(|field| field.is_object()).map(Field::name);
    let lines: Vec<_> = objects.map(|name| format!("    {name} = _abyme_object({name})\n")).collect();
    match lines.is_empty() {
        true => String::new(),
        false => OBJECTS.replace("    pass  # inputs\n", &lines.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_take_code() {
        let signature = |field: Field| TaskSignature::new([field], [Field::untyped("total")]).unwrap();
        assert_eq!(setup(&signature(Field::untyped("rows"))), "");
        let code = setup(&signature(Field::untyped("rows").as_object()));
        assert!(code.contains("\n    rows = _abyme_object(rows)\n") && !code.contains("# inputs"), "{code}");
    }
}
