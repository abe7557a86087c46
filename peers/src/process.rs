//! Children of this program, under a time limit: what runs in them may hang or crash.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How long a child may take. What it does takes milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// The exit code of a child whose work was refused.
pub(crate) const REFUSED: i32 = 3;

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Well, with this output.
    Output(Vec<u8>),
    /// With [`REFUSED`], and these words on standard error.
    Refused(String),
    /// Not within the time limit.
    TimedOut,
    /// In any other way.
    Broken(String),
}

/// Runs this program again, as one of its hidden subcommands, with an input.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Result<Ended> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("the child's input is a pipe")?;
    // It reads all of its input before anything else. If it has died, its status tells more than this would.
    let _ = stdin.write_all(input);
    drop(stdin);
    let Some([output, errors]) = read_within(&mut child, LIMIT)? else {
        child.kill()?;
        child.wait()?;
        return Ok(Ended::TimedOut);
    };
    let status = child.wait()?;
    let said = String::from_utf8_lossy(&errors).into_owned();
    Ok(match status.code() {
        Some(0) => Ended::Output(output),
        Some(REFUSED) => Ended::Refused(said),
        _ => Ended::Broken(format!("{status}: {said}")),
    })
}

/// All that a child writes to its output and its errors, or `None` if it hasn't closed them in time.
fn read_within(child: &mut Child, limit: Duration) -> Result<Option<[Vec<u8>; 2]>> {
    let stdout = child.stdout.take().context("the output is a pipe")?;
    let stderr = child.stderr.take().context("the errors are a pipe")?;
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let read = read_both(stdout, stderr);
        let _ = sender.send(read);
    });
    match receiver.recv_timeout(limit) {
        Ok(read) => {
            ensure!(reader.join().is_ok(), "the reader of a child's output died");
            Ok(Some(read?))
        }
        Err(_) => Ok(None),
    }
}

/// Errors are short, so reading one after the other doesn't block the child.
fn read_both(
    mut stdout: impl std::io::Read,
    mut stderr: impl std::io::Read,
) -> std::io::Result<[Vec<u8>; 2]> {
    let mut read = [Vec::new(), Vec::new()];
    stdout.read_to_end(&mut read[0])?;
    stderr.read_to_end(&mut read[1])?;
    Ok(read)
}
