//! Convenience on top of [`CodeInterpreter`] and [`InterpreterFactory`], kept out of the traits so that
//! backends stay small.

use async_trait::async_trait;

use super::{CodeInterpreter, InterpreterFactory, Session};
use crate::{error::Result, runtime::HomeRuntime};

/// What every interpreter can do besides its contract. Every [`CodeInterpreter`] has it by the blanket
/// implementation; it is not meant to be implemented.
#[async_trait]
pub trait CodeInterpreterExt: CodeInterpreter + Sized + 'static {
    /// Wraps the interpreter in a [`Session`]: the contract's checks and a plain REPL.
    fn into_session(self) -> Session {
        Session::new(Box::new(self))
    }

    /// Starts the interpreter and wraps it in a [`Session`].
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::start`].
    async fn start_session(self) -> Result<Session> {
        let mut session = self.into_session();
        session.start().await?;
        Ok(session)
    }
}

impl<T: CodeInterpreter + Sized + 'static> CodeInterpreterExt for T {}

/// What every factory can do besides its contract. Every [`InterpreterFactory`] has it by the blanket
/// implementation; it is not meant to be implemented.
#[async_trait]
pub trait InterpreterFactoryExt: InterpreterFactory {
    /// Opens one session: creates an interpreter, starts it and wraps it in a [`Session`].
    ///
    /// # Errors
    /// Those of [`InterpreterFactory::create`] and [`CodeInterpreter::start`];
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) outside of a tokio runtime.
    async fn session(&self) -> Result<Session> {
        HomeRuntime::current()?;
        self.create().await?.start_session().await
    }
}

impl<T: InterpreterFactory + ?Sized> InterpreterFactoryExt for T {}
