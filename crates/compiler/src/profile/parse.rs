//! Bytes → profile: detects the form, and reads it member by member.

use super::json::Json;
use super::read::{At, Object};
use super::{
    ActionSpec, ArchMapEntry, ArchSpec, Arg, EPERM, Entry, Flag, Format, Operator, Profile,
    Selector,
};
use crate::action::{Action, MAX_ERRNO};
use crate::arch::Arch;
use crate::context::{KernelVersion, find_capability};
use crate::errno;
use crate::limits::ARGUMENTS;
use crate::notice::{Code, JsonPath, Notice, ProfileError, quoted};
use crate::similar::most_similar;

type Result<T> = std::result::Result<T, ProfileError>;

const PROFILE: [&str; 7] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
const DOCKER_PROFILE: [&str; 9] = [
    "defaultAction",
    "defaultErrnoRet",
    "defaultErrno",
    "architectures",
    "archMap",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
const ENTRY: [&str; 4] = ["names", "action", "errnoRet", "args"];
const DOCKER_ENTRY: [&str; 9] = [
    "names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes",
];
const ARG: [&str; 4] = ["index", "value", "valueTwo", "op"];
const SELECTOR: [&str; 3] = ["arches", "caps", "minKernel"];
const ARCH_MAP: [&str; 2] = ["architecture", "subArchitectures"];

/// Members that a whole container configuration has and a profile doesn't.
const CONFIG: [&str; 6] = ["ociVersion", "linux", "process", "root", "mounts", "hooks"];

const ACTIONS: [(&str, Action); 9] = [
    ("SCMP_ACT_KILL", Action::KillThread),
    ("SCMP_ACT_KILL_THREAD", Action::KillThread),
    ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
    ("SCMP_ACT_TRAP", Action::Trap),
    ("SCMP_ACT_ERRNO", Action::Errno(EPERM)),
    ("SCMP_ACT_TRACE", Action::Trace(EPERM)),
    ("SCMP_ACT_ALLOW", Action::Allow),
    ("SCMP_ACT_LOG", Action::Log),
    ("SCMP_ACT_NOTIFY", Action::Notify),
];

impl Profile {
    /// Reads a profile of any of the three forms: an OCI seccomp object, an OCI `config.json`, a Docker profile.
    ///
    /// ```
    /// use callgate_compiler::profile::{Format, Profile};
    /// let profile = Profile::parse(br#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#)?;
    /// assert_eq!(profile.format, Format::OciSeccomp);
    /// let error = Profile::parse(br#"{ "defaultAction": "SCMP_ACT_ALOW" }"#).unwrap_err();
    /// assert_eq!(error.to_string(), "CG0007: defaultAction: unknown action `SCMP_ACT_ALOW` (did you mean `SCMP_ACT_ALLOW`?)");
    /// # Ok::<(), callgate_compiler::ProfileError>(())
    /// ```
    ///
    /// # Errors
    /// Whatever is not as it must be, with its place in the document. Nothing is skipped in silence.
    pub fn parse(bytes: &[u8]) -> Result<Profile> {
        let json = Json::parse(bytes)?;
        let root =
            At::document(&json).object(&[&PROFILE[..], &DOCKER_PROFILE, &["linux"]].concat())?;
        if is_config(&root) {
            let seccomp = seccomp_of(&root)?;
            return profile(&seccomp.object(&PROFILE)?, Format::OciConfig);
        }
        if let Some(linux) = root.optional("linux") {
            let message = "the document is a profile and a configuration in one";
            let error = linux.error(Code::NotTogether, message);
            return Err(error.help("keep the members of the profile, or `linux`"));
        }
        let format = if is_docker(&root) {
            Format::Docker
        } else {
            Format::OciSeccomp
        };
        profile(&root, format)
    }
}

fn is_config(root: &Object<'_>) -> bool {
    !DOCKER_PROFILE.iter().any(|name| root.has(name)) && CONFIG.iter().any(|name| root.has(name))
}

fn seccomp_of<'a>(root: &Object<'a>) -> Result<At<'a>> {
    let missing = |path: JsonPath| {
        let error = ProfileError::new(
            Code::NoSeccomp,
            path,
            "the configuration has no `linux.seccomp`",
        );
        error.help("without one the container runs unfiltered, so there is no filter to make")
    };
    let linux = root.optional("linux");
    let linux = linux.ok_or_else(|| missing(root.path()))?;
    let seccomp = linux.object(&["seccomp"])?.optional("seccomp");
    seccomp.ok_or_else(|| missing(linux.path()))
}

