//! C15: two sessions share nothing.

use abyme_core::{Access, Value, Via};

use crate::{case::cases, host::Host, observed::assert_same, result::fail};

cases! {
    theme c15_independence, clause 15;

    /// C15: variables and functions of one session are unknown to another.
    async fn variables_are_not_shared(s) {
        let mut other = s.another().await;
        s.run("x = 'mine'\ndef f(): pass").await.ok();
        other.run("x").await.raises("NameError");
        other.run("x = 'theirs'").await.ok();
        s.run("x").await.value_is("'mine'");
    }

    /// C15: changes to modules, builtins, the search path and the environment are unknown to another session.
    #[needs(Separate)]
    async fn modules_are_not_shared(s) {
        let mut other = s.another().await;
        other.run("import math, sys, os").await.ok();
        s.run(
            r#"
                import math, sys, os, builtins
                math.pi = 3
                builtins.leaked = 1
                sys.path.append('/leaked')
                os.environ['LEAKED'] = '1'
                sys.modules['leaked'] = math
            "#,
        )
        .await
        .ok();
        other
            .run(
                r#"
                    import math, sys, os, builtins
                    mine = (math.pi > 3.14, '/leaked' in sys.path, 'leaked' in sys.modules)
                    mine + ('leaked' in dir(builtins), 'LEAKED' in os.environ)
                "#,
            )
            .await
            .value_is("(True, False, False, False, False)");
        let mut later = s.another().await;
        later
            .run("import math, os\n(math.pi > 3.14, 'LEAKED' in os.environ)")
            .await
            .value_is("(True, False)");
    }

    /// C15: a submission belongs to its session.
    async fn submissions_are_not_shared(s) {
        let mut other = s.another().await;
        s.run("answer['content'] = 'mine'").await.ok();
        other.run("answer['ready'] = True\nanswer['content']").await.value_is("''");
        s.run("FINAL('mine')").await.submitted_value(Via::Final, "mine");
        other.run("1").await.nothing_submitted();
    }

    /// C15: each session calls its own host, with its own functions.
    async fn hosts_are_not_shared(s) {
        let mut other = s.another().await;
        let (mine, theirs) = (Host::new().echo(), Host::new().fail());
        s.serve(&mine);
        other.serve(&theirs);
        s.run("echo('mine')").await.value_is("'mine'");
        other.run("echo('theirs')").await.raises("NameError");
        assert_same(&Value::from(theirs.calls().len()), &Value::from(0), "calls of the other host");
    }

    /// C15: the end of one session is not that of another.
    async fn ends_are_not_shared(s) {
        let mut other = s.another().await;
        other.run("x = 1").await.ok();
        s.run("x = 2").await.ok();
        s.shutdown_promptly().await;
        other.run("x").await.value_is("1");
        other.in_step().await;
        s.has_ended().await;
    }

    /// C15: two sessions run at the same time: each waits in a call until the other is in one, too.
    async fn sessions_run_side_by_side(s) {
        let host = Host::new().meet(2);
        let mut other = s.another().await;
        s.serve(&host);
        other.serve(&host);
        let (mine, theirs) = futures_util::future::join(s.run("meet(0)"), other.run("meet(1)")).await;
        mine.value_is("0");
        theirs.value_is("1");
    }

    /// C15: eight sessions working at once do not mix their answers.
    #[limit(60)]
    async fn eight_sessions_do_not_mix(s) {
        let mut sessions = Vec::new();
        for _ in 0..8 {
            let mut session = s.another().await;
            session.serve(&Host::new().echo());
            sessions.push(session);
        }
        let work = sessions.iter_mut().enumerate().map(|(index, session)| async move {
            session.run(format!("me = {index}")).await.ok();
            for round in 0..20 {
                session
                    .run(format!("print(me, {round})\n[echo(me) for _ in range(5)]"))
                    .await
                    .stdout_is(&format!("{index} {round}\n"))
                    .value_is(&format!("[{index}, {index}, {index}, {index}, {index}]"));
            }
        });
        futures_util::future::join_all(work).await;
    }

    /// C15: random numbers of two sessions differ.
    async fn randomness_is_not_shared(s) {
        let mut observed = Vec::new();
        for _ in 0..3 {
            let mut session = s.another().await;
            let code =
                "import random, uuid, os\n(random.random(), random.getrandbits(64), str(uuid.uuid4()))";
            observed.push(session.run(code).await.whole_value().unwrap_or_default().to_owned());
        }
        observed.sort();
        observed.dedup();
        if observed.len() != 3 {
            fail(format!("three sessions drew the same random numbers: {observed:?}"));
        }
    }

    /// C15: files that one session writes beside itself are not there for another.
    async fn files_are_not_shared(s) {
        if s.declared().host_files == Access::Open {
            crate::result::skip("the host's files are open to every session");
        }
        let mut other = s.another().await;
        s.run(
            r#"
                import os, tempfile
                paths = []
                for folder in (os.getcwd(), tempfile.gettempdir()):
                    path = os.path.join(folder, 'abyme-shared.txt')
                    try:
                        with open(path, 'w') as f: n = f.write('shared')
                        paths.append(path)
                    except OSError: pass
            "#,
        )
        .await
        .ok();
        let paths = s.read("paths").await;
        let cell = other
            .cell(
                r#"
                    import os, tempfile
                    name = 'abyme-shared.txt'
                    paths = [*paths, name, os.path.join(tempfile.gettempdir(), name)]
                    [p for p in paths if os.path.exists(p)]
                "#,
            )
            .variable("paths", paths);
        other.run(cell).await.value_is("[]");
    }

    /// C15: the working directory of one session is its own.
    #[needs(Separate)]
    async fn the_working_directory_is_not_shared(s) {
        let mut other = s.another().await;
        let place = other.run("import os\nos.getcwd()").await.whole_value().unwrap_or_default().to_owned();
        let _ = s.run("import os\nos.chdir('/')").await;
        other.run("os.getcwd()").await.value_is(&place);
    }
}
