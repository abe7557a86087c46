//! `callgate why`: what it says of commands, and that nothing is missed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use callgate::probe;
use serde_json::Value;

/// Five calls that containers may not make, each once by a thread and once by a grandchild that is gone at once.
const FIVE: &str = r#"
import ctypes, os, threading
libc = ctypes.CDLL(None)
calls = [lambda: libc.mount(b"none", b"/mnt", b"tmpfs", 0, None), lambda: libc.umount2(b"/nowhere", 0),
         lambda: libc.swapoff(b"/nowhere"), lambda: libc.setns(-1, 0), lambda: libc.unshare(0x10000000)]
def grandchild(call):
    if (child := os.fork()) == 0:
        if os.fork() == 0: call()
        os._exit(0)
    os.waitpid(child, 0)
threads = [threading.Thread(target=call) for call in calls] + [threading.Thread(target=grandchild, args=(call,)) for call in calls]
for thread in threads: thread.start()
for thread in threads: thread.join()
"#;

fn callgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(args)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Whether filters can be loaded here, and the programs are there; says so if not.
fn can(test: &str, programs: &[&str]) -> bool {
    if !probe::has_filters() {
        eprintln!("skipped: {test}: this kernel has no seccomp filters");
        return false;
    }
    for program in programs {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: {test}: needs {program}");
            return false;
        }
    }
    true
}

/// Moby's default profile where it is there, else the built-in one, which denies the same here.
fn profile() -> String {
    let moby = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/profiles/moby-default.json");
    if moby.exists() {
        return moby.to_str().unwrap().to_owned();
    }
    eprintln!("skipped: why on Moby's profile: no ../shared/data");
    "default".to_owned()
}

