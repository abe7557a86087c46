//! Runs a test's body in a process of its own, since a filter is for good.

use std::process::{Command, ExitStatus};

const CHILD: &str = "CALLGATE_TEST_CHILD";

/// In the parent: runs the test of this name again in a child, and returns how that ended. In the child: runs the
/// body, and ends with 0, or with 101 if it panics.
pub fn in_child(test: &str, body: impl FnOnce()) -> ExitStatus {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        body();
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test);
    command.status().unwrap()
}

/// Asserts that the body runs to its end in a child.
pub fn passes_in_child(test: &str, body: impl FnOnce()) {
    let status = in_child(test, body);
    assert!(status.success(), "{test} in a child: {status}");
}
