//! The type of a case for models, and the macro that defines such cases.

use std::{fmt, sync::Arc, time::Duration};

use super::{exam::Exam, harness::ModelHarness, need::ModelNeed};
use crate::job::{CaseFuture, Job, is_name_of};

/// One case for models: what a provider does, and what the model has to make of it, for one clause of the
/// contract in the docs of [`LanguageModel`](abyme_core::LanguageModel).
pub struct ModelCase {
    pub(crate) name: &'static str,
    pub(crate) clause: u8,
    pub(crate) doc: &'static str,
    pub(crate) needs: &'static [ModelNeed],
    pub(crate) alone: Option<&'static str>,
    pub(crate) run: for<'a> fn(&'a Exam) -> CaseFuture<'a>,
}

impl fmt::Debug for ModelCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelCase").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How long a case may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(60);

impl ModelCase {
    /// The theme and the case's own name: `m7_streams::pieces_add_up`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of the clause.
    pub fn clause(&self) -> u8 {
        self.clause
    }

    /// What the case expects, in a sentence or two.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// What a model must be able to do for the case to apply.
    pub fn needs(&self) -> &'static [ModelNeed] {
        self.needs
    }

    /// The reason why the case runs alone: it measures the process. `None` if it does not.
    pub fn alone(&self) -> Option<&'static str> {
        self.alone
    }

    /// Whether `name` means this case: the full name, or what follows `::`.
    pub fn is_called(&self, name: &str) -> bool {
        is_name_of(name, self.name)
    }

    /// The case over the models of `harness`.
    pub(crate) fn job(&'static self, harness: Arc<dyn ModelHarness>) -> Job {
        let lacking = self.needs.iter().find(|need| harness.lacks().contains(need));
        Job {
            name: self.name,
            doc: self.doc(),
            of: harness.name().to_owned(),
            lacks: lacking.map(|need| need.to_string()),
            is_alone: self.alone.is_some(),
            limit: LIMIT,
            run: Box::new(move || {
                let exam = Exam::new(harness.clone());
                Box::pin(async move { (self.run)(&exam).await })
            }),
        }
    }
}

/// Defines the cases of one theme, and the table `CASES` of them. So each name is written only once.
///
/// After the doc comment, a case may state `#[needs(Wire, ...)]`, and `#[alone = "why"]` (nothing else
/// runs meanwhile), in this order.
macro_rules! model_cases {
    (
        theme $theme:ident, clause $clause:literal;
        $(
            $(#[doc = $doc:literal])+
            $(#[needs($($need:ident),+)])?
            $(#[alone = $alone:literal])?
            async fn $name:ident($exam:ident) $body:block
        )*
    ) => {
        /// The cases of this theme.
        pub(super) const CASES: &[$crate::model::case::ModelCase] = &[$($crate::model::case::ModelCase {
            name: concat!(stringify!($theme), "::", stringify!($name)),
            clause: $clause,
            doc: concat!($($doc, "\n"),+),
            needs: &[$($($crate::model::need::ModelNeed::$need),+)?],
            alone: $crate::case::alone!($($alone)?),
            run: |exam| Box::pin($name(exam)),
        }),*];

        $(
            $(#[doc = $doc])+
            async fn $name($exam: &$crate::model::exam::Exam) $body
        )*
    };
}

pub(crate) use model_cases;