/// Whether anything in it is Docker's alone.
fn is_docker(root: &Object<'_>) -> bool {
    let only = |name: &&&str| !PROFILE.contains(*name) && !ENTRY.contains(*name);
    let in_entries = DOCKER_ENTRY.iter().filter(only);
    let entries = root.optional("syscalls").map(|entries| entries.array());
    DOCKER_PROFILE
        .iter()
        .filter(only)
        .any(|name| root.has(name))
        || entries
            .and_then(Result::ok)
            .into_iter()
            .flatten()
            .any(|entry| in_entries.clone().any(|name| entry.has(name)))
}

fn profile(object: &Object<'_>, format: Format) -> Result<Profile> {
    let docker = format == Format::Docker;
    let known: &[&str] = if docker { &DOCKER_PROFILE } else { &PROFILE };
    let mut notices: Vec<Notice> = object
        .unknown(known)
        .map(|(name, path)| ignored_member(name, path, known))
        .collect();
    let (errno, map) = (
        docker.then_some("defaultErrno"),
        docker.then_some("archMap"),
    );
    let default_action = action(object, "defaultAction", "defaultErrnoRet", errno)?;
    let architectures = architectures(object.array("architectures")?)?;
    let arch_map = map.map_or(Ok(Vec::new()), |map| arch_map(object.array(map)?))?;
    if !architectures.is_empty() && !arch_map.is_empty() {
        let path = object.path().member("architectures");
        let error = ProfileError::new(
            Code::NotTogether,
            path,
            "`architectures` and `archMap` exclude each other",
        );
        return Err(error.related(object.path().member("archMap"), "the other one"));
    }
    let listener_path = object.string("listenerPath")?;
    let listener_metadata = object.string("listenerMetadata")?;
    if listener_metadata.is_some() && listener_path.is_none() {
        let path = object.path().member("listenerMetadata");
        let message = "`listenerMetadata` without `listenerPath` has nowhere to go";
        return Err(ProfileError::new(Code::NotTogether, path, message));
    }
    let mut entries = Vec::new();
    for at in object.array("syscalls")? {
        entries.push(entry(&at, docker, &mut notices)?);
    }
    Ok(Profile {
        format,
        path: object.path(),
        default_action,
        architectures,
        arch_map,
        flags: flags(object)?,
        listener_path,
        listener_metadata,
        entries,
        notices,
    })
}

fn ignored_member(name: &str, path: JsonPath, known: &[&str]) -> Notice {
    let notice = Notice::new(
        Code::IgnoredMember,
        path,
        format!("unknown member {} is ignored", quoted(name)),
    );
    match most_similar(name, known.iter().copied()) {
        Some(similar) => notice.help(format!("did you mean `{similar}`?")),
        None => notice,
    }
}

fn flags(object: &Object<'_>) -> Result<Vec<Flag>> {
    let names = Flag::ALL.map(|flag| (flag.oci_name(), flag));
    let flags = object.array("flags")?;
    flags.map(|flag| flag.one_of("flag", &names)).collect()
}

fn architectures<'a>(elements: impl Iterator<Item = At<'a>>) -> Result<Vec<ArchSpec>> {
    elements.map(architecture).collect()
}

fn architecture(at: At<'_>) -> Result<ArchSpec> {
    let text = at.string()?;
    let path = at.path();
    if text == "SCMP_ARCH_NATIVE" || text == "native" {
        return Ok(ArchSpec { arch: None, path });
    }
    let bare = text.strip_prefix("SCMP_ARCH_").map(str::to_ascii_lowercase);
    let is_named = |arch: &Arch| {
        arch.name() == text || bare.as_deref() == Some(arch.name()) && arch.oci_name() == text
    };
    let arch = Some(Arch::ALL.into_iter().find(is_named).ok_or_else(|| {
        let similar = similar_architecture(text).map(Arch::oci_name);
        at.unknown_name("architecture", similar.as_deref())
    })?);
    Ok(ArchSpec { arch, path })
}

