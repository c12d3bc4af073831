//! What is counted in the whole process. The only test of its program: any other would be counted, too.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use abyme_core::{CodeInterpreter, InterpreterFactoryExt};
use abyme_interpreter_subprocess::Subprocess;

#[tokio::test]
async fn a_hundred_sessions_leave_no_descriptor_and_no_zombie() {
    let factory = Subprocess::new();
    let mut first = factory.session().await.unwrap();
    first.shutdown().await.unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..100 {
        let mut session = factory.session().await.unwrap();
        assert_eq!(session.run_code("1").await.unwrap().value.unwrap().to_string(), "1");
        session.shutdown().await.unwrap();
    }
    assert!(open() <= before + 2, "{before} descriptors before, {} after", open());
    let zombies = std::process::Command::new("ps")
        .args(["-o", "stat=", "--ppid", &std::process::id().to_string()])
        .output();
    let zombies = String::from_utf8(zombies.unwrap().stdout).unwrap();
    assert_eq!(zombies.lines().filter(|state| state.starts_with('Z')).count(), 0, "{zombies}");
}
