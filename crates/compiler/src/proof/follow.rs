//! Follows a program's instructions, with registers that hold constants, or bits of a word of the call.
//!
//! Where a program computes with a call in any other way, it can't be followed, which is said.

use super::diagram::{Diagrams, NO, Word};
use super::pieces::Within;
use super::{Built, ProofError};
use crate::arch::ByteOrder;
use crate::bpf::{Comparison, Compute, MEMORY_WORDS, Operand, Operation, Program, Register, Value};
use crate::call::Call;

/// So many ranges of values are still joined as such. Masks of the highest bits make a few, others a great many.
const FEW_RANGES: usize = 8;

/// An instruction, and what the registers hold before it.
pub(super) type Place = (usize, State);

/// Where straight instructions lead.
pub(super) enum Reached {
    Return(u32),
    /// The ways for yes and no.
    Branch {
        question: Question,
        ways: [Place; 2],
    },
}

/// How the bits of a word that the mask has, as a number, compare with `k`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) word: Word,
    mask: u32,
    test: Comparison,
    k: u32,
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Content {
    Constant(u32),
    /// These bits of a word of the call, the others 0.
    Bits(Word, u32),
}

/// What registers and scratch words hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    accumulator: Content,
    index: Content,
    /// Those that aren't 0.
    memory: Vec<(u32, Content)>,
}

impl Default for State {
    fn default() -> State {
        let zero = Content::Constant(0);
        State {
            accumulator: zero,
            index: zero,
            memory: Vec::new(),
        }
    }
}

/// What comes next: the instruction in a state, or the end.
enum Next {
    At(usize),
    Branch {
        question: Question,
        yes: usize,
        no: usize,
    },
    Return(u32),
}

/// Follows instructions up to where ways part, or to the end.
pub(super) fn straight_on(
    program: &Program,
    (mut at, mut state): Place,
) -> Result<Reached, ProofError> {
    loop {
        match step(program, at, &mut state)? {
            Next::At(next) => at = next,
            Next::Return(ret) => return Ok(Reached::Return(ret)),
            Next::Branch { question, yes, no } => {
                let ways = [(yes, state.clone()), (no, state)];
                return Ok(Reached::Branch { question, ways });
            }
        }
    }
}

fn step(program: &Program, at: usize, state: &mut State) -> Result<Next, ProofError> {
    let unsupported = ProofError::Unsupported(at);
    let insn = program.insns().get(at);
    let operation = insn.and_then(|insn| insn.operation()).ok_or(unsupported)?;
    let to = |skip: u32| at + 1 + usize::try_from(skip).unwrap_or(usize::MAX / 2);
    match operation {
        Operation::Load(register, value) => *state.register(register) = load(program, state, value),
        Operation::Store(k, register) => state.store(k, register),
        Operation::CopyToIndex => state.index = state.accumulator,
        Operation::CopyToAccumulator => state.accumulator = state.index,
        Operation::Negate => match state.accumulator {
            Content::Constant(k) => state.accumulator = Content::Constant(k.wrapping_neg()),
            Content::Bits(..) => return Err(unsupported),
        },
        Operation::Compute(compute, operand) => {
            match computed(compute, state.accumulator, state.operand(operand)).ok_or(unsupported)? {
                Some(content) => state.accumulator = content,
                None => return Ok(Next::Return(0)),
            }
        }
        Operation::Jump(k) => return Ok(Next::At(to(k))),
        Operation::JumpIf {
            test,
            operand,
            yes,
            no,
        } => {
            let ways = [to(yes.into()), to(no.into())];
            let next = branch(test, state.accumulator, state.operand(operand), ways);
            return next.ok_or(unsupported);
        }
        Operation::Return(k) => return Ok(Next::Return(k)),
        Operation::ReturnAccumulator => match state.accumulator {
            Content::Constant(k) => return Ok(Next::Return(k)),
            Content::Bits(..) => return Err(unsupported),
        },
    }
    Ok(Next::At(at + 1))
}

fn load(program: &Program, state: &State, value: Value) -> Content {
    match value {
        Value::Constant(k) => Content::Constant(k),
        Value::Length => Content::Constant(Call::SIZE),
        Value::Memory(k) => state.memory(k),
        Value::Data(offset) => Content::Bits(word(offset, program.byte_order()), u32::MAX),
    }
}

