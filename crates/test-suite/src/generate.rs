//! Random profiles, and calls that lie where they can go wrong.
//!
//! Values lie at and about a few borders, so that conditions overlap, meet and contradict each other often.

use callgate::compiler::policy::RuleOrder;
use callgate::compiler::syscalls;
use callgate::{Arch, Call, Capabilities, Context, KernelVersion};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::random::Random;

/// Names that many profiles of a run share, so that rules meet: plain ones, multiplexed ones, ones of few ABIs, one of none.
const NAMES: [&str; 14] = [
    "read",
    "write",
    "personality",
    "clone",
    "clone3",
    "socket",
    "connect",
    "accept",
    "shmat",
    "semop",
    "ioctl",
    "socketcall",
    "open",
    "no_such_call",
];

/// A profile as JSON, in OCI's form.
pub fn profile(native: Arch) -> impl Strategy<Value = Value> {
    (
        action(),
        guests(native),
        prop::collection::vec(entry(), 0..8),
    )
        .prop_map(|((action, errno), archs, entries)| {
            let names: Vec<String> = archs.into_iter().map(Arch::oci_name).collect();
            let mut profile =
                json!({ "defaultAction": action, "architectures": names, "syscalls": entries });
            if let Some(errno) = errno {
                profile["defaultErrnoRet"] = errno.into();
            }
            profile
        })
}

/// The same in Docker's form: architectures come from a map, entries depend on the context, errnos have names.
pub fn docker_profile(native: Arch) -> impl Strategy<Value = Value> {
    let additions = prop::collection::vec(addition(), 8);
    let others = select(Arch::ALL.to_vec());
    (profile(native), additions, others).prop_map(move |(mut profile, additions, other)| {
        let guests = profile["architectures"].take();
        profile["archMap"] = json!([
            { "architecture": other.oci_name(), "subArchitectures": ["SCMP_ARCH_X86"] },
            { "architecture": native.oci_name(), "subArchitectures": guests },
        ]);
        let entries = profile["syscalls"].as_array_mut().into_iter().flatten();
        for (entry, (member, value)) in entries.zip(additions) {
            match member {
                "name" => entry["name"] = entry["names"].take()[0].take(),
                "errno" if entry["action"] != "SCMP_ACT_ERRNO" => {}
                _ => entry[member] = value,
            }
        }
        profile
    })
}

/// What an entry may have in Docker's form only.
fn addition() -> impl Strategy<Value = (&'static str, Value)> {
    let arches = json!({ "arches": ["amd64", "s390x", "arm64"] });
    let caps = json!({ "caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"] });
    let kernel = json!({ "minKernel": "5.4" });
    let all = json!({ "arches": ["amd64"], "caps": ["CAP_SYS_ADMIN"], "minKernel": "6.18" });
    let selector = select(vec![arches, caps, kernel, all, json!({}), Value::Null]);
    prop_oneof![
        selector.clone().prop_map(|selector| ("includes", selector)),
        selector.prop_map(|selector| ("excludes", selector)),
        select(vec!["ENOSYS", "EACCES", "38", "4096"]).prop_map(|errno| ("errno", errno.into())),
        Just(("comment", "why".into())),
        Just(("name", Value::Null)),
    ]
}

/// A document with something changed at a random place, most often so that it can't be taken.
#[must_use]
pub fn damaged(document: &Value, seed: u64) -> Value {
    let mut random = Random::new(seed);
    let mut damaged = document.clone();
    let mut place = random.next() % nodes(document);
    damage(&mut damaged, &mut place, &mut random);
    damaged
}

fn nodes(value: &Value) -> u64 {
    let within: u64 = match value {
        Value::Array(elements) => elements.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum(),
        _ => 0,
    };
    within + 1
}

/// Damages the value that is this many values further on in the document, and says whether that was within this one.
fn damage(value: &mut Value, place: &mut u64, random: &mut Random) -> bool {
    if *place == 0 {
        damage_here(value, random);
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(elements) => elements.iter_mut().any(|e| damage(e, place, random)),
        Value::Object(members) => members.values_mut().any(|m| damage(m, place, random)),
        _ => false,
    }
}

fn damage_here(value: &mut Value, random: &mut Random) {
    let texts = [
        "",
        "write",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRAP",
        "scmp_act_trap",
        "SCMP_CMP_LT",
        "x86",
        "SCMP_ARCH_NATIVE",
        "SCMP_ARCH_S390X",
        "amd64",
        "CAP_SYS_ADMIN",
        "4.8",
        "4.8.1",
        "EPERM",
        "005",
        "5x",
    ];
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(6),
        json!(4096),
        json!(65536),
        json!(-1),
        json!(1.0),
        json!(1e30),
        json!([]),
        json!({}),
        json!([0]),
        json!(["close"]),
        json!([{}]),
    ];
    let names = [
        "names",
        "name",
        "args",
        "action",
        "errnoRet",
        "errno",
        "comment",
        "includes",
        "excludes",
        "defaultErrno",
        "flags",
        "archMap",
        "architectures",
        "listenerPath",
        "listenerMetadata",
        "valueTwo",
        "minKernel",
        "linux",
        "colour",
    ];
    let other = match random.next() % 2 {
        0 => json!(random.pick(&texts)),
        _ => random.pick(&others).clone(),
    };
    let Some(members) = value.as_object_mut().filter(|members| !members.is_empty()) else {
        *value = other;
        return;
    };
    let own: Vec<String> = members.keys().cloned().collect();
    let own = random.pick(&own);
    match random.next() % 5 {
        0 => *value = other,
        1 => drop(members.remove(own)),
        2 => drop(members.insert(random.pick::<&str>(&names).to_string(), other)),
        3 => drop(members.insert(own.to_uppercase(), other)),
        _ => drop(members.insert(own.replacen('s', "\u{17f}", 1), other)),
    }
}

