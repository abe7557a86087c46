//! What is wrong with a document, whatever it is read for: the refusals of docs/meaning.md, member by member.

use callgate::compiler::errno;
use callgate::{Arch, Capabilities};
use serde_json::{Map, Value};

use super::json::TWICE;

type Refusal = Result<(), String>;

const PROFILE: &str =
    "defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata syscalls";
const DOCKER_PROFILE: &str = "archMap defaultErrno";
const ENTRY: &str = "names action errnoRet args";
const DOCKER_ENTRY: &str = "name errno comment includes excludes";

/// Finds the profile in a document: a whole configuration has it within, and no Docker members in it.
pub(super) fn seccomp_of(document: &Value) -> Result<Value, String> {
    let document = object(document)?;
    let known = format!("{PROFILE} {DOCKER_PROFILE} linux");
    members(document, &known, Others::Ignored)?;
    let has = |names: &str| names.split(' ').any(|name| is_given(document.get(name)));
    let is_profile = has(PROFILE) || has(DOCKER_PROFILE);
    if is_profile && has("linux") {
        return Err("a profile and a configuration in one".to_owned());
    }
    if is_profile || !has("ociVersion linux process root mounts hooks") {
        let docker = Docker::Allowed;
        profile(document, docker)?;
        return Ok(Value::Object(document.clone()));
    }
    let linux = object(document.get("linux").unwrap_or(&Value::Null))?;
    members(linux, "seccomp", Others::Ignored)?;
    let mut seccomp = object(linux.get("seccomp").unwrap_or(&Value::Null))?.clone();
    profile(&seccomp, Docker::Unknown)?;
    seccomp.retain(|name, _| !DOCKER_PROFILE.split(' ').any(|docker| docker == name));
    Ok(Value::Object(seccomp))
}

#[derive(Clone, Copy, PartialEq)]
enum Docker {
    Allowed,
    Unknown,
}

/// What members that nobody knows come to.
#[derive(Clone, Copy, PartialEq)]
enum Others {
    Ignored,
    Refused,
}

fn profile(profile: &Map<String, Value>, docker: Docker) -> Refusal {
    let known = match docker {
        Docker::Allowed => format!("{PROFILE} {DOCKER_PROFILE}"),
        Docker::Unknown => PROFILE.to_owned(),
    };
    members(profile, &known, Others::Ignored)?;
    let member = |name: &str| profile.get(name).unwrap_or(&Value::Null);
    let errno = match docker {
        Docker::Allowed => member("defaultErrno"),
        Docker::Unknown => &Value::Null,
    };
    action(member("defaultAction"), errno, member("defaultErrnoRet"))?;
    each(member("architectures"), architecture)?;
    each(member("flags"), |flag| {
        one_of(
            flag,
            "SECCOMP_FILTER_FLAG_",
            "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV",
        )
    })?;
    if docker == Docker::Allowed {
        each(member("archMap"), arch_map)?;
        let is_filled = |name: &str| member(name).as_array().is_some_and(|list| !list.is_empty());
        refuse_if(
            is_filled("archMap") && is_filled("architectures"),
            "archMap and architectures",
        )?;
    }
    optional_text(member("listenerPath"))?;
    optional_text(member("listenerMetadata"))?;
    let given = |name: &str| is_given(profile.get(name));
    refuse_if(
        given("listenerMetadata") && !given("listenerPath"),
        "metadata without a path",
    )?;
    each(member("syscalls"), |value| entry(value, docker))
}

fn arch_map(value: &Value) -> Refusal {
    let map = object(value)?;
    members(map, "architecture subArchitectures", Others::Refused)?;
    architecture(&value["architecture"])?;
    each(&value["subArchitectures"], architecture)
}

fn architecture(value: &Value) -> Refusal {
    let name = text(value)?;
    let is_native = name == "SCMP_ARCH_NATIVE" || name == "native";
    let is_named = |arch: &Arch| arch.oci_name() == name || arch.name() == name;
    let known = is_native || Arch::ALL.iter().any(is_named);
    refuse_if(!known, "architecture")
}

fn entry(value: &Value, docker: Docker) -> Refusal {
    let known = match docker {
        Docker::Allowed => format!("{ENTRY} {DOCKER_ENTRY}"),
        Docker::Unknown => ENTRY.to_owned(),
    };
    members(object(value)?, &known, Others::Refused)?;
    action(&value["action"], &value["errno"], &value["errnoRet"])?;
    let (one, many) = (!value["name"].is_null(), !value["names"].is_null());
    refuse_if(one == many, "name and names, or neither")?;
    let name = |name: &Value| refuse_if(text(name)?.is_empty(), "empty name");
    if one {
        name(&value["name"])?;
    }
    each(&value["names"], name)?;
    optional_text(&value["comment"])?;
    each(&value["args"], condition)?;
    selector(&value["includes"])?;
    selector(&value["excludes"])
}

