//! The examples, run as their first lines say.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use callgate::probe;

/// Runs an example, if it is there and can run; says so if not.
fn example(name: &str, args: &[&str]) -> Option<Output> {
    let mut path = PathBuf::from(std::env::current_exe().unwrap().parent().unwrap());
    path.pop();
    path.push("examples");
    path.push(name);
    if !path.exists() || !probe::has_listener() {
        eprintln!(
            "skipped: example {name}: it isn't built (cargo test builds all), or this kernel has no listeners"
        );
        return None;
    }
    Some(Command::new(path).args(args).output().unwrap())
}

#[test]
fn a_path_that_is_not_there_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "served\n").unwrap();
    let file = file.to_str().unwrap();
    let command = ["/no/such/file", file, "cat", "/no/such/file"];
    let Some(served) = example("serve_file", &command) else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&served.stdout),
        "served\n",
        "{served:?}"
    );
    let other = example(
        "serve_file",
        &["/no/such/file", file, "cat", "/no/other/file"],
    )
    .unwrap();
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn nodes_are_made_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("null");
    let node = node.to_str().unwrap();
    let Some(output) = example("answer_mknod", &["mknod", "-m", "600", node, "c", "1", "3"]) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    assert!(fs::symlink_metadata(node).unwrap().is_file());
    let again = example("answer_mknod", &["mknod", node, "c", "1", "3"]).unwrap();
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("File exists"),
        "{again:?}"
    );
}
