//! Program → diagram: follows the instructions with registers that hold constants, or bits of a word of the call.
//!
//! What an instruction comes to depends on its place and on what the registers hold there, and is worked out once for each. Jumps
//! only go forward, so that ends.

use std::collections::HashMap;

use super::abbreviate::Abbreviations;
use super::diagram::{Diagrams, Hashing, NodeId, Word};
use super::{Built, ProofError};
use crate::action::Action;
use crate::arch::ByteOrder;
use crate::bpf::{Comparison, Compute, MEMORY_WORDS, Operand, Operation, Program, Register, Value};
use crate::call::Call;

/// The function that a program is.
pub(super) fn program(
    diagrams: &mut Diagrams,
    abbreviations: &mut Abbreviations,
    program: &Program,
) -> Built {
    let mut lift = Lift {
        diagrams,
        abbreviations,
        program,
        known: HashMap::default(),
    };
    lift.from((0, State::default()))
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
struct State {
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

struct Lift<'a> {
    diagrams: &'a mut Diagrams,
    abbreviations: &'a mut Abbreviations,
    program: &'a Program,
    known: HashMap<Key, NodeId, Hashing>,
}

/// An instruction, and the state before it.
type Key = (usize, State);

/// Where straight instructions lead.
enum Reached {
    Return(u32),
    Branch { condition: NodeId, ways: [Key; 2] },
}

/// What comes next: the instruction in a state, or the end.
enum Next {
    At(usize),
    Branch {
        condition: NodeId,
        yes: usize,
        no: usize,
    },
    Return(u32),
}

impl Lift<'_> {
    /// The function from an instruction on. What it waits for is kept on a stack of its own, as paths may be as long
    /// as programs.
    fn from(&mut self, start: Key) -> Built {
        let mut open = vec![start.clone()];
        while let Some(key) = open.last() {
            if self.known.contains_key(key) {
                open.pop();
                continue;
            }
            let key = key.clone();
            let function = match self.straight_on(key.clone())? {
                Reached::Return(ret) => self.diagrams.action(Action::from_ret(ret))?,
                Reached::Branch { condition, ways } => {
                    let known = ways.each_ref().map(|way| self.known.get(way).copied());
                    let [Some(yes), Some(no)] = known else {
                        open.extend(ways);
                        continue;
                    };
                    let function = self.diagrams.choose(condition, yes, no)?;
                    self.abbreviations.shorten(self.diagrams, function)?
                }
            };
            self.known.insert(key, function);
        }
        self.known
            .get(&start)
            .copied()
            .ok_or(ProofError::Unsupported(start.0))
    }

    /// Follows instructions up to where ways part, or to the end.
    fn straight_on(&mut self, (mut at, mut state): Key) -> Result<Reached, ProofError> {
        loop {
            match self.step(at, &mut state)? {
                Next::At(next) => at = next,
                Next::Return(ret) => return Ok(Reached::Return(ret)),
                Next::Branch { condition, yes, no } => {
                    let ways = [(yes, state.clone()), (no, state)];
                    return Ok(Reached::Branch { condition, ways });
                }
            }
        }
    }

    fn step(&mut self, at: usize, state: &mut State) -> Result<Next, ProofError> {
        let unsupported = ProofError::Unsupported(at);
        let insn = self.program.insns().get(at);
        let operation = insn.and_then(|insn| insn.operation()).ok_or(unsupported)?;
        let to = |skip: u32| at + 1 + usize::try_from(skip).unwrap_or(usize::MAX / 2);
        match operation {
            Operation::Load(register, value) => *state.register(register) = self.load(state, value),
            Operation::Store(k, register) => state.store(k, register),
            Operation::CopyToIndex => state.index = state.accumulator,
            Operation::CopyToAccumulator => state.accumulator = state.index,
            Operation::Negate => match state.accumulator {
                Content::Constant(k) => state.accumulator = Content::Constant(k.wrapping_neg()),
                Content::Bits(..) => return Err(unsupported),
            },
            Operation::Compute(compute, operand) => {
                match computed(compute, state.accumulator, state.operand(operand))
                    .ok_or(unsupported)?
                {
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
                let (yes, no) = (to(yes.into()), to(no.into()));
                return self.branch(
                    test,
                    state.accumulator,
                    state.operand(operand),
                    yes,
                    no,
                    unsupported,
                );
            }
            Operation::Return(k) => return Ok(Next::Return(k)),
            Operation::ReturnAccumulator => match state.accumulator {
                Content::Constant(k) => return Ok(Next::Return(k)),
                Content::Bits(..) => return Err(unsupported),
            },
        }
        Ok(Next::At(at + 1))
    }

    fn load(&self, state: &State, value: Value) -> Content {
        match value {
            Value::Constant(k) => Content::Constant(k),
            Value::Length => Content::Constant(Call::SIZE),
            Value::Memory(k) => state.memory(k),
            Value::Data(offset) => Content::Bits(word(offset, self.program.byte_order()), u32::MAX),
        }
    }

    fn branch(
        &mut self,
        test: Comparison,
        left: Content,
        right: Content,
        yes: usize,
        no: usize,
        unsupported: ProofError,
    ) -> Result<Next, ProofError> {
        let (word, mask, k) = match (left, right) {
            (Content::Constant(a), Content::Constant(b)) => {
                return Ok(Next::At(if test.holds(a, b) { yes } else { no }));
            }
            (Content::Bits(word, mask), Content::Constant(k)) => (word, mask, k),
            _ => return Err(unsupported),
        };
        let condition = match test {
            Comparison::Equal => self.diagrams.equal(word, mask, k)?,
            Comparison::GreaterOrEqual => self.diagrams.at_least(word, mask, k)?,
            Comparison::Greater => match k.checked_add(1) {
                Some(next) => self.diagrams.at_least(word, mask, next)?,
                None => return Ok(Next::At(no)),
            },
            Comparison::AnyBit => self.diagrams.has_any(word, mask & k)?,
        };
        Ok(Next::Branch { condition, yes, no })
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
