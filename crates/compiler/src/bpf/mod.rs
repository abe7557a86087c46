//! Classic BPF as seccomp uses it: the instruction, and the program that has passed the kernel's rules.

pub mod check;
pub mod emit;

use crate::arch::ByteOrder;

/// One instruction: `struct sock_filter` of `include/uapi/linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Insn {
    /// Class, size and mode, or operation and source: see [`op`].
    pub code: u16,
    /// How many instructions to skip if a conditional jump holds.
    pub jt: u8,
    /// How many to skip if it doesn't.
    pub jf: u8,
    /// The constant: a value to compare with or return, an offset to load from, or a distance to jump.
    pub k: u32,
}

/// The operations that an emitted filter uses (`include/uapi/linux/bpf_common.h`).
pub mod op {
    /// Load the word at byte offset k of `seccomp_data` into the accumulator.
    pub const LD_W_ABS: u16 = 0x20;
    /// Jump k instructions forward.
    pub const JA: u16 = 0x05;
    /// Jump by jt if the accumulator is k, else by jf.
    pub const JEQ_K: u16 = 0x15;
    /// … if it is above k, unsigned.
    pub const JGT_K: u16 = 0x25;
    /// … if it is k or above, unsigned.
    pub const JGE_K: u16 = 0x35;
    /// … if it has a bit in common with k.
    pub const JSET_K: u16 = 0x45;
    /// Keep the accumulator's bits that k has.
    pub const AND_K: u16 = 0x54;
    /// Return k.
    pub const RET_K: u16 = 0x06;
}

/// A filter that the kernel's checks have passed ([`check`](check::check)): every jump lands inside, every
/// path ends in a return, only operations that seccomp allows occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    insns: Vec<Insn>,
    byte_order: ByteOrder,
}

impl Program {
    /// The instructions, 1 to 4096 of them.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// The byte order of the kernel it is for: that of the offsets it loads argument halves from, and of its raw form.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }
}
