//! An observation as the model reads it.

use super::observation::{Captured, Interruption, Observation, PythonError, Stage};

/// An observation as text, cut to about `max_chars` characters: where the parts do not all fit, the short
/// ones stay whole and the long ones share what is left, each keeping its beginning and its end.
pub fn render_observation(observation: &Observation, max_chars: usize) -> String {
    let mut parts: Vec<(&str, Captured)> = Vec::new();
    let mut add = |label, text: Captured| {
        if !text.is_empty() {
            parts.push((label, text));
        }
    };
    add("stdout", observation.stdout.clone());
    add("stderr", observation.stderr.clone());
    add("value", observation.value.clone().unwrap_or_default());
    add("error", observation.error.as_ref().map(error_text).unwrap_or_default().into());
    let shares = shares(&parts.iter().map(|(_, text)| kept(text)).collect::<Vec<_>>(), max_chars);
    let mut rendered: Vec<String> = parts
        .iter()
        .zip(shares)
        .map(|((label, text), share)| {
            let text = text.shortened(share);
            let length = match text.omitted_chars {
                0 => String::new(),
                _ => format!(" ({} characters)", text.total_chars),
            };
            format!("[{label}{length}]\n{}", text.to_string().trim_end_matches('\n'))
        })
        .collect();
    rendered.extend(ending(observation));
    rendered.extend(
        observation.submission.as_ref().map(|submission| format!("[submitted by {}]", submission.via)),
    );
    if rendered.is_empty() && observation.is_ok() {
        rendered.push("(the cell ran without output; print what you want to see)".to_owned());
    }
    rendered.extend(changed(observation));
    rendered.join("\n")
}

fn error_text(error: &PythonError) -> String {
    match error.stage {
        Stage::Policy => error.to_string(),
        _ if error.traceback.is_empty() => error.to_string(),
        _ => error.traceback.trim_end().to_owned(),
    }
}

/// What to say about a cell that its time limit or its session's end cut short.
fn ending(observation: &Observation) -> Option<String> {
    let seconds = observation.duration.as_secs_f64();
    if let Some(reason) = &observation.restored {
        return Some(format!(
            "[session restored]\n{reason}. Variables and files are as they were before this cell."
        ));
    }
    match (observation.interruption, &observation.session_ended) {
        (Some(Interruption::Interrupted), None) => {
            Some(format!("[time limit]\nThe cell was interrupted after {seconds:.1} s. Variables are kept."))
        }
        (_, Some(reason)) => Some(format!("[session ended]\n{reason}")),
        (Some(Interruption::Killed), None) => {
            Some(format!("[time limit]\nThe cell was killed after {seconds:.1} s. Variables are lost."))
        }
        (None, None) => None,
    }
}

fn changed(observation: &Observation) -> Option<String> {
    if observation.changed.is_empty() {
        return None;
    }
    let mut names: Vec<_> = observation
        .changed
        .iter()
        .map(|variable| format!("{}: {}", variable.name, variable.summary))
        .collect();
    let more = observation.changed_total.saturating_sub(names.len());
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Some(format!("[changed] {}", names.join(", ")))
}

fn kept(text: &Captured) -> usize {
    text.total_chars - text.omitted_chars
}

/// Divides `total` among parts of these sizes, the small ones first, so that only what is too large is cut.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&index| sizes[index]);
    let (mut left, mut shares) = (total, vec![0; sizes.len()]);
    for (done, &index) in order.iter().enumerate() {
        shares[index] = sizes[index].min(left / (sizes.len() - done));
        left -= shares[index];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_parts_stay_whole_and_long_ones_share_the_rest() {
        assert_eq!(shares(&[10, 1_000, 500], 310), [10, 150, 150]);
        assert_eq!(shares(&[10, 20], 310), [10, 20]);
    }

    #[test]
    fn a_long_output_keeps_both_ends_and_its_true_length() {
        let observation = Observation {
            stdout: Captured::cut("abc", "xyz", 1_000),
            error: Some(PythonError::new("ValueError", "no")),
            ..Observation::default()
        };
        assert_eq!(
            render_observation(&observation, 100),
            "[stdout (1000 characters)]\nabc\n... (994 characters omitted) ...\nxyz\n[error]\nValueError: no"
        );
    }

    #[test]
    fn silence_is_explained() {
        assert!(render_observation(&Observation::default(), 100).contains("without output"));
    }
}
