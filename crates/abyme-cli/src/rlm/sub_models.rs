//! The models of `--sub-model`: the one that answers, and those that cells choose by name.

use crate::exit::Failure;

/// The models for sub-calls and children.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SubModels<'a> {
    /// The one that answers where a cell names none.
    pub(super) default: Option<&'a str>,
    /// What cells call the others, and what they are.
    pub(super) named: Vec<(&'a str, &'a str)>,
}

/// Reads `MODEL`, once, and `NAME=MODEL`.
pub(super) fn read(given: &[String]) -> Result<SubModels<'_>, Failure> {
    let mut models = SubModels::default();
    for text in given {
        let Some((name, model)) = text.split_once('=') else {
            if let Some(first) = models.default.replace(text) {
                let message = format!("--sub-model is given as `{first}` and as `{text}`");
                return Err(
                    Failure::usage(message).hint("give further models a name: --sub-model NAME=MODEL")
                );
            }
            continue;
        };
        let (name, model) = (name.trim(), model.trim());
        if name.is_empty() || model.is_empty() {
            let message = format!("--sub-model `{text}`: expected MODEL or NAME=MODEL, such as big=gpt-5");
            return Err(Failure::usage(message));
        }
        if models.named.iter().any(|(known, _)| *known == name) {
            return Err(Failure::usage(format!("--sub-model names two models `{name}`")));
        }
        models.named.push((name, model));
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_model_and_named_ones() {
        let given = ["small", "big=openai/gpt-5", "far = x"].map(str::to_owned);
        let models = read(&given).unwrap();
        assert_eq!(models.default, Some("small"));
        assert_eq!(models.named, [("big", "openai/gpt-5"), ("far", "x")]);
        assert_eq!(read(&[]).unwrap(), SubModels::default());
    }
}
