//! Is each defect that the engine can be given found by the test that is there for it? A harness that has never failed
//! proves nothing.
//!
//! Each of these tests is run by itself with the defect on, and must fail. One more defect is found beside the engine's
//! adapter, `dataflow/src/adapter/tests/effects.rs`.

use slackwater_dataflow::faults::Defect;

use crate::red::{RED, check, run};

#[test]
fn is_an_object_that_is_not_durable_found() {
    let test = "crashes::is_every_output_there_once_after_a_crash_in_arrival_order";
    check(Defect::NotSynced, test);
    let test = "placing::is_every_placed_output_there_once_after_a_crash";
    check(Defect::NotSynced, test);
}

#[test]
fn is_an_epoch_that_is_published_early_found() {
    let test = "publishing::is_an_epoch_durable_before_it_is_visible";
    check(Defect::PublishedEarly, test);
}

#[test]
fn is_a_position_that_is_off_by_one_found() {
    let test = "crashes::is_every_output_there_once_after_a_crash_in_arrival_order";
    check(Defect::PositionBehind, test);
}

#[test]
fn is_state_that_was_not_written_found() {
    let test = "crashes::is_every_output_there_once_after_a_crash_in_arrival_order";
    check(Defect::LostDelta, test);
}

#[test]
fn is_a_marker_that_counts_whatever_its_checkpoint_found() {
    let test = "markers::does_a_marker_that_does_not_fit_halt_the_run";
    check(Defect::SkippedByEpoch, test);
}

#[test]
fn are_waiting_events_that_are_not_in_the_state_found() {
    let test = "crashes::is_every_output_there_once_after_a_crash_in_event_time_order";
    check(Defect::WaitingNotSaved, test);
}

#[test]
fn is_a_run_that_was_replaced_and_goes_on_found() {
    let test = "zombies::does_a_run_that_was_replaced_while_it_was_stopped_change_nothing";
    check(Defect::StaleGeneration, test);
}

#[test]
fn is_a_stage_without_a_stash_found() {
    let test = "alignment::does_a_checkpoint_hold_nothing_of_the_next_epoch";
    check(Defect::NoStash, test);
}

#[test]
fn is_a_watermark_above_the_stash_found() {
    let test = "alignment::is_the_watermark_held_back_by_what_is_stashed";
    check(Defect::UnboundedWatermark, test);
}

#[test]
fn are_outputs_of_a_failed_checkpoint_that_no_manifest_lists_found() {
    let test = "storing::does_the_next_manifest_list_the_outputs_of_a_checkpoint_that_was_too_slow";
    check(Defect::ForgottenOutputs, test);
}

#[test]
fn is_a_recovery_that_publishes_the_newest_epoch_only_found() {
    let test = "publishing::are_all_epochs_published_that_a_sink_refused_for_a_while";
    check(Defect::NewestOnly, test);
}

#[test]
fn does_no_test_pass_with_a_defect_that_does_not_exist() {
    let test = "publishing::is_an_epoch_durable_before_it_is_visible";
    let run = run("published-erly", test);
    let why = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(RED), "{why}");
    let said = "there is no defect \"published-erly\"; there are not-synced, ";
    assert!(why.contains(said), "{why}");
}

#[test]
fn is_a_waking_that_is_forgotten_found() {
    let test = "silence::is_what_is_late_on_record_through_any_crash";
    check(Defect::IdleUnrecorded, test);
}

#[test]
fn is_a_watermark_beyond_the_floor_found() {
    let test = "silence::is_what_is_late_on_record_through_any_crash";
    check(Defect::IdleWithoutReserve, test);
}
