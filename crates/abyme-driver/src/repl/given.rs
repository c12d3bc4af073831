//! Long texts among a session's variables, which Python hands back by number.
//!
//! A cell that passes its input on to a host function would otherwise copy it out of the session, though the
//! host has it already: a run that hands a text of 100 MB to a child took four times as long.

use std::collections::BTreeMap;

use abyme_core::{Cell, HostCall, HostError, Text, Value};

use crate::repl::done::Done;

/// Texts of this many bytes and more get a number.
const LONG_BYTES: usize = 1 << 20;
/// The keyword argument that says which arguments are given texts. No parameter can have this name.
const MARK: &str = "$given";

/// The long texts that a session was given and still has.
#[derive(Clone, Debug, Default)]
pub struct GivenTexts {
    last: u64,
    texts: BTreeMap<u64, Text>,
}

impl GivenTexts {
    /// The given texts of a session that was saved.
    pub fn of(texts: BTreeMap<u64, Text>) -> Self {
        Self { last: texts.keys().next_back().copied().unwrap_or_default(), texts }
    }

    /// The texts by their numbers.
    pub fn texts(&self) -> &BTreeMap<u64, Text> {
        &self.texts
    }

    /// Gives a number to each long text among the variables of a cell, for the field `given` of its request.
    pub fn number(&mut self, cell: &Cell) -> Vec<(String, u64)> {
        let long = cell.variables.iter().filter_map(|(name, value)| match value {
            Value::Text(text) if text.len() >= LONG_BYTES => Some((name, text)),
            _ => None,
        });
        let mut numbers = Vec::new();
        for (name, text) in long {
            self.last += 1;
            self.texts.insert(self.last, text.clone());
            numbers.push((name.clone(), self.last));
        }
        numbers
    }

    /// Puts the texts back that a call has only numbers of.
    ///
    /// # Errors
    /// The call has a number that the session was not given.
    pub fn put_back(&self, call: &mut HostCall) -> Result<(), HostError> {
        let Some(named) = call.kwargs.shift_remove(MARK) else { return Ok(()) };
        let refused = || HostError::runtime_error("the call has an argument that is not a given text");
        let Value::Dict(named) = named else { return Err(refused()) };
        for (parameter, numbers) in named {
            let argument = call.kwargs.get_mut(&parameter).ok_or_else(refused)?;
            match (numbers, argument) {
                (Value::Int(number), argument) => *argument = self.text(number).ok_or_else(refused)?,
                (Value::Dict(numbers), Value::List(items)) => {
                    for (index, number) in numbers {
                        let item = index.parse().ok().and_then(|index: usize| items.get_mut(index));
                        let text = number.as_i64().and_then(|number| self.text(number));
                        *item.ok_or_else(refused)? = text.ok_or_else(refused)?;
                    }
                }
                _ => return Err(refused()),
            }
        }
        Ok(())
    }

    /// Forgets the texts that the session no longer has.
    pub fn learn(&mut self, done: &Done) {
        self.texts.retain(|number, _| done.given.contains(number));
    }

    fn text(&self, number: i64) -> Option<Value> {
        let number = u64::try_from(number).ok()?;
        self.texts.get(&number).cloned().map(Value::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kwargs: impl IntoIterator<Item = (&'static str, Value)>) -> HostCall {
        let mut call = HostCall::default();
        call.kwargs = kwargs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        call
    }

    fn given() -> (GivenTexts, Value) {
        let long = Value::from("x".repeat(LONG_BYTES));
        let mut given = GivenTexts::default();
        let cell = Cell::new("").variable("docs", long.clone()).variable("short", "y").variable("n", 1);
        assert_eq!(given.number(&cell), [("docs".to_owned(), 1)]);
        (given, long)
    }

    #[test]
    fn arguments_and_items_of_lists_are_put_back() {
        let (given, long) = given();
        let named = Value::dict([
            ("context", Value::Int(1)),
            ("contexts", Value::dict([("0", Value::Int(1)), ("2", Value::Int(1))])),
        ]);
        let items = Value::list([Value::None, Value::from("other"), Value::None]);
        let mut call = call([("context", Value::None), ("contexts", items), (MARK, named)]);
        given.put_back(&mut call).unwrap();
        assert_eq!(call.kwargs["context"], long);
        assert_eq!(call.kwargs["contexts"], Value::list([long.clone(), Value::from("other"), long]));
        assert!(!call.kwargs.contains_key(MARK));
    }

    #[test]
    fn what_was_not_given_is_refused() {
        let (given, _) = given();
        for named in [
            Value::dict([("context", Value::Int(2))]),
            Value::dict([("context", Value::Int(-1))]),
            Value::dict([("other", Value::Int(1))]),
            Value::dict([("context", Value::dict([("0", 1)]))]),
            Value::dict([("list", Value::dict([("1", 1)]))]),
            Value::dict([("list", Value::dict([("x", 1)]))]),
            Value::dict([("list", Value::dict([("0", "x")]))]),
            Value::Int(1),
        ] {
            let list = Value::list([Value::None]);
            let mut call = call([("context", Value::None), ("list", list), (MARK, named.clone())]);
            given.put_back(&mut call).expect_err(&named.repr(60));
        }
    }

    #[test]
    fn what_the_session_dropped_is_forgotten() {
        let (mut given, _) = given();
        let done = Done { given: vec![1], ..Done::default() };
        given.learn(&done);
        assert!(given.text(1).is_some());
        given.learn(&Done::default());
        assert!(given.text(1).is_none());
        assert_eq!(given.number(&Cell::new("").variable("docs", "x".repeat(LONG_BYTES)))[0].1, 2);
    }
}
