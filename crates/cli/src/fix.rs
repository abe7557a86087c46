//! Mends what has one safe fix.
//!
//! A fix changes the text and nothing else, one place after the other. Before it is taken it is tried: the profile must then have less to
//! be said about it, and mean the same as before, in this context and in all others in which its entries come and go. The one
//! exception makes it stricter: a denial is made to hold whatever bits the kernel ignores.

use callgate::compiler::arch::Arch;
use callgate::compiler::notice::{Code, JsonPath, Place};
use callgate::compiler::policy::{Condition, Policy, resolve};
use callgate::compiler::profile::{Entry, Operator};
use callgate::compiler::signatures;
use callgate::{Action, Capabilities, Context, Profile};

use crate::diagnostics::{Diagnostic, Severity};
use crate::edit::{self, Edit};
use crate::tolerant;

/// The text with all that can be mended, and how many places were. `check` says what there is to say about a text.
pub(crate) fn fix(
    text: &str,
    context: &Context,
    check: impl Fn(&str) -> Vec<Diagnostic>,
) -> (String, usize) {
    let (mut text, mut count) = (text.to_owned(), 0);
    let mut said = check(&text);
    // Each fix leaves less to be said, so this ends.
    while let Some((mended, left)) = said.iter().find_map(|diagnostic| {
        let mended = mended(&text, diagnostic, context)?;
        let left = check(&mended);
        (left.len() < said.len() && errors(&left) <= errors(&said)).then_some((mended, left))
    }) {
        (text, said) = (mended, left);
        count += 1;
    }
    (text, count)
}

fn errors(said: &[Diagnostic]) -> usize {
    said.iter()
        .filter(|d| d.severity == Severity::Error)
        .count()
}

/// The text without what a diagnostic is about, if there is one safe way to that.
fn mended(text: &str, diagnostic: &Diagnostic, context: &Context) -> Option<String> {
    let tolerated = tolerant::tolerate(text.as_bytes());
    if diagnostic.code == Code::Tolerated {
        // Comments are worth keeping elsewhere, which is for their author to do.
        let mut bytes = text.as_bytes().to_vec();
        for comma in tolerated.commas.iter().rev() {
            bytes.remove(*comma);
        }
        return String::from_utf8(bytes)
            .ok()
            .filter(|mended| mended != text);
    }
    let Place::Path(path) = &diagnostic.place else {
        return None;
    };
    let profile = Profile::parse(&tolerated.bytes).ok()?;
    let edit = match diagnostic.code {
        Code::DeadRule | Code::RedundantRule => Edit::Remove(path.clone()),
        Code::IgnoredFlag => Edit::Drop(path.clone()),
        Code::NoNames => Edit::Drop(without_last(path)),
        Code::IgnoredValue => Edit::DropMember(path.member("valueTwo")),
        Code::HighBits => Edit::Replace(path.clone(), with_mask(&profile, path, context)?),
        _ => return None,
    };
    let mended = edit::apply(text, &profile, &edit)?;
    let new = Profile::parse(&tolerant::tolerate(mended.as_bytes()).bytes).ok()?;
    let means_the_same = || {
        let call = name_at(&profile, path);
        let contexts = contexts(&profile, context, call)?;
        let all = contexts.iter().all(|context| same(&profile, &new, context));
        Some(all).filter(|all| *all)
    };
    (diagnostic.code == Code::HighBits || means_the_same().is_some()).then_some(mended)
}

/// Whether the rules of a name decide nothing wherever entries on its call come and go. Entries for several capabilities overlap where a
/// container holds them all: that is how they are meant.
pub(crate) fn is_idle_everywhere(profile: &Profile, context: &Context, path: &JsonPath) -> bool {
    let Some(call) = name_at(profile, path).map(str::to_owned) else {
        return true;
    };
    let mut without = profile.clone();
    for entry in &mut without.entries {
        let index = (0..entry.names.len()).find(|index| entry.name_path(*index) == *path);
        if let Some(index) = index {
            entry.names.remove(index);
        }
    }
    let contexts = contexts(profile, context, Some(&call));
    contexts.is_none_or(|contexts| {
        contexts
            .iter()
            .all(|context| same(profile, &without, context))
    })
}

/// The name of a call that stands at a path.
fn name_at<'a>(profile: &'a Profile, path: &JsonPath) -> Option<&'a str> {
    let mut names = profile.entries.iter().flat_map(|entry| {
        let names = entry.names.iter().enumerate();
        names.map(move |(index, name)| (entry.name_path(index), name.as_str()))
    });
    names.find(|(at, _)| at == path).map(|(_, name)| name)
}

fn without_last(path: &JsonPath) -> JsonPath {
    use callgate::compiler::notice::Segment;
    let segments = path
        .segments()
        .split_last()
        .map_or(&[][..], |(_, rest)| rest);
    segments
        .iter()
        .fold(JsonPath::root(), |path, segment| match segment {
            Segment::Member(name) => path.member(name),
            Segment::Index(index) => path.index(*index),
        })
}

