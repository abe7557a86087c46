//! What a program costs: its length once the kernel has converted it, the lengths of its paths, and which
//! numbers the kernel answers without running it.
//!
//! The kernel turns classic instructions into its own, longer ones (`bpf_convert_filter`, `net/core/filter.c`), and stacked filters
//! share a bound on those. Since 5.11 it also tries each number of its native and compat tables when a filter is attached, and
//! remembers those that are allowed whatever the arguments are (`seccomp_is_const_allow`, `kernel/seccomp.c`): such
//! calls don't run the filter at all.

use super::{Comparison, Compute, Insn, Operand, Operation, Program, Register, Value};
use crate::action::Action;

/// How many converted instructions the filters of a thread may have together (`MAX_INSNS_PER_PATH`,
/// `kernel/seccomp.c`: 256 KiB of 8 bytes each).
pub const BUDGET: usize = (1 << 18) / 8;

/// What each filter that was there before counts beyond its converted length.
pub const OVERHEAD: usize = 4;

/// What the kernel puts in front of a converted filter: it clears both registers and keeps the context.
const PROLOGUE: usize = 3;

/// How many instructions a program takes to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// On the shortest path, the return included.
    pub shortest: usize,
    /// On the longest one.
    pub longest: usize,
}

/// Where following a program without arguments leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulated {
    /// To this value, whatever the arguments are.
    Returns(u32),
    /// To the instruction at this place, which the kernel doesn't follow: it may load an argument.
    StopsAt(usize),
}

impl Program {
    /// How many instructions the kernel makes of the program.
    ///
    /// ```
    /// use callgate_compiler::bpf::check::check;
    /// use callgate_compiler::bpf::{Insn, op};
    /// use callgate_compiler::ByteOrder;
    ///
    /// let allow = Insn { code: op::RET_K, jt: 0, jf: 0, k: 0x7fff_0000 };
    /// assert_eq!(check(vec![allow], ByteOrder::Little)?.converted_length(), 3 + 2);
    /// # Ok::<(), callgate_compiler::bpf::CheckError>(())
    /// ```
    #[must_use]
    pub fn converted_length(&self) -> usize {
        PROLOGUE + self.insns.iter().copied().map(converted).sum::<usize>()
    }

    /// The lengths of the shortest and of the longest path. Not every path need have a call that takes it.
    #[must_use]
    pub fn paths(&self) -> Paths {
        let end = Paths {
            shortest: 1,
            longest: 1,
        };
        // Jumps only go forward, so from the back all that an instruction leads to is known.
        let mut paths = vec![end; self.insns.len()];
        for (index, insn) in self.insns.iter().enumerate().rev() {
            let after = |skip: u32| {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX / 2);
                paths.get(index + 1 + skip).copied().unwrap_or(end)
            };
            let (a, b) = match insn.operation() {
                None | Some(Operation::Return(_) | Operation::ReturnAccumulator) => continue,
                Some(Operation::Jump(k)) => (after(k), after(k)),
                Some(Operation::JumpIf { yes, no, .. }) => (after(yes.into()), after(no.into())),
                Some(_) => (after(0), after(0)),
            };
            paths[index] = Paths {
                shortest: 1 + a.shortest.min(b.shortest),
                longest: 1 + a.longest.max(b.longest),
            };
        }
        paths.first().copied().unwrap_or(end)
    }

    /// Follows a program as the kernel does to find out whether it answers a number whatever the arguments are.
    ///
    /// The kernel follows loads of number and architecture, comparisons of those with constants, AND with a constant, jumps, and
    /// a return; at anything else it gives up.
    #[must_use]
    pub fn emulate(&self, audit: u32, nr: u32) -> Emulated {
        let mut accumulator = 0;
        let mut at = 0;
        while let Some(operation) = self.insns.get(at).and_then(|insn| insn.operation()) {
            let here = at;
            at += 1;
            match operation {
                Operation::Load(Register::Accumulator, Value::Data(0)) => accumulator = nr,
                Operation::Load(Register::Accumulator, Value::Data(4)) => accumulator = audit,
                Operation::Compute(Compute::And, Operand::Constant(k)) => accumulator &= k,
                Operation::Jump(k) => {
                    at = at.saturating_add(usize::try_from(k).unwrap_or(usize::MAX))
                }
                Operation::JumpIf {
                    test,
                    operand: Operand::Constant(k),
                    yes,
                    no,
                } => at += usize::from(if test.holds(accumulator, k) { yes } else { no }),
                Operation::Return(k) => return Emulated::Returns(k),
                _ => return Emulated::StopsAt(here),
            }
        }
        Emulated::StopsAt(at)
    }

    /// Whether the kernel finds that a call is allowed whatever its arguments are, so that it answers it without running the
    /// program: `audit` is the call's `AUDIT_ARCH_*` value.
    ///
    /// That takes a return of exactly `SECCOMP_RET_ALLOW` where [`emulate`](Self::emulate) leads. It only tries the numbers of the
    /// native and the compat table, and it gives up where a filter that was attached before doesn't allow the number.
    #[must_use]
    pub fn is_constant_allow(&self, audit: u32, nr: u32) -> bool {
        self.emulate(audit, nr) == Emulated::Returns(Action::Allow.to_ret())
    }
}

