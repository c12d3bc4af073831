//! What stands in `#[tool(...)]`, and doc comments.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Error, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Result, meta::ParseNestedMeta,
    parse::Parser, spanned::Spanned,
};

/// What stands in `#[tool(...)]`.
pub(super) struct ToolArguments {
    /// Where the crate `abyme` is.
    pub(super) krate: Path,
    pub(super) name: Option<LitStr>,
    pub(super) description: Option<String>,
    returns: Option<LitStr>,
    timeout: Option<TokenStream>,
    max_calls: Option<Expr>,
    max_concurrent_calls: Option<Expr>,
    effects: Vec<Ident>,
}

impl ToolArguments {
    fn new(krate: Path) -> Self {
        Self {
            krate,
            name: None,
            description: None,
            returns: None,
            timeout: None,
            max_calls: None,
            max_concurrent_calls: None,
            effects: Vec::new(),
        }
    }

    /// Reads what stands between the parentheses.
    pub(super) fn read(tokens: TokenStream) -> Result<Self> {
        let mut arguments = Self::new(syn::parse_quote!(::abyme));
        syn::meta::parser(|meta| arguments.set(&meta)).parse2(tokens)?;
        Ok(arguments)
    }

    /// Reads the attribute of a method.
    pub(super) fn of(attribute: &Attribute, krate: &Path) -> Result<Self> {
        let mut arguments = Self::new(krate.clone());
        if !matches!(attribute.meta, Meta::Path(_)) {
            attribute.parse_nested_meta(|meta| arguments.set(&meta))?;
        }
        Ok(arguments)
    }

    fn set(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(name) = meta.path.get_ident() else { return Err(unknown(meta)) };
        match name.to_string().as_str() {
            "name" => self.name = Some(meta.value()?.parse()?),
            "description" => self.description = Some(meta.value()?.parse::<LitStr>()?.value()),
            "returns" => self.returns = Some(meta.value()?.parse()?),
            "timeout" => self.timeout = Some(duration(&meta.value()?.parse()?)?),
            "max_calls" => self.max_calls = Some(meta.value()?.parse()?),
            "max_concurrent_calls" => self.max_concurrent_calls = Some(meta.value()?.parse()?),
            "effects" => meta.parse_nested_meta(|effect| {
                self.effects.push(effect_of(&effect)?);
                Ok(())
            })?,
            "crate" => self.krate = meta.value()?.call(Path::parse_mod_style)?,
            _ => return Err(unknown(meta)),
        }
        Ok(())
    }

    /// The chained setters of what is said here.
    pub(super) fn setters(&self) -> TokenStream {
        let Self { krate, returns, timeout, max_calls, max_concurrent_calls, .. } = self;
        let returns = returns.iter().map(|text| quote!(.returns(#text)));
        let timeout = timeout.iter().map(|limit| {
            quote!(.timeout({
                let limit: ::core::time::Duration = #limit;
                limit
            }))
        });
        let max_calls = max_calls.iter().map(|calls| {
            quote!(.max_calls({
                let calls: u32 = #calls;
                calls
            }))
        });
        let at_once = max_concurrent_calls.iter().map(|calls| {
            quote!(.max_concurrent_calls({
                let calls: usize = #calls;
                calls
            }))
        });
        let effects = self.effects.iter().map(|effect| quote!(.effect(#krate::Effect::#effect)));
        quote!(#(#returns)* #(#timeout)* #(#max_calls)* #(#at_once)* #(#effects)*)
    }
}

fn unknown(meta: &ParseNestedMeta<'_>) -> Error {
    meta.error(
        "`#[tool]` knows `name`, `description`, `returns`, `timeout`, `max_calls`, \
         `max_concurrent_calls`, `effects` and `crate`",
    )
}

/// The variant of `Effect` that a word stands for.
fn effect_of(word: &ParseNestedMeta<'_>) -> Result<Ident> {
    let name = word.path.get_ident().map(Ident::to_string).unwrap_or_default();
    let variant = match name.as_str() {
        "read" => "Read",
        "write" => "Write",
        "network" => "Network",
        _ => return Err(word.error("a tool's effects are `read`, `write` and `network`")),
    };
    Ok(Ident::new(variant, word.path.span()))
}

/// A `Duration`: that of a text such as `"30s"`, or the expression.
fn duration(value: &Expr) -> Result<TokenStream> {
    let Expr::Lit(ExprLit { lit, .. }) = value else { return Ok(quote!(#value)) };
    let refused = || {
        let message = "a time-out is a text such as \"30s\", \"1.5m\" or \"200ms\", or a `Duration`";
        Error::new(lit.span(), message)
    };
    let Lit::Str(text) = lit else { return Err(refused()) };
    let text = text.value();
    let unit_at = text.find(|char: char| char != '.' && !char.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds_each = match unit.trim() {
        "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 60e3,
        "h" => 3_600e3,
        _ => return Err(refused()),
    };
    let milliseconds = number.parse::<f64>().map_err(|_| refused())? * milliseconds_each;
    if milliseconds < 1.0 {
        return Err(Error::new(lit.span(), "a time-out is 1 ms at least"));
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is at least 1, and saturates"
    )]
    let milliseconds = milliseconds.round() as u64;
    Ok(quote!(::core::time::Duration::from_millis(#milliseconds)))
}

/// Takes the doc comments out of these attributes.
pub(super) fn take_docs(attributes: &mut Vec<Attribute>) -> Vec<Attribute> {
    let (docs, others) = std::mem::take(attributes).into_iter().partition(|one| one.path().is_ident("doc"));
    *attributes = others;
    docs
}
