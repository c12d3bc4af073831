//! Sub-calls in flight, so that of identical ones one is made, and the others get its answer.
//!
//! A tree of runs shares them. No call waits here for another one that could wait for it: a call that leads
//! waits for its model alone.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    interpreter::HostError,
    trajectory::CallRef,
    value::{Text, Value},
};

/// The sub-calls in flight of a tree of runs.
pub(in crate::rlm) type SubCallsInFlight = InFlight<Question, SharedAnswer>;

/// What makes two sub-calls the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::rlm) struct Question {
    pub(in crate::rlm) prompt: Text,
    /// The address of the model: two of one name may differ.
    pub(in crate::rlm) model: usize,
    pub(in crate::rlm) reply_type: Option<String>,
    pub(in crate::rlm) max_tokens: Option<u32>,
    /// Whether a temperature of 0 is asked for. With a higher one, every call is a draw of its own.
    pub(in crate::rlm) is_cold: bool,
    pub(in crate::rlm) timeout: Option<Duration>,
}

/// What came of a question, for all that asked it at the same time.
#[derive(Clone, Debug)]
pub(in crate::rlm) struct SharedAnswer {
    /// The call that was made last for it.
    pub(in crate::rlm) by: Option<CallRef>,
    /// Its reply.
    pub(in crate::rlm) text: String,
    pub(in crate::rlm) value: Result<Value, HostError>,
}

/// The questions `K` in flight, with the answers `A` that they will get.
#[derive(Debug)]
pub(in crate::rlm) struct InFlight<K, A> {
    calls: Mutex<HashMap<Arc<K>, watch::Receiver<Option<A>>>>,
}

/// What a call does about its question.
pub(in crate::rlm) enum FlightRole<'a, K: Eq + Hash, A> {
    /// The call asks the model, and answers those that follow.
    Lead(Lead<'a, K, A>),
    /// The same question is in flight: the call waits for its answer.
    Follow(Follow<A>),
}

/// The call that asks. If it is dropped without an answer, one of those that follow takes its place.
pub(in crate::rlm) struct Lead<'a, K: Eq + Hash, A> {
    in_flight: &'a InFlight<K, A>,
    key: Arc<K>,
    answer: watch::Sender<Option<A>>,
}

/// A call that waits for the answer of another one.
pub(in crate::rlm) struct Follow<A>(watch::Receiver<Option<A>>);

impl<K, A> Default for InFlight<K, A> {
    fn default() -> Self {
        Self { calls: Mutex::default() }
    }
}

impl<K: Eq + Hash, A: Clone> InFlight<K, A> {
    /// Joins the calls that ask for `key`. All of a batch join before the first of them is made.
    pub(in crate::rlm) fn join(&self, key: K) -> FlightRole<'_, K, A> {
        let mut calls = self.calls();
        if let Some(answer) = calls.get(&key) {
            return FlightRole::Follow(Follow(answer.clone()));
        }
        let (key, (answer, follow)) = (Arc::new(key), watch::channel(None));
        calls.insert(key.clone(), follow);
        FlightRole::Lead(Lead { in_flight: self, key, answer })
    }
}

impl<K, A> InFlight<K, A> {
    fn calls(&self) -> MutexGuard<'_, HashMap<Arc<K>, watch::Receiver<Option<A>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, A> Lead<'_, K, A> {
    /// Answers all that follow.
    pub(in crate::rlm) fn answer(self, answer: A) {
        self.answer.send_replace(Some(answer));
    }
}

impl<K: Eq + Hash, A> Drop for Lead<'_, K, A> {
    fn drop(&mut self) {
        self.in_flight.calls().remove(&self.key);
    }
}

impl<A: Clone> Follow<A> {
    /// The answer; `None` if the call that asked was dropped.
    pub(in crate::rlm) async fn answer(mut self) -> Option<A> {
        let answer = self.0.wait_for(Option::is_some).await;
        answer.ok().and_then(|answer| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn join<'a>(calls: &'a InFlight<u8, &'static str>, key: u8) -> FlightRole<'a, u8, &'static str> {
        calls.join(key)
    }

    #[test]
    fn those_that_follow_get_the_answer() {
        let calls = InFlight::default();
        let FlightRole::Lead(lead) = join(&calls, 1) else { panic!("the first leads") };
        let FlightRole::Follow(early) = join(&calls, 1) else { panic!("the second follows") };
        let FlightRole::Follow(waiting) = join(&calls, 1) else { panic!("and the third") };
        let mut waiting = Box::pin(waiting.answer());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        lead.answer("yes");
        assert_eq!(waiting.now_or_never(), Some(Some("yes")));
        assert_eq!(early.answer().now_or_never(), Some(Some("yes")));
        assert!(matches!(join(&calls, 1), FlightRole::Lead(_)), "what is answered is in flight no more");
    }

    #[test]
    fn a_call_that_is_dropped_leaves_its_place_to_another() {
        let calls = InFlight::default();
        let FlightRole::Lead(lead) = join(&calls, 1) else { panic!("the first leads") };
        let FlightRole::Follow(follow) = join(&calls, 1) else { panic!("the second follows") };
        assert!(matches!(join(&calls, 2), FlightRole::Lead(_)));
        drop(lead);
        assert_eq!(follow.answer().now_or_never(), Some(None));
        assert!(matches!(join(&calls, 1), FlightRole::Lead(_)));
    }
}
