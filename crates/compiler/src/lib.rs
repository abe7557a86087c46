//! Compiles OCI and Docker seccomp profiles to BPF filters that mean what the profile says.
#![forbid(unsafe_code)]

pub mod action;
pub mod arch;
pub mod bpf;
pub mod call;
pub mod decision;
pub mod errno;
pub mod limits;
pub mod policy;
mod similar;
pub mod syscalls;

pub use action::Action;
pub use arch::{Arch, ByteOrder};
pub use call::Call;
