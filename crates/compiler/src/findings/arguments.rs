//! Conditions on arguments of which the kernel doesn't see what the filter sees.

use std::collections::BTreeSet;

use super::{Subject, is_open};
use crate::arch::Arch;
use crate::call::Call;
use crate::notice::{Code, JsonPath, Notice};
use crate::policy::{Rule, RuleId, Test};
use crate::profile::{Entry, Operator};
use crate::signatures::{self, Argument, Width};
use crate::syscalls;

/// So many values of an argument are tried at most; in combination as many calls.
const TRIES: usize = 4096;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Notice> {
    let mut found = Vec::new();
    for entry in subject.entries() {
        found.extend((0..entry.args.len()).filter_map(|index| settled(subject, entry, index)));
    }
    for (arch, abi) in subject
        .policy()
        .abis()
        .filter(|(arch, _)| arch.has_64bit_arguments())
    {
        for (nr, rules) in abi.rules() {
            let by_bits = high_bits(subject, arch, nr, rules);
            // That a condition only holds for such bits has been said.
            let said = |path: &JsonPath| found.iter().any(|known: &Notice| known.path == *path);
            let new: Vec<Notice> = by_bits
                .into_iter()
                .filter(|notice| !said(&notice.path))
                .collect();
            found.extend(new);
        }
    }
    found.extend(moved_flags(subject));
    found
}

/// Says of a condition that it holds for all arguments, or for none.
fn settled(subject: &Subject<'_>, entry: &Entry, index: usize) -> Option<Notice> {
    let arg = &entry.args[index];
    let arch = subject.context.arch;
    let name = entry.names.first()?;
    let argument = signatures::argument(arch, name, arg.index);
    let seen = argument.map_or(u64::MAX, |argument| argument.width.mask()) & arch.argument_mask();
    let all = arch.argument_mask();
    let never = match arg.op {
        Operator::Eq => arg.value > seen,
        Operator::Lt => arg.value == 0,
        Operator::Gt => arg.value >= seen,
        Operator::Ge => arg.value > seen,
        Operator::MaskedEq => arg.value & arg.value_two & !seen & all != 0,
        Operator::Ne | Operator::Le => false,
    };
    let always = match arg.op {
        Operator::Ge => arg.value == 0,
        Operator::Le => arg.value >= all,
        // Bits outside the mask are another notice.
        Operator::MaskedEq => arg.value & all == 0 && arg.value_two == 0,
        _ => false,
    };
    let path = entry.arg_path(index);
    if always {
        let message = format!(
            "this condition on argument {} of `{name}` always holds",
            arg.index
        );
        return Some(
            Notice::new(Code::AlwaysHolds, path, message).help("remove it, or mend its value"),
        );
    }
    if never {
        let why = match argument {
            Some(argument) if seen < all => format!(
                ": of `{}` the kernel takes {} bits, and no such value is equal to this one",
                argument.name,
                seen.count_ones()
            ),
            _ => String::new(),
        };
        let message = format!(
            "this condition on argument {} of `{name}` never holds{why}",
            arg.index
        );
        return Some(Notice::new(Code::NeverHolds, path, message));
    }
    None
}

/// Looks for calls that the filter tells from one that it denies by bits that the kernel then ignores.
fn high_bits(subject: &Subject<'_>, arch: Arch, nr: u32, rules: &[Rule]) -> Vec<Notice> {
    let Some(name) = syscalls::name(arch, nr) else {
        return Vec::new();
    };
    let signature = signatures::arguments(arch, name);
    let asked = |arg: usize| {
        rules
            .iter()
            .any(|rule| rule.conditions.iter().any(|c| usize::from(c.arg) == arg))
    };
    let narrow: Vec<(usize, Argument)> = signature
        .into_iter()
        .enumerate()
        .filter(|(arg, argument)| matches!(argument.width, Width::Int | Width::Half) && asked(*arg))
        .collect();
    let mut found = Vec::new();
    for (arg, argument) in narrow {
        let as_seen = |call: &Call| {
            let mut seen = *call;
            seen.args[arg] &= argument.width.mask();
            seen
        };
        let witness = calls(arch, nr, rules, arg, argument.width).find(|call| {
            let decide = |call: &Call| subject.policy().decide(call).action;
            let (given, seen) = (decide(call), decide(&as_seen(call)));
            is_open(given) && !is_open(seen)
        });
        found.extend(witness.and_then(|witness| {
            high_bits_notice(subject, &witness, &as_seen(&witness), arg, argument)
        }));
    }
    found
}

