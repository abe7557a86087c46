//! Policy → diagram: the reference meaning, arguments compared as the 64-bit numbers that they are.

use super::Built;
use super::abbreviate::Abbreviations;
use super::diagram::{Diagrams, NO, NodeId, Word, YES};
use crate::arch::{Arch, X32_BIT};
use crate::call::{high_half, low_half};
use crate::policy::{Condition, Policy, Rule, SKIPPED_CALL, Test};

/// How many nodes the rules of one number may take, before their rests are given names instead.
const MAX_NODES_OF_A_NUMBER: usize = 1 << 14;

/// The function that a policy is. Where a number's rules would take too many nodes it is a name.
pub(super) fn policy(
    diagrams: &mut Diagrams,
    abbreviations: &mut Abbreviations,
    policy: &Policy,
) -> Built {
    let mut function = diagrams.action(policy.bad_arch())?;
    let mut audits: Vec<u32> = policy.abis().map(|(arch, _)| arch.audit()).collect();
    audits.sort_unstable();
    audits.dedup();
    for audit in audits {
        let numbers = numbers(diagrams, abbreviations, policy, audit)?;
        let is_it = diagrams.equal(Word::Arch, u32::MAX, audit)?;
        function = diagrams.choose(is_it, numbers, function)?;
    }
    Ok(function)
}

/// The function of number and arguments that calls of an architecture value come to.
fn numbers(
    diagrams: &mut Diagrams,
    abbreviations: &mut Abbreviations,
    policy: &Policy,
    audit: u32,
) -> Built {
    // Verdicts change at numbers with rules, behind them, behind the newest number, and where x32's ranges begin.
    let mut starts = vec![0, 1, X32_BIT, 2 * X32_BIT, 3 * X32_BIT, SKIPPED_CALL];
    for (_, abi) in policy.abis().filter(|(arch, _)| arch.audit() == audit) {
        let ruled = abi.rules().map(|(nr, _)| nr).chain(abi.newest());
        starts.extend(ruled.flat_map(|nr| [nr, nr.saturating_add(1)]));
    }
    starts.sort_unstable();
    starts.dedup();
    let functions = starts
        .into_iter()
        .map(|nr| Ok((nr, number(diagrams, abbreviations, policy, audit, nr)?)));
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    diagrams.ranges(Word::Nr, &functions)
}

/// The function of the arguments that one number comes to.
fn number(
    diagrams: &mut Diagrams,
    abbreviations: &mut Abbreviations,
    policy: &Policy,
    audit: u32,
    nr: u32,
) -> Built {
    let Some(arch) = policy.abi_of(audit, nr) else {
        return diagrams.action(policy.bad_arch());
    };
    if policy.is_disabled_x32(arch, nr) {
        let skipped = nr == SKIPPED_CALL;
        return diagrams.action(if skipped {
            policy.default_action()
        } else {
            policy.bad_arch()
        });
    }
    let otherwise = match policy.newer_call() {
        Some(action) if policy.is_newer(arch, nr) => action,
        _ => policy.default_action(),
    };
    let otherwise = diagrams.action(otherwise)?;
    rules(
        diagrams,
        abbreviations,
        arch,
        policy.rules(arch, nr),
        otherwise,
    )
}

/// The function of the arguments that ordered rules are.
fn rules(
    diagrams: &mut Diagrams,
    abbreviations: &mut Abbreviations,
    arch: Arch,
    rules: &[Rule],
    otherwise: NodeId,
) -> Built {
    let mut parts = Vec::with_capacity(rules.len());
    for rule in rules {
        let mut all = YES;
        for each in &rule.conditions {
            let holds = condition(diagrams, arch, *each)?;
            all = diagrams.both(all, holds)?;
        }
        parts.push((all, diagrams.action(rule.action)?));
    }
    let most = diagrams.count() + MAX_NODES_OF_A_NUMBER;
    let mut function = otherwise;
    for (condition, action) in parts.iter().rev() {
        function = diagrams.choose(*condition, *action, function)?;
        if diagrams.count() > most {
            return abbreviations.add(diagrams, &gathered(rules, &parts), otherwise);
        }
    }
    Ok(function)
}

/// The rules with neighbours of one action, whose order doesn't matter, brought in the order of the arguments that they ask for
/// first: as a program may well try them.
fn gathered(rules: &[Rule], parts: &[(NodeId, NodeId)]) -> Vec<(NodeId, NodeId)> {
    let compares = |c: &&Condition| !matches!(c.test, Test::Masked { .. });
    let first = |rule: &Rule| rule.conditions.iter().find(compares).map(|c| c.arg);
    let mut keyed: Vec<_> = rules
        .iter()
        .zip(parts)
        .map(|(rule, part)| (first(rule).unwrap_or(u8::MAX), *part))
        .collect();
    for same in keyed.chunk_by_mut(|a, b| a.1.1 == b.1.1) {
        same.sort_by_key(|(arg, _)| *arg);
    }
    keyed.into_iter().map(|(_, part)| part).collect()
}

fn condition(diagrams: &mut Diagrams, arch: Arch, Condition { arg, test }: Condition) -> Built {
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
