//! Rules that decide nothing, and rules whose order counts, found exactly.

use std::collections::BTreeMap;

use super::Subject;
use crate::context::Context;
use crate::notice::{Code, Notice};
use crate::policy::{Policy, RuleId, RuleOrder, resolve};
use crate::proof::{DeadRule, Side, dead_rules, differences};
use crate::syscalls;

pub(super) fn findings(subject: &Subject) -> Vec<Notice> {
    let mut found = dead(subject);
    found.extend(order_dependent(subject));
    // What resolving said needn't be said twice.
    let said = &subject.resolved.notices;
    found.retain(|notice| {
        let same = |other: &Notice| {
            let dead = [Code::DeadRule, Code::PrefixRule];
            let alike = dead.contains(&notice.code) && dead.contains(&other.code);
            other.path == notice.path && (alike || other.code == notice.code)
        };
        !said.iter().any(same)
    });
    found
}

/// Rules that decide nothing wherever they stand.
fn dead(subject: &Subject) -> Vec<Notice> {
    let policy = subject.policy();
    let mut dead: BTreeMap<RuleId, Vec<DeadRule>> = BTreeMap::new();
    for rule in dead_rules(policy) {
        dead.entry(rule.rule).or_default().push(rule);
    }
    let everywhere = dead
        .into_iter()
        .filter(|(id, dead)| dead.len() == occurrences(policy, *id));
    let notices = everywhere.filter_map(|(id, dead)| {
        let source = subject.resolved.source(id)?;
        let by = dead.first()?.by;
        let by = by.and_then(|by| subject.resolved.source(by));
        let reason = match by {
            Some(by) => format!("{} is tried first and matches whatever it does", by.name),
            None => {
                "the rules that are tried first match whatever it does, or nothing can".to_owned()
            }
        };
        let message = format!(
            "this rule on `{}` decides nothing: {reason}",
            source.syscall
        );
        Some(Notice::new(Code::DeadRule, source.name, message))
    });
    notices.collect()
}

fn occurrences(policy: &Policy, id: RuleId) -> usize {
    let rules = policy.abis().flat_map(|(_, abi)| abi.rules());
    rules
        .flat_map(|(_, rules)| rules)
        .filter(|rule| rule.id == id)
        .count()
}

/// Calls that would come to something else if rules were tried in the other order.
fn order_dependent(subject: &Subject) -> Vec<Notice> {
    let other = Context {
        rule_order: match subject.context.rule_order {
            RuleOrder::Runtime => RuleOrder::Document,
            RuleOrder::Document => RuleOrder::Runtime,
        },
        ..subject.context.clone()
    };
    // What can't be meant in the other order, or compared, can't be found to depend on it.
    let Ok(other) = resolve(subject.profile, &other) else {
        return Vec::new();
    };
    let here = subject.policy();
    let Ok(found) = differences(Side::Policy(here), Side::Policy(&other.policy)) else {
        return Vec::new();
    };
    let notices = found.into_iter().filter_map(|difference| {
        let call = difference.witness;
        let arch = here.abi_of(call.audit, call.nr)?;
        let rule = other.policy.decide(&call).rule().or(here.decide(&call).rule());
        let path = subject.resolved.source(rule?)?.name;
        let message = format!(
            "what happens to `{}` on {arch} depends on the order of the rules: {} as it is, {} in the other order",
            syscalls::name(arch, call.nr).unwrap_or("?"),
            difference.from.display(arch),
            difference.to.display(arch)
        );
        Some(Notice::new(Code::OrderDependent, path, message).witness(call))
    });
    notices.collect()
}

#[cfg(test)]
mod tests {
    use super::super::findings;
    use super::*;
    use crate::arch::Arch;
    use crate::profile::Profile;

    fn found(syscalls: &str) -> Vec<Notice> {
        let text = format!(r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{syscalls}] }}"#);
        let profile = Profile::parse(text.as_bytes()).unwrap();
        let context = Context::new(Arch::X86_64, "6.18".parse().unwrap());
        let resolved = resolve(&profile, &context).unwrap();
        let mut found = resolved.notices.clone();
        found.extend(findings(&profile, &context, &resolved));
        found.retain(|notice| [Code::DeadRule, Code::OrderDependent].contains(&notice.code));
        found
    }

    fn rule(action: &str, args: &[(u8, &str, u64, u64)]) -> String {
        let args = args.iter().map(|(index, op, value, two)| {
            format!(r#"{{"index": {index}, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{op}"}}"#)
        });
        let args = args.collect::<Vec<_>>().join(", ");
        format!(r#"{{"names": ["ioctl"], "action": "SCMP_ACT_{action}", "args": [{args}]}}"#)
    }

    #[test]
    fn rules_behind_others_are_found_with_what_shadows_them() {
        // Two halves cover what the third matches.
        let three = [
            rule("ERRNO", &[(1, "LT", 8, 0)]),
            rule("ERRNO", &[(1, "GE", 8, 0)]),
            rule("TRAP", &[(0, "EQ", 1, 0)]),
        ];
        let found = found(&three.join(","));
        let dead: Vec<&Notice> = found.iter().filter(|n| n.code == Code::DeadRule).collect();
        assert_eq!(dead.len(), 1, "{found:?}");
        assert_eq!(dead[0].path.to_string(), "syscalls[2].names[0]");
        assert!(dead[0].message.contains("the rules that are tried first"));
    }

    #[test]
    fn overlapping_masks_depend_on_their_order() {
        // Where both hold at once is no border of either.
        let masks = rule("TRAP", &[(1, "MASKED_EQ", 0xf0, 0x30)])
            + ","
            + &rule("ERRNO", &[(1, "MASKED_EQ", 0x0f, 0x05)]);
        let other = rule("ERRNO", &[(1, "MASKED_EQ", 0x0f, 0x05)])
            + ","
            + &rule("TRAP", &[(1, "MASKED_EQ", 0xf0, 0x30)]);
        let found = [found(&masks), found(&other)].concat();
        let order: Vec<&Notice> = found
            .iter()
            .filter(|n| n.code == Code::OrderDependent)
            .collect();
        assert_eq!(
            order.len(),
            1,
            "one of the two is in the order that runtimes try: {found:?}"
        );
        let args = order[0].witness.unwrap().args;
        assert_eq!(args[1] & 0xff, 0x35);
    }
}
