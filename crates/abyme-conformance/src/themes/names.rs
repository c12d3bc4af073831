//! C9: the names the session provides are there at the start of every cell, whatever the last one did.

use abyme_core::Via;
use serde_json::json;

use crate::{case::cases, host::Host};

cases! {
    theme c09_names, clause 9;

    /// C9: the built-in names are there from the first cell on.
    async fn they_are_there(s) {
        s.run("[callable(f) for f in (SUBMIT, FINAL, FINAL_VAR, SHOW_VARS)] + [isinstance(answer, dict)]")
            .await
            .value_is("[True, True, True, True, True]");
    }

    /// C9: rebinding one lasts until the end of the cell.
    async fn rebinding_is_undone(s) {
        s.outputs("answer: str");
        s.run("SUBMIT = FINAL = FINAL_VAR = SHOW_VARS = 'mine'\nlen(SUBMIT)").await.value_is("4");
        s.run("SUBMIT('still here')").await.submitted_fields(json!({"answer": "still here"}));
        s.run("FINAL(1)").await.submitted_value(Via::Final, 1);
    }

    /// C9: the cell that rebinds one is told so.
    async fn rebinding_is_told(s) {
        let code = "def SUBMIT(value): print('mine', value)\nSUBMIT(1)";
        s.run(code).await.stdout_is("mine 1\n").stderr_has("SUBMIT");
        s.run("del FINAL").await.stderr_is("");
        s.run("answer = 1").await.stderr_is("");
    }

    /// C9: deleting one lasts until the end of the cell.
    async fn deleting_is_undone(s) {
        s.run("del FINAL, FINAL_VAR, SUBMIT").await.ok();
        s.run("x = 2\nFINAL_VAR('x')").await.submitted_value(Via::FinalVar, 2);
    }

    /// C9: a definition or import of such a name is undone.
    async fn redefining_is_undone(s) {
        s.run(
            r#"
                def FINAL(value): return 'mine'
                class SUBMIT: pass
                import json as FINAL_VAR
                FINAL(1)
            "#,
        )
        .await
        .value_is("'mine'")
        .nothing_submitted();
        s.run("FINAL(1)").await.submitted_value(Via::Final, 1);
    }

    /// C9: what a failing cell rebinds is put back.
    async fn it_is_undone_after_an_error(s) {
        s.run("FINAL = None\n1 / 0").await.raises("ZeroDivisionError");
        s.run("FINAL(1)").await.submitted_value(Via::Final, 1);
    }

    /// C9: host functions that a cell rebinds are put back.
    async fn host_functions_are_restored(s) {
        s.serve(&Host::new().echo());
        s.run("echo = lambda value: 'fake'\necho(1)").await.value_is("'fake'");
        s.run("echo(1)").await.value_is("1");
        s.run("del echo").await.ok();
        s.run("echo(2)").await.value_is("2");
    }

    /// C9: a function of an earlier cell that uses a provided name gets the real one.
    async fn functions_get_the_restored_name(s) {
        s.serve(&Host::new().echo());
        s.run("def relay(x): return echo(x)\necho = None").await.ok();
        s.run("relay(3)").await.value_is("3");
    }

    /// C9: keys of the namespace that raise when they are compared, and very long names, end no session.
    async fn odd_keys_are_survived(s) {
        s.run(
            r#"
                class Bad:
                    def __hash__(self): return hash('FINAL')
                    def __eq__(self, other):
                        if armed: raise SystemExit
                armed = False
                globals()[Bad()] = 1
                armed = True
            "#,
        )
        .await
        .ok();
        s.in_step().await;
        let observed = s.run("globals()['v' * 10**6] = type('K' * 10**6, (), {})()").await;
        let long = observed.changed.iter().any(|variable| variable.name.len() > 1000);
        observed.expect(!long, "the name of a variable should be cut");
        let observed = s.run("raise type('E' * 10**6, (Exception,), {})").await;
        observed.expect(observed.exception().type_name.len() < 1000, "the name of a class should be cut");
        s.in_step().await;
    }

    /// C9: builtins that were deleted are there again in the next cell.
    #[alone = "clears what all sessions of a process may share"]
    async fn builtins_come_back(s) {
        for code in [
            "import builtins\ndel builtins.print, builtins.len",
            "import builtins\nvars(builtins).clear()",
            "b = __builtins__ if isinstance(__builtins__, dict) else vars(__builtins__)\ndel b['print']",
            "b = __builtins__ if isinstance(__builtins__, dict) else vars(__builtins__)\nb.clear()",
            "__builtins__ = {}",
            "del __builtins__",
        ] {
            s.run(code).await;
            s.run("print(len('abc'))").await.ok().stdout_is("3\n");
        }
    }

    /// C9: clearing the whole namespace leaves the names the session provides.
    async fn clearing_the_namespace_is_survived(s) {
        s.serve(&Host::new().echo());
        s.run("x = 1\nglobals().clear()").await;
        s.run("x").await.raises("NameError");
        s.run("echo(len('abc'))").await.value_is("3");
        s.run("FINAL(__name__)").await.submitted_value(Via::Final, "__main__");
    }

    /// C9: `SHOW_VARS()` lists what the cells made, and not what the session provides.
    async fn show_vars_lists_the_cells_own(s) {
        s.set("context", "text").await;
        s.run("my_list = [1, 2, 3]\n_private = 1").await.ok();
        let observed = s.run("print(SHOW_VARS())").await;
        observed.stdout_has("context").stdout_has("my_list").stdout_has("list");
        let lists_provided = observed.stdout.head.contains("FINAL_VAR");
        observed.expect(!lists_provided, "provided names are not the cells' variables");
    }

    /// C9: the promised modules need no import.
    async fn modules_are_imported_already(s) {
        s.run("json.loads('[1]')").await.value_is("[1]");
        s.run("re.sub('a', 'b', 'aa')").await.value_is("'bb'");
        s.run("collections.Counter('a')").await.value_is("Counter({'a': 1})");
        s.run("(math.floor(1.5), [*itertools.chain([1])], functools.reduce(max, [1, 3]))")
            .await
            .value_is("(1, [1], 3)");
        s.run("(textwrap.dedent('  a'), string.digits, copy.copy([1]), datetime.date(2024, 1, 2).year)")
            .await
            .value_is("('a', '0123456789', [1], 2024)");
    }

    /// C9: a user's own variable of another name is nobody else's business.
    async fn other_names_are_left_alone(s) {
        s.run("submit = Final = show_vars = answers = 1").await.ok();
        s.run("(submit, Final, show_vars, answers)").await.value_is("(1, 1, 1, 1)");
    }
}
