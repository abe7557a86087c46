//! The house rules hold: `cargo xtask tidy`, as a test.

#[test]
fn house_rules_hold() {
    let findings = xtask::tidy::tidy(&xtask::workspace_root()).unwrap();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}
