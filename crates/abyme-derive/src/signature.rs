//! `#[derive(Signature)]`: a struct with inputs and outputs as the signature of a task.

mod field;
mod text;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Data, DeriveInput, Error, Fields, Generics, Ident, LitStr, Path, Result, Visibility, spanned::Spanned,
};

use self::field::{Check, SignatureField};
use crate::docs::docs;

/// The pair of structs, and the implementation.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    syn::parse2(item).and_then(expand).unwrap_or_else(Error::into_compile_error)
}

/// The text of a signature, checked.
pub(crate) fn text(literal: TokenStream) -> TokenStream {
    let literal: LitStr = match syn::parse2(literal) {
        Ok(literal) => literal,
        Err(error) => {
            let message = "`signature!` takes a signature in quotes: `signature!(\"docs -> total: int\")`";
            return Error::new(error.span(), message).into_compile_error();
        }
    };
    let text = literal.value();
    match text::names(&text) {
        Ok((inputs, outputs)) => {
            let names =
                inputs.iter().map(|name| (name, true)).chain(outputs.iter().map(|name| (name, false)));
            let names = names.map(|(name, is_input)| {
                quote_spanned!(literal.span()=> ::abyme::derived::assert_name(#name, #is_input);)
            });
            quote!({
                const _: () = { #(#names)* };
                #literal
            })
        }
        Err((at, problem)) => {
            let before = text.get(..at).unwrap_or(&text).chars().count();
            Error::new(literal.span(), format!("at {before}: {problem}")).into_compile_error()
        }
    }
}

fn expand(item: DeriveInput) -> Result<TokenStream> {
    refuse_generics(&item.generics)?;
    let Data::Struct(data) = &item.data else {
        let message = "a signature is a struct with a field for each input and output";
        return Err(Error::new(item.ident.span(), message));
    };
    let Fields::Named(fields) = &data.fields else {
        let message =
            "the inputs and outputs of a signature have names: `struct Task { #[output] total: u32 }`";
        return Err(Error::new(item.ident.span(), message));
    };
    let mut problems = Problems(None);
    let mut krate = syn::parse_quote!(::abyme);
    let mut checks = Vec::new();
    for attribute in &item.attrs {
        let path = attribute.path();
        if path.is_ident("signature") {
            problems.note(attribute.parse_nested_meta(|meta| match meta.path.is_ident("crate") {
                true => {
                    krate = meta.value()?.call(Path::parse_mod_style)?;
                    Ok(())
                }
                false => Err(meta.error("`#[signature(...)]` knows `crate`")),
            }));
        } else if path.is_ident("check") {
            checks.extend(problems.note(attribute.parse_args::<Check>()));
        } else if path.is_ident("input") || path.is_ident("output") {
            let message = "the fields of the struct are marked `#[input]` and `#[output]`, not the struct";
            problems.note::<()>(Err(Error::new(attribute.span(), message)));
        }
    }
    let fields: Vec<_> =
        fields.named.iter().filter_map(|field| problems.note(SignatureField::read(field))).collect();
    problems.into_result()?;
    let (inputs, outputs): (Vec<_>, Vec<_>) = fields.into_iter().partition(SignatureField::is_input);
    if outputs.is_empty() {
        let message = "a signature needs at least one output: mark a field `#[output]`";
        return Err(Error::new(item.ident.span(), message));
    }
    let task = Task { krate, checks, inputs, outputs, item: &item };
    let (input, output) = (task.input(), task.output());
    let (implementation, live) = (task.implementation(), task.kept_alive());
    Ok(quote!(#input #output #implementation #live))
}

fn refuse_generics(generics: &Generics) -> Result<()> {
    let Some(parameter) = generics.params.first() else { return Ok(()) };
    let message = match parameter {
        syn::GenericParam::Lifetime(_) => {
            "a signature owns its values: use `Text`, `String` or `Vec` in place of what is borrowed"
        }
        _ => "a signature has no parameters: the model is shown the types of its fields",
    };
    Err(Error::new(parameter.span(), message))
}

/// All errors as one, so that a person sees them at once.
struct Problems(Option<Error>);

impl Problems {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        match (result, &mut self.0) {
            (Ok(value), _) => return Some(value),
            (Err(error), Some(all)) => all.combine(error),
            (Err(error), none) => *none = Some(error),
        }
        None
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

struct Task<'a> {
    krate: Path,
    checks: Vec<Check>,
    inputs: Vec<SignatureField>,
    outputs: Vec<SignatureField>,
    item: &'a DeriveInput,
}

impl Task<'_> {
    fn input_name(&self) -> Ident {
        format_ident!("{}Input", self.item.ident)
    }

    fn output_name(&self) -> Ident {
        format_ident!("{}Output", self.item.ident)
    }

    /// The struct of the inputs, and how they become those of a run.
    fn input(&self) -> TokenStream {
        let (krate, name) = (&self.krate, self.input_name());
        let text = format!("The inputs of [`{}`].", self.item.ident);
        let item = self.data(&name, &text, &quote!(), &self.inputs);
        let values = self.inputs.iter().map(|field| {
            let (ident, name, ty) = (&field.ident, field.name(), &field.ty);
            quote_spanned! {ty.span()=>
                .with(#name, {
                    #[allow(unused_imports)]
                    use #krate::derived::{ByValue as _, BySerde as _};
                    (&#krate::derived::Probe::<#ty>::new()).way().convert(#name, inputs.#ident)?
                })
            }
        });
        quote! {
            #item
            impl ::core::convert::TryFrom<#name> for #krate::Inputs {
                type Error = #krate::Error;

                #[allow(unused_variables)]
                fn try_from(inputs: #name) -> #krate::Result<Self> {
                    ::core::result::Result::Ok(#krate::Inputs::new()#(#values)*)
                }
            }
        }
    }

    /// The struct of the outputs.
    fn output(&self) -> TokenStream {
        let krate = &self.krate;
        let text = format!("The outputs of [`{}`].", self.item.ident);
        let serde = quote!(#krate::derived::serde);
        let serde_text = serde.to_string();
        let types: Vec<_> = self.outputs.iter().map(|field| &field.ty).collect();
        let written = quote!(#(for<'__a> #types: #serde::Serialize),*).to_string();
        let read = quote!(#(for<'__a> #types: #serde::de::DeserializeOwned),*).to_string();
        let attributes = quote! {
            #[derive(#serde::Serialize, #serde::Deserialize)]
            #[serde(crate = #serde_text, bound(serialize = #written, deserialize = #read))]
        };
        self.data(&self.output_name(), &text, &attributes, &self.outputs)
    }

    /// A struct of these fields. It can be cloned, shown and compared where all its fields can: `for<'__a>`
    /// has the compiler decide that where it is used, and not where it is written.
    fn data(
        &self,
        name: &Ident,
        text: &str,
        attributes: &TokenStream,
        fields: &[SignatureField],
    ) -> TokenStream {
        let visibility = &self.item.vis;
        let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
        let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
        let names: Vec<_> = fields.iter().map(SignatureField::name).collect();
        let title = name.to_string();
        let fields = fields.iter().map(|SignatureField { ident, ty, docs, visibility: own, .. }| {
            let visibility = match own {
                Visibility::Inherited => visibility,
                own => own,
            };
            quote!(#(#docs)* #visibility #ident: #ty)
        });
        quote! {
            #[doc = #text]
            #[allow(missing_docs)]
            #attributes
            #visibility struct #name { #(#fields),* }

            impl ::core::clone::Clone for #name where #(for<'__a> #types: ::core::clone::Clone),* {
                fn clone(&self) -> Self {
                    Self { #(#idents: ::core::clone::Clone::clone(&self.#idents)),* }
                }
            }

            impl ::core::fmt::Debug for #name where #(for<'__a> #types: ::core::fmt::Debug),* {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.debug_struct(#title)#(.field(#names, &self.#idents))*.finish()
                }
            }

            #[allow(unused_variables)]
            impl ::core::cmp::PartialEq for #name where #(for<'__a> #types: ::core::cmp::PartialEq),* {
                fn eq(&self, other: &Self) -> bool {
                    true #(&& ::core::cmp::PartialEq::eq(&self.#idents, &other.#idents))*
                }
            }
        }
    }

    fn implementation(&self) -> TokenStream {
        let (krate, name) = (&self.krate, &self.item.ident);
        let (input, output) = (self.input_name(), self.output_name());
        let inputs = self.inputs.iter().map(|field| field.as_input(krate));
        let outputs = self.outputs.iter().map(|field| field.as_output(krate));
        let instructions = docs(&self.item.attrs);
        let instructions = (!instructions.is_empty()).then(|| quote!(.with_instructions(#instructions)));
        let checks = self.checks.iter().map(|Check { function, words }| {
            quote_spanned!(function.span()=> .check_outputs::<#output, _>(#words, #function))
        });
        let names = self.inputs.iter().chain(&self.outputs).map(|field| {
            let (text, is_input) = (field.name(), field.is_input());
            // The error is to be at the field, so all of the call has its place.
            let span = field.ident.span();
            let krate = quote!(#krate).into_iter().map(|mut token| {
                token.set_span(span);
                token
            });
            let krate: TokenStream = krate.collect();
            quote_spanned!(span=> const _: () = #krate::derived::assert_name(#text, #is_input);)
        });
        quote! {
            #(#names)*

            impl #krate::Signature for #name {
                type Inputs = #input;
                type Outputs = #output;

                fn signature() -> #krate::Result<#krate::TaskSignature> {
                    let signature = #krate::TaskSignature::new([#(#inputs),*], [#(#outputs),*])?;
                    ::core::result::Result::Ok(signature #instructions #(#checks)*)
                }
            }
        }
    }

    /// The struct describes a task, and a program makes no value of it; the compiler is not to warn of that.
    fn kept_alive(&self) -> TokenStream {
        let name = &self.item.ident;
        let fields: Vec<_> = self.inputs.iter().chain(&self.outputs).collect();
        let (idents, types): (Vec<_>, Vec<_>) = fields.iter().map(|field| (&field.ident, &field.ty)).unzip();
        quote! {
            const _: () = {
                #[allow(dead_code)]
                fn described((#(#idents,)*): (#(#types,)*)) -> (#(#types,)*) {
                    let #name { #(#idents),* } = #name { #(#idents),* };
                    (#(#idents,)*)
                }
            };
        }
    }
}
