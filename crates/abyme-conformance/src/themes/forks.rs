//! C16: a fork knows all that the original knows, and then goes its own way.

use std::time::Duration;

use abyme_core::{ErrorKind, Via};

use crate::{
    case::cases,
    host::Host,
    result::{fail, skip},
    session::SessionUnderTest,
};

cases! {
    theme c16_forks, clause 16;

    /// C16: a power that is not declared is refused as unsupported, and the session goes on.
    async fn what_is_not_declared_is_refused(s) {
        let declared = s.declared().clone();
        if declared.fork && declared.snapshot {
            skip("all of it is declared");
        }
        s.run("x = 1").await.ok();
        let mut refusals = Vec::new();
        if !declared.fork {
            refusals.push(("fork", s.try_fork().await.err()));
        }
        if !declared.snapshot {
            refusals.push(("snapshot", s.try_snapshot().await.err()));
            refusals.push(("restore", s.try_restore(b"anything").await.err()));
        }
        for (what, error) in refusals {
            match error {
                Some(error) if error.kind() == ErrorKind::Unsupported => {}
                Some(error) => fail(format!("{what} should answer Unsupported, but: {error:?}")),
                None => fail(format!("{what} is not declared, but works")),
            }
        }
        s.run("x").await.value_is("1");
    }

    /// C16: a long text that the host put into the original goes from the fork to a host function whole.
    #[needs(Fork)]
    async fn a_fork_hands_long_inputs_back(s) {
        let host = Host::new().echo();
        s.serve(&host);
        s.set("docs", "0123456789abcdef".repeat(100_000)).await;
        let mut fork = s.fork().await;
        fork.serve(&host);
        fork.run("echo(docs) == docs").await.value_is("True");
        fork.set("docs", "fedcba9876543210".repeat(100_000)).await;
        fork.run("echo(docs)[0]").await.value_is("'f'");
        s.run("echo(docs)[0]").await.value_is("'0'");
    }

    /// C16: a fork has the variables, functions, classes and imports of the original.
    #[needs(Fork)]
    async fn a_fork_knows_what_the_original_knows(s) {
        s.set("given", "from the host").await;
        s.run(
            r#"
                import math, decimal as d
                from collections import Counter as C
                rate = 2
                def cost(n): return n * rate
                class Unit:
                    def __init__(self, name): self.name = name
                unit = Unit('m')
                rows = [1, 2]
                same_rows = rows
            "#,
        )
        .await
        .ok();
        let mut fork = s.fork().await;
        fork.run("(given, cost(3), unit.name, isinstance(unit, Unit), rows is same_rows)")
            .await
            .value_is("('from the host', 6, 'm', True, True)");
        fork.run("(math.floor(1.5), d.Decimal('1.5'), C('aab')['a'])")
            .await
            .value_is("(1, Decimal('1.5'), 2)");
        fork.run("rate = 10\n(cost(3), cost.__module__)").await.value_is("(30, '__main__')");
        fork.in_step().await;
        s.in_step().await;
    }

    /// C16: what the original does after the fork is unknown to the fork.
    #[needs(Fork)]
    async fn the_original_goes_on_alone(s) {
        s.run("x = 'before'\nrows = [1]").await.ok();
        let mut fork = s.fork().await;
        changes_everything(s).await;
        untouched(&mut fork).await;
    }

    /// C16: what the fork does is unknown to the original.
    #[needs(Fork)]
    async fn the_fork_goes_on_alone(s) {
        s.run("x = 'before'\nrows = [1]").await.ok();
        let mut fork = s.fork().await;
        changes_everything(&mut fork).await;
        untouched(s).await;
    }

    /// C16: forking changes nothing of the original: neither its variables, nor its random numbers.
    #[needs(Fork)]
    async fn forking_changes_nothing(s) {
        s.run("import random\nrandom.seed(5)\nexpected = random.Random(5)\n'the last value'").await.ok();
        for _ in 0..3 {
            s.fork().await.run("random.random()\nexpected = None").await.ok();
            s.run("random.random() == expected.random()").await.value_is("True");
        }
        let observed = s.run("y = 1").await;
        let names: Vec<&str> = observed.changed.iter().map(|variable| variable.name.as_str()).collect();
        observed.expect(names == ["y"], "expected `y` alone to have changed");
    }

    /// C16: a fork can be forked.
    #[needs(Fork)]
    async fn a_fork_can_be_forked(s) {
        s.run("path = ['root']").await.ok();
        let mut child = s.fork().await;
        child.run("path.append('child')").await.ok();
        let mut grandchild = child.fork().await;
        grandchild.run("path.append('grandchild')").await.ok();
        let mut sibling = s.fork().await;
        sibling.run("path.append('sibling')").await.ok();
        grandchild.run("path").await.value_is("['root', 'child', 'grandchild']");
        sibling.run("path").await.value_is("['root', 'sibling']");
        child.run("path").await.value_is("['root', 'child']");
        s.run("path").await.value_is("['root']");
    }

    /// C16: forking a session that was not started starts it.
    #[needs(Fork)]
    async fn an_unstarted_session_can_be_forked(s) {
        let mut fork = s.fork().await;
        fork.run("x = 1\nx").await.value_is("1");
        s.run("x").await.raises("NameError");
        s.in_step().await;
    }

    /// C16: a session can be forked after an exception, a cell that does not compile, and an exit.
    #[needs(Fork)]
    async fn a_session_can_be_forked_after_an_error(s) {
        for cell in ["x = 1\n1 / 0", "x = = 1", "raise SystemExit(3)"] {
            let observed = s.run(cell).await;
            observed.exception();
            let mut fork = s.fork().await;
            fork.run("x").await.value_is("1");
            fork.in_step().await;
        }
        s.in_step().await;
    }

    /// C16: a session can be forked after its time limit interrupted a cell.
    #[needs(Fork, Interrupt)]
    async fn a_session_can_be_forked_after_an_interrupt(s) {
        let limit = Duration::from_secs(1);
        let cell = s.cell("x = 'kept'\nwhile True: pass").timeout(limit);
        s.run(cell).await.interrupted_within(limit);
        let mut fork = s.fork().await;
        fork.run("x").await.value_is("'kept'");
        s.run("x").await.value_is("'kept'");
    }

    /// C16: a time limit interrupts a cell of a fork, and keeps its state, as in the original.
    #[needs(Fork, Interrupt)]
    async fn a_fork_can_be_interrupted(s) {
        s.run("x = 'kept'").await.ok();
        let mut fork = s.fork().await;
        let limit = Duration::from_secs(1);
        let cell = fork.cell("y = 'kept, too'\nwhile True: pass").timeout(limit);
        fork.run(cell).await.interrupted_within(limit).raises("KeyboardInterrupt");
        fork.run("(x, y)").await.value_is("('kept', 'kept, too')");
        s.run("x").await.value_is("'kept'");
    }

    /// C16: the scope is known to the fork: host functions, outputs, and tools with what they remember.
    #[needs(Fork)]
    async fn the_scope_comes_along(s) {
        s.serve(&Host::new().echo());
        s.outputs("title: str, score: float");
        s.tools(
            "counter.py",
            r#"
                count = 0
                def bump():
                    global count
                    count += 1
                    return count
            "#,
        );
        s.run("def twice(x): return [echo(x)] * 2\nbump()").await.value_is("1");
        let mut fork = s.fork().await;
        fork.run("(twice('a'), bump(), bump())").await.value_is("(['a', 'a'], 2, 3)");
        s.run("bump()").await.value_is("2");
        fork.run("SUBMIT('a', 0.5)").await.submitted_fields(serde_json::json!({"title": "a", "score": 0.5}));
        s.run("SUBMIT('b', 1.5)").await.submitted_fields(serde_json::json!({"title": "b", "score": 1.5}));
    }

    /// C16: each of the two calls its own host from then on, and may get another scope.
    #[needs(Fork)]
    async fn each_calls_its_own_host(s) {
        let (mine, theirs) = (Host::new().echo(), Host::new().echo().fail());
        s.serve(&mine);
        s.run("echo('before')").await.value_is("'before'");
        let mut fork = s.fork().await;
        fork.serve(&theirs);
        fork.run("echo('fork')").await.value_is("'fork'");
        fork.run("fail('ValueError', 'theirs')").await.raises("ValueError");
        s.run("fail('ValueError', 'theirs')").await.raises("NameError");
        if (mine.calls().len(), theirs.calls().len()) != (1, 2) {
            fail(format!("calls of the original: {:?}; of the fork: {:?}", mine.calls(), theirs.calls()));
        }
    }

    /// C16: the original and its fork run at the same time: each waits in a call until the other is in one,
    /// too.
    #[needs(Fork)]
    async fn both_run_side_by_side(s) {
        s.serve(&Host::new().meet(2));
        s.run("n = 0").await.ok();
        let mut fork = s.fork().await;
        fork.run("n = 1").await.ok();
        let (mine, theirs) = futures_util::future::join(s.run("meet(n)"), fork.run("meet(n)")).await;
        mine.value_is("0");
        theirs.value_is("1");
    }

    /// C16: a draft in `answer` comes along; a submission belongs to the one that made it.
    #[needs(Fork)]
    async fn a_draft_comes_along(s) {
        s.run("answer['content'] = 'draft'").await.nothing_submitted();
        let mut fork = s.fork().await;
        fork.run("answer['ready'] = True").await.submitted_value(Via::Answer, "draft");
        s.run("answer['content']").await.value_is("'draft'").nothing_submitted();
        s.run("FINAL('mine')").await.submitted_value(Via::Final, "mine");
        let mut later = s.fork().await;
        later.run("1").await.value_is("1").nothing_submitted();
    }

    /// C16: tracebacks in a fork show the source of the original's functions.
    #[needs(Fork)]
    async fn sources_come_along(s) {
        s.run("import inspect\ndef risky(n):\n    return 10 // n  # the culprit").await.ok();
        let mut fork = s.fork().await;
        fork.run("y = 1\nrisky(0)").await.traceback_has("the culprit").line_is(2);
        fork.run("'the culprit' in inspect.getsource(risky)").await.value_is("True");
    }

    /// C16: files in the working directory come along, and are the fork's own from then on.
    #[needs(Fork)]
    async fn files_come_along(s) {
        let written = "with open('notes.txt', 'w') as f: n = f.write('kept')";
        if s.run(written).await.error.is_some() {
            skip("nothing can be written here");
        }
        let mut fork = s.fork().await;
        fork.run("open('notes.txt').read()").await.value_is("'kept'");
        fork.run("with open('notes.txt', 'a') as f: n = f.write(' by the fork')").await.ok();
        s.run("open('notes.txt').read()").await.value_is("'kept'");
        fork.run("open('notes.txt').read()").await.value_is("'kept by the fork'");
    }

    /// C16: forks draw different random numbers, each and all.
    #[needs(Fork)]
    async fn randomness_is_not_copied(s) {
        s.run("import random, uuid, os\nx = random.random()").await.ok();
        let mut sessions = vec![s.fork().await, s.fork().await];
        let more = sessions[0].fork().await;
        sessions.push(more);
        let mut observed: [Vec<String>; 4] = Default::default();
        for session in sessions.iter_mut().chain([s]) {
            let code = "drawn = [random.random(), random.getrandbits(64), str(uuid.uuid4()), os.urandom(8)]";
            session.run(code).await.ok();
            let drawn = session.read("drawn").await;
            for (observed, drawn) in observed.iter_mut().zip(drawn.as_list().unwrap_or_default()) {
                observed.push(drawn.repr(80));
            }
        }
        for mut observed in observed {
            observed.sort();
            observed.dedup();
            if observed.len() != 4 {
                fail(format!("four sessions drew some of the same random numbers: {observed:?}"));
            }
        }
    }

    /// C16: the original may be shut down, or dropped, before its forks.
    #[needs(Fork)]
    async fn the_original_may_go_first(s) {
        s.run("x = 1").await.ok();
        let mut original = s.fork().await;
        let mut first = original.fork().await;
        let mut second = original.fork().await;
        original.shutdown_promptly().await;
        first.run("x").await.value_is("1");
        original.drop_session();
        drop(original);
        second.run("x").await.value_is("1");
        first.run("x += 1\nx").await.value_is("2");
        second.run("x").await.value_is("1");
    }

    /// C16: a fork may end before the original, by itself or not.
    #[needs(Fork)]
    async fn a_fork_may_go_first(s) {
        s.run("x = 1").await.ok();
        let mut fork = s.fork().await;
        fork.run("x = 2").await.ok();
        fork.shutdown_promptly().await;
        fork.has_ended().await;
        drop(s.fork().await);
        s.run("x").await.value_is("1");
        s.in_step().await;
    }

    /// C16: a fork that crashes takes nobody with it.
    #[needs(Fork, CrashIsolated)]
    async fn a_fork_crashes_alone(s) {
        s.run("x = 1").await.ok();
        let (mut fork, mut other) = (s.fork().await, s.fork().await);
        let _ = fork.try_run("x = 2\nimport os\nos._exit(1)").await;
        // A backend may put the session back to what it was before that cell.
        match fork.usable_or_ended().await {
            true => drop(fork.run("x").await.value_is("1")),
            false => not_forked(&mut fork).await,
        }
        s.run("x").await.value_is("1");
        other.run("x").await.value_is("1");
        s.fork().await.run("x").await.value_is("1");
    }

    /// C16: ten forks, all at work at once, do not mix.
    #[needs(Fork)]
    #[limit(60)]
    async fn ten_forks_do_not_mix(s) {
        s.serve(&Host::new().echo());
        s.run("rows = list(range(1000))\ndef total(): return sum(rows)").await.ok();
        let mut forks = Vec::new();
        for _ in 0..10 {
            forks.push(s.fork().await);
        }
        let work = forks.iter_mut().enumerate().map(|(index, fork)| async move {
            fork.run(format!("me = {index}\nrows.append(me)")).await.ok();
            for round in 0..10 {
                fork.run(format!("print(me, {round})\n(echo(me), total() - 499500)"))
                    .await
                    .stdout_is(&format!("{index} {round}\n"))
                    .value_is(&format!("({index}, {index})"));
            }
        });
        futures_util::future::join_all(work).await;
        s.run("(total(), 'me' in globals())").await.value_is("(499500, False)");
    }

    /// C16: a session that has ended cannot be forked, and says why it ended.
    #[needs(Fork)]
    async fn an_ended_session_is_not_forked(s) {
        s.run("x = 1").await.ok();
        let mut fork = s.fork().await;
        s.shutdown_promptly().await;
        not_forked(s).await;
        s.has_ended().await;
        fork.shutdown_promptly().await;
        not_forked(&mut fork).await;
    }
}

