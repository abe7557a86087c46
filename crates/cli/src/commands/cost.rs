//! `callgate cost`: what a filter takes of memory and time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use callgate::compiler::bpf::Program;
use callgate::compiler::bpf::cost::{BUDGET, Emulated, OVERHEAD};
use callgate::compiler::syscalls;
use callgate::load::Options as LoadOptions;
use callgate::{Action, Arch, Call, Prepared, probe};
use clap::Args;
use serde_json::{Value, json};

use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::AnyFilter;
use crate::output;

/// Say what a filter costs: its size, the lengths of its paths, and which calls the kernel answers without it
///
/// Since 5.11 the kernel remembers which numbers a filter allows whatever the arguments are, and doesn't run it for
/// those. All filters of a process share a bound on the size that they have once the kernel has converted them.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate cost profile.json
  callgate cost --measure default
  callgate cost --json filter.bpf

Exit status: 0; 2 if there is no filter, or it can't be measured.")]
pub(crate) struct Options {
    /// Profile (a path, `-`, or `default`), raw filter, or pid:N for those of a process
    #[arg(required_unless_present = "calls")]
    filter: Option<String>,

    /// Measure what a call takes on this machine with the filter and without
    #[arg(long)]
    measure: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Make so many calls, and print the nanoseconds that each took: for `--measure`, in a process of its own
    #[arg(long, hide = true)]
    calls: Option<u32>,