/// The architecture that is meant where none has the name: by a name from elsewhere, or by one that looks like it.
fn similar_architecture(text: &str) -> Option<Arch> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_prefix("scmp_arch_").unwrap_or(&text);
    let names = || Arch::ALL.iter().map(|arch| arch.name());
    let meant = |arch: &Arch| arch.docker_name() == text;
    Arch::ALL
        .into_iter()
        .find(meant)
        .or_else(|| most_similar(text, names())?.parse().ok())
}

fn arch_map<'a>(entries: impl Iterator<Item = At<'a>>) -> Result<Vec<ArchMapEntry>> {
    let entry = |at: At<'_>| {
        let entry = at.object(&ARCH_MAP)?;
        entry.only(&ARCH_MAP)?;
        Ok(ArchMapEntry {
            architecture: architecture(entry.required("architecture")?)?,
            sub_architectures: architectures(entry.array("subArchitectures")?)?,
        })
    };
    entries.map(entry).collect()
}

fn entry(at: &At<'_>, docker: bool, notices: &mut Vec<Notice>) -> Result<Entry> {
    let known: &[&str] = if docker { &DOCKER_ENTRY } else { &ENTRY };
    let object = at.object(&DOCKER_ENTRY)?;
    object.only(known)?;
    object.string("comment")?;
    let (names, single_name) = names(&object)?;
    if names.is_empty() {
        let path = at.path().member("names");
        notices.push(Notice::new(
            Code::NoNames,
            path,
            "the entry names no system call, so it does nothing",
        ));
    }
    let mut args = Vec::new();
    for arg in object.array("args")? {
        args.push(argument(&arg, notices)?);
    }
    Ok(Entry {
        path: at.path(),
        names,
        single_name,
        action: action(&object, "action", "errnoRet", Some("errno"))?,
        args,
        includes: selector(&object, "includes")?,
        excludes: selector(&object, "excludes")?,
    })
}

fn names(object: &Object<'_>) -> Result<(Vec<String>, bool)> {
    let elements = match (object.optional("name"), object.optional("names")) {
        (Some(name), Some(names)) => {
            let error = name.error(Code::NotTogether, "`name` and `names` exclude each other");
            return Err(error.related(names.path(), "the other one"));
        }
        (Some(name), None) => return Ok((vec![syscall_name(name)?], true)),
        (None, _) => object.required("names")?.array()?,
    };
    let names = elements.map(syscall_name).collect::<Result<_>>()?;
    Ok((names, false))
}

fn syscall_name(at: At<'_>) -> Result<String> {
    match at.string()? {
        "" => Err(at.error(Code::OutOfRange, "a system call has a name")),
        name => Ok(name.to_owned()),
    }
}

fn argument(at: &At<'_>, notices: &mut Vec<Notice>) -> Result<Arg> {
    let object = at.object(&ARG)?;
    object.only(&ARG)?;
    let index = object.required("index")?;
    let number = index.unsigned()?;
    let in_range = u8::try_from(number)
        .ok()
        .filter(|index| usize::from(*index) < ARGUMENTS);
    let out_of_range = || {
        index.error(
            Code::OutOfRange,
            format!("there is no argument {number}: they are 0 to 5"),
        )
    };
    let value = object.required("value")?.datum()?;
    let value_two = object.optional("valueTwo");
    let arg = Arg {
        index: in_range.ok_or_else(out_of_range)?,
        value,
        value_two: value_two.as_ref().map_or(Ok(0), At::datum)?,
        op: object
            .required("op")?
            .one_of("operator", &Operator::ALL.map(|op| (op.oci_name(), op)))?,
    };
    if let Some(at) = value_two {
        notices.extend(value_two_notice(&arg, at));
    }
    Ok(arg)
}

/// What is odd about a second value.
fn value_two_notice(arg: &Arg, at: At<'_>) -> Option<Notice> {
    if arg.op != Operator::MaskedEq {
        let message = format!(
            "`valueTwo` means nothing to {}, so it is ignored",
            arg.op.oci_name()
        );
        return (arg.value_two != 0).then(|| Notice::new(Code::IgnoredValue, at.path(), message));
    }
    let outside = arg.value_two & !arg.value;
    if outside == 0 {
        return None;
    }
    let message = format!(
        "the bits {outside:#x} of `valueTwo` are not in the mask `value`, so they are ignored"
    );
    let notice = Notice::new(Code::DatumOutsideMask, at.path(), message);
    Some(notice.help("the mask is `value`, and what the masked argument must be is `valueTwo`: are they swapped?"))
}

