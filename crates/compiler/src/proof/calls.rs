//! Sets of calls, as far as they are sets of values for each coordinate: what a rule is, and what is known of a call.

use super::diagram::{Diagrams, NO, NodeId, Word, YES};
use super::spec::Part;
use super::{ProofError, spec};
use crate::action::Action;
use crate::arch::Arch;
use crate::call::Call;
use crate::policy::Rule;

/// The numbers that a call consists of: architecture, number, six arguments, instruction pointer.
pub(super) const COORDINATES: usize = 9;

pub(super) fn coordinate(word: Word) -> usize {
    match word {
        Word::Arch => 0,
        Word::Nr => 1,
        Word::ArgumentHigh(arg) | Word::ArgumentLow(arg) => 2 + usize::from(arg),
        Word::PointerHigh | Word::PointerLow => 8,
    }
}

/// Calls of one architecture, or of none of several, whose numbers are in a range.
#[derive(Clone, Copy)]
pub(super) struct Zone<'a> {
    pub(super) audits: &'a [u32],
    pub(super) is_one_of_them: bool,
    pub(super) first: u32,
    pub(super) last: u32,
}

/// A set of calls: the values that each coordinate may have.
pub(super) type Calls = [NodeId; COORDINATES];

pub(super) const ALL_CALLS: Calls = [YES; COORDINATES];

/// A rule as a set of calls.
pub(super) struct RuleCalls {
    pub(super) calls: Calls,
    pub(super) action: Action,
}

/// The calls of a zone.
pub(super) fn of_zone(diagrams: &mut Diagrams, zone: Zone) -> Result<Calls, ProofError> {
    let mut calls = ALL_CALLS;
    let values = &mut calls[coordinate(Word::Arch)];
    for (audit, is_it) in zone
        .audits
        .iter()
        .map(|audit| (*audit, zone.is_one_of_them))
    {
        let own = diagrams.equal(Word::Arch, u32::MAX, audit)?;
        let own = if is_it { own } else { diagrams.not(own)? };
        *values = diagrams.both(*values, own)?;
    }
    let from = diagrams.at_least(Word::Nr, u32::MAX, zone.first)?;
    let behind = match zone.last.checked_add(1) {
        Some(behind) => diagrams.at_least(Word::Nr, u32::MAX, behind)?,
        None => NO,
    };
    calls[coordinate(Word::Nr)] = diagrams.choose(behind, NO, from)?;
    Ok(calls)
}

/// The rules of a part, the last of which matches every call.
pub(super) fn of_rules(diagrams: &mut Diagrams, part: Part) -> Result<Vec<RuleCalls>, ProofError> {
    let mut rules = Vec::new();
    let otherwise = match part {
        Part::Always(action) => action,
        Part::Rules {
            arch,
            rules: of_policy,
            otherwise,
        } => {
            for rule in of_policy {
                rules.push(of_rule(diagrams, arch, rule)?);
            }
            otherwise
        }
    };
    rules.push(RuleCalls {
        calls: ALL_CALLS,
        action: otherwise,
    });
    Ok(rules)
}

fn of_rule(diagrams: &mut Diagrams, arch: Arch, rule: &Rule) -> Result<RuleCalls, ProofError> {
    let mut calls = ALL_CALLS;
    for condition in &rule.conditions {
        let holds = spec::condition(diagrams, arch, *condition)?;
        let values = &mut calls[coordinate(Word::ArgumentLow(condition.arg))];
        *values = diagrams.both(*values, holds)?;
    }
    Ok(RuleCalls {
        calls,
        action: rule.action,
    })
}

/// The coordinates that tell whether one of these calls is in a set; `None` if none is.
pub(super) fn asks(
    diagrams: &mut Diagrams,
    calls: &Calls,
    set: &Calls,
) -> Result<Option<u16>, ProofError> {
    let mut asks = 0;
    for (i, (values, wanted)) in calls.iter().zip(set).enumerate() {
        match asks_of(diagrams, *values, *wanted)? {
            None => return Ok(None),
            Some(asks_it) => asks |= u16::from(asks_it) << i,
        }
    }
    Ok(Some(asks))
}

/// Whether some of the values aren't wanted; `None` if none is.
pub(super) fn asks_of(
    diagrams: &mut Diagrams,
    values: NodeId,
    wanted: NodeId,
) -> Result<Option<bool>, ProofError> {
    if wanted == YES {
        return Ok(Some(false));
    }
    let common = diagrams.both(values, wanted)?;
    Ok((common != NO).then_some(common != values))
}

/// One of the calls of a set, which has some.
pub(super) fn one_of(diagrams: &Diagrams, calls: &Calls) -> Call {
    let [audit, nr, .., instruction_pointer] = calls.map(|values| diagrams.difference(values, NO));
    let mut args = [0; 6];
    for (i, arg) in args.iter_mut().enumerate() {
        *arg = diagrams.difference(calls[2 + i], NO).args[i];
    }
    Call {
        audit: audit.audit,
        nr: nr.nr,
        instruction_pointer: instruction_pointer.instruction_pointer,
        args,
    }
}
