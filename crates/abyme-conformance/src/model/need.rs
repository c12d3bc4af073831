//! What cases for models need.

use std::fmt;

/// What a case for models is about, and not every model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelNeed {
    /// Its provider may be reached by HTTP.
    Wire,
    /// It bounds what it reads of one event.
    EventBound,
    /// Its streams hand pieces on as they come.
    Pieces,
    /// A request can name another model.
    OtherModels,
    /// A request can have a temperature.
    Temperature,
    /// A request can have the schema of its reply.
    Schema,
    /// It tells reasoning apart from the text.
    Reasoning,
    /// It counts the tokens of reasoning apart.
    ReasoningTokens,
    /// It counts the tokens that came from a cache apart.
    CachedTokens,
    /// It tells calls in the provider's own form apart from the text.
    NativeCalls,
}

/// The words that complete "lacks ...".
impl fmt::Display for ModelNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire => "a wire",
            Self::EventBound => "a bound of an event's size",
            Self::Pieces => "streams of pieces",
            Self::OtherModels => "other models",
            Self::Temperature => "a temperature",
            Self::Schema => "schemas of replies",
            Self::Reasoning => "reasoning",
            Self::ReasoningTokens => "counts of reasoning",
            Self::CachedTokens => "counts of what was cached",
            Self::NativeCalls => "native calls",
        })
    }
}
