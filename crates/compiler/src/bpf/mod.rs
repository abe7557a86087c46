//! Classic BPF as seccomp uses it: the instruction, and the program that has passed the kernel's rules.
//!
//! [`emit`](emit::emit) makes instructions from a decision graph, or they come from elsewhere
//! ([`encode`](encode::decode)); [`check`](check::check) makes a [`Program`] of them, if the kernel would take
//! them. A program can be [simulated](Program::simulate), [printed](disassemble::disassemble) and written down
//! for the kernel.

pub mod assemble;
pub mod check;
pub mod cost;
pub mod disassemble;
pub mod emit;
pub mod encode;
mod simulate;

use crate::arch::ByteOrder;

pub use check::{CheckError, Rule};
pub use simulate::Run;

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

/// A filter that the kernel's rules have passed ([`check`](check::check)): every jump lands inside, every
/// path ends in a return, only operations that seccomp allows occur.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// The number of scratch words (`BPF_MEMWORDS`).
pub const MEMORY_WORDS: usize = 16;

/// What an instruction does, for the operations that seccomp allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Set a register.
    Load(Register, Value),
    /// Set a scratch word, 0 to 15, to a register.
    Store(u32, Register),
    /// Combine the accumulator with an operand.
    Compute(Compute, Operand),
    /// Negate the accumulator.
    Negate,
    /// Copy the accumulator to the index register.
    CopyToIndex,
    /// Copy the index register to the accumulator.
    CopyToAccumulator,
    /// Skip this many instructions.
    Jump(u32),
    /// Compare the accumulator with an operand, and skip `yes` or `no` instructions.
    JumpIf {
        /// What must hold.
        test: Comparison,
        /// What it is compared with.
        operand: Operand,
        /// How many to skip if it holds.
        yes: u8,
        /// How many to skip if it doesn't.
        no: u8,
    },
    /// End with a constant.
    Return(u32),
    /// End with the accumulator.
    ReturnAccumulator,
}

/// One of the two registers, 32 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// `A`.
    Accumulator,
    /// `X`.
    Index,
}

/// What a register is loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A constant.
    Constant(u32),
    /// The word of `seccomp_data` at this byte offset. The accumulator only.
    Data(u32),
    /// The size of `seccomp_data`, 64.
    Length,
    /// A scratch word.
    Memory(u32),
}

/// The second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A constant.
    Constant(u32),
    /// The index register.
    Index,
}

/// 32-bit arithmetic, which wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Compute {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    Xor,
}

/// An unsigned comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Above.
    Greater,
    /// The same or above.
    GreaterOrEqual,
    /// A bit in common.
    AnyBit,
}

impl Insn {
    /// What it does, or `None` if seccomp doesn't allow its operation (`seccomp_check_filter`,
    /// `kernel/seccomp.c`). The constant isn't looked at.
    #[must_use]
    pub fn operation(self) -> Option<Operation> {
        use Operation::*;
        let k = self.k;
        let operand = if self.code & 0x08 == 0 {
            Operand::Constant(k)
        } else {
            Operand::Index
        };
        let compute = |compute| Some(Compute(compute, operand));
        let jump_if = |test| {
            let (yes, no) = (self.jt, self.jf);
            Some(JumpIf {
                test,
                operand,
                yes,
                no,
            })
        };
        match self.code {
            0x00 => Some(Load(Register::Accumulator, Value::Constant(k))),
            0x20 => Some(Load(Register::Accumulator, Value::Data(k))),
            0x60 => Some(Load(Register::Accumulator, Value::Memory(k))),
            0x80 => Some(Load(Register::Accumulator, Value::Length)),
            0x01 => Some(Load(Register::Index, Value::Constant(k))),
            0x61 => Some(Load(Register::Index, Value::Memory(k))),
            0x81 => Some(Load(Register::Index, Value::Length)),
            0x02 => Some(Store(k, Register::Accumulator)),
            0x03 => Some(Store(k, Register::Index)),
            0x04 | 0x0c => compute(self::Compute::Add),
            0x14 | 0x1c => compute(self::Compute::Subtract),
            0x24 | 0x2c => compute(self::Compute::Multiply),
            0x34 | 0x3c => compute(self::Compute::Divide),
            0x44 | 0x4c => compute(self::Compute::Or),
            0x54 | 0x5c => compute(self::Compute::And),
            0x64 | 0x6c => compute(self::Compute::ShiftLeft),
            0x74 | 0x7c => compute(self::Compute::ShiftRight),
            0xa4 | 0xac => compute(self::Compute::Xor),
            0x84 => Some(Negate),
            0x05 => Some(Jump(k)),
            0x15 | 0x1d => jump_if(Comparison::Equal),
            0x25 | 0x2d => jump_if(Comparison::Greater),
            0x35 | 0x3d => jump_if(Comparison::GreaterOrEqual),
            0x45 | 0x4d => jump_if(Comparison::AnyBit),
            0x06 => Some(Return(k)),
            0x16 => Some(ReturnAccumulator),
            0x07 => Some(CopyToIndex),
            0x87 => Some(CopyToAccumulator),
            _ => None,
        }
    }
}

impl Compute {
    /// The result, or `None` for a division by zero.
    #[must_use]
    pub fn of(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Compute::Add => a.wrapping_add(b),
            Compute::Subtract => a.wrapping_sub(b),
            Compute::Multiply => a.wrapping_mul(b),
            Compute::Divide => return a.checked_div(b),
            Compute::Or => a | b,
            Compute::And => a & b,
            Compute::ShiftLeft => a << (b & 31),
            Compute::ShiftRight => a >> (b & 31),
            Compute::Xor => a ^ b,
        })
    }
}

impl Comparison {
    /// Whether it holds of two values.
    #[must_use]
    pub fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
            Comparison::AnyBit => a & b != 0,
        }
    }
}
