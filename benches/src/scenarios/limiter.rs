//! Scenario `limiter`. 620 calls at once wait for their turn with a limiter of 600 a minute, at a server that
//! refuses the call after 600 in any 60 s. What is measured is how much of the rate is used; a refused call
//! fails the sample. It takes a minute, because only that is long enough for the server to refuse one.

use std::time::Instant;

use abyme::{LanguageModel, LanguageModelExt, OpenAi, RateLimiter, RateLimiterConfig, Request};
use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::{
    loopback::{Answer, Loopback, TEXT},
    work::{PreparedTrial, check, made, seconds, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const PER_MINUTE: u32 = 600;
const CALLS: usize = 620;

/// The scenario.
#[derive(Debug)]
pub(crate) struct Limiter;

#[async_trait]
impl Scenario for Limiter {
    fn name(&self) -> &'static str {
        "limiter"
    }

    fn title(&self) -> &'static str {
        "share of a rate limit that is used"
    }

    fn workload(&self) -> &'static str {
        "620 model calls at once are kept to 600 a minute, which the server enforces"
    }

    fn unit(&self) -> Unit {
        Unit::Share
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "loop").then_some(Goal::Value(0.98))
    }

    fn samples(&self) -> usize {
        1
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        match system {
            System::Loop => made(Limited),
            _ => Ok(None),
        }
    }
}

struct Limited;

#[async_trait]
impl Trial for Limited {
    async fn sample(&mut self) -> Result<f64, String> {
        let server = Loopback::start(Answer::Limited(PER_MINUTE as usize)).await?;
        let limiter = RateLimiter::new(RateLimiterConfig::default().requests_per_minute(PER_MINUTE));
        let model = OpenAi::new("openai/bench").base_url(&server.url).with_rate_limit(&limiter);
        let (request, started) = (Request::prompt("a question"), Instant::now());
        for answer in try_join_all((0..CALLS).map(|_| model.complete(&request))).await.map_err(words)? {
            check("the text", answer.text.as_str(), TEXT)?;
        }
        Ok(CALLS as f64 * 60.0 / seconds(started) / f64::from(PER_MINUTE))
    }
}
