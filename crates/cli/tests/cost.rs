//! `callgate cost` from outside: its JSON, and measuring.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::process::{Command, Output};

use callgate::probe;

fn callgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn cost_is_counted_and_measured() {
    let counted = callgate(&[
        "cost", "--json", "default", "--arch", "x86_64", "--kernel", "6.18",
    ]);
    let document: serde_json::Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(document["schema"], "callgate.cost.v1");
    let size = document["filters"][0]["converted"].as_u64().unwrap();
    assert_eq!(document["budget_left"], 32768 - 4 - size);
    let native = &document["abis"][0];
    assert_eq!(native["arch"], "x86_64");
    let has =
        |list: &serde_json::Value, name: &str| list.as_array().unwrap().contains(&name.into());
    assert!(has(&native["cached"], "getppid"));
    assert!(has(
        &native["not_cached"]["depends on more than the number"],
        "clone"
    ));
    if !probe::has_filters() {
        return eprintln!(
            "skipped: cost_is_counted_and_measured: this kernel has no seccomp filters"
        );
    }
    let measured = callgate(&["cost", "--measure", "default"]);
    let text = String::from_utf8(measured.stdout).unwrap();
    assert!(
        text.contains("\ngetppid takes "),
        "{text}{}",
        String::from_utf8_lossy(&measured.stderr)
    );
}
