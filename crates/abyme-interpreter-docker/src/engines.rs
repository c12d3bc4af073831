//! The engines of one factory, and the choice of the one that the next session starts on.
//!
//! A session is started where sessions then claim the smallest share of memory or processors, those of other
//! programs included. An engine that fails comes last for a while, so that a machine that is gone costs one
//! wait and not one for each session.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::Owner;
use bollard::{Docker, errors::Error as DockerError, query_parameters::ListContainersOptionsBuilder};
use futures_util::future::join_all;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use crate::{
    claim::Claim,
    config::Config,
    container::{self, SESSION},
    engine::{Address, Client, find_addresses},
    image::{self, Image, Reporter},
};

/// How long what an engine said of its load counts.
const LOAD_MAX_AGE: Duration = Duration::from_secs(2);
/// How long an engine may take to say it. One that takes longer is left out.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an engine is left out after its first failure in a row; the time doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// One engine: the connection to it, made on first use, and what is known of it.
#[derive(Debug)]
pub(crate) struct Engine {
    address: Address,
    client: OnceCell<Client>,
    image: tokio::sync::Mutex<Option<Image>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    left_out_until: Option<Instant>,
    /// Why it was left out, where nobody was told yet.
    untold: Option<(String, Duration)>,
    load: Option<(Instant, Load)>,
}

/// What an engine's machine has, and how much of it sessions claim.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Load {
    memory_bytes: f64,
    cpus: f64,
    claimed: Claim,
}

impl Load {
    /// The share of the machine that would be claimed with one more session: of its memory or its processors,
    /// whichever is scarcer.
    fn share_with(&self, claim: Claim) -> f64 {
        let claimed = self.claimed.plus(claim);
        (claimed.memory_bytes / self.memory_bytes.max(1.0)).max(claimed.cpus / self.cpus.max(0.01))
    }
}

