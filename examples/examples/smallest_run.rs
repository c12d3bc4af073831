//! The smallest run: no inputs, one typed output. The model writes Python, looks at what it printed, and
//! submits.

use abyme::prelude::*;
use abyme_examples::{Models, cell, printed, report};

#[tokio::main]
async fn main() -> abyme::Result<()> {
    let models = Models::choose(plan, |_| "no sub-call is needed".to_owned())?;
    let rlm = Rlm::builder("-> numbers: list[int]")
        .instructions("Give the first twelve Fibonacci numbers, starting with 0 and 1.")
        .model(models.plans.clone())
        .interpreter(abyme_examples::interpreter()?)
        .limits(|limits| limits.max_iterations(15))
        .build()?;

    let answer = rlm.run(inputs! {}).await?;

    let numbers: Vec<u64> = answer.get("numbers")?;
    println!("numbers: {numbers:?}");
    report(&answer);
    models.check("the numbers are those that Rust computes", numbers == fibonacci(12))
}

fn fibonacci(count: usize) -> Vec<u64> {
    std::iter::successors(Some((0, 1)), |&(a, b)| Some((b, a + b))).map(|(a, _)| a).take(count).collect()
}

/// Stands in for a model: what it answers depends on what it sees.
fn plan(seen: &str) -> Option<String> {
    let Some(numbers) = printed(seen, "so far: ") else {
        return cell(
            "I compute the numbers and look at them before I submit.",
            r#"
numbers = [0, 1]
while len(numbers) < 10:
    numbers.append(numbers[-1] + numbers[-2])
print("so far:", numbers)
"#,
        );
    };
    match numbers.split(',').count() {
        12 => cell("Twelve numbers, as asked. I submit them.", "SUBMIT(numbers=numbers)"),
        count => cell(
            &format!("That is {count} numbers, not twelve. The list is still there, so I go on from it."),
            r#"
while len(numbers) < 12:
    numbers.append(numbers[-1] + numbers[-2])
print("so far:", numbers)
"#,
        ),
    }
}
