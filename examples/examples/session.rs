//! A plain session without any model: variables in and out, state, errors, the ways to finish, limits.

use std::{collections::HashMap, sync::Arc};

use abyme::{CodePolicy, Submitted, prelude::*};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Shout {
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = Wasm::new().session().await?;
    let mut session = session.max_output_chars(200).policy(Arc::new(CodePolicy::guard_rail()));

    // Variables go in once, whatever their size, and stay.
    let text = "the quick brown fox jumps over the lazy dog\n".repeat(100_000);
    session.set_variable("context", &text).await?;
    let observation =
        session.run_code("words = collections.Counter(context.split())\nwords['the'], len(context)").await?;
    let value = observation.value.ok_or("no value")?.to_string();
    println!("value: {value}");
    assert_eq!(value, format!("({}, {})", text.matches("the").count(), text.len()));

    // Values come out as Rust types: a variable's, or that of an expression.
    let counts: HashMap<String, u32> = session.get("words").await?;
    println!("variable: {} words, fox {} times", counts.len(), counts["fox"]);
    assert_eq!(counts["fox"], 100_000);
    assert_eq!(session.eval::<usize>("len(words)").await?, counts.len());
    assert!(session.get_variable("nothing").await?.is_none());

    // A Python exception is an observation, not an error; what the cell did before it stays.
    let observation = session.run_code("kept = 1\nprint('before')\n1 / 0").await?;
    let error = observation.error.ok_or("no exception")?;
    println!("stdout: {:?}, error: {error}, line {:?}", observation.stdout.to_string(), error.line);
    assert_eq!(session.get::<i64>("kept").await?, 1);

    // Where an exception is a failure, it can be made one.
    let error = session.run_code("1 / 0").await?.check().err().ok_or("no exception")?;
    assert_eq!((error.kind(), error.message()), (ErrorKind::Python, "ZeroDivisionError: division by zero"));

    // Rust functions are tools here too.
    let mut session =
        session.tools([Tool::new("shout", "Writes in capitals.", |args: Shout| args.text.to_uppercase())])?;
    assert_eq!(session.eval::<String>("shout('fox') + '!'").await?, "FOX!");

    // Output over the cap is counted and not kept.
    let observation = session.run_code("print('x' * 1_000_000)").await?;
    println!(
        "output: {} of {} characters left out",
        observation.stdout.omitted_chars, observation.stdout.total_chars
    );
    assert_eq!((observation.stdout.total_chars, observation.stdout.omitted_chars), (1_000_001, 999_801));

    // The guard rail refuses code before it runs.
    let observation = session.run_code("import subprocess\nsubprocess.run(['ls'])").await?;
    println!("policy: {}", observation.error.ok_or("not blocked")?);

    // Three of the four ways to finish; the fourth is `SUBMIT`, for the outputs of a signature.
    assert!(!session.is_terminated());
    for code in
        ["FINAL({'answer': 42})", "FINAL_VAR('kept')", "answer['value'] = 'done'\nanswer['ready'] = True"]
    {
        let submission = session.run_code(code).await?.submission.ok_or("not finished")?;
        let Submitted::Value(value) = &submission.submitted else { return Err("fields".into()) };
        println!("final by {}: {}", submission.via, value.repr(80));
    }
    assert!(session.is_terminated());

    session.shutdown().await?;
    let error = session.run_code("1 + 1").await.err().ok_or("a session after its end")?;
    println!("after the end: {error}");
    Ok(())
}
