//! Doc comments.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The doc comment among these attributes.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines = lines.flat_map(|text| {
        text.split('\n')
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned())
            .collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The doc comment as it stands in the source.
pub(crate) fn attributes_of_docs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter(|one| one.path().is_ident("doc")).cloned().collect()
}
