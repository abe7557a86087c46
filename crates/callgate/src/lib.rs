//! The seccomp engine for OCI containers: profiles compiled, loaded into the kernel, and served.
//!
//! The pure part is [`callgate_compiler`], which is re-exported here as [`compiler`]. This crate has the kernel's edge:
//! what it has ([`probe`]), and how a filter gets into it ([`load`]).
//!
//! ```no_run
//! use callgate::{Filter, Prepared, Profile, probe};
//!
//! // In the parent, where there is time and memory. The filter can be kept and used again.
//! let profile = Profile::parse(&std::fs::read("profile.json")?)?;
//! let filter = Filter::compile(&profile, &probe::context().ok_or("an unknown kernel")?)?;
//! let prepared = Prepared::new(&filter, true)?;
//!
//! // In the child, just before it executes the container's program.
//! let listener = prepared.install()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

pub mod abi;
pub mod load;
pub mod probe;
mod sys;

pub use callgate_compiler as compiler;
pub use callgate_compiler::{
    Action, Arch, ByteOrder, Call, Capabilities, CompileError, Context, Filter, KernelVersion,
    Notice, Profile, ProfileError,
};
pub use load::{LoadError, PrepareError, Prepared, SpawnError};
pub use sys::ignore_terminal_signals;
