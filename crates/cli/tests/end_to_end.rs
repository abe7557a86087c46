//! The command from outside: exit codes, files, pipes, and other programs that take its filters.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use callgate::probe;

fn callgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(args)
        .output()
        .unwrap()
}

fn status(args: &[&str]) -> i32 {
    callgate(args).status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata")
        .join(path)
}

/// Whether filters can be loaded here; says so if not.
fn has_seccomp(test: &str) -> bool {
    if !probe::has_filters() {
        eprintln!("skipped: {test}: this kernel has no seccomp filters");
    }
    probe::has_filters()
}

fn profile(folder: &Path, text: &str) -> String {
    let path = folder.join("profile.json");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn run_passes_the_status_on() {
    if !has_seccomp("run_passes_the_status_on") {
        return;
    }
    assert_eq!(status(&["run", "--", "true"]), 0);
    assert_eq!(status(&["run", "--", "sh", "-c", "exit 42"]), 42);
    assert_eq!(
        status(&["run", "--", "sh", "-c", "kill -TERM $$"]),
        128 + 15
    );
    assert_eq!(status(&["run", "--", "/nonexistent"]), 127);
    assert_eq!(status(&["run", "--", "/etc/passwd"]), 126);
}

#[test]
fn runs_own_failures_are_125() {
    assert_eq!(status(&["run"]), 125);
    assert_eq!(status(&["run", "--frobnicate", "--", "true"]), 125);
    assert_eq!(status(&["--color", "never", "run"]), 125);
    assert_eq!(status(&["--color=never", "run"]), 125);
    assert_eq!(status(&["--color", "run", "compile"]), 2);
    assert_eq!(status(&["run", "-p", "/nonexistent", "--", "true"]), 125);
    let broken = testdata("cli/typo.json");
    assert_eq!(
        status(&["run", "-p", broken.to_str().unwrap(), "--", "true"]),
        125
    );
    assert_eq!(status(&["run", "--arch", "s390x", "--", "true"]), 125);
}

#[test]
fn run_explains_a_sigsys() {
    if !has_seccomp("run_explains_a_sigsys") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["getcwd"], "action": "SCMP_ACT_KILL_PROCESS" }] }"#;
    let output = callgate(&[
        "run",
        "-p",
        &profile(folder.path(), text),
        "--",
        "pwd",
        "-P",
    ]);
    assert_eq!(output.status.code(), Some(128 + 31));
    assert!(stderr(&output).contains("SIGSYS"), "{}", stderr(&output));
}

