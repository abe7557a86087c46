//! Every way through a program, each with calls that take it.
//!
//! Calls that take the same way are treated alike by the program, so a witness for each says all that can be tried of it: what no call
//! is tried on isn't there. A way is a list of tests on words of the call. Words are independent of each other, so a way can be taken if
//! each word's tests can be met, and that is searched bit by bit.

use std::collections::HashSet;

use callgate::compiler::bpf::{Comparison, Compute, Operand, Operation, Program, Register, Value};
use callgate::{Action, ByteOrder, Call};

/// What is asked of a word of a call on a way, and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The byte offset of the word in `seccomp_data`.
    pub offset: u32,
    /// The bits of it that are looked at; the others count as 0.
    pub mask: u32,
    /// How they are compared.
    pub comparison: Comparison,
    /// With what.
    pub constant: u32,
    /// Whether it holds.
    pub holds: bool,
}

impl Question {
    /// That a word is this, or isn't.
    #[must_use]
    pub fn equal(offset: u32, constant: u32, holds: bool) -> Question {
        Question {
            offset,
            mask: u32::MAX,
            comparison: Comparison::Equal,
            constant,
            holds,
        }
    }

    fn is_met(&self, call: &Call, byte_order: ByteOrder) -> bool {
        let word = call.word_in(self.offset, byte_order).unwrap_or(0);
        self.comparison.holds(word & self.mask, self.constant) == self.holds
    }
}

/// A way through a program that some call takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// What decides that a call takes it, in the order of the program; first what was asked of all calls.
    pub questions: Vec<Question>,
    /// The places of its instructions.
    pub instructions: Vec<usize>,
    /// Where it leads.
    pub action: Action,
    /// The call with the lowest words that takes it, and the one with the highest.
    pub witnesses: [Call; 2],
}

impl Path {
    /// Whether a call takes it.
    #[must_use]
    pub fn is_taken_by(&self, call: &Call, byte_order: ByteOrder) -> bool {
        let mut questions = self.questions.iter();
        questions.all(|question| question.is_met(call, byte_order))
    }
}

/// All ways that calls take of which something is known. Witnesses have 0 in words that nothing is asked of.
///
/// # Errors
/// The place of an instruction that isn't followed: callgate's own programs load words, mask them and compare them with constants.
pub fn paths(program: &Program, known: &[Question]) -> Result<Vec<Path>, usize> {
    let mut paths = Vec::new();
    let start = Way {
        at: 0,
        accumulator: None,
        questions: known.to_vec(),
        instructions: Vec::new(),
    };
    let mut open = vec![start];
    while let Some(mut way) = open.pop() {
        let at = way.at;
        way.instructions.push(at);
        let insn = program.insns().get(at).ok_or(at)?;
        match insn.operation().ok_or(at)? {
            Operation::Load(Register::Accumulator, Value::Data(offset)) => {
                way.accumulator = Some((offset, u32::MAX));
                open.push(way.to(at + 1));
            }
            Operation::Compute(Compute::And, Operand::Constant(k)) => {
                let (offset, mask) = way.accumulator.ok_or(at)?;
                way.accumulator = Some((offset, mask & k));
                open.push(way.to(at + 1));
            }
            Operation::Jump(k) => {
                let skip = usize::try_from(k).map_err(|_| at)?;
                open.push(way.to(at + 1 + skip));
            }
            Operation::JumpIf {
                test,
                operand: Operand::Constant(constant),
                yes,
                no,
            } => {
                let (offset, mask) = way.accumulator.ok_or(at)?;
                for (holds, skip) in [(true, yes), (false, no)] {
                    let mut way = way.clone().to(at + 1 + usize::from(skip));
                    way.questions.push(Question {
                        offset,
                        mask,
                        comparison: test,
                        constant,
                        holds,
                    });
                    if word(&way.questions, offset, false).is_some() {
                        open.push(way);
                    }
                }
            }
            Operation::Return(ret) => {
                let witness = |high| witness(&way.questions, program.byte_order(), high);
                // Each question had an answer when it was asked, so only what was known beforehand can have none.
                if let (Some(low), Some(high)) = (witness(false), witness(true)) {
                    paths.push(Path {
                        action: Action::from_ret(ret),
                        witnesses: [low, high],
                        questions: way.questions,
                        instructions: way.instructions,
                    });
                }
            }
            _ => return Err(at),
        }
    }
    Ok(paths)
}

/// A way as far as it has been followed.
#[derive(Clone)]
struct Way {
    at: usize,
    /// The offset of the word that is in it, and the bits of it.
    accumulator: Option<(u32, u32)>,
    questions: Vec<Question>,
    instructions: Vec<usize>,
}

impl Way {
    fn to(self, at: usize) -> Way {
        Way { at, ..self }
    }
}