/// Variables, an in-place edit, modules, builtins and the search path.
async fn changes_everything(s: &mut SessionUnderTest) {
    s.run(
        r#"
            import math, sys, os, builtins
            x = 'after'
            y = 'new'
            rows.append(2)
            math.pi = 3
            builtins.leaked = 1
            sys.path.append('/leaked')
            os.environ['LEAKED'] = '1'
        "#,
    )
    .await
    .ok();
}

async fn untouched(s: &mut SessionUnderTest) {
    s.run("(x, rows, 'y' in globals())").await.value_is("('before', [1], False)");
    s.run(
        r#"
            import math, sys, os, builtins
            (math.pi > 3.14, '/leaked' in sys.path, hasattr(builtins, 'leaked'), 'LEAKED' in os.environ)
        "#,
    )
    .await
    .value_is("(True, False, False, False)");
}

async fn not_forked(s: &mut SessionUnderTest) {
    for _ in 0..2 {
        match s.try_fork().await {
            Err(error) if error.kind() == ErrorKind::SessionEnded && !error.message().trim().is_empty() => {}
            Err(error) => fail(format!("fork should answer SessionEnded with a reason, but: {error:?}")),
            Ok(_) => fail("fork should answer SessionEnded, but it succeeded"),
        }
    }
}
