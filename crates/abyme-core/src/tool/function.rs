//! The Rust functions that can be tools: async and not, with arguments and without, fallible and not.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    fmt::Display,
    future::Future,
    pin::Pin,
    sync::Arc,
};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    interpreter::HostError,
    runtime::off_the_runtime,
    value::{Text, Value},
};

/// The result of a call, when it is there.
type CallFuture = Pin<Box<dyn Future<Output = Result<Value, HostError>> + Send>>;

/// A function that can be a [`Tool`](crate::Tool). Implemented for functions and closures; not to be
/// implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool",
    note = "a tool is `Fn(Args) -> R` or `async fn(Args) -> R`, or takes no argument",
    note = "`Args` is a struct that derives `serde::Deserialize` and `schemars::JsonSchema`; a closure names \
            it: `|args: Args| ...`",
    note = "`R` is a plain value, `Serialized(value)` for a type that derives `serde::Serialize`, or a \
            `Result` whose error can be displayed; see `ToolReturn`"
)]
pub trait ToolFunction<Marker>: Send + Sync + 'static {
    /// The JSON Schema of the arguments; `None` where there are none.
    #[doc(hidden)]
    fn schema() -> Option<serde_json::Value>;

    #[doc(hidden)]
    fn call(self: Arc<Self>, arguments: Value) -> CallFuture;
}

fn schema_of<A: JsonSchema>() -> Option<serde_json::Value> {
    Some(schemars::schema_for!(A).to_value())
}

fn read<A: DeserializeOwned>(arguments: &Value) -> Result<A, HostError> {
    arguments.to().map_err(|error| HostError::type_error(error.message().to_owned()))
}

/// Marks an async function.
#[doc(hidden)]
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "it only names an implementation")]
pub struct Async;

/// Marks a function that may block.
#[doc(hidden)]
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "it only names an implementation")]
pub struct Blocking;

impl<F, A, Fut> ToolFunction<(Async, A)> for F
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema,
    Fut: Future<Output: ToolReturn> + Send + 'static,
{
    fn schema() -> Option<serde_json::Value> {
        schema_of::<A>()
    }

    fn call(self: Arc<Self>, arguments: Value) -> CallFuture {
        Box::pin(async move {
            let arguments = read(&arguments)?;
            finished(self(arguments)).await
        })
    }
}

impl<F, Fut> ToolFunction<(Async,)> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: ToolReturn> + Send + 'static,
{
    fn schema() -> Option<serde_json::Value> {
        None
    }

    fn call(self: Arc<Self>, _: Value) -> CallFuture {
        Box::pin(async move { finished(self()).await })
    }
}

impl<F, A, R> ToolFunction<(Blocking, A)> for F
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema,
    R: ToolReturn,
{
    fn schema() -> Option<serde_json::Value> {
        schema_of::<A>()
    }

    fn call(self: Arc<Self>, arguments: Value) -> CallFuture {
        Box::pin(called_off_the_runtime(move || self(read(&arguments)?).into_result()))
    }
}

impl<F, R> ToolFunction<(Blocking,)> for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: ToolReturn,
{
    fn schema() -> Option<serde_json::Value> {
        None
    }

    fn call(self: Arc<Self>, _: Value) -> CallFuture {
        Box::pin(called_off_the_runtime(move || self().into_result()))
    }
}

async fn finished(future: impl Future<Output: ToolReturn>) -> Result<Value, HostError> {
    future.await.into_result()
}

/// Runs a function on a thread that may block. Its panic is the caller's.
pub(super) async fn called_off_the_runtime(
    function: impl FnOnce() -> Result<Value, HostError> + Send + 'static,
) -> Result<Value, HostError> {
    let done = off_the_runtime(function).await;
    done.unwrap_or_else(|| Err(HostError::runtime_error("the program is shutting down")))
}

/// What a tool may return: truth values, numbers, texts, `()`, options, collections and tuples of what
/// `serde` can write, [`Value`], JSON, and a `Result` of anything that `serde` can write. Another type that
/// `serde` can write is returned in [`Serialized`], or in a `Result`.
#[diagnostic::on_unimplemented(
    message = "a tool cannot return `{Self}`",
    note = "return `Serialized(value)` for a type that derives `serde::Serialize`, or a `Result` of it whose \
            error can be displayed"
)]
pub trait ToolReturn {
    #[doc(hidden)]
    fn into_result(self) -> Result<Value, HostError>;
}

/// Lets a tool return any type that `serde` can write.
///
/// ```
/// use abyme_core::{Serialized, Tool};
///
/// #[derive(serde::Serialize)]
/// struct Size {
///     width: u32,
///     height: u32,
/// }
///
/// let size = Tool::new("size", "The size of the page.", || Serialized(Size { width: 210, height: 297 }));
/// ```
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is a wrapper")]
pub struct Serialized<T>(pub T);

impl<T: Serialize> ToolReturn for Serialized<T> {
    fn into_result(self) -> Result<Value, HostError> {
        Value::from_serialize(&self.0).map_err(HostError::from)
    }
}

impl<T: Serialize, E: Display + 'static> ToolReturn for Result<T, E> {
    fn into_result(self) -> Result<Value, HostError> {
        match self {
            Ok(value) => Serialized(value).into_result(),
            // `HostError` is the one error that names its exception. The others have no trait in common that
            // would tell them from it: `String` and `anyhow::Error` are no `std::error::Error`s.
            Err(error) => Err(match (&error as &dyn Any).downcast_ref::<HostError>() {
                Some(named) => named.clone(),
                // The alternate form of `anyhow` has the causes too.
                None => HostError::runtime_error(format!("{error:#}")),
            }),
        }
    }
}

/// Types that are returned as `serde` writes them.
macro_rules! returned_as_they_are {
    ($($({$($parameter:tt)*})? $ty:ty;)*) => {
        $(impl$(<$($parameter)*>)? ToolReturn for $ty {
            fn into_result(self) -> Result<Value, HostError> {
                Serialized(self).into_result()
            }
        })*
    };
}

returned_as_they_are! {
    bool; char; String; &'static str; Text; serde_json::Value; ();
    i8; i16; i32; i64; i128; isize; u8; u16; u32; u64; u128; usize; f32; f64;
    {T: Serialize} Option<T>;
    {T: Serialize} Vec<T>;
    {T: Serialize} VecDeque<T>;
    {T: Serialize} BTreeSet<T>;
    {T: Serialize, S} HashSet<T, S>;
    {K: Serialize, V: Serialize} BTreeMap<K, V>;
    {K: Serialize, V: Serialize, S} HashMap<K, V, S>;
    {K: Serialize, V: Serialize, S} IndexMap<K, V, S>;
    {A: Serialize, B: Serialize} (A, B);
    {A: Serialize, B: Serialize, C: Serialize} (A, B, C);
    {A: Serialize, B: Serialize, C: Serialize, D: Serialize} (A, B, C, D);
}

impl ToolReturn for Value {
    fn into_result(self) -> Result<Value, HostError> {
        Ok(self)
    }
}
