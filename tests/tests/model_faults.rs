//! Does the suite for models bite? A model with one deliberate fault must fail exactly the cases that name
//! it, and each case must be named by a fault.
//!
//! Faults are planted around models that keep the contract: what has nothing to do with a wire around the
//! stand-in, the others around a client and its server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "model_faults/faulty.rs"]
mod faulty;

use std::collections::BTreeSet;

use abyme::OpenAi;
use abyme_conformance::{
    Suite,
    model::{KEY, ModelNeed, OpenAiChat, ServerHarness, WrapperHarness, case_names, cases},
};

use futures_util::{StreamExt, stream};

use self::faulty::{Fault, Faulty};

/// The faults that need no wire, and the cases that each of them fails.
const FAULTS: &[(Fault, &[&str])] = &[
    (Fault::SendsSystemAsUser, &["m1_requests::all_roles_arrive", "m1_requests::every_character_survives"]),
    (Fault::SendsRepliesAsUser, &["m1_requests::all_roles_arrive", "m1_requests::authors_come_in_any_order"]),
    (Fault::DropsSeparators, &["m1_requests::every_character_survives"]),
    (Fault::CutsPrompts, &["m1_requests::a_long_prompt_arrives_whole"]),
    (Fault::RefusesEmptyTexts, &["m1_requests::an_empty_text_is_no_failure"]),
    (
        Fault::SendsNoOptions,
        &[
            "m1_requests::the_limit_of_tokens_is_sent",
            "m1_requests::the_temperature_is_sent",
            "m1_requests::the_schema_is_sent",
            "m1_requests::another_model_can_be_asked",
        ],
    ),
    (Fault::KeepsTheConversation, &["m1_requests::no_conversation_is_kept"]),
    (Fault::RefusesItsConfiguration, &["m1_requests::a_check_sends_nothing"]),
    (
        Fault::MixesCalls,
        &[
            "m1_requests::fifty_at_once_get_their_own_answers",
            "m5_cancellation::a_dropped_call_harms_no_other",
        ],
    ),
    (
        Fault::SaysBadRequest,
        &[
            "m2_failures::a_rate_limit_with_a_wait",
            "m2_failures::a_rate_limit_without_a_wait",
            "m2_failures::a_quota",
            "m2_failures::a_wrong_key",
            "m2_failures::a_context_that_is_too_long",
            "m2_failures::a_refused_content",
            "m2_failures::a_failed_server",
            "m2_failures::a_connection_closed_before_the_answer",
            "m2_failures::a_connection_closed_in_the_answer",
            "m2_failures::an_answer_that_is_no_reply",
            "m2_failures::a_failure_in_a_stream",
            "m2_failures::a_failure_leaves_nothing_behind",
            "m5_time_limits::a_silent_provider",
            "m5_time_limits::a_provider_that_stalls",
            "m5_time_limits::the_time_of_a_stream_is_one",
        ],
    ),
    (
        Fault::SaysServer,
        &[
            "m2_failures::a_rate_limit_with_a_wait",
            "m2_failures::a_rate_limit_without_a_wait",
            "m2_failures::a_quota",
            "m2_failures::a_wrong_key",
            "m2_failures::a_context_that_is_too_long",
            "m2_failures::a_bad_request",
            "m2_failures::a_refused_content",
            "m2_failures::a_connection_closed_before_the_answer",
            "m2_failures::a_connection_closed_in_the_answer",
            "m2_failures::an_answer_that_is_no_reply",
            "m2_failures::a_failure_in_a_stream",
            "m2_failures::what_is_final_is_not_temporary",
            "m5_time_limits::a_silent_provider",
            "m5_time_limits::a_provider_that_stalls",
            "m5_time_limits::the_time_of_a_stream_is_one",
        ],
    ),
    (
        Fault::SwallowsErrors,
        &[
            "m2_failures::a_rate_limit_with_a_wait",
            "m2_failures::a_rate_limit_without_a_wait",
            "m2_failures::a_quota",
            "m2_failures::a_wrong_key",
            "m2_failures::a_context_that_is_too_long",
            "m2_failures::a_bad_request",
            "m2_failures::a_refused_content",
            "m2_failures::a_failed_server",
            "m2_failures::a_connection_closed_before_the_answer",
            "m2_failures::a_connection_closed_in_the_answer",
            "m2_failures::an_answer_that_is_no_reply",
            "m2_failures::a_failure_in_a_stream",
            "m2_failures::one_call_is_one_try",
            "m2_failures::what_is_final_is_not_temporary",
            "m2_failures::a_failure_leaves_nothing_behind",
            "m5_time_limits::a_silent_provider",
            "m5_time_limits::a_provider_that_stalls",
            "m5_time_limits::the_time_of_a_stream_is_one",
            "m7_streams::an_error_ends_a_stream",
        ],
    ),
    (Fault::TriesAgain, &["m2_failures::one_call_is_one_try"]),
    (Fault::TriesFinalErrorsAgain, &["m2_failures::what_is_final_is_not_temporary"]),
    (Fault::StaysBroken, &["m2_failures::a_failure_leaves_nothing_behind"]),
    (Fault::CountsUnknownAsNothing, &["m3_usage::what_is_not_said_is_unknown", "m7_streams::usage_grows"]),
    (
        Fault::CountsNothing,
        &[
            "m3_usage::tokens_are_counted",
            "m3_usage::cached_tokens_are_counted",
            "m3_usage::reasoning_tokens_are_counted",
            "m7_streams::usage_grows",
        ],
    ),
    (Fault::CountsNoCalls, &["m3_usage::a_call_is_one_call", "m3_usage::what_is_not_said_is_unknown"]),
    (Fault::HidesTheEnd, &["m4_cut_replies::a_length_limit_cuts", "m4_cut_replies::a_content_filter_cuts"]),
    (Fault::SaysLength, &["m4_cut_replies::an_end_of_its_own", "m4_cut_replies::a_content_filter_cuts"]),
    (
        Fault::FailsWhenCut,
        &[
            "m4_cut_replies::a_length_limit_cuts",
            "m4_cut_replies::a_content_filter_cuts",
            "m7_streams::pieces_add_up",
            "m7_streams::the_response_is_the_last",
            "m7_streams::a_stream_ends_with_what_a_call_returns",
            "m7_streams::usage_grows",
        ],
    ),
    (
        Fault::PutsThoughtsIntoText,
        &["m4_cut_replies::thoughts_are_kept_apart", "m7_streams::pieces_of_reasoning_add_up"],
    ),
    (Fault::DropsNativeCalls, &["m4_cut_replies::a_native_call_is_returned"]),
    (Fault::CutsReplies, &["m4_cut_replies::a_long_reply_is_whole"]),
    (
        Fault::IgnoresTheLimit,
        &[
            "m5_time_limits::a_silent_provider",
            "m5_time_limits::a_provider_that_stalls",
            "m5_time_limits::the_time_of_a_stream_is_one",
        ],
    ),
    (Fault::TimesOutAtOnce, &["m5_time_limits::a_limit_that_is_not_reached"]),
    (
        Fault::FinishesDroppedCalls,
        &["m5_cancellation::a_dropped_call_ends", "m5_cancellation::a_call_dropped_in_its_reply_ends"],
    ),
    (
        Fault::SendsBeforeItIsPolled,
        &["m5_cancellation::a_dropped_call_ends", "m5_cancellation::a_call_that_is_not_polled_sends_nothing"],
    ),
    (
        Fault::TellsTheKey,
        &[
            "m2_failures::a_rate_limit_with_a_wait",
            "m2_failures::a_rate_limit_without_a_wait",
            "m2_failures::a_quota",
            "m2_failures::a_wrong_key",
            "m2_failures::a_context_that_is_too_long",
            "m2_failures::a_bad_request",
            "m2_failures::a_refused_content",
            "m2_failures::a_failed_server",
            "m2_failures::a_connection_closed_before_the_answer",
            "m2_failures::a_connection_closed_in_the_answer",
            "m2_failures::an_answer_that_is_no_reply",
            "m2_failures::a_failure_in_a_stream",
            "m2_failures::one_call_is_one_try",
            "m2_failures::what_is_final_is_not_temporary",
            "m2_failures::a_failure_leaves_nothing_behind",
            "m5_time_limits::a_silent_provider",
            "m5_time_limits::a_provider_that_stalls",
        ],
    ),
    (Fault::ShowsTheKey, &["m6_secrets::debug_shows_no_key"]),
    (
        Fault::LosesAPiece,
        &[
            "m5_cancellation::a_dropped_stream_ends_the_generation",
            "m7_streams::pieces_add_up",
            "m7_streams::pieces_come_before_the_end",
            "m7_streams::streams_side_by_side_do_not_mix",
        ],
    ),
    (Fault::LosesAThought, &["m7_streams::pieces_of_reasoning_add_up"]),
    (Fault::EndsTwice, &["m7_streams::the_response_is_the_last"]),
    (Fault::GoesOnAfterTheEnd, &["m7_streams::the_response_is_the_last"]),
    (Fault::EndsOtherwise, &["m7_streams::a_stream_ends_with_what_a_call_returns"]),
    (
        Fault::HoldsPiecesBack,
        &["m5_cancellation::a_dropped_stream_ends_the_generation", "m7_streams::pieces_come_before_the_end"],
    ),
    (Fault::GoesOnAfterAnError, &["m7_streams::an_error_ends_a_stream"]),
    (Fault::CountsTooMuchAtFirst, &["m7_streams::usage_grows"]),
];

