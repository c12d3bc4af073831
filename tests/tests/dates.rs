//! Dates, times, durations and decimals of Rust's usual crates: objects in Python, and back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use abyme::{Inputs, InterpreterFactory, Rlm, Signature, Subprocess, Wasm, inputs, testing::ScriptedModel};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn cell(code: &str) -> String {
    format!("```python\n{code}\n```")
}

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
struct Flight {
    leaves: DateTime<Utc>,
    lasts: jiff::SignedDuration,
    gate: Option<NaiveTime>,
}

/// Plan the journey.
#[derive(Signature)]
struct Plan {
    #[input]
    on: NaiveDate,
    #[input]
    flights: Vec<Flight>,
    #[input(object)]
    last: Flight,
    #[output]
    arrives: DateTime<Utc>,
    #[output]
    local: NaiveDateTime,
    #[output]
    days: Vec<jiff::civil::Date>,
    #[output]
    flight: Flight,
}

fn backends() -> [Arc<dyn InterpreterFactory>; 2] {
    [Arc::new(Wasm::new()), Arc::new(Subprocess::new())]
}

#[tokio::test]
async fn rust_types_are_objects_in_python_and_come_back() {
    let flight = Flight {
        leaves: "2024-02-29T22:30:00.123456789Z".parse().unwrap(),
        lasts: jiff::SignedDuration::from_mins(150),
        gate: NaiveTime::from_hms_opt(21, 45, 0),
    };
    for backend in backends() {
        let model = ScriptedModel::replies([
            cell(
                "[type(on), type(flights[0]['leaves']), flights[0]['lasts'], last.gate, flights[1]['gate']]",
            ),
            cell(
                "import datetime\n\
                 arrives = flights[0]['leaves'] + flights[0]['lasts']\n\
                 days = [on, on + datetime.timedelta(days=1)]\n\
                 SUBMIT(arrives=arrives.replace(tzinfo=None), local=arrives, days=days, flight=last)",
            ),
            cell("SUBMIT(arrives=arrives, local=arrives.replace(tzinfo=None), days=days, flight=last)"),
        ]);
        let rlm = Rlm::of::<Plan>().model(model.clone()).interpreter(backend).build().unwrap();
        let input = PlanInput {
            on: NaiveDate::from_ymd_opt(2024, 2, 29).unwrap(),
            flights: vec![flight.clone(), Flight { gate: None, ..flight.clone() }],
            last: flight.clone(),
        };
        let output = rlm.run(input).await.unwrap().output;
        // Python has microseconds.
        let leaves = "2024-02-29T22:30:00.123456Z".parse().unwrap();
        let expected = PlanOutput {
            arrives: "2024-03-01T01:00:00.123456Z".parse().unwrap(),
            local: "2024-03-01T01:00:00.123456".parse().unwrap(),
            days: vec!["2024-02-29".parse().unwrap(), "2024-03-01".parse().unwrap()],
            flight: Flight { leaves, ..flight.clone() },
        };
        assert_eq!(output, expected);
        let said = |request: usize| model.requests()[request].messages.last().unwrap().content.clone();
        let task = said(0);
        assert!(task.contains("`on` (date)\ncontent:\n```\n2024-02-29\n```"), "{task}");
        assert!(task.contains("- arrives: datetime (with an offset from UTC, as in +00:00)"), "{task}");
        assert!(
            task.contains(
                "flight: {'leaves': datetime, 'lasts': timedelta, 'gate': NotRequired[time | None]}"
            ),
            "{task}"
        );
        let shown = "[<class 'datetime.date'>, <class 'datetime.datetime'>, \
                     datetime.timedelta(seconds=9000), datetime.time(21, 45), None]";
        assert!(said(1).contains(shown), "{}", said(1));
        for problem in [
            "output `arrives`: expected datetime (with an offset from UTC, as in +00:00), got str \
             '2024-03-01T01:00:00.123456'; submit value.replace(tzinfo=datetime.timezone.utc) if it is in \
             UTC",
            "output `local`: expected datetime (without an offset from UTC), got str",
        ] {
            assert!(said(2).contains(problem), "{}", said(2));
        }
    }
}

#[tokio::test]
async fn texts_of_declared_types_are_objects_in_python() {
    let signature = "day: date, price: Decimal, either: str | date, waits: dict[str, timedelta], docs \
                     -> total: Decimal, wait: timedelta, at: time, first: date | None";
    let inputs: fn() -> Inputs = || {
        let waits = abyme::Value::dict([("a", "1 day, 2:00:00"), ("b", "-PT0.5S")]);
        inputs! { day: "2024-02-29", price: "19.90", either: "2024-02-29", waits: waits, docs: "2024-02-29" }
    };
    for backend in backends() {
        let model = ScriptedModel::replies([
            cell("[day.year, price * 3, either, docs, waits]"),
            cell(
                "import datetime\nfrom decimal import Decimal\n\
                 SUBMIT(total=Decimal('NaN'), wait=5, at='25:00', first='soon')",
            ),
            cell(
                "SUBMIT(total=price * 3, wait=sum(waits.values(), datetime.timedelta()), \
                  at=datetime.time(9, 30), first=datetime.datetime(2024, 2, 29))",
            ),
        ]);
        let rlm = Rlm::builder(signature).model(model.clone()).interpreter(backend).build().unwrap();
        let answer = rlm.run(inputs()).await.unwrap();
        let texts = ["total", "wait", "at", "first"].map(|name| answer.get::<String>(name).unwrap());
        assert_eq!(texts, ["59.70", "PT25H59M59.5S", "09:30:00", "2024-02-29"]);
        let said = |request: usize| model.requests()[request].messages.last().unwrap().content.clone();
        let shown = "[2024, Decimal('59.70'), '2024-02-29', '2024-02-29', {'a': datetime.timedelta(days=1, \
                     seconds=7200), 'b': datetime.timedelta(days=-1, seconds=86399, microseconds=500000)}]";
        assert!(said(1).contains(shown), "{}", said(1));
        for problem in [
            "output `total`: expected Decimal, got str 'NaN'; write a finite number as 12.50",
            "output `wait`: expected timedelta, got int 5; submit a datetime.timedelta",
            "output `at`: expected time, got str '25:00'; there is no such time of day",
            "output `first`: expected date | None, got str 'soon'; write a date as 2024-12-31",
        ] {
            assert!(said(2).contains(problem), "{}", said(2));
        }
    }
    let rlm = Rlm::builder(signature).model(ScriptedModel::replies([cell("1")])).interpreter(Wasm::new());
    let error = rlm.build().unwrap().run(inputs().with("day", "soon")).await.unwrap_err();
    assert_eq!(error.message(), "input `day`: expected date, got str 'soon'");
}
