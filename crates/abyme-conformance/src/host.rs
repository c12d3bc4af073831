//! The host functions that cases serve: closures with a record of the calls, and two functions that prove
//! concurrency.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use abyme_core::{FunctionSpec, HostCall, HostError, HostFunctions, ParameterSpec, Value};
use async_trait::async_trait;
use tokio::sync::{Barrier, Semaphore, watch};

type Answer = Pin<Box<dyn Future<Output = Result<Value, HostError>> + Send>>;
type Function = Arc<dyn Fn(HostCall) -> Answer + Send + Sync>;

/// A set of host functions. Clones share the record of calls.
#[derive(Clone)]
pub(crate) struct Host {
    functions: Vec<(FunctionSpec, Function)>,
    stops_clock: bool,
    calls: Arc<Mutex<Vec<HostCall>>>,
    entered: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            functions: Vec::new(),
            stops_clock: false,
            calls: Arc::default(),
            entered: Arc::new(Semaphore::new(0)),
            dropped: Arc::new(Semaphore::new(0)),
        }
    }

    /// A function that answers at once.
    pub(crate) fn function(
        self,
        spec: FunctionSpec,
        answer: impl Fn(HostCall) -> Result<Value, HostError> + Send + Sync + 'static,
    ) -> Self {
        self.asynchronous(spec, move |call| std::future::ready(answer(call)))
    }

    /// A function that may wait.
    pub(crate) fn asynchronous<F>(
        mut self,
        spec: FunctionSpec,
        answer: impl Fn(HostCall) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Value, HostError>> + Send + 'static,
    {
        self.functions.push((spec, Arc::new(move |call| Box::pin(answer(call)))));
        self
    }

    /// `echo(value)`: returns its argument.
    pub(crate) fn echo(self) -> Self {
        let spec =
            FunctionSpec::new("echo", "Gives back what it gets.").parameter(ParameterSpec::new("value"));
        self.function(spec, |call| Ok(argument(&call, "value")))
    }

    /// `fail(type_name, message)`: fails with this exception.
    pub(crate) fn fail(self) -> Self {
        let spec = FunctionSpec::new("fail", "Fails.")
            .parameter(ParameterSpec::new("type_name"))
            .parameter(ParameterSpec::new("message"));
        self.function(spec, |call| {
            let text = |name: &str| argument(&call, name).as_text().unwrap_or_default().to_owned();
            Err(HostError::new(text("type_name"), text("message")))
        })
    }

    /// `wait_forever()`: signals that it was entered, never returns, and signals when it is dropped.
    pub(crate) fn wait_forever(self) -> Self {
        let (entered, dropped) = (self.entered.clone(), self.dropped.clone());
        self.asynchronous(FunctionSpec::new("wait_forever", "Never answers."), move |_| {
            let on_drop = OnDrop(dropped.clone());
            let entered = entered.clone();
            async move {
                let _on_drop = on_drop;
                entered.add_permits(1);
                pending().await
            }
        })
    }

    /// `meet(index)`: answers `index` once `count` calls are in flight at the same time, the highest index
    /// first.
    ///
    /// This proves more than a clock can: if the calls were not concurrent, none would ever be answered.
    pub(crate) fn meet(self, count: usize) -> Self {
        let barrier = Arc::new(Barrier::new(count));
        let next = Arc::new(watch::Sender::new(i64::try_from(count).unwrap_or(i64::MAX) - 1));
        let spec = FunctionSpec::new("meet", "Waits for the others.").parameter(ParameterSpec::new("index"));
        self.asynchronous(spec, move |call| {
            let (barrier, next) = (barrier.clone(), next.clone());
            async move {
                let index = argument(&call, "index").to::<i64>().unwrap_or(-1);
                barrier.wait().await;
                let _ = next.subscribe().wait_for(|turn| *turn == index).await;
                // The next answer waits, so that this one is sent first.
                tokio::time::sleep(Duration::from_millis(5)).await;
                next.send_modify(|turn| *turn -= 1);
                Ok(Value::from(index))
            }
        })
    }

    /// `rest(seconds)`: answers after that time.
    pub(crate) fn rest(self) -> Self {
        let spec = FunctionSpec::new("rest", "Waits.").parameter(ParameterSpec::new("seconds"));
        self.asynchronous(spec, |call| async move {
            let seconds = argument(&call, "seconds").to::<f64>().unwrap_or_default();
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            Ok(Value::None)
        })
    }

    /// Lets the clock of a cell stand still during the calls of these functions.
    pub(crate) fn stopping_the_clock(mut self) -> Self {
        self.stops_clock = true;
        self
    }

    pub(crate) fn specs(&self) -> Vec<FunctionSpec> {
        self.functions.iter().map(|(spec, _)| spec.clone()).collect()
    }

    /// The calls so far, in the order of their arrival.
    pub(crate) fn calls(&self) -> Vec<HostCall> {
        self.record().clone()
    }

    /// Waits until `wait_forever` was entered this many times.
    pub(crate) async fn entered(&self, times: u32) {
        if let Ok(permits) = self.entered.acquire_many(times).await {
            permits.forget();
        }
    }

    /// Waits until this many calls of `wait_forever` are dropped. Returns whether that happened within
    /// `limit`.
    pub(crate) async fn dropped_within(&self, times: u32, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.dropped.acquire_many(times)).await.is_ok()
    }

    fn record(&self) -> MutexGuard<'_, Vec<HostCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HostFunctions for Host {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let function =
            self.functions.iter().find(|(spec, _)| spec.name == call.name).map(|(_, function)| function);
        let Some(function) = function else {
            return Err(HostError::new("NameError", format!("the host has no function `{}`", call.name)));
        };
        self.record().push(call.clone());
        function(call).await
    }

    fn stops_clock(&self, _: &HostCall) -> bool {
        self.stops_clock
    }
}

/// An argument of a call; `Value::None` if it is missing.
pub(crate) fn argument(call: &HostCall, name: &str) -> Value {
    call.kwargs.get(name).cloned().unwrap_or_default()
}

struct OnDrop(Arc<Semaphore>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
