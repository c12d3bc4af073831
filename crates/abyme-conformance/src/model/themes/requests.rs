//! M1: one call answers one request, which arrives as it was made.

use abyme_core::{LanguageModel, Message, Request};
use futures_util::future::join_all;
use serde_json::json;

use crate::model::{
    case::model_cases,
    exam::{WAYS, Way, check, check_eq},
    scenario::{Reply, Scenario},
};

/// All that tends to be lost on the way: quotes, escapes, line ends, control characters, characters of two to
/// four bytes, ones that combine, ones that turn the direction, and what looks like markup.
const DIFFICULT: &str = "\"quoted\" \\n \\u0041 'single'\r\n\tline\u{2028}separator\u{1}\u{7f}\u{feff} ß \
    日本語 🦀👩‍👩‍👧 e\u{301} \u{202e}rtl\u{202c} </s><|im_end|> {{x}} %s $HOME &amp; data: [DONE]";

fn conversation() -> Vec<Message> {
    vec![
        Message::system("Be brief."),
        Message::user("2 + 2?"),
        Message::assistant("4"),
        Message::user("and 3 + 3?"),
    ]
}

fn reply() -> Scenario {
    Scenario::Reply(Reply::new(["fine"]))
}

/// The request that the provider got.
fn only(requests: Vec<Request>) -> Request {
    check_eq("the number of requests that the provider got", requests.len(), 1);
    requests.into_iter().next().unwrap_or_default()
}

