//! C6: variables are set before the code runs, read after it, and belong to the code in between.

use abyme_core::{Text, Value};
use serde_json::json;

use crate::{case::cases, machine::Canary, observed::plain, result::fail};

cases! {
    theme c06_variables, clause 6;

    /// C6: a variable is there when the code runs, and in later cells.
    async fn they_are_set_before_the_code(s) {
        let cell = s.cell("y = x + 1\ny").variable("x", 41);
        s.run(cell).await.value_is("42");
        s.run("x").await.value_is("41");
    }

    /// C6: a variable is read after the code ran.
    async fn they_are_read_after_the_code(s) {
        let cell = s.cell("x = [x]\nx.append('new')").variable("x", 1).read("x");
        s.run(cell).await.variable_is("x", plain(json!([1, "new"])));
    }

    /// C6: a variable that does not exist is absent, and no error.
    async fn a_missing_one_is_absent(s) {
        let cell = s.cell("x = 1\nnone = None").read("missing").read("x").read("none");
        let observed = s.run(cell).await;
        observed.ok().variable_is("x", 1).variable_is("none", Value::None);
        observed.expect(observed.variables.len() == 2, "expected `missing` to be absent");
    }

    /// C6: what the code does to a variable in place stays.
    async fn edits_in_place_persist(s) {
        s.set("rows", plain(json!([{"n": 1}, {"n": 2}]))).await;
        s.run("rows[0]['n'] = 10\nrows.append({'n': 3})\ndel rows[1]").await.ok();
        s.run("rows").await.value_is("[{'n': 10}, {'n': 3}]");
        let value = s.read("rows").await;
        crate::observed::assert_same(&value, &plain(json!([{"n": 10}, {"n": 3}])), "rows");
    }

    /// C6: rebinding a variable stays, too.
    async fn rebinding_persists(s) {
        s.set("text", "first").await;
        s.run("text = text.upper()").await.ok();
        s.run("text").await.value_is("'FIRST'");
    }

    /// C6: setting a variable again replaces it, whatever it was.
    async fn setting_again_replaces(s) {
        s.set("x", 1).await;
        s.run("def x(): return 'function'").await.ok();
        s.set("x", "second").await;
        s.run("x").await.value_is("'second'");
    }

    /// C6: a function of an earlier cell sees a variable that was set anew.
    async fn functions_see_new_values(s) {
        s.set("rate", 1).await;
        s.run("def f(): return rate").await.ok();
        s.set("rate", 2).await;
        s.run("f()").await.value_is("2");
    }

    /// C6: a thousand variables in one cell are set and read.
    async fn a_thousand_at_once(s) {
        let mut cell = s.cell("total = sum(globals()[f'v{n}'] for n in range(1000))").read("total");
        for n in 0..1000 {
            cell = cell.variable(format!("v{n}"), n).read(format!("v{n}"));
        }
        let observed = s.run(cell).await;
        observed.variable_is("total", 499_500).variable_is("v999", 999);
        observed.expect(observed.variables.len() == 1001, "expected every variable back");
    }

    /// C6: a variable may hide a builtin, for the session's own code as well.
    async fn a_variable_may_hide_a_builtin(s) {
        let cell =
            s.cell("(input, id, type)").variable("input", "data").variable("id", 7).variable("type", "kind");
        s.run(cell).await.value_is("('data', 7, 'kind')");
        s.in_step().await;
    }

    /// C6: names of other scripts are names.
    async fn names_may_be_unicode(s) {
        let cell = s.cell("größe + 名前").variable("größe", 1).variable("名前", 2).read("größe");
        s.run(cell).await.value_is("3").variable_is("größe", 1);
    }

    /// C6: two names for one object stay one object.
    async fn identity_is_kept_inside(s) {
        s.set("a", plain(json!([1]))).await;
        s.run("b = a").await.ok();
        s.run("b.append(2)").await.ok();
        s.run("(a is b, a)").await.value_is("(True, [1, 2])");
    }

    /// C6: what is read is a copy: later changes in the session do not reach the host.
    async fn reading_copies(s) {
        s.run("x = [1]").await.ok();
        let before = s.read("x").await;
        s.run("x.append(2)").await.ok();
        crate::observed::assert_same(&before, &plain(json!([1])), "the first reading");
    }

    /// C6: a value that contains itself cannot be read; the reason is an observation and the session goes on.
    async fn a_cycle_cannot_be_read(s) {
        let cell = s.cell("x = {}\nx['x'] = x\nok = 1").read("x").read("ok");
        let observed = s.run(cell).await;
        observed.expect(
            observed.error.is_some() && !observed.variables.contains_key("x"),
            "expected a reason instead of a value",
        );
        s.in_step().await;
    }

    /// C6: variables whose class misbehaves when converted harm nothing.
    async fn a_hostile_value_can_be_read(s) {
        let cell = s
            .cell(
                r#"
                    class Bad:
                        def __str__(self): raise SystemExit
                        __repr__ = __str__
                        def __getattr__(self, name): raise RuntimeError(name)
                    x = Bad()
                    ok = 1
                "#,
            )
            .read("x")
            .read("ok");
        s.run(cell).await;
        s.in_step().await;
    }

    /// C6: the content of a file goes in as text.
    async fn files_go_in(s) {
        let text = match Canary::new() {
            Ok(canary) => (canary.secret.clone(), Text::from_file(canary.file())),
            Err(error) => crate::result::skip(format!("no temporary file can be made: {error}")),
        };
        match text {
            (secret, Ok(text)) => {
                let cell = s.cell("copy_of_it = context").variable("context", text).read("copy_of_it");
                s.run(cell).await.variable_is("copy_of_it", secret);
            }
            (_, Err(error)) => fail(format!("the file cannot be read: {error}")),
        }
    }
}