/// The report of a run as JSON, whose status must be this one.
fn report(status: i32, profile: &str, command: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let options = [
        "why",
        "-p",
        profile,
        "--json",
        "-o",
        path.to_str().unwrap(),
        "--",
    ];
    let output = callgate(&[&options, command].concat());
    assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn calls(report: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let calls = report["calls"].as_array().unwrap().iter();
    calls
        .map(|call| {
            let name = text(&call["call"]).split('(').next().unwrap().to_owned();
            (
                name,
                text(&call["outcome"]),
                call["count"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_denied_call_is_told_with_its_place_and_its_remedies() {
    if !can("a_denied_call_is_told", &["unshare", "mount"]) {
        return;
    }
    let profile = profile();
    let output = callgate(&["why", "-p", &profile, "--", "unshare", "-r", "true"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("callgate: one kind of call was denied"),
        "{said}"
    );
    assert!(said.contains("EPERM  once, by unshare["), "{said}");
    assert!(said.contains("denied by the default action: "), "{said}");
    assert!(
        said.contains(":2:19 defaultAction") || profile == "default",
        "{said}"
    );
    assert!(said.contains("1. allow `unshare` with"), "{said}");
    assert!(said.contains("2. allow every `unshare`"), "{said}");
    assert!(
        said.contains("3. give the container CAP_SYS_ADMIN"),
        "{said}"
    );

    let report = report(32, &profile, &["mount", "-t", "tmpfs", "none", "/mnt"]);
    let mount = &report["calls"][0];
    let text = mount["call"].as_str().unwrap();
    assert!(
        text.starts_with(r#"mount("none", "/mnt", "tmpfs"#),
        "{text}"
    );
    assert_eq!(mount["verdict"]["ground"], "default action");
    assert_eq!(report["calls"].as_array().unwrap().len(), 1);
}

#[test]
fn none_is_missed() {
    if !can("none_is_missed", &["python3"]) {
        return;
    }
    let runs = std::env::var("CALLGATE_RUNS").ok();
    let runs = runs.map_or(3, |runs| runs.parse().unwrap());
    if runs < 100 {
        eprintln!(
            "skipped: {} of 100 runs: CALLGATE_RUNS=100 makes all",
            100 - runs
        );
    }
    let profile = profile();
    for _ in 0..runs {
        let report = report(0, &profile, &["python3", "-c", FIVE]);
        for name in ["mount", "umount2", "swapoff", "setns", "unshare"] {
            let expected = (name.to_owned(), "EPERM".to_owned(), 2);
            assert!(calls(&report).contains(&expected), "{name}: {report:#}");
        }
    }
}

#[test]
fn what_is_written_allows_what_was_denied_and_nothing_else_changes() {
    if !can("what_is_written", &["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = ["before.json", "after.json"].map(|name| folder.path().join(name));
    let text = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [
    { "names": ["umount2", "setns"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5 },
    { "names": ["swapoff"], "action": "SCMP_ACT_ERRNO" },
    { "names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }
  ]
}"#;
    fs::write(&before, text).unwrap();
    let [before, after] = [&before, &after].map(|path| path.to_str().unwrap());
    let script = "import ctypes; libc = ctypes.CDLL(None); libc.swapoff(b'/x'); libc.umount2(b'/x', 0); libc.unshare(0)";
    let command = ["--", "python3", "-c", script];
    let options = ["why", "-p", before, "--write", after];
    let output = callgate(&[&options[..], &command[..]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let expected = text.replace("\"umount2\", ", "").replace(
        "{ \"names\": [\"swapoff\"], \"action\": \"SCMP_ACT_ERRNO\" },\n    ",
        "",
    );
    assert_eq!(fs::read_to_string(after).unwrap(), expected);
    let output = callgate(&[&["why", "-p", after][..], &command[..]].concat());
    let said = stderr(&output);
    assert!(
        said.starts_with("callgate: one kind of call was denied\n\nunshare("),
        "{said}"
    );
}

#[test]
fn what_the_kernel_refuses_is_not_put_on_the_profile() {
    if !can("what_the_kernel_refuses", &["python3"]) {
        return;
    }
    let script = "import os\ntry: os.link('/tmp', '/tmp/no-link')\nexcept PermissionError: pass";
    let output = callgate(&["why", "--", "python3", "-c", script]);
    let said = stderr(&output);
    assert!(said.contains("no call was denied by the filter"), "{said}");
    assert!(said.contains("  EPERM  once, by python3["), "{said}");
    assert!(said.contains("allowed by the filter"), "{said}");
}

#[test]
fn a_killing_call_is_told_before_the_end() {
    if !can("a_killing_call", &["sh"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killing.json");
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["getcwd"], "action": "SCMP_ACT_KILL_PROCESS" }] }"#;
    fs::write(&path, text).unwrap();
    let output = callgate(&["why", "-p", path.to_str().unwrap(), "--", "pwd", "-P"]);
    assert_eq!(output.status.code(), Some(128 + 31));
    let said = stderr(&output);
    assert!(said.starts_with("callgate: getcwd("), "{said}");
    assert!(said.contains(" kills the process: pwd["), "{said}");
    assert!(
        said.contains("1. take `getcwd` out of syscalls[0]"),
        "{said}"
    );
}

#[test]
fn statuses_are_those_of_run() {
    if !can("statuses_are_those_of_run", &["sh"]) {
        return;
    }
    let status = |command: &[&str]| {
        let output = callgate(&[&["why", "--"], command].concat());
        output.status.code().unwrap()
    };
    assert_eq!(status(&["true"]), 0);
    assert_eq!(status(&["sh", "-c", "exit 42"]), 42);
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), 128 + 15);
    assert_eq!(status(&["/nonexistent"]), 127);
    assert_eq!(status(&["/etc/passwd"]), 126);
    assert_eq!(callgate(&["why"]).status.code(), Some(125));
    assert_eq!(
        callgate(&["why", "-p", "/nonexistent", "--", "true"])
            .status
            .code(),
        Some(125)
    );
    // Nobody is traced twice.
    let binary = env!("CARGO_BIN_EXE_callgate");
    assert_eq!(status(&[binary, "why", "--", "true"]), 125);
}

#[test]
fn root_is_not_needed() {
    if !can("root_is_not_needed", &["setpriv"]) {
        return;
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([
            env!("CARGO_BIN_EXE_callgate"),
            "why",
            "--",
            "unshare",
            "-r",
            "true",
        ])
        .output()
        .unwrap();
    let said = stderr(&output);
    if said.contains("setpriv:") || said.contains("Permission denied") {
        return eprintln!("skipped: root_is_not_needed: {}", said.trim());
    }
    assert!(said.contains("EPERM  once, by unshare["), "{said}");
}
