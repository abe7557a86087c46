//! The options by which a command says what a profile is read for.

use callgate::compiler::policy::RuleOrder;
use callgate::{Arch, Capabilities, Context, KernelVersion, probe};
use clap::{Args, ValueEnum};

use crate::failure::Failure;

/// What the profile is read for.
#[derive(Args, Debug)]
#[command(next_help_heading = "Context")]
pub(crate) struct ContextOptions {
    /// Architecture of the kernel, as x86_64, aarch64 or s390x [default: this machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Option<Arch>,

    /// Capability of the container, repeated; or `none` or `all` [default: Docker's 14]
    #[arg(long = "cap", value_name = "NAME")]
    caps: Vec<String>,

    /// Version of the kernel [default: the running one's]
    #[arg(long, value_name = "X.Y")]
    kernel: Option<KernelVersion>,

    /// In which order the rules of a call are tried: as container runtimes do, or as written
    #[arg(long, value_name = "ORDER", default_value = "runtime", value_enum)]
    rule_order: Order,

    /// Leave out the rule that answers ENOSYS to calls newer than the profile
    #[arg(long)]
    no_enosys: bool,

    /// Take names of system calls that no architecture has for errors
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Runtime,
    Document,
}

impl ContextOptions {
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let arch = self.arch.or_else(probe::native_arch);
        let arch = arch.ok_or_else(|| {
            Failure::new("this machine's architecture is not one of the runtime-spec: say --arch")
        })?;
        if !arch.is_native() {
            return Err(Failure::new(format!(
                "--arch {arch}: there is no kernel for it alone; it belongs to a 64-bit one"
            )));
        }
        let kernel = self.kernel.or_else(probe::kernel_version);
        let kernel = kernel.ok_or_else(|| {
            Failure::new("the running kernel has no version that can be read: say --kernel")
        })?;
        Ok(Context {
            capabilities: self.capabilities()?,
            rule_order: match self.rule_order {
                Order::Runtime => RuleOrder::Runtime,
                Order::Document => RuleOrder::Document,
            },
            newer_calls: !self.no_enosys,
            strict: self.strict,
            ..Context::new(arch, kernel)
        })
    }

    fn capabilities(&self) -> Result<Capabilities, Failure> {
        let named: Vec<&str> = self.caps.iter().map(String::as_str).collect();
        match named[..] {
            [] => Ok(Capabilities::default()),
            ["none"] => Ok(Capabilities::none()),
            ["all"] => Ok(Capabilities::all()),
            _ if named.contains(&"none") || named.contains(&"all") => {
                Err(Failure::new("--cap none and --cap all stand alone"))
            }
            _ => Capabilities::named(named).map_err(|unknown| {
                let similar = unknown
                    .similar
                    .map(|name| format!(": did you mean `{name}`?"));
                Failure::new(format!("--cap: {unknown}{}", similar.unwrap_or_default()))
            }),
        }
    }
}
