//! Follows the instructions of a program for one number, with arguments open.
//!
//! Where arguments are compared the ways part, and each learns something of them; at its end stands an action. What computes with
//! arguments isn't followed.

use std::collections::BTreeMap;

use super::formula::{Operand, Ranges, complement};
use crate::action::Action;
use crate::arch::{ByteOrder, X32_BIT};
use crate::bpf::{Comparison, Compute, Operand as Right, Operation, Program, Register, Value};
use crate::call::Call;

/// So many ways through a program are followed for one call.
pub(super) const MOST_WAYS: usize = 512;

/// All ways through a program for a number.
pub(super) struct Explored {
    pub(super) ways: Vec<Way>,
    /// Whether it computes with the number, other than taking off bit 30.
    pub(super) computes: bool,
}

/// A way through a program: what it has learnt, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) learnt: BTreeMap<Operand, Ranges>,
    pub(super) action: Action,
}

/// What a register holds.
#[derive(Clone, Copy)]
enum Content {
    Constant(u32),
    /// The number of the call, which is known.
    Number(u32),
    /// These bits of a half of an argument.
    Bits {
        arg: u8,
        high: bool,
        mask: u32,
    },
}

#[derive(Clone)]
struct State {
    at: usize,
    accumulator: Content,
    index: Content,
    memory: BTreeMap<u32, Content>,
    learnt: BTreeMap<Operand, Ranges>,
}

/// All ways through a program for a number of an architecture.
pub(super) fn explore(program: &Program, audit: u32, nr: u32) -> Option<Explored> {
    let zero = Content::Constant(0);
    let mut open = vec![State {
        at: 0,
        accumulator: zero,
        index: zero,
        memory: BTreeMap::new(),
        learnt: BTreeMap::new(),
    }];
    let mut ways = Vec::new();
    let mut computes = false;
    while let Some(mut state) = open.pop() {
        loop {
            let operation = program.insns().get(state.at)?.operation()?;
            state.at += 1;
            match operation {
                Operation::Load(register, value) => {
                    let content = load(program, &state, value, audit, nr)?;
                    *state.register(register) = content;
                }
                Operation::Store(k, register) => {
                    let content = *state.register(register);
                    state.memory.insert(k, content);
                }
                Operation::CopyToIndex => state.index = state.accumulator,
                Operation::CopyToAccumulator => state.accumulator = state.index,
                Operation::Negate => match state.accumulator {
                    Content::Constant(k) => state.accumulator = Content::Constant(k.wrapping_neg()),
                    _ => return None,
                },
                Operation::Compute(compute, operand) => {
                    let right = state.operand(operand);
                    computes |= is_arithmetic(compute, state.accumulator, right);
                    match computed(compute, state.accumulator, right)? {
                        Some(content) => state.accumulator = content,
                        None => {
                            ways.push(state.end(0));
                            break;
                        }
                    }
                }
                Operation::Jump(k) => state.at += usize::try_from(k).ok()?,
                Operation::JumpIf {
                    test,
                    operand,
                    yes,
                    no,
                } => {
                    let right = state.operand(operand);
                    computes |=
                        test == Comparison::AnyBit && tests_number(state.accumulator, right);
                    let [holds, fails] = state.part(test, right)?;
                    let mut next =
                        [(holds, yes), (fails, no)]
                            .into_iter()
                            .filter_map(|(state, skip)| {
                                let mut state = state?;
                                state.at += usize::from(skip);
                                Some(state)
                            });
                    state = next.next()?;
                    open.extend(next);
                }
                Operation::Return(k) => {
                    ways.push(state.end(k));
                    break;
                }
                Operation::ReturnAccumulator => match state.accumulator {
                    Content::Constant(k) => {
                        ways.push(state.end(k));
                        break;
                    }
                    _ => return None,
                },
            }
        }
        if ways.len() + open.len() > MOST_WAYS {
            return None;
        }
    }
    Some(Explored { ways, computes })
}

fn load(program: &Program, state: &State, value: Value, audit: u32, nr: u32) -> Option<Content> {
    Some(match value {
        Value::Constant(k) => Content::Constant(k),
        Value::Length => Content::Constant(Call::SIZE),
        Value::Memory(k) => state
            .memory
            .get(&k)
            .copied()
            .unwrap_or(Content::Constant(0)),
        Value::Data(0) => Content::Number(nr),
        Value::Data(4) => Content::Constant(audit),
        // The instruction pointer.
        Value::Data(8 | 12) => return None,
        Value::Data(offset) => Content::Bits {
            arg: u8::try_from(offset.checked_sub(16)? / 8).ok()?,
            high: (offset % 8 == 0) == (program.byte_order() == ByteOrder::Big),
            mask: u32::MAX,
        },
    })
}

