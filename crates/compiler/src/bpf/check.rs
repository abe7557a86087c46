//! Instructions → program, if the kernel would take them.
//!
//! The rules are those of `bpf_check_classic` and `check_load_and_stores` (`net/core/filter.c`) and of
//! `seccomp_check_filter` (`kernel/seccomp.c`), which together see to it that every program ends. Holding to them here
//! means that a filter is refused where its profile is at hand, and not by an EINVAL in a container that starts.

use super::{Compute, Insn, MEMORY_WORDS, Operand, Operation, Program, Value};
use crate::arch::ByteOrder;
use crate::call::Call;
use crate::limits::MAX_INSTRUCTIONS;

/// The kernel would not take these instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// There is no instruction.
    #[error("a filter has at least one instruction")]
    Empty,
    /// There are more than the kernel takes.
    #[error("{0} instructions: the kernel takes {MAX_INSTRUCTIONS}")]
    TooLong(usize),
    /// An instruction breaks a rule.
    #[error("instruction {index}: {rule}")]
    Instruction {
        /// Which one, from 0.
        index: usize,
        /// What it breaks.
        rule: Rule,
    },
}

/// A rule that an instruction breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// Seccomp doesn't allow the operation.
    #[error("operation {0:#04x} is not one that seccomp allows")]
    Operation(u16),
    /// A load is not of a whole word of `seccomp_data`.
    #[error("offset {0} is not a multiple of 4 below 64")]
    Offset(u32),
    /// There are 16 scratch words.
    #[error("there is no scratch word {0}: they are 0 to 15")]
    Memory(u32),
    /// A scratch word is read that not every way here has written.
    #[error("scratch word {0} may not have been written")]
    Uninitialized(u32),
    /// A constant divisor is 0.
    #[error("division by zero")]
    Division,
    /// A constant shift is 32 or more.
    #[error("shift by {0}, of 32 bits")]
    Shift(u32),
    /// A jump goes past the end.
    #[error("jump past the end")]
    Jump,
    /// The last instruction doesn't end the program.
    #[error("the last instruction is not a return")]
    NoReturn,
}

/// Makes a program of instructions that a kernel of the given byte order would take.
///
/// ```
/// use callgate_compiler::bpf::check::check;
/// use callgate_compiler::bpf::{Insn, op};
/// use callgate_compiler::ByteOrder;
///
/// let allow = Insn { code: op::RET_K, jt: 0, jf: 0, k: 0x7fff_0000 };
/// assert!(check(vec![allow], ByteOrder::Little).is_ok());
/// assert!(check(vec![], ByteOrder::Little).is_err());
/// ```
///
/// # Errors
/// [`CheckError`], with the first instruction that breaks a rule.
pub fn check(insns: Vec<Insn>, byte_order: ByteOrder) -> Result<Program, CheckError> {
    if insns.is_empty() {
        return Err(CheckError::Empty);
    }
    if insns.len() > MAX_INSTRUCTIONS {
        return Err(CheckError::TooLong(insns.len()));
    }
    let mut memory = Memory::new(insns.len());
    for (index, insn) in insns.iter().enumerate() {
        let behind = insns.len() - index - 1;
        let checked =
            check_insn(*insn, behind).and_then(|operation| memory.follow(index, operation));
        checked.map_err(|rule| CheckError::Instruction { index, rule })?;
    }
    Ok(Program { insns, byte_order })
}

/// Checks one instruction that has `behind` others behind it.
fn check_insn(insn: Insn, behind: usize) -> Result<Operation, Rule> {
    let operation = insn.operation().ok_or(Rule::Operation(insn.code))?;
    let lands = |skip: u32| usize::try_from(skip).is_ok_and(|skip| skip < behind);
    let has_word = |k: u32| usize::try_from(k).is_ok_and(|k| k < MEMORY_WORDS);
    let ends = matches!(
        operation,
        Operation::Return(_) | Operation::ReturnAccumulator
    );
    match operation {
        Operation::Load(_, Value::Data(k)) if k >= Call::SIZE || k % 4 != 0 => Err(Rule::Offset(k)),
        Operation::Load(_, Value::Memory(k)) if !has_word(k) => Err(Rule::Memory(k)),
        Operation::Store(k, _) if !has_word(k) => Err(Rule::Memory(k)),
        Operation::Compute(Compute::Divide, Operand::Constant(0)) => Err(Rule::Division),
        Operation::Compute(Compute::ShiftLeft | Compute::ShiftRight, Operand::Constant(k))
            if k >= 32 =>
        {
            Err(Rule::Shift(k))
        }
        Operation::Jump(k) if !lands(k) => Err(Rule::Jump),
        Operation::JumpIf { yes, no, .. } if !lands(yes.into()) || !lands(no.into()) => {
            Err(Rule::Jump)
        }
        _ if behind == 0 && !ends => Err(Rule::NoReturn),
        _ => Ok(operation),
    }
}

