#!/bin/sh
# rustdoc as docs.rs has it: with unstable features.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
