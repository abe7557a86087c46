//! Policy → diagram: the reference meaning, arguments compared as the 64-bit numbers that they are.

use super::diagram::{Diagrams, NO, NodeId, Word, YES};
use super::{Built, ProofError};
use crate::action::Action;
use crate::arch::{Arch, X32_BIT};
use crate::call::{high_half, low_half};
use crate::policy::{Condition, Policy, Rule, SKIPPED_CALL, Test};

/// How many nodes the rules of one number may take.
const MAX_NODES_OF_A_NUMBER: usize = 1 << 18;

/// What a policy says of a number, whatever it says of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// One answer to all arguments.
    Always(Action),
    /// The action of the first rule that matches, or else another one.
    Rules {
        arch: Arch,
        rules: &'a [Rule],
        otherwise: Action,
    },
}

/// The function that a policy is.
pub(super) fn policy(diagrams: &mut Diagrams, policy: &Policy) -> Built {
    let mut function = diagrams.action(policy.bad_arch())?;
    for audit in audits(policy) {
        let numbers = numbers(policy, audit)
            .into_iter()
            .map(|(nr, part)| Ok((nr, arguments(diagrams, part)?)))
            .collect::<Result<Vec<_>, _>>()?;
        let numbers = diagrams.ranges(Word::Nr, &numbers)?;
        let is_it = diagrams.equal(Word::Arch, u32::MAX, audit)?;
        function = diagrams.choose(is_it, numbers, function)?;
    }
    Ok(function)
}

/// The architecture values of a policy, ascending.
pub(super) fn audits(policy: &Policy) -> Vec<u32> {
    let mut audits: Vec<u32> = policy.abis().map(|(arch, _)| arch.audit()).collect();
    audits.sort_unstable();
    audits.dedup();
    audits
}

/// What a policy says of calls of an architecture value: where numbers begin that it says something else of, from 0.
pub(super) fn numbers(policy: &Policy, audit: u32) -> Vec<(u32, Part<'_>)> {
    // Verdicts change at numbers with rules, behind them, behind the newest number, and where x32's ranges begin.
    let mut starts = vec![0, 1, X32_BIT, 2 * X32_BIT, 3 * X32_BIT, SKIPPED_CALL];
    for (_, abi) in policy.abis().filter(|(arch, _)| arch.audit() == audit) {
        let ruled = abi.rules().map(|(nr, _)| nr).chain(abi.newest());
        starts.extend(ruled.flat_map(|nr| [nr, nr.saturating_add(1)]));
    }
    starts.sort_unstable();
    starts.dedup();
    let mut parts: Vec<_> = starts
        .into_iter()
        .map(|nr| (nr, number(policy, audit, nr)))
        .collect();
    parts.dedup_by_key(|(_, part)| *part);
    parts
}

fn number(policy: &Policy, audit: u32, nr: u32) -> Part<'_> {
    let Some(arch) = policy.abi_of(audit, nr) else {
        return Part::Always(policy.bad_arch());
    };
    if policy.is_disabled_x32(arch, nr) {
        let skipped = nr == SKIPPED_CALL;
        return Part::Always(if skipped {
            policy.default_action()
        } else {
            policy.bad_arch()
        });
    }
    let otherwise = match policy.newer_call() {
        Some(action) if policy.is_newer(arch, nr) => action,
        _ => policy.default_action(),
    };
    match policy.rules(arch, nr) {
        [] => Part::Always(otherwise),
        [first, ..] if first.is_unconditional() => Part::Always(first.action),
        rules => Part::Rules {
            arch,
            rules,
            otherwise,
        },
    }
}

/// The function of the arguments that part of a policy comes to.
fn arguments(diagrams: &mut Diagrams, part: Part) -> Built {
    let (arch, rules, otherwise) = match part {
        Part::Always(action) => return diagrams.action(action),
        Part::Rules {
            arch,
            rules,
            otherwise,
        } => (arch, rules, otherwise),
    };
    let most = diagrams.count() + MAX_NODES_OF_A_NUMBER;
    let mut function = diagrams.action(otherwise)?;
    for rule in rules.iter().rev() {
        let all = matching(diagrams, arch, rule)?;
        let action = diagrams.action(rule.action)?;
        function = diagrams.choose(all, action, function)?;
        if diagrams.count() > most {
            return Err(ProofError::TooLarge);
        }
    }
    Ok(function)
}

/// The arguments for which all conditions of a rule hold.
pub(super) fn matching(diagrams: &mut Diagrams, arch: Arch, rule: &Rule) -> Built {
    let mut all = YES;
    for each in &rule.conditions {
        let holds = condition(diagrams, arch, *each)?;
        all = diagrams.both(all, holds)?;
    }
    Ok(all)
}

/// The values of an argument for which a condition holds.
pub(super) fn condition(
    diagrams: &mut Diagrams,
    arch: Arch,
    Condition { arg, test }: Condition,
) -> Built {
    let wide = arch.has_64bit_arguments();
    match test {
        Test::Eq(datum) => masked(diagrams, wide, arg, u64::MAX, datum),
        Test::Ne(datum) => {
            let equal = masked(diagrams, wide, arg, u64::MAX, datum)?;
            diagrams.not(equal)
        }
        Test::Masked { mask, value } => masked(diagrams, wide, arg, mask, value & mask),
        Test::Ge(datum) => at_least(diagrams, wide, arg, datum),
        Test::Lt(datum) => {
            let at_least = at_least(diagrams, wide, arg, datum)?;
            diagrams.not(at_least)
        }
        Test::Gt(datum) => above(diagrams, wide, arg, datum),
        Test::Le(datum) => {
            let above = above(diagrams, wide, arg, datum)?;
            diagrams.not(above)
        }
    }
}

fn masked(diagrams: &mut Diagrams, wide: bool, arg: u8, mask: u64, value: u64) -> Built {
    let low = diagrams.equal(Word::ArgumentLow(arg), low_half(mask), low_half(value))?;
    if !wide {
        return Ok(low);
    }
    let high = diagrams.equal(Word::ArgumentHigh(arg), high_half(mask), high_half(value))?;
    diagrams.both(high, low)
}

fn above(diagrams: &mut Diagrams, wide: bool, arg: u8, datum: u64) -> Built {
    let largest = if wide { u64::MAX } else { u64::from(u32::MAX) };
    match datum {
        _ if datum >= largest => Ok(NO),
        _ => at_least(diagrams, wide, arg, datum + 1),
    }
}

/// A 64-bit number is at least another if its high half is larger, or equal and its low half at least.
fn at_least(diagrams: &mut Diagrams, wide: bool, arg: u8, datum: u64) -> Built {
    let low = diagrams.at_least(Word::ArgumentLow(arg), u32::MAX, low_half(datum))?;
    if !wide {
        return Ok(low);
    }
    let high = Word::ArgumentHigh(arg);
    let equal = diagrams.equal(high, u32::MAX, high_half(datum))?;
    let equal_and_low = diagrams.both(equal, low)?;
    let larger: NodeId = match high_half(datum).checked_add(1) {
        Some(next) => diagrams.at_least(high, u32::MAX, next)?,
        None => NO,
    };
    diagrams.either(larger, equal_and_low)
}
