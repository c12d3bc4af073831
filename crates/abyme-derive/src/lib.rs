//! Attributes for Abyme: a struct as the signature of a task, a function as a tool of its cells.
//!
//! Programs use them through the crate `abyme`.

mod tool;

use proc_macro::TokenStream;

/// Makes a function a tool: the cells of a run call it by its name, with its parameters.
///
/// ```ignore
/// /// Finds the lines of a text that hold a needle.
/// #[tool(timeout = "10s", max_calls = 100)]
/// fn grep(
///     /// Text to search
///     text: &str,
///     needle: &str,
///     /// Lines to give at most
///     #[arg(default = 20)] limit: usize,
/// ) -> Vec<String> {
///     text.lines().filter(|line| line.contains(needle)).take(limit).map(str::to_owned).collect()
/// }
///
/// let builder = builder.tool(grep);          // or `grep.tool()`, to change it first
/// assert_eq!(grep("a\nb", "a", 1), ["a"]);   // it can be called as before
/// ```
///
/// The model reads `grep(text: str, needle: str, limit: int = 20) -> list[str]`, the function's doc comment,
/// and those of its parameters.
///
/// - **Parameters** are of any type that derives `serde::Deserialize` and `schemars::JsonSchema`, or
///   references to them (`&str`, `&[T]`). An `Option` may be left out. `#[arg(default = 10)]` gives a
///   default, `#[arg(default)]` that of the type; the type of a default is `serde::Serialize` too.
///   `#[arg(name = "..", description = "..")]` say what Python reads in place of the name and the doc
///   comment. Arguments that do not fit raise `TypeError`, with the place inside of them.
/// - **The result** is of any type that is `serde::Serialize`, or a `Result` of it. Its error raises
///   `RuntimeError` with its text; a `HostError` raises the exception that it names. The annotation comes
///   from the type's schema, where it has one.
/// - An `async` function runs on the run's own task, and must not block. Any other runs on a thread that may.
/// - **On the methods of an `impl` block** the block has the attribute [`macro@tools`].
///
/// | argument | is |
/// |---|---|
/// | `name = "find"` | the name in Python. Default: the function's |
/// | `description = "..."` | in place of the doc comment |
/// | `returns = "list[str]"` | the annotation of the result, in place of that of its type |
/// | `timeout = "30s"` | how long a call may take (`ms`, `s`, `m`, `h`, a `Duration`); then `TimeoutError` |
/// | `max_calls = 5` | how many calls a run may make; then `RuntimeError` |
/// | `max_concurrent_calls = 2` | how many calls of a run work at the same time; others wait |
/// | `crate = path` | where the crate `abyme` is, if not at `::abyme` |
///
/// The function's name becomes that of a constant (`FnTool`), so a `let` or a parameter in its scope cannot
/// have that name too.
#[proc_macro_attribute]
pub fn tool(arguments: TokenStream, item: TokenStream) -> TokenStream {
    tool::function(arguments.into(), item.into()).into()
}

/// Makes the methods of an `impl` block that have the attribute [`macro@tool`] tools, which share the state
/// behind `&self`: adds a method `tools(self: &Arc<Self>) -> Vec<Tool>`.
///
/// ```ignore
/// struct Shop { orders: Mutex<Vec<Order>> }
///
/// #[tools]
/// impl Shop {
///     /// Finds the orders of a customer.
///     #[tool(max_concurrent_calls = 4)]
///     async fn orders_of(&self, customer: String) -> Result<Vec<Order>, HostError> { .. }
/// }
///
/// let shop = Arc::new(Shop::open()?);
/// let builder = builder.tools(shop.tools());
/// ```
///
/// Methods without the attribute stay as they are, and those that have it can be called as before. Calls of
/// one cell run at the same time, so a tool takes `&self`, and what changes is behind a lock. The one
/// argument is `crate = path`.
#[proc_macro_attribute]
pub fn tools(arguments: TokenStream, item: TokenStream) -> TokenStream {
    tool::methods(arguments.into(), item.into()).into()
}
