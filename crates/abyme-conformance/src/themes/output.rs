//! C5: stdout, stderr and the last value all arrive.

use crate::case::cases;

cases! {
    theme c05_output, clause 5;

    /// C5: stdout arrives exactly, with and without a last newline.
    async fn stdout_is_exact(s) {
        s.run("print('one')\nprint('two', 2, sep='-')").await.stdout_is("one\ntwo-2\n");
        s.run("print('no newline', end='')").await.stdout_is("no newline");
        s.run("print(); print()").await.stdout_is("\n\n");
    }

    /// C5: stderr arrives, and apart from stdout.
    async fn stderr_is_separate(s) {
        s.run(
            r#"
                import sys
                print('out')
                print('err', file=sys.stderr)
                sys.stderr.write('or\n')
                None
            "#,
        )
        .await
        .stdout_is("out\n")
        .stderr_is("err\nor\n");
    }

    /// C5: warnings and logging go to the stderr of the cell in which they happen.
    async fn warnings_and_logs_arrive(s) {
        s.run("import warnings\nwarnings.warn('old habit')").await.ok().stderr_has("old habit");
        s.run(
            r#"
                import logging
                logging.basicConfig(format='%(message)s')
                logging.warning('first')
            "#,
        )
        .await
        .stderr_has("first");
        s.run("logging.warning('second')").await.stderr_is("second\n");
    }

    /// C5: output belongs to its own cell.
    async fn output_is_of_its_own_cell(s) {
        s.run("print('first', end='')").await.stdout_is("first");
        s.run("print('second', end='')").await.stdout_is("second");
        s.run("pass").await.stdout_is("").stderr_is("");
    }

    /// C5: the `repr` of the last expression arrives, beside what was printed.
    async fn the_last_value_arrives(s) {
        s.run("print('shown')\nx = 'text'\nx").await.stdout_is("shown\n").value_is("'text'");
        s.run("{'a': [1.5, None, b'x']}").await.value_is("{'a': [1.5, None, b'x']}");
    }

    /// C5: the value is the very `repr` of the object's class.
    async fn the_value_is_the_repr(s) {
        s.run(
            r#"
                class P:
                    def __repr__(self): return 'P(«1»)'
                    def __str__(self): return 'other'
                P()
            "#,
        )
        .await
        .value_is("P(«1»)");
    }

    /// C5: `None`, an assignment and a statement have no value.
    async fn none_is_no_value(s) {
        for code in [
            "None",
            "x = 5",
            "print()",
            "x = []\nx.append(1)",
            "5\nx = 6",
            "def f(): return 1",
            "for n in [1]: n",
        ] {
            s.run(code).await.ok().no_value();
        }
    }

    /// C5: a falsy value is a value.
    async fn falsy_values_are_values(s) {
        for (code, repr) in [("0", "0"), ("''", "''"), ("[]", "[]"), ("False", "False"), ("0.0", "0.0")] {
            s.run(code).await.value_is(repr);
        }
    }

    /// C5: an object that cannot be shown does not fail its cell.
    async fn a_broken_repr_does_no_harm(s) {
        s.run(
            r#"
                class Mute:
                    def __repr__(self): raise ValueError('no')
                Mute()
            "#,
        )
        .await
        .expect(true, "an observation");
        s.run(
            r#"
                class Exits:
                    def __repr__(self): raise SystemExit
                [Exits()]
            "#,
        )
        .await
        .expect(true, "an observation");
        s.run("class Wrong:\n    def __repr__(self): return 5\nWrong()").await.expect(true, "an observation");
        s.in_step().await;
    }

    /// C5: a container that contains itself has a value.
    async fn a_cycle_has_a_value(s) {
        s.run("x = [1]\nx.append(x)\nx").await.value_is("[1, [...]]");
    }

    /// C5: every character arrives: other scripts, emoji, NUL, control characters, carriage returns.
    async fn every_character_arrives(s) {
        s.run(r"print('é 日本 🦀\x00\x1b[1m\r\n\x7f\u2028', end='')")
            .await
            .stdout_is("é 日本 🦀\u{0}\u{1b}[1m\r\n\u{7f}\u{2028}");
    }

    /// C5: half a surrogate pair cannot arrive as such, but harms nothing.
    async fn a_lone_surrogate_does_no_harm(s) {
        s.run(r"print('a\ud800b')").await.ok().stdout_has("a").stdout_has("b\n");
        s.run(r"'a\ud800b'").await.ok().expect(true, "a value of some kind");
        s.in_step().await;
    }

    /// C5: `sys.stdout` is a text stream like any other: write, writelines, buffer, flush, redirect.
    async fn stdout_is_a_stream(s) {
        s.run("import sys\nsys.stdout.write('ab')").await.stdout_is("ab").value_is("2");
        s.run(
            r#"
                sys.stdout.writelines(['a', 'b'])
                sys.stdout.flush()
                print('c', flush=True)
            "#,
        )
        .await
        .stdout_is("abc\n");
        s.run(
            r#"
                sys.stdout.buffer.write('é\n'.encode())
                sys.stdout.buffer.flush()
            "#,
        )
        .await
        .stdout_is("é\n");
        s.run("(sys.stdout.isatty(), sys.stdout.writable(), sys.stdout.encoding.lower())")
            .await
            .value_is("(False, True, 'utf-8')");
        s.run("sys.stdout.write(5)").await.raises("TypeError");
    }

    /// C5: `contextlib.redirect_stdout` catches what it should, and no more.
    async fn stdout_can_be_redirected(s) {
        s.run(
            r#"
                import contextlib, io
                with contextlib.redirect_stdout(io.StringIO()) as f:
                    print('in')
                print('out')
                f.getvalue()
            "#,
        )
        .await
        .stdout_is("out\n")
        .value_is(r"'in\n'");
    }

    /// C5: a hundred thousand small writes arrive whole.
    async fn many_small_writes_arrive(s) {
        let cell = s.cell("for n in range(100_000): print(n % 10, end='')").max_output_chars(200_000);
        s.run(cell).await.ok().stdout_is(&"0123456789".repeat(10_000));
    }

    /// C5: what threads print arrives.
    #[needs(ConcurrentCalls)]
    async fn threads_can_print(s) {
        let code = r#"
            import threading
            def thread(n): return threading.Thread(target=print, args=(f'line {n}\n',), kwargs={'end': ''})
            ts = [thread(n) for n in range(20)]
            for t in ts: t.start()
            for t in ts: t.join()
        "#;
        let observed = s.run(code).await;
        let mut lines: Vec<&str> = observed.stdout.head.lines().collect();
        lines.sort_by_key(|line| line.len());
        lines.dedup();
        observed.expect(lines.len() == 20, "expected the lines of all 20 threads");
    }

    /// C5: `help`, `pprint` and `dis` print like anything else.
    async fn the_helpers_print(s) {
        s.run("help(len)").await.ok().stdout_has("Return the number of items");
        s.run("import pprint\npprint.pprint({'b': 1, 'a': 2})").await.stdout_is("{'a': 2, 'b': 1}\n");
    }

    /// C5: new, rebound and grown variables are reported as changed, and others are not.
    async fn changed_variables_are_reported(s) {
        s.run("kept = 1\nrebound = [1]\ngrown = [1]").await.ok();
        let observed = s.run("rebound = 'text'\ngrown.append(2)\nfresh = {}").await;
        let mut names: Vec<&str> = observed.changed.iter().map(|variable| variable.name.as_str()).collect();
        names.sort_unstable();
        observed.expect(
            names == ["fresh", "grown", "rebound"],
            "expected fresh, grown and rebound to have changed",
        );
        let fresh = observed.changed.iter().find(|variable| variable.name == "fresh");
        observed.expect(fresh.is_some_and(|variable| variable.type_name == "dict"), "`fresh` is a dict");
    }

    /// C5: thousands of changed variables are counted, not listed.
    async fn many_changes_are_counted(s) {
        let observed = s.run("for n in range(3000): globals()[f'v{n:04}'] = n").await;
        observed.expect(observed.changed_total >= 3000, "expected the true number of changes");
        observed.expect(observed.changed.len() <= 200, "expected at most a screenful of changes");
    }

    /// C5: a stream that the cell put in the place of `sys.stdout` is flushed at its end.
    async fn a_wrapped_stdout_is_flushed(s) {
        s.run(
            r#"
                import io, sys
                sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')
                print('é')
            "#,
        )
        .await
        .stdout_is("é\n");
        s.run("print('next')").await.stdout_is("next\n");
    }

    /// C5: where `sys.stdout` has a descriptor, what a child process writes there is the cell's.
    #[needs(Separate, Processes)]
    async fn children_write_to_sys_stdout(s) {
        s.run(
            r#"
                import subprocess, sys
                streams = {'stdin': sys.stdin, 'stdout': sys.stdout, 'stderr': sys.stderr}
                done = subprocess.run([sys.executable, '-c', "print('child')"], **streams)
                done.returncode
            "#,
        )
        .await
        .value_is("0")
        .stdout_is("child\n");
    }
}
