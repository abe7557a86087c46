//! A whole policy in lines.

use std::fmt::Write as _;

use callgate::Arch;
use callgate::compiler::policy::Policy;
use callgate::compiler::summary::{Conditional, ProgramSummary, Summary};
use callgate::compiler::syscalls;
use serde_json::{Value, json};

use crate::layout::{WIDTH, listed, wrapped};

pub(super) fn overview(policy: &Policy, as_json: bool) -> String {
    let summary = Summary::of(policy);
    if as_json {
        return format!("{:#}\n", to_json(policy, &summary));
    }
    let mut text = head(policy) + &plain(&summary, policy.native());
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

/// What instructions say, for each filter of a process.
pub(super) fn of_programs(summaries: &[ProgramSummary], native: Arch, as_json: bool) -> String {
    if as_json {
        let filters: Vec<Value> = summaries.iter().map(|s| program_json(s, native)).collect();
        let document = json!({ "schema": "callgate.explain.v1", "filters": filters });
        return format!("{document:#}\n");
    }
    let texts = summaries.iter().enumerate().map(|(index, summary)| {
        let title = match summaries.len() {
            1 => String::new(),
            several => format!("Filter {} of {several}, the newest first\n", index + 1),
        };
        title + &of_program(summary, native)
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn of_program(program: &ProgramSummary, native: Arch) -> String {
    let other = program.other_archs.map_or_else(
        || "depends on the call".to_owned(),
        |action| action.display(native).to_string(),
    );
    let mut text = format!(
        "Architectures: {}; a call of any other: {other}\n",
        listed(&program.archs)
    );
    text.push_str(&plain(&program.calls, native));
    if !program.calls.conditional.is_empty() {
        text.push_str("\nBy their arguments:\n");
    }
    for conditional in &program.calls.conditional {
        text.push_str(&lines(conditional, native));
    }
    if !program.unnamed.is_empty() {
        text.push_str("\nNumbers without a name:\n");
    }
    for numbers in &program.unnamed {
        let (arch, action) = (numbers.arch, numbers.action.display(native));
        let _ = match numbers.from == numbers.to {
            true => writeln!(text, "  {arch} {:#x}: {action}", numbers.from),
            false => writeln!(
                text,
                "  {arch} {:#x} to {:#x}: {action}",
                numbers.from, numbers.to
            ),
        };
    }
    text
}

fn program_json(program: &ProgramSummary, native: Arch) -> Value {
    let unnamed = program.unnamed.iter().map(|numbers| {
        json!({
            "architecture": numbers.arch.name(),
            "from": numbers.from,
            "to": numbers.to,
            "action": numbers.action.display(native),
        })
    });
    json!({
        "architectures": program.archs.iter().map(|arch| arch.name()).collect::<Vec<_>>(),
        "other_architectures": program.other_archs.map(|action| action.display(native)),
        "plain": plain_json(&program.calls, native),
        "conditional": conditional_json(&program.calls, native),
        "unnamed": unnamed.collect::<Vec<_>>(),
    })
}

/// Calls whose arguments don't count, by action.
fn plain(summary: &Summary, native: Arch) -> String {
    let mut text = String::new();
    for plain in &summary.plain {
        let (action, count) = (plain.action.display(native), plain.calls.len());
        let calls = if count == 1 { "call" } else { "calls" };
        let _ = writeln!(text, "\n{action}{}: {count} {calls}", scope(&plain.archs));
        let names = plain.calls.iter().map(String::as_str);
        text.push_str(&wrapped("  ", names, WIDTH));
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
    let abis = policy
        .abis()
        .map(|(arch, abi)| json!({ "name": arch.name(), "newest": abi.newest() }));
    json!({
        "schema": "callgate.explain.v1",
        "architectures": abis.collect::<Vec<_>>(),
        "default_action": policy.default_action().display(native),
        "other_architectures": policy.bad_arch().display(native),
        "newer_calls": policy.newer_call().map(|action| action.display(native)),
        "plain": plain_json(summary, native),
        "conditional": conditional_json(summary, native),
    })
}

fn archs_json(archs: &[Arch]) -> Value {
    match archs {
        [] => Value::Null,
        archs => archs.iter().map(|arch| arch.name()).collect(),
    }
}

fn plain_json(summary: &Summary, native: Arch) -> Value {
    let plain = summary.plain.iter().map(|plain| {
        json!({
            "action": plain.action.display(native),
            "architectures": archs_json(&plain.archs),
            "calls": plain.calls,
        })
    });
    plain.collect()
}

fn conditional_json(summary: &Summary, native: Arch) -> Value {
    let conditional = summary.conditional.iter().map(|conditional| {
        let cases = conditional.cases.iter().map(
            |case| json!({ "action": case.action.display(native), "condition": case.condition }),
        );
        json!({
            "call": conditional.call,
            "architectures": archs_json(&conditional.archs),
            "cases": cases.collect::<Vec<_>>(),
            "otherwise": conditional.otherwise.map(|action| action.display(native)),
        })
    });
    conditional.collect()
}
