//! The models of the demo's first part: scripts that know no answers and go by what they are shown.

use abyme::{Request, Role, testing::ScriptedModel};

/// Plans the search. Each reply follows from the last message alone: what a cell printed, or how it failed.
pub(super) fn planner() -> ScriptedModel {
    ScriptedModel::from_fn(|request| Ok(next_cell(&last_message(request)).into()))
        .with_name("scripted-planner")
}

/// Answers a question from the excerpt in its prompt, and from nothing else.
pub(super) fn reader() -> ScriptedModel {
    ScriptedModel::from_fn(|request| Ok(read(&last_message(request)).into())).with_name("scripted-reader")
}

/// The message a reply has to answer.
pub(super) fn last_message(request: &Request) -> String {
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    last.map(|message| message.content.clone()).unwrap_or_default()
}

/// A reply of the form that real models give: a thought and a cell.
pub(super) fn reply(thought: &str, code: &str) -> String {
    format!("{thought}\n\n```python\n{}\n```", code.trim())
}

/// The rest of the first line that begins with `label`.
pub(super) fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim)
}

fn next_cell(seen: &str) -> String {
    if let Some(number) = after(seen, "checked:") {
        return submit(number);
    }
    if let Some(count) = after(seen, "candidates:") {
        return confirm(count, seen);
    }
    match (after(seen, "length:"), after(seen, "question:")) {
        (Some(length), Some(question)) => search(length, question),
        _ => look(seen),
    }
}

fn look(seen: &str) -> String {
    let thought = match seen.contains("[error]") {
        true => {
            "That did not work. I start again from what I have: how long is the context, what does it look \
             like?"
        }
        false => "First I look: how long is the context, what does it look like, and what exactly is asked?",
    };
    let code = r#"
print("length:", len(context), "characters,", context.count("\n"), "lines")
for at in (0, len(context) // 2):
    print("sample:", context[at:at + 200].replace("\n", " / "))
print("question:", query)
"#;
    reply(thought, code)
}

fn search(length: &str, question: &str) -> String {
    let subject = question.split(" for ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let subject: String = subject.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect();
    let thought = format!(
        "{length} are too many to read, and to ask about piece by piece. The question is about `{subject}`, \
         so I search for the words a line that answers it would have, and look at each line found."
    );
    let code = format!(
        r#"
found = []
for match in re.finditer(r"magic numbers? for {subject}\b", context):
    start = context.rfind("\n", 0, match.start()) + 1
    end = context.find("\n", match.end())
    found.append((start, context[start:] if end < 0 else context[start:end]))
print("candidates:", len(found))
for start, line in found[:10]:
    print(f"at {{start}}: {{line}}")
"#
    );
    reply(&thought, &code)
}

fn confirm(count: &str, seen: &str) -> String {
    let place = after(seen, "at ").and_then(|line| line.split(':').next());
    let Some(place) = place.and_then(|place| place.parse::<u64>().ok()) else {
        let code = r#"
found = [(match.start(), match.group()) for match in re.finditer(r"(?i)magic[^\n]{0,100}", context)]
print("candidates:", len(found))
for start, line in found[:10]:
    print(f"at {start}: {line}")
"#;
        return reply(&format!("{count} candidates: the words may be others. I search more widely."), code);
    };
    let thought = format!(
        "{count} found, the first at {place}. Before I trust it, a sub-call reads the lines around it and \
         answers the question from them."
    );
    let code = format!(
        r#"
excerpt = context[max(0, {place} - 600):{place} + 600]
task = "Reply with the number alone, or with `unknown`."
reply = llm_query(f"Excerpt:\n{{excerpt}}\n\nQuestion: {{query}}\n{{task}}")
print("checked:", reply)
"#
    );
    reply(&thought, &code)
}

fn submit(number: &str) -> String {
    match number.replace([',', ' '], "").parse::<u64>() {
        Ok(_) => reply(
            &format!("The sub-call read {number} in the text. That is the answer."),
            "SUBMIT(answer=int(reply.strip()))",
        ),
        Err(_) => look("[error]"),
    }
}

/// What a reader makes of a prompt: the number in the sentence that fits the question.
fn read(prompt: &str) -> String {
    let question = after(prompt, "Question:").unwrap_or_default();
    let subject = question.split(" for ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let sentence = format!("special magic numbers for {subject} is: ");
    let found = prompt.split(sentence.as_str()).nth(1).filter(|_| !subject.is_empty());
    let number = found.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    number.filter(|number| !number.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_follows_from_what_was_seen() {
        assert!(next_cell("Task: context, query -> answer").contains("len(context)"));
        let seen = "[stdout]\nlength: 10 characters, 1 lines\n\
                    question: What is the special magic number for oak-tree mentioned?";
        assert!(next_cell(seen).contains(r"magic numbers? for oak-tree\b"));
        assert!(next_cell("[stdout]\ncandidates: 0").contains("(?i)magic"));
        assert!(next_cell("[stdout]\ncandidates: 1\nat 4711: One of").contains("4711 - 600"));
        assert!(next_cell("[stdout]\nchecked: 1234567\n").contains("SUBMIT"));
        assert!(next_cell("[stdout]\nchecked: unknown\n").contains("len(context)"));
    }

    #[test]
    fn the_reader_reads_its_prompt_only() {
        let prompt = |excerpt: &str| {
            format!("Excerpt:\n{excerpt}\n\nQuestion: What is the special magic number for oak mentioned?")
        };
        assert_eq!(read(&prompt("One of the special magic numbers for oak is: 7654321.")), "7654321");
        assert_eq!(read(&prompt("One of the special magic numbers for elm is: 7654321.")), "unknown");
        assert_eq!(read(""), "unknown");
    }
}
