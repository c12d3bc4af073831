//! The attributes `#[tool]` and `#[tools]`.

mod arguments;
mod parameter;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, FnArg, Ident, ImplItem, ItemFn, ItemImpl, Result, ReturnType, Safety, Signature, Type,
    ext::IdentExt, parse::Parser, spanned::Spanned,
};

use self::{
    arguments::{ToolArguments, take_docs},
    parameter::Parameter,
};
use crate::docs::docs;

/// `#[tool]` on a free function.
pub(crate) fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = expand_function(arguments, item.clone());
    expanded.unwrap_or_else(|error| with_error(error, item))
}

/// `#[tools]` on an `impl` block.
pub(crate) fn methods(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand_methods(arguments, item).unwrap_or_else(Error::into_compile_error)
}

/// The error, and the function as it was, so that what calls it has no errors of its own.
fn with_error(error: Error, item: TokenStream) -> TokenStream {
    let error = error.into_compile_error();
    let Ok(mut item) = syn::parse2::<ItemFn>(item) else { return error };
    if item.sig.receiver().is_some() {
        return error;
    }
    for input in &mut item.sig.inputs {
        if let FnArg::Typed(input) = input {
            input.attrs.clear();
        }
    }
    quote!(#error #item)
}

fn expand_function(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut arguments = ToolArguments::read(arguments)?;
    let mut item: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(error.span(), "`#[tool]` goes on a function, and `#[tools]` on an `impl` block")
    })?;
    if let Some(receiver) = item.sig.receiver() {
        let message = "a method is made a tool by `#[tools]` on its `impl` block, beside `#[tool]` on itself";
        return Err(Error::new(receiver.span(), message));
    }
    arguments.description.get_or_insert(docs(&item.attrs));
    let tool = ToolFunction::read(arguments, &mut item.sig)?;

    let (krate, name) = (&tool.arguments.krate, &item.sig.ident);
    let (visibility, documentation) =
        (std::mem::replace(&mut item.vis, syn::Visibility::Inherited), take_docs(&mut item.attrs));
    let is_async = item.sig.asyncness.is_some();
    let made = tool.make(&quote!(#name), None, is_async);
    let result = &tool.result;
    let (kind, function, boxed) = if is_async {
        let types = tool.parameters.iter().map(Parameter::type_within_a).collect::<Vec<_>>();
        let names: Vec<_> = (0..types.len()).map(|at| format_ident!("__{at}")).collect();
        let (of_all, of_function, lifetime) = match tool.parameters.iter().any(|one| one.is_borrowed) {
            true => (quote!(for<'a>), quote!(<'a>), quote!('a)),
            false => (quote!(), quote!(), quote!('static)),
        };
        let boxed = quote!(::std::pin::Pin<::std::boxed::Box<
            dyn ::core::future::Future<Output = #result> + ::core::marker::Send + #lifetime,
        >>);
        let function = quote! {
            fn __boxed #of_function (#(#names: #types),*) -> #boxed {
                ::std::boxed::Box::pin(#name(#(#names),*))
            }
        };
        (quote!(#of_all fn(#(#types),*) -> #boxed), quote!(__boxed), function)
    } else {
        let types = tool.parameters.iter().map(|parameter| &parameter.ty);
        (quote!(fn(#(#types),*) -> #result), quote!(#name), TokenStream::new())
    };
    Ok(quote! {
        #(#documentation)*
        #[allow(non_upper_case_globals)]
        #visibility const #name: #krate::FnTool<#kind> = {
            #item
            #boxed
            #[allow(unused_mut, unused_variables)]
            fn __tool() -> #krate::Tool {
                #made
            }
            #krate::FnTool::new(#function, __tool)
        };
    })
}

fn expand_methods(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut krate: syn::Path = syn::parse_quote!(::abyme);
    syn::meta::parser(|meta| {
        if !meta.path.is_ident("crate") {
            return Err(meta.error("`#[tools]` takes `crate = path` and nothing else"));
        }
        krate = meta.value()?.call(syn::Path::parse_mod_style)?;
        Ok(())
    })
    .parse2(arguments)?;
    let mut item: ItemImpl = syn::parse2(item).map_err(|error| {
        Error::new(error.span(), "`#[tools]` goes on an `impl` block, and `#[tool]` on a function")
    })?;
    if let Some((path, _)) = &item.trait_ {
        return Err(Error::new(path.span(), "`#[tools]` goes on an `impl` block of a type, not of a trait"));
    }
    let (mut tools, mut errors) = (Vec::new(), None::<Error>);
    for method in &mut item.items {
        let ImplItem::Fn(method) = method else { continue };
        let Some(at) = method.attrs.iter().position(|attribute| is_tool(attribute.path())) else { continue };
        let attribute = method.attrs.remove(at);
        let is_async = method.sig.asyncness.is_some();
        let name = method.sig.ident.clone();
        let has_state = method.sig.receiver().is_some();
        let made = ToolArguments::of(&attribute, &krate).and_then(|mut arguments| {
            arguments.description.get_or_insert(docs(&method.attrs));
            let tool = ToolFunction::read(arguments, &mut method.sig)?;
            Ok(tool.make(&quote!(Self::#name), has_state.then(|| format_ident!("__this")), is_async))
        });
        match (made, &mut errors) {
            (Ok(tool), _) => tools.push(tool),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), none) => *none = Some(error),
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    if tools.is_empty() {
        let message = "no method of this block is a tool: put `#[tool]` on those that are";
        return Err(Error::new(item.self_ty.span(), message));
    }
    item.items.push(syn::parse_quote! {
        /// The methods that are tools, with this state.
        #[allow(unused_mut, unused_variables, unreachable_pub)]
        pub fn tools(self: &::std::sync::Arc<Self>) -> ::std::vec::Vec<#krate::Tool> {
            ::std::vec![#({ #tools }),*]
        }
    });
    Ok(quote!(#item))
}

fn is_tool(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == "tool")
}

/// A function or method that becomes a tool.
struct ToolFunction {
    arguments: ToolArguments,
    name: String,
    name_span: Span,
    parameters: Vec<Parameter>,
    result: Type,
}

impl ToolFunction {
    /// Reads the head of a function, and takes the attributes off its parameters.
    fn read(arguments: ToolArguments, signature: &mut Signature) -> Result<Self> {
        check(signature)?;
        let typed = signature.inputs.iter_mut().filter_map(|input| match input {
            FnArg::Typed(input) => Some(input),
            FnArg::Receiver(_) => None,
        });
        // All mistakes at once, as the compiler does.
        let (mut parameters, mut errors) = (Vec::<Parameter>::new(), None::<Error>);
        for input in typed {
            let read = Parameter::take(input).and_then(|parameter| {
                let is_taken = parameters.iter().any(|other| other.name == parameter.name);
                match is_taken {
                    true => Err(Error::new(
                        parameter.span,
                        format!("two parameters are called `{}`", parameter.name),
                    )),
                    false => Ok(parameter),
                }
            });
            match (read, &mut errors) {
                (Ok(parameter), _) => parameters.push(parameter),
                (Err(error), Some(errors)) => errors.combine(error),
                (Err(error), none) => *none = Some(error),
            }
        }
        if let Some(errors) = errors {
            return Err(errors);
        }
        let result = match &signature.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        if let Type::ImplTrait(_) = result {
            return Err(Error::new(result.span(), "name the type that the tool returns"));
        }
        let own = &signature.ident;
        let (name, name_span) = match &arguments.name {
            Some(name) => (name.value(), name.span()),
            None => (own.unraw().to_string(), own.span()),
        };
        Ok(Self { arguments, name, name_span, parameters, result })
    }

    /// The expression that makes the `Tool`, whose calls go to `function`, with `this` before the arguments.
    fn make(&self, function: &TokenStream, this: Option<Ident>, is_async: bool) -> TokenStream {
        let Self { arguments, name, parameters, result, .. } = self;
        let krate = &arguments.krate;
        let description = arguments.description.as_deref().unwrap_or_default();
        let declared = parameters.iter().map(Parameter::declare);
        let locals: Vec<_> = (0..parameters.len()).map(|at| format_ident!("__{at}")).collect();
        let taken = parameters.iter().zip(&locals).map(|(parameter, local)| parameter.take_into(local));
        let state = this.iter().map(|this| quote!(&*#this));
        let passed = parameters.iter().zip(&locals).map(|(parameter, local)| match parameter.is_borrowed {
            true => quote!(&#local),
            false => quote!(#local),
        });
        let passed = state.chain(passed);
        let called = match is_async {
            true => quote!(#function(#(#passed),*).await),
            false => quote!(#function(#(#passed),*)),
        };
        // The errors about the result are shown at its type.
        let returned = quote_spanned!(result.span()=> #krate::declared::Returned(__result).into_result());
        let body = quote! {
            use #krate::declared::ReturnedBySerde as _;
            #(#taken)*
            let __result = #called;
            #returned
        };
        let runs = match is_async {
            true => quote!(async move { #body }),
            false => quote!(#krate::declared::blocking(move || { #body })),
        };
        let (shared, again) = match &this {
            Some(this) => (
                quote!(let #this = ::std::sync::Arc::clone(self);),
                quote!(let #this = ::std::sync::Arc::clone(&#this);),
            ),
            None => Default::default(),
        };
        let names = self.check_names();
        let setters = arguments.setters();
        quote! {
            #names
            #shared
            #krate::Tool::declared(
                #name,
                #description,
                #krate::declared::ToolParameters::new()#(#declared)*,
                {
                    use #krate::declared::{ResultOfSchema as _, ResultWithoutSchema as _};
                    (&#krate::declared::ResultType::<#result>::new()).described()
                },
                move |mut __arguments: #krate::declared::Arguments| {
                    #again
                    #runs
                },
            )
            #setters
        }
    }

    /// Checks while compiling which names a session has for itself: core knows them.
    fn check_names(&self) -> TokenStream {
        let Self { name, parameters, arguments, .. } = self;
        let krate = &arguments.krate;
        let message = format!(
            "`{name}` cannot be the name of a tool: it is a keyword of Python, or a name that the session or \
             the model's code relies on; use another, as in `#[tool(name = \"my_{name}\")]`"
        );
        let own = quote_spanned! {self.name_span=>
            const _: () = ::core::assert!(#krate::declared::is_tool_name(#name), #message);
        };
        let parameters = parameters.iter().map(|Parameter { name, span, .. }| {
            let message = format!(
                "`{name}` cannot be the name of a parameter: it is a keyword of Python; \
                 use another, as in `#[arg(name = \"{name}_\")]`"
            );
            quote_spanned! {*span=>
                const _: () = ::core::assert!(#krate::declared::is_parameter_name(#name), #message);
            }
        });
        quote!(#own #(#parameters)*)
    }
}

/// Refuses what Python cannot call.
fn check(signature: &Signature) -> Result<()> {
    let refuse = |span: Span, message: &str| Err(Error::new(span, message));
    if let Some(receiver) = signature.receiver() {
        let message = "a tool is called many times, also at the same time: take `&self`, \
                       and keep what changes in a `Mutex`";
        let is_shared = matches!(&receiver.kind, syn::ReceiverKind::Reference(_, None, None));
        if !is_shared {
            return refuse(receiver.span(), message);
        }
    }
    if let Some(generic) = signature.generics.params.first() {
        return refuse(generic.span(), "a tool cannot be generic: the code that calls it is Python");
    }
    match signature {
        Signature { safety: Safety::Unsafe(token), .. } => {
            refuse(token.span(), "a tool cannot be unsafe: a model calls it")
        }
        Signature { variadic: Some(variadic), .. } => {
            refuse(variadic.span(), "a tool's parameters have to be named")
        }
        _ => Ok(()),
    }
}
