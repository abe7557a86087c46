//! The proof that a program is a policy: for every architecture, number, instruction pointer and argument.
//!
//! Both sides become decision diagrams (`diagram`) over the bits of a call. Equal functions have equal diagrams, so the proof is a
//! comparison of two names, and a failed one comes with a call on which they differ. One side is built from the policy
//! by comparing whole arguments (`spec`); the other by following the program's instructions (`lift`). Rules whose diagram would be too
//! large are proved one after the other (`rule_by_rule`).
//!
//! Invariant: nothing here uses the compiler's graph or its emitter, so one mistake can't hide in both.

mod apply;
mod calls;
mod dead;
mod diagram;
mod difference;
mod digest;
mod follow;
mod lift;
mod pieces;
mod rule_by_rule;
mod spec;
mod values;
mod witness;

use std::time::{Duration, Instant};

use crate::action::Action;
use crate::bpf::Program;
use crate::call::Call;
use crate::policy::Policy;

pub use dead::{DeadRule, dead_rules};
use diagram::{Diagrams, NodeId};
pub use difference::{Difference, Side, differences};
pub use digest::{Digest, digest};
use rule_by_rule::Stop;
pub use values::{Conditions, Part, Set, Values};

/// How large diagrams may get on the way: some 60 MiB with their tables. Moby's default with three ABIs takes 11,000 nodes,
/// a hundred rules over pairs of six arguments up to 300,000.
const MAX_NODES: usize = 1 << 19;

/// A program was proved to be a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// How many nodes the diagram has that both of them are; `None` if it was proved rule by rule.
    pub nodes: Option<usize>,
    /// How long it took.
    pub time: Duration,
}

/// There is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The program is not the policy.
    #[error("the program answers {found} where the policy says {expected}")]
    Refuted {
        /// A call that shows it.
        witness: Call,
        /// What the policy says of it.
        expected: Action,
        /// What the program answers.
        found: Action,
    },
    /// The program computes with its input in a way that is not followed here.
    #[error("instruction {0} computes with the call in a way that can't be followed")]
    Unsupported(usize),
    /// It would take more memory than is allowed for it, and calls at the borders of the policy's rules showed no difference.
    /// Or the program mixes rules, of which there are too many for a diagram, in a way that isn't followed. Nothing is known then.
    #[error(
        "the proof would take more than {MAX_NODES} nodes, and trying rules one by one doesn't settle it"
    )]
    TooLarge,
}

/// Proves that a program answers to every call as a policy says.
///
/// ```
/// use callgate_compiler::filter::compile;
/// use callgate_compiler::policy::{PolicyBuilder, RuleId};
/// use callgate_compiler::proof::{ProofError, prove};
/// use callgate_compiler::{Action, Arch};
///
/// let policy = |action| {
///     let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
///     builder.rule(Arch::X86_64, 39, RuleId(0), action, &[]).map(|_| builder.build())
/// };
/// let program = compile(&policy(Action::Allow)?)?;
/// assert!(prove(&policy(Action::Allow)?, &program).is_ok());
/// let Err(ProofError::Refuted { witness, .. }) = prove(&policy(Action::Log)?, &program) else {
///     panic!("it is another policy");
/// };
/// assert_eq!(witness.nr, 39);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ProofError::Refuted`] if it doesn't; the others if that can't be told.
pub fn prove(policy: &Policy, program: &Program) -> Result<Proof, ProofError> {
    let start = Instant::now();
    let proved = |nodes| Proof {
        nodes,
        time: start.elapsed(),
    };
    match by_diagrams(policy, program) {
        Err(ProofError::TooLarge) => {}
        outcome => return outcome.map(|nodes| proved(Some(nodes))),
    }
    match rule_by_rule::prove(policy, program, MAX_NODES) {
        Ok(()) => Ok(proved(None)),
        Err(Stop::Differs(witness)) => Err(refuted(policy, program, witness)),
        Err(Stop::Unsupported(at)) => Err(ProofError::Unsupported(at)),
        Err(Stop::Unknown) => Err(searched(policy, program)),
    }
}

/// Proves that filters of one process, the newest first, answer together to every call as a policy says.
///
/// # Errors
/// As [`prove`], but without trying rules one by one.
pub fn prove_together(policy: &Policy, programs: &[Program]) -> Result<Proof, ProofError> {
    let start = Instant::now();
    let mut diagrams = Diagrams::new(MAX_NODES);
    let expected = spec::policy(&mut diagrams, policy)?;
    let found = difference::side(&mut diagrams, Side::Programs(programs))?;
    if expected != found {
        let witness = diagrams.difference(expected, found);
        let answers = programs
            .iter()
            .map(|program| program.simulate(&witness).action);
        return Err(ProofError::Refuted {
            witness,
            expected: policy.decide(&witness).action,
            // Of equally severe answers the first, which is the newest filter's.
            found: answers
                .min_by_key(|action| action.severity())
                .unwrap_or(Action::Allow),
        });
    }
    Ok(Proof {
        nodes: Some(diagrams.size(expected)),
        time: start.elapsed(),
    })
}

/// How many nodes the diagram has that both of them are.
fn by_diagrams(policy: &Policy, program: &Program) -> Result<usize, ProofError> {
    let mut diagrams = Diagrams::new(MAX_NODES);
    let expected = spec::policy(&mut diagrams, policy)?;
    let found = lift::program(&mut diagrams, program)?;
    if expected == found {
        return Ok(diagrams.size(expected));
    }
    let witness = diagrams.difference(expected, found);
    Err(refuted(policy, program, witness))
}

/// What is known where diagrams don't tell: a refutation if one is found at the borders of the policy's rules.
fn searched(policy: &Policy, program: &Program) -> ProofError {
    let witness = witness::calls_about(policy).find(|call| differ(policy, program, call));
    witness.map_or(ProofError::TooLarge, |call| refuted(policy, program, call))
}

fn differ(policy: &Policy, program: &Program, call: &Call) -> bool {
    policy.decide(call).action != program.simulate(call).action
}

fn refuted(policy: &Policy, program: &Program, witness: Call) -> ProofError {
    ProofError::Refuted {
        witness,
        expected: policy.decide(&witness).action,
        found: program.simulate(&witness).action,
    }
}

/// Compares two programs for kernels of one byte order on every call: `None` if they answer alike, or else a call on
/// which they don't.
///
/// # Errors
/// If that can't be told.
pub fn compare(a: &Program, b: &Program) -> Result<Option<Call>, ProofError> {
    let mut diagrams = Diagrams::new(MAX_NODES);
    let (a, b) = (
        lift::program(&mut diagrams, a)?,
        lift::program(&mut diagrams, b)?,
    );
    Ok((a != b).then(|| diagrams.difference(a, b)))
}

/// What an operation on diagrams comes to; the only failure is that they get too large.
type Built = Result<NodeId, ProofError>;
