//! What a command is given: a profile, or anything that is a filter.

use std::fs;
use std::io::{self, Read};

use callgate::compiler::bpf::encode::decode;
use callgate::compiler::bpf::{Program, Run, disassemble::byte_order_asked_for};
use callgate::compiler::limits::MAX_PROFILE_BYTES;
use callgate::compiler::profile;
use callgate::{Action, ByteOrder, Call, Context, Filter, Profile, process};

use crate::diagnostics::{self, Source};
use crate::failure::Failure;
use crate::report::Compiled;

/// The bytes of an input, and what to call it.
pub(crate) struct Input {
    name: String,
    bytes: Vec<u8>,
}

/// A filter from wherever it comes.
#[derive(Debug)]
pub(crate) enum AnyFilter {
    /// From a profile, with all that is known of it.
    Compiled(Box<Filter>),
    /// Bare instructions: one filter, or those of a process, the newest first.
    Bare(Vec<Program>),
}

impl AnyFilter {
    /// Reads a FILTER: a PROFILE, a raw filter, or `pid:N`.
    pub(crate) fn read(name: &str, context: &Context) -> Result<AnyFilter, Failure> {
        AnyFilter::read_with_source(name, context).map(|(filter, _)| filter)
    }

    /// As [`read`](Self::read), with the document if there is one.
    pub(crate) fn read_with_source(
        name: &str,
        context: &Context,
    ) -> Result<(AnyFilter, Option<Input>), Failure> {
        if name.starts_with("pid:") {
            return Ok((AnyFilter::of_process(name)?, None));
        }
        let input = Input::read(name)?;
        let filter = input.filter(context)?;
        Ok((filter, Some(input)))
    }

    /// The filters of `pid:N`.
    fn of_process(name: &str) -> Result<AnyFilter, Failure> {
        let pid = name.strip_prefix("pid:").unwrap_or(name);
        let pid = pid
            .parse()
            .map_err(|_| Failure::new(format!("{name}: {pid} is not the number of a process")))?;
        let programs =
            process::filters(pid).map_err(|error| Failure::new(format!("{name}: {error}")))?;
        if programs.is_empty() {
            return Err(Failure::new(format!("{name}: the process has no filter")));
        }
        Ok(AnyFilter::Bare(programs))
    }

    /// The programs, the newest first; at least one.
    pub(crate) fn programs(&self) -> &[Program] {
        match self {
            AnyFilter::Compiled(filter) => std::slice::from_ref(filter.program()),
            AnyFilter::Bare(programs) => programs,
        }
    }

    /// What the filters say of a call together: all run, and the most severe answer counts, of equal ones the
    /// newest.
    pub(crate) fn simulate(&self, call: &Call) -> Run {
        let runs = self.programs().iter().map(|program| program.simulate(call));
        let most_severe = |newer: Run, older: Run| {
            let executed = newer.executed + older.executed;
            let counts = if older.action.severity() < newer.action.severity() {
                older
            } else {
                newer
            };
            Run { executed, ..counts }
        };
        runs.reduce(most_severe).unwrap_or(Run {
            ret: Action::Allow.to_ret(),
            action: Action::Allow,
            executed: 0,
        })
    }
}

impl Input {
    /// Reads a PROFILE: a path, `-`, or `default`.
    pub(crate) fn read(name: &str) -> Result<Input, Failure> {
        let failed = |error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => ": a PROFILE is a path, `-`, or `default`",
                _ => "",
            };
            Failure::new(format!("{name}: {error}{hint}"))
        };
        let bytes = match name {
            "default" => profile::DEFAULT.as_bytes().to_vec(),
            "-" => read_bounded(io::stdin().lock()).map_err(failed)?,
            path => read_bounded(fs::File::open(path).map_err(failed)?).map_err(failed)?,
        };
        let name = match name {
            "default" => "default.json (built in)",
            "-" => "standard input",
            path => path,
        };
        Ok(Input {
            name: name.to_owned(),
            bytes,
        })
    }

    /// The profile in it. What is wrong with it is shown.
    pub(crate) fn profile(&self) -> Result<Profile, Failure> {
        Profile::parse(&self.bytes).map_err(|error| {
            diagnostics::show_error(&self.source(), &error);
            Failure::said()
        })
    }

    /// The filter that the profile in it comes to. What is wrong is shown; notices are if asked for.
    pub(crate) fn compile(&self, context: &Context, notices: bool) -> Result<Filter, Failure> {
        self.compile_profile(&self.profile()?, context, notices)
    }

    /// As [`compile`](Self::compile), for who has read the profile in it already.
    pub(crate) fn compile_profile(
        &self,
        profile: &Profile,
        context: &Context,
        notices: bool,
    ) -> Result<Filter, Failure> {
        let filter = Filter::compile(profile, context).map_err(|error| match error {
            callgate::CompileError::Profile(error) => {
                diagnostics::show_error(&self.source(), &error);
                Failure::said()
            }
            other => Failure::new(format!("{}: {other}", self.name)),
        })?;
        if notices {
            diagnostics::show_notices(&self.source(), filter.notices(), context.arch);
        }
        Ok(filter)
    }

    /// The profile in it with all that it came to.
    pub(crate) fn compiled(self, profile: Profile, filter: Filter, context: Context) -> Compiled {
        Compiled {
            name: self.name,
            text: self.bytes,
            profile,
            filter,
            context,
        }
    }

    /// The filter in it, be it a profile or instructions.
    fn filter(&self, context: &Context) -> Result<AnyFilter, Failure> {
        let first = self.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        let may_be_raw = !self.bytes.is_empty() && first != Some(&b'{');
        if !may_be_raw {
            return Ok(AnyFilter::Compiled(Box::new(self.compile(context, false)?)));
        }
        match self.decode(context) {
            Some(program) => Ok(AnyFilter::Bare(vec![program])),
            None if self.bytes.contains(&0) => {
                let error = decode(&self.bytes, context.arch.byte_order()).err();
                let error = error.map_or_else(String::new, |error| error.to_string());
                Err(Failure::new(format!(
                    "{}: neither a profile nor a filter: {error}",
                    self.name
                )))
            }
            None => Ok(AnyFilter::Compiled(Box::new(self.compile(context, false)?))),
        }
    }

    /// The instructions in it, in the byte order of the architectures that they ask for.
    fn decode(&self, context: &Context) -> Option<Program> {
        let orders = [context.arch.byte_order(), ByteOrder::Little, ByteOrder::Big];
        let programs = orders
            .into_iter()
            .filter_map(|order| decode(&self.bytes, order).ok());
        let mut programs: Vec<Program> = programs.collect();
        let fits = programs
            .iter()
            .position(|p| byte_order_asked_for(p.insns()) == p.byte_order());
        let index = fits.unwrap_or(0);
        (index < programs.len()).then(|| programs.swap_remove(index))
    }

    /// The same with other bytes in it.
    pub(crate) fn with_bytes(self, bytes: Vec<u8>) -> Input {
        Input { bytes, ..self }
    }

    /// What it is called, and its bytes.
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            name: &self.name,
            bytes: &self.bytes,
        }
    }
}

/// Reads all, but no more than a little over what any profile may have: the reader of profiles refuses that.
fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_PROFILE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