/// The faults that show in cases with a wire, and those of these cases that each of them fails.
const WIRE_FAULTS: &[(Fault, &[&str])] = &[
    (
        Fault::SaysBadRequest,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_body_of_something_else",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_wait_that_makes_no_sense",
            "m5_time_limits::a_provider_that_only_keeps_alive",
            "m5_time_limits::a_failure_without_an_end",
        ],
    ),
    (
        Fault::SaysServer,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_body_of_something_else",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_redirection_elsewhere",
            "m2_bad_input::a_redirection_without_an_end",
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
            "m2_bad_input::a_wait_that_makes_no_sense",
            "m5_time_limits::a_provider_that_only_keeps_alive",
        ],
    ),
    (
        Fault::SwallowsErrors,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_body_of_something_else",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_redirection_elsewhere",
            "m2_bad_input::a_redirection_without_an_end",
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
            "m2_bad_input::a_wait_that_makes_no_sense",
            "m5_time_limits::a_provider_that_only_keeps_alive",
            "m5_time_limits::a_failure_without_an_end",
            "m6_secrets::errors_show_no_key",
        ],
    ),
    (Fault::CountsUnknownAsNothing, &["m3_usage::absurd_counts_are_unknown"]),
    (
        Fault::CountsNothing,
        &[
            "m2_bad_input::last_events_that_come_twice",
            "m2_bad_input::comments_in_a_stream",
            "m2_bad_input::a_reply_byte_by_byte",
        ],
    ),
    (
        Fault::SaysLengthWhenTooLarge,
        &[
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
        ],
    ),
    (
        Fault::TakesMemory,
        &[
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
        ],
    ),
    (Fault::DropsReplacements, &["m2_bad_input::bytes_that_are_no_text"]),
    (Fault::IgnoresTheLimit, &["m5_time_limits::a_provider_that_only_keeps_alive"]),
    (
        Fault::TellsTheKey,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_body_of_something_else",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_redirection_elsewhere",
            "m2_bad_input::a_redirection_without_an_end",
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
            "m2_bad_input::a_wait_that_makes_no_sense",
            "m5_time_limits::a_provider_that_only_keeps_alive",
            "m5_time_limits::a_failure_without_an_end",
            "m6_secrets::errors_show_no_key",
        ],
    ),
    (
        Fault::TriesAgain,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_body_of_something_else",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
        ],
    ),
    (
        Fault::TriesFinalErrorsAgain,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_redirection_elsewhere",
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::a_text_without_an_end",
            "m2_bad_input::an_event_without_an_end",
        ],
    ),
    (
        Fault::TakesEveryEndForAReply,
        &[
            "m2_bad_input::a_page_in_html",
            "m2_bad_input::a_body_of_something_else",
            "m2_bad_input::a_failure_with_status_200",
            "m2_bad_input::a_stream_that_ends_in_an_event",
            "m2_bad_input::a_stream_without_its_last_events",
            "m2_bad_input::a_redirection_elsewhere",
            "m2_bad_input::a_redirection_without_an_end",
            "m2_bad_input::a_compressed_bomb",
            "m2_bad_input::an_event_without_an_end",
            "m2_bad_input::a_wait_that_makes_no_sense",
            "m5_time_limits::a_provider_that_only_keeps_alive",
            "m5_time_limits::a_failure_without_an_end",
            "m6_secrets::errors_show_no_key",
        ],
    ),
];

