//! Looks for what a profile's author may not expect, with a call that shows it.
//!
//! Calls are looked for at the borders of the conditions concerned. That a notice is given is certain; that
//! none is needed where none is given, is not: it takes the whole space of calls to be sure of that.

use std::collections::{BTreeSet, HashSet};

use super::{Condition, Policy, Rule, RuleId, Test};
use crate::arch::Arch;
use crate::call::Call;
use crate::notice::{Code, JsonPath, Notice};
use crate::profile::Entry;
use crate::syscalls;

/// The most calls that are tried to find a difference.
const TRIES: usize = 4096;

/// Says of an entry that its conditions all stand for themselves because one argument is named twice.
pub(super) fn repeated_argument(
    entry: &Entry,
    conditions: &[Condition],
    second: usize,
    arch: Arch,
) -> Notice {
    let arg = conditions[second].arg;
    let message = format!(
        "argument {arg} is named again, so each condition of the entry is a rule of its own: any one suffices"
    );
    let notice = Notice::new(Code::RepeatedArgument, entry.arg_path(second), message);
    let notice = notice
        .help("as a range of one argument it can't be written; list the values, or use a mask");
    let nr = entry
        .names
        .iter()
        .find_map(|name| syscalls::number(arch, name));
    let holds = |args: &[u64; 6]| conditions.iter().filter(|c| c.holds(arch, args)).count();
    let differs = |args: &[u64; 6]| (1..conditions.len()).contains(&holds(args));
    let witness = nr.and_then(|nr| {
        Some(Call::new(
            arch,
            nr,
            border_arguments(conditions.iter()).find(differs)?,
        ))
    });
    match witness {
        Some(witness) => notice.witness(witness),
        None => notice,
    }
}

/// Says of a condition that its datum doesn't fit the arguments of a 32-bit ABI, so that it means something else there.
pub(super) fn too_wide(
    entry: &Entry,
    conditions: &[Condition],
    arch: Arch,
    call: syscalls::Numbers,
) -> Option<Notice> {
    let nr = call.on(arch)?;
    for (index, condition) in conditions.iter().enumerate() {
        let cut = condition.on(arch);
        let differs = |value: &u64| condition.test.holds(*value) != cut.test.holds(*value);
        let narrow = |value: u64| value & arch.argument_mask();
        let values = [condition.test.datum(), cut.test.datum()]
            .into_iter()
            .flat_map(borders)
            .map(narrow);
        if let Some(value) = values.into_iter().find(differs) {
            let place = entry
                .args
                .iter()
                .position(|arg| arg.index == condition.arg && entry.args.len() == conditions.len());
            let path = entry.arg_path(place.unwrap_or(index));
            let message = format!(
                "on {arch} arguments have 32 bits, so this value of `{}` is cut to them",
                call.name()
            );
            let mut args = [0; 6];
            args[usize::from(condition.arg)] = value;
            return Some(
                Notice::new(Code::DatumTooWide, path, message).witness(Call::new(arch, nr, args)),
            );
        }
    }
    None
}

/// Rules that decide nothing because a shorter one, which stands later, is tried first.
pub(super) fn prefix_rules(
    policy: &Policy,
    place: &dyn Fn(RuleId) -> Option<JsonPath>,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    for (arch, abi) in policy.abis() {
        for (nr, rules) in abi.rules().filter(|(_, rules)| rules.len() > 1) {
            let known: HashSet<&[Condition]> = rules
                .iter()
                .map(|rule| rule.conditions.as_slice())
                .collect();
            for rule in rules {
                let prefixes = (1..rule.conditions.len()).map(|length| &rule.conditions[..length]);
                let Some(prefix) = prefixes.into_iter().find(|prefix| known.contains(prefix))
                else {
                    continue;
                };
                let shadow = rules
                    .iter()
                    .find(|r| r.conditions == prefix && r.action != rule.action && r.id > rule.id);
                notices
                    .extend(shadow.and_then(|shadow| prefix_notice(arch, nr, rule, shadow, place)));
            }
        }
    }
    notices
}

