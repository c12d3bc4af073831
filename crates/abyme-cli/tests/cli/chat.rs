//! `abyme chat` against a server on the loopback interface, from a pipe and on a terminal.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::Duration,
};

use crate::{
    run::dir,
    server::{Server, completion},
    support::{eventually, exit_within, signal},
    terminal::on_a_terminal,
};

/// Answers each question with a cell that the question itself holds.
fn server() -> Server {
    Server::start(|request| {
        let messages = request["messages"].as_array().unwrap();
        let task = messages[1]["content"].as_str().unwrap();
        let now = task.rsplit("`question` (str").next().unwrap();
        let cell = now.split("```\n").nth(1).unwrap().split("\n```").next().unwrap();
        (200, completion(&format!("```python\n{cell}\n```")))
    })
}

#[test]
fn questions_come_one_a_line_and_the_session_stays() {
    let server = server();
    let dir = dir(&server);
    dir.write("the report.txt", "ada bob ada");
    dir.write("data.json", r#"{"n": 3}"#);
    let questions = "n = the_report.count('ada'); SUBMIT(str(n))\n\n/vars\n/cost\n\
                     SUBMIT(str(n + data['n']) + answer_1)\n/nonsense\n//is no command\n/quit\nnever\n";
    let args = ["chat", "the report.txt", "data.json", "--save", "talk"];
    let ended = dir.run_with_stdin(&args, questions.as_bytes());
    // The last question is no Python, so its answer is an error: the first failure is how the chat ends.
    assert_eq!(ended.stdout, "2\n52\n", "{ended:?}");
    for part in [
        "the_report: str = 'ada bob ada'",
        "answer_1: str = '2'",
        "n: int",
        "1 call",
        "`/nonsense` is no command",
        "the conversation is saved in talk",
    ] {
        assert!(ended.stderr.contains(part), "`{part}` is not in: {ended:?}");
    }
    assert_ne!(ended.code, 0, "{ended:?}");
    // It goes on, in the same session, without the files.
    let ended = dir.run_with_stdin(&["chat", "--save", "talk"], b"SUBMIT(str(n) + answer_2)\n/load talk\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "252\n"), "{ended:?}");
    assert!(ended.stderr.contains("going on after 3 questions of talk"), "{ended:?}");
    let asked = server.requests().last().unwrap()["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(asked.contains("Question 2 of this conversation had") && asked.contains("`n` (int)"), "{asked}");
}

/// A chat reads what a question about files reads, so that one can go from the one to the other.
#[test]
fn files_are_those_of_a_question() {
    let server = server();
    let dir = dir(&server);
    std::fs::create_dir(dir.path("pages")).unwrap();
    dir.write("pages/a.html", "<title>Fees</title><p>The <b>fee</b> is 20&nbsp;%.");
    dir.write("pages/logo.png", b"\x89PNG\0\0");
    dir.write("old.txt", b"Die Geb\xfchr f\xfcr M\xfcnchen betr\xe4gt f\xfcnf Euro.");
    let questions = b"SUBMIT(pages['a.html'] + '|' + old[4:10])\n/save pages/a.html\n";
    let ended = dir.run_with_stdin(&["chat", "pages", "old.txt"], questions);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (2, "Fees\n\nThe fee is 20 %.|Geb\u{fc}hr\n"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("warning: pages/logo.png: a picture, which is not read"), "{ended:?}");
    assert!(ended.stderr.contains("/save would overwrite `pages/a.html`"), "{ended:?}");
    let args = ["chat", "pages", "--save", "pages/a.html"];
    dir.run(&args).failed(2, &["--save", "no conversation of Abyme"]);
}

/// As root a device that is replaced by a file is gone for the whole machine.
#[test]
fn a_chat_is_saved_in_files_alone() {
    let server = server();
    let dir = dir(&server);
    let socket = dir.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let ended = dir.run_with_stdin(&["chat"], b"SUBMIT('a')\n/save socket\n/save none/a\n/save b\n");
    for part in [
        "cannot write the conversation to socket: it is no regular file",
        "cannot write the conversation to none/a: there is no directory `none`",
        "the conversation is saved in b",
    ] {
        assert!(ended.stderr.contains(part), "`{part}` is not in: {ended:?}");
    }
    assert_eq!(ended.code, 6, "a program hears of it: {ended:?}");
    assert!(!socket.is_file(), "it is the socket still");
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
    let server = server();
    let dir = dir(&server);
    dir.write("a.txt", "a");
    dir.write("b.txt", "b");
    dir.run(&["chat", "missing.txt"]).failed(2, &["missing.txt: there is no such file"]);
    dir.write("empty.txt", "");
    dir.run(&["chat", "empty.txt"]).failed(2, &["empty.txt: empty"]);
    dir.run(&["chat", "-"]).failed(2, &["stdin has the questions"]);
    dir.write("talk", "something else");
    dir.run(&["chat", "--save", "talk"]).failed(2, &["--save", "no conversation of Abyme"]);
    assert_eq!(std::fs::read_to_string(dir.path("talk")).unwrap(), "something else");
    let ended = dir.run_with_stdin(&["chat", "a.txt", "--save", "ab"], b"SUBMIT(a)\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "a\n"), "{ended:?}");
    dir.run(&["chat", "b.txt", "--save", "ab"]).failed(2, &["about other files than `b`"]);
    let saved = std::fs::read(dir.path("ab")).unwrap();
    let said = "--record and --save would both write `ab`";
    dir.run(&["chat", "a.txt", "--save", "ab", "--record", "ab"]).failed(2, &[said]);
    assert_eq!(std::fs::read(dir.path("ab")).unwrap(), saved);
    let ended = dir.run_with_stdin(&["chat", "a.txt"], b"SUBMIT(a)\n/save a.txt\n/save aa\n");
    assert!(ended.stderr.contains("/save would overwrite `a.txt`, which this command reads"), "{ended:?}");
    assert!(ended.stderr.contains("the conversation is saved in aa"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(dir.path("a.txt")).unwrap(), "a");
    let over = ["chat", "a.txt", "--max-total-tokens", "15"];
    let ended = dir.run_with_stdin(&over, b"SUBMIT(a)\nSUBMIT(a)\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (5, "a\n"), "{ended:?}");
    assert!(ended.stderr.contains("max_tokens is 15"), "{ended:?}");
}

#[test]
fn a_signal_ends_the_question_and_another_one_the_chat() {
    let server = Server::start(|request| {
        let task = request["messages"][1]["content"].as_str().unwrap();
        if task.contains("hang") && !task.contains("It was not answered") {
            std::thread::sleep(Duration::from_secs(60));
        }
        (200, completion("```python\nSUBMIT('there')\n```"))
    });
    let dir = dir(&server);
    let mut child = dir.command(&["chat", "--save", "talk"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hang\n").unwrap();
    eventually("the model is asked", || !server.began().is_empty());
    signal(&child, "INT");
    stdin.write_all(b"again\n").unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "there\n");
    signal(&child, "INT");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 130);
    assert!(dir.path("talk").exists(), "what was found until then is kept");
}

#[test]
fn a_chat_that_is_killed_has_lost_no_answer_and_no_other_chat_saves_over_it() {
    let server = Server::start(|request| {
        let task = request["messages"][1]["content"].as_str().unwrap();
        let now = task.rsplit("`question` (str").next().unwrap();
        if now.contains("hang") {
            std::thread::sleep(Duration::from_secs(60));
        }
        let cell = now.split("```\n").nth(1).unwrap().split("\n```").next().unwrap();
        (200, completion(&format!("```python\n{cell}\n```")))
    });
    let dir = dir(&server);
    let mut child = dir.command(&["chat", "--save", "talk"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (question, answer) in [("n = 7; SUBMIT('one')\n", "one"), ("SUBMIT('two')\n", "two")] {
        stdin.write_all(question.as_bytes()).unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), answer);
    }
    dir.run(&["chat", "--save", "talk"]).failed(2, &["the conversation talk is in use", "end that chat"]);
    let other = dir.run_with_stdin(&["chat"], b"SUBMIT('other')\n/save talk\n");
    assert!(other.stderr.contains("abyme: error: the conversation talk is in use"), "{other:?}");
    stdin.write_all(b"hang\n").unwrap();
    eventually("the third question is asked", || server.began().len() == 4);
    child.kill().unwrap();
    child.wait().unwrap();

    let ended = dir.run_with_stdin(&["chat", "--save", "talk"], b"SUBMIT(str(n) + answer_1 + answer_2)\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "7onetwo\n"), "{ended:?}");
    assert!(ended.stderr.contains("going on after 2 questions of talk"), "{ended:?}");
    let ended = dir.run_with_stdin(&["chat", "--save", "talk"], b"SUBMIT('new')\n/save\n/save b\n/load b\n");
    assert!(ended.stderr.contains("saved in b") && !ended.stderr.contains("in use"), "{ended:?}");
    let names: Vec<_> = dir.temp.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.iter().filter(|name| name.to_string_lossy().ends_with(".lock")).count(), 0, "{names:?}");
}

/// Types a line, edits it, and ends the chat.
const EDITS: &str = r#"
until(b"> ")
assert mode() != before
os.write(terminal, b"SUBMIX\x7fT('edited ' + 'line')\r")
until(b"edited line")
until(b"> ")
os.write(terminal, b"\x03")
until(b"Ctrl-C again")
until(b"> ")
os.write(terminal, b"\x03")
"#;

#[test]
fn a_terminal_has_lines_to_edit() {
    let server = server();
    let (code, screen) = on_a_terminal(&dir(&server), &["chat"], &[], EDITS);
    assert_eq!(code, 130, "{screen}");
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let server = server();
    let dir = dir(&server);
    for (signal, expected) in
        [("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 131), ("SIGUSR1", 138), ("SIGUSR2", 140)]
    {
        let script = format!(
            "until(b'> ')\nassert mode() != before\nos.kill(pid, signal.{signal})\nuntil(b'\\x1b[?2004l')"
        );
        let (code, screen) = on_a_terminal(&dir, &["chat"], &[], &script);
        assert_eq!(code, expected, "{signal}: {screen}");
    }
}
