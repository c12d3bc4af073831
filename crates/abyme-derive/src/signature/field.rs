//! A field of a signature, with its attributes.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Error, Expr, ExprRange, Field, Ident, Lit, LitStr, Meta, Path, Result, Token, Type,
    Visibility,
    ext::IdentExt,
    meta::ParseNestedMeta,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use crate::docs::{attributes_of_docs, docs};

/// An input or output.
pub(super) struct SignatureField {
    pub(super) ident: Ident,
    pub(super) ty: Type,
    pub(super) visibility: Visibility,
    /// The doc comment, as it stands in the source.
    pub(super) docs: Vec<Attribute>,
    description: String,
    kind: Kind,
}

enum Kind {
    Input {
        is_object: bool,
    },
    Output {
        /// What is asked of its values, as calls of setters.
        constraints: Vec<TokenStream>,
        checks: Vec<Check>,
    },
}

/// `#[check(function, "words for the model")]`.
pub(super) struct Check {
    pub(super) function: Expr,
    pub(super) words: String,
}

impl Parse for Check {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let function: Expr = input.parse().map_err(|error| {
            Error::new(error.span(), "a check is a function: `#[check(is_sorted, \"sorted by name\")]`")
        })?;
        let words = match input.parse::<Option<Token![,]>>()? {
            Some(_) if !input.is_empty() => {
                let words: LitStr = input.parse()?;
                input.parse::<Option<Token![,]>>()?;
                words.value()
            }
            _ => match &function {
                Expr::Path(path) => {
                    let name = path.path.segments.last().map(|last| last.ident.unraw().to_string());
                    format!("passes the check `{}`", name.unwrap_or_default())
                }
                other => {
                    let message = "say in words what is checked: `#[check(|n| ..., \"an even number\")]`";
                    return Err(Error::new(other.span(), message));
                }
            },
        };
        if !input.is_empty() {
            return Err(input.error("`#[check]` takes a function, and words for the model"));
        }
        Ok(Self { function, words })
    }
}

impl SignatureField {
    pub(super) fn read(field: &Field) -> Result<Self> {
        let Some(ident) = field.ident.clone() else {
            return Err(Error::new(field.span(), "an input or output has a name"));
        };
        let (mut kind, mut checks) = (None, Vec::new());
        for attribute in &field.attrs {
            let path = attribute.path();
            let is_input = path.is_ident("input");
            if is_input || path.is_ident("output") {
                if kind.is_some() {
                    let message = format!("`{ident}` is an input or an output, and is marked once");
                    return Err(Error::new(attribute.span(), message));
                }
                kind = Some(if is_input { input(attribute)? } else { output(attribute, &field.ty)? });
            } else if path.is_ident("check") {
                checks.push((attribute.span(), attribute.parse_args::<Check>()?));
            } else if path.is_ident("signature") {
                let message = "`#[signature]` goes on the struct";
                return Err(Error::new(attribute.span(), message));
            }
        }
        match (&mut kind, checks) {
            (Some(Kind::Output { checks: all, .. }), checks) => {
                all.extend(checks.into_iter().map(|(_, check)| check));
            }
            (Some(Kind::Input { .. }), checks) => {
                if let Some((span, _)) = checks.first() {
                    let message = "the model's outputs are checked; an input is what the program gives";
                    return Err(Error::new(*span, message));
                }
            }
            (None, _) => {
                let message = format!("`{ident}` is neither: mark it `#[input]` or `#[output]`");
                return Err(Error::new(ident.span(), message));
            }
        }
        let Some(kind) = kind else { return Err(Error::new(ident.span(), "no kind")) };
        Ok(Self {
            ty: field.ty.clone(),
            visibility: field.vis.clone(),
            docs: attributes_of_docs(&field.attrs),
            description: docs(&field.attrs).split_whitespace().collect::<Vec<_>>().join(" "),
            ident,
            kind,
        })
    }

    pub(super) fn is_input(&self) -> bool {
        matches!(self.kind, Kind::Input { .. })
    }

