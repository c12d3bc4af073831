//! Which names the driver knows.

use std::sync::Arc;

use abyme_core::{Scope, Stage};

use super::Done;

/// The names that the driver knows from the cells before, so that they go along only when they changed.
#[derive(Clone, Debug, Default)]
pub struct KnownScope(Option<Arc<Scope>>);

impl KnownScope {
    /// The scope of a cell, if the driver has to be told.
    pub fn changed<'a>(&self, scope: &'a Arc<Scope>) -> Option<&'a Arc<Scope>> {
        let known = self.0.as_ref().is_some_and(|known| Arc::ptr_eq(known, scope) || **known == **scope);
        (!known).then_some(scope)
    }

    /// A cell with this scope came to its end; whether the host interrupted it.
    pub fn learn(&mut self, scope: &Arc<Scope>, done: &Done, interrupted: bool) {
        // The driver may not have got to know the names; the next cell brings them again.
        let unknown = interrupted || done.error.as_ref().is_some_and(|error| error.stage == Stage::Scope);
        self.0 = (!unknown).then(|| scope.clone());
    }

    /// Nothing can be said of what the driver knows: a cell was cut off, or the session is another.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use abyme_core::PythonError;

    use super::*;

    #[test]
    fn only_what_changed_goes_along() {
        let mut known = KnownScope::default();
        let (one, other) = (Arc::new(Scope::new().output("a", "int")), Arc::new(Scope::new()));
        assert_eq!(known.changed(&other), Some(&other), "the first cell brings its names, even none");
        known.learn(&one, &Done::default(), false);
        assert_eq!(known.changed(&one), None);
        assert_eq!(known.changed(&Arc::new(Scope::clone(&one))), None, "an equal one is the same");
        assert_eq!(known.changed(&other), Some(&other));
        known.forget();
        assert_eq!(known.changed(&one), Some(&one));
    }

    #[test]
    fn names_that_may_not_have_arrived_go_again() {
        let mut known = KnownScope::default();
        let scope = Arc::new(Scope::new());
        let failed_in = |stage| Done {
            error: Some(PythonError::new("ValueError", "no").stage(stage)),
            ..Done::default()
        };
        for (done, interrupted, arrived) in [
            (Done::default(), true, false),
            (failed_in(Stage::Scope), false, false),
            (failed_in(Stage::Run), false, true),
        ] {
            known.learn(&scope, &done, interrupted);
            assert_eq!(known.changed(&scope).is_none(), arrived, "{done:?}");
        }
    }
}
