//! Programs as text: one instruction a line, with its place, where it jumps to, and what its constants are.
//!
//! What constants stand for beyond this module's facts (the names of system calls, say) is for the caller to
//! tell: a line is a structure first.

use std::fmt;

use super::{Comparison, Compute, Insn, Operand, Operation, Program, Register, Value};
use crate::action::Action;
use crate::arch::{Arch, ByteOrder, byte_order_of};

/// One instruction of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place, from 0.
    pub index: usize,
    /// The instruction.
    pub insn: Insn,
    /// The word that the accumulator holds here on every way, or bits of it, as a byte offset into `seccomp_data`,
    /// if that is known.
    pub word: Option<u32>,
    byte_order: ByteOrder,
}

/// The lines of a program.
#[must_use]
pub fn disassemble(program: &Program) -> Vec<Line> {
    let words = loaded_words(program.insns());
    let lines = program.insns().iter().zip(words).enumerate();
    let line = |(index, (insn, word)): (usize, (&Insn, Option<u32>))| Line {
        index,
        insn: *insn,
        word,
        byte_order: program.byte_order(),
    };
    lines.map(line).collect()
}

/// What is known of the accumulator before an instruction.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    /// No way leads here yet.
    Nothing,
    /// It is this word of the call on every way, or bits of it.
    Word(u32),
    /// It is something else, or not the same on every way.
    Other,
}

/// For each instruction the word that the accumulator holds before it. Jumps only go forward, so one pass tells.
fn loaded_words(insns: &[Insn]) -> Vec<Option<u32>> {
    let mut known = vec![Known::Nothing; insns.len()];
    if let Some(first) = known.first_mut() {
        *first = Known::Other;
    }
    for (index, insn) in insns.iter().enumerate() {
        let before = known[index];
        let mut to = |skip: usize, after: Known| {
            if let Some(there) = known.get_mut(index + 1 + skip) {
                let same = *there == Known::Nothing || *there == after;
                *there = if same { after } else { Known::Other };
            }
        };
        match insn.operation() {
            Some(Operation::Jump(k)) => to(usize::try_from(k).unwrap_or(usize::MAX / 2), before),
            Some(Operation::JumpIf { yes, no, .. }) => {
                to(yes.into(), before);
                to(no.into(), before);
            }
            Some(Operation::Load(Register::Accumulator, Value::Data(k))) => to(0, Known::Word(k)),
            Some(Operation::Load(Register::Index, _) | Operation::Store(..)) => to(0, before),
            Some(
                Operation::CopyToIndex | Operation::Compute(Compute::And, Operand::Constant(_)),
            ) => {
                to(0, before);
            }
            Some(Operation::Return(_) | Operation::ReturnAccumulator) => {}
            _ => to(0, Known::Other),
        }
    }
    let word = |known| match known {
        Known::Word(offset) => Some(offset),
        _ => None,
    };
    known.into_iter().map(word).collect()
}

impl Line {
    /// The mnemonic and operands, jump targets as places: `jeq 0xc000003e, 4, 2`.
    #[must_use]
    pub fn text(&self) -> String {
        let target = |skip: usize| self.index + 1 + skip;
        let operation = self.insn.operation();
        let Some(operation) = operation.filter(|operation| self.uses_all_fields(*operation)) else {
            return format!(
                ".insn {:#06x}, {}, {}, {:#x}",
                self.insn.code, self.insn.jt, self.insn.jf, self.insn.k
            );
        };
        match operation {
            Operation::Load(Register::Accumulator, value) => format!("ld {}", value_text(value)),
            Operation::Load(Register::Index, value) => format!("ldx {}", value_text(value)),
            Operation::Store(k, Register::Accumulator) => format!("st M[{k}]"),
            Operation::Store(k, Register::Index) => format!("stx M[{k}]"),
            Operation::Compute(compute, operand) => {
                format!("{} {}", compute_text(compute), operand_text(operand))
            }
            Operation::Negate => "neg".to_owned(),
            Operation::CopyToIndex => "tax".to_owned(),
            Operation::CopyToAccumulator => "txa".to_owned(),
            Operation::Jump(k) => format!(
                "ja {}",
                target(usize::try_from(k).unwrap_or(usize::MAX / 2))
            ),
            Operation::JumpIf {
                test,
                operand,
                yes,
                no,
            } => {
                let (yes, no) = (target(yes.into()), target(no.into()));
                format!(
                    "{} {}, {yes}, {no}",
                    comparison_text(test),
                    operand_text(operand)
                )
            }
            Operation::Return(k) => format!("ret {k:#010x}"),
            Operation::ReturnAccumulator => "ret a".to_owned(),
        }
    }

    /// Whether nothing stands in the instruction that its operation doesn't look at: such a thing would be lost in
    /// the mnemonic.
    fn uses_all_fields(&self, operation: Operation) -> bool {
        let Insn { jt, jf, k, .. } = self.insn;
        let jumps = matches!(operation, Operation::JumpIf { .. });
        let has_constant = !matches!(
            operation,
            Operation::Load(_, Value::Length)
                | Operation::Compute(_, Operand::Index)
                | Operation::JumpIf {
                    operand: Operand::Index,
                    ..
                }
                | Operation::Negate
                | Operation::CopyToIndex
                | Operation::CopyToAccumulator
                | Operation::ReturnAccumulator
        );
        (jumps || jt == 0 && jf == 0) && (has_constant || k == 0)
    }

