//! Compiles OCI and Docker seccomp profiles to BPF filters that mean what the profile says.
//!
//! ```text
//! bytes ─parse→ Profile ─resolve→ Policy ─lower→ Graph ─emit→ instructions ─check→ Program
//! ```
//!
//! [`Profile::parse`] reads a document of any of three forms. [`Filter::compile`] goes the rest of the way for a
//! [`Context`]: the kernel and the container that the filter is for. On the way lie the [`policy`], whose
//! [`decide`](policy::Policy::decide) is the reference meaning of it all, the [`decision`] graph, and [`bpf`].
//!
//! ```
//! use callgate_compiler::{Arch, Context, Filter, Profile};
//!
//! let profile = Profile::parse(callgate_compiler::profile::DEFAULT.as_bytes())?;
//! let filter = Filter::compile(&profile, &Context::new(Arch::Aarch64, "6.18".parse()?))?;
//! for line in callgate_compiler::bpf::disassemble::disassemble(filter.program()) {
//!     println!("{line}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything here is a pure function: no system calls, no environment, no clock, no `unsafe`. The `callgate` crate
//! has the kernel's side.
#![forbid(unsafe_code)]

pub mod action;
pub mod arch;
pub mod bpf;
pub mod call;
pub mod context;
pub mod decision;
pub mod errno;
pub mod filter;
pub mod findings;
pub mod instrument;
pub mod limits;
pub mod notice;
pub mod policy;
pub mod profile;
pub mod proof;
pub mod signatures;
mod similar;
pub mod summary;
pub mod syscalls;

pub use action::Action;
pub use arch::{Arch, ByteOrder};
pub use call::Call;
pub use context::{Capabilities, Context, KernelVersion};
pub use filter::{CompileError, Filter};
pub use notice::{Code, JsonPath, Notice, ProfileError};
pub use profile::Profile;
