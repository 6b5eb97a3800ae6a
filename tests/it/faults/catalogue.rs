//! Where each line of the fault catalogue is tested. A line whose test is gone fails here.

use std::path::Path;

/// Area, fault, file and the tests in it.
const CATALOGUE: &[(&str, &str, &str, &[&str])] = &[
    (
        "CinetPay",
        "refused, black hole, 5xx, 429, HTML, truncated, huge, endless, dribbled, redirected, late, cut, idle, HTTP/1.0",
        "tests/it/faults/cinetpay.rs",
        &["every_fault_of_a_check_is_doubt_and_ends_paid", "every_fault_of_an_init_is_a_502_and_ends_paid"],
    ),
    ("CinetPay", "30 min outage", "tests/it/faults/cinetpay.rs", &["thirty_minutes_without_cinetpay"]),
    (
        "CinetPay",
        "TLS wrong name, expired, self-signed, private authority",
        "tests/it/faults/trust.rs",
        &[
            "a_private_authority_is_believed_by_configuration_and_wrong_certificates_never",
            "without_configuration_a_private_authority_is_a_stranger",
            "a_handshake_that_never_ends_is_given_up",
        ],
    ),
    (
        "SMTP",
        "421/450/451 and 550/552 at each verb",
        "tests/it/faults/mail.rs",
        &["every_code_before_the_mail_is_tried_again", "every_code_within_the_mail_is_final_or_tried_again"],
    ),
    (
        "SMTP",
        "drop at each verb and after the final dot",
        "tests/it/faults/mail.rs",
        &["a_connection_that_ends_at_any_verb_loses_no_mail"],
    ),
    (
        "SMTP",
        "late banner, half answers, garbage, a line without end",
        "tests/it/faults/mail.rs",
        &["answers_that_are_none_are_no_verdict_and_fill_no_memory"],
    ),
    (
        "SMTP",
        "STARTTLS stripped, answers smuggled in clear",
        "tests/it/faults/mail.rs",
        &["encryption_cannot_be_talked_away"],
    ),
    (
        "SMTP",
        "TLS, implicit and STARTTLS: wrong name, expired, self-signed, private authority",
        "tests/it/faults/mail.rs",
        &["wrong_certificates_are_refused_and_a_private_authority_is_believed_by_configuration"],
    ),
    (
        "SMTP",
        "pooled connection closed while idle",
        "tests/it/faults/mail.rs",
        &["a_pooled_connection_that_closed_while_idle_costs_nothing"],
    ),
    (
        "webhook",
        "1 000 identical in parallel",
        "tests/it/faults/webhook.rs",
        &["a_thousand_identical_at_once_are_one"],
    ),
    (
        "webhook",
        "every order of five statuses",
        "tests/it/faults/webhook.rs",
        &["five_statuses_in_every_order_end_paid_once"],
    ),
    (
        "webhook",
        "shifted signature",
        "tests/it/faults/webhook.rs",
        &["shifted_boundaries_are_200_and_make_no_work_for_anybody"],
    ),
    (
        "webhook",
        "missing last fields, wrong charset",
        "tests/it/faults/webhook.rs",
        &["shortened_and_oddly_spelled_but_genuine_notifications_count"],
    ),
    ("webhook", "1 MiB", "tests/it/faults/webhook.rs", &["a_megabyte_is_413_and_writes_nothing"]),
    (
        "webhook",
        "GET/HEAD, unknown id, forged signature, rotated secret",
        "tests/it/contract/callback.rs",
        &[
            "a_ping_is_answered",
            "genuine_notifications_are_200_whatever_they_are_about",
            "unsigned_or_unreadable_is_400_and_too_large_413",
            "two_secrets_while_one_is_rotated_out",
        ],
    ),
    (
        "webhook",
        "chunked, repeated key, not text",
        "tests/it/hostile.rs",
        &[
            "chunked_bodies_are_read_and_broken_ones_refused",
            "a_key_that_comes_twice_is_400",
            "what_is_not_text_is_400",
        ],
    ),
    ("webhook", "storm", "tests/crash/storm.rs", &["kills_lose_nothing_and_double_nothing"]),
    (
        "clock",
        "±1 day, back 10 min",
        "tests/it/faults/clock.rs",
        &[
            "an_order_under_a_jumping_clock_is_paid_and_delivered_once",
            "a_link_lives_by_the_clock_and_no_jump_back_revives_what_was_spent",
        ],
    ),
    (
        "clock",
        "the same to the program itself, by libfaketime",
        "tests/it/faults/faketime.rs",
        &["the_program_under_a_jumping_clock_loses_and_repeats_nothing"],
    ),
    (
        "resources",
        "slow-loris, 10 000 connections, 100 000 addresses",
        "tests/it/faults/flood.rs",
        &[
            "ten_thousand_connections_keep_no_honest_user_out",
            "dribbled_heads_and_bodies_are_cut_by_their_deadlines",
            "a_crowd_of_addresses_is_bounded_and_forgotten",
        ],
    ),
];

#[test]
fn every_line_of_the_catalogue_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (area, fault, file, tests) in CATALOGUE {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        for test in *tests {
            let marked = text.split("fn ").any(|rest| rest.starts_with(&format!("{test}(")));
            assert!(marked, "{area}, {fault}: {file} has no {test}");
        }
    }
}