/// An action with its datum, from the members that have them: a name of an errno wins over its number.
fn action(
    object: &Object<'_>,
    name: &'static str,
    number: &'static str,
    errno: Option<&'static str>,
) -> Result<ActionSpec> {
    let errno = errno.and_then(|errno| object.optional(errno));
    let at = object.required(name)?;
    let action = at.one_of("action", &ACTIONS)?;
    let max = match action {
        Action::Errno(_) => u64::from(MAX_ERRNO),
        Action::Trace(_) => u64::from(u16::MAX),
        _ => {
            return match errno.or_else(|| object.optional(number)) {
                Some(given) => Err(datum_refused(&given, &at)),
                None => Ok(ActionSpec::Plain(action)),
            };
        }
    };
    let numbered = object
        .optional(number)
        .map(|at| in_range(&at, at.unsigned()?, max))
        .transpose()?;
    let with = |datum| match action {
        Action::Trace(_) => ActionSpec::Plain(Action::Trace(datum)),
        _ => ActionSpec::Plain(Action::Errno(datum)),
    };
    let Some(at) = errno else {
        return Ok(with(numbered.unwrap_or(EPERM)));
    };
    let text = at.string()?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse::<u64>().map(|number| in_range(&at, number, max)) {
            Ok(datum) => Ok(with(datum?)),
            Err(_) => Err(out_of_range(&at, &quoted(text), max)),
        };
    }
    if !Arch::ALL
        .into_iter()
        .all(|arch| errno::number(arch, text).is_some())
    {
        return Err(at.unknown_name("errno", most_similar(text, errno::names())));
    }
    let trace = matches!(action, Action::Trace(_));
    Ok(ActionSpec::Named {
        trace,
        errno: text.to_owned(),
    })
}

fn datum_refused(given: &At<'_>, action: &At<'_>) -> ProfileError {
    let message = "an errno goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE only";
    let error = given.error(Code::NotTogether, message);
    error
        .related(action.path(), "the action")
        .help("remove it, or change the action")
}

fn in_range(at: &At<'_>, number: u64, max: u64) -> Result<u16> {
    let fits = u16::try_from(number).ok().filter(|_| number <= max);
    fits.ok_or_else(|| out_of_range(at, &number.to_string(), max))
}

fn out_of_range(at: &At<'_>, number: &str, max: u64) -> ProfileError {
    let message = format!("{number} is out of range: it is 0 to {max} here");
    at.error(Code::OutOfRange, message)
}

fn selector(object: &Object<'_>, name: &str) -> Result<Selector> {
    let Some(at) = object.optional(name) else {
        return Ok(Selector::default());
    };
    let object = at.object(&SELECTOR)?;
    object.only(&SELECTOR)?;
    let arches = object.array("arches")?;
    let caps = object.array("caps")?;
    let min_kernel = object
        .optional("minKernel")
        .map(|at| min_kernel(&at))
        .transpose()?;
    Ok(Selector {
        arches: arches.map(docker_arch).collect::<Result<_>>()?,
        caps: caps.map(capability).collect::<Result<_>>()?,
        min_kernel,
    })
}

fn docker_arch(at: At<'_>) -> Result<Arch> {
    let text = at.string()?;
    let is_named = |arch: &Arch| arch.docker_name() == text;
    let other_name = || match text {
        "386" => Some(Arch::X86),
        "loongarch64" => Some(Arch::Loongarch64),
        _ => None,
    };
    let named = Arch::ALL.into_iter().find(is_named).or_else(other_name);
    named.ok_or_else(|| {
        let similar = similar_architecture(text).map(Arch::docker_name);
        at.unknown_name("architecture", similar)
    })
}

fn capability(at: At<'_>) -> Result<&'static str> {
    find_capability(at.string()?).map_err(|unknown| at.unknown_name("capability", unknown.similar))
}

fn min_kernel(at: &At<'_>) -> Result<KernelVersion> {
    let text = at.string()?;
    text.parse().map_err(|_| {
        let message = format!("{} is not a kernel version", quoted(text));
        let error = at.error(Code::OutOfRange, message);
        error.help("write MAJOR.MINOR, as \"5.8\"")
    })
}
