//! The tokens of servers. They come from the environment: all users of a machine can see flags.

use abyme_listen::Token;

use crate::exit::Failure;

/// The token that a variable holds, if it holds one.
///
/// # Errors
/// If what it holds cannot be a token.
pub(crate) fn given(variable: &str) -> Result<Option<String>, Failure> {
    // Text that is not UTF-8 is refused as a token.
    let value = std::env::var_os(variable).map(|value| value.to_string_lossy().into_owned());
    let token = Token::given(value.as_deref());
    let token = token.map_err(|problem| Failure::usage(format!("{variable}: the token {problem}")))?;
    Ok(token.map(str::to_owned))
}
