//! The seccomp engine for OCI containers: profiles compiled, loaded into the kernel, and served.
//!
//! The pure part is [`callgate_compiler`], which is re-exported here as [`compiler`]. This crate has the kernel's edge:
//! what it has ([`probe`]), how a filter gets into it ([`load`]), how the calls are answered
//! that a filter notifies of ([`notify`]), what a command's calls come to ([`trace`](mod@trace)), and which filters a process has
//! ([`process`]).
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
//!
//! A runtime whose profiles have a `listenerPath` [sends](handoff::send) the listener there; an agent
//! [receives](handoff::receive) it.
//!
//! A runtime that has its profile as `oci_spec::runtime::LinuxSeccomp` calls [`oci::compile`] in the parent and keeps the
//! filter, or just [`initialize_seccomp`] in the child, as youki's libcontainer has it.
#![deny(unsafe_code)]

pub mod abi;
#[cfg(feature = "oci-spec")]
pub mod handoff;
pub mod load;
pub mod notify;
#[cfg(feature = "oci-spec")]
pub mod oci;
pub mod probe;
pub mod process;
mod sys;
pub mod trace;

pub use callgate_compiler as compiler;
pub use callgate_compiler::{
    Action, Arch, ByteOrder, Call, Capabilities, CompileError, Context, Filter, KernelVersion,
    Notice, Profile, ProfileError,
};
pub use load::{LoadError, PrepareError, Prepared, SpawnError};
#[cfg(feature = "oci-spec")]
pub use oci::{SeccompError, features, initialize_seccomp, is_notify};
