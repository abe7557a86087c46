//! Instructions → what they say of each call, as a reader would write it down: for filters that come without a profile.
//!
//! For each call all ways through the program are followed ([`ways`](super::ways)). Ways to one action that differ in one thing become
//! one again, halves of arguments become whole ones, and what is left is said as a condition.

use std::collections::{BTreeMap, BTreeSet};

use super::formula::{Formula, INT_MASK, Operand, Ranges, Writer, complement, union};
use super::ways::{MOST_WAYS, Way, explore};
use super::{Meaning, Summary, by_meaning};
use crate::action::Action;
use crate::arch::{Arch, X32_BIT};
use crate::bpf::disassemble::disassemble;
use crate::bpf::{Operand as Right, Operation, Program};
use crate::syscalls;

/// What a program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSummary {
    /// What it says of calls that have names. No action stands for a default: each call is in it.
    pub calls: Summary,
    /// The ABIs that it tells from others.
    pub archs: Vec<Arch>,
    /// Numbers without a name, by what they come to; those with arguments that count are left out.
    pub unnamed: Vec<Unnamed>,
    /// What a call of any other architecture comes to, if that is one thing.
    pub other_archs: Option<Action>,
}

/// Numbers of an ABI that have no name, with named ones between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// The ABI.
    pub arch: Arch,
    /// The first.
    pub from: u32,
    /// The last.
    pub to: u32,
    /// What they come to.
    pub action: Action,
}

/// The program isn't followed: it computes with the call, looks at the instruction pointer, or has too many ways.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what the filter says of {call} on {arch} can't be written down: it computes with its input, or has more than {MOST_WAYS} ways"
)]
pub struct NotFollowed {
    /// The call.
    pub call: String,
    /// Its ABI.
    pub arch: Arch,
}

impl ProgramSummary {
    /// Writes down what a program says.
    ///
    /// ```
    /// use callgate_compiler::ByteOrder;
    /// use callgate_compiler::bpf::assemble::assemble;
    /// use callgate_compiler::summary::ProgramSummary;
    ///
    /// let text = "ld [4]\n jeq #0xc000003e, 2, kill\n ld [0]\n jeq #101, deny, allow
    ///     deny: ret 0x00050001\n allow: ret 0x7fff0000\n kill: ret 0";
    /// let summary = ProgramSummary::of(&assemble(text, ByteOrder::Little)?)?;
    /// assert_eq!(summary.calls.plain.last().unwrap().calls, ["ptrace"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFollowed`] for the first call for which that can't be done.
    pub fn of(program: &Program) -> Result<ProgramSummary, NotFollowed> {
        let (numbers, audits) = (compared(program, 0), compared(program, 4));
        let known = |arch: &Arch| audits.binary_search(&arch.audit()).is_ok();
        let mut archs: Vec<Arch> = Arch::ALL.into_iter().filter(known).collect();
        let mut calls: BTreeMap<String, Vec<(Arch, Meaning)>> = BTreeMap::new();
        let mut unnamed = Vec::new();
        let mut silent = Vec::new();
        for arch in &archs {
            let mut meanings = Vec::new();
            for (nr, name) in syscalls::table(*arch) {
                let not_followed = || NotFollowed {
                    call: name.to_owned(),
                    arch: *arch,
                };
                let ways = explore(program, arch.audit(), nr)
                    .ok_or_else(not_followed)?
                    .ways;
                meanings.push((name, meaning(*arch, name, ways)));
            }
            // An ABI that shares its value with another, and is shut out as a whole.
            let first = meanings.first().map(|(_, meaning)| meaning.clone());
            if *arch == Arch::X32
                && meanings
                    .iter()
                    .all(|(_, meaning)| Some(meaning) == first.as_ref())
            {
                silent.push(*arch);
            } else {
                for (name, meaning) in meanings {
                    calls
                        .entry(name.to_owned())
                        .or_default()
                        .push((*arch, meaning));
                }
            }
            unnamed.extend(numbers_without_names(program, *arch, &numbers));
        }
        archs.retain(|arch| !silent.contains(arch));
        let mut summary = Summary::default();
        for (call, on) in calls {
            let have = on.len();
            for (archs, meaning) in by_meaning(on) {
                let archs = if archs.len() == have {
                    Vec::new()
                } else {
                    archs
                };
                summary.add(&call, archs, meaning);
            }
        }
        summary.sort();
        Ok(ProgramSummary {
            calls: summary,
            archs,
            unnamed,
            other_archs: other_archs(program, &audits),
        })
    }
}