/// A call that answers all questions so, with words that are as low as they can be, or as high.
fn witness(questions: &[Question], byte_order: ByteOrder, high: bool) -> Option<Call> {
    let asked = |offset| questions.iter().any(|question| question.offset == offset);
    let word = |offset| match asked(offset) {
        true => word(questions, offset, high),
        false => Some(0),
    };
    let wide = |offset| {
        let (first, second) = (word(offset)?, word(offset + 4)?);
        let (high, low) = match byte_order {
            ByteOrder::Little => (second, first),
            ByteOrder::Big => (first, second),
        };
        Some(u64::from(high) << 32 | u64::from(low))
    };
    let mut args = [0; 6];
    for (arg, offset) in args.iter_mut().zip((16..).step_by(8)) {
        *arg = wide(offset)?;
    }
    Some(Call {
        nr: word(0)?,
        audit: word(4)?,
        instruction_pointer: wide(8)?,
        args,
    })
}

/// The lowest or the highest value of a word that answers all questions about it so.
fn word(questions: &[Question], offset: u32, high: bool) -> Option<u32> {
    let about = questions.iter().filter(|q| q.offset == offset).copied();
    let about: Vec<Question> = about.collect();
    let open = (0..about.len()).collect();
    let mut search = Search {
        about: &about,
        high,
        dead: HashSet::new(),
    };
    search.from(32, open)
}

/// Looks for a value from the most significant bit on.
struct Search<'a> {
    about: &'a [Question],
    high: bool,
    /// Numbers of bits left with questions that were open there, where nothing was found.
    dead: HashSet<(u32, Vec<usize>)>,
}

impl Search<'_> {
    /// The bits that are left, where so many are and these questions are open; none of the others has another answer than it must.
    fn from(&mut self, left: u32, open: Vec<usize>) -> Option<u32> {
        let Some(bit) = left.checked_sub(1) else {
            let right = |q: &usize| at_end(self.about[*q].comparison) == self.about[*q].holds;
            return open.iter().all(right).then_some(0);
        };
        if self.dead.contains(&(left, open.clone())) {
            return None;
        }
        for one in [self.high, !self.high] {
            let Some(still_open) = self.follow(&open, bit, one) else {
                continue;
            };
            if let Some(rest) = self.from(bit, still_open) {
                return Some(u32::from(one) << bit | rest);
            }
        }
        self.dead.insert((left, open));
        None
    }

    /// The questions that are open behind a bit, or `None` if one has the wrong answer by then.
    fn follow(&self, open: &[usize], bit: u32, one: bool) -> Option<Vec<usize>> {
        let mut still_open = Vec::new();
        for index in open {
            let question = &self.about[*index];
            let is_one = |word: u32| word >> bit & 1 == 1;
            let (bit, wanted) = (one && is_one(question.mask), is_one(question.constant));
            let answer = match question.comparison {
                Comparison::Equal if bit != wanted => Some(false),
                Comparison::Greater | Comparison::GreaterOrEqual if bit != wanted => Some(bit),
                Comparison::AnyBit if bit && wanted => Some(true),
                _ => None,
            };
            match answer {
                None => still_open.push(*index),
                Some(holds) if holds != question.holds => return None,
                Some(_) => {}
            }
        }
        Some(still_open)
    }
}

/// The answer if no bit has settled it.
fn at_end(comparison: Comparison) -> bool {
    matches!(comparison, Comparison::Equal | Comparison::GreaterOrEqual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Words of a few bits, all of which can be tried.
    #[test]
    fn the_search_finds_what_trying_all_values_finds() {
        let mut random = Random::new(7);
        let comparisons = [
            Comparison::Equal,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::AnyBit,
        ];
        let (mut some, mut none) = (0, 0);
        for _ in 0..2000 {
            let mut small = || u32::try_from(random.below(32)).unwrap();
            let mut questions = vec![Question {
                comparison: Comparison::Greater,
                ..Question::equal(0, 31, false)
            }];
            for _ in 0..4 {
                let (mask, constant, rest) = (small(), small(), small());
                questions.push(Question {
                    offset: 0,
                    mask: if rest & 4 == 0 { mask } else { u32::MAX },
                    comparison: comparisons[usize::try_from(rest & 3).unwrap()],
                    constant,
                    holds: rest & 8 == 0,
                });
            }
            let meets = |value: &u32| {
                let holds =
                    |q: &Question| q.comparison.holds(value & q.mask, q.constant) == q.holds;
                questions.iter().all(holds)
            };
            let all: Vec<u32> = (0..32).filter(meets).collect();
            assert_eq!(
                word(&questions, 0, false),
                all.first().copied(),
                "{questions:?}"
            );
            assert_eq!(
                word(&questions, 0, true),
                all.last().copied(),
                "{questions:?}"
            );
            match all.is_empty() {
                true => none += 1,
                false => some += 1,
            }
        }
        assert!(some > 100 && none > 100, "{some} {none}");
    }
}
