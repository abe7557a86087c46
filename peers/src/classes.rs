//! Known classes of differences, each with its reason.
//!
//! A difference that is in none of them is a fault: of one of the compilers, or of this list. In every class
//! callgate's verdict must be what the profile means; the report counts that too.

use std::collections::BTreeSet;

use callgate::compiler::bpf::Program;
use callgate::compiler::syscalls;
use callgate::{Action, Arch, ByteOrder, Call};

use crate::differential::Profile;
use crate::libseccomp::{self, Optimize};
use crate::reference::Rule;
use crate::rules::{Arg, Entry, Operator, Rules};
use crate::words;

/// Two verdicts on one call that differ.
#[derive(Debug)]
pub(crate) struct Difference<'a> {
    /// The profile.
    pub(crate) profile: &'a Profile,
    /// How libseccomp was to put its rules.
    pub(crate) optimize: Optimize,
    /// The call.
    pub(crate) call: Call,
    /// The ABI of the call, if it is in the profile's set.
    pub(crate) arch: Option<Arch>,
    /// callgate's verdict.
    pub(crate) ours: Action,
    /// libseccomp's.
    pub(crate) theirs: Action,
    /// How many instructions libseccomp's program has.
    pub(crate) their_length: usize,
    /// What the meaning says.
    pub(crate) meant: Action,
}

/// A kind of difference that is expected.
#[derive(Debug)]
pub(crate) struct Class {
    /// What it is called in reports.
    pub(crate) name: &'static str,
    /// Why it is no fault of callgate.
    pub(crate) reason: &'static str,
    holds: fn(&Difference<'_>) -> bool,
}

/// All of them. The first that holds counts.
pub(crate) const CLASSES: [Class; 7] = [
    Class {
        name: "names that only one table has",
        reason: "the tables here go through a newer kernel, so a name of the profile that libseccomp skips as \
                 unknown is a rule here",
        holds: |d| d.is_default() && d.is_of_other_table(),
    },
    Class {
        name: "order of overlapping rules",
        reason: "rules with different actions match the call; the order is defined here by whole arguments, and \
                 elsewhere by their 32-bit words, which differs where masks are involved",
        holds: |d| d.is_order() && Some(d.theirs) == words::decide(&d.profile.reference, &d.call),
    },
    Class {
        name: "order of overlapping rules by an upper word",
        reason: "NE, GT and GE of 64 bits can be settled by the upper word, where rules with the same upper word are \
                 one elsewhere",
        holds: |d| d.is_order() && d.is_settled_by_upper_word(),
    },
    Class {
        name: "order of overlapping rules with opposites",
        reason: "a rule of the call asks the opposite of another, such as LT and GE of one value, and its place in the \
                 order is next to that one elsewhere",
        holds: |d| d.is_order() && d.has_opposites(),
    },
    Class {
        name: "order of overlapping rules with several masks",
        reason: "as above, where three or more masks on one argument meet; words with different masks have no order of \
                 their own",
        holds: |d| d.is_order() && d.has_several_masks(),
    },
    Class {
        name: "long programs for the other byte order",
        reason: "a program with long jumps, made on a machine of the other byte order: outside what both can express",
        holds: |d| d.their_length > 255 && d.is_of_other_byte_order(),
    },
    Class {
        name: "a list with names that the ABI lacks",
        reason: "names without a number on the ABI yield nothing here; at level 1 they are outside what both \
                 can express",
        holds: |d| d.optimize == Optimize::List && d.is_default() && d.names_absent_calls(),
    },
];

/// Why libseccomp may refuse a profile that callgate takes, or the other way round, or `None` if that is a fault.
/// What callgate does must be what is meant.
pub(crate) fn classify_refusal(profile: &Profile, theirs_refuses: bool) -> Option<&'static str> {
    let Profile {
        rules, reference, ..
    } = profile;
    let ours_refuses = profile.ours.is_err();
    if ours_refuses != reference.has_conflict() {
        return None;
    }
    match (ours_refuses, theirs_refuses) {
        (false, false) | (true, true) => Some("the same"),
        (true, false) => Some(
            "two rules contradict each other, and a third asks the opposite of one of them: outside what both \
             can express",
        ),
        (false, true) if begins_another(&reference.rules) => Some(
            "the conditions of a rule begin, or are, those of another with another action; their order, or an \
             unconditional rule, settles it here",
        ),
        (false, true) if contradicts_in_vain(rules) => Some(
            "two rules contradict each other about a call that no architecture of the profile has",
        ),
        (false, true) => None,
    }
}

