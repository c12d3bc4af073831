//! Python in a Modal sandbox as a backend for Abyme.
