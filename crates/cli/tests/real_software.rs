//! Real programs under real profiles: what ordinary software needs must pass, and what a profile denies must be
//! denied by the kernel.
//!
//! Every program runs to completion under `callgate run -p PROFILE`; one that isn't installed, or a profile that
//! isn't there, is skipped and says so. Denials are raw calls, made by this very executable run again under the
//! filter (`raw_call`), with arguments that the kernel itself answers otherwise: so each answer tells who gave
//! it. What a profile allows must be answered as without any filter.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// The longest that one program may take, a debug build of a crate on a busy machine included.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the executable does when it is run again: one raw call, or the echo.
const MAKE_CALL: &str = "--make-raw-call";
const ECHO: &str = "--echo-on-loopback";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [MAKE_CALL, name] => raw_call::make(name),
        [ECHO] => echo(),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for profile in PROFILES {
        let Some(path) = profile.path() else {
            eprintln!("skipped: profile {}: not there", profile.name);
            continue;
        };
        for program in PROGRAMS {
            let name = format!("{}/{}", profile.name, program.name);
            if !is_installed(program.needs) {
                eprintln!("skipped: {name}: no {} here", program.needs);
                continue;
            }
            let path = path.clone();
            trials.push(Trial::test(name, move || program.run_under(&path)));
        }
        for denial in DENIALS {
            let name = format!("{}/{}", profile.name, denial.title);
            let path = path.clone();
            trials.push(Trial::test(name, move || denial.check(profile, &path)));
        }
    }
    trials
}

// Profiles.

struct Profile {
    name: &'static str,
    /// Under the data folder that may lie beside the workspace; none: built in.
    file: Option<&'static str>,
}

const DEFAULT: Profile = Profile {
    name: "default",
    file: None,
};
const MOBY: Profile = Profile {
    name: "moby",
    file: Some("moby-default.json"),
};
const CONTAINERS: Profile = Profile {
    name: "containers-common",
    file: Some("containers-common-default.json"),
};
const PROFILES: [&Profile; 3] = [&DEFAULT, &MOBY, &CONTAINERS];

impl Profile {
    fn path(&self) -> Option<PathBuf> {
        let Some(file) = self.file else {
            return Some(PathBuf::from("default"));
        };
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = workspace.join("../shared/data/profiles").join(file);
        path.canonicalize().ok()
    }
}

// Programs that must run to completion.

struct Program {
    name: &'static str,
    /// The command without which there is nothing to run.
    needs: &'static str,
    /// A script for `sh`, run in an empty folder of its own; `$SELF` is this executable.
    script: &'static str,
    /// What must be on its standard output.
    says: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "sh",
        needs: "sh",
        script: r#"for n in 1 2 3; do (exit $n) || sum=$((sum + $?)); done; echo one two | wc -w; echo "sum $sum""#,
        says: "sum 6",
    },
    Program {
        name: "ls",
        needs: "ls",
        script: "ls -la /",
        says: "usr",
    },
    Program {
        name: "git",
        needs: "git",
        script: r#"
            export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
            export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
            git init -q . && seq 2000 > numbers && git add . && git commit -qm "first commit"
            git branch other && sed -i 5d numbers && git commit -qam second
            git clone -q . copy && git -C copy fsck && git -C copy gc -q && git -C copy log --oneline"#,
        says: "first commit",
    },
    Program {
        name: "python3",
        needs: "python3",
        script: r#"exec python3 -c '
import subprocess, threading
found = []
threads = [threading.Thread(target=lambda n=n: found.append(n * n)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
child = subprocess.run(["sh", "-c", "echo from a child"], capture_output=True, text=True, check=True)
print(sum(found), child.stdout)'"#,
        says: "140 from a child",
    },
    Program {
        name: "cargo",
        needs: "cargo",
        script: r#"
            export CARGO_TARGET_DIR=target
            cargo init -q --vcs none --name small . && cargo build -q --offline && target/debug/small"#,
        says: "Hello, world!",
    },
    Program {
        name: "apt-get",
        needs: "apt-get",
        script: "apt-get --version",
        says: "apt ",
    },
    Program {
        name: "tar",
        needs: "gzip",
        script: r#"
            mkdir in out && seq 5000 > in/numbers && ln -s numbers in/link
            tar -czf all.tar.gz in && gzip -t all.tar.gz && tar -xzpf all.tar.gz -C out
            cmp in/numbers out/in/link && echo same"#,
        says: "same",
    },
    Program {
        name: "tcp-echo",
        needs: "sh",
        script: "exec \"$SELF\" --echo-on-loopback",
        says: "echoed",
    },
];

impl Program {
    fn run_under(&self, profile: &Path) -> Result<(), Failed> {
        let folder = tempfile::tempdir()?;
        let this = std::env::current_exe()?;
        let mut command = callgate_run(profile, &[]);
        command
            .args(["sh", "-e", "-c", self.script])
            .current_dir(folder.path())
            .env("SELF", this);
        let output = finish(command)?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && said.contains(self.says) {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}\nstdout: {said}\nstderr: {complaint}", output.status).into())
    }
}

/// A server and a client in one process: 100 lines there and back.
fn echo() -> ExitCode {
    fn serve(listener: &TcpListener) -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = [0; 512];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                n => stream.write_all(&buffer[..n])?,
            }
        }
    }
    fn ask(address: std::net::SocketAddr) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        let mut same = true;
        for n in 0..100 {
            let line = format!("line {n}\n");
            stream.write_all(line.as_bytes())?;
            let mut back = vec![0; line.len()];
            stream.read_exact(&mut back)?;
            same &= back == line.as_bytes();
        }
        Ok(same)
    }
    let done = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        let address = listener.local_addr()?;
        let server = thread::spawn(move || serve(&listener));
        let same = ask(address)?;
        let served = server.join().is_ok_and(|result| result.is_ok());
        Ok(same && served)
    });
    match done {
        Ok(true) => {
            println!("echoed");
            ExitCode::SUCCESS
        }
        other => {
            println!("no echo: {other:?}");
            ExitCode::FAILURE
        }
    }
}

