//! What answers tasks: a Recursive Language Model with its limits and prompts, or a plain call of a model.

use std::{fmt, sync::Arc};

use abyme_core::{LanguageModel, Result, RetryPolicy, Rlm, TaskSignature};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

/// One column of an evaluation: something that answers tasks.
///
/// ```
/// use abyme_core::{Rlm, testing::ScriptedModel};
/// use abyme_eval::{PlainConfig, Setting};
///
/// # fn example(interpreter: impl abyme_core::InterpreterFactory + Clone + 'static) {
/// let model = ScriptedModel::replies(["..."]);
/// let plain = Setting::plain("plain", model.clone(), PlainConfig::default());
/// let rlm = Setting::rlm("rlm", move |signature| {
///     Rlm::builder(signature.clone()).model(model.clone()).interpreter(interpreter.clone()).build()
/// });
/// let rlm = rlm.baseline("plain".to_owned()).options("scripted, 20 turns");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Setting {
    name: String,
    options: String,
    baseline: Option<String>,
    pub(crate) way: Way,
}

/// How a setting comes to an answer.
#[derive(Clone)]
pub(crate) enum Way {
    Rlm(Arc<MakeRlm>),
    Plain(Arc<dyn LanguageModel>, PlainConfig),
}

pub(crate) type MakeRlm = dyn Fn(&TaskSignature) -> Result<Rlm> + Send + Sync;

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rlm(_) => f.write_str("Rlm"),
            Self::Plain(model, config) => f.debug_tuple("Plain").field(model).field(config).finish(),
        }
    }
}

impl Setting {
    /// Runs of an [`Rlm`]. `make` is called for each task with its signature, and gives an `Rlm` of it.
    pub fn rlm(
        name: impl Into<String>,
        make: impl Fn(&TaskSignature) -> Result<Rlm> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Way::Rlm(Arc::new(make)))
    }

    /// One call of a model for each task, with the inputs in the prompt.
    pub fn plain(name: impl Into<String>, model: impl LanguageModel + 'static, config: PlainConfig) -> Self {
        let options = format!("{} {:?}", model.name(), config.too_long);
        Self::new(name, Way::Plain(Arc::new(model), config)).options(options)
    }

    fn new(name: impl Into<String>, way: Way) -> Self {
        Self { name: name.into(), options: String::new(), baseline: None, way }
    }

    /// Says what decides about its answers: models, prompts, limits. Results of a setting of this name with
    /// other options are never mixed with its own. Default: nothing, and for a plain call its model and
    /// configuration.
    pub fn options(mut self, options: impl Into<String>) -> Self {
        self.options = options.into();
        self
    }

    /// Names the setting that a report compares it with, task by task. Default: none.
    pub fn baseline(mut self, setting: impl Into<Option<String>>) -> Self {
        self.baseline = setting.into();
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The setting that a report compares it with.
    #[must_use]
    pub fn compared_with(&self) -> Option<&str> {
        self.baseline.as_deref()
    }

    /// The hash of what decides about its answers.
    pub(crate) fn hash(&self) -> String {
        let way = match self.way {
            Way::Rlm(_) => "rlm",
            Way::Plain(..) => "plain",
        };
        format!("{:016x}", XxHash3_64::oneshot(format!("{way} {}", self.options).as_bytes()))
    }
}

/// How plain calls are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PlainConfig {
    /// What is done with inputs that are longer than what the model can read. Default: refused.
    pub too_long: TooLong,
    /// How failed calls are tried again. Default: as in a run.
    pub retry: RetryPolicy,
}

/// What is done with inputs that are longer than what the model of a plain call can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TooLong {
    /// There is no answer, which counts as a wrong one.
    #[default]
    Refuse,
    /// The middle of the inputs is left out, and the model is told so.
    Truncate,
}

impl PlainConfig {
    /// Sets what is done with inputs that are longer than what the model can read.
    pub fn too_long(mut self, too_long: TooLong) -> Self {
        self.too_long = too_long;
        self
    }

    /// Sets how failed calls are tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let retry = serde_json::to_value(RetryPolicy::default()).unwrap();
        let expected = serde_json::json!({"too_long": "refuse", "retry": retry});
        assert_eq!(serde_json::to_value(PlainConfig::default()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<PlainConfig>("{}").unwrap(), PlainConfig::default());
    }

    #[test]
    fn options_decide_about_the_hash_and_names_do_not() {
        let setting = |name: &str| Setting::rlm(name, |signature| Rlm::builder(signature.clone()).build());
        assert_eq!(setting("a").hash(), setting("b").hash());
        assert_ne!(setting("a").hash(), setting("a").options("x").hash());
    }
}
