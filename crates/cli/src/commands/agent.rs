//! `callgate agent`: answers containers' notifications as their profiles say.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use callgate::compiler::instrument;
use callgate::handoff::{self, Container};
use callgate::notify::Supervisor;
use callgate::{Context, Filter};
use clap::Args;
use serde_json::json;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::answerer::{Answerer, Log};
use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::Input;
use crate::report::Compiled;

/// Answer containers' notifications as their profiles say, and log what was denied
///
/// Container runtimes connect to the socket for each container whose profile names it as its listenerPath, as `instrument` has it.
/// The profile to answer by comes with the container, or is the one given here. Each denied call is logged as a JSON object on
/// a line of its own before it is answered; when the container has ended, all kinds of them together, with what would let them pass. Only the socket's owner may connect. It serves until SIGINT or SIGTERM. Calls of
/// containers whose agent is gone fail with ENOSYS from then on: they can't be taken over.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate agent --socket /run/callgate.sock --log denials.jsonl
  callgate agent --socket /run/callgate.sock -p profile.json | jq .call

Exit status: 0 when told to end; 2 if it can't serve.")]
pub(crate) struct Options {
    /// Where container runtimes connect
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// Profile to answer every container by [default: the one that it comes with]
    #[arg(short, long)]
    profile: Option<String>,

    /// File to append the log to [default: standard output]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    #[command(flatten)]
    context: ContextOptions,
}

/// A runtime has so long to announce a container.
const ANNOUNCE: Duration = Duration::from_secs(10);

/// So many may do so at once.
const ACCEPTING: usize = 4;

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let fixed = options.profile.as_deref().map(|name| fixed(name, &context));
    let failed = |error: io::Error| Failure::new(format!("agent: {error}"));
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let agent = Agent {
        supervisor: Supervisor::with_threads(threads).map_err(failed)?,
        log: Arc::new(Log::open(options.log.as_deref())?),
        fixed: fixed.transpose()?,
        filters: Mutex::default(),
        context,
    };
    // From before the socket is there, so that whoever waits for that can end it.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let name = options.socket.display();
    let socket =
        handoff::bind(&options.socket).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    anstream::eprintln!("callgate: listening at {name}");
    let served = serve(&agent, &socket, &mut signals);
    // If somebody else has removed it, it is gone.
    let _ = fs::remove_file(&options.socket);
    served.map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn serve(agent: &Agent, socket: &UnixListener, signals: &mut Signals) -> io::Result<()> {
    thread::scope(|scope| {
        for _ in 0..ACCEPTING {
            thread::Builder::new().spawn_scoped(scope, || agent.accept_all(socket))?;
        }
        let serving = thread::Builder::new()
            .spawn_scoped(scope, || agent.supervisor.serve_until_stopped())?;
        let _ = signals.forever().next();
        agent.supervisor.stop();
        // The threads in `accept` return by this.
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        serving.join().unwrap_or(Ok(()))
    })
}

struct Agent {
    supervisor: Supervisor,
    log: Arc<Log>,
    /// The profile that all are answered by.
    fixed: Option<Arc<Compiled>>,
    /// Those that came with containers, by their text: the same ones come again and again.
    filters: Mutex<HashMap<String, Arc<Compiled>>>,
    context: Context,
}

/// So many profiles are kept.
const MAX_FILTERS: usize = 100;

fn fixed(name: &str, context: &Context) -> Result<Arc<Compiled>, Failure> {
    let input = Input::read(name)?;
    let profile = input.profile()?;
    let filter = input.compile_profile(&profile, context, true)?;
    Ok(Arc::new(input.compiled(profile, filter, context.clone())))
}

impl Agent {
    fn accept_all(&self, socket: &UnixListener) {
        loop {
            match socket.accept() {
                Ok((stream, _)) => self.announce(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Shut down.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                Err(error) => {
                    // No descriptors are left, maybe; they come back as containers end.
                    self.refuse(&format!("accept: {error}"));
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Takes a container, or says why not. Its calls fail with ENOSYS then.
    fn announce(&self, stream: UnixStream) {
        let container = match handoff::receive(stream, ANNOUNCE) {
            Ok(container) => container,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let id = container.state.state().id().clone();
        match self.profile_of(&container) {
            Ok(compiled) => self.add(id, container, compiled),
            Err(why) => self.refuse(&format!("container {id}: {why}")),
        }
    }

    fn add(&self, id: String, container: Container, compiled: Arc<Compiled>) {
        let peer = container.peer;
        self.log.write(json!({
            "event": "container",
            "container": id,
            "runtime": { "pid": peer.pid, "uid": peer.uid, "gid": peer.gid },
            "pid": container.state.pid(),
        }));
        let answerer = Answerer::new(compiled, Arc::clone(&self.log), Some(id));
        if let Err(error) = self.supervisor.add(container.listener, answerer) {
            self.refuse(&format!("epoll_ctl: {error}"));
        }
    }

    fn refuse(&self, why: &str) {
        self.log.write(json!({ "event": "refused", "error": why }));
    }

    /// What a container is answered by.
    fn profile_of(&self, container: &Container) -> Result<Arc<Compiled>, String> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        let metadata = container.state.metadata().as_deref().unwrap_or_default();
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = filters.get(metadata) {
            return Ok(Arc::clone(compiled));
        }
        let original = instrument::original(metadata, &self.context);
        let original = original.ok_or(
            "it comes with no profile: instrument the one that it runs under, or say --profile",
        )?;
        let (profile, context) = original.map_err(|error| error.to_string())?;
        let filter = Filter::compile(&profile, &context).map_err(|error| error.to_string())?;
        let compiled = Arc::new(Compiled {
            name: "the instrumented profile".to_owned(),
            text: profile.to_oci_json(&context).into_bytes(),
            profile,
            filter,
            context,
        });
        if filters.len() == MAX_FILTERS {
            filters.clear();
        }
        filters.insert(metadata.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }
}