// Calls that a profile denies.

/// A raw call, and what becomes of it under each profile.
struct Denial {
    title: &'static str,
    /// One of [`raw_call::CALLS`].
    call: &'static str,
    /// More arguments for `callgate run`.
    context: &'static [&'static str],
    default: Fate,
    moby: Fate,
    containers: Fate,
}

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Fate {
    /// The filter answers with this errno.
    Errno(i32),
    /// The kernel answers as it does without a filter.
    Allowed,
}
use Fate::{Allowed, Errno};

const fn denied(title: &'static str, default: i32, moby: i32) -> Denial {
    Denial {
        title,
        call: title,
        context: &[],
        default: Errno(default),
        moby: Errno(moby),
        containers: Allowed,
    }
}

const DENIALS: &[Denial] = &[
    denied("unshare", libc::EPERM, libc::EPERM),
    denied("clone-newuser", libc::EPERM, libc::EPERM),
    denied("clone3", libc::ENOSYS, libc::ENOSYS),
    denied("mount", libc::EPERM, libc::EPERM),
    denied("keyctl", libc::EPERM, libc::EPERM),
    Denial {
        containers: Errno(libc::ENOSYS),
        ..denied("add_key", libc::EPERM, libc::EPERM)
    },
    denied("socket-alg", libc::EAFNOSUPPORT, libc::EPERM),
    Denial {
        containers: Errno(libc::ENOSYS),
        ..denied("personality-no-randomize", libc::EPERM, libc::EPERM)
    },
    Denial {
        title: "ptrace-before-4.8",
        call: "ptrace",
        context: &["--kernel", "4.7"],
        ..denied("", libc::EPERM, libc::EPERM)
    },
    Denial {
        title: "ptrace-from-4.8",
        call: "ptrace",
        context: &["--kernel", "4.8"],
        default: Allowed,
        moby: Allowed,
        containers: Allowed,
    },
    Denial {
        title: "ptrace-before-4.8-with-capability",
        call: "ptrace",
        context: &["--kernel", "4.7", "--cap", "CAP_SYS_PTRACE"],
        default: Allowed,
        moby: Allowed,
        containers: Allowed,
    },
];

impl Denial {
    fn check(&self, profile: &Profile, path: &Path) -> Result<(), Failed> {
        let fate = match profile.name {
            "default" => self.default,
            "moby" => self.moby,
            _ => self.containers,
        };
        let this = std::env::current_exe()?;
        let mut bare = Command::new(&this);
        bare.args([MAKE_CALL, self.call]);
        let bare = said(bare)?;
        let mut filtered = callgate_run(path, self.context);
        filtered.arg(&this).args([MAKE_CALL, self.call]);
        let filtered = said(filtered)?;
        let expected = match fate {
            Allowed => bare.clone(),
            Errno(errno) => format!("errno {errno}"),
        };
        if filtered != expected {
            return Err(format!("{filtered}; expected {expected}; no filter: {bare}").into());
        }
        if matches!(fate, Errno(_)) && filtered == bare {
            eprintln!(
                "skipped: {}/{}: this kernel says so itself",
                profile.name, self.title
            );
        }
        Ok(())
    }
}

