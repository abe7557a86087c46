//! The seccomp engine for OCI containers.

pub use callgate_compiler as compiler;
