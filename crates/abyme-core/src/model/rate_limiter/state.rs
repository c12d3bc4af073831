//! What a rate limiter knows, and what it makes of it: when the next call may go out.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::{config::RateLimiterConfig, pace::Pace, reported::ReportedLimit};
use crate::{
    error::{Error, ErrorKind},
    model::{
        estimate::{Estimates, bytes_of},
        message::{Request, Response},
        rate_limit::{RateLimit, RateLimits},
        usage::Usage,
    },
};

/// Calls that go out after a refusal, as in TCP's slow start; one more with each of them that is answered.
const WINDOW_AFTER_REFUSAL: usize = 2;
/// After how long a call that was not refused was let in, though its answer may take longer. Then twice as
/// many may go out, and so on.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// After how many refusals in a row nobody waits any more for those that try: the provider may take nothing
/// for hours, and each call has to learn that for itself. More than come in a minute.
const REFUSALS_TO_TELL_ALL: u32 = 10;
/// The first pause after a refusal where the provider names none.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The part of a pause that is added at random, so that programs that share a key come back apart.
const JITTER: f64 = 0.1;
/// Over how many seconds use is counted, to know how much a minute was too much.
const RECENT_SECONDS: f64 = 2.0;

/// What is limited: requests, tokens, tokens of requests, tokens of replies.
const RESOURCES: usize = 4;
/// How much of each a call takes.
pub(super) type Cost = [f64; RESOURCES];

fn cost_of(usage: &Usage) -> Option<Cost> {
    let (input, output) = (usage.input_tokens? as f64, usage.output_tokens? as f64);
    Some([1.0, input + output, input, output])
}

fn each(limits: &RateLimits) -> [&RateLimit; RESOURCES] {
    [&limits.requests, &limits.tokens, &limits.input_tokens, &limits.output_tokens]
}

/// What goes out when, by all that is known.
#[derive(Debug)]
pub(super) struct State {
    config: RateLimiterConfig,
    paces: [Option<Pace>; RESOURCES],
    told: [Option<ReportedLimit>; RESOURCES],
    /// The call whose reply told it.
    told_by: u64,
    /// What calls have taken since the start.
    taken: Cost,
    calls: u64,
    /// Calls in flight, of those that went out after the newest refusal that was news.
    in_flight: usize,
    /// How many of them there may be, where that is limited.
    window: Option<usize>,
    /// When those in flight will have been let in, whether or not they were answered.
    let_in_at: Option<Instant>,
    /// No call goes out before.
    paused: Option<Instant>,
    /// Refusals in a row.
    refusals: u32,
    /// The last call before the newest refusal that was news: outcomes of calls up to it say nothing of the
    /// time since.
    known_to: u64,
    /// Whether a call has been let in since then.
    is_open: bool,
    /// Up to when `recent` is counted.
    counted_to: Instant,
    /// When a call was last waiting.
    active_at: Instant,
    /// What calls took in the last seconds, without those of a pause; older ones fade.
    recent: Cost,
    estimates: Estimates,
}

/// A call that went out.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) call: u64,
    cost: Cost,
    /// What had been taken with it.
    taken: Cost,
    model: String,
    bytes: usize,
}

/// Why a call waits.
pub(super) enum Wait {
    /// Until then, or until something changes.
    Until(Instant),
    /// Until a call comes back.
    Change,
}

impl State {
    pub(super) fn new(config: RateLimiterConfig) -> Self {
        let now = Instant::now();
        let pace = |most: Option<f64>| most.map(|most| Pace::of(most, config.ramp_interval, now));
        let paces = [
            pace(config.requests_per_minute.map(f64::from)),
            pace(config.tokens_per_minute.map(|tokens| tokens as f64)),
            None,
            None,
        ];
        // What was given is known.
        let window = config.first_calls.filter(|_| config.learns && paces.iter().all(Option::is_none));
        Self {
            config,
            paces,
            told: [const { None }; RESOURCES],
            told_by: 0,
            taken: [0.0; RESOURCES],
            calls: 0,
            in_flight: 0,
            window,
            let_in_at: None,
            paused: None,
            refusals: 0,
            known_to: 0,
            is_open: true,
            counted_to: now,
            active_at: now,
            recent: [0.0; RESOURCES],
            estimates: Estimates::default(),
        }
    }

