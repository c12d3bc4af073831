//! What this process knows of accounts, as long as something uses it.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Values by account, each shared by all that ask for it. An account is kept as a hash: it holds keys.
#[derive(Debug)]
pub(super) struct Accounts<T>(Mutex<BTreeMap<u64, Weak<T>>>);

impl<T> Accounts<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The value of an account, or a new one.
    pub(super) fn get(&self, account: &(impl Hash + ?Sized), make: impl FnOnce() -> T) -> Arc<T> {
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        let account = hasher.finish();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.get(&account).and_then(Weak::upgrade) {
            return value;
        }
        known.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make());
        known.insert(account, Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_any_more_is_forgotten() {
        let accounts = Accounts::new();
        let first = accounts.get("a", || 1);
        assert_eq!((*accounts.get("a", || 2), *accounts.get("b", || 3)), (1, 3));
        drop(first);
        assert_eq!(*accounts.get("a", || 4), 4);
        drop(accounts.get("c", || 5));
        drop(accounts.get("d", || 6));
        assert_eq!(accounts.0.into_inner().unwrap().len(), 1, "the others went as the last one came");
    }
}
