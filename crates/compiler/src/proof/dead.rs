//! Rules that decide nothing, as those before them match all that they do.

use super::diagram::{Diagrams, NO, NodeId};
use super::{MAX_NODES, ProofError, spec};
use crate::arch::Arch;
use crate::policy::{Policy, Rule, RuleId};

/// A rule that decides no call of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadRule {
    /// The ABI.
    pub arch: Arch,
    /// The number.
    pub nr: u32,
    /// The rule.
    pub rule: RuleId,
    /// A rule before it that matches whatever this one does; `None` if it takes several, or if the rule matches nothing.
    pub by: Option<RuleId>,
}

/// The rules of a policy that decide nothing: of a number whose rules are too intricate, none is named.
#[must_use]
pub fn dead_rules(policy: &Policy) -> Vec<DeadRule> {
    let numbers = policy
        .abis()
        .flat_map(|(arch, abi)| abi.rules().map(move |(nr, rules)| (arch, nr, rules)));
    let numbers = numbers.filter(|(.., rules)| rules.len() > 1);
    numbers
        .flat_map(|(arch, nr, rules)| dead_among(arch, nr, rules).unwrap_or_default())
        .collect()
}

fn dead_among(arch: Arch, nr: u32, rules: &[Rule]) -> Result<Vec<DeadRule>, ProofError> {
    let mut diagrams = Diagrams::new(MAX_NODES);
    let mut before: Vec<(RuleId, NodeId)> = Vec::new();
    let mut matched = NO;
    let mut dead = Vec::new();
    for rule in rules {
        let calls = spec::matching(&mut diagrams, arch, rule)?;
        if diagrams.choose(matched, NO, calls)? == NO {
            let mut by = None;
            for (id, earlier) in &before {
                if calls != NO && diagrams.choose(*earlier, NO, calls)? == NO {
                    by = Some(*id);
                    break;
                }
            }
            let rule = rule.id;
            dead.push(DeadRule { arch, nr, rule, by });
        }
        matched = diagrams.either(matched, calls)?;
        before.push((rule.id, calls));
    }
    Ok(dead)
}
