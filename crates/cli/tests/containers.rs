//! `instrument` and `agent` with a real container runtime: containers see what they would have seen, and somebody knows of it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use callgate::probe;
use callgate::process::send_signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Makes calls of every fate, and prints what each came to.
const CALLS: &str = r#"
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    result = getattr(libc, name)(*args)
    print(name, args[:1], ctypes.get_errno() if result == -1 else "done", flush=True)
    ctypes.set_errno(0)
call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
call("umount2", b"/nowhere", 0)
call("swapoff", b"/nowhere")
call("setns", -1, 0)
call("unshare", 0x10000000)
call("personality", 8)
call("personality", 5)
call("socket", 1, 1, 0)
call("socket", 40, 1, 0)
call("mkdir", b"/proc/no", 0)
for number in 425, 428, 430, 435, 5000: # io_uring_setup, open_tree, fsopen, clone3, and one that no kernel has
    call("syscall", number, 0, 0)
"#;

/// A place for containers: a root filesystem of the host's programs, an agent's socket and its log.
struct Place {
    folder: TempDir,
}

impl Place {
    /// `None`, and a word on why, where no container can be run.
    fn new(test: &str) -> Option<Place> {
        let skip = |why: &str| eprintln!("skipped: {test}: {why}");
        if !probe::may_load_without_no_new_privs() || !probe::has_listener() {
            skip("needs root, and a kernel with listeners");
            return None;
        }
        if Command::new("runc").arg("--version").output().is_err() {
            skip("needs runc");
            return None;
        }
        if !Path::new("/usr/bin/python3").exists() {
            skip("needs /usr/bin/python3");
            return None;
        }
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
        };
        let plain = place.bundle("plain", "echo here", None);
        let output = place.run(&plain);
        if output.stdout != b"here\n" {
            skip(&format!("runc runs nothing here: {}", said(&output)));
            return None;
        }
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A bundle whose container runs a shell script under a profile.
    fn bundle(&self, name: &str, script: &str, seccomp: Option<&Value>) -> PathBuf {
        let bundle = self.path(name);
        for folder in ["usr", "bin", "lib", "lib64", "proc", "dev", "tmp"] {
            fs::create_dir_all(bundle.join("rootfs").join(folder)).unwrap();
        }
        let made = Command::new("runc")
            .arg("spec")
            .current_dir(&bundle)
            .output();
        assert!(made.unwrap().status.success());
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] == "/proc" || mount["destination"] == "/dev");
        for folder in ["/usr", "/bin", "/lib", "/lib64"] {
            if Path::new(folder).exists() {
                mounts.push(json!({ "destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro"] }));
            }
        }
        if let Some(seccomp) = seccomp {
            config["linux"]["seccomp"] = seccomp.clone();
        }
        fs::write(path, config.to_string()).unwrap();
        bundle
    }

    /// A bundle with a profile that is instrumented.
    fn instrumented(&self, name: &str, script: &str) -> PathBuf {
        let bundle = self.bundle(name, script, Some(&profile()));
        let config = bundle.join("config.json");
        let config = config.to_str().unwrap();
        let socket = self.path("agent.sock");
        let output = callgate(&[
            "instrument",
            config,
            "--listener",
            socket.to_str().unwrap(),
            "-o",
            config,
        ]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("names ask the agent"));
        bundle
    }

    fn runc(&self, bundle: &Path) -> Command {
        let name = bundle.file_name().unwrap().to_str().unwrap();
        let mut command = Command::new("timeout");
        command
            .args(["60", "runc", "--root"])
            .arg(self.path("state"));
        command.args(["run", "--bundle"]).arg(bundle);
        command.arg(format!("callgate-{}-{name}", std::process::id()));
        command
    }

    fn run(&self, bundle: &Path) -> Output {
        self.runc(bundle).output().unwrap()
    }

    fn agent(&self) -> Agent {
        self.agent_with(&[])
    }

    fn agent_with(&self, options: &[&str]) -> Agent {
        let socket = self.path("agent.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .arg("agent")
            .args(options)
            .arg("--socket")
            .arg(socket)
            .arg("--log")
            .arg(self.path("log"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("listening at"), "{line}");
        Agent(child)
    }

    /// The lines of the log about a container of an event.
    fn log(&self, bundle: &str, event: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.path("log")).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let container = format!("callgate-{}-{bundle}", std::process::id());
        lines
            .filter(|line| line["event"] == event && line["container"] == container.as_str())
            .collect()
    }
}

/// An agent that is killed in the end.
struct Agent(Child);

