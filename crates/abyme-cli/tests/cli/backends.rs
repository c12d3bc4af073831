//! The interpreters that not every `abyme` has, and not every machine.

use crate::support::TestDir;

/// What `abyme` does with an interpreter that it was built without.
#[cfg(any(not(feature = "docker"), not(feature = "modal"), not(feature = "pyo3")))]
#[test]
fn what_is_left_out_says_how_to_get_it() {
    let dir = TestDir::new();
    let features = [
        ("docker", cfg!(feature = "docker")),
        ("modal", cfg!(feature = "modal")),
        ("pyo3", cfg!(feature = "pyo3")),
    ];
    for (name, _) in features.into_iter().filter(|(_, is_built_in)| !is_built_in) {
        let how = format!("--features {name}");
        for args in [["demo", "--interpreter", name], ["interpreter", "--backend", name]] {
            dir.run(&args).failed(2, &["is not in this `abyme`", &how, "wasm, subprocess"]);
        }
        assert!(dir.run(&["doctor"]).stdout.contains(&how));
    }
}

#[test]
fn an_image_is_for_containers_only() {
    let dir = TestDir::new();
    dir.run(&["demo", "--image", "python:3.13-slim"]).failed(
        2,
        &["--image python:3.13-slim is for the `docker` and `modal` interpreters", "this is `wasm`"],
    );
}

#[cfg(feature = "docker")]
#[test]
fn no_engine_is_said_in_one_line() {
    let dir = TestDir::new();
    let run = |args: &[&str]| {
        let output = dir.command(args).env("DOCKER_HOST", "unix:///no/docker.sock").output().unwrap();
        crate::support::CommandEnd::from(output)
    };
    run(&["demo", "--json", "--interpreter", "docker"]).failed(3, &["/no/docker.sock", "doctor"]);
    run(&["interpreter", "--backend", "docker"]).failed(3, &["/no/docker.sock"]);
    let doctor = run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    let line = doctor.stdout.lines().find(|line| line.contains("docker ")).unwrap();
    assert!(line.starts_with("  NO  docker") && line.contains("/no/docker.sock"), "{line}");
}

#[cfg(feature = "docker")]
#[test]
fn of_several_engines_each_is_named_once() {
    let dir = TestDir::new();
    let sockets = "unix:///no/one.sock,unix:///no/two.sock";
    let run = |args: &[&str]| {
        let output = dir.command(args).env("DOCKER_HOST", sockets).output().unwrap();
        crate::support::CommandEnd::from(output)
    };
    let failed = run(&["demo", "--json", "--interpreter", "docker"]);
    failed.failed(3, &["none of 2 Docker engines", "/no/one.sock", "/no/two.sock"]);
    assert_eq!(failed.stderr.matches("no Docker engine answers").count(), 2, "{failed:?}");
    let doctor = run(&["doctor", "--interpreter", "docker"]);
    assert_eq!(doctor.code, 3, "{doctor:?}");
    for socket in ["/no/one.sock", "/no/two.sock"] {
        let lines: Vec<_> = doctor.stdout.lines().filter(|line| line.contains(socket)).collect();
        let [line] = &lines[..] else { panic!("{doctor:?}") };
        assert!(line.starts_with("  NO  docker"), "{line}");
    }
    let json = run(&["doctor", "--interpreter", "docker", "--json"]).json();
    let engines = json["backends"].as_array().unwrap().iter().map(|backend| &backend["engine"]);
    assert_eq!(engines.collect::<Vec<_>>(), ["unix:///no/one.sock", "unix:///no/two.sock"]);
}

#[cfg(feature = "pyo3")]
#[test]
fn the_demo_runs_in_this_process() {
    let dir = TestDir::new();
    let ended = dir.run(&["demo", "--json", "--size", "200KB", "--interpreter", "pyo3"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = ended.json();
    assert_eq!((&report["answer"], &report["interpreter"]), (&report["expected"], &"pyo3".into()));
    let doctor = dir.run(&["doctor"]).stdout;
    assert!(doctor.contains("ok  pyo3") && doctor.contains("isolation: none; network open"), "{doctor}");
}

#[cfg(feature = "pyo3")]
#[test]
fn what_cannot_hold_in_this_process_is_refused() {
    let dir = TestDir::new();
    for (args, parts) in [
        (&["interpreter", "--backend", "pyo3", "--memory-mb", "64"][..], ["--memory-mb", "without limits"]),
        (
            &["demo", "--interpreter", "pyo3", "--python", "/usr/bin/python3"],
            ["/usr/bin/python3", "virtual environment"],
        ),
    ] {
        dir.run(args).failed(2, &parts);
    }
}

/// Code in this process may write to descriptor 1 and start programs that read 0: neither is a channel of the
/// command's.
#[cfg(feature = "pyo3")]
#[test]
fn cells_do_not_reach_the_commands_own_streams() {
    let dir = TestDir::new();
    let code = "import os, subprocess\nos.write(1, b'raw\\n')\n\
                subprocess.run(['sh', '-c', 'echo child; cat'])\n'done'";
    let line = |code: &str| format!("{}\n", serde_json::json!({ "code": code }));
    let requests = [line(code), line("'next'")].concat();
    let ended = dir.run_with_stdin(&["interpreter", "--backend", "pyo3"], requests.as_bytes());
    assert_eq!(ended.code, 0, "{ended:?}");
    let answers: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values: Vec<_> = answers.iter().map(|answer| &answer["value"]).collect();
    assert_eq!(values, ["'done'", "'next'"], "{ended:?}");
    assert!(ended.stderr.contains("raw") && ended.stderr.contains("child"), "{ended:?}");
}
