//! Runs a program on a call, as the kernel would.
//!
//! Registers and scratch words start at 0. A shift by the index register uses its lowest five bits, and a
//! division by an index register of 0 ends the program with 0, as in the code that the kernel makes of a
//! filter (`bpf_convert_filter`, `net/core/filter.c`).

use super::{MEMORY_WORDS, Operand, Operation, Program, Register, Value};
use crate::action::Action;
use crate::arch::ByteOrder;
use crate::call::Call;

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The returned value: `SECCOMP_RET_*` and its datum.
    pub ret: u32,
    /// What the kernel does on it.
    pub action: Action,
    /// How many instructions were executed.
    pub executed: usize,
}

impl Program {
    /// Runs the program on a call. It always ends, as jumps only go forward.
    ///
    /// Words are loaded in the byte order of the program's kernel.
    #[must_use]
    pub fn simulate(&self, call: &Call) -> Run {
        self.run(call, |_| ())
    }

    /// The instructions that a run on a call executes, by their places, in order.
    ///
    /// ```
    /// use callgate_compiler::filter::compile;
    /// use callgate_compiler::policy::PolicyBuilder;
    /// use callgate_compiler::{Action, Arch, Call};
    /// let program = compile(&PolicyBuilder::new(Arch::X86_64, Action::Errno(1)).build())?;
    /// let call = Call::new(Arch::X86_64, 39, [0; 6]);
    /// assert_eq!(program.path(&call).len(), program.simulate(&call).executed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn path(&self, call: &Call) -> Vec<usize> {
        let mut path = Vec::new();
        self.run(call, |at| path.push(at));
        path
    }

    fn run(&self, call: &Call, mut executing: impl FnMut(usize)) -> Run {
        let mut machine = Machine {
            byte_order: self.byte_order,
            a: 0,
            x: 0,
            memory: [0; MEMORY_WORDS],
        };
        let mut at = 0;
        let mut executed = 0;
        loop {
            // A checked program has only allowed operations and never runs past its end.
            let operation = self.insns.get(at).and_then(|insn| insn.operation());
            let next = operation.map_or(Next::Return(0), |operation| machine.step(operation, call));
            executed += 1;
            executing(at);
            match next {
                Next::Skip(count) => at += 1 + count,
                Next::Return(ret) => {
                    let action = Action::from_ret(ret);
                    return Run {
                        ret,
                        action,
                        executed,
                    };
                }
            }
        }
    }
}

enum Next {
    Skip(usize),
    Return(u32),
}

struct Machine {
    byte_order: ByteOrder,
    a: u32,
    x: u32,
    memory: [u32; MEMORY_WORDS],
}

impl Machine {
    fn step(&mut self, operation: Operation, call: &Call) -> Next {
        match operation {
            Operation::Load(register, value) => *self.register(register) = self.value(value, call),
            Operation::Store(k, register) => {
                let value = *self.register(register);
                if let Some(word) = self.memory.get_mut(index(k)) {
                    *word = value;
                }
            }
            Operation::Compute(compute, operand) => match compute.of(self.a, self.operand(operand))
            {
                Some(value) => self.a = value,
                None => return Next::Return(0),
            },
            Operation::Negate => self.a = self.a.wrapping_neg(),
            Operation::CopyToIndex => self.x = self.a,
            Operation::CopyToAccumulator => self.a = self.x,
            Operation::Jump(k) => return Next::Skip(index(k)),
            Operation::JumpIf {
                test,
                operand,
                yes,
                no,
            } => {
                let holds = test.holds(self.a, self.operand(operand));
                return Next::Skip(usize::from(if holds { yes } else { no }));
            }
            Operation::Return(k) => return Next::Return(k),
            Operation::ReturnAccumulator => return Next::Return(self.a),
        }
        Next::Skip(0)
    }

    fn register(&mut self, register: Register) -> &mut u32 {
        match register {
            Register::Accumulator => &mut self.a,
            Register::Index => &mut self.x,
        }
    }

    fn operand(&self, operand: Operand) -> u32 {
        match operand {
            Operand::Constant(k) => k,
            Operand::Index => self.x,
        }
    }

    fn value(&self, value: Value, call: &Call) -> u32 {
        match value {
            Value::Constant(k) => k,
            Value::Data(offset) => call.word_in(offset, self.byte_order).unwrap_or(0),
            Value::Length => Call::SIZE,
            Value::Memory(k) => self.memory.get(index(k)).copied().unwrap_or(0),
        }
    }
}

fn index(k: u32) -> usize {
    usize::try_from(k).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::check::check;
    use super::super::{Insn, op};
    use super::*;
    use crate::arch::Arch;

    /// Runs instructions given as code, jt, jf, k.
    fn run(insns: &[(u16, u8, u8, u32)], call: &Call) -> Run {
        let insns = insns
            .iter()
            .map(|&(code, jt, jf, k)| Insn { code, jt, jf, k });
        check(insns.collect(), ByteOrder::Little)
            .unwrap()
            .simulate(call)
    }

    #[test]
    fn arithmetic_is_the_kernels() {
        let call = Call::new(Arch::X86_64, 7, [0; 6]);
        // The operation under test on A = 7 and X = k, then return A.
        let with_x = |code, k| {
            run(
                &[
                    (0x01, 0, 0, k),
                    (op::LD_W_ABS, 0, 0, 0),
                    (code, 0, 0, 0),
                    (0x16, 0, 0, 0),
                ],
                &call,
            )
            .ret
        };
        assert_eq!(with_x(0x0c, u32::MAX), 6);
        assert_eq!(with_x(0x1c, 8), u32::MAX);
        assert_eq!(with_x(0x2c, 0x8000_0000), 0x8000_0000);
        assert_eq!(with_x(0x3c, 2), 3);
        assert_eq!(with_x(0x4c, 8), 15);
        assert_eq!(with_x(0x5c, 3), 3);
        assert_eq!(with_x(0x6c, 33), 14);
        assert_eq!(with_x(0x7c, 33), 3);
        assert_eq!(with_x(0xac, 5), 2);
        assert_eq!(with_x(0x84, 0), 7u32.wrapping_neg());
        assert_eq!(with_x(0x87, 9), 9);
    }

    #[test]
    fn division_by_an_index_of_zero_ends_with_zero() {
        let call = Call::new(Arch::X86_64, 7, [0; 6]);
        let run = run(&[(0x3c, 0, 0, 0), (op::RET_K, 0, 0, 1)], &call);
        assert_eq!((run.ret, run.executed), (0, 1));
    }

    #[test]
    fn memory_and_length_are_read_back() {
        let call = Call::new(Arch::X86_64, 7, [0; 6]);
        let program = [
            (0x80, 0, 0, 0),
            (0x02, 0, 0, 15),
            (0x61, 0, 0, 15),
            (0x87, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];
        let run = run(&program, &call);
        assert_eq!((run.ret, run.executed), (64, 5));
    }
}
