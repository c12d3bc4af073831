//! A flag `--model` that may be given several times, over arguments that have it once.

use clap::{ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// Arguments that have a model, and all the models that they are given.
#[derive(Clone, Debug)]
pub(crate) struct ModelMatrix<A> {
    /// Every `--model`.
    pub(crate) models: Vec<String>,
    /// The arguments, whose model is the first.
    pub(crate) args: A,
}

impl<A: FromArgMatches> FromArgMatches for ModelMatrix<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        let models = matches.get_many::<String>("model").into_iter().flatten().cloned().collect();
        Ok(Self { models, args: A::from_arg_matches_mut(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<A: Args> Args for ModelMatrix<A> {
    fn augment_args(command: Command) -> Command {
        let command = A::augment_args(command).mut_arg("model", |arg| {
            arg.action(ArgAction::Append).help(
                "A model that plans; repeatable: each is tried with each setting [default: ABYME_MODEL, from \
                 the environment or .env]",
            )
        });
        command.mut_arg("seed", |arg| {
            arg.help(
                "Seed of the sampling, for models that have one; with --generate, which tasks [default: 1]",
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