fn stand_in(fault: Fault) -> Suite {
    let harness = WrapperHarness::new("faulty", move |model| Faulty::new(model, fault));
    Suite::of_model(harness.lacks(lacking(fault)))
}

fn client(fault: Fault) -> Suite {
    let harness = ServerHarness::new("faulty", OpenAiChat, move |url| {
        let model = OpenAi::new("openai/test-model").base_url(format!("{url}/v1")).api_key(KEY);
        Faulty::new(model, fault)
    });
    Suite::of_model(harness.lacks(lacking(fault)))
}

fn lacking(fault: Fault) -> Vec<ModelNeed> {
    if fault.keeps_pieces() { Vec::new() } else { vec![ModelNeed::Pieces] }
}

fn needs_wire(name: &str) -> bool {
    cases().iter().any(|case| case.is_called(name) && case.needs().contains(&ModelNeed::Wire))
}

/// The cases with a wire, or without, that fail.
async fn failed(suite: &Suite, with_wire: bool) -> Vec<&'static str> {
    let names = case_names().into_iter().filter(|name| needs_wire(name) == with_wire);
    let results = stream::iter(names).map(async |name| (name, suite.run_case(name).await));
    // Many of them wait for what never comes.
    let failed = results.buffered(12).filter_map(async |(name, result)| result.is_failed().then_some(name));
    failed.collect().await
}

/// Runs the suite over each faulty model, and asserts that exactly the cases fail that should.
async fn fail(faults: &[(Fault, &[&str])], with_wire: bool, suite: fn(Fault) -> Suite) {
    let mut wrong = Vec::new();
    for (fault, expected) in faults {
        let failed = failed(&suite(*fault), with_wire).await;
        if failed != *expected {
            wrong.push(format!("{fault:?}: {failed:#?}"));
        }
    }
    assert!(wrong.is_empty(), "faults that failed other cases than they should: {}", wrong.join("\n"));
}

#[tokio::test]
async fn each_fault_fails_the_cases_that_name_it() {
    fail(FAULTS, false, stand_in).await;
}

#[tokio::test]
async fn each_fault_on_a_wire_fails_the_cases_that_name_it() {
    fail(WIRE_FAULTS, true, client).await;
}

#[test]
fn each_case_is_named_by_a_fault() {
    let named: BTreeSet<&str> =
        FAULTS.iter().chain(WIRE_FAULTS).flat_map(|(_, cases)| cases.iter().copied()).collect();
    let unnamed: Vec<_> = case_names().into_iter().filter(|name| !named.contains(name)).collect();
    assert!(unnamed.is_empty(), "no fault fails {unnamed:#?}");
}