/// Which scratch words are sure to have been written, a bit each.
struct Memory {
    /// On the way that falls through to the next instruction.
    written: u16,
    /// On all ways that jump to an instruction.
    at: Vec<u16>,
}

impl Memory {
    fn new(length: usize) -> Memory {
        Memory {
            written: 0,
            at: vec![u16::MAX; length],
        }
    }

    /// Follows an instruction whose jumps land inside.
    fn follow(&mut self, index: usize, operation: Operation) -> Result<(), Rule> {
        self.written &= self.at[index];
        match operation {
            Operation::Store(k, _) => self.written |= 1 << k,
            Operation::Load(_, Value::Memory(k)) if self.written & (1 << k) == 0 => {
                return Err(Rule::Uninitialized(k));
            }
            Operation::Jump(k) => self.jump(index, usize::try_from(k).unwrap_or(usize::MAX)),
            Operation::JumpIf { yes, no, .. } => {
                let written = self.written;
                self.jump(index, yes.into());
                self.written = written;
                self.jump(index, no.into());
            }
            _ => {}
        }
        Ok(())
    }

    fn jump(&mut self, index: usize, skip: usize) {
        if let Some(at) = self.at.get_mut(index + 1 + skip) {
            *at &= self.written;
        }
        // Whatever stands behind a jump is reached by jumps only.
        self.written = u16::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::super::op;
    use super::*;

    fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
        Insn { code, jt, jf, k }
    }

    const RET: Insn = Insn {
        code: op::RET_K,
        jt: 0,
        jf: 0,
        k: 0,
    };

    fn refused(insns: &[Insn]) -> Option<(usize, Rule)> {
        match check(insns.to_vec(), ByteOrder::Little) {
            Err(CheckError::Instruction { index, rule }) => Some((index, rule)),
            _ => None,
        }
    }

    #[test]
    fn each_rule_is_kept() {
        let cases = [
            (vec![insn(0x28, 0, 0, 0), RET], (0, Rule::Operation(0x28))),
            (vec![insn(0x94, 0, 0, 3), RET], (0, Rule::Operation(0x94))),
            (
                vec![insn(op::LD_W_ABS, 0, 0, 64), RET],
                (0, Rule::Offset(64)),
            ),
            (vec![insn(op::LD_W_ABS, 0, 0, 2), RET], (0, Rule::Offset(2))),
            (vec![insn(0x02, 0, 0, 16), RET], (0, Rule::Memory(16))),
            (vec![insn(0x60, 0, 0, 3), RET], (0, Rule::Uninitialized(3))),
            (vec![insn(0x34, 0, 0, 0), RET], (0, Rule::Division)),
            (vec![insn(0x64, 0, 0, 32), RET], (0, Rule::Shift(32))),
            (vec![insn(op::JA, 0, 0, 1), RET], (0, Rule::Jump)),
            (vec![insn(op::JA, 0, 0, u32::MAX), RET], (0, Rule::Jump)),
            (vec![insn(op::JEQ_K, 1, 0, 0), RET], (0, Rule::Jump)),
            (vec![insn(op::JEQ_K, 0, 1, 0), RET], (0, Rule::Jump)),
            (vec![RET, insn(op::LD_W_ABS, 0, 0, 0)], (1, Rule::NoReturn)),
        ];
        for (insns, expected) in cases {
            assert_eq!(refused(&insns), Some(expected), "{insns:?}");
        }
    }

    #[test]
    fn the_length_is_bounded() {
        let long = |length| check(vec![RET; length], ByteOrder::Little).map(|_| ());
        assert_eq!(long(0), Err(CheckError::Empty));
        assert_eq!(long(4096), Ok(()));
        assert_eq!(long(4097), Err(CheckError::TooLong(4097)));
    }

    #[test]
    fn a_scratch_word_must_be_written_on_every_way() {
        let (store, load) = (insn(0x02, 0, 0, 3), insn(0x60, 0, 0, 3));
        assert_eq!(refused(&[store, load, RET]), None);
        // One of two ways to the load skips the store.
        let skips = [insn(op::JEQ_K, 1, 0, 0), store, load, RET];
        assert_eq!(refused(&skips), Some((2, Rule::Uninitialized(3))));
        let both = [store, insn(op::JEQ_K, 1, 0, 0), store, load, RET];
        assert_eq!(refused(&both), None);
    }
}
