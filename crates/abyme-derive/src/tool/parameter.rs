//! The parameters of a tool.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Error, Expr, ExprLit, Ident, Lit, LitStr, Pat, PatType, Result, Type, TypeReference, ext::IdentExt,
    spanned::Spanned,
};

use crate::docs::docs;

/// A parameter of a tool.
pub(super) struct Parameter {
    /// As Python has it.
    pub(super) name: String,
    pub(super) span: Span,
    /// As it was written.
    pub(super) ty: Type,
    /// What is read from Python.
    owned: Type,
    /// Whether the function takes a reference to it.
    pub(super) is_borrowed: bool,
    description: String,
    default: Option<TokenStream>,
}

impl Parameter {
    /// Reads a parameter, and takes its attributes off, which the compiler would not let pass.
    pub(super) fn take(input: &mut PatType) -> Result<Self> {
        let attributes = std::mem::take(&mut input.attrs);
        let ident = match &*input.pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() && pattern.by_ref.is_none() => &pattern.ident,
            other => {
                return Err(Error::new(
                    other.span(),
                    "a tool's parameter needs a name, which Python calls it by",
                ));
            }
        };
        let (owned, is_borrowed) = owned(&input.ty)?;
        let (mut name, mut span) = (ident.unraw().to_string(), ident.span());
        let (mut description, mut default) = (docs(&attributes), None);
        for attribute in attributes.iter().filter(|attribute| !attribute.path().is_ident("doc")) {
            if !attribute.path().is_ident("arg") {
                let message = "a tool's parameter has doc comments and `#[arg(...)]`, no other attribute";
                return Err(Error::new(attribute.span(), message));
            }
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("default") {
                    default = Some(match meta.input.peek(syn::Token![=]) {
                        true => default_of(&meta.value()?.parse()?),
                        false => quote!(::core::default::Default::default()),
                    });
                } else if meta.path.is_ident("name") {
                    let text: LitStr = meta.value()?.parse()?;
                    (name, span) = (text.value(), text.span());
                } else if meta.path.is_ident("description") {
                    description = meta.value()?.parse::<LitStr>()?.value();
                } else {
                    return Err(
                        meta.error("`#[arg]` knows `default`, `default = value`, `name` and `description`")
                    );
                }
                Ok(())
            })?;
        }
        Ok(Self { name, span, ty: (*input.ty).clone(), owned, is_borrowed, description, default })
    }

    /// The call that declares it.
    pub(super) fn declare(&self) -> TokenStream {
        let Self { name, owned, description, default, .. } = self;
        let span = owned.span();
        match default {
            Some(default) => {
                quote_spanned!(span=> .with_default::<#owned>(#name, #description, #default))
            }
            None if self.is_option() => quote_spanned!(span=> .optional::<#owned>(#name, #description)),
            None => quote_spanned!(span=> .required::<#owned>(#name, #description)),
        }
    }

    /// The statement that takes the argument.
    pub(super) fn take_into(&self, local: &Ident) -> TokenStream {
        let Self { name, owned, default, .. } = self;
        match default {
            Some(default) => quote!(let #local = __arguments.take_or::<#owned>(#name, || #default)?;),
            None => quote!(let #local = __arguments.take::<#owned>(#name)?;),
        }
    }

    /// Its type, where all references live for `'a`.
    pub(super) fn type_within_a(&self) -> Type {
        match &self.ty {
            Type::Reference(TypeReference { elem, .. }) => syn::parse_quote!(&'a #elem),
            other => other.clone(),
        }
    }

    fn is_option(&self) -> bool {
        match &self.owned {
            Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == "Option"),
            _ => false,
        }
    }
}

/// A default. A text is made the type that the parameter has, such as `String`.
fn default_of(value: &Expr) -> TokenStream {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => quote!(::core::convert::Into::into(#value)),
        _ => quote!(#value),
    }
}

/// The type that is read, and whether the function takes a reference to it.
fn owned(ty: &Type) -> Result<(Type, bool)> {
    match ty {
        Type::Reference(TypeReference { mutability: Some(token), .. }) => {
            Err(Error::new(token.span(), "a tool cannot change its arguments: Python would not see it"))
        }
        Type::Reference(TypeReference { lifetime: Some(lifetime), .. }) => {
            let message = "a tool's arguments live as long as its call: leave the lifetime out";
            Err(Error::new(lifetime.span(), message))
        }
        Type::Reference(TypeReference { elem, .. }) => Ok((
            match &**elem {
                Type::Slice(slice) => {
                    let item = &slice.elem;
                    syn::parse_quote!(::std::vec::Vec<#item>)
                }
                Type::Path(path) if path.path.is_ident("str") => syn::parse_quote!(::std::string::String),
                other => other.clone(),
            },
            true,
        )),
        Type::ImplTrait(_) => {
            Err(Error::new(ty.span(), "a tool cannot be generic: the code that calls it is Python"))
        }
        other => Ok((other.clone(), false)),
    }
}
