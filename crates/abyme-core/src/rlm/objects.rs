//! Inputs as objects with attributes: what the first cell of a session does to their dicts.

use crate::{
    inputs::Inputs,
    signature::{Field, TaskSignature},
};

const OBJECTS: &str = include_str!("objects.py");

/// The code of the cell that puts these inputs into a session: none, unless one is to be an object.
pub(super) fn setup(signature: &TaskSignature, inputs: &Inputs) -> String {
    let objects = inputs.names().filter(|name| signature.input(name).is_some_and(Field::is_object));
    let lines: Vec<_> = objects.map(|name| format!("    {name} = _abyme_object({name})\n")).collect();
    match lines.is_empty() {
        true => String::new(),
        false => OBJECTS.replace("    pass  # inputs\n", &lines.concat()),
    }
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
        assert!(code.contains("\n    rows = _abyme_object(rows)\n") && !code.contains("# inputs"), "{code}");
    }
}
