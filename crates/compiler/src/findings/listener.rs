//! NOTIFY where nobody would answer, or where the answer may come to nothing.

use super::Subject;
use crate::action::Action;
use crate::notice::{Code, Notice};
use crate::profile::Flag;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Notice> {
    let notifies = |action: Action| action == Action::Notify;
    let mut entries = subject.entries();
    let Some(entry) = entries.find(|entry| notifies(entry.action.on(subject.context.arch))) else {
        return Vec::new();
    };
    let path = entry.path.member("action");
    let mut found = Vec::new();
    if subject.profile.listener_path.is_none() {
        let message = "NOTIFY without a `listenerPath`: a container runtime has nobody to hand the listener to, and starts nothing";
        let help = "add `listenerPath`, the socket of the supervisor";
        found.push(Notice::new(Code::NoListenerPath, path.clone(), message).help(help));
    }
    if !subject.profile.flags.contains(&Flag::WaitKillableRecv) {
        let message = "NOTIFY without WAIT_KILLABLE_RECV: a signal to the caller ends its wait, and the call is made anew while a supervisor still works on the first";
        let help = "add SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV to `flags` (Linux 5.19)";
        found.push(Notice::new(Code::InterruptedNotify, path, message).help(help));
    }
    found
}
