//! Mutants: what becomes of a program when one instruction is wrong.
//!
//! A compiler's mistakes are wrong targets, wrong constants, wrong words and missing loads. Each is made here, everywhere it can be,
//! so that what claims to find mistakes can be tried with all of them.

use std::collections::HashSet;

use callgate::Call;
use callgate::compiler::bpf::check::check;
use callgate::compiler::bpf::{Insn, Operation, Program, Value, op};

/// What is done to an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mistake {
    /// It has another operation, the rest unchanged.
    Operation,
    /// Its constant is one more or less.
    Constant,
    /// It jumps elsewhere on one answer, to an instruction that is near the right one, or the answers are exchanged.
    Target,
    /// It jumps elsewhere on one answer, far off. These are most of the mutants of a long program.
    FarTarget,
    /// It loads another word: the other half of an argument, another argument, the number.
    Word,
    /// It loads what the next load does, and that what it does.
    Exchange,
    /// It does nothing: a load that is missing, or a question not asked.
    Removal,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 7] = [
        Mistake::Operation,
        Mistake::Constant,
        Mistake::Target,
        Mistake::FarTarget,
        Mistake::Word,
        Mistake::Exchange,
        Mistake::Removal,
    ];

    /// What it is called in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mistake::Operation => "another operation",
            Mistake::Constant => "constant ± 1",
            Mistake::Target => "another target nearby",
            Mistake::FarTarget => "another target far off",
            Mistake::Word => "another word",
            Mistake::Exchange => "loads exchanged",
            Mistake::Removal => "removed",
        }
    }
}

/// A change of one instruction; of two for loads that are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// What it is for a mistake.
    pub mistake: Mistake,
    /// Places, from 0, and what stands there instead.
    pub changes: Vec<(usize, Insn)>,
}

impl Mutation {
    /// The mutant, or `None` if the kernel would not take it.
    #[must_use]
    pub fn of(&self, program: &Program) -> Option<Program> {
        let mut insns = program.insns().to_vec();
        for (index, insn) in &self.changes {
            *insns.get_mut(*index)? = *insn;
        }
        check(insns, program.byte_order()).ok()
    }
}

/// All mutations of a program, no two alike and each with another instruction than before. Some hundreds for each instruction of a
/// long program, as every target of every jump is tried.
#[must_use]
pub fn mutations(program: &Program) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    for (index, insn) in program.insns().iter().enumerate() {
        let behind = program.insns().len() - index - 1;
        let mut seen = HashSet::from([*insn]);
        let changed = changed(*insn, behind).into_iter();
        mutations.extend(
            changed
                .filter(|(_, to)| seen.insert(*to))
                .map(|(mistake, to)| Mutation {
                    mistake,
                    changes: vec![(index, to)],
                }),
        );
    }
    mutations.extend(exchanges(program));
    mutations
}

/// What an instruction with so many others behind it may be by mistake.
fn changed(insn: Insn, behind: usize) -> Vec<(Mistake, Insn)> {
    let mut changed = Vec::new();
    let mut add = |mistake, insn| changed.push((mistake, insn));
    for k in [insn.k.wrapping_add(1), insn.k.wrapping_sub(1)] {
        add(Mistake::Constant, Insn { k, ..insn });
    }
    match insn.operation() {
        Some(Operation::Load(_, Value::Data(_))) => {
            for k in (0..Call::SIZE).step_by(4) {
                add(Mistake::Word, Insn { k, ..insn });
            }
        }
        Some(Operation::Jump(right)) => {
            for k in (0..behind).filter_map(|k| u32::try_from(k).ok()) {
                add(target(right, k), Insn { k, ..insn });
            }
        }
        Some(Operation::JumpIf { yes, no, .. }) => {
            let exchanged = Insn {
                jt: no,
                jf: yes,
                ..insn
            };
            add(Mistake::Target, exchanged);
            for skip in (0..behind).map_while(|skip| u8::try_from(skip).ok()) {
                let on = |right: u8| target(right.into(), skip.into());
                add(on(yes), Insn { jt: skip, ..insn });
                add(on(no), Insn { jf: skip, ..insn });
            }
        }
        _ => {}
    }
    add(Mistake::Removal, NOTHING);
    for code in 0..=0xff {
        let other = Insn { code, ..insn };
        if other.operation().is_some() {
            add(Mistake::Operation, other);
        }
    }
    changed
}

/// What it is for a mistake to skip so many instructions and not the right number.
fn target(right: u32, wrong: u32) -> Mistake {
    if right.abs_diff(wrong) <= 8 {
        Mistake::Target
    } else {
        Mistake::FarTarget
    }
}

/// Goes on with the next instruction.
const NOTHING: Insn = Insn {
    code: op::JA,
    jt: 0,
    jf: 0,
    k: 0,
};

/// Each load of a word of the call, exchanged with the next one.
fn exchanges(program: &Program) -> Vec<Mutation> {
    let insns = program.insns().iter().copied().enumerate();
    let is_load =
        |insn: &Insn| matches!(insn.operation(), Some(Operation::Load(_, Value::Data(_))));
    let loads: Vec<(usize, Insn)> = insns.filter(|(_, insn)| is_load(insn)).collect();
    let pairs = loads.windows(2).filter_map(|pair| match pair {
        [(i, a), (j, b)] if a != b => Some(Mutation {
            mistake: Mistake::Exchange,
            changes: vec![(*i, *b), (*j, *a)],
        }),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use callgate::ByteOrder;

    fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
        Insn { code, jt, jf, k }
    }

    #[test]
    fn every_kind_of_mistake_is_made_and_none_twice() {
        let insns = vec![
            insn(op::LD_W_ABS, 0, 0, 4),
            insn(op::JEQ_K, 0, 3, 9),
            insn(op::LD_W_ABS, 0, 0, 0),
            insn(op::JGE_K, 0, 1, 7),
            insn(op::RET_K, 0, 0, 0x7fff_0000),
            insn(op::RET_K, 0, 0, 0),
        ];
        let program = check(insns, ByteOrder::Little).unwrap();
        let mutations = mutations(&program);
        for mistake in Mistake::ALL
            .into_iter()
            .filter(|m| *m != Mistake::FarTarget)
        {
            assert!(
                mutations.iter().any(|m| m.mistake == mistake),
                "{mistake:?}"
            );
        }
        let mut seen = HashSet::new();
        for mutation in &mutations {
            assert!(seen.insert(mutation.changes.clone()), "{mutation:?}");
            let changes = |(at, to): &(usize, Insn)| program.insns()[*at] != *to;
            assert!(mutation.changes.iter().all(changes), "{mutation:?}");
        }
        // The question about the architecture may lead to any of four instructions, either way.
        let targets = mutations
            .iter()
            .filter(|m| m.mistake == Mistake::Target && m.changes[0].0 == 1);
        assert_eq!(targets.count(), 3 + 3 + 1);
        assert!(
            mutations
                .iter()
                .any(|mutation| mutation.of(&program).is_none())
        );
        assert!(
            mutations
                .iter()
                .any(|mutation| mutation.of(&program).is_some())
        );
    }
}
