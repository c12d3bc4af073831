//! Answers that are of no use.

use abyme_core::Usage;

use crate::provider_error::ProviderError;

/// Why an answer in the provider's form is no reply, for [`Exchange`](crate::Exchange) to make an error of.
#[derive(Clone, Debug, PartialEq)]
pub struct Unusable(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    why: Why,
    usage: Option<Usage>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Why {
    Malformed(String),
    Refused(String),
    Failed(ProviderError),
}

impl Unusable {
    /// It does not have the form of a reply.
    pub fn malformed(what: impl Into<String>) -> Self {
        Self::new(Why::Malformed(what.into()))
    }

    /// The model or a filter refused, in its own words.
    pub fn refused(words: impl Into<String>) -> Self {
        Self::new(Why::Refused(words.into()))
    }

    /// It says that something failed.
    pub fn failed(error: ProviderError) -> Self {
        Self::new(Why::Failed(error))
    }

    /// Sets what it used all the same: the provider counts an answer that is of no use.
    pub fn usage(mut self, usage: impl Into<Option<Usage>>) -> Self {
        self.0.usage = usage.into();
        self
    }

    fn new(why: Why) -> Self {
        Self(Box::new(Inner { why, usage: None }))
    }

    pub(crate) fn into_parts(self) -> (Why, Option<Usage>) {
        (self.0.why, self.0.usage)
    }
}
