//! M6: no key appears in an error, in `Debug` or in a log.

use abyme_core::{ErrorKind, LanguageModel, Request};

use crate::model::{
    case::model_cases,
    exam::{WAYS, check, hides_key},
    scenario::{Reply, Scenario, WireFault},
};

model_cases! {
    theme m6_secrets, clause 6;

    /// M6: `Debug` of a model shows no key, and its name neither.
    async fn debug_shows_no_key(exam) {
        let subject = exam.of(Scenario::Echo).await;
        let model = &subject.model;
        hides_key("Debug", &format!("{model:?} {model:#?} {}", model.name()));
    }

    /// M6: an error shows no key, also where the provider repeats it, in whatever it says.
    #[needs(Wire)]
    async fn errors_show_no_key(exam) {
        let mut scenarios: Vec<Scenario> = [
            ErrorKind::Auth,
            ErrorKind::BadRequest,
            ErrorKind::ContextTooLong,
            ErrorKind::QuotaExceeded,
            ErrorKind::RateLimited { retry_after: None },
            ErrorKind::Server,
        ]
        .into_iter()
        .flat_map(|kind| {
            let in_success = Scenario::Wire(WireFault::ErrorInSuccess(kind));
            [Scenario::Fail(kind), Scenario::FailMidway(Reply::new(["one"]), kind), in_success]
        })
        .collect();
        scenarios.extend([200, 401, 404, 502].map(|status| Scenario::Wire(WireFault::Page(status))));
        for scenario in scenarios {
            for way in WAYS {
                let subject = exam.of(scenario.clone()).await;
                // Every error is searched for the key.
                let _ = subject.error(way, &Request::prompt("?")).await;
                let came = subject.provider.keys() > 0;
                check(came, "the model under test was not given the key, or does not send it");
            }
        }
    }
}