/// The class of a difference, if it is a known one.
pub(crate) fn classify(difference: &Difference<'_>) -> Option<&'static Class> {
    CLASSES.iter().find(|class| (class.holds)(difference))
}

/// Whether the conditions of some rule begin, or are, those of another of the same call with another action.
fn begins_another(rules: &[Rule]) -> bool {
    let begins = |a: &Rule, b: &Rule| {
        let same_call = a.arch == b.arch && a.nr == b.nr && a.action != b.action;
        let same_args = a.args.iter().zip(&b.args).all(|(a, b)| a.is_same(b));
        same_call && same_args && a.args.len() <= b.args.len()
    };
    let conditional = rules.iter().filter(|rule| !rule.args.is_empty());
    conditional
        .into_iter()
        .any(|a| rules.iter().any(|b| begins(a, b)))
}

/// The same of calls that the profile names and its architectures lack.
fn contradicts_in_vain(rules: &Rules) -> bool {
    let sorted = |args: &[Arg]| {
        let mut args = args.to_vec();
        args.sort_by_key(|arg| arg.index);
        args
    };
    let begins = |a: &[Arg], b: &[Arg]| {
        let (a, b) = (sorted(a), sorted(b));
        !a.is_empty() && a.len() <= b.len() && a.iter().zip(&b).all(|(a, b)| a.is_same(b))
    };
    let contradict = |a: &Entry, b: &Entry| {
        let of_both = a
            .alternatives()
            .into_iter()
            .any(|x| b.alternatives().iter().any(|y| begins(x, y)));
        (&a.action, a.errno_ret) != (&b.action, b.errno_ret) && of_both
    };
    let archs = rules.archs().unwrap_or_default();
    let is_lacking = |name: &String| {
        archs
            .iter()
            .all(|arch| syscalls::number(*arch, name).is_none())
    };
    let shared =
        |a: &Entry, b: &Entry| a.names.iter().any(|n| b.names.contains(n) && is_lacking(n));
    let entries = &rules.syscalls;
    entries
        .iter()
        .any(|a| entries.iter().any(|b| shared(a, b) && contradict(a, b)))
}

impl Difference<'_> {
    /// Runs both programs on a call; `None` if their verdicts are the same.
    pub(crate) fn find<'a>(
        profile: &'a Profile,
        optimize: Optimize,
        [ours, theirs]: [&Program; 2],
        call: &Call,
    ) -> Option<Difference<'a>> {
        let their_length = theirs.insns().len();
        let [ours, theirs] = [ours, theirs].map(|program| program.simulate(call).action);
        (ours != theirs).then(|| Difference {
            profile,
            optimize,
            call: *call,
            arch: profile.reference.arch_of(call),
            ours,
            theirs,
            their_length,
            meant: profile.reference.decide(call),
        })
    }

    /// Several rules match, and the two verdicts are of two of them.
    fn is_order(&self) -> bool {
        let matching = self.profile.reference.matching(&self.call);
        let decided = |action| matching.iter().any(|rule| rule.action == action);
        decided(self.ours) && decided(self.theirs)
    }

    fn is_settled_by_upper_word(&self) -> bool {
        let is_wide = self.arch.is_some_and(Arch::has_64bit_arguments);
        let upper = |arg: &Arg| self.call.args[usize::from(arg.index)] >> 32 != arg.value >> 32;
        let is_kind = |arg: &Arg| matches!(arg.op, Operator::Ne | Operator::Gt | Operator::Ge);
        let matching = self.profile.reference.matching(&self.call);
        let mut args = matching.iter().flat_map(|rule| &rule.args);
        is_wide && args.any(|arg| is_kind(arg) && upper(arg))
    }

    /// Whether two rules of the number ask the opposite of each other.
    fn has_opposites(&self) -> bool {
        let rules = self.profile.reference.rules_of(&self.call);
        let args: Vec<&Arg> = rules.iter().flat_map(|rule| &rule.args).collect();
        let opposite = |op| match op {
            Operator::Ne => Some(Operator::Eq),
            Operator::Lt => Some(Operator::Ge),
            Operator::Le => Some(Operator::Gt),
            _ => None,
        };
        let are_opposite = |a: &Arg, b: &Arg| {
            a.index == b.index && a.value == b.value && opposite(a.op) == Some(b.op)
        };
        args.iter().any(|a| args.iter().any(|b| are_opposite(a, b)))
    }

    /// Whether the rules of the number ask about one argument under three or more masks; that of EQ is full.
    fn has_several_masks(&self) -> bool {
        let rules = self.profile.reference.rules_of(&self.call);
        let args = || rules.iter().flat_map(|rule| &rule.args);
        let mask = |arg: &Arg| match arg.op {
            Operator::MaskedEq => arg.value,
            _ => u64::MAX,
        };
        (0..6).any(|index| {
            let masks: BTreeSet<u64> = args().filter(|a| a.index == index).map(mask).collect();
            masks.len() >= 3
        })
    }

    fn is_of_other_byte_order(&self) -> bool {
        let native = ByteOrder::native();
        self.arch.is_some_and(|arch| arch.byte_order() != native)
    }

    fn is_default(&self) -> bool {
        self.profile
            .rules
            .default()
            .is_ok_and(|default| default == self.theirs)
    }

    fn is_of_other_table(&self) -> bool {
        let Some(arch) = self.arch else {
            return false;
        };
        let name = syscalls::name(arch, self.call.nr);
        name.is_some_and(|name| libseccomp::number(arch, name) != Some(self.call.nr))
    }

    fn names_absent_calls(&self) -> bool {
        let archs = self.profile.rules.archs().unwrap_or_default();
        let lacks = |name: &String| {
            let has = |arch: &Arch| libseccomp::number(*arch, name).is_some();
            !archs.iter().all(has)
        };
        self.profile
            .rules
            .syscalls
            .iter()
            .any(|entry| entry.names.iter().any(lacks))
    }
}