fn high_bits_notice(
    subject: &Subject<'_>,
    witness: &Call,
    seen: &Call,
    arg: usize,
    argument: Argument,
) -> Option<Notice> {
    let policy = subject.policy();
    let (open, denied) = (policy.decide(witness), policy.decide(seen));
    let id = open.rule().or(denied.rule())?;
    let path = condition_path(subject, id, arg)?;
    let native = subject.context.arch;
    let bits = argument.width.mask().count_ones();
    let message = format!(
        "the kernel takes {bits} bits of `{}`, and this compares 64: a call with other bits above gets {}, and is what {} was meant for",
        argument.name,
        open.action.display(native),
        denied.action.display(native)
    );
    let help = format!(
        "list the values with SCMP_CMP_MASKED_EQ, `value` (the mask) {}, `valueTwo` the value to compare with",
        argument.width.mask()
    );
    Some(
        Notice::new(Code::HighBits, path, message)
            .help(help)
            .witness(*witness),
    )
}

/// Where the condition of a rule on an argument stands.
fn condition_path(subject: &Subject<'_>, id: RuleId, arg: usize) -> Option<JsonPath> {
    let source = subject.resolved.source(id)?;
    let entry = subject.entries().find(|entry| entry.path == source.entry)?;
    let index = entry.args.iter().position(|a| usize::from(a.index) == arg);
    Some(index.map_or(source.name, |index| entry.arg_path(index)))
}

/// Calls at and about the data of rules, with bits above what the kernel takes of one argument.
fn calls(
    arch: Arch,
    nr: u32,
    rules: &[Rule],
    arg: usize,
    width: Width,
) -> impl Iterator<Item = Call> {
    let mut values: [BTreeSet<u64>; 6] = Default::default();
    for condition in rules.iter().flat_map(|rule| &rule.conditions) {
        let datum = condition.test.datum();
        let set = &mut values[usize::from(condition.arg)];
        set.extend([datum, datum.wrapping_sub(1), datum.wrapping_add(1), 0]);
        if let Test::Masked { mask, value } = condition.test {
            set.extend([value | !mask, !value & mask]);
        }
    }
    let above = !width.mask();
    let bit = width.mask() + 1;
    let values = values.map(|set| set.into_iter().collect::<Vec<u64>>());
    let mut values = values.map(|set| if set.is_empty() { vec![0] } else { set });
    let seen: BTreeSet<u64> = values[arg]
        .iter()
        .map(|value| value & width.mask())
        .collect();
    values[arg] = seen
        .into_iter()
        .flat_map(|value| [value | bit, value | above])
        .collect();
    let total = values.iter().map(Vec::len).fold(1, usize::saturating_mul);
    (0..total.min(TRIES)).map(move |mut index| {
        let mut args = [0; 6];
        for (arg, values) in args.iter_mut().zip(&values) {
            *arg = values[index % values.len()];
            index /= values.len();
        }
        Call::new(arch, nr, args)
    })
}

/// Says of a rule on `clone` that it asks for the stack where flags are meant: on s390 the two are swapped.
fn moved_flags(subject: &Subject<'_>) -> Option<Notice> {
    let swapped = [Arch::S390x, Arch::S390];
    let arch = subject
        .archs()
        .into_iter()
        .find(|arch| swapped.contains(arch))?;
    let nr = syscalls::number(arch, "clone")?;
    let rules = subject.policy().rules(arch, nr);
    let asks = |rule: &&Rule| {
        rule.conditions.iter().any(|c| c.arg == 0) && rule.conditions.iter().all(|c| c.arg != 1)
    };
    let rule = rules.iter().find(asks)?;
    let path = condition_path(subject, rule.id, 0)?;
    // New user namespaces, asked for with a stack of 0.
    let flags = 0x1000_0000;
    let witness = Call::new(arch, nr, [0, flags, 0, 0, 0, 0]);
    let message = format!(
        "on {arch} argument 0 of `clone` is the stack, and argument 1 the flags: this asks for the wrong one"
    );
    let notice = Notice::new(Code::MovedArgument, path, message)
        .help("have an entry of its own for these architectures, with `index` 1 (`includes`, `excludes` in Docker's format)");
    let open = is_open(subject.policy().decide(&witness).action);
    Some(if open {
        notice.witness(witness)
    } else {
        notice
    })
}
