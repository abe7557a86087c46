//! A policy as a reader would write it down.
//!
//! Hundreds of rules on as many numbers of several ABIs come down to a few lists of names and a handful of conditions, with
//! names of arguments and constants: `clone` where `flags & (CLONE_NEWNS|CLONE_NEWUSER) == 0`. Nothing is left out and nothing
//! is added: each line says exactly what the policy says, which a test shows by reading it back.

mod formula;
mod program;
mod ways;

use std::collections::BTreeMap;

use crate::action::Action;
use crate::arch::Arch;
use crate::policy::{Policy, Rule};
use crate::syscalls;
use formula::{Formula, formula};

pub use program::{NotFollowed, ProgramSummary, Unnamed};

/// What a policy says beside its default action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls that come to one action, whatever their arguments.
    pub plain: Vec<Plain>,
    /// Calls whose arguments count.
    pub conditional: Vec<Conditional>,
}

/// Calls that come to one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What they come to.
    pub action: Action,
    /// On which ABIs of the set; none stands for all that have the call.
    pub archs: Vec<Arch>,
    /// Their names, sorted. A number without a name is written as such.
    pub calls: Vec<String>,
}

/// A call whose arguments count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// Its name, or its number if it has none.
    pub call: String,
    /// On which ABIs of the set; none stands for all that have the call.
    pub archs: Vec<Arch>,
    /// What it comes to: the first case that holds counts.
    pub cases: Vec<Case>,
    /// What it comes to if none holds; nothing stands for the default action.
    pub otherwise: Option<Action>,
}

/// An action, and when it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The action.
    pub action: Action,
    /// When: `family not in {AF_ALG, AF_VSOCK}`.
    pub condition: String,
}

/// What a call comes to on one ABI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Meaning {
    cases: Vec<(Action, String)>,
    otherwise: Option<Action>,
}

impl Summary {
    /// Writes a policy down.
    ///
    /// ```
    /// use callgate_compiler::policy::{Condition, PolicyBuilder, RuleId, Test};
    /// use callgate_compiler::summary::Summary;
    /// use callgate_compiler::{Action, Arch};
    ///
    /// let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
    /// let test = Test::Masked { mask: 0x1002_0000, value: 0 };
    /// builder.rule(Arch::X86_64, 56, RuleId(0), Action::Allow, &[Condition { arg: 0, test }])?;
    /// let summary = Summary::of(&builder.build());
    /// let case = &summary.conditional[0].cases[0];
    /// assert_eq!(case.condition, "flags & (CLONE_NEWNS|CLONE_NEWUSER) == 0");
    /// # Ok::<(), callgate_compiler::policy::BuildError>(())
    /// ```
    #[must_use]
    pub fn of(policy: &Policy) -> Summary {
        let mut calls: BTreeMap<String, Vec<(Arch, Meaning)>> = BTreeMap::new();
        for (arch, abi) in policy.abis() {
            for (nr, rules) in abi.rules() {
                let name = syscalls::name(arch, nr);
                let call = name.map_or_else(|| format!("{nr:#x}"), str::to_owned);
                let meaning = meaning(arch, &call, rules);
                calls.entry(call).or_default().push((arch, meaning));
            }
        }
        let archs = policy.abis().map(|(arch, _)| arch);
        let archs: Vec<Arch> = archs.collect();
        let mut summary = Summary::default();
        for (call, on) in calls {
            let have = archs.iter().filter(|arch| has(**arch, &call)).count();
            for (archs, meaning) in by_meaning(on) {
                let archs = if archs.len() == have {
                    Vec::new()
                } else {
                    archs
                };
                summary.add(&call, archs, meaning);
            }
        }
        summary.sort();
        summary
    }

    fn sort(&mut self) {
        let key = |plain: &Plain| {
            (
                plain.archs.clone(),
                7 - plain.action.severity(),
                plain.action,
            )
        };
        self.plain.sort_by_key(key);
    }

    fn add(&mut self, call: &str, archs: Vec<Arch>, meaning: Meaning) {
        let call = call.to_owned();
        match (meaning.cases.is_empty(), meaning.otherwise) {
            (true, None) => {}
            (true, Some(action)) => {
                let same = |plain: &&mut Plain| plain.action == action && plain.archs == archs;
                match self.plain.iter_mut().find(same) {
                    Some(plain) => plain.calls.push(call),
                    None => self.plain.push(Plain {
                        action,
                        archs,
                        calls: vec![call],
                    }),
                }
            }
            (false, otherwise) => {
                let cases = meaning.cases.into_iter();
                let cases = cases.map(|(action, condition)| Case { action, condition });
                self.conditional.push(Conditional {
                    call,
                    archs,
                    cases: cases.collect(),
                    otherwise,
                });
            }
        }
    }
}

fn has(arch: Arch, call: &str) -> bool {
    // A number without a name is of the ABI that it was found on.
    syscalls::number(arch, call).is_some_and(|nr| syscalls::name(arch, nr) == Some(call))
}

/// The rules of a number: neighbours with the same action are one case.
fn meaning(arch: Arch, call: &str, rules: &[Rule]) -> Meaning {
    let mut cases = Vec::new();
    for run in rules.chunk_by(|a, b| a.action == b.action) {
        let action = run[0].action;
        match formula(arch, call, run) {
            Formula::Never => {}
            Formula::When(condition) => cases.push((action, condition)),
            Formula::Always => {
                return Meaning {
                    cases,
                    otherwise: Some(action),
                };
            }
        }
    }
    Meaning {
        cases,
        otherwise: None,
    }
}