    /// Lets a call out, or says what it waits for.
    pub(super) fn admit(&mut self, model: &str, request: &Request, arrived: Instant) -> Result<Sent, Wait> {
        let now = Instant::now();
        let bytes = bytes_of(&request.messages);
        let estimate = self.estimates.usage(model, bytes, request.max_tokens);
        let cost = cost_of(&estimate).unwrap_or([1.0, 0.0, 0.0, 0.0]);
        if let Some(until) = self.paused.filter(|until| now < *until) {
            return Err(Wait::Until(until));
        }
        if arrived.saturating_duration_since(self.active_at) > self.config.ramp_interval {
            self.paces.iter_mut().flatten().for_each(|pace| pace.ramp(self.config.ramp_interval));
        }
        self.active_at = now;
        let tells_all = self.refusals >= REFUSALS_TO_TELL_ALL;
        let paced = self.paces.iter_mut().zip(cost).filter_map(|(pace, cost)| Some((pace.as_mut()?, cost)));
        let paced = paced.filter(|(pace, _)| pace.is_given() || !tells_all);
        let paced = paced.map(|(pace, cost)| pace.ready(cost, now));
        let ready = paced.max().unwrap_or(now);
        let told = self.told.iter_mut().zip(cost);
        let told = told.filter_map(|(told, cost)| told.as_mut()?.ready(cost, now));
        // What takes too long is the provider's to refuse, in its own words.
        let told = told.filter(|until| *until - now <= self.config.max_requested_backoff);
        let ready = told.max().unwrap_or(now).max(ready);
        if ready > now {
            return Err(Wait::Until(ready));
        }
        if let Some(window) = self.window.as_mut().filter(|window| self.in_flight >= **window && !tells_all) {
            match self.let_in_at {
                None => return Err(Wait::Change),
                Some(at) if at > now => return Err(Wait::Until(at)),
                Some(_) => {
                    *window = window.saturating_mul(2);
                    self.let_in_at = None;
                    self.let_in();
                }
            }
        }
        Ok(self.sent(model, bytes, cost, now))
    }

    fn sent(&mut self, model: &str, bytes: usize, cost: Cost, now: Instant) -> Sent {
        self.count_to(now);
        for (at, cost) in cost.into_iter().enumerate() {
            self.recent[at] += cost;
            self.paces[at].iter_mut().for_each(|pace| pace.take(cost));
            self.told[at].iter_mut().for_each(|told| told.take(cost));
            self.taken[at] += cost;
        }
        self.calls += 1;
        self.in_flight += 1;
        if self.known_to > 0 {
            self.let_in_at.get_or_insert(now + REFUSED_WITHIN);
        }
        Sent { call: self.calls, cost, taken: self.taken, model: model.to_owned(), bytes }
    }

