//! Runs both subcommands once, small: that they run, that verdicts agree, and that the tables come out.

use std::process::Command;

fn output(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_peers"))
        .args(arguments)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("tables are text")
}

#[test]
fn verdicts_agree_but_for_the_known_classes() {
    let report = output(&[
        "differential",
        "--profiles",
        "40",
        "--calls",
        "100",
        "--skip-real",
    ]);
    assert!(report.contains("40 profiles; "), "{report}");
    assert!(!report.contains("in no known class"), "{report}");
    assert!(!report.contains("time limit"), "{report}");
}

#[test]
fn figures_come_out() {
    let tables = output(&["figures", "--smoke"]);
    for title in [
        "## Instructions",
        "| load |",
        "| build |",
        "callgate's default, x86_64 alone",
    ] {
        assert!(tables.contains(title), "{title}: {tables}");
    }
}
