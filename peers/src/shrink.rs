//! Makes a profile with a difference as small as it can be with that difference: that is what a person reads.

use anyhow::Result;
use callgate::Call;

use crate::libseccomp::{self, Optimize, Outcome};
use crate::ours;
use crate::rules::Rules;

/// Leaves out names, entries, conditions and architectures for as long as something holds of the profile.
pub(crate) fn shrink(rules: &Rules, holds: impl Fn(&Rules) -> Result<bool>) -> Result<Rules> {
    let mut least = rules.clone();
    'smaller: loop {
        for candidate in smaller(&least) {
            if holds(&candidate)? {
                least = candidate;
                continue 'smaller;
            }
        }
        return Ok(least);
    }
}

/// Whether the two compilers' verdicts on a call differ.
pub(crate) fn differs(rules: &Rules, optimize: Optimize, call: &Call) -> Result<bool> {
    let Ok(ours) = ours::compile(rules)? else {
        return Ok(false);
    };
    let Outcome::Built(theirs) = libseccomp::build(rules, optimize)? else {
        return Ok(false);
    };
    Ok(ours.program().simulate(call).action != theirs.simulate(call).action)
}

/// Whether one compiler takes the profile, and the other doesn't.
pub(crate) fn one_refuses(rules: &Rules, optimize: Optimize) -> Result<bool> {
    let ours = ours::compile(rules)?.is_ok();
    let theirs = matches!(libseccomp::build(rules, optimize)?, Outcome::Built(_));
    Ok(ours != theirs)
}

/// The profile with one thing left out, in each way.
fn smaller(rules: &Rules) -> Vec<Rules> {
    let mut all = Vec::new();
    let mut push = |change: &dyn Fn(&mut Rules)| {
        let mut copy = rules.clone();
        change(&mut copy);
        all.push(copy);
    };
    for (i, entry) in rules.syscalls.iter().enumerate() {
        push(&|copy| drop(copy.syscalls.remove(i)));
        if entry.names.len() > 1 {
            for j in 0..entry.names.len() {
                push(&|copy| drop(copy.syscalls[i].names.remove(j)));
            }
        }
        for j in 0..entry.args.len() {
            push(&|copy| {
                copy.syscalls[i].args.remove(j);
            });
        }
    }
    for i in 1..rules.architectures.len() {
        push(&|copy| drop(copy.architectures.remove(i)));
    }
    all
}