/// What a profile may be read for.
pub fn context() -> impl Strategy<Value = Context> {
    let natives = select(
        Arch::ALL
            .into_iter()
            .filter(|arch| arch.is_native())
            .collect::<Vec<_>>(),
    );
    // Most often the one with the most to go wrong.
    let natives = prop_oneof![Just(Arch::X86_64), natives];
    let order = select(vec![RuleOrder::Runtime, RuleOrder::Document]);
    let kernel = select(vec![(4, 8), (5, 3), (5, 4), (6, 18)]);
    let capabilities = select(vec![
        Capabilities::default(),
        Capabilities::none(),
        Capabilities::all(),
    ]);
    let (newer_calls, strict) = (prop::bool::weighted(0.8), prop::bool::weighted(0.1));
    (natives, order, kernel, capabilities, newer_calls, strict).prop_map(
        |(arch, rule_order, (major, minor), capabilities, newer_calls, strict)| Context {
            rule_order,
            capabilities,
            newer_calls,
            strict,
            ..Context::new(arch, KernelVersion { major, minor })
        },
    )
}

/// Some of the ABIs that a kernel runs.
fn guests(native: Arch) -> impl Strategy<Value = Vec<Arch>> {
    let guests: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| native.runs(*arch))
        .collect();
    let count = guests.len();
    proptest::sample::subsequence(guests, 0..=count)
}

fn action() -> impl Strategy<Value = (&'static str, Option<u16>)> {
    let errno = select(vec![
        None,
        Some(0),
        Some(1),
        Some(13),
        Some(38),
        Some(4095),
        Some(4096),
    ]);
    let plain = select(vec![
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_NOTIFY",
    ]);
    prop_oneof![
        plain.prop_map(|name| (name, None)),
        errno.prop_map(|errno| ("SCMP_ACT_ERRNO", errno)),
        Just(("SCMP_ACT_ALLOW", None)),
        Just(("SCMP_ACT_TRACE", Some(7))),
    ]
}

fn entry() -> impl Strategy<Value = Value> {
    let names = prop::collection::vec(select(NAMES.to_vec()), 1..3);
    let args = prop_oneof![Just(Vec::new()), prop::collection::vec(arg(), 1..4)];
    (names, action(), args).prop_map(|(names, (action, errno), args)| {
        let mut entry = json!({ "names": names, "action": action, "args": args });
        if let Some(errno) = errno {
            entry["errnoRet"] = errno.into();
        }
        entry
    })
}

fn arg() -> impl Strategy<Value = Value> {
    let ops = [
        "NE",
        "LT",
        "LE",
        "EQ",
        "GE",
        "GT",
        "MASKED_EQ",
        "EQ",
        "MASKED_EQ",
    ];
    (select(vec![0, 1, 2, 0, 1, 2, 5]), select(ops.to_vec()), datum(), datum()).prop_map(|(index, op, value, value_two)| {
        json!({ "index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": value_two })
    })
}

/// A value at or about a border.
pub fn datum() -> impl Strategy<Value = u64> {
    prop_oneof![
        select(BORDERS.to_vec()),
        select(BORDERS.to_vec()),
        any::<u64>()
    ]
}

/// Where comparisons of whole and half arguments change their answers.
pub const BORDERS: [u64; 13] = [
    0,
    1,
    2,
    3,
    0x7fff_ffff,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x2_0000_0002,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// Calls of a profile's names on all ABIs of a kernel and one other, with arguments from the borders and the profile,
/// chosen by a seed.
#[must_use]
pub fn calls(profile: &Value, native: Arch, seed: u64, count: usize) -> Vec<Call> {
    let mut random = Random::new(seed);
    let mut values = BORDERS.to_vec();
    collect_numbers(profile, &mut values);
    let mut archs: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| native.runs(*arch))
        .collect();
    archs.push(if native == Arch::Arm {
        Arch::Sh
    } else {
        Arch::Arm
    });
    let calls = (0..count).map(|_| {
        let arch = *random.pick(&archs);
        let named = syscalls::number(arch, random.pick::<&str>(&NAMES));
        let nr = match random.next() % 8 {
            0 => *random.pick(&[
                0,
                1,
                500,
                0x3fff_ffff,
                0x4000_0000,
                0x4000_0200,
                0x8000_0000,
                0xc000_0001,
                u32::MAX,
            ]),
            1 => u32::try_from(random.next() % 600).unwrap_or(0),
            _ => named.unwrap_or(7),
        };
        let args = [0; 6].map(|_| {
            let value = *random.pick(&values);
            match random.next() % 6 {
                0 => value.wrapping_add(1),
                1 => value.wrapping_sub(1),
                2 => value ^ (1 << (random.next() % 64)),
                _ => value,
            }
        });
        Call::new(arch, nr, args)
    });
    calls.collect()
}

fn collect_numbers(value: &Value, into: &mut Vec<u64>) {
    match value {
        Value::Number(number) => into.extend(number.as_u64()),
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| collect_numbers(element, into)),
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_numbers(member, into)),
        _ => {}
    }
}
