//! A whole policy in lines.

use std::fmt::Write as _;

use callgate::Arch;
use callgate::compiler::policy::Policy;
use callgate::compiler::summary::{Conditional, Plain, Summary};
use callgate::compiler::syscalls;
use serde_json::{Value, json};

use crate::layout::{WIDTH, listed, wrapped};

pub(super) fn overview(policy: &Policy, as_json: bool) -> String {
    let summary = Summary::of(policy);
    if as_json {
        return format!("{:#}\n", to_json(policy, &summary));
    }
    let mut text = head(policy);
    for plain in &summary.plain {
        let (action, count) = (plain.action.display(policy.native()), plain.calls.len());
        let calls = if count == 1 { "call" } else { "calls" };
        let _ = writeln!(text, "\n{action}{}: {count} {calls}", scope(&plain.archs));
        text.push_str(&wrapped(
            "  ",
            plain.calls.iter().map(String::as_str),
            WIDTH,
        ));
    }
    if !summary.conditional.is_empty() {
        let _ = writeln!(
            text,
            "\nBy their arguments, else {}:",
            policy.default_action().display(policy.native())
        );
    }
    for conditional in &summary.conditional {
        text.push_str(&lines(conditional, policy.native()));
    }
    text
}

/// What holds for all calls that are not named.
fn head(policy: &Policy) -> String {
    let native = policy.native();
    let archs: Vec<Arch> = policy.abis().map(|(arch, _)| arch).collect();
    let mut text = format!(
        "Architectures: {}; a call of any other: {}\n",
        listed(&archs),
        policy.bad_arch().display(native)
    );
    if archs.contains(&Arch::X86_64) && !archs.contains(&Arch::X32) {
        let _ = writeln!(
            text,
            "Numbers of x32: {}",
            policy.bad_arch().display(native)
        );
    }
    let _ = writeln!(text, "Default: {}", policy.default_action().display(native));
    let mut newest: Vec<(String, Vec<Arch>)> = Vec::new();
    for (arch, nr) in policy
        .abis()
        .filter_map(|(arch, abi)| Some((arch, abi.newest()?)))
    {
        let name = syscalls::name(arch, nr).map_or_else(|| format!("{nr:#x}"), str::to_owned);
        match newest.iter_mut().find(|(known, _)| *known == name) {
            Some((_, archs)) => archs.push(arch),
            None => newest.push((name, vec![arch])),
        }
    }
    let newest: Vec<String> = newest
        .iter()
        .map(|(name, on)| match on.len() == archs.len() {
            true => name.clone(),
            false => format!("{name}{}", scope(on)),
        })
        .collect();
    if let Some(action) = policy.newer_call().filter(|_| !newest.is_empty()) {
        let line = format!(
            "Numbers above the newest that is named ({}): {}",
            newest.join(", "),
            action.display(native)
        );
        text.push_str(&wrapped("", line.split(' '), WIDTH));
    }
    text
}

fn scope(archs: &[Arch]) -> String {
    match archs {
        [] => String::new(),
        archs => format!(" on {}", listed(archs)),
    }
}

/// `  socket: ALLOW if family not in {AF_ALG, AF_VSOCK}`
fn lines(conditional: &Conditional, native: Arch) -> String {
    let first = format!("  {}{}:", conditional.call, scope(&conditional.archs));
    let mut cases: Vec<String> = conditional
        .cases
        .iter()
        .map(|case| format!("{} if {}", case.action.display(native), case.condition))
        .collect();
    if let Some(action) = conditional.otherwise {
        cases.push(format!("{} otherwise", action.display(native)));
    }
    let words = cases.join("; ");
    // Indented by four, and not by the length of the name.
    let text = wrapped("    ", words.split(' '), WIDTH);
    let on_one_line = format!("{first} {words}\n");
    if on_one_line.chars().count() <= WIDTH {
        on_one_line
    } else {
        format!("{first}\n{text}")
    }
}

fn to_json(policy: &Policy, summary: &Summary) -> Value {
    let native = policy.native();
    let archs = |archs: &[Arch]| match archs {
        [] => Value::Null,
        archs => archs.iter().map(|arch| arch.name()).collect(),
    };
    let plain = |plain: &Plain| {
        json!({
            "action": plain.action.display(native),
            "architectures": archs(&plain.archs),
            "calls": plain.calls,
        })
    };
    let conditional = |conditional: &Conditional| {
        let cases = conditional.cases.iter().map(
            |case| json!({ "action": case.action.display(native), "condition": case.condition }),
        );
        json!({
            "call": conditional.call,
            "architectures": archs(&conditional.archs),
            "cases": cases.collect::<Vec<_>>(),
            "otherwise": conditional.otherwise.map(|action| action.display(native)),
        })
    };
    let abis = policy
        .abis()
        .map(|(arch, abi)| json!({ "name": arch.name(), "newest": abi.newest() }));
    json!({
        "schema": "callgate.explain.v1",
        "architectures": abis.collect::<Vec<_>>(),
        "default_action": policy.default_action().display(native),
        "other_architectures": policy.bad_arch().display(native),
        "newer_calls": policy.newer_call().map(|action| action.display(native)),
        "plain": summary.plain.iter().map(plain).collect::<Vec<_>>(),
        "conditional": summary.conditional.iter().map(conditional).collect::<Vec<_>>(),
    })
}