/// How many instructions the kernel makes of one.
fn converted(insn: Insn) -> usize {
    match insn.operation() {
        Some(Operation::JumpIf {
            test,
            operand,
            yes,
            no,
        }) => {
            // A constant is compared as a signed number, so a large one is loaded into a register first.
            let large = matches!(operand, Operand::Constant(k) if k > i32::MAX.unsigned_abs());
            // One that falls through where it holds is turned around, which can't be done to a test of bits.
            let turned = yes == 0 && test != Comparison::AnyBit;
            let one_jump = no == 0 || turned;
            1 + usize::from(large) + usize::from(!one_jump)
        }
        // The value to return, which the accumulator holds already, then exit.
        Some(Operation::Return(_)) => 2,
        // Asks whether the divisor is 0, and returns 0 then.
        Some(Operation::Compute(Compute::Divide, Operand::Index)) => 5,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::assemble::assemble;
    use super::*;
    use crate::arch::{Arch, ByteOrder};

    fn program(text: &str) -> Program {
        assemble(text, ByteOrder::Little).unwrap()
    }

    #[test]
    fn instructions_are_converted_as_the_kernel_does() {
        // Each in front of two returns, beside the prologue of 3 and the 4 that those come to.
        let cases = [
            ("ld [0]", 1),
            ("and #7", 1),
            ("ja 1", 1),
            ("jeq #7, 2, 1", 1),
            ("jeq #7, 1, 2", 1),
            ("jeq #7, 2, 2", 2),
            ("jeq #0x80000000, 2, 1", 2),
            ("jeq #0x80000000, 2, 2", 3),
            ("jset #7, 2, 1", 1),
            ("jset #7, 1, 2", 2),
            ("jgt x, 1, 2", 1),
            ("div x", 5),
            ("div #7", 1),
        ];
        for (text, expected) in cases {
            let program = program(&format!("{text}\nret 0\nret 1"));
            assert_eq!(program.converted_length(), 3 + 4 + expected, "{text}");
        }
        assert_eq!(program("ret a").converted_length(), 3 + 1);
    }

    #[test]
    fn paths_are_measured_to_their_returns() {
        let paths = program("ld [0]\njeq #1, 4, 2\nld [16]\nja 4\nret 0").paths();
        assert_eq!((paths.shortest, paths.longest), (3, 5));
    }

    #[test]
    fn the_cache_knows_what_needs_no_argument() {
        let filter = program(
            "ld [4]\njeq #0xc000003e, here, deny\nhere: ld [0]\njeq #1, allow, more\nmore: jeq #2, argument, last
             last: jge #3, log, deny\nargument: ld [16]\njeq #0, allow, deny\nallow: ret 0x7fff0000\nlog: ret 0x7ffc0000
             deny: ret 0x00050001",
        );
        let cached = |audit, nr| filter.is_constant_allow(audit, nr);
        let native = Arch::X86_64.audit();
        assert!(cached(native, 1));
        assert!(!cached(native, 2), "it loads an argument");
        assert!(!cached(native, 3), "LOG is not ALLOW");
        assert!(!cached(Arch::X86.audit(), 1));
        // A datum beside ALLOW is another value.
        assert!(!program("ret 0x7fff0001").is_constant_allow(native, 1));
    }
}
