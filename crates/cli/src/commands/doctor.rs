//! `callgate doctor`: what this kernel supports, and what is in the way.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use callgate::compiler::profile::Flag;
use callgate::{Action, probe};
use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::layout::{WIDTH, wrapped};
use crate::output;

/// Say what this kernel supports of seccomp, and what is in the way of it
///
/// The kernel is asked, not its version. Nothing is loaded.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate doctor
  callgate doctor --json

Exit status: 0 if filters can be loaded here, 1 if not.")]
pub(crate) struct Options {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
struct Fact {
    /// What it is called in JSON.
    key: String,
    what: String,
    /// Whether it is as one would want it; nothing if that can't be told, or is a matter of taste.
    good: Option<bool>,
    value: String,
    /// What it means for whom.
    note: Option<&'static str>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let facts = facts();
    let text = if options.json {
        format!("{:#}\n", to_json(&facts))
    } else {
        facts.iter().map(line).collect()
    };
    output::print(&text)?;
    Ok(ExitCode::from(u8::from(!probe::has_filters())))
}

fn facts() -> Vec<Fact> {
    let mut facts = vec![kernel(), architecture()];
    let has = |key: &str, what: &str, has: bool, note: &'static str| Fact {
        key: key.to_owned(),
        what: what.to_owned(),
        good: Some(has),
        value: if has { "yes" } else { "no" }.to_owned(),
        note: Some(note).filter(|_| !has),
    };
    facts.push(has(
        "filters",
        "filters",
        probe::has_filters(),
        "the kernel has no CONFIG_SECCOMP_FILTER, or a filter here denies seccomp(2): nothing can be loaded",
    ));
    facts.push(has(
        "listener",
        "listeners (NOTIFY)",
        probe::has_listener() && probe::has_action(Action::Notify),
        "since Linux 5.0; profiles with SCMP_ACT_NOTIFY can't be loaded",
    ));
    for flag in Flag::ALL {
        let name = flag.oci_name().trim_start_matches("SECCOMP_FILTER_FLAG_");
        let note = match flag {
            Flag::Tsync => "since Linux 3.17",
            Flag::Log => "since Linux 4.14",
            Flag::SpecAllow => "since Linux 4.17",
            Flag::WaitKillableRecv => "since Linux 5.19",
        };
        facts.push(has(
            &format!("flag {name}"),
            &format!("flag {name}"),
            probe::has_flag(flag),
            note,
        ));
    }
    for action in [Action::KillProcess, Action::Log] {
        let what = format!("action {action}");
        facts.push(has(
            &what,
            &what,
            probe::has_action(action),
            "since Linux 4.14",
        ));
    }
    facts.extend([jit(), privileges(), stacked()]);
    facts.extend(settings());
    facts
}

fn kernel() -> Fact {
    let version = probe::kernel_version();
    Fact {
        key: "kernel".to_owned(),
        what: "kernel".to_owned(),
        good: version.map(|_| true),
        value: version.map_or_else(|| "unknown".to_owned(), |version| version.to_string()),
        note: version
            .is_none()
            .then_some("say --kernel to the other commands"),
    }
}

fn architecture() -> Fact {
    let arch = probe::native_arch();
    Fact {
        key: "architecture".to_owned(),
        what: "architecture".to_owned(),
        good: Some(arch.is_some()),
        value: arch.map_or("unknown", |arch| arch.name()).to_owned(),
        note: arch
            .is_none()
            .then_some("it is none of the runtime-spec's: say --arch to the other commands"),
    }
}

fn jit() -> Fact {
    let jit = probe::jit();
    let value = match jit {
        Some(true) => "yes",
        Some(false) => "no",
        None => "the kernel doesn't say",
    };
    Fact {
        key: "jit".to_owned(),
        what: "filters as machine code".to_owned(),
        good: jit,
        value: value.to_owned(),
        note: (jit == Some(false))
            .then_some("net.core.bpf_jit_enable is 0: each call runs its filter some times slower"),
    }
}

fn privileges() -> Fact {
    let may = probe::may_load_without_no_new_privs();
    Fact {
        key: "may_load_without_no_new_privs".to_owned(),
        what: "loading without no_new_privs".to_owned(),
        good: None,
        value: if may { "yes" } else { "no" }.to_owned(),
        note: (!may)
            .then_some("`run` sets no_new_privs, so set-user-ID programs gain nothing in it"),
    }
}

/// Whether this process is filtered already.
fn stacked() -> Fact {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim().to_owned())
    };
    let filtered = field("Seccomp").as_deref() == Some("2");
    let count = field("Seccomp_filters");
    let value = match (filtered, count) {
        (false, _) => "none".to_owned(),
        (true, Some(count)) => count,
        (true, None) => "some".to_owned(),
    };
    Fact {
        key: "filters_here".to_owned(),
        what: "filters on this process".to_owned(),
        good: Some(!filtered),
        value,
        note: filtered.then_some(
            "what `run` starts is bound by them too: the most severe answer of all filters counts",
        ),
    }
}

/// Settings of the kernel that have to do with it.
fn settings() -> Vec<Fact> {
    let known: [(&str, &str, &str); 5] = [
        (
            "kernel/seccomp/actions_logged",
            "logged actions",
            "of those, calls are logged if the filter asks for it",
        ),
        (
            "kernel/yama/ptrace_scope",
            "ptrace_scope",
            "3 forbids ptrace altogether, and with it `why`",
        ),
        (
            "kernel/io_uring_disabled",
            "io_uring_disabled",
            "0 leaves rings to the filter, 2 turns them off for all",
        ),
        (
            "kernel/unprivileged_userns_clone",
            "unprivileged user namespaces",
            "",
        ),
        (
            "dev/tty/legacy_tiocsti",
            "legacy_tiocsti",
            "1 lets a program type into the terminal that `run` leaves it on",
        ),
    ];
    let facts = known.into_iter().filter_map(|(path, what, note)| {
        let value = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
        Some(Fact {
            key: path.replace('/', "."),
            what: what.to_owned(),
            good: None,
            value: value.trim().to_owned(),
            note: Some(note).filter(|note| !note.is_empty()),
        })
    });
    facts.collect()
}

fn line(fact: &Fact) -> String {
    let mark = match fact.good {
        Some(true) => "ok",
        Some(false) => "--",
        None => "  ",
    };
    let mut text = String::new();
    let _ = writeln!(text, "{mark}  {:<30} {}", fact.what, fact.value);
    if let Some(note) = fact.note {
        text.push_str(&wrapped(&" ".repeat(6), note.split(' '), WIDTH));
    }
    text
}

fn to_json(facts: &[Fact]) -> Value {
    let facts = facts.iter().map(|fact| {
        json!({ "name": fact.key, "value": fact.value, "good": fact.good, "note": fact.note })
    });
    json!({ "schema": "callgate.doctor.v1", "facts": facts.collect::<Vec<_>>() })
}