    /// Lets what calls took fade.
    fn count_to(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.counted_to).as_secs_f64();
        self.counted_to = self.counted_to.max(now);
        self.recent.iter_mut().for_each(|recent| *recent *= (-seconds / RECENT_SECONDS).exp());
    }

    /// Learns from an answer.
    pub(super) fn answered(&mut self, sent: &Sent, response: &Response, now: Instant) {
        if sent.call > self.known_to {
            self.let_in();
            self.window = self.window.map(|window| window.saturating_add(1));
        }
        self.estimates.learn(&sent.model, sent.bytes, &response.usage);
        if let Some(used) = cost_of(&response.usage) {
            self.give_back(sent, used);
        }
        if let Some(limits) = &response.rate_limits {
            self.learn(sent, limits, now);
        }
    }

    /// A call was let in after the newest refusal.
    fn let_in(&mut self) {
        self.refusals = 0;
        self.is_open = true;
    }

    /// Learns from a reply that was stopped: `uncounted` bytes of it are not in the usage that `seen` has.
    pub(super) fn stopped(&mut self, sent: &Sent, mut seen: Response, uncounted: usize, now: Instant) {
        let rest = self.estimates.tokens(&sent.model, uncounted);
        let [.., input, _] = sent.cost;
        let usage = &mut seen.usage;
        usage.input_tokens.get_or_insert(input as u64);
        usage.output_tokens = Some(usage.output_tokens.unwrap_or_default() + rest);
        self.answered(sent, &seen, now);
    }

    /// Learns from a failure.
    pub(super) fn failed(&mut self, sent: &Sent, error: &Error, now: Instant) {
        if let Some(limits) = error.rate_limits() {
            self.learn(sent, limits, now);
        }
        let ErrorKind::RateLimited { retry_after } = error.kind() else { return };
        // It was counted, but nothing was read or written.
        self.give_back(sent, [1.0, 0.0, 0.0, 0.0]);
        if retry_after.is_some_and(|pause| pause > self.config.max_requested_backoff) {
            return;
        }
        let is_news = sent.call > self.known_to;
        if is_news {
            self.known_to = self.calls;
            self.in_flight = 0;
            self.let_in_at = None;
            self.refusals += 1;
            self.lower(sent.cost, now);
        }
        let doubled = FIRST_BACKOFF * 2u32.saturating_pow(self.refusals.saturating_sub(1).min(16));
        let pause = match retry_after {
            Some(pause) => pause,
            None if is_news => doubled.min(self.config.max_backoff),
            None => return,
        };
        let jittered = pause.mul_f64(1.0 + rand::rng().random_range(0.0..=JITTER));
        self.paused = self.paused.max(now.checked_add(jittered));
        // Nothing is used in a pause, which says nothing of what is used otherwise.
        self.count_to(now);
        self.counted_to = self.paused.unwrap_or(now);
        tracing::debug!(seconds = jittered.as_secs_f64(), "all calls wait: the provider refused one");
    }

    /// Lowers the rate after a refusal, unless that says nothing of it.
    fn lower(&mut self, cost: Cost, now: Instant) {
        self.window = Some(WINDOW_AFTER_REFUSAL);
        let mut told =
            self.told.iter_mut().zip(cost).filter_map(|(told, cost)| told.as_mut()?.ready(cost, now));
        // By the provider's own count nothing was left. Or nothing was let in since the rate was lowered:
        // others use it up, or what was used before still counts.
        if told.any(|ready| ready > now) || !self.is_open {
            return;
        }
        self.is_open = false;
        self.count_to(now);
        let used = self.recent.map(|recent| recent * 60.0 / RECENT_SECONDS);
        self.paces[0].get_or_insert_with(|| Pace::guessed(used[0], now));
        for (pace, used) in self.paces.iter_mut().zip(used) {
            pace.iter_mut().for_each(|pace| pace.refused(used, self.config.recovery_interval, now));
        }
    }

    /// A call is in flight no more.
    pub(super) fn ended(&mut self, sent: &Sent) {
        self.in_flight -= usize::from(sent.call > self.known_to);
        if self.in_flight == 0 {
            self.let_in_at = None;
        }
    }

    /// Puts what a call used in place of what it was expected to use.
    fn give_back(&mut self, sent: &Sent, used: Cost) {
        for (pace, more) in self.paces.iter_mut().zip(used.into_iter().zip(sent.cost)) {
            pace.iter_mut().for_each(|pace| pace.take(more.0 - more.1));
        }
    }

    fn learn(&mut self, sent: &Sent, limits: &RateLimits, now: Instant) {
        // Replies overtake each other: the one to the last call knows most.
        if !self.config.learns || sent.call < self.told_by {
            return;
        }
        self.told_by = sent.call;
        for (at, limit) in each(limits).into_iter().enumerate() {
            let since = self.taken[at] - sent.taken[at];
            match (ReportedLimit::by(limit, since, now), limit.limit) {
                (Some(told), _) => self.told[at] = Some(told),
                (None, Some(most)) if self.paces[at].is_none() => {
                    self.paces[at] = Some(Pace::of(most as f64, Duration::ZERO, now));
                }
                _ => continue,
            }
            if self.refusals == 0 {
                self.window = None;
            }
        }
    }
}
