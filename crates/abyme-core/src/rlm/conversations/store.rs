//! Many conversations by their ids, of which a few are awake and all others are files.

use std::{
    collections::HashMap,
    fmt, fs, io,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};
use twox_hash::XxHash3_64;

use super::{
    conversation::Conversation,
    limits::ConversationLimits,
    shared::{InUse, SharedConversation},
};
use crate::{
    error::{Error, ErrorKind, Result},
    names::ticked,
    rlm::config::RlmConfig,
    runtime::{HomeRuntime, off_the_runtime},
    signature::{Signature, Untyped},
    whole_file::UNFINISHED,
};

/// How the files of conversations end.
const EXTENSION: &str = ".conversation";
/// The file that a program holds locked while it uses a directory.
const LOCK: &str = "lock";
/// The longest name of a file, without its ending. All usual file systems take it.
const MAX_NAME_BYTES: usize = 200;
/// After how long a conversation is put to sleep that could not be before.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Where the conversations of a [`Conversations`] sleep, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConversationsConfig {
    /// The directory of their files. It is made where it is missing. Default `conversations`, in the working
    /// directory.
    pub directory: PathBuf,
    /// How long a conversation stays awake after its last question. Default 300 s.
    #[serde(with = "crate::seconds")]
    pub idle_timeout: Duration,
    /// Conversations that stay awake at once. Beyond that, those that were used least recently are put to
    /// sleep as soon as no question of theirs is answered. Default 64.
    pub max_awake: usize,
    /// What each of them may use. Default: no limit.
    pub limits: ConversationLimits,
}

impl Default for ConversationsConfig {
    fn default() -> Self {
        Self {
            directory: "conversations".into(),
            idle_timeout: Duration::from_secs(300),
            max_awake: 64,
            limits: ConversationLimits::default(),
        }
    }
}

impl ConversationsConfig {
    /// Sets the directory of the files.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = path.into();
        self
    }

    /// Sets how long a conversation stays awake after its last question.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// Sets how many conversations stay awake at once.
    pub fn max_awake(mut self, conversations: usize) -> Self {
        self.max_awake = conversations;
        self
    }

    /// Changes what each conversation may use, as in `.limits(|limits| limits.max_cost(5.0))`.
    pub fn limits(mut self, change: impl FnOnce(ConversationLimits) -> ConversationLimits) -> Self {
        self.limits = change(self.limits);
        self
    }
}

/// The conversations of many users, by ids. Made by [`Rlm::conversations`](crate::Rlm::conversations).
///
/// Those that were not used for a while, and the least recently used of too many, are put to sleep: then they
/// take disk, no memory and no process. A question wakes its conversation by itself.
///
/// ```no_run
/// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
/// use abyme_core::{ConversationsConfig, inputs};
///
/// let talks = rlm.conversations(ConversationsConfig::default().directory("/var/lib/app/talks").max_awake(100))?;
/// let answer = talks.open("user-42")?.ask(inputs! { question: "Where were we?" }).await?;
/// // At the end of the program: what is awake would be lost.
/// talks.sleep_all().await?;
/// # Ok(()) }
/// ```
///
/// **On disk** each conversation is one file, as [`Conversation::save`] writes it, spread over 256
/// directories; its name is the id. A conversation that is awake has in its file what it was when it slept
/// last: that is what is left of it where the program ends without [`sleep_all`](Self::sleep_all).
///
/// A directory is used by one program at a time. Clones are handles to the same conversations.
pub struct Conversations<S = Untyped> {
    inner: Arc<ConversationsInner>,
    signature: PhantomData<fn() -> S>,
}

#[derive(Debug)]
struct ConversationsInner {
    config: Arc<RlmConfig>,
    settings: ConversationsConfig,
    /// Those in memory: awake, or asleep with a handle somewhere.
    open: Mutex<HashMap<String, Arc<SharedConversation>>>,
    /// Told whenever one of them has come to rest.
    at_rest: Arc<Notify>,
    sweeper: Mutex<Option<JoinHandle<()>>>,
    /// Its lock goes with it.
    _lock: fs::File,
}

impl Drop for ConversationsInner {
    fn drop(&mut self) {
        // The sweeper sees then that there is nothing left to do.
        self.at_rest.notify_one();
    }
}

impl<S: Signature> Conversations<S> {
    pub(in crate::rlm) fn new(config: Arc<RlmConfig>, settings: ConversationsConfig) -> Result<Self> {
        let directory = &settings.directory;
        let lock = lock(directory).map_err(|error| {
            let message = match error.kind() {
                io::ErrorKind::WouldBlock => format!(
                    "the conversations in {} are in use by another program, or by this one",
                    directory.display()
                ),
                _ => format!("cannot keep conversations in {}: {error}", directory.display()),
            };
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        let inner = ConversationsInner {
            config,
            settings,
            open: Mutex::default(),
            at_rest: Arc::default(),
            sweeper: Mutex::default(),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner), signature: PhantomData })
    }

