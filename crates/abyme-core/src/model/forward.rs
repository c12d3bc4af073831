//! What a wrapper leaves to the model under it, written once, and the pointers that leave all of it.

use std::sync::Arc;

use super::language_model::LanguageModel;

/// Methods of [`LanguageModel`] that answer as the model under a wrapper does:
/// `forward!(this => this.model; name check ...)`. With `all` in place of names: every one.
macro_rules! forward {
    ($this:ident => $model:expr; all) => {
        $crate::model::forward::forward!($this => $model;
            name check price reports_cost max_input_tokens limits_each_try rate_limiter secrets
            complete stream stopped_early);
    };
    ($this:ident => $model:expr; $($method:ident)*) => {
        $( $crate::model::forward::forward!(@$method $this $model); )*
    };
    (@name $this:ident $model:expr) => {
        fn name(&self) -> &str {
            let $this = self;
            $model.name()
        }
    };
    (@check $this:ident $model:expr) => {
        fn check(&self) -> $crate::error::Result<()> {
            let $this = self;
            $model.check()
        }
    };
    (@price $this:ident $model:expr) => {
        fn price(&self) -> Option<$crate::model::price::Price> {
            let $this = self;
            $model.price()
        }
    };
    (@reports_cost $this:ident $model:expr) => {
        fn reports_cost(&self) -> bool {
            let $this = self;
            $model.reports_cost()
        }
    };
    (@max_input_tokens $this:ident $model:expr) => {
        fn max_input_tokens(&self) -> Option<u64> {
            let $this = self;
            $model.max_input_tokens()
        }
    };
    (@limits_each_try $this:ident $model:expr) => {
        fn limits_each_try(&self) -> bool {
            let $this = self;
            $model.limits_each_try()
        }
    };
    (@rate_limiter $this:ident $model:expr) => {
        fn rate_limiter(&self) -> Option<$crate::model::rate_limiter::RateLimiter> {
            let $this = self;
            $model.rate_limiter()
        }
    };
    (@secrets $this:ident $model:expr) => {
        fn secrets(&self) -> Vec<String> {
            let $this = self;
            $model.secrets()
        }
    };
    // As `async_trait` writes it, without a box of its own.
    (@complete $this:ident $model:expr) => {
        fn complete<'a, 'r, 'f>(
            &'a self,
            request: &'r $crate::model::message::Request,
        ) -> futures_util::future::BoxFuture<'f, $crate::error::Result<$crate::model::message::Response>>
        where
            'a: 'f,
            'r: 'f,
            Self: 'f,
        {
            let $this = self;
            $model.complete(request)
        }
    };
    (@stopped_early $this:ident $model:expr) => {
        fn stopped_early<'a, 'r, 's, 'f>(
            &'a self,
            request: &'r $crate::model::message::Request,
            reply: &'s $crate::model::message::Response,
        ) -> futures_util::future::BoxFuture<'f, ()>
        where
            'a: 'f,
            'r: 'f,
            's: 'f,
            Self: 'f,
        {
            let $this = self;
            $model.stopped_early(request, reply)
        }
    };
    (@stream $this:ident $model:expr) => {
        fn stream<'a>(
            &'a self,
            request: &'a $crate::model::message::Request,
        ) -> $crate::model::stream::ResponseStream<'a> {
            let $this = self;
            $model.stream(request)
        }
    };
}
pub(super) use forward;

#[deny(clippy::missing_trait_methods)]
impl<T: LanguageModel + ?Sized> LanguageModel for Arc<T> {
    forward!(this => (**this); all);
}

#[deny(clippy::missing_trait_methods)]
impl<T: LanguageModel + ?Sized> LanguageModel for Box<T> {
    forward!(this => (**this); all);
}
