//! The peers by name: what each needs, and what is there once it is installed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a peer is, and what it needs. Whether it works here is not known yet.
pub(super) struct PeerSpec {
    /// As tables call it.
    pub(super) name: &'static str,
    /// Its virtual environment under `target/bench/peers/`, which it may share.
    pub(super) environment: &'static str,
    /// What is installed there, one file after the other.
    pub(super) requirements: &'static [&'static str],
    /// What is run there.
    pub(super) script: &'static str,
    /// The oldest minor version of Python 3 that it is published for.
    pub(super) python: u32,
}

pub(super) const PEERS: &[PeerSpec] = &[
    PeerSpec {
        name: "DSPy LocalInterpreter",
        environment: "dspy",
        requirements: &["requirements-dspy.txt"],
        script: "dspy_local.py",
        python: 10,
    },
    PeerSpec {
        name: "DSPy PythonInterpreter",
        environment: "dspy",
        requirements: &["requirements-dspy.txt", "requirements-deno.txt"],
        script: "dspy_deno.py",
        python: 10,
    },
    PeerSpec {
        name: "rlms LocalREPL",
        environment: "rlms",
        requirements: &["requirements-rlms.txt"],
        script: "rlms_local.py",
        python: 11,
    },
    PeerSpec {
        name: "pyeryx",
        environment: "pyeryx",
        requirements: &["requirements-pyeryx.txt"],
        script: "eryx_session.py",
        python: 12,
    },
    PeerSpec {
        name: "monty",
        environment: "monty",
        requirements: &["requirements-monty.txt"],
        script: "monty_session.py",
        python: 10,
    },
];

/// A peer that is installed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InstalledPeer {
    pub(super) name: String,
    pub(super) version: String,
    /// The program that runs the script: Python of the virtual environment.
    pub(super) program: PathBuf,
    pub(super) script: PathBuf,
    /// Where peers keep what they fetch.
    pub(super) home: PathBuf,
}