    /// The conversation of this id: awake, asleep, or a new one. Nothing is read yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an id that is empty or too long for the name of a file (200 bytes,
    /// where all but small letters, digits, `-` and `_` count three times);
    /// [`ErrorKind::Config`] outside of a tokio runtime.
    pub fn open(&self, id: &str) -> Result<Conversation<S>> {
        HomeRuntime::current()?;
        self.inner.start_sweeper();
        let path = self.inner.path(id)?;
        let limits = self.inner.settings.limits;
        Ok(Conversation::of(self.inner.shared(id, &path)).limits(|_| limits))
    }

    /// The file in which the conversation of this id sleeps, if it ever slept.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an id that [`open`](Self::open) refuses.
    pub fn path(&self, id: &str) -> Result<PathBuf> {
        self.inner.path(id)
    }

    /// How many conversations are awake now.
    pub fn awake(&self) -> usize {
        self.inner.open().values().filter(|one| one.is_awake()).count()
    }

    /// The ids of all conversations that have a file, or are in memory, in order. Reads the directories.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if they cannot be read.
    pub async fn ids(&self) -> Result<Vec<String>> {
        let directory = self.inner.settings.directory.clone();
        let listed = spawn_blocking(move || list(&directory)).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the directory was not read").with_source(error)
        })?;
        let mut ids = listed.map_err(|error| {
            let directory = self.inner.settings.directory.display();
            Error::new(ErrorKind::Io, format!("cannot read {directory}: {error}")).with_source(error)
        })?;
        ids.extend(self.inner.open().keys().cloned());
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Puts all conversations to sleep, each after the question that is being answered. A program calls it
    /// before it ends. Those in which nothing was asked get no file.
    ///
    /// # Errors
    /// The first error of [`Conversation::sleep`]; all others are put to sleep nevertheless.
    pub async fn sleep_all(&self) -> Result<()> {
        let open: Vec<_> = self.inner.open().iter().map(|(id, one)| (id.clone(), one.clone())).collect();
        let mut first = Ok(());
        for (id, shared) in open {
            let in_use = shared.lock().await;
            first = first.and(self.inner.sleep(&id, &shared, &in_use).await);
        }
        self.inner.forget_unused();
        first
    }

    /// Removes a conversation, its file too, after the question that is being answered. Says whether there
    /// was one. A handle to it that is still there begins anew.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be removed; then the conversation is as it was.
    pub async fn remove(&self, id: &str) -> Result<bool> {
        let path = self.inner.path(id)?;
        // It stays where `open` finds it, so that there are never two of one id.
        let shared = self.inner.shared(id, &path);
        let in_use = shared.lock().await;
        // A task of its own: dropped halfway, the conversation would go on from a file that is gone.
        let removal = tokio::spawn(async move {
            let removed = off_the_runtime(move || remove(&path)).await;
            let had_file = removed.unwrap_or_else(|| Err(unremoved()))?;
            let was_there = had_file || !shared.is_new();
            shared.forget(&in_use).await;
            Ok::<_, Error>(was_there)
        });
        let was_there = removal.await.map_err(|error| unremoved().with_source(error))??;
        self.inner.forget_unused();
        Ok(was_there)
    }
}

/// Removes a file. Says whether there was one.
fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let message = format!("cannot remove {}: {error}", path.display());
            Err(Error::new(ErrorKind::Io, message).with_source(error))
        }
    }
}

fn unremoved() -> Error {
    Error::new(ErrorKind::Internal, "the file of a conversation was not removed")
}

impl<S> Clone for Conversations<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), signature: PhantomData }
    }
}

