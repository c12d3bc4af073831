//! What must be the same on every backend: the observations of one program, and whole runs.
//!
//! A backend that cannot run here shows as ignored, with the reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[cfg(target_os = "linux")]
#[path = "backends/attacks.rs"]
mod attacks;
#[path = "backends/conversations.rs"]
mod conversations;
#[path = "backends/five_turns.rs"]
mod five_turns;
#[path = "backends/forks.rs"]
mod forks;
#[path = "backends/killed.rs"]
mod killed;
#[path = "backends/program.rs"]
mod program;
#[path = "backends/random.rs"]
mod random;
#[path = "backends/runs.rs"]
mod runs;

use std::{process::ExitCode, sync::Arc};

use abyme::{Docker, InterpreterFactory, Subprocess, Wasm};
use abyme_conformance::{BackendTests, FactoryHarness};

/// Any backend.
type Backend = Arc<dyn InterpreterFactory>;

/// The tests of one backend, each called `backend::test`.
macro_rules! tests {
    ($backend:expr; $($module:ident::$name:ident),* $(,)?) => {{
        let backend: Backend = $backend;
        let tests = BackendTests::new(FactoryHarness::new(backend.clone()));
        $(let tests = {
            let (name, backend) = (format!("{}::{}", backend.name(), stringify!($name)), backend.clone());
            tests.test(name, move || $module::$name(backend))
        };)*
        tests
    }};
}

fn main() -> ExitCode {
    let backends: [Backend; 4] =
        [Arc::new(Subprocess::new()), Arc::new(Wasm::new()), pyo3(), Arc::new(docker())];
    let named = |name: &str| backends.iter().find(|one| one.name() == name).cloned();
    if let Some(ended) = killed::instead_of_tests(named) {
        return ended;
    }
    #[cfg(target_os = "linux")]
    attacks::set_secret();
    // Sessions in this process share its working directory, and one cell lists its own.
    let place = tempfile::tempdir().unwrap();
    std::env::set_current_dir(place.path()).unwrap();
    let tests = backends.map(|backend| {
        let tests = tests![
            backend.clone();
            program::the_same_program_observes_the_same,
            program::a_crash_is_seen_alike,
            random::random_programs_observe_the_same,
            runs::inputs_sub_calls_tools_and_types_work_together,
            runs::inputs_are_objects_where_asked,
            runs::sub_calls_are_typed_and_awaited,
            runs::a_failing_cell_is_explained_and_repaired,
            runs::python_tools_are_offered_and_described,
            runs::tools_that_fail_are_named,
            runs::a_cell_over_its_time_is_interrupted_with_its_state_kept,
            runs::a_submission_survives_whatever_the_cell_does_after_it,
            runs::runs_at_the_same_time_from_a_pool_share_nothing,
            runs::a_long_value_keeps_both_of_its_ends,
            runs::names_come_again_after_a_cell_that_never_got_them,
            runs::deep_values_with_odd_keys_are_refused_and_not_fatal,
            conversations::a_conversation_goes_on_in_its_session,
            conversations::a_conversation_is_brought_back,
            conversations::a_question_goes_on_from_its_record,
            forks::forks_of_forks_draw_their_own_numbers,
            killed::a_killed_run_goes_on,
        ];
        #[cfg(target_os = "linux")]
        let tests = attacks::add_to(tests, &backend);
        tests
    });
    BackendTests::main_of(tests.into(), true)
}

/// The engine that is there, with the image that the tests were given.
fn docker() -> Docker {
    let docker = Docker::new();
    match std::env::var("ABYME_DOCKER_IMAGE") {
        Ok(image) => docker.image(image),
        Err(_) => docker,
    }
}

#[cfg(feature = "pyo3")]
fn pyo3() -> Backend {
    Arc::new(abyme::Pyo3::new())
}

#[cfg(not(feature = "pyo3"))]
fn pyo3() -> Backend {
    Arc::new(left_out::LeftOut::new("pyo3"))
}

#[cfg(not(feature = "pyo3"))]
mod left_out {
    //! Stands for a backend that these tests were built without.

    use abyme::{Capabilities, CodeInterpreter, Error, ErrorKind, InterpreterFactory, Isolation, Result};

    #[derive(Debug)]
    pub(super) struct LeftOut(&'static str, Capabilities);

    impl LeftOut {
        pub(super) fn new(name: &'static str) -> Self {
            Self(name, Capabilities::new(Isolation::None))
        }
    }

    #[async_trait::async_trait]
    impl InterpreterFactory for LeftOut {
        fn name(&self) -> &str {
            self.0
        }

        fn capabilities(&self) -> &Capabilities {
            &self.1
        }

        async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
            Err(Error::new(ErrorKind::Unavailable, format!("built without the feature `{}`", self.0)))
        }
    }
}