/// The constants that a program compares a word of the call with, by the word's offset: sorted.
fn compared(program: &Program, word: u32) -> Vec<u32> {
    let lines = disassemble(program);
    let lines = lines.iter().filter(|line| line.word == Some(word));
    let constants = lines.filter_map(|line| match line.insn.operation()? {
        Operation::JumpIf {
            operand: Right::Constant(k),
            ..
        } => Some(k),
        _ => None,
    });
    let mut constants: Vec<u32> = constants.collect();
    constants.sort_unstable();
    constants.dedup();
    constants
}

fn other_archs(program: &Program, archs: &[u32]) -> Option<Action> {
    // A value that is compared with nothing.
    let other = (1..=u32::MAX).find(|value| archs.binary_search(value).is_err())?;
    let ways = explore(program, other, 0)?.ways;
    let first = ways.first()?.action;
    ways.iter().all(|way| way.action == first).then_some(first)
}

/// Numbers of an ABI without a name. What is compared with nothing between two constants is all alike, unless the program computes with
/// numbers: then nothing is said of them.
fn numbers_without_names(program: &Program, arch: Arch, constants: &[u32]) -> Vec<Unnamed> {
    // Bit 30 may be taken off before a number is compared.
    let constants = constants
        .iter()
        .flat_map(|k| [*k, k | X32_BIT, k & !X32_BIT]);
    let named = syscalls::table(arch).map(|(nr, _)| nr);
    let borders = constants
        .chain(named)
        .chain([0, X32_BIT, 2 * X32_BIT, 3 * X32_BIT]);
    let borders = borders.flat_map(|k| [Some(k), k.checked_add(1)]).flatten();
    let mut starts: Vec<u32> = borders.collect();
    starts.sort_unstable();
    starts.dedup();
    let within = |nr: u32| Arch::of_call(arch.audit(), nr) == Some(arch);
    let mut found: Vec<Unnamed> = Vec::new();
    for (index, from) in starts.iter().enumerate() {
        let to = starts.get(index + 1).map_or(u32::MAX, |next| next - 1);
        if syscalls::name(arch, *from).is_some() || !within(*from) {
            continue;
        }
        let Some(explored) = explore(program, arch.audit(), *from).filter(|e| !e.computes) else {
            return Vec::new();
        };
        let actions: BTreeSet<Action> = explored.ways.iter().map(|way| way.action).collect();
        let (Some(action), 1) = (actions.first().copied(), actions.len()) else {
            continue;
        };
        match found.last_mut() {
            Some(last) if last.action == action => last.to = to,
            _ => found.push(Unnamed {
                arch,
                from: *from,
                to,
                action,
            }),
        }
    }
    found
}

/// What ways come to: each action but the most severe with its condition, and that otherwise.
fn meaning(arch: Arch, call: &str, ways: Vec<Way>) -> Meaning {
    let mut by_action: BTreeMap<Action, Vec<BTreeMap<Operand, Ranges>>> = BTreeMap::new();
    for way in ways {
        by_action
            .entry(way.action)
            .or_default()
            .push(whole_arguments(arch, way.learnt));
    }
    let mut actions: Vec<Action> = by_action.keys().copied().collect();
    actions.sort_by_key(|action| (7 - action.severity(), *action));
    let otherwise = actions.pop();
    let writer = Writer::new(arch, call);
    for alternatives in by_action.values_mut() {
        merge(alternatives);
    }
    let cases = actions.into_iter().filter_map(|action| {
        let alternatives = simplest(action, &by_action);
        match condition(&writer, &alternatives) {
            Formula::When(text) => Some((action, text)),
            _ => None,
        }
    });
    Meaning {
        cases: cases.collect(),
        otherwise,
    }
}

/// What must be learnt for one of several alternatives.
type Alternatives = Vec<BTreeMap<Operand, Ranges>>;

