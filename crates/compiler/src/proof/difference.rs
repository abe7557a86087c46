//! Where two filters differ: each kind of call with both answers, in terms that a reader can follow.
//!
//! Both become diagrams. For each pair of different answers the calls that get it are a condition, which is taken apart in the order of its
//! words: architectures and numbers by ranges, then the arguments by what they must be.

use std::collections::BTreeMap;

use super::diagram::{Diagrams, NO, NodeId, Word};
use super::values::{self, Conditions};
use super::{Built, MAX_NODES, ProofError, lift, spec};
use crate::action::Action;
use crate::arch::Arch;
use crate::bpf::Program;
use crate::call::Call;
use crate::policy::Policy;

/// What answers calls.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    /// As a policy says.
    Policy(&'a Policy),
    /// As the filters of a process do together, the newest first. None allow all.
    Programs(&'a [Program]),
}

/// Calls to which two sides give different answers, the same two to all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The answer of the first side.
    pub from: Action,
    /// That of the second.
    pub to: Action,
    /// The architectures: `AUDIT_ARCH_*` values from the first to the last, both included.
    pub audits: (u32, u32),
    /// The numbers: ranges, both ends included, in order.
    pub numbers: Vec<(u32, u32)>,
    /// What arguments and instruction pointer must be.
    pub conditions: Conditions,
    /// One of these calls.
    pub witness: Call,
}

impl Difference {
    /// Whether the second side's answer is at least as severe as the first's: neither makes a call that the other wouldn't.
    #[must_use]
    pub fn is_stricter(&self) -> bool {
        self.to.severity() <= self.from.severity()
    }
}

/// All calls on which two sides differ. There are none exactly if they answer every call alike.
///
/// On 32-bit ABIs only arguments of 32 bits are looked at, as no others occur.
///
/// ```
/// use callgate_compiler::policy::{PolicyBuilder, RuleId};
/// use callgate_compiler::proof::{Side, differences};
/// use callgate_compiler::{Action, Arch};
///
/// let policy = |numbers: &[u32]| {
///     let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
///     builder.newer_calls(false);
///     for nr in numbers {
///         builder.rule(Arch::X86_64, *nr, RuleId(0), Action::Allow, &[])?;
///     }
///     Ok::<_, callgate_compiler::policy::BuildError>(builder.build())
/// };
/// let (old, new) = (policy(&[0, 1, 39])?, policy(&[0, 39])?);
/// let found = differences(Side::Policy(&old), Side::Policy(&new))?;
/// assert_eq!(found.len(), 1);
/// assert_eq!((found[0].from, found[0].to), (Action::Allow, Action::Errno(1)));
/// assert_eq!(found[0].numbers, [(1, 1)]);
/// assert!(found[0].is_stricter());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If that can't be told.
pub fn differences(from: Side, to: Side) -> Result<Vec<Difference>, ProofError> {
    let mut diagrams = Diagrams::new(MAX_NODES);
    let from = side(&mut diagrams, from)?;
    let to = side(&mut diagrams, to)?;
    let mut found = Vec::new();
    for (a, b) in diagrams.differences(from, to) {
        let answered_from = diagrams.answered(from, a)?;
        let answered_to = diagrams.answered(to, b)?;
        let calls = diagrams.both(answered_from, answered_to)?;
        let make = |audits, numbers, conditions, witness| Difference {
            from: a,
            to: b,
            audits,
            numbers,
            conditions,
            witness,
        };
        for (first, last, of_audit) in diagrams.by_values(calls, Word::Arch)? {
            let calls = match is_narrow(first, last) {
                true => diagrams.with_narrow_arguments(of_audit)?,
                false => of_audit,
            };
            for (arguments, numbers) in by_arguments(&diagrams, calls)? {
                let conditions = values::conditions(&mut diagrams, arguments)?;
                let mut witness = diagrams.difference(arguments, NO);
                witness.audit = first;
                witness.nr = numbers.first().map_or(0, |(first, _)| *first);
                found.push(make((first, last), numbers, conditions, witness));
            }
        }
    }
    Ok(found)
}

/// The function that a side is.
pub(super) fn side(diagrams: &mut Diagrams, side: Side) -> Built {
    let programs = match side {
        Side::Policy(policy) => return spec::policy(diagrams, policy),
        Side::Programs(programs) => programs,
    };
    let mut together: Option<NodeId> = None;
    for program in programs {
        let older = lift::program(diagrams, program)?;
        together = Some(match together {
            Some(newer) => diagrams.most_severe(newer, older)?,
            None => older,
        });
    }
    together.map_or_else(|| diagrams.action(Action::Allow), Ok)
}

/// Whether it is one architecture whose arguments have 32 bits.
fn is_narrow(first: u32, last: u32) -> bool {
    let arch = Arch::of_call(first, 0).filter(|_| first == last);
    arch.is_some_and(|arch| !arch.has_64bit_arguments())
}

/// Ranges of numbers, both ends included.
type Numbers = Vec<(u32, u32)>;

/// The numbers by the condition on the arguments that holds for them, where it ever does.
fn by_arguments(diagrams: &Diagrams, calls: NodeId) -> Result<Vec<(NodeId, Numbers)>, ProofError> {
    let mut numbers: BTreeMap<NodeId, Numbers> = BTreeMap::new();
    for (first, last, arguments) in diagrams.by_values(calls, Word::Nr)? {
        if arguments != NO {
            numbers.entry(arguments).or_default().push((first, last));
        }
    }
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by_key(|(_, ranges)| ranges.first().copied());
    Ok(numbers)
}