    #[command(flatten)]
    context: ContextOptions,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    if let Some(calls) = options.calls {
        output::print(&format!("{}\n", nanoseconds_of_a_call(calls)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let context = options.context.context()?;
    let name = options.filter.as_deref().unwrap_or("-");
    let filter = AnyFilter::read(name, &context)?;
    let cost = Cost::of(filter.programs(), context.arch);
    let measured = options.measure.then(|| measure(name, filter.programs()));
    let measured = measured.transpose()?;
    let text = if options.json {
        format!("{:#}\n", cost.to_json(measured.as_ref()))
    } else {
        cost.to_text(measured.as_ref())
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What filters cost that answer together, the newest first.
struct Cost {
    native: Arch,
    filters: Vec<Size>,
    abis: Vec<Answered>,
}

/// What is counted of one filter.
struct Size {
    instructions: usize,
    converted: usize,
    shortest_path: usize,
    longest_path: usize,
    /// Over the numbers of the native ABI, with arguments of 0.
    mean_path: f64,
}

/// Which calls of an ABI the kernel answers by itself, and which not, by the reason.
struct Answered {
    arch: Arch,
    cached: Vec<&'static str>,
    others: BTreeMap<String, Vec<&'static str>>,
}

impl Cost {
    fn of(programs: &[Program], native: Arch) -> Cost {
        let has_table = |arch: &Arch| native.runs(*arch) && *arch != Arch::X32;
        let abis = Arch::ALL.into_iter().filter(has_table);
        let abis = abis.map(|arch| Answered::of(programs, arch));
        let mut abis: Vec<Answered> = abis.collect();
        // One that the filters don't let through at all is not worth a list.
        abis.retain(|abi| abi.arch == native || !abi.cached.is_empty());
        abis.sort_by_key(|abi| abi.arch != native);
        Cost {
            native,
            filters: programs
                .iter()
                .map(|program| Size::of(program, native))
                .collect(),
            abis,
        }
    }

    /// How much of the kernel's bound is left for filters that are stacked on these.
    fn left(&self) -> usize {
        let taken = self.filters.iter().map(|size| size.converted + OVERHEAD);
        BUDGET.saturating_sub(taken.sum())
    }

    fn to_text(&self, measured: Option<&Measured>) -> String {
        let mut text = String::new();
        for (index, size) in self.filters.iter().enumerate() {
            if self.filters.len() > 1 {
                let _ = writeln!(
                    text,
                    "filter {} of {}, the newest first:",
                    index + 1,
                    self.filters.len()
                );
            }
            let Size {
                instructions,
                converted,
                ..
            } = size;
            let _ = writeln!(
                text,
                "{instructions} instructions, {converted} once the kernel has converted them"
            );
            let _ = writeln!(
                text,
                "paths of {} to {} instructions; {:.1} in the mean over the numbers of {}",
                size.shortest_path, size.longest_path, size.mean_path, self.native
            );
        }
        let _ = writeln!(
            text,
            "{} of {BUDGET} converted instructions are left for filters stacked on it",
            self.left()
        );
        for abi in &self.abis {
            abi.write(&mut text);
        }
        if let Some(measured) = measured {
            measured.write(&mut text);
        }
        text
    }

    fn to_json(&self, measured: Option<&Measured>) -> Value {
        let filters = self.filters.iter().map(|size| {
            json!({
                "instructions": size.instructions,
                "converted": size.converted,
                "shortest_path": size.shortest_path,
                "longest_path": size.longest_path,
                "mean_path": size.mean_path,
            })
        });
        let abis = self.abis.iter().map(|abi| {
            json!({ "arch": abi.arch.name(), "cached": abi.cached, "not_cached": abi.others })
        });
        let mut document = json!({
            "schema": "callgate.cost.v1",
            "filters": filters.collect::<Vec<_>>(),
            "budget": BUDGET,
            "budget_left": self.left(),
            "abis": abis.collect::<Vec<_>>(),
        });
        if let Some(measured) = measured {
            document["measured"] = json!({
                "call": "getppid",
                "ns_without": measured.without,
                "ns_more_with": measured.more,
            });
        }
        document
    }
}

impl Size {
    fn of(program: &Program, native: Arch) -> Size {
        let paths = program.paths();
        let numbers = syscalls::table(native).map(|(nr, _)| nr);
        let executed = numbers.map(|nr| program.simulate(&Call::new(native, nr, [0; 6])).executed);
        let executed: Vec<usize> = executed.collect();
        Size {
            instructions: program.insns().len(),
            converted: program.converted_length(),
            shortest_path: paths.shortest,
            longest_path: paths.longest,
            // Far below 2^53.
            mean_path: executed.iter().sum::<usize>() as f64 / executed.len().max(1) as f64,
        }
    }
}

impl Answered {
    fn of(programs: &[Program], arch: Arch) -> Answered {
        let mut answered = Answered {
            arch,
            cached: Vec::new(),
            others: BTreeMap::new(),
        };
        for (nr, name) in syscalls::table(arch) {
            let reason = programs
                .iter()
                .find_map(|program| reason(program, arch, nr));
            match reason {
                Some(reason) => answered.others.entry(reason).or_default().push(name),
                None => answered.cached.push(name),
            }
        }
        answered
    }

    fn write(&self, text: &mut String) {
        let others: usize = self.others.values().map(Vec::len).sum();
        let cached = self.cached.len();
        let _ = writeln!(
            text,
            "{}: of {} calls the kernel answers {cached} from its cache; for {others} it runs the filter",
            self.arch,
            cached + others
        );
        for (reason, names) in &self.others {
            let _ = writeln!(text, "  {reason}: {}", names.join(", "));
        }
    }
}

/// Why the kernel can't answer a call without running the filter, if it can't.
fn reason(program: &Program, arch: Arch, nr: u32) -> Option<String> {
    match program.emulate(arch.audit(), nr) {
        Emulated::Returns(ret) if ret == Action::Allow.to_ret() => None,
        Emulated::Returns(ret) => Some(Action::from_ret(ret).display(arch).to_string()),
        Emulated::StopsAt(_) => Some("depends on more than the number".to_owned()),
    }
}

/// What a call takes, in nanoseconds.
struct Measured {
    without: f64,
    more: f64,
}

impl Measured {
    fn write(&self, text: &mut String) {
        let Measured { without, more } = self;
        let _ = writeln!(
            text,
            "getppid takes {:.0} ns with the filter, {more:.0} ns more than without",
            without + more
        );
    }
}

/// How often each is measured; the median of differences counts.
const ROUNDS: usize = 9;

/// How many calls are made each time.
const CALLS: u32 = 100_000;

/// Measures a call in processes with the filter and without, in turn.
fn measure(name: &str, programs: &[Program]) -> Result<Measured, Failure> {
    let [program] = programs else {
        return Err(Failure::new(format!(
            "{name}: the process has several filters, so there is none to measure"
        )));
    };
    let options = LoadOptions {
        no_new_privs: !probe::may_load_without_no_new_privs(),
        ..LoadOptions::default()
    };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let without = child(name, None)?;
        let prepared = Prepared::program(program, &options);
        let with = child(name, Some(prepared.map_err(Failure::new)?))?;
        rounds.push((with - without, without));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (more, without) = rounds[ROUNDS / 2];
    Ok(Measured { without, more })
}

/// Runs this command again to make calls, under a filter if there is one.
fn child(name: &str, filter: Option<Prepared>) -> Result<f64, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("this command's file: {error}")))?;
    let mut command = Command::new(program);
    command
        .args(["cost", "--calls", &CALLS.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let failed = |what: String| {
        Failure::new(format!(
            "{name}: a process under the filter can't measure: {what}"
        ))
    };
    let child = match filter {
        Some(filter) => filter
            .spawn(&mut command)
            .map_err(|error| failed(error.to_string()))?,
        None => command.spawn().map_err(|error| failed(error.to_string()))?,
    };
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim()
        .parse()
        .map_err(|_| failed(output.status.to_string()))
}

/// What `getppid` takes: the least of several runs, as whatever disturbs a run makes it longer.
fn nanoseconds_of_a_call(calls: u32) -> f64 {
    let run = || {
        let start = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(std::os::unix::process::parent_id());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(calls.max(1))
    };
    (0..8).map(|_| run()).fold(f64::INFINITY, f64::min)
}