/// The alternatives of an action; or, if all others come down to one operand, that it is elsewhere.
fn simplest(action: Action, by_action: &BTreeMap<Action, Alternatives>) -> Alternatives {
    let own = by_action.get(&action).cloned().unwrap_or_default();
    if own.iter().map(BTreeMap::len).sum::<usize>() <= 1 {
        return own;
    }
    let others = by_action.iter().filter(|(other, _)| **other != action);
    let mut others: Alternatives = others
        .flat_map(|(_, alternatives)| alternatives.clone())
        .collect();
    merge(&mut others);
    match &others[..] {
        [one] if one.len() == 1 => {
            let elsewhere = one
                .iter()
                .map(|(operand, ranges)| (*operand, complement(ranges, operand.mask)));
            vec![elsewhere.collect()]
        }
        _ => own,
    }
}

/// Halves of arguments as whole ones, where the upper one is settled or the lower one is open.
fn whole_arguments(arch: Arch, mut learnt: BTreeMap<Operand, Ranges>) -> BTreeMap<Operand, Ranges> {
    if !arch.has_64bit_arguments() {
        return learnt;
    }
    for arg in 0..6 {
        let (high, low) = (
            Operand {
                arg,
                mask: !INT_MASK,
            },
            Operand {
                arg,
                mask: INT_MASK,
            },
        );
        let Some(upper) = learnt.get(&high).cloned() else {
            continue;
        };
        let lower = learnt
            .get(&low)
            .cloned()
            .unwrap_or_else(|| vec![(0, INT_MASK)]);
        let single = upper.iter().all(|(from, to)| from == to);
        let open = lower == [(0, INT_MASK)];
        if !single && !open {
            continue;
        }
        let whole = upper.iter().flat_map(|(from, to)| match open {
            true => vec![(*from, *to | INT_MASK)],
            false => lower.iter().map(|(a, b)| (from | a, from | b)).collect(),
        });
        let whole = union(whole.collect());
        learnt.remove(&high);
        learnt.remove(&low);
        learnt.insert(
            Operand {
                arg,
                mask: u64::MAX,
            },
            whole,
        );
    }
    learnt
}

/// Makes one of each two that differ in one operand.
fn merge(alternatives: &mut Alternatives) {
    let mut index = 0;
    while index < alternatives.len() {
        let joined = (index + 1..alternatives.len())
            .find_map(|other| Some((other, joined(&alternatives[index], &alternatives[other])?)));
        match joined {
            Some((other, one)) => {
                alternatives.remove(other);
                alternatives[index] = one;
                index = 0;
            }
            None => index += 1,
        }
    }
}

/// The condition that one of several alternatives holds, each of which is on several operands.
fn condition(writer: &Writer, alternatives: &Alternatives) -> Formula {
    let mut texts = Vec::new();
    for alternative in alternatives {
        match writer.all(
            alternative
                .iter()
                .map(|(operand, ranges)| (*operand, ranges.clone())),
        ) {
            Formula::Always => return Formula::Always,
            Formula::Never => {}
            Formula::When(text) => texts.push(text),
        }
    }
    if texts.is_empty() {
        return Formula::Never;
    }
    Formula::When(texts.join(" or "))
}

fn joined(
    a: &BTreeMap<Operand, Ranges>,
    b: &BTreeMap<Operand, Ranges>,
) -> Option<BTreeMap<Operand, Ranges>> {
    let operands = || {
        a.keys()
            .chain(b.keys().filter(|operand| !a.contains_key(operand)))
    };
    let mut differing = operands().filter(|operand| a.get(operand) != b.get(operand));
    let one = *differing.next()?;
    if differing.next().is_some() {
        return None;
    }
    let mut joined = a.clone();
    match (a.get(&one), b.get(&one)) {
        (Some(x), Some(y)) => {
            let ranges = union([&x[..], y].concat());
            if complement(&ranges, one.mask).is_empty() {
                joined.remove(&one);
            } else {
                joined.insert(one, ranges);
            }
        }
        // One asks nothing of it: it has the other in it.
        _ => {
            joined.remove(&one);
        }
    }
    Some(joined)
}
