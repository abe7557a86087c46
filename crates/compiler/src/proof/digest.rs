//! A name for what a policy means: equal exactly for policies that answer every call alike.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::diagram::{Diagrams, END, Hashing, NodeId};
use super::{MAX_NODES, ProofError, spec};
use crate::policy::Policy;

/// What is hashed in front, so that another form of the same would have another name.
const FORM: &[u8] = b"callgate policy, form 1";

/// The SHA-256 of a policy's diagram. It is the same on every machine and in every run, and for policies of equal meaning, however they
/// are written; it says nothing of flags and listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// In hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The digest of a policy.
///
/// ```
/// use callgate_compiler::policy::{PolicyBuilder, RuleId};
/// use callgate_compiler::proof::digest;
/// use callgate_compiler::{Action, Arch};
///
/// let policy = |numbers: &[u32]| {
///     let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
///     for nr in numbers {
///         builder.rule(Arch::X86_64, *nr, RuleId(0), Action::Allow, &[])?;
///     }
///     Ok::<_, callgate_compiler::policy::BuildError>(builder.build())
/// };
/// assert_eq!(digest(&policy(&[0, 39])?)?, digest(&policy(&[39, 0, 0])?)?);
/// assert_ne!(digest(&policy(&[0, 39])?)?, digest(&policy(&[1, 39])?)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ProofError::TooLarge`] if the policy's diagram is too large.
pub fn digest(policy: &Policy) -> Result<Digest, ProofError> {
    let mut diagrams = Diagrams::new(MAX_NODES);
    let function = spec::policy(&mut diagrams, policy)?;
    let mut hash = Sha256::new_with_prefix(FORM);
    let mut writer = Writer {
        diagrams: &diagrams,
        hash: &mut hash,
        places: HashMap::default(),
    };
    writer.write(function);
    Ok(Digest(hash.finalize().into()))
}

/// Writes nodes, each behind those that it leads to, which it names by their places. As each function has one diagram, that is
/// the same however it was made.
struct Writer<'a> {
    diagrams: &'a Diagrams,
    hash: &'a mut Sha256,
    places: HashMap<NodeId, u32, Hashing>,
}

impl Writer<'_> {
    /// Writes a function, unless it is there already. No deeper than a call has bits.
    fn write(&mut self, function: NodeId) -> u32 {
        if let Some(place) = self.places.get(&function) {
            return *place;
        }
        let node = self.diagrams.at(function);
        let words = match self.diagrams.as_action(function) {
            Some(action) => [u32::from(END), action.to_ret(), 0],
            None => {
                let [zero, one] = [node.zero, node.one].map(|way| self.write(way));
                [u32::from(node.bit), zero, one]
            }
        };
        for word in words {
            self.hash.update(word.to_le_bytes());
        }
        // There are no more nodes than were allowed for.
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.insert(function, place);
        place
    }
}
