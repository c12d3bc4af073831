//! The tools of a Model Context Protocol server as functions of a session.
