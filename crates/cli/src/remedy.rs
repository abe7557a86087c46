//! The least changes after which a profile allows a call. Each is made, and what comes of it looked at, before it is offered.

use std::collections::BTreeSet;

use callgate::compiler::policy::{Verdict, resolve};
use callgate::compiler::profile::Format;
use callgate::compiler::{signatures, syscalls};
use callgate::{Action, Arch, Call, Capabilities, Context, Filter, Profile};

use crate::call;
use crate::edit::{self, Edit};

/// A change after which a call is allowed.
#[derive(Clone, Debug)]
pub(crate) struct Remedy {
    /// In words.
    pub(crate) text: String,
    /// The changes to the profile; none if it is not the profile that changes.
    pub(crate) edits: Vec<Edit>,
}

/// Arguments that say what a call is for, as small numbers: families, flags, requests. Others are addresses, sizes, descriptors.
const TELLING: &[(&str, &[u8])] = &[
    ("arch_prctl", &[0]),
    ("bpf", &[0]),
    ("clone", &[0]),
    ("fsopen", &[1]),
    ("ioctl", &[1]),
    ("keyctl", &[0]),
    ("personality", &[0]),
    ("prctl", &[0]),
    ("ptrace", &[0]),
    ("setns", &[1]),
    ("socket", &[0]),
    ("socketpair", &[0]),
    ("unshare", &[0]),
];

/// The arguments of a call that tell one kind of it from another: those that a rule on it tests, and those that say what it is for.
pub(crate) fn telling_arguments(filter: &Filter, call: &Call) -> BTreeSet<u8> {
    let Some(arch) = filter.policy().abi_of(call.audit, call.nr) else {
        return BTreeSet::new();
    };
    let rules = filter.policy().rules(arch, call.nr).iter();
    let tested = rules.flat_map(|rule| rule.conditions.iter().map(|condition| condition.arg));
    let name = syscalls::name(arch, call.nr);
    let known = TELLING.iter().find(|(known, _)| Some(*known) == name);
    tested
        .chain(known.iter().flat_map(|(_, args)| args.iter().copied()))
        .collect()
}

/// What would allow a denied call, the least first. `text` is that of the profile.
pub(crate) fn remedies(
    text: &str,
    profile: &Profile,
    filter: &Filter,
    context: &Context,
    call: &Call,
    verdict: Verdict,
) -> Vec<Remedy> {
    let Some(arch) = filter.policy().abi_of(call.audit, call.nr) else {
        return Vec::new();
    };
    let Some(name) = syscalls::name(arch, call.nr) else {
        return Vec::new();
    };
    let exact: Vec<_> = telling_arguments(filter, call)
        .into_iter()
        .map(|arg| (arg, call.args[usize::from(arg)] & arch.argument_mask()))
        .collect();
    let source = verdict.rule().and_then(|id| filter.resolved().source(id));
    let mut candidates = Vec::new();
    if !exact.is_empty() {
        candidates.push(Remedy {
            text: format!("allow `{name}` with {}", in_words(arch, name, &exact)),
            edits: vec![Edit::Add(entry(name, &exact))],
        });
    }
    candidates.push(Remedy {
        text: format!("allow every `{name}`"),
        edits: vec![Edit::Add(entry(name, &[]))],
    });
    if let Some(source) = source {
        let removed = Edit::Remove(source.name.clone());
        candidates.push(Remedy {
            text: format!("take `{name}` out of {}", source.entry),
            edits: vec![removed.clone()],
        });
        candidates.push(Remedy {
            text: format!("take `{name}` out of {} and allow it", source.entry),
            edits: vec![removed, Edit::Add(entry(name, &[]))],
        });
    }
    candidates.retain(|remedy| {
        edited(text, &remedy.edits).is_some_and(|text| allows(&text, context, call))
    });
    // Where the name needn't be allowed once it is out, that is enough.
    candidates.truncate(2);
    candidates.extend(capabilities(profile, context, call));
    candidates
}

/// The text of a profile after some changes.
pub(crate) fn edited(text: &str, edits: &[Edit]) -> Option<String> {
    edits.iter().try_fold(text.to_owned(), |text, edit| {
        let profile = Profile::parse(text.as_bytes()).ok()?;
        edit::apply(&text, &profile, edit)
    })
}

/// Whether a profile allows a call.
pub(crate) fn allows(text: &str, context: &Context, call: &Call) -> bool {
    let profile = Profile::parse(text.as_bytes()).ok();
    profile.is_some_and(|profile| profile_allows(&profile, context, call))
}

fn profile_allows(profile: &Profile, context: &Context, call: &Call) -> bool {
    resolve(profile, context).is_ok_and(|resolved| {
        let action = resolved.policy.decide(call).action;
        matches!(action, Action::Allow | Action::Log)
    })
}

/// Capabilities of which one is enough. They are more than the call, so they come last.
fn capabilities(profile: &Profile, context: &Context, call: &Call) -> Vec<Remedy> {
    if profile.format != Format::Docker {
        return Vec::new();
    }
    let named = profile
        .entries
        .iter()
        .flat_map(|entry| &entry.includes.caps);
    let missing: BTreeSet<&str> = named
        .copied()
        .filter(|cap| !context.capabilities.contains(cap))
        .collect();
    let enough = missing.into_iter().filter(|cap| {
        let with = context.capabilities.iter().chain([*cap]);
        Capabilities::named(with).is_ok_and(|capabilities| {
            let context = Context {
                capabilities,
                ..context.clone()
            };
            profile_allows(profile, &context, call)
        })
    });
    enough
        .map(|cap| Remedy {
            text: format!("give the container {cap} (--cap), with all that it brings"),
            edits: Vec::new(),
        })
        .collect()
}

fn entry(name: &str, exact: &[(u8, u64)]) -> String {
    let args = exact.iter().map(|(index, value)| {
        format!(r#"{{ "index": {index}, "value": {value}, "op": "SCMP_CMP_EQ" }}"#)
    });
    let args: Vec<_> = args.collect();
    let args = match &args[..] {
        [] => String::new(),
        args => format!(", \"args\": [{}]", args.join(", ")),
    };
    format!(r#"{{ "names": ["{name}"], "action": "SCMP_ACT_ALLOW"{args} }}"#)
}

fn in_words(arch: Arch, name: &str, exact: &[(u8, u64)]) -> String {
    let words = exact.iter().map(|(index, value)| {
        let argument = signatures::argument(arch, name, *index);
        let shown = call::display_arg(arch, argument.as_ref(), *value);
        match argument {
            Some(argument) => format!("{} {shown}", argument.name),
            None => format!("argument {index} equal to {shown}"),
        }
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// The ABI of a call that the policy has no rules for, and what would change that.
pub(crate) fn foreign(call: &Call, context: &Context) -> String {
    match Arch::of_call(call.audit, call.nr) {
        Some(arch) if context.arch.runs(arch) => {
            format!("add {} to the profile's architectures", arch.oci_name())
        }
        _ => "none: it is a call of an architecture that this kernel doesn't run".to_owned(),
    }
}