    /// What the instruction is about, as far as the filter's own terms go: the part of the call that is loaded,
    /// the architecture that is asked for, the action that is returned.
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        match self.insn.operation()? {
            Operation::Load(_, Value::Data(offset)) => self.word_name(offset),
            Operation::Return(k) => Some(Action::from_ret(k).to_string()),
            Operation::JumpIf {
                operand: Operand::Constant(k),
                ..
            } if self.word == Some(4) => {
                let named = |arch: &Arch| arch.audit() == k;
                Arch::ALL
                    .into_iter()
                    .find(named)
                    .map(|arch| arch.name().to_owned())
            }
            _ => None,
        }
    }

    /// The name of the word of `seccomp_data` at an offset: `nr`, `args[0] low`.
    fn word_name(&self, offset: u32) -> Option<String> {
        let high_first = self.byte_order == ByteOrder::Big;
        let half = if (offset % 8 == 0) == high_first {
            "high"
        } else {
            "low"
        };
        Some(match offset {
            0 => "nr".to_owned(),
            4 => "arch".to_owned(),
            8 | 12 => format!("instruction_pointer {half}"),
            16..64 => format!("args[{}] {half}", (offset - 16) / 8),
            _ => return None,
        })
    }
}

/// Place, text and comment, in columns.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, text) = (self.index, self.text());
        match self.comment() {
            Some(comment) => write!(f, "{index:>4}  {text:<32} ; {comment}"),
            None => write!(f, "{index:>4}  {text}"),
        }
    }
}

fn value_text(value: Value) -> String {
    match value {
        Value::Constant(k) => format!("#{k:#x}"),
        Value::Data(offset) => format!("[{offset}]"),
        Value::Length => "len".to_owned(),
        Value::Memory(k) => format!("M[{k}]"),
    }
}

fn operand_text(operand: Operand) -> String {
    match operand {
        Operand::Constant(k) => format!("#{k:#x}"),
        Operand::Index => "x".to_owned(),
    }
}

fn compute_text(compute: Compute) -> &'static str {
    match compute {
        Compute::Add => "add",
        Compute::Subtract => "sub",
        Compute::Multiply => "mul",
        Compute::Divide => "div",
        Compute::Or => "or",
        Compute::And => "and",
        Compute::ShiftLeft => "lsh",
        Compute::ShiftRight => "rsh",
        Compute::Xor => "xor",
    }
}

fn comparison_text(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "jeq",
        Comparison::Greater => "jgt",
        Comparison::GreaterOrEqual => "jge",
        Comparison::AnyBit => "jset",
    }
}

/// The byte order that a program seems to be for: that of the architectures it asks for; where it asks for none, the
/// one of this machine.
#[must_use]
pub fn byte_order_asked_for(insns: &[Insn]) -> ByteOrder {
    let known = |k: u32| Arch::ALL.into_iter().any(|arch| arch.audit() == k);
    let asked = insns
        .iter()
        .filter(|insn| insn.code == super::op::JEQ_K && known(insn.k));
    asked
        .map(|insn| byte_order_of(insn.k))
        .next()
        .unwrap_or(ByteOrder::native())
}

#[cfg(test)]
mod tests {
    use super::super::check::check;
    use super::*;

    #[test]
    fn lines_tell_targets_words_and_actions() {
        let insns = vec![
            Insn {
                code: 0x20,
                jt: 0,
                jf: 0,
                k: 4,
            },
            Insn {
                code: 0x15,
                jt: 1,
                jf: 0,
                k: 0xc000_003e,
            },
            Insn {
                code: 0x06,
                jt: 0,
                jf: 0,
                k: 0,
            },
            Insn {
                code: 0x20,
                jt: 0,
                jf: 0,
                k: 20,
            },
            Insn {
                code: 0x45,
                jt: 0,
                jf: 1,
                k: 8,
            },
            Insn {
                code: 0x06,
                jt: 0,
                jf: 0,
                k: 0x0005_0001,
            },
            Insn {
                code: 0x06,
                jt: 0,
                jf: 0,
                k: 0x7fff_0000,
            },
        ];
        let lines = disassemble(&check(insns, ByteOrder::Little).unwrap());
        let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let expected = [
            "   0  ld [4]                           ; arch",
            "   1  jeq #0xc000003e, 3, 2            ; x86_64",
            "   2  ret 0x00000000                   ; KILL_THREAD",
            "   3  ld [20]                          ; args[0] high",
            "   4  jset #0x8, 5, 6",
            "   5  ret 0x00050001                   ; ERRNO(EPERM)",
            "   6  ret 0x7fff0000                   ; ALLOW",
        ];
        assert_eq!(text, expected);
        assert_eq!(lines[4].word, Some(20));
    }
}