/// Whether a number is computed with, other than that its bit 30 is taken off.
fn is_arithmetic(compute: Compute, a: Content, b: Content) -> bool {
    match (compute, a, b) {
        (Compute::And, Content::Number(_), Content::Constant(k)) => k != !X32_BIT,
        (_, Content::Number(_), _) | (_, _, Content::Number(_)) => true,
        _ => false,
    }
}

/// Whether bits of a number other than bit 30 are tested.
fn tests_number(a: Content, b: Content) -> bool {
    match (a, b) {
        (Content::Number(_), Content::Constant(k)) => k != X32_BIT,
        (_, Content::Number(_)) => true,
        _ => false,
    }
}

/// The outer `None` is what isn't followed; the inner one a division by 0, which ends the program.
fn computed(compute: Compute, a: Content, b: Content) -> Option<Option<Content>> {
    match (compute, a, b) {
        (Compute::And, Content::Bits { arg, high, mask }, Content::Constant(k)) => {
            Some(Some(Content::Bits {
                arg,
                high,
                mask: mask & k,
            }))
        }
        // A number stays one.
        (_, Content::Number(a), Content::Constant(b)) => {
            Some(compute.of(a, b).map(Content::Number))
        }
        (_, Content::Constant(a), Content::Constant(b)) => {
            Some(compute.of(a, b).map(Content::Constant))
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

    fn operand(&self, operand: Right) -> Content {
        match operand {
            Right::Constant(k) => Content::Constant(k),
            Right::Index => self.index,
        }
    }

    fn end(&self, ret: u32) -> Way {
        Way {
            learnt: self.learnt.clone(),
            action: Action::from_ret(ret),
        }
    }

    /// The state where a test holds and where it doesn't, each if it can come to that.
    fn part(&self, test: Comparison, right: Content) -> Option<[Option<State>; 2]> {
        let (arg, high, mask, k) = match (self.accumulator, right) {
            (Content::Constant(a) | Content::Number(a), Content::Constant(b)) => {
                let same = Some(self.clone());
                return Some(if test.holds(a, b) {
                    [same, None]
                } else {
                    [None, same]
                });
            }
            (Content::Bits { arg, high, mask }, Content::Constant(k)) => (arg, high, mask, k),
            _ => return None,
        };
        let above = |from: Option<u32>| match from {
            Some(from) if from <= mask => vec![(u64::from(from), u64::from(mask))],
            _ => Vec::new(),
        };
        let (mask, holding) = match test {
            Comparison::Equal if k & !mask != 0 => (mask, Vec::new()),
            Comparison::Equal => (mask, vec![(u64::from(k), u64::from(k))]),
            Comparison::Greater => (mask, above(k.checked_add(1))),
            Comparison::GreaterOrEqual => (mask, above(Some(k))),
            Comparison::AnyBit if mask & k == 0 => (0, Vec::new()),
            Comparison::AnyBit => (mask & k, vec![(1, u64::from(mask & k))]),
        };
        let failing = complement(&holding, u64::from(mask));
        Some([holding, failing].map(|ranges| self.learn(arg, high, mask, &ranges)))
    }

    fn learn(&self, arg: u8, high: bool, mask: u32, ranges: &Ranges) -> Option<State> {
        let shift = if high { 32 } else { 0 };
        let operand = Operand {
            arg,
            mask: u64::from(mask) << shift,
        };
        let mut state = self.clone();
        if mask == 0 {
            return (!ranges.is_empty()).then_some(state);
        }
        let ranges: Ranges = ranges
            .iter()
            .map(|(from, to)| (from << shift, to << shift))
            .collect();
        let known = state.learnt.get(&operand).cloned();
        let ranges = known.map_or(ranges.clone(), |known| both(&known, &ranges));
        if ranges.is_empty() {
            return None;
        }
        state.learnt.insert(operand, ranges);
        Some(state)
    }
}

/// What is in both of two lists of ranges.
fn both(a: &Ranges, b: &Ranges) -> Ranges {
    let pairs = a
        .iter()
        .flat_map(|x| b.iter().map(move |y| (x.0.max(y.0), x.1.min(y.1))));
    pairs.filter(|(from, to)| from <= to).collect()
}