    /// The name in Python.
    pub(super) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    fn described(&self) -> Option<TokenStream> {
        let text = &self.description;
        (!text.is_empty()).then(|| quote!(.with_description(#text)))
    }

    /// The expression of the input.
    pub(super) fn as_input(&self, krate: &Path) -> TokenStream {
        let (name, ty, description) = (self.name(), &self.ty, self.described());
        let object = matches!(self.kind, Kind::Input { is_object: true }).then(|| quote!(.as_object()));
        quote_spanned! {ty.span()=>
            {
                #[allow(unused_imports)]
                use #krate::derived::{WithSchema as _, WithoutSchema as _};
                (&#krate::derived::Probe::<#ty>::new()).input(#name)
            } #description #object
        }
    }

    /// The expression of the output.
    pub(super) fn as_output(&self, krate: &Path) -> TokenStream {
        let (name, ty, description) = (self.name(), &self.ty, self.described());
        let Kind::Output { constraints, checks } = &self.kind else { return TokenStream::new() };
        let checks = checks.iter().map(|Check { function, words }| match function {
            // Called by its name, it may take what the output dereferences to: `&[T]` of a `Vec<T>`.
            Expr::Path(_) => {
                quote_spanned!(function.span()=> .check::<#ty, _>(#words, |value: &#ty| #function(value)))
            }
            _ => quote_spanned!(function.span()=> .check::<#ty, _>(#words, #function)),
        });
        let field = quote_spanned!(ty.span()=> #krate::derived::output::<#ty>(#name));
        quote!(#field #description #(#constraints)* #(#checks)*)
    }
}

fn input(attribute: &Attribute) -> Result<Kind> {
    let mut is_object = false;
    if !matches!(attribute.meta, Meta::Path(_)) {
        attribute.parse_nested_meta(|meta| match meta.path.is_ident("object") {
            true => {
                is_object = true;
                Ok(())
            }
            false => Err(meta.error(
                "`#[input]` knows `object`, which makes objects of its dicts; limits and checks are for \
                 outputs",
            )),
        })?;
    }
    Ok(Kind::Input { is_object })
}

fn output(attribute: &Attribute, ty: &Type) -> Result<Kind> {
    let mut constraints = Vec::new();
    if !matches!(attribute.meta, Meta::Path(_)) {
        attribute.parse_nested_meta(|meta| {
            constraints.push(constraint(&meta, ty)?);
            Ok(())
        })?;
    }
    Ok(Kind::Output { constraints, checks: Vec::new() })
}

/// The call of the setter of a constraint.
fn constraint(meta: &ParseNestedMeta<'_>, ty: &Type) -> Result<TokenStream> {
    let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
    match name.as_str() {
        "range" => {
            let range = range(meta, "range = 0..=10")?;
            Ok(quote_spanned!(range.span()=> .range(#range)))
        }
        "length" => {
            let range = range(meta, "length = 1..=5")?;
            Ok(quote_spanned!(range.span()=> .length(#range)))
        }
        "non_empty" => Ok(quote_spanned!(ty.span()=> .length(1..))),
        "pattern" => {
            let text: LitStr = meta.value()?.parse()?;
            regex_syntax::parse(&text.value()).map_err(|error| {
                Error::new(text.span(), format!("this is no regular expression: {}", last_line(&error)))
            })?;
            Ok(quote!(.pattern(#text)))
        }
        _ => Err(meta.error("`#[output]` knows `range`, `length`, `non_empty` and `pattern`")),
    }
}

/// What the parser of patterns says, without its drawing.
fn last_line(error: &regex_syntax::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A range, which holds something where its ends are written as numbers.
fn range(meta: &ParseNestedMeta<'_>, example: &str) -> Result<ExprRange> {
    let value: Expr = meta.value()?.parse()?;
    let Expr::Range(range) = value else {
        return Err(Error::new(value.span(), format!("this is a range: `{example}`")));
    };
    if let (Some(least), Some(most)) =
        (range.start.as_deref().and_then(number), range.end.as_deref().and_then(number))
    {
        let excluded = matches!(range.limits, syn::RangeLimits::HalfOpen(_));
        if least > most || excluded && least >= most {
            return Err(Error::new(range.span(), "nothing is in this range"));
        }
    }
    Ok(range)
}

/// A number that is written out.
fn number(value: &Expr) -> Option<f64> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(int) => int.base10_parse().ok(),
            Lit::Float(float) => float.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => {
            number(&unary.expr).map(|number| -number)
        }
        _ => None,
    }
}
