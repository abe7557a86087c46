//! Builds a filter with seccompiler, where it can express the profile.
//!
//! It has one architecture a filter, one action for calls that match and one for those that don't. So a profile is
//! taken for its native architecture alone, and only the rules with the most frequent action are kept.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use callgate::compiler::bpf::check::check;
use callgate::compiler::bpf::{Insn, Program};
use callgate::compiler::syscalls;
use callgate::{Action, Arch};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::rules::{Arg, Operator, Rules};

/// The program of the ALLOW rules of a profile, or `None` if the architecture or the default action is out of reach.
pub(crate) fn build(rules: &Rules) -> Result<Option<Program>> {
    let native = *rules.archs()?.first().context("no architecture")?;
    let target = match native {
        Arch::X86_64 => TargetArch::x86_64,
        Arch::Aarch64 => TargetArch::aarch64,
        _ => return Ok(None),
    };
    let Action::Errno(errno) = rules.default()? else {
        return Ok(None);
    };
    let default = SeccompAction::Errno(errno.into());
    let filter = SeccompFilter::new(calls(rules, native)?, default, SeccompAction::Allow, target)?;
    let program = BpfProgram::try_from(filter)?;
    let insns = program.iter().map(|insn| Insn {
        code: insn.code,
        jt: insn.jt,
        jf: insn.jf,
        k: insn.k,
    });
    Ok(Some(check(insns.collect(), native.byte_order())?))
}

/// The rules of each number; none of them means always.
fn calls(rules: &Rules, arch: Arch) -> Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut calls: BTreeMap<i64, Vec<Vec<Arg>>> = BTreeMap::new();
    for entry in &rules.syscalls {
        if entry.action()? != Action::Allow {
            continue;
        }
        let numbers = entry
            .names
            .iter()
            .filter_map(|name| syscalls::number(arch, name));
        for nr in numbers {
            let alternatives = entry.alternatives().into_iter().map(<[Arg]>::to_vec);
            calls.entry(nr.into()).or_default().extend(alternatives);
        }
    }
    let rule = |args: &Vec<Arg>| {
        let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        SeccompRule::new(conditions)
    };
    calls
        .into_iter()
        .map(|(nr, alternatives)| {
            if alternatives.iter().any(Vec::is_empty) {
                return Ok((nr, Vec::new()));
            }
            let rules = alternatives
                .iter()
                .map(rule)
                .collect::<Result<Vec<_>, _>>()?;
            Ok((nr, rules))
        })
        .collect()
}

fn condition(arg: &Arg) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (op, value) = match arg.op {
        Operator::Ne => (SeccompCmpOp::Ne, arg.value),
        Operator::Lt => (SeccompCmpOp::Lt, arg.value),
        Operator::Le => (SeccompCmpOp::Le, arg.value),
        Operator::Eq => (SeccompCmpOp::Eq, arg.value),
        Operator::Ge => (SeccompCmpOp::Ge, arg.value),
        Operator::Gt => (SeccompCmpOp::Gt, arg.value),
        Operator::MaskedEq => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two),
    };
    SeccompCondition::new(arg.index, SeccompCmpArgLen::Qword, op, value)
}

#[cfg(test)]
mod tests {
    use callgate::compiler::arch::X32_BIT;
    use callgate::compiler::profile;

    use super::*;
    use crate::generate::border_calls;
    use crate::ours;
    use crate::reference::Reference;

    /// What it is given is what callgate is given, as far as it goes.
    #[test]
    fn allows_what_the_profile_allows() {
        let context = ours::context(Arch::X86_64);
        let mut rules = ours::resolve(profile::DEFAULT.as_bytes(), &context).unwrap();
        rules.architectures.truncate(1);
        let program = build(&rules).unwrap().unwrap();
        let reference = Reference::new(&rules).unwrap();
        let calls = border_calls(&reference);
        let native =
            |call: &&callgate::Call| call.audit == Arch::X86_64.audit() && call.nr < X32_BIT;
        let mut compared = 0;
        for call in calls.iter().filter(native) {
            let allows = program.simulate(call).action == Action::Allow;
            assert_eq!(allows, reference.decide(call) == Action::Allow, "{call:x?}");
            compared += 1;
        }
        assert!(compared > 10_000);
    }
}