fn prefix_notice(
    arch: Arch,
    nr: u32,
    rule: &Rule,
    shadow: &Rule,
    place: &dyn Fn(RuleId) -> Option<JsonPath>,
) -> Option<Notice> {
    let name = syscalls::name(arch, nr).unwrap_or("?");
    let message = format!(
        "on {arch} this rule on `{name}` decides nothing: {} has the beginning of its conditions and is tried first",
        place(shadow.id)?
    );
    Some(Notice::new(Code::PrefixRule, place(rule.id)?, message))
}

/// Numbers whose rules give another verdict in the other order.
pub(super) fn order_dependence(
    policy: &Policy,
    other: &Policy,
    place: &dyn Fn(RuleId) -> Option<JsonPath>,
) -> Vec<Notice> {
    let mut seen = BTreeSet::new();
    let mut notices = Vec::new();
    for (arch, abi) in policy.abis() {
        let numbers: BTreeSet<u32> = abi.rules().map(|(nr, _)| nr).collect();
        for nr in numbers {
            let rules = [policy.rules(arch, nr), other.rules(arch, nr)].concat();
            let several = rules.iter().any(|rule| rule.action != rules[0].action);
            if several && policy.rules(arch, nr) != other.rules(arch, nr) {
                let notice = order_notice(policy, other, (arch, nr), &rules, place);
                notices.extend(notice.filter(|notice| seen.insert(notice.path.clone())));
            }
        }
    }
    notices
}

fn order_notice(
    policy: &Policy,
    other: &Policy,
    (arch, nr): (Arch, u32),
    rules: &[Rule],
    place: &dyn Fn(RuleId) -> Option<JsonPath>,
) -> Option<Notice> {
    let conditions = rules.iter().flat_map(|rule| &rule.conditions);
    let calls = border_arguments(conditions).map(|args| Call::new(arch, nr, args));
    let differs = |call: &Call| policy.decide(call).action != other.decide(call).action;
    let witness = calls.into_iter().find(differs)?;
    let (here, there) = (policy.decide(&witness), other.decide(&witness));
    let path = there.rule().or(here.rule()).and_then(place)?;
    let name = syscalls::name(arch, nr).unwrap_or("?");
    let message = format!(
        "what happens to `{name}` on {arch} depends on the order of the rules: {} as it is, {} in the other order",
        here.action.display(arch),
        there.action.display(arch)
    );
    Some(Notice::new(Code::OrderDependent, path, message).witness(witness))
}

/// Arguments at and about the data of conditions, in all combinations as far as there are few.
fn border_arguments<'a>(
    conditions: impl Iterator<Item = &'a Condition>,
) -> impl Iterator<Item = [u64; 6]> {
    let mut values: [BTreeSet<u64>; 6] = Default::default();
    for condition in conditions {
        let set = &mut values[usize::from(condition.arg)];
        set.extend(borders(condition.test.datum()));
        if let Test::Masked { mask, value } = condition.test {
            set.extend([value | !mask, !value & mask]);
        }
    }
    let values = values.map(|set| {
        if set.is_empty() {
            vec![0]
        } else {
            set.into_iter().collect::<Vec<u64>>()
        }
    });
    let total = values.iter().map(Vec::len).fold(1, usize::saturating_mul);
    (0..total.min(TRIES)).map(move |mut index| {
        let mut args = [0; 6];
        for (arg, values) in args.iter_mut().zip(&values) {
            *arg = values[index % values.len()];
            index /= values.len();
        }
        args
    })
}

fn borders(datum: u64) -> [u64; 5] {
    [
        datum,
        datum.wrapping_sub(1),
        datum.wrapping_add(1),
        0,
        u64::MAX,
    ]
}
