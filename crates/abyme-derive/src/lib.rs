//! Attributes for Abyme: a struct as the signature of a task, a function as a tool of its cells.
//!
//! Programs use them through the crate `abyme`.

mod docs;
mod signature;
mod tool;

use proc_macro::TokenStream;

/// Makes a struct the signature of a task: its fields are the inputs and outputs, its doc comment is the
/// instructions, and those of the fields are their descriptions.
///
/// ```ignore
/// /// Find and categorise error patterns.
/// #[derive(Signature)]
/// struct FindErrors {
///     /// Documentation text
///     #[input]
///     docs: Text,
///     /// Error types mapped to solutions
///     #[output(non_empty)]
///     categories: BTreeMap<String, Vec<String>>,
///     /// How many errors there are in all
///     #[output(range = 0..=10_000)]
///     #[check(is_plausible, "no more than the text has lines")]
///     total: u32,
/// }
///
/// let found = Rlm::of::<FindErrors>().model(model).interpreter(wasm).build()?
///     .run(FindErrorsInput { docs }).await?;
/// println!("{} in {} turns", found.output.total, found.turns());
/// ```
///
/// It makes the structs `FindErrorsInput` and `FindErrorsOutput`, as visible as the struct itself. They can
/// be cloned, compared and shown where all their fields can. The outputs are `serde::Serialize` where all
/// their types are.
///
/// - **An input** is of any type that converts into a `Value` or is `serde::Serialize`. Where the type is
///   `schemars::JsonSchema` too, the model is shown its shape. `#[input(object)]` makes objects of its dicts,
///   so that Python reads `row.name` in place of `row["name"]`.
/// - **An output** is of any type that is `serde::Deserialize` and `schemars::JsonSchema`: numbers, texts,
///   `Option`, tuples, lists, maps, structs and enums of them. The model is shown the shape in Python's
///   words, with the doc comments inside. What does not fit goes back to the model, with the place inside of
///   the value.
///
/// | on an output | asks for |
/// |---|---|
/// | `#[output(range = 0..=10)]` | a number in this range |
/// | `#[output(length = 1..=5)]` | so many characters of a text, items of a list, or keys of a dict |
/// | `#[output(non_empty)]` | the same as `length = 1..` |
/// | `#[output(pattern = "^[a-z]+$")]` | a text in which this regular expression is found |
/// | `#[check(function, "words")]` | what `fn(&T) -> Result<(), E>` takes, with words for the model |
///
/// All are told to the model and enforced. `#[check]` on the struct looks at all outputs together, as a
/// `&FindErrorsOutput`. Inside of a type, `#[schemars(range(min = 1))]` and its kind do the same.
///
/// The struct may have parameters, as in `struct Classify<L> { #[output] label: L }` and then
/// `Rlm::of::<Classify<Level>>()`: the structs of the inputs and outputs have those that are in their types.
/// An input whose type has a parameter is shown to the model with its shape if the struct says that the
/// parameter is `schemars::JsonSchema`. Nothing is borrowed.
///
/// `#[signature(crate = path)]` says where the crate `abyme` is, if not at `::abyme`.
#[proc_macro_derive(Signature, attributes(input, output, check, signature))]
pub fn derive_signature(item: TokenStream) -> TokenStream {
    signature::derive(item.into()).into()
}

/// Checks the string form of a signature while compiling, and is that string.
///
/// ```ignore
/// let builder = Rlm::builder(signature!("docs, query -> modules: list[str], total: int"));
/// ```
#[proc_macro]
pub fn signature(literal: TokenStream) -> TokenStream {
    signature::text(literal.into()).into()
}

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
/// | `effects(write, network)` | what it does outside of the run: `read`, `write`, `network` |
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