impl Question {
    /// The values for which the answer is yes, if they are a few ranges.
    pub(super) fn within(self, diagrams: &mut Diagrams) -> Result<Option<Within>, ProofError> {
        let word = self.word;
        let range = |first, last| vec![(first, last)];
        let ranges = match self.test {
            Comparison::Equal if self.mask == u32::MAX => range(self.k, self.k),
            Comparison::GreaterOrEqual if self.mask == u32::MAX => range(self.k, u32::MAX),
            _ => {
                let condition = self.condition(diagrams)?;
                let Some(ranges) = diagrams.few_values(condition, word, FEW_RANGES) else {
                    return Ok(None);
                };
                ranges
            }
        };
        Ok(Some(Within { word, ranges }))
    }

    pub(super) fn condition(self, diagrams: &mut Diagrams) -> Built {
        let Question {
            word,
            mask,
            test,
            k,
        } = self;
        match test {
            Comparison::Equal => diagrams.equal(word, mask, k),
            Comparison::GreaterOrEqual => diagrams.at_least(word, mask, k),
            Comparison::Greater => match k.checked_add(1) {
                Some(next) => diagrams.at_least(word, mask, next),
                None => Ok(NO),
            },
            Comparison::AnyBit => diagrams.has_any(word, mask & k),
        }
    }
}

/// Where a comparison of two registers leads; `None` if it can't be followed.
fn branch(test: Comparison, left: Content, right: Content, [yes, no]: [usize; 2]) -> Option<Next> {
    match (left, right) {
        (Content::Constant(a), Content::Constant(b)) => {
            Some(Next::At(if test.holds(a, b) { yes } else { no }))
        }
        (Content::Bits(word, mask), Content::Constant(k)) => {
            let question = Question {
                word,
                mask,
                test,
                k,
            };
            Some(Next::Branch { question, yes, no })
        }
        _ => None,
    }
}

impl State {
    fn register(&mut self, register: Register) -> &mut Content {
        match register {
            Register::Accumulator => &mut self.accumulator,
            Register::Index => &mut self.index,
        }
    }

    fn operand(&self, operand: Operand) -> Content {
        match operand {
            Operand::Constant(k) => Content::Constant(k),
            Operand::Index => self.index,
        }
    }

    fn memory(&self, k: u32) -> Content {
        let word = self.memory.iter().find(|(word, _)| *word == k);
        word.map_or(Content::Constant(0), |(_, content)| *content)
    }

    fn store(&mut self, k: u32, register: Register) {
        let content = *self.register(register);
        self.memory.retain(|(word, _)| *word != k);
        if usize::try_from(k).is_ok_and(|k| k < MEMORY_WORDS) {
            self.memory.push((k, content));
            self.memory.sort_by_key(|(word, _)| *word);
        }
    }
}

/// The outer `None` is what can't be followed; the inner one is a division by an index of 0, which ends the program.
fn computed(compute: Compute, a: Content, b: Content) -> Option<Option<Content>> {
    match (compute, a, b) {
        (Compute::And, Content::Bits(word, mask), Content::Constant(k)) => {
            Some(Some(Content::Bits(word, mask & k)))
        }
        (_, Content::Constant(a), Content::Constant(b)) => {
            Some(compute.of(a, b).map(Content::Constant))
        }
        _ => None,
    }
}

/// The word at an offset of `seccomp_data`. Offsets of a checked program are multiples of 4 below 64.
fn word(offset: u32, byte_order: ByteOrder) -> Word {
    let high = (offset % 8 == 0) == (byte_order == ByteOrder::Big);
    match (offset, high) {
        (0, _) => Word::Nr,
        (4, _) => Word::Arch,
        (8 | 12, true) => Word::PointerHigh,
        (8 | 12, false) => Word::PointerLow,
        (_, true) => Word::ArgumentHigh(argument(offset)),
        (_, false) => Word::ArgumentLow(argument(offset)),
    }
}

fn argument(offset: u32) -> u8 {
    u8::try_from(offset.saturating_sub(16) / 8 % 6).unwrap_or(0)
}
