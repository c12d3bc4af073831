//! The HTTP and event-stream base that Abyme's model clients share.