/// The ABIs on which a call means the same, together. `(int)` says nothing on a 32-bit ABI, and everything on a 64-bit one.
fn by_meaning(on: Vec<(Arch, Meaning)>) -> Vec<(Vec<Arch>, Meaning)> {
    let mut groups: Vec<(Vec<Arch>, Meaning)> = Vec::new();
    let key = |meaning: &Meaning| {
        let cases = meaning.cases.iter();
        let cases = cases.map(|(action, text)| (*action, text.replace(formula::INT, "")));
        (cases.collect::<Vec<_>>(), meaning.otherwise)
    };
    for (arch, meaning) in on {
        let same = groups.iter_mut().find(|(archs, known)| {
            let one_is_wide = archs.iter().filter(|a| a.has_64bit_arguments()).count()
                + usize::from(arch.has_64bit_arguments())
                <= 1;
            key(known) == key(&meaning) && (one_is_wide || *known == meaning)
        });
        match same {
            Some((archs, known)) => {
                archs.push(arch);
                if arch.has_64bit_arguments() {
                    *known = meaning;
                }
            }
            None => groups.push((vec![arch], meaning)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Condition, PolicyBuilder, RuleId, Test};

    /// A name, an action, and tests on arguments.
    type Written<'a> = (&'a str, Action, &'a [(u8, Test)]);

    fn summary(rules: &[Written<'_>]) -> Summary {
        let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
        builder.abi(Arch::X86).unwrap();
        for (id, (name, action, tests)) in (0..).map(RuleId).zip(rules) {
            let conditions = tests.iter().map(|(arg, test)| Condition {
                arg: *arg,
                test: *test,
            });
            let conditions: Vec<_> = conditions.collect();
            for arch in [Arch::X86_64, Arch::X86] {
                if let Some(nr) = syscalls::number(arch, name) {
                    builder.rule(arch, nr, id, *action, &conditions).unwrap();
                }
            }
        }
        Summary::of(&builder.build())
    }

    fn condition(call: &str, tests: &[(u8, Test)]) -> String {
        let rules: Vec<_> = tests.iter().map(std::slice::from_ref).collect();
        let rules: Vec<_> = rules
            .iter()
            .map(|test| (call, Action::Allow, *test))
            .collect();
        let summary = summary(&rules);
        let conditional = &summary.conditional[0];
        assert_eq!(conditional.archs, []);
        conditional.cases[0].condition.clone()
    }

    #[test]
    fn conditions_read_as_one_would_say_them() {
        let family = |tests: &[Test]| {
            condition(
                "socket",
                &tests.iter().map(|test| (0, *test)).collect::<Vec<_>>(),
            )
        };
        let but = [Test::Lt(38), Test::Eq(39), Test::Gt(40)];
        assert_eq!(family(&but), "family not in {AF_ALG, AF_VSOCK}");
        assert_eq!(
            family(&[Test::Eq(1), Test::Eq(2)]),
            "family in {AF_UNIX, AF_INET}"
        );
        assert_eq!(family(&[Test::Ne(40)]), "family != AF_VSOCK");
        assert_eq!(family(&[Test::Eq(1)]), "family == AF_UNIX");
        assert_eq!(
            family(&[Test::Lt(10), Test::Gt(20)]),
            "family <= 9 or family >= 21"
        );
        let int = |value| Test::Masked {
            mask: 0xffff_ffff,
            value,
        };
        assert_eq!(
            family(&[int(1), int(2)]),
            "(int) family in {AF_UNIX, AF_INET}"
        );
        let some = Test::Masked {
            mask: 0xf,
            value: 1,
        };
        assert_eq!(
            condition("socket", &[(1, some)]),
            "type & 0xf == SOCK_STREAM"
        );
    }

    #[test]
    fn names_with_one_meaning_stand_together() {
        let summary = summary(&[
            ("read", Action::Allow, &[]),
            ("mmap2", Action::Allow, &[]),
            ("ptrace", Action::Log, &[]),
            ("lseek", Action::Allow, &[(1, Test::Eq(1 << 32 | 5))]),
        ]);
        let plain: Vec<_> = summary
            .plain
            .iter()
            .map(|p| (p.action, p.calls.len()))
            .collect();
        assert_eq!(plain, [(Action::Allow, 2), (Action::Log, 1)]);
        // Cut to 32 bits, it is another condition.
        let lseek: Vec<_> = summary
            .conditional
            .iter()
            .map(|c| (&c.archs[..], c.cases[0].condition.as_str()))
            .collect();
        assert_eq!(
            lseek,
            [
                (&[Arch::X86][..], "offset == 5"),
                (&[Arch::X86_64][..], "offset == 0x100000005")
            ]
        );
    }

    #[test]
    fn cases_stand_in_the_order_in_which_they_are_tried() {
        let summary = summary(&[
            (
                "ioctl",
                Action::Log,
                &[(1, Test::Eq(0x5412)), (0, Test::Lt(3))],
            ),
            ("ioctl", Action::Trap, &[(1, Test::Ge(0x5500))]),
        ]);
        let cases = &summary.conditional[0].cases;
        let texts: Vec<_> = cases
            .iter()
            .map(|c| (c.action, c.condition.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                (Action::Trap, "cmd >= 0x5500"),
                (Action::Log, "fd <= 2 and cmd == TIOCSTI"),
            ]
        );
    }
}
