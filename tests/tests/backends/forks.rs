//! Forks on real backends: by memory or by their record, they draw numbers of their own, and can be done
//! again.

use std::collections::BTreeSet;

use abyme::{Response, Rlm, Role, inputs, testing::ScriptedModel};

use crate::Backend;

const CELLS: [&str; 4] = [
    "import random\nrows = docs.split()\ndrawn = [random.random()]",
    "drawn.append(random.random())",
    "drawn.append(random.random())",
    "drawn.append(random.random())\nSUBMIT([len(rows), *drawn])",
];

pub(crate) async fn forks_of_forks_draw_their_own_numbers(backend: Backend) {
    let model = ScriptedModel::from_fn(|request| {
        let said = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        Ok(Response::new(format!("```python\n{}\n```", CELLS[said])))
    });
    let rlm = Rlm::builder("docs -> drawn: list[float]").model(model).interpreter(backend).seed(7);
    let rlm = rlm.build().unwrap();
    let run = rlm.run(inputs! { docs: "a b c ".repeat(1_000) });
    let fork = run.fork_at(1);
    let run = run.await.unwrap();
    let fork = fork.await.unwrap();
    let below = fork.fork_at(2);
    let fork = fork.await.unwrap();
    let below = below.await.unwrap().await.unwrap();
    let drawn = [&run, &fork, &below].map(|run| run.get::<Vec<f64>>("drawn").unwrap());
    let different = |from: usize| {
        let ends = drawn.iter().map(|drawn| drawn[from].to_bits());
        ends.collect::<BTreeSet<_>>().len()
    };
    // The number of rows, then what was drawn in each turn.
    assert_eq!([0, 1, 2, 3, 4].map(different), [1, 1, 2, 3, 3], "{drawn:?}");
    // A session that runs all cells draws what the copies drew.
    let replayed = rlm.replay_from(below.trajectory().clone()).await.unwrap();
    assert_eq!(replayed.outputs(), below.outputs());
}