/// The one line that a command writes.
fn said(command: Command) -> Result<String, Failed> {
    let output = finish(command)?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !line.is_empty() {
        return Ok(line);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {line} {complaint}", output.status).into())
}

/// Raw system calls, by a name.
mod raw_call {
    use std::ffi::{c_long, c_ulong};
    use std::process::ExitCode;

    /// Nothing here changes more than the process that asks. Where the kernel would do what is asked, it may: the
    /// process ends right after.
    const CALLS: &[(&str, c_long, [c_ulong; 5])] = &[
        ("unshare", libc::SYS_unshare, [NEW_USER, 0, 0, 0, 0]),
        ("clone-newuser", libc::SYS_clone, CLONE_NEW_USER),
        // A size of 0 is EINVAL to the kernel.
        ("clone3", libc::SYS_clone3, [0; 5]),
        // No target: EFAULT.
        ("mount", libc::SYS_mount, [0; 5]),
        // KEYCTL_GET_KEYRING_ID of the thread's keyring, which there is none of: ENOKEY.
        ("keyctl", libc::SYS_keyctl, [0, c_ulong::MAX, 0, 0, 0]),
        // No type: EFAULT.
        ("add_key", libc::SYS_add_key, [0; 5]),
        // AF_ALG, with a flag that no type has: EINVAL, whether or not the kernel knows the family.
        ("socket-alg", libc::SYS_socket, [38, 0x105, 0, 0, 0]),
        // ADDR_NO_RANDOMIZE.
        (
            "personality-no-randomize",
            libc::SYS_personality,
            [0x0004_0000, 0, 0, 0, 0],
        ),
        // PTRACE_TRACEME.
        ("ptrace", libc::SYS_ptrace, [0; 5]),
    ];

    const NEW_USER: c_ulong = 0x1000_0000;
    const SIGCHLD: c_ulong = 17;
    #[cfg(not(target_arch = "s390x"))]
    const CLONE_NEW_USER: [c_ulong; 5] = [NEW_USER | SIGCHLD, 0, 0, 0, 0];
    #[cfg(target_arch = "s390x")]
    const CLONE_NEW_USER: [c_ulong; 5] = [0, NEW_USER | SIGCHLD, 0, 0, 0];

    /// Makes the call and says how it went: `done`, or `errno N`.
    pub(super) fn make(name: &str) -> ExitCode {
        let Some((_, number, args)) = CALLS.iter().find(|(known, ..)| *known == name) else {
            eprintln!("no call is named {name}");
            return ExitCode::FAILURE;
        };
        let [a, b, c, d, e] = *args;
        // SAFETY: every pointer among the arguments is null, and what the calls of the list do to this process
        // invalidates nothing in it: a process that `clone` makes has a copy of the memory, and leaves at once.
        let result = unsafe { libc::syscall(*number, a, b, c, d, e) };
        let error = std::io::Error::last_os_error();
        if name == "clone-newuser" && result == 0 {
            // SAFETY: the new process ends here, without a word.
            unsafe { libc::_exit(0) };
        }
        match result {
            -1 => println!("errno {}", error.raw_os_error().unwrap_or(0)),
            _ => println!("done"),
        }
        ExitCode::SUCCESS
    }
}

// Running things.

fn callgate_run(profile: &Path, context: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command
        .arg("run")
        .arg("-p")
        .arg(profile)
        .args(context)
        .arg("--");
    command
}

/// Runs a command to its end, its output by way of files so that no pipe can fill up; ends it when it takes too long.
fn finish(mut command: Command) -> Result<Output, Failed> {
    let folder = tempfile::tempdir()?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out)?)
        .stderr(fs::File::create(&err)?)
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(format!("not done after {} s", PATIENCE.as_secs()).into());
        }
        thread::sleep(Duration::from_millis(5));
    };
    Ok(Output {
        status,
        stdout: fs::read(out)?,
        stderr: fs::read(err)?,
    })
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_file(&folder.join(OsStr::new(program))))
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}
