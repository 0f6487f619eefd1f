//! Is each mistake that a sink of Kafka could have found by the test that is there for it?

use slackwater_dataflow::faults::Defect;

use crate::red::check;

#[test]
fn is_a_marker_that_counts_first_found() {
    let test = "fences::does_a_marker_count_with_what_it_stands_for_only";
    check(Defect::MarkerFirst, test);
}

#[test]
fn is_a_marker_that_is_read_too_early_found() {
    let test = "fences::is_a_marker_read_when_the_older_run_can_write_no_more";
    check(Defect::ReadBeforeFence, test);
}

#[test]
fn is_a_producer_that_goes_on_after_a_doubt_found() {
    let test = "networks::is_every_record_there_once_when_commits_are_answered_to_nobody";
    check(Defect::ReusedProducer, test);
}

#[test]
fn is_a_producer_that_publishes_the_next_epoch_too_found() {
    let test = "renewals::is_every_record_there_once_when_commits_come_again_unnoticed";
    check(Defect::KeptProducer, test);
}

#[test]
fn is_a_checkpoint_that_does_not_wait_for_brokers_found() {
    let test = "at_least_once::is_nothing_lost_while_brokers_are_away";
    check(Defect::NotSynced, test);
}