/// A condition of a denial that compares just the bits that the kernel takes.
fn with_mask(profile: &Profile, path: &JsonPath, context: &Context) -> Option<String> {
    let is_it = |entry: &&Entry| (0..entry.args.len()).any(|index| entry.arg_path(index) == *path);
    let entry = profile.entries.iter().find(is_it)?;
    let index = (0..entry.args.len()).find(|index| entry.arg_path(*index) == *path)?;
    let arg = entry.args[index];
    let denies = matches!(
        entry.action.on(context.arch),
        Action::Errno(_) | Action::KillProcess | Action::KillThread | Action::Trap
    );
    // An argument that is named twice makes each condition a rule of its own: no fix for that one.
    let once = entry
        .args
        .iter()
        .filter(|other| other.index == arg.index)
        .count()
        == 1;
    if arg.op != Operator::Eq || !denies || !once {
        return None;
    }
    let widths = entry.names.iter().map(|name| {
        let argument = signatures::argument(context.arch, name, arg.index);
        argument.map(|argument| argument.width.mask())
    });
    let widths: Vec<Option<u64>> = widths.collect();
    let mask = widths.first().copied().flatten()?;
    if widths.iter().any(|width| *width != Some(mask)) || arg.value > mask {
        return None;
    }
    let (index, value, op) = (arg.index, arg.value, Operator::MaskedEq.oci_name());
    Some(format!(
        "{{ \"index\": {index}, \"value\": {mask}, \"valueTwo\": {value}, \"op\": \"{op}\" }}"
    ))
}

/// So many capabilities may decide about one call: all their sets are tried.
const MOST_CAPABILITIES: usize = 6;

/// The given context, and those in which entries on a call come and go; nothing if those are too many to try.
fn contexts(profile: &Profile, context: &Context, call: Option<&str>) -> Option<Vec<Context>> {
    let concerned =
        |entry: &&Entry| call.is_none_or(|call| entry.names.iter().any(|name| name == call));
    let selectors = || {
        let entries = profile.entries.iter().filter(concerned);
        entries.flat_map(|entry| [&entry.includes, &entry.excludes])
    };
    let mut sets = vec![
        context.capabilities.clone(),
        Capabilities::none(),
        Capabilities::all(),
    ];
    if call.is_some() {
        let mut caps: Vec<&str> = selectors()
            .flat_map(|selector| selector.caps.iter().copied())
            .collect();
        caps.sort_unstable();
        caps.dedup();
        if caps.len() > MOST_CAPABILITIES {
            return None;
        }
        let subsets = (0_u32..1 << caps.len()).map(|set| {
            let members = caps
                .iter()
                .enumerate()
                .filter(|(bit, _)| set >> bit & 1 == 1);
            Capabilities::named(members.map(|(_, cap)| *cap))
        });
        sets.extend(subsets.flatten());
    }
    let mut kernels = vec![context.kernel];
    for version in selectors().filter_map(|selector| selector.min_kernel) {
        let before = callgate::KernelVersion {
            major: version.major,
            minor: version.minor.saturating_sub(1),
        };
        kernels.extend([version, before]);
    }
    kernels.sort_unstable();
    kernels.dedup();
    let archs: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| arch.is_native())
        .collect();
    let mut contexts = Vec::new();
    for arch in archs {
        for capabilities in &sets {
            contexts.extend(kernels.iter().map(|kernel| Context {
                arch,
                kernel: *kernel,
                capabilities: capabilities.clone(),
                ..context.clone()
            }));
        }
    }
    Some(contexts)
}

/// Whether two profiles mean the same in a context, or neither means anything.
fn same(a: &Profile, b: &Profile, context: &Context) -> bool {
    match (resolve(a, context), resolve(b, context)) {
        (Ok(a), Ok(b)) => {
            rules(&a.policy) == rules(&b.policy) && a.needs_listener == b.needs_listener
        }
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

/// All that a policy says of one number.
type Said<'a> = (Arch, u32, Vec<(Action, &'a [Condition])>);
/// An ABI, and the newest number that the policy knows there.
type Newest = (Arch, Option<u32>);

/// What a policy says, but for where its rules stand.
fn rules(policy: &Policy) -> (Action, Vec<Newest>, Vec<Said<'_>>) {
    let abis = policy.abis().map(|(arch, abi)| (arch, abi.newest()));
    let said = policy.abis().flat_map(|(arch, abi)| {
        abi.rules().map(move |(nr, rules)| {
            let rules = rules
                .iter()
                .map(|rule| (rule.action, rule.conditions.as_slice()));
            (arch, nr, rules.collect())
        })
    });
    (policy.default_action(), abis.collect(), said.collect())
}
