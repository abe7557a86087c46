//! Looks for what a profile's author may not expect, with a call that shows it.
//!
//! Calls are looked for at the borders of the conditions concerned. That a notice is given is certain; that
//! none is needed where none is given, is not: it takes the whole space of calls to be sure of that.

use std::collections::{BTreeSet, HashMap};

use super::multiplex::Multiplexed;
use super::{Condition, Policy, Rule, RuleId, Test};
use crate::action::Action;
use crate::arch::Arch;
use crate::call::Call;
use crate::notice::{Code, JsonPath, Notice};
use crate::profile::Entry;
use crate::syscalls;

/// The most calls that are tried to find a difference, and the most conditions that are looked at on the way.
const TRIES: usize = 4096;
const WORK: usize = 1 << 20;

/// Says of an entry that its conditions all stand for themselves because one argument is named twice.
pub(super) fn repeated_argument(
    entry: &Entry,
    conditions: &[Condition],
    second: usize,
    archs: &[Arch],
) -> Notice {
    let arg = conditions[second].arg;
    let message = format!(
        "argument {arg} is named again, so each condition of the entry is a rule of its own: any one suffices"
    );
    let notice = Notice::new(Code::RepeatedArgument, entry.arg_path(second), message);
    let notice = notice
        .help("as a range of one argument it can't be written; list the values, or use a mask");
    match repetition_witness(entry, conditions, archs) {
        Some(witness) => notice.witness(witness),
        None => notice,
    }
}

/// A call for which some of the conditions hold, and not all.
fn repetition_witness(entry: &Entry, conditions: &[Condition], archs: &[Arch]) -> Option<Call> {
    let on = |name: &String| {
        let call = syscalls::numbers(name)?;
        archs.iter().find_map(|arch| Some((*arch, call.on(*arch)?)))
    };
    let (arch, nr) = entry.names.iter().find_map(on)?;
    let holds = |args: &[u64; 6]| conditions.iter().filter(|c| c.holds(arch, args)).count();
    let differs = |args: &[u64; 6]| (1..conditions.len()).contains(&holds(args));
    let args = border_arguments(conditions).find(differs)?;
    Some(Call::new(arch, nr, args))
}

/// Says of a condition that its datum doesn't fit the arguments of a 32-bit ABI, so that it means something else there.
pub(super) fn too_wide(
    entry: &Entry,
    conditions: &[Condition],
    arch: Arch,
    call: syscalls::Numbers,
    through: Option<Multiplexed>,
) -> Option<Notice> {
    // Where only the multiplexer has it, conditions on argument 0 are lost, which is another notice.
    let (nr, selector) = match (call.on(arch), through) {
        (Some(nr), _) => (nr, None),
        (None, through) => (through?.on(arch)?, Some(through?.selector)),
    };
    let counts = |condition: &Condition| selector.is_none() || condition.arg != 0;
    for (index, condition) in conditions.iter().enumerate().filter(|(_, c)| counts(c)) {
        let cut = condition.on(arch);
        let differs = |value: &u64| condition.test.holds(*value) != cut.test.holds(*value);
        let narrow = |value: u64| value & arch.argument_mask();
        let values = [condition.test.datum(), cut.test.datum()]
            .into_iter()
            .flat_map(borders)
            .map(narrow);
        if let Some(value) = values.into_iter().find(differs) {
            let path = entry.arg_path(index);
            let message = format!(
                "on {arch} arguments have 32 bits, so this value of `{}` is cut to them",
                call.name()
            );
            let mut args = [selector.unwrap_or(0), 0, 0, 0, 0, 0];
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
            // The last of each, as no two with the same conditions have different actions.
            let known: HashMap<&[Condition], &Rule> = rules
                .iter()
                .map(|rule| (rule.conditions.as_slice(), rule))
                .collect();
            for rule in rules {
                let mut prefixes =
                    (1..rule.conditions.len()).map(|length| &rule.conditions[..length]);
                let shadow = prefixes.find_map(|prefix| {
                    let shadows = |r: &&&Rule| r.action != rule.action && r.id > rule.id;
                    known.get(prefix).filter(shadows)
                });
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

/// Those numbers whose rules give another verdict in the other order.
pub(super) fn order_dependence(
    numbers: &[(Arch, u32)],
    policy: &Policy,
    other: &Policy,
    place: &dyn Fn(RuleId) -> Option<JsonPath>,
) -> Vec<Notice> {
    let notices = numbers.iter().filter_map(|&(arch, nr)| {
        let (here, there) = (policy.rules(arch, nr), other.rules(arch, nr));
        let args = difference(policy.default_action(), arch, here, there)?;
        let (here, there) = (first_match(here, arch, &args), first_match(there, arch, &args));
        let action = |rule: Option<&Rule>| rule.map_or(policy.default_action(), |rule| rule.action);
        let path = place(there.or(here)?.id)?;
        let name = syscalls::name(arch, nr).unwrap_or("?");
        let message = format!(
            "what happens to `{name}` on {arch} depends on the order of the rules: {} as it is, {} in the other order",
            action(here).display(arch),
            action(there).display(arch)
        );
        let notice = Notice::new(Code::OrderDependent, path, message);
        Some(notice.witness(Call::new(arch, nr, args)))
    });
    notices.collect()
}

/// Arguments for which two lists of rules of a number come to different actions.
fn difference(default: Action, arch: Arch, a: &[Rule], b: &[Rule]) -> Option<[u64; 6]> {
    let rules = || a.iter().chain(b);
    let mut actions = rules().map(|rule| rule.action);
    let first = actions.next();
    if a == b || actions.all(|action| Some(action) == first) {
        return None;
    }
    let conditions: Vec<Condition> = rules().flat_map(|rule| rule.conditions.clone()).collect();
    let action = |rules, args: &[u64; 6]| {
        let rule = first_match(rules, arch, args);
        rule.map_or(default, |rule| rule.action)
    };
    border_arguments(&conditions).find(|args| action(a, args) != action(b, args))
}

fn first_match<'a>(rules: &'a [Rule], arch: Arch, args: &[u64; 6]) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(arch, args))
}

/// Arguments at and about the data of conditions, in all combinations as far as there are few.
fn border_arguments(conditions: &[Condition]) -> impl Iterator<Item = [u64; 6]> + use<> {
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
    let tries = TRIES.min(WORK / conditions.len().max(1));
    (0..total.min(tries)).map(move |mut index| {
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