fn condition(value: &Value) -> Refusal {
    members(object(value)?, "index value valueTwo op", Others::Refused)?;
    refuse_if(value["index"].as_u64().is_none_or(|i| i > 5), "index")?;
    refuse_if(value["value"].as_u64().is_none(), "value")?;
    let second = &value["valueTwo"];
    refuse_if(!second.is_null() && second.as_u64().is_none(), "valueTwo")?;
    one_of(&value["op"], "SCMP_CMP_", "NE LT LE EQ GE GT MASKED_EQ")
}

fn selector(value: &Value) -> Refusal {
    if value.is_null() {
        return Ok(());
    }
    members(object(value)?, "arches caps minKernel", Others::Refused)?;
    each(&value["arches"], |arch| {
        let name = text(arch)?;
        let other_names = ["386", "loongarch64"].contains(&name);
        let known = other_names || Arch::ALL.iter().any(|arch| arch.docker_name() == name);
        refuse_if(!known, "arch")
    })?;
    each(&value["caps"], |cap| {
        Capabilities::named([text(cap)?]).map_or_else(|error| Err(error.to_string()), |_| Ok(()))
    })?;
    if value["minKernel"].is_null() {
        return Ok(());
    }
    let parts: Vec<&str> = text(&value["minKernel"])?.split('.').collect();
    let is_number =
        |part: &&str| part.chars().all(|c| c.is_ascii_digit()) && part.parse::<u32>().is_ok();
    refuse_if(
        parts.len() != 2 || !parts.iter().all(is_number),
        "minKernel",
    )
}

fn action(action: &Value, errno: &Value, number: &Value) -> Refusal {
    let kinds = "KILL KILL_THREAD KILL_PROCESS TRAP ERRNO TRACE ALLOW LOG NOTIFY";
    one_of(action, "SCMP_ACT_", kinds)?;
    let largest = match text(action)? {
        "SCMP_ACT_ERRNO" => 4095,
        "SCMP_ACT_TRACE" => 65535,
        _ => return refuse_if(!errno.is_null() || !number.is_null(), "errno of no use"),
    };
    let fits = |number: Option<u64>| number.is_some_and(|number| number <= largest);
    refuse_if(!number.is_null() && !fits(number.as_u64()), "errno")?;
    if errno.is_null() {
        return Ok(());
    }
    let name = text(errno)?;
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = name.chars().all(|c| c.is_ascii_digit());
        return refuse_if(!digits || !fits(name.parse().ok()), "errno in digits");
    }
    let known = Arch::ALL
        .iter()
        .all(|arch| errno::number(*arch, name).is_some());
    refuse_if(!known, "name of an errno")
}

/// Refuses members that occur twice, that differ from known ones in case alone, and other unknown ones if they are to be refused. Null is
/// as good as not there, but for its name.
fn members(object: &Map<String, Value>, known: &str, others: Others) -> Refusal {
    refuse_if(object.contains_key(TWICE), TWICE)?;
    for (name, value) in object {
        let mut known = known.split(' ');
        if known.clone().any(|known| known == name) {
            continue;
        }
        refuse_if(known.any(|known| folded(known) == folded(name)), "case")?;
        refuse_if(others == Others::Refused && !value.is_null(), name)?;
    }
    Ok(())
}

/// A name as Go's JSON reader compares it: without case, and with the two letters outside ASCII that are cases of letters
/// within it.
fn folded(name: &str) -> String {
    let name = name.replace('\u{17f}', "s").replace('\u{212a}', "k");
    name.to_ascii_lowercase()
}

fn is_given(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null())
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| "no object".to_owned())
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "no string".to_owned())
}

fn optional_text(value: &Value) -> Refusal {
    refuse_if(!value.is_null() && !value.is_string(), "no string")
}

fn each(list: &Value, check: impl Fn(&Value) -> Refusal) -> Refusal {
    refuse_if(!list.is_null() && !list.is_array(), "no list")?;
    list.as_array().into_iter().flatten().try_for_each(check)
}

fn one_of(value: &Value, prefix: &str, names: &str) -> Refusal {
    let name = text(value)?.strip_prefix(prefix);
    let known = name.is_some_and(|name| names.split(' ').any(|known| known == name));
    refuse_if(!known, "unknown name")
}

fn refuse_if(wrong: bool, what: &str) -> Refusal {
    if wrong { Err(what.to_owned()) } else { Ok(()) }
}