impl Agent {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn end(mut self) {
        send_signal(self.0.id(), 15).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn callgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Moby's default profile where it is there, else the built-in one, as runc reads it.
fn profile() -> Value {
    let moby = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/profiles/moby-default.json");
    let profile = if moby.exists() {
        moby.to_str().unwrap()
    } else {
        "default"
    };
    let output = callgate(&["resolve", profile]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn calls() -> String {
    format!("exec /usr/bin/python3 -c '{CALLS}'")
}

#[test]
fn a_container_sees_what_it_would_have_seen_and_the_agent_says_why() {
    let Some(place) = Place::new("a_container_sees_what_it_would_have_seen") else {
        return;
    };
    let expected = place.run(&place.bundle("before", &calls(), Some(&profile())));
    assert!(expected.status.success(), "{}", said(&expected));
    let bundle = place.instrumented("after", &calls());
    let agent = place.agent();
    let seen = place.run(&bundle);
    assert_eq!(said(&seen), said(&expected));
    // The container's last process may be gone before the agent knows it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while place.log("after", "ended").is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let denied = place.log("after", "denied");
    let has = |start: &str, action: &str| {
        denied.iter().any(|line| {
            let call = line["call"].as_str().unwrap();
            call.starts_with(start) && line["verdict"]["action"] == action
        })
    };
    assert!(
        has("mount(\"none\", \"/tmp\", \"tmpfs\"", "ERRNO(EPERM)"),
        "{denied:#?}"
    );
    assert!(has("unshare(CLONE_NEWUSER)", "ERRNO(EPERM)"), "{denied:#?}");
    assert!(
        has("socket(AF_VSOCK", "ERRNO(EPERM)") || has("socket(AF_VSOCK", "ERRNO(EAFNOSUPPORT)")
    );
    assert!(has("clone3(", "ERRNO(ENOSYS)"), "{denied:#?}");
    // What is allowed on other arguments is asked about, too, and let pass.
    assert!(said(&seen).contains("personality (8,) done\npersonality (5,) 1\n"));
    let calls = denied.iter().filter_map(|line| line["call"].as_str());
    assert_eq!(
        calls
            .filter(|call| call.starts_with("personality("))
            .count(),
        1
    );
    assert_eq!(place.log("after", "container").len(), 1);
    let ended = place.log("after", "ended");
    let kinds = ended[0]["calls"].as_array().unwrap().iter();
    let mount = kinds
        .clone()
        .find(|kind| kind["call"].as_str().unwrap().starts_with("mount("));
    assert_eq!(
        mount.unwrap()["remedies"][0]["change"],
        "allow every `mount`"
    );
    assert_eq!(
        kinds.filter_map(|kind| kind["count"].as_u64()).sum::<u64>(),
        denied.len() as u64
    );
    agent.end();
    assert!(!place.path("agent.sock").exists());
}

#[test]
fn ten_containers_at_once() {
    let Some(place) = Place::new("ten_containers_at_once") else {
        return;
    };
    let expected = said(&place.run(&place.bundle("before", &calls(), Some(&profile()))));
    let names: Vec<_> = (0..10).map(|number| format!("c{number}")).collect();
    let bundles: Vec<_> = names
        .iter()
        .map(|name| place.instrumented(name, &calls()))
        .collect();
    let agent = place.agent();
    thread::scope(|scope| {
        let running: Vec<_> = bundles
            .iter()
            .map(|bundle| scope.spawn(|| place.run(bundle)))
            .collect();
        for one in running {
            assert_eq!(said(&one.join().unwrap()), expected);
        }
    });
    let count = |name: &str| place.log(name, "denied").len();
    let first = count("c0");
    assert!(first >= 10, "{first}");
    assert!(names.iter().all(|name| count(name) == first));
    agent.end();
}

#[test]
fn an_agent_that_is_killed_leaves_nobody_waiting() {
    let Some(place) = Place::new("an_agent_that_is_killed") else {
        return;
    };
    let script = r#"exec /usr/bin/python3 -c '
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
answers = []
while answers.count(38) < 3:
    libc.swapoff(b"/nowhere")
    answers.append(ctypes.get_errno())
    print(answers[-1], flush=True)
    time.sleep(0.001)
'"#;
    let bundle = place.instrumented("orphan", script);
    let mut agent = place.agent();
    let mut running = place.runc(&bundle).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut answered = 0;
    for answer in answers.by_ref().take(20) {
        assert_eq!(answer.unwrap(), "1");
        answered += 1;
    }
    agent.kill();
    for answer in answers {
        // The kernel's answer when nobody holds the listener.
        answered += usize::from(answer.unwrap() == "1");
    }
    let begun = Instant::now();
    assert!(running.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(30));
    let logged = place.log("orphan", "denied").len();
    assert!(logged >= answered, "{logged} of {answered}");
    // What the dead agent has left is replaced, and serves.
    let agent = place.agent();
    let seen = place.run(&place.instrumented("next", &calls()));
    assert!(
        said(&seen).contains("unshare (268435456,) 1\n"),
        "{}",
        said(&seen)
    );
    agent.end();
    // Without any agent there is no container, rather than one that hangs.
    let refused = place.run(&place.instrumented("none", "true"));
    assert!(!refused.status.success());
    assert!(said(&refused).contains("agent.sock"), "{}", said(&refused));
}

#[test]
fn a_profile_is_needed_and_may_be_given_to_the_agent() {
    let Some(place) = Place::new("a_profile_is_needed") else {
        return;
    };
    let notifying = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": place.path("agent.sock"),
        "syscalls": [{ "names": ["swapoff"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let script = r#"exec /usr/bin/python3 -c '
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.swapoff(b"/nowhere")
print(ctypes.get_errno())
'"#;
    let bundle = place.bundle("own", script, Some(&notifying));
    let agent = place.agent();
    assert_eq!(said(&place.run(&bundle)), "38\n");
    agent.end();
    assert!(
        fs::read_to_string(place.path("log"))
            .unwrap()
            .contains("it comes with no profile")
    );

    let profile = place.path("profile.json");
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5 }] }"#;
    fs::write(&profile, text).unwrap();
    let agent = place.agent_with(&["-p", profile.to_str().unwrap()]);
    assert_eq!(said(&place.run(&bundle)), "5\n");
    assert_eq!(place.log("own", "denied").len(), 1);
    agent.end();
}
