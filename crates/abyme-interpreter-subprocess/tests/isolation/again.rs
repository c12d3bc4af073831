//! A test that runs itself again where the machine or the user has other rights.

use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Where a test runs that was started again.
const THERE: &str = "ABYME_TEST_THERE";
/// A Python that every user can execute.
const PYTHON_OF_ALL: &str = "/usr/bin/python3";
/// As in a container that may make no user namespace: this one is nested in one whose limit is 0.
const NO_NAMESPACES: [&str; 4] = ["unshare", "-Ur", "sh", "-c"];
/// A user without rights.
pub(crate) const PLAIN_USER: [&str; 5] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];

/// Whether this process is the one that was started again.
pub(crate) fn is_there() -> bool {
    std::env::var_os(THERE).is_some()
}

/// Runs a test of this program again, below the command `with`, and expects it to pass.
pub(crate) fn again(test: &str, with: &[&str]) {
    let this = std::env::current_exe().unwrap();
    let mut words = with.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", test, "--nocapture"]).env(THERE, "1");
    command.env("ABYME_TEST_PYTHON", PYTHON_OF_ALL).current_dir("/");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The same where there are no user namespaces.
pub(crate) fn without_namespaces(test: &str) {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    again(test, &[NO_NAMESPACES.as_slice(), &[script]].concat());
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Has the kernel refuse system calls to this thread and to what it starts, as one does that lacks them, or a
/// container's profile. Each is a call, and what its first argument is if that matters.
pub(crate) fn refuse(calls: &[(i64, Option<u64>)], errno: i32) {
    let rule = |&(call, first): &(i64, Option<u64>)| {
        let is = |value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap();
        let rules = first.map(|value| SeccompRule::new(vec![is(value)]).unwrap());
        (call, rules.into_iter().collect())
    };
    let (calls, errno) = (calls.iter().map(rule).collect(), SeccompAction::Errno(errno.unsigned_abs()));
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, errno, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}
