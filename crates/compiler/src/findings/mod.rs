//! What can be found out about a profile and its policy beyond what each call comes to: for the people who write it.
//!
//! A notice is about the document: something in it means something else than one may think. A finding is about calls: what the profile
//! lets through against its own intent, or denies in a way that programs don't expect. The intent is taken from what the profile
//! says by name, never guessed from what it leaves to the default action.

mod arguments;
mod bypass;
pub mod change;
mod fallback;
mod listener;
pub mod portability;
mod rules;

use crate::action::Action;
use crate::arch::Arch;
use crate::call::Call;
use crate::context::Context;
use crate::errno;
use crate::notice::{JsonPath, Notice};
use crate::policy::{Policy, Resolved, Rule};
use crate::profile::{Entry, Profile};
use crate::syscalls;

/// Looks at a resolved profile for what its author would want to know. One finding a place and code, though it may hold on several ABIs.
///
/// ```
/// use callgate_compiler::findings::findings;
/// use callgate_compiler::policy::resolve;
/// use callgate_compiler::{Arch, Code, Context, Profile};
///
/// let profile = Profile::parse(br#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
///     { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_EQ" }] }
/// ] }"#)?;
/// let context = Context::new(Arch::X86_64, "6.18".parse()?);
/// let found = findings(&profile, &context, &resolve(&profile, &context)?);
/// // The kernel takes 32 bits of the family, and the rule compares 64.
/// assert_eq!(found[0].code, Code::HighBits);
/// assert_eq!(found[0].witness.unwrap().args[0], 1 << 32 | 40);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn findings(profile: &Profile, context: &Context, resolved: &Resolved) -> Vec<Notice> {
    let subject = Subject {
        profile,
        context,
        resolved,
    };
    let mut found = arguments::findings(&subject);
    found.extend(bypass::findings(&subject));
    found.extend(fallback::findings(&subject));
    found.extend(listener::findings(&subject));
    found.extend(rules::findings(&subject));
    let mut said = std::collections::BTreeSet::new();
    found.retain(|notice| said.insert((notice.code, notice.path.clone())));
    found
}

/// What is looked at.
struct Subject<'a> {
    profile: &'a Profile,
    context: &'a Context,
    resolved: &'a Resolved,
}

impl Subject<'_> {
    fn policy(&self) -> &Policy {
        &self.resolved.policy
    }

    fn archs(&self) -> Vec<Arch> {
        self.policy().abis().map(|(arch, _)| arch).collect()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.profile.entries_in(self.context)
    }

    /// The entries that name a call, each with the place of the name.
    fn naming(&self, call: &str) -> impl Iterator<Item = (&Entry, JsonPath)> {
        self.entries().filter_map(move |entry| {
            let index = entry.names.iter().position(|name| name == call)?;
            Some((entry, entry.name_path(index)))
        })
    }

    /// What a call comes to with all arguments 0, if the ABI has it.
    fn plainly(&self, arch: Arch, call: &str) -> Option<(Call, Action)> {
        let call = Call::new(arch, syscalls::number(arch, call)?, [0; 6]);
        Some((call, self.policy().decide(&call).action))
    }

    /// A call that is made whatever its arguments are.
    fn open(&self, arch: Arch, call: &str) -> Option<Call> {
        let (call, action) = self.plainly(arch, call)?;
        let rules = self.policy().rules(arch, call.nr);
        (is_open(action) && rules.iter().all(Rule::is_unconditional)).then_some(call)
    }

    /// Where the profile itself says that a call, or some kind of it, is not to be made: it denies it by name, or allows it by name under
    /// conditions only. ENOSYS isn't such a denial: it sends programs to another call.
    fn restricted(&self, arch: Arch, call: &str) -> Option<JsonPath> {
        let nr = syscalls::number(arch, call)?;
        let denies =
            |entry: &Entry| is_denial(entry.action.on(self.context.arch), self.context.arch);
        let rules = self.policy().rules(arch, nr);
        let conditional = !rules.is_empty() && !rules.iter().any(Rule::is_unconditional);
        let otherwise = is_denial(self.policy().default_action(), self.context.arch);
        if rules.iter().any(Rule::is_unconditional) && rules.iter().all(|rule| is_open(rule.action))
        {
            return None;
        }
        let mut naming = self.naming(call);
        let found = naming
            .find(|(entry, _)| denies(entry) || conditional && otherwise && !entry.args.is_empty());
        found.map(|(_, path)| path)
    }
}

fn is_open(action: Action) -> bool {
    matches!(action, Action::Allow | Action::Log)
}

fn is_denial(action: Action, arch: Arch) -> bool {
    match action {
        Action::Errno(errno) => errno != errno::enosys(arch),
        Action::KillProcess | Action::KillThread | Action::Trap => true,
        _ => false,
    }
}