#[test]
fn run_says_when_the_profile_denies_the_start() {
    if !has_seccomp("run_says_when_the_profile_denies_the_start") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_ERRNO" }] }"#;
    let output = callgate(&["run", "-p", &profile(folder.path(), text), "--", "true"]);
    assert_eq!(output.status.code(), Some(126));
    assert!(
        stderr(&output).contains("ERRNO(EPERM) of execve"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn run_needs_no_root() {
    if !has_seccomp("run_needs_no_root") {
        return;
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        env!("CARGO_BIN_EXE_callgate"),
        "run",
        "--",
        "true",
    ]);
    match command.output() {
        Ok(output)
            if stderr(&output).contains("setpriv:")
                || stderr(&output).contains("Permission denied") =>
        {
            eprintln!("skipped: run_needs_no_root: {}", stderr(&output).trim());
        }
        Ok(output) => assert!(output.status.success(), "{}", stderr(&output)),
        Err(error) => eprintln!("skipped: run_needs_no_root: setpriv: {error}"),
    }
}

#[test]
fn signals_are_passed_on() {
    if !has_seccomp("signals_are_passed_on") {
        return;
    }
    for command in ["run", "why"] {
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
        let mut child = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args([command, "--", "sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        callgate::process::send_signal(child.id(), 15).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7), "{command}");
    }
}

#[test]
fn run_logs_what_is_denied_and_denies_it_all_the_same() {
    let test = "run_logs_what_is_denied";
    if !has_seccomp(test) || !probe::has_listener() {
        return eprintln!("skipped: {test}: this kernel has no listeners");
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["chdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2 },
        { "names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": [{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }] } ] }"#;
    let profile = profile(folder.path(), text);
    let script = "cd /tmp || (cd /usr || echo no); echo never >&2; exit 7";
    let log_path = log.to_str().unwrap();
    let output = callgate(&[
        "run", "-p", &profile, "--log", log_path, "--", "sh", "-c", script,
    ]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no\n");
    let log = fs::read_to_string(log).unwrap();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lines: Vec<_> = lines
        .map(|line| (line["call"].clone(), line["verdict"]["action"].clone()))
        .collect();
    assert_eq!(lines[0], ("chdir(\"/tmp\")".into(), "ERRNO(ENOENT)".into()));
    assert!(
        lines.iter().any(|line| line.0 == "chdir(\"/usr\")"),
        "{lines:?}"
    );
    // The last is the sum of them.
    assert_eq!(lines[lines.len() - 2].1, "ERRNO(ENOSPC)");
    assert!(
        log.lines()
            .last()
            .unwrap()
            .contains("take `chdir` out of syscalls[0]")
    );
}

#[test]
fn a_listener_is_refused_rather_than_left_unserved() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_NOTIFY" }] }"#;
    assert_eq!(
        status(&["run", "-p", &profile(folder.path(), text), "--", "true"]),
        125
    );
}

#[test]
fn every_broken_profile_ends_with_2_and_a_place_and_loads_nothing() {
    let mut count = 0;
    for entry in fs::read_dir(testdata("profiles/broken")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        count += 1;
        let path = path.to_str().unwrap();
        let strict = [
            "compile", path, "--strict", "--arch", "x86_64", "--kernel", "6.18", "--format",
            "base64",
        ];
        let output = callgate(&strict);
        assert_eq!(output.status.code(), Some(2), "{path}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{path}");
        assert!(
            stderr(&output).starts_with("error[CG00"),
            "{path}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(path),
            "{path}: {}",
            stderr(&output)
        );
        let run = callgate(&["run", "-p", path, "--strict", "--", "echo", "it ran"]);
        assert_eq!(
            (run.status.code(), run.stdout.len()),
            (Some(125), 0),
            "{path}"
        );
    }
    assert!(count >= 40, "only {count}");
}

#[test]
fn a_file_appears_complete_or_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.bpf");
    let file = file.to_str().unwrap();
    assert_eq!(status(&["compile", "default", "--quiet", "-o", file]), 0);
    let there = fs::read(file).unwrap();
    assert!(there.len() > 100 && there.len() % 8 == 0);

    let broken = testdata("cli/typo.json");
    assert_eq!(
        status(&["compile", broken.to_str().unwrap(), "-o", file]),
        2
    );
    assert_eq!(fs::read(file).unwrap(), there);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(
        status(&["compile", "default", "-o", "/nonexistent/filter.bpf"]),
        2
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    let mut child = command
        .arg("syscalls")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
}

/// The output of a command that nobody reads, and how it ended.
fn unread(args: &[&str]) -> (Option<i32>, String) {
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let writer = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    let output = command
        .args(args)
        .stdout(Stdio::from(writer))
        .output()
        .unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_check_fails_though_nobody_reads_why() {
    let small = testdata("cli/small.json");
    let small = small.to_str().unwrap();
    let quiet = |status| (Some(status), String::new());
    assert_eq!(
        unread(&["simulate", small, "read", "--expect", "ALLOW"]),
        quiet(0)
    );
    assert_eq!(
        unread(&["simulate", small, "read", "--expect", "TRAP"]),
        quiet(1)
    );
    assert_eq!(unread(&["prove", small, "default"]), quiet(1));
    assert_eq!(unread(&["disassemble", small]), quiet(0));
}

#[test]
fn an_expectation_is_held_against_something() {
    let no_calls = [
        "simulate",
        "default",
        "-f",
        "/dev/null",
        "--expect",
        "ALLOW",
    ];
    assert_eq!(status(&no_calls), 2);
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("filter"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(
        status(&[
            "compile",
            "default",
            "--quiet",
            "-o",
            link.to_str().unwrap()
        ]),
        0
    );
    assert!(link.is_symlink() && !file.is_symlink());
    assert!(fs::read(&file).unwrap().len() > 100);
}

#[test]
fn a_profile_that_is_all_mistakes_is_told_in_bounded_time() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..3000).map(|n| format!("\"no_such_{n}\"")).collect();
    let text = format!(
        r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{ "action": "SCMP_ACT_ALLOW", "names": [{}] }}] }}"#,
        names.join(",\n")
    );
    let path = profile(folder.path(), &text);
    // Where each notice reads the whole profile anew this takes minutes.
    let output = Command::new("timeout")
        .args([
            "60",
            env!("CARGO_BIN_EXE_callgate"),
            "compile",
            &path,
            "--format",
            "base64",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert!(stderr(&output).contains(":3000:1\n"));
}

#[test]
fn a_profile_comes_from_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command
        .args(["simulate", "-", "getpid", "--expect", "LOG"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(br#"{ "defaultAction": "SCMP_ACT_LOG" }"#)
        .unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_raw_filter_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for arch in ["x86_64", "s390x"] {
        let file = folder.path().join(arch);
        let file = file.to_str().unwrap();
        let small = testdata("cli/small.json");
        let small = small.to_str().unwrap();
        assert_eq!(status(&["compile", small, "--arch", arch, "-o", file]), 0);
        let of = |filter: &str| {
            let output = callgate(&["disassemble", filter, "--arch", arch]);
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(of(file), of(small));
        assert!(of(file).contains(arch));
        assert_eq!(
            status(&[
                "simulate", file, "--arch", arch, "read()", "--expect", "ALLOW"
            ]),
            0
        );
    }
}

#[test]
fn the_filters_of_a_process_are_read_and_answer_together() {
    let test = "the_filters_of_a_process_are_read_and_answer_together";
    if !has_seccomp(test) {
        return;
    }
    if !probe::may_load_without_no_new_privs() {
        return eprintln!("skipped: {test}: needs CAP_SYS_ADMIN");
    }
    let folder = tempfile::tempdir().unwrap();
    let outer = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mount", "ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5 }] }"#;
    let inner = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 6 }, { "names": ["ptrace"], "action": "SCMP_ACT_LOG" }] }"#;
    let outer = profile(folder.path(), outer);
    let inner = {
        let inner_folder = folder.path().join("inner");
        fs::create_dir(&inner_folder).unwrap();
        profile(&inner_folder, inner)
    };
    let binary = env!("CARGO_BIN_EXE_callgate");
    let mut command = Command::new(binary);
    command.args([
        "run",
        "-p",
        &outer,
        "--",
        binary,
        "run",
        "-p",
        &inner,
        "--",
        "sh",
        "-c",
        "echo $$; read line",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut pid).unwrap();
    let process = format!("pid:{}", pid.trim());

    let expected = [
        ("mount()", "ERRNO(6)"),
        ("ptrace()", "ERRNO(5)"),
        ("read()", "ALLOW"),
    ];
    for (call, action) in expected {
        let output = callgate(&["simulate", &process, call, "--expect", action]);
        assert!(output.status.success(), "{call}: {output:?}");
    }
    let text = String::from_utf8(callgate(&["disassemble", &process]).stdout).unwrap();
    assert!(text.contains("filter 2 of 2"), "{text}");
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(status(&["simulate", "pid:1", "read()"]), 2);
    assert_eq!(status(&["simulate", "pid:x", "read()"]), 2);
}