impl<S> fmt::Debug for Conversations<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversations").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl ConversationsInner {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<SharedConversation>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a conversation. The directories spread tens of thousands of them.
    fn path(&self, id: &str) -> Result<PathBuf> {
        let name = encoded(id);
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let message =
                format!("the id {} is no name for a conversation: it is empty or too long", ticked(id));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let shard = XxHash3_64::oneshot(id.as_bytes()) & 0xff;
        let directory = self.settings.directory.join(format!("{shard:02x}"));
        Ok(directory.join(name + EXTENSION))
    }

    /// The conversation of an id, whose file would be at `path`.
    ///
    /// There is one of each id: the map forgets none that is held elsewhere.
    fn shared(&self, id: &str, path: &Path) -> Arc<SharedConversation> {
        let make = || {
            let asleep = path.exists().then(|| path.to_owned());
            let at_rest = Some(self.at_rest.clone());
            Arc::new(SharedConversation::new(self.config.clone(), asleep, at_rest))
        };
        self.open().entry(id.to_owned()).or_insert_with(make).clone()
    }

    /// Puts one to sleep in its file. One in which nothing was asked needs none.
    async fn sleep(&self, id: &str, shared: &SharedConversation, in_use: &InUse) -> Result<()> {
        if !shared.is_new() {
            shared.sleep(&self.path(id)?, in_use).await?;
        }
        Ok(())
    }

    /// Starts the task that puts conversations to sleep, unless it runs. (The one before may have ended with
    /// its runtime.)
    fn start_sweeper(self: &Arc<Self>) {
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *sweeper = Some(tokio::spawn(sweep(Arc::downgrade(self), self.at_rest.clone())));
        }
    }

    /// Drops those that have nothing in memory and are held by nothing else.
    fn forget_unused(&self) {
        // A new holder takes this lock first, so none appears meanwhile.
        self.open().retain(|_, one| Arc::strong_count(one) > 1 || one.is_awake());
    }

    /// Puts those to sleep that are due. Gives when to look again.
    async fn put_to_sleep(&self) -> Option<Instant> {
        let mut awake: Vec<_> = {
            let open = self.open();
            let awake = open.iter().filter(|(_, one)| one.is_awake());
            awake.map(|(id, one)| (one.last_used(), id.clone(), one.clone())).collect()
        };
        awake.sort_by_key(|(last_used, ..)| *last_used);
        let mut too_many = awake.len().saturating_sub(self.settings.max_awake);
        let mut next: Option<Instant> = None;
        let mut look_again = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for (last_used, id, shared) in awake {
            // One in use comes to rest later, and tells; or it was looked at just now.
            let Some(in_use) = shared.try_lock() else {
                look_again(Instant::now() + RETRY_PAUSE);
                continue;
            };
            if shared.last_used() != last_used {
                // It was used since the list was made, and has told.
                continue;
            }
            let due = last_used.checked_add(self.settings.idle_timeout);
            if too_many == 0 && due.is_none_or(|due| due > Instant::now()) {
                due.into_iter().for_each(&mut look_again);
                continue;
            }
            match self.sleep(&id, &shared, &in_use).await {
                Ok(()) => too_many = too_many.saturating_sub(1),
                Err(error) => {
                    tracing::warn!(%error, "a conversation stays awake");
                    look_again(Instant::now() + RETRY_PAUSE);
                }
            }
        }
        self.forget_unused();
        next
    }
}

/// Puts conversations to sleep until there is no handle to them any more.
async fn sweep(conversations: Weak<ConversationsInner>, at_rest: Arc<Notify>) {
    loop {
        let next = match conversations.upgrade() {
            Some(conversations) => conversations.put_to_sleep().await,
            None => return,
        };
        match next {
            Some(next) => drop(tokio::time::timeout_at(next, at_rest.notified()).await),
            None => at_rest.notified().await,
        }
    }
}

/// Makes the directory, for its owner alone, and locks it.
fn lock(directory: &Path) -> io::Result<fs::File> {
    make_private(directory)?;
    // Made once, so that the file of a conversation is one rename.
    shards(directory).try_for_each(|shard| make_private(&shard))?;
    let file = fs::OpenOptions::new().create(true).append(true).open(directory.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => {
            remove_unfinished(directory);
            Ok(file)
        }
        // A file system without locks leaves it to its users that there is one program.
        Err(fs::TryLockError::Error(_)) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Removes what a program left that was killed while it wrote a conversation. What cannot be removed is in
/// the way of nothing.
fn remove_unfinished(directory: &Path) {
    for entry in shards(directory).flat_map(|shard| fs::read_dir(shard).into_iter().flatten().flatten()) {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED))
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, "the rest of a conversation's file was not removed");
        }
    }
}

/// The directories that the files are spread over.
fn shards(directory: &Path) -> impl Iterator<Item = PathBuf> {
    (0..=0xff).map(move |shard| directory.join(format!("{shard:02x}")))
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// The ids of all files.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let mut ids = Vec::new();
    for shard in shards(directory) {
        for entry in fs::read_dir(shard)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| name.strip_suffix(EXTENSION)).and_then(decoded));
        }
    }
    Ok(ids)
}

/// An id as the name of a file, on file systems that take capitals for small letters too.
fn encoded(id: &str) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            byte => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({
            "directory": "conversations", "idle_timeout": 300.0, "max_awake": 64,
            "limits": {"max_tokens": null, "max_cost": null, "max_earlier_chars": 20_000},
        });
        assert_eq!(serde_json::to_value(ConversationsConfig::default()).unwrap(), expected);
    }

    #[test]
    fn an_id_is_the_name_of_its_file() {
        for id in ["user-42", "../../etc/passwd", "A b/ü%", ".", "%"] {
            let name = encoded(id);
            assert!(!name.contains(['/', '.', ' ', 'A']), "{name}");
            assert_eq!(decoded(&name).as_deref(), Some(id));
        }
        assert_ne!(encoded("A"), encoded("a"));
    }
}
