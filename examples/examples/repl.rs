//! A plain session without any model: variables in and out, state, errors, the ways to finish, limits.

use std::sync::Arc;

use abyme::{CodePolicy, Submitted, prelude::*};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repl = Wasm::new().create().await?.start_session().await?;
    let mut repl = repl.with_max_output_chars(200).with_policy(Arc::new(CodePolicy::guard_rail()));

    // Variables go in once, whatever their size, and stay.
    let text = "the quick brown fox jumps over the lazy dog\n".repeat(100_000);
    repl.set_variable("context", &text).await?;
    let seen =
        repl.run_code("words = collections.Counter(context.split())\nwords['the'], len(context)").await?;
    let value = seen.value.ok_or("no value")?.to_string();
    println!("value: {value}");
    assert_eq!(value, format!("({}, {})", text.matches("the").count(), text.len()));

    // They come out as values, and as Rust types from there.
    let top = repl.get_variable("words").await?.ok_or("no such variable")?;
    let counts: std::collections::HashMap<String, u32> = top.to()?;
    println!("variable: {} words, fox {} times", counts.len(), counts["fox"]);
    assert_eq!(counts["fox"], 100_000);
    assert!(repl.get_variable("nothing").await?.is_none());

    // An exception is something to look at, not an error; what came before it stays.
    let seen = repl.run_code("kept = 1\nprint('before')\n1 / 0").await?;
    let error = seen.error.ok_or("no exception")?;
    println!("stdout: {:?}, error: {error}, line {:?}", seen.stdout.to_string(), error.line);
    assert_eq!(repl.get_variable("kept").await?, Some(1.into()));

    // Output beyond the cap is counted, not kept.
    let seen = repl.run_code("print('x' * 1_000_000)").await?;
    println!("output: {} of {} characters left out", seen.stdout.omitted_chars, seen.stdout.total_chars);
    assert_eq!((seen.stdout.total_chars, seen.stdout.omitted_chars), (1_000_001, 999_801));

    // A guard rail turns code away before it runs.
    let seen = repl.run_code("import subprocess\nsubprocess.run(['ls'])").await?;
    println!("policy: {}", seen.error.ok_or("not blocked")?);

    // Three of the four ways to finish; the fourth is `SUBMIT`, for the outputs of a signature.
    assert!(!repl.is_terminated());
    for code in
        ["FINAL({'answer': 42})", "FINAL_VAR('kept')", "answer['value'] = 'done'\nanswer['ready'] = True"]
    {
        repl.run_code(code).await?;
        let submission = repl.final_answer().ok_or("not finished")?;
        let Submitted::Value(value) = &submission.submitted else { return Err("fields".into()) };
        println!("final by {}: {}", submission.via, value.repr(80));
    }
    assert!(repl.is_terminated());

    repl.shutdown().await?;
    let error = repl.run_code("1 + 1").await.err().ok_or("a session after its end")?;
    println!("after the end: {error}");
    Ok(())
}
