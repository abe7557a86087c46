//! Every bound, and its reason.

/// The longest filter the kernel takes, in instructions (`BPF_MAXINSNS`, `include/uapi/linux/bpf_common.h`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The largest profile read, in bytes. Real ones are below 100 KiB; the bound keeps a mistaken
/// `callgate compile /dev/zero` from eating the machine.
pub const MAX_PROFILE_BYTES: usize = 16 << 20;

/// A system call has six arguments.
pub const ARGUMENTS: usize = 6;