model_cases! {
    theme m1_requests, clause 1;

    /// M1: the messages of all roles arrive, in their order and with their texts.
    async fn all_roles_arrive(exam) {
        for way in WAYS {
            let subject = exam.of(reply()).await;
            subject.answer(way, &Request::new(conversation())).await;
            let arrived = only(subject.provider.requests()).messages;
            check_eq(format!("{way:?}: messages"), arrived, conversation());
        }
    }

    /// M1: every character of a request arrives, and every character of a reply comes back.
    async fn every_character_survives(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Echo).await;
            let messages = vec![Message::system(DIFFICULT), Message::user(DIFFICULT)];
            let response = subject.answer(way, &Request::new(messages.clone())).await;
            check_eq(format!("{way:?}: messages"), only(subject.provider.requests()).messages, messages);
            check_eq(format!("{way:?}: the text"), response.text.as_str(), DIFFICULT);
        }
    }

    /// M1: a prompt of five megabytes arrives whole.
    async fn a_long_prompt_arrives_whole(exam) {
        for way in WAYS {
            let subject = exam.of(reply()).await;
            let text = "Lorem ipsum — 日本. \n".repeat(5_000_000 / 25);
            subject.answer(way, &Request::prompt(text.clone())).await;
            let arrived = only(subject.provider.requests()).messages.pop().map(|message| message.content);
            check(arrived.as_ref() == Some(&text), format!("{way:?}: the prompt did not arrive as it was"));
        }
    }

    /// M1: a message without a text, such as a reply of nothing, does not spoil a conversation.
    async fn an_empty_text_is_no_failure(exam) {
        for way in WAYS {
            let subject = exam.of(reply()).await;
            let messages = vec![
                Message::system(""),
                Message::user("a task"),
                Message::assistant(""),
                Message::user("your reply was empty"),
            ];
            let response = subject.answer(way, &Request::new(messages)).await;
            check_eq(format!("{way:?}: the text"), response.text.as_str(), "fine");
        }
    }

    /// M1: a conversation may begin with the model's own words, and have two messages of one author in a row.
    async fn authors_come_in_any_order(exam) {
        for way in WAYS {
            let subject = exam.of(reply()).await;
            let messages = vec![
                Message::user("a task"),
                Message::user("its data"),
                Message::assistant("one"),
                Message::assistant("two"),
                Message::user("go on"),
            ];
            subject.answer(way, &Request::new(messages)).await;
            let arrived = only(subject.provider.requests()).messages;
            let text: String = arrived.iter().map(|message| message.content.as_str()).collect();
            for (role, part) in [("user", "its data"), ("assistant", "two"), ("user", "go on")] {
                check(
                    arrived.iter().any(|m| m.role.to_string() == role && m.content.contains(part)),
                    format!("{way:?}: `{part}` did not arrive as the {role}'s: {arrived:?}"),
                );
            }
            check(text.contains("a task"), format!("{way:?}: the first message is lost: {arrived:?}"));
        }
    }

    /// M1: the most tokens of a reply are those of the request.
    async fn the_limit_of_tokens_is_sent(exam) {
        for way in WAYS {
            let subject = exam.of(reply()).await;
            subject.answer(way, &Request::prompt("?").max_tokens(77)).await;
            check_eq(format!("{way:?}: max_tokens"), only(subject.provider.requests()).max_tokens, Some(77));
        }
    }

    /// M1: the temperature is that of the request, 0 included.
    #[needs(Temperature)]
    async fn the_temperature_is_sent(exam) {
        for way in WAYS {
            for temperature in [0.0, 0.25] {
                let subject = exam.of(reply()).await;
                subject.answer(way, &Request::prompt("?").temperature(temperature)).await;
                let sent = only(subject.provider.requests()).temperature;
                check_eq(format!("{way:?}: the temperature"), sent, Some(temperature));
            }
        }
    }

    /// M1: the schema of the reply reaches the provider, with the properties that it asks for.
    #[needs(Schema)]
    async fn the_schema_is_sent(exam) {
        let schema = json!({
            "type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"],
            "additionalProperties": false,
        });
        for way in WAYS {
            let subject = exam.of(reply()).await;
            subject.answer(way, &Request::prompt("?").schema(schema.clone())).await;
            // A provider may want it written otherwise, so not all of it has to be the same.
            let sent = only(subject.provider.requests()).schema.unwrap_or_default();
            let name = sent.pointer("/properties/answer/type").and_then(|name| name.as_str());
            check(
                name.is_some_and(|name| name.eq_ignore_ascii_case("string")),
                format!("{way:?}: the provider got the schema {sent}"),
            );
        }
    }

    /// M1: a request that names another model is one to that model.
    #[needs(OtherModels)]
    async fn another_model_can_be_asked(exam) {
        for way in WAYS {
            let subject = exam.of(reply()).await;
            subject.answer(way, &Request::prompt("?").model("another-model".to_owned())).await;
            let asked = only(subject.provider.requests()).model;
            check_eq(format!("{way:?}: the model"), asked.as_deref(), Some("another-model"));
        }
    }

    /// M1: nothing of a call is in the next one.
    async fn no_conversation_is_kept(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Echo).await;
            for text in ["first", "second"] {
                let response = subject.answer(way, &Request::prompt(text)).await;
                check_eq(format!("{way:?}: the text"), response.text.as_str(), text);
            }
            let last = subject.provider.requests().pop().unwrap_or_default().messages;
            check_eq(format!("{way:?}: messages"), last, vec![Message::user("second")]);
        }
    }

    /// M1: fifty calls at once on one value get their own answers, in both ways.
    async fn fifty_at_once_get_their_own_answers(exam) {
        let subject = exam.of(Scenario::Echo).await;
        let calls = (0..50).map(|number| {
            let subject = &subject;
            async move {
                let way = if number % 2 == 0 { Way::Complete } else { Way::Stream };
                let text = format!("number {number}");
                check_eq("the text", subject.answer(way, &Request::prompt(text.clone())).await.text, text);
            }
        });
        join_all(calls).await;
        check_eq("the number of requests", subject.provider.count(), 50);
    }

    /// M1: a model has a name, and its configuration is checked without a request.
    async fn a_check_sends_nothing(exam) {
        let subject = exam.of(reply()).await;
        check(!subject.model.name().is_empty(), "the model's name is empty");
        if let Err(error) = subject.model.check() {
            crate::result::fail(format!("the model's configuration is not fine: {error:?}"));
        }
        let _ = (subject.model.price(), subject.model.reports_cost(), subject.model.max_input_tokens());
        check_eq("the number of requests", subject.provider.count(), 0);
    }
}
