//! Asks a person at the terminal before a tool changes something or sends something to others.

use std::{sync::Arc, thread};

use abyme::{Approval, ApprovalRequest, Run, Value};
use indexmap::IndexMap;
use tokio::sync::{Mutex, oneshot};

use crate::{progress::Progress, standard::Standard};

/// Most characters of an argument that a question shows.
const MAX_ARGUMENT_CHARS: usize = 1_000;
/// Why a call is denied where nobody can be asked.
const NOBODY: &str = "nobody is at the terminal to be asked";

/// What is answered where no person watches: servers and evaluations.
pub(crate) async fn nobody(_: ApprovalRequest) -> Approval {
    Approval::Denied(NOBODY.to_owned())
}

/// Has the run ask, one question after the other.
pub(crate) fn asking(run: Run, progress: &Arc<Progress>, standard: &Standard) -> Run {
    let (progress, standard, turn) = (progress.clone(), standard.clone(), Arc::new(Mutex::new(())));
    run.approve_tools(move |request| {
        let (progress, standard, turn) = (progress.clone(), standard.clone(), turn.clone());
        async move {
            let _turn = turn.lock().await;
            let (sender, answer) = oneshot::channel::<Option<String>>();
            let question = question(&request);
            // It reads on a thread of its own, so that the run can be stopped meanwhile.
            let ask = move || {
                let answer = progress.ask_while(&standard, &question, || !sender.is_closed());
                sender.send(answer).ok();
            };
            if thread::Builder::new().name("abyme-question".into()).spawn(ask).is_err() {
                return Approval::Denied("no thread could be started to ask".to_owned());
            }
            match answer.await.ok().flatten() {
                Some(answer) if is_yes(&answer) => Approval::Given,
                Some(_) => Approval::Denied("the person at the terminal said no".to_owned()),
                None => Approval::Denied(NOBODY.to_owned()),
            }
        }
    })
}

fn question(request: &ApprovalRequest) -> String {
    let effects: Vec<_> = request.effects.iter().map(ToString::to_string).collect();
    let call = shown_call(&request.tool, &request.arguments);
    format!("A cell wants to call `{call}`, which {}. Call it? [y/N]", effects.join(" and "))
}

/// A call as a question shows it.
fn shown_call(tool: &str, arguments: &IndexMap<String, Value>) -> String {
    let shown = arguments.iter().map(|(name, value)| format!("{name}={}", value.repr(MAX_ARGUMENT_CHARS)));
    format!("{tool}({})", shown.collect::<Vec<_>>().join(", "))
}

/// Whether a question was answered with yes.
pub(crate) fn is_yes(answer: &str) -> bool {
    matches!(answer.trim(), "y" | "Y" | "yes")
}
