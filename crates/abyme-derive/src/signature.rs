//! `#[derive(Signature)]`: a struct with inputs and outputs as the signature of a task.

mod field;
mod text;

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, LitStr, Path, Result, Visibility,
    WherePredicate, spanned::Spanned,
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
    if let Some(lifetime) = item.generics.lifetimes().next() {
        let message =
            "a signature owns its values: use `Text`, `String` or `Vec` in place of what is borrowed";
        return Err(Error::new(lifetime.span(), message));
    }
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

    fn is_generic(&self, field: &SignatureField) -> bool {
        self.item.generics.params.iter().any(|param| is_in(param, std::slice::from_ref(field)))
    }

    fn output_name(&self) -> Ident {
        format_ident!("{}Output", self.item.ident)
    }

    /// The parameters of the struct that these fields have in their types: those of the struct of them.
    fn generics(&self, fields: &[SignatureField]) -> Generics {
        let mut generics = self.item.generics.clone();
        generics.params =
            self.item.generics.params.clone().into_iter().filter(|one| is_in(one, fields)).collect();
        let dropped: Vec<_> =
            self.item.generics.params.iter().filter(|one| !is_in(one, fields)).map(ident_of).collect();
        let is_kept = |tokens: TokenStream| !dropped.iter().any(|ident| mentions(tokens.clone(), ident));
        for param in generics.type_params_mut() {
            let bounds = std::mem::take(&mut param.bounds);
            param.bounds = bounds.into_iter().filter(|bound| is_kept(bound.to_token_stream())).collect();
        }
        if let Some(bounds) = &mut generics.where_clause {
            let predicates = std::mem::take(&mut bounds.predicates);
            bounds.predicates =
                predicates.into_iter().filter(|bound| is_kept(bound.to_token_stream())).collect();
        }
        generics
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
        let generics = self.generics(&self.inputs);
        let generic = self.inputs.iter().filter(|field| self.is_generic(field)).map(|field| &field.ty);
        let generics = bounded(generics, generic.map(|ty| quote!(#ty: #krate::derived::InputType)));
        let (of_impl, of_type, bounds) = generics.split_for_impl();
        quote! {
            #item
            impl #of_impl ::core::convert::TryFrom<#name #of_type> for #krate::Inputs #bounds {
                type Error = #krate::Error;

                #[allow(unused_variables)]
                fn try_from(inputs: #name #of_type) -> #krate::Result<Self> {
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
        let generics = self.generics(fields);
        let (of_impl, of_type, bounds) = generics.split_for_impl();
        let more = bounds.map(|bounds| &bounds.predicates);
        let more = more.into_iter().flatten().collect::<Vec<_>>();
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
            #visibility struct #name #generics #bounds { #(#fields),* }

            impl #of_impl ::core::clone::Clone for #name #of_type
            where #(#more,)* #(for<'__a> #types: ::core::clone::Clone),*
            {
                fn clone(&self) -> Self {
                    Self { #(#idents: ::core::clone::Clone::clone(&self.#idents)),* }
                }
            }

            impl #of_impl ::core::fmt::Debug for #name #of_type
            where #(#more,)* #(for<'__a> #types: ::core::fmt::Debug),*
            {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.debug_struct(#title)#(.field(#names, &self.#idents))*.finish()
                }
            }

            #[allow(unused_variables)]
            impl #of_impl ::core::cmp::PartialEq for #name #of_type
            where #(#more,)* #(for<'__a> #types: ::core::cmp::PartialEq),*
            {
                fn eq(&self, other: &Self) -> bool {
                    true #(&& ::core::cmp::PartialEq::eq(&self.#idents, &other.#idents))*
                }
            }
        }
    }

    fn implementation(&self) -> TokenStream {
        let (krate, name) = (&self.krate, &self.item.ident);
        let (input, output) = (self.input_name(), self.output_name());
        let (of_input, of_output) = (self.generics(&self.inputs), self.generics(&self.outputs));
        let (_, of_input, _) = of_input.split_for_impl();
        let (_, of_output, _) = of_output.split_for_impl();
        let generic = |field: &&SignatureField| self.is_generic(field);
        let needed = self.inputs.iter().filter(generic).map(|field| {
            let ty = &field.ty;
            quote!(#ty: #krate::derived::InputType + 'static)
        });
        let needed = needed.chain(self.outputs.iter().filter(generic).map(|field| {
            let ty = &field.ty;
            quote!(#ty: #krate::derived::OutputType + 'static)
        }));
        let owned = self.item.generics.type_params().map(|param| {
            let ident = &param.ident;
            quote!(#ident: 'static)
        });
        let generics = bounded(self.item.generics.clone(), needed.chain(owned));
        let (of_impl, of_type, bounds) = generics.split_for_impl();
        let inputs = self.inputs.iter().map(|field| field.as_input(krate));
        let outputs = self.outputs.iter().map(|field| field.as_output(krate));
        let instructions = docs(&self.item.attrs);
        let instructions = (!instructions.is_empty()).then(|| quote!(.with_instructions(#instructions)));
        let checks = self.checks.iter().map(|Check { function, words }| {
            quote_spanned!(function.span()=> .check_outputs::<#output #of_output, _>(#words, #function))
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

            impl #of_impl #krate::Signature for #name #of_type #bounds {
                type Inputs = #input #of_input;
                type Outputs = #output #of_output;

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
        let (of_impl, _, bounds) = self.item.generics.split_for_impl();
        quote! {
            const _: () = {
                #[allow(dead_code)]
                fn described #of_impl((#(#idents,)*): (#(#types,)*)) -> (#(#types,)*) #bounds {
                    let #name { #(#idents),* } = #name { #(#idents),* };
                    (#(#idents,)*)
                }
            };
        }
    }
}

/// The same with further bounds.
fn bounded(mut generics: Generics, bounds: impl Iterator<Item = TokenStream>) -> Generics {
    let bounds: Vec<WherePredicate> = bounds.map(|bound| syn::parse_quote!(#bound)).collect();
    if !bounds.is_empty() {
        generics.make_where_clause().predicates.extend(bounds);
    }
    generics
}

fn ident_of(param: &GenericParam) -> &Ident {
    match param {
        GenericParam::Type(param) => &param.ident,
        GenericParam::Const(param) => &param.ident,
        GenericParam::Lifetime(param) => &param.lifetime.ident,
    }
}

/// Whether one of the types has the parameter in it.
fn is_in(param: &GenericParam, fields: &[SignatureField]) -> bool {
    fields.iter().any(|field| mentions(field.ty.to_token_stream(), ident_of(param)))
}

fn mentions(tokens: TokenStream, ident: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), ident),
        TokenTree::Ident(other) => other == *ident,
        _ => false,
    })
}