impl Engine {
    fn new(address: Address) -> Self {
        Self {
            address,
            client: OnceCell::new(),
            image: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Its address, with the scheme.
    pub(crate) fn url(&self) -> &str {
        &self.address.url
    }

    /// The connection, made on first use. A failure is not remembered.
    pub(crate) async fn client(&self, owner: &Owner) -> Result<&Client> {
        let connect = || async {
            let client = Client::connect(self.address.clone()).await?;
            container::sweep_in_background(&client, owner);
            Ok(client)
        };
        self.client.get_or_try_init(connect).await
    }

    /// The image, looked for on first use. Further callers wait while it is fetched.
    pub(crate) async fn image(&self, client: &Client, config: &Config, reporter: &Reporter) -> Result<Image> {
        let mut image = self.image.lock().await;
        if let Some(image) = &*image {
            return Ok(image.clone());
        }
        let available = image::ensure(client, config, reporter).await?;
        Ok(image.insert(available).clone())
    }

    /// Lets the image be looked for again.
    pub(crate) async fn forget_image(&self) {
        *self.image.lock().await = None;
    }

    /// Waits until everything that is to be removed has been removed.
    pub(crate) async fn settled(&self) {
        if let Some(client) = self.client.get() {
            client.thread.settled().await;
        }
    }

    /// Leaves the engine out for a while.
    fn failed(&self, error: &Error) {
        let mut state = self.state();
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(state.failures)).min(MAX_PAUSE);
        state.failures = state.failures.saturating_add(1);
        state.left_out_until = Some(Instant::now() + pause);
        state.load = None;
        state.untold = Some((error.to_string(), pause));
    }

    /// Why it was left out, once.
    fn take_untold(&self) -> Option<(String, Duration)> {
        self.state().untold.take()
    }

    fn worked(&self) {
        let mut state = self.state();
        (state.failures, state.left_out_until) = (0, None);
    }

    /// What the engine's machine has and sessions claim of it, asked for unless it was asked a moment ago.
    /// An engine that does not say it is left out.
    async fn load(&self, owner: &Owner) -> Option<Load> {
        let now = Instant::now();
        {
            let state = self.state();
            if state.left_out_until.is_some_and(|until| now < until) {
                return None;
            }
            if let Some((read, load)) = state.load
                && now.duration_since(read) < LOAD_MAX_AGE
            {
                return Some(load);
            }
        }
        let late = || Error::new(ErrorKind::Unavailable, format!("{} does not answer", self.address));
        let load = timeout(LOAD_TIMEOUT, self.ask_load(owner)).await.unwrap_or_else(|_| Err(late()));
        match load {
            Ok(load) => {
                self.state().load = Some((now, load));
                Some(load)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    async fn ask_load(&self, owner: &Owner) -> Result<Load> {
        let client = self.client(owner).await?;
        let load = client.thread.run(read_load(client.docker.clone())).await?;
        load.map_err(|error| client.failed("the engine does not say how busy it is", error))
    }

    /// Counts a session that is about to start there, until the engine is asked again.
    fn claim(&self, claim: Claim) {
        if let Some((_, load)) = &mut self.state().load {
            load.claimed = load.claimed.plus(claim);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_load(docker: Docker) -> Result<Load, DockerError> {
    let filters = HashMap::from([("label", vec![SESSION])]);
    let running = ListContainersOptionsBuilder::default().filters(&filters).build();
    let (machine, sessions) = (docker.info().await?, docker.list_containers(Some(running)).await?);
    let claims = sessions.iter().filter_map(|session| session.labels.as_ref()).map(Claim::in_labels);
    Ok(Load {
        memory_bytes: machine.mem_total.unwrap_or_default() as f64,
        cpus: machine.ncpu.unwrap_or(1) as f64,
        claimed: claims.fold(Claim::default(), Claim::plus),
    })
}

/// The engines of one factory.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    /// Found on first use.
    all: OnceCell<Vec<Engine>>,
}

impl Engines {
    /// All of them, in the order of the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if an address cannot be used.
    pub(crate) async fn all(&self, config: &Config) -> Result<&[Engine]> {
        let find = || async { Ok(find_addresses(&config.hosts)?.into_iter().map(Engine::new).collect()) };
        self.all.get_or_try_init(find).await.map(Vec::as_slice)
    }

    /// Those that were found already.
    pub(crate) fn known(&self) -> &[Engine] {
        self.all.get().map_or(&[], Vec::as_slice)
    }

    /// Starts something on the engine that is best for it; where that engine fails, on the next best.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if all engines failed, saying what each did; at once an error of another
    /// kind, which the other engines would repeat.
    pub(crate) async fn start<'a, T, F: Future<Output = Result<T>>>(
        &'a self,
        config: &Config,
        owner: &Owner,
        start: impl Fn(&'a Engine) -> F,
    ) -> Result<T> {
        let engines = match self.all(config).await? {
            [only] => return start(only).await,
            engines => engines,
        };
        let claim = Claim::of(config);
        let mut failures = Vec::new();
        for engine in by_share(engines, owner, claim).await {
            engine.claim(claim);
            match start(engine).await {
                Ok(started) => {
                    engine.worked();
                    warn_of_left_out(engines);
                    return Ok(started);
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    engine.failed(&error);
                    let said = error.message();
                    failures.push(match said.contains(engine.url()) {
                        true => said.to_owned(),
                        false => format!("{}: {said}", engine.address),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        // The error says it all.
        engines.iter().for_each(|engine| drop(engine.take_untold()));
        let what =
            format!("none of {} Docker engines starts a session: {}", engines.len(), failures.join("; "));
        Err(Error::new(ErrorKind::Unavailable, what))
    }
}

/// Says which engines were left out since the last session, although the session was started elsewhere.
fn warn_of_left_out(engines: &[Engine]) {
    for engine in engines {
        if let Some((error, pause)) = engine.take_untold() {
            let (engine, pause_seconds) = (&engine.address, pause.as_secs());
            tracing::warn!(error, %engine, pause_seconds, "engine left out");
        }
    }
}

/// The engines, the one with the smallest share first. Those that are left out come last: they are tried
/// where all others fail.
async fn by_share<'a>(engines: &'a [Engine], owner: &Owner, claim: Claim) -> Vec<&'a Engine> {
    let loads = join_all(engines.iter().map(|engine| engine.load(owner))).await;
    let shares = loads.into_iter().map(|load| load.map_or(f64::INFINITY, |load| load.share_with(claim)));
    let mut by_share: Vec<_> = shares.zip(engines).collect();
    by_share.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    by_share.into_iter().map(|(_, engine)| engine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    fn engine(name: &str, load: Option<Load>) -> Engine {
        let [address] = find_addresses(&[format!("unix:///{name}.sock")]).unwrap().try_into().unwrap();
        let engine = Engine::new(address);
        engine.state().load = load.map(|load| (Instant::now(), load));
        engine
    }

    fn load(memory: f64, cpus: f64, sessions: f64) -> Load {
        let claimed = Claim { memory_bytes: sessions * GIB / 2.0, cpus: sessions };
        Load { memory_bytes: memory * GIB, cpus, claimed }
    }

    #[test]
    fn the_scarcer_of_memory_and_processors_counts() {
        let claim = Claim::of(&Config::default());
        assert_eq!(load(8.0, 4.0, 1.0).share_with(claim), 0.5, "two of four processors");
        assert_eq!(load(1.0, 64.0, 1.0).share_with(claim), 1.0, "all of the memory");
    }

    #[tokio::test]
    async fn sessions_go_where_the_smallest_share_is_claimed_and_count_at_once() {
        let engines = Engines::default();
        let two = vec![engine("a", Some(load(8.0, 4.0, 0.0))), engine("b", Some(load(16.0, 8.0, 0.0)))];
        engines.all.set(two).unwrap();
        let (config, owner) = (Config::default(), Owner::this());
        let mut started = Vec::new();
        for _ in 0..6 {
            let start = |engine: &'_ Engine| std::future::ready(Ok(engine.address.url.clone()));
            started.push(engines.start(&config, &owner, start).await.unwrap());
        }
        let on_a = started.iter().filter(|url| url.contains("a.sock")).count();
        assert_eq!(on_a, 2, "a has half of what b has: {started:?}");
    }

    #[tokio::test]
    async fn an_engine_that_fails_is_left_out_and_the_next_one_is_used() {
        let engines = Engines::default();
        let two = vec![engine("a", Some(load(8.0, 4.0, 0.0))), engine("b", Some(load(8.0, 4.0, 1.0)))];
        engines.all.set(two).unwrap();
        let (config, owner) = (Config::default(), Owner::this());
        let tried = Mutex::new(Vec::new());
        let start = |engine: &'_ Engine| {
            tried.lock().unwrap().push(engine.address.url.clone());
            let gone = || Error::new(ErrorKind::Unavailable, "gone");
            std::future::ready(if engine.address.url.contains("a.sock") { Err(gone()) } else { Ok(()) })
        };
        engines.start(&config, &owner, start).await.unwrap();
        engines.start(&config, &owner, start).await.unwrap();
        assert!(engines.known()[0].take_untold().is_none(), "it was told with the first session");
        let tried = tried.lock().unwrap().iter().map(|url| url.contains("a.sock")).collect::<Vec<_>>();
        assert_eq!(tried, [true, false, false], "the second session does not try the failed engine");
    }

    #[tokio::test]
    async fn without_any_engine_the_error_says_what_each_answered() {
        let engines = Engines::default();
        engines.all.set(vec![engine("nowhere/a", None), engine("nowhere/b", None)]).unwrap();
        let owner = Owner::this();
        let connect = async |engine: &Engine| engine.client(&owner).await.map(|_| ());
        let error = engines.start(&Config::default(), &owner, connect).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let said = error.message();
        assert!(
            said.contains("2 Docker engines") && said.contains("a.sock") && said.contains("b.sock"),
            "{said}"
        );
        assert!(engines.known().iter().all(|engine| engine.take_untold().is_none()), "the error is enough");
    }

    #[tokio::test]
    async fn an_engine_that_is_left_out_is_the_last_resort() {
        let engines = Engines::default();
        let two = vec![engine("a", Some(load(8.0, 4.0, 0.0))), engine("b", Some(load(8.0, 4.0, 0.0)))];
        two[0].failed(&Error::new(ErrorKind::Unavailable, "gone"));
        engines.all.set(two).unwrap();
        let only_a_is_back = |engine: &'_ Engine| {
            let gone = || Error::new(ErrorKind::Unavailable, "gone");
            std::future::ready(if engine.address.url.contains("b.sock") { Err(gone()) } else { Ok(()) })
        };
        engines.start(&Config::default(), &Owner::this(), only_a_is_back).await.unwrap();
    }

    #[tokio::test]
    async fn other_errors_are_not_repeated_on_every_engine() {
        let engines = Engines::default();
        let two = vec![engine("a", Some(load(8.0, 4.0, 0.0))), engine("b", Some(load(8.0, 4.0, 0.0)))];
        engines.all.set(two).unwrap();
        let refused =
            |_: &'_ Engine| std::future::ready(Err::<(), _>(Error::new(ErrorKind::Config, "no such user")));
        let error = engines.start(&Config::default(), &Owner::this(), refused).await.unwrap_err();
        assert_eq!(error.message(), "no such user");
    }
}
