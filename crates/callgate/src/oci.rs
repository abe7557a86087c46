//! The entry points of a container runtime, over the types of `oci-spec`.
//!
//! [`initialize_seccomp`] and [`is_notify`] have the names and types under which youki's libcontainer calls its own, so
//! that they can be put in their place. What a runtime would rather do is beside them: [`compile`] once, where there is
//! time and memory; keep the [`Filter`]; [prepare](crate::Prepared::new) and
//! [install](crate::Prepared::install) it in each child.

use std::os::fd::{IntoRawFd, RawFd};

use callgate_compiler::arch::Arch;
use callgate_compiler::notice::ProfileError;
use callgate_compiler::profile::{Flag, Operator};
use callgate_compiler::{Action, CompileError, Context, Filter, Profile};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, Seccomp};

use crate::load::{LoadError, PrepareError, Prepared};
use crate::probe;

/// A profile could not be put into force. Nothing is loaded then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// The kernel is of an architecture that the runtime-spec has no name for, or its version can't be read.
    #[error("this kernel's architecture or version is not known")]
    UnknownKernel,
    /// The profile can't be written as JSON, as with a listener path that is not UTF-8.
    #[error("the profile can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The profile can't be taken, or its filter is too long. NOTIFY as the default action, and on `write`, is here.
    #[error("seccomp profile: {0}")]
    Compile(#[from] CompileError),
    /// This kernel lacks what the filter needs.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The kernel refused the filter.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<ProfileError> for SeccompError {
    fn from(error: ProfileError) -> SeccompError {
        SeccompError::Compile(error.into())
    }
}

/// Compiles a profile and loads it into the calling thread. Returns the listener, owned by the caller from then on, if an entry's
/// action is NOTIFY.
///
/// `no_new_privs` is left as it is: the thread must have it, or hold CAP_SYS_ADMIN. Names that no architecture has are
/// skipped, and each notice about the profile is a `tracing` event at the level WARN.
///
/// # Where it differs from youki's own
/// - Several conditions of one entry must all hold, unless two of them name the same argument; then, as there, each is a
///   rule of its own.
/// - `MASKED_EQ` has its mask in `value` and its datum in `valueTwo`, as runc has it.
/// - A call newer than every name of the profile returns ENOSYS instead of the default action, unless that is ALLOW,
///   LOG or TRACE, as with runc.
/// - An errno beside an action that takes none, or out of range, is refused instead of ignored or cut.
/// - A call of an architecture outside the set ends the thread; an architecture that can't occur under this kernel is
///   left out with a notice instead of refused.
/// - `WAIT_KILLABLE_RECV` is honoured. A flag that the kernel lacks is refused.
/// - Rules are compared with all 64 bits of an argument on 64-bit ABIs.
/// - Errors tell the place in the profile: `syscalls[12].args[0].index`.
///
/// # Errors
/// [`SeccompError`]; nothing is loaded then.
///
/// ```no_run
/// # fn profile() -> oci_spec::runtime::LinuxSeccomp { oci_spec::runtime::LinuxSeccomp::default() }
/// let seccomp = profile();
/// if let Some(listener) = callgate::initialize_seccomp(&seccomp)? {
///     // hand it over to whoever serves the notifications
/// }
/// # Ok::<(), callgate::SeccompError>(())
/// ```
pub fn initialize_seccomp(seccomp: &LinuxSeccomp) -> Result<Option<RawFd>, SeccompError> {
    let context = probe::context().ok_or(SeccompError::UnknownKernel)?;
    let filter = compile(seccomp, &context)?;
    for notice in filter.notices() {
        tracing::warn!(code = %notice.code, path = %notice.path, "seccomp profile: {}", notice.message);
    }
    let listener = Prepared::new(&filter, false)?.install()?;
    Ok(listener.map(IntoRawFd::into_raw_fd))
}

/// Whether some entry's action is NOTIFY, so that [`initialize_seccomp`] returns a listener.
#[must_use]
pub fn is_notify(seccomp: &LinuxSeccomp) -> bool {
    let notifies = |action| action == LinuxSeccompAction::ScmpActNotify;
    seccomp
        .syscalls()
        .iter()
        .flatten()
        .any(|entry| notifies(entry.action()))
}

/// Compiles a profile for a context ([`probe::context`] has that of the running kernel). The filter is `Send` and `Sync`; it can be
/// kept under the profile, the context and [`TABLE_VERSION`](callgate_compiler::syscalls::TABLE_VERSION), which are
/// all that it depends on.
///
/// # Errors
/// As from a profile in JSON, with the same paths: the profile is written as JSON and read as such, so that there is one
/// reader and one meaning.
pub fn compile(seccomp: &LinuxSeccomp, context: &Context) -> Result<Filter, SeccompError> {
    let profile = Profile::parse(&serde_json::to_vec(seccomp)?)?;
    Ok(Filter::compile(&profile, context)?)
}

/// What this library and this kernel have, as the `seccomp` member of the runtime-spec's features document
/// (`features-linux.md`): actions, operators, architectures and flags that are known, and flags that the kernel supports.
#[must_use]
pub fn features() -> Seccomp {
    let known = |flag: Flag| flag.oci_name().to_owned();
    let supported = Flag::ALL.into_iter().filter(|flag| probe::has_flag(*flag));
    let archs = Arch::ALL
        .into_iter()
        .filter_map(|arch| arch.oci_name().parse().ok());
    let actions = ["SCMP_ACT_KILL"]
        .into_iter()
        .chain(ACTIONS.map(Action::oci_name));
    let mut features = Seccomp::default();
    features
        .set_enabled(Some(true))
        .set_actions(Some(actions.filter_map(|name| name.parse().ok()).collect()))
        .set_operators(Some(
            Operator::ALL.map(|op| op.oci_name().to_owned()).to_vec(),
        ))
        .set_archs(Some(archs.collect()))
        .set_known_flags(Some(Flag::ALL.map(known).to_vec()))
        .set_supported_flags(Some(supported.map(known).collect()));
    features
}

/// The actions that this kernel has, of those that are known.
#[must_use]
pub fn supported_actions() -> Vec<Action> {
    ACTIONS
        .into_iter()
        .filter(|action| probe::has_action(*action))
        .collect()
}

/// Every action once, with whatever datum.
const ACTIONS: [Action; 8] = [
    Action::KillProcess,
    Action::KillThread,
    Action::Trap,
    Action::Errno(1),
    Action::Notify,
    Action::Trace(1),
    Action::Log,
    Action::Allow,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_known_has_a_name_in_the_specs_types() {
        let features = features();
        assert_eq!(features.actions().as_ref().unwrap().len(), 9);
        assert_eq!(features.operators().as_ref().unwrap().len(), 7);
        assert_eq!(features.archs().as_ref().unwrap().len(), 23);
        assert_eq!(features.known_flags().as_ref().unwrap().len(), 4);
        let supported = features.supported_flags().as_ref().unwrap();
        assert!(
            supported
                .iter()
                .all(|flag| features.known_flags().as_ref().unwrap().contains(flag))
        );
    }

    #[test]
    fn filters_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + Clone + 'static>() {}
        shared::<Filter>();
        shared::<Prepared>();
    }
}