#[test]
fn bubblewrap_takes_the_raw_filter() {
    let test = "bubblewrap_takes_the_raw_filter";
    if !has_seccomp(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.bpf");
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["chdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2 }] }"#;
    assert_eq!(
        status(&[
            "compile",
            &profile(folder.path(), text),
            "-o",
            file.to_str().unwrap()
        ]),
        0
    );
    let script = format!(
        "exec bwrap --ro-bind / / --seccomp 3 sh -c 'cd / && echo allowed || echo denied' 3<{}",
        file.display()
    );
    let plain = Command::new("bwrap")
        .args(["--ro-bind", "/", "/", "true"])
        .output();
    match plain {
        Ok(output) if output.status.success() => {}
        Ok(output) => return eprintln!("skipped: {test}: {}", stderr(&output).trim()),
        Err(error) => return eprintln!("skipped: {test}: bwrap: {error}"),
    }
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "denied\n",
        "{}",
        stderr(&output)
    );
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            String::from_utf8(callgate(&["completions", shell]).stdout)
                .unwrap()
                .contains("disassemble")
        );
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        status(&["man", "--folder", folder.path().to_str().unwrap()]),
        0
    );
    assert!(
        fs::read_to_string(folder.path().join("callgate-run.1"))
            .unwrap()
            .contains("no_new_privs")
    );
}

#[test]
fn a_real_profile_is_explained_on_two_screens() {
    let moby = testdata("../../shared/data/profiles/moby-default.json");
    if !moby.exists() {
        eprintln!(
            "skipped: a_real_profile_is_explained_on_two_screens: needs ../shared/data/profiles"
        );
        return;
    }
    let context = ["--arch", "x86_64", "--kernel", "6.18"];
    let output = callgate(&[&["explain", moby.to_str().unwrap()], &context[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() <= 64, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    for line in [
        "  socket: ALLOW if family not in {AF_ALG, AF_VSOCK}",
        "ERRNO(ENOSYS): 1 call",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
}

#[test]
fn instructions_are_explained_without_their_profile() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("filter.bpf");
    let raw = raw.to_str().unwrap();
    let small = testdata("cli/small.json");
    let context = ["--arch", "x86_64", "--kernel", "6.18"];
    let compile = ["compile", small.to_str().unwrap(), "-o", raw];
    assert_eq!(status(&[&compile[..], &context].concat()), 0);
    let output = callgate(&[&["explain", raw], &context[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "Architectures: x86_64; a call of any other: KILL_THREAD",
        "  personality: ALLOW if personality == PER_LINUX32; ERRNO(EPERM) otherwise",
        "ALLOW: 2 calls",
        "  read write",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
}
