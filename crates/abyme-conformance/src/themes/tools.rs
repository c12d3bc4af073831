//! C8: the user's Python tools, given as source, work like host functions.

use abyme_core::{FunctionSpec, Stage, Value};

use crate::{case::cases, host::Host};

cases! {
    theme c08_tools, clause 8;

    /// C8: public functions and classes of a tool source can be called; private names cannot.
    async fn public_names_are_tools(s) {
        s.tools(
            "tools.py",
            r#"
                import math
                _secret = 3
                def area(r):
                    '''Area of a circle.'''
                    return round(math.pi * r * _secret)
                class Unit: name = 'm'
            "#,
        );
        s.run("(area(1), Unit.name, area.__doc__)").await.value_is("(9, 'm', 'Area of a circle.')");
        s.run("_secret").await.raises("NameError");
    }

    /// C8: tools may call host functions.
    async fn tools_may_call_the_host(s) {
        s.serve(&Host::new().echo());
        s.tools("tools.py", "def twice(x): return [echo(x), echo(x)]");
        s.run("twice('a')").await.value_is("['a', 'a']");
    }

    /// C8: a tool keeps its state from cell to cell.
    async fn tools_keep_their_state(s) {
        s.tools("tools.py", "count = 0\ndef bump():\n    global count\n    count += 1\n    return count");
        s.run("bump(); bump()").await.value_is("2");
        s.run("count = 100\nbump()").await.value_is("3");
    }

    /// C8: a failing tool has its own source in the traceback.
    async fn a_failing_tool_shows_its_source(s) {
        s.tools("my_tools.py", "def check(x):\n    raise ValueError(f'bad {x}')  # in the tool");
        s.run("check(1)")
            .await
            .raises("ValueError")
            .message_is("bad 1")
            .line_is(1)
            .traceback_has("my_tools.py")
            .traceback_has("# in the tool");
    }

    /// C8: a source that cannot be loaded says so, before anything of the cell ran.
    async fn a_broken_source_is_reported(s) {
        for source in ["def broken(:", "1 / 0", "raise SystemExit", "import no_such_module_at_all"] {
            s.tools("tools.py", source);
            let observed = s.run("print('ran')").await;
            let stage = observed.exception().stage;
            observed.expect(stage == Stage::Scope, "the stage should be Scope").stdout_is("");
        }
        s.tools("tools.py", "def fine(): return 1");
        s.run("fine()").await.value_is("1");
    }

    /// C8: host functions and tools stand side by side.
    async fn tools_and_functions_mix(s) {
        let spec = FunctionSpec::new("host_side", "From the host.");
        s.serve(&Host::new().function(spec, |_| Ok(Value::from("host"))));
        s.tools("tools.py", "def python_side(): return 'python'");
        s.run("(host_side(), python_side())").await.value_is("('host', 'python')");
    }
}
