//! Do epochs start when they should, and does every checkpoint end as it should?

mod model;
mod race;

use std::time::Duration;

use crate::checkpoint::coordinator::{Action, CheckpointSettings, Coordinator, Reporter};
use crate::moment::{Epoch, EventTime};

/// A call of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Tick,
    FirstOutput,
    Watermarks(usize, Option<i64>),
    Reported(usize, u64),
    ReportFailed(usize, u64),
    Drained,
    PutCreated(u64),
    PutUnknown(u64),
    PutLost(u64),
    Published(u64),
    AllFinished,
    Stop,
    Trigger,
}

use Event::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn call(coordinator: &mut Coordinator, now: Duration, event: Event) -> Vec<Action> {
    match event {
        Tick => coordinator.tick(now),
        FirstOutput => coordinator.first_output(now),
        Watermarks(worker, least) => {
            coordinator.watermarks(worker, least.map(EventTime));
            Vec::new()
        }
        Reported(worker, epoch) => coordinator.reported(now, worker, Epoch(epoch)),
        ReportFailed(worker, epoch) => coordinator.report_failed(now, worker, Epoch(epoch)),
        Drained => coordinator.drained(now),
        PutCreated(epoch) => coordinator.put_created(now, Epoch(epoch)),
        PutUnknown(epoch) => coordinator.put_unknown(now, Epoch(epoch)),
        PutLost(epoch) => coordinator.put_lost(now, Epoch(epoch)),
        Published(epoch) => coordinator.published(now, Epoch(epoch)),
        AllFinished => coordinator.all_finished(now),
        Stop => coordinator.stop(now),
        Trigger => coordinator.trigger(now),
    }
}

/// An action in few words.
fn words(action: &Action) -> String {
    let list = |covers: &[Epoch]| {
        let numbers: Vec<String> = covers.iter().map(Epoch::to_string).collect();
        numbers.join("+")
    };
    match action {
        Action::StartEpoch {
            epoch,
            floor,
            last,
            stop,
        } => {
            let floor = match floor {
                None => String::new(),
                Some(EventTime::MAX) => " floor max".to_owned(),
                Some(floor) => format!(" floor {floor}"),
            };
            let last = if *last { " last" } else { "" };
            let stop = if *stop { " stop" } else { "" };
            format!("start {epoch}{floor}{last}{stop}")
        }
        Action::PutManifest { epoch, covers } => format!("put {epoch} of {}", list(covers)),
        Action::RetryPut { epoch } => format!("retry {epoch}"),
        Action::Durable { epoch, covers } => format!("durable {epoch} of {}", list(covers)),
        Action::CheckpointFailed { epoch, .. } => format!("failed {epoch}"),
        Action::FailJob(_) => "job failed".to_owned(),
        Action::Fenced => "fenced".to_owned(),
        Action::Finished => "finished".to_owned(),
    }
}

const SETTINGS: CheckpointSettings = CheckpointSettings {
    interval: Duration::from_millis(100),
    min_pause: Duration::from_millis(30),
    timeout: Duration::from_millis(1000),
    max_concurrent: 1,
    tolerable_failures: 1,
    unpublished_max: 4,
};

/// Tells a run of `workers` whose open epoch is 1 what happens, each with its time in ms, and compares what it
/// wants done.
fn check(settings: CheckpointSettings, workers: usize, script: &[(u64, Event, &str)]) {
    let mut coordinator = Coordinator::new(settings, workers, Epoch(1), None, ms(0));
    for (line, (at, event, expected)) in script.iter().enumerate() {
        let actions = call(&mut coordinator, ms(*at), *event);
        let actions: Vec<String> = actions.iter().map(words).collect();
        assert_eq!(
            actions.join(", "),
            *expected,
            "line {line}: {event:?} at {at}"
        );
    }
}

#[test]
fn does_a_checkpoint_go_from_its_start_to_its_publication() {
    let script = [
        (99, Tick, ""),
        (100, Tick, "start 2"),
        (110, Reported(0, 1), ""),
        (111, Reported(0, 1), ""),
        (112, Reported(1, 2), ""),
        (120, Reported(1, 1), "put 1 of 1"),
        (121, Tick, ""),
        (125, PutCreated(1), "durable 1 of 1"),
        (126, PutCreated(1), ""),
        (130, Published(1), ""),
        (199, Tick, ""),
        (200, Tick, "start 3"),
    ];
    check(SETTINGS, 2, &script);
}

#[test]
fn does_the_first_epoch_end_with_its_first_output() {
    let script = [
        (7, FirstOutput, "start 2"),
        (8, FirstOutput, ""),
        (9, Reported(0, 1), "put 1 of 1"),
        (9, PutCreated(1), "durable 1 of 1"),
        (50, FirstOutput, ""),
        (106, Tick, ""),
        (107, Tick, "start 3"),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn does_no_checkpoint_fail_because_nobody_takes_its_outputs() {
    let mut coordinator = Coordinator::new(SETTINGS, 1, Epoch(1), None, ms(0)).awaiting_outputs();
    let check = |actions: Vec<Action>, expected: &str| {
        let actions: Vec<String> = actions.iter().map(words).collect();
        assert_eq!(actions.join(", "), expected);
    };
    check(coordinator.tick(ms(100)), "start 2");
    check(coordinator.reported(ms(101), 0, Epoch(1)), "");
    for at in (1_000..70_000).step_by(900) {
        check(coordinator.outputs_held_up(ms(at)), "");
        check(coordinator.tick(ms(at + 899)), "");
    }
    let reported = coordinator.reported(ms(70_300), Reporter::Outputs, Epoch(1));
    check(reported, "put 1 of 1");
    let created = coordinator.put_created(ms(70_301), Epoch(1));
    check(created, "durable 1 of 1");
    check(coordinator.published(ms(70_302), Epoch(1)), "");
    // What a worker's parts are missing of has its time and no more.
    check(coordinator.tick(ms(70_332)), "start 3");
    let reported = coordinator.reported(ms(70_333), Reporter::Outputs, Epoch(2));
    check(reported, "");
    check(coordinator.outputs_held_up(ms(71_331)), "");
    check(coordinator.tick(ms(71_332)), "failed 2");
}

#[test]
fn does_the_next_start_wait_for_interval_pause_and_those_pending() {
    // The pause counts from the end, which came late.
    let script = [
        (100, Tick, "start 2"),
        (210, Tick, ""),
        (220, Reported(0, 1), "put 1 of 1"),
        (230, PutCreated(1), "durable 1 of 1"),
        (259, Tick, ""),
        (260, Tick, "start 3"),
    ];
    check(SETTINGS, 1, &script);
    // A failure is an end too.
    let script = [
        (100, Tick, "start 2"),
        (190, ReportFailed(0, 1), "failed 1"),
        (219, Tick, ""),
        (220, Tick, "start 3"),
    ];
    check(SETTINGS, 1, &script);
    let two = CheckpointSettings {
        max_concurrent: 2,
        ..SETTINGS
    };
    let script = [
        (100, Tick, "start 2"),
        (200, Tick, "start 3"),
        (300, Tick, ""),
        (305, Reported(0, 2), ""),
        (310, Reported(0, 1), "put 1 of 1"),
        (315, PutCreated(1), "durable 1 of 1, put 2 of 2"),
        (345, Tick, "start 4"),
    ];
    check(two, 1, &script);
}

#[test]
fn does_a_request_start_a_checkpoint_whatever_the_interval_says() {
    let script = [
        (10, Trigger, "start 2"),
        (11, Trigger, ""),
        (12, Reported(0, 1), "put 1 of 1"),
        (13, PutCreated(1), "durable 1 of 1, start 3"),
        (14, Reported(0, 2), "put 2 of 2"),
        (15, PutCreated(2), "durable 2 of 2"),
        (112, Tick, ""),
        (113, Tick, "start 4"),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn does_the_next_manifest_list_what_failed_checkpoints_left() {
    // Late in time, but there.
    let script = [
        (100, Tick, "start 2"),
        (110, Reported(0, 1), ""),
        (1099, Tick, ""),
        (1100, Tick, "failed 1"),
        (1130, Tick, "start 3"),
        (1140, Reported(0, 2), ""),
        (1141, Reported(1, 2), ""),
        (1150, Reported(1, 1), "put 2 of 1+2"),
        (1160, PutCreated(2), "durable 2 of 1+2"),
    ];
    check(SETTINGS, 2, &script);
    // Complete after it failed: there is nothing to revive, the next one lists it.
    let script = [
        (100, Tick, "start 2"),
        (110, ReportFailed(0, 1), "failed 1"),
        (111, ReportFailed(0, 1), ""),
        (115, Reported(0, 1), ""),
        (200, Tick, "start 3"),
        (210, Reported(0, 2), "put 2 of 1+2"),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn does_the_job_fail_with_one_failure_more_than_it_survives() {
    let script = [
        (100, Tick, "start 2"),
        (110, ReportFailed(0, 1), "failed 1"),
        (200, Tick, "start 3"),
        (210, Reported(0, 2), ""),
        (211, Reported(0, 1), "put 2 of 1+2"),
        (212, PutCreated(2), "durable 2 of 1+2"),
        (300, Tick, "start 4"),
        (310, ReportFailed(0, 3), "failed 3"),
        (400, Tick, "start 5"),
        (1400, Tick, "failed 4, job failed"),
        (1401, Reported(0, 3), ""),
        (9999, Tick, ""),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn is_a_put_whose_result_is_unknown_tried_until_the_job_has_failed() {
    let script = [
        (100, Tick, "start 2"),
        (110, Reported(0, 1), "put 1 of 1"),
        (120, PutUnknown(1), ""),
        (219, Tick, ""),
        (220, Tick, "retry 1"),
        (250, PutUnknown(1), ""),
        (1099, Tick, "retry 1"),
        // Nobody knows yet that it is unknown again.
        (1100, Tick, ""),
        (1110, Trigger, ""),
        (1111, PutUnknown(1), ""),
        (1112, Tick, "failed 1"),
        (1211, Tick, "retry 1"),
        (1212, ReportFailed(0, 1), ""),
        (1213, PutCreated(1), "durable 1 of 1, start 3"),
        (1220, Reported(0, 2), "put 2 of 2"),
        (1221, PutUnknown(2), ""),
        (2213, Tick, "failed 2, retry 2"),
        (2214, PutUnknown(2), ""),
        (3213, Tick, "failed 2, job failed"),
        (3214, PutCreated(2), ""),
    ];
    check(SETTINGS, 1, &script);
    let script = [
        (100, Tick, "start 2"),
        (110, Reported(0, 1), "put 1 of 1"),
        (120, PutUnknown(1), ""),
        (130, PutCreated(1), "durable 1 of 1"),
        (230, Tick, "start 3"),
        (240, Reported(0, 2), "put 2 of 2"),
        // Of the put before: it comes late and says nothing of this one.
        (241, PutCreated(1), ""),
        (242, PutLost(1), ""),
        (243, PutUnknown(1), ""),
        (250, PutLost(2), "fenced"),
        (260, Stop, ""),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn does_no_checkpoint_start_while_too_much_is_unpublished() {
    let settings = CheckpointSettings {
        unpublished_max: 2,
        ..SETTINGS
    };
    let script = [
        (100, Tick, "start 2"),
        (110, Reported(0, 1), "put 1 of 1"),
        (110, PutCreated(1), "durable 1 of 1"),
        (200, Tick, "start 3"),
        (210, Reported(0, 2), "put 2 of 2"),
        (210, PutCreated(2), "durable 2 of 2"),
        (5000, Tick, ""),
        (5001, Published(1), "start 4"),
        (5010, Reported(0, 3), "put 3 of 3"),
        (5010, PutCreated(3), "durable 3 of 3"),
        (5020, Stop, ""),
        (5030, Published(3), "start 5 stop"),
        (5040, Reported(0, 4), "put 4 of 4"),
        (5050, PutCreated(4), "durable 4 of 4"),
        (5060, Published(4), "finished"),
    ];
    check(settings, 1, &script);
}

#[test]
fn does_the_floor_follow_the_slowest_worker_and_never_fall() {
    let cases: [(&[Event], &str); 6] = [
        (&[Watermarks(0, Some(50))], "start 2"),
        (&[Watermarks(1, Some(40))], "start 3 floor 40"),
        (&[Watermarks(1, None)], "start 4 floor 50"),
        (&[Watermarks(1, Some(20))], "start 5 floor 50"),
        (
            &[Watermarks(0, None), Watermarks(1, None)],
            "start 6 floor 50",
        ),
        (&[Watermarks(1, Some(70))], "start 7 floor 70"),
    ];
    let mut coordinator = Coordinator::new(SETTINGS, 2, Epoch(1), None, ms(0));
    for (epoch, (events, expected)) in (1..).zip(cases) {
        let at = epoch * 200;
        for event in events {
            call(&mut coordinator, ms(at), *event);
        }
        let actions = call(&mut coordinator, ms(at), Tick);
        let actions: Vec<String> = actions.iter().map(words).collect();
        assert_eq!(actions, [expected]);
        let done = [
            Reported(0, epoch),
            Reported(1, epoch),
            PutCreated(epoch),
            Published(epoch),
        ];
        for event in done {
            call(&mut coordinator, ms(at), event);
        }
    }
}

#[test]
fn does_the_end_of_the_input_give_one_last_epoch() {
    let script = [
        (10, Watermarks(0, Some(7)), ""),
        (20, AllFinished, "start 2 floor max last"),
        (21, AllFinished, ""),
        (22, Stop, ""),
        (23, Trigger, ""),
        (30, Reported(0, 1), "put 1 of 1"),
        (40, PutCreated(1), "durable 1 of 1"),
        // As long as it takes: what still has to come out of it isn't the checkpoint's time.
        (9000, Tick, ""),
        (9001, Drained, ""),
        (9010, Reported(0, 2), "put 2 of 2"),
        (9020, PutCreated(2), "durable 2 of 2"),
        (9030, Published(1), ""),
        (9040, Published(2), "finished"),
        (9050, Published(2), ""),
    ];
    check(SETTINGS, 1, &script);
    // The last epoch closes before the one before is durable.
    let script = [
        (20, AllFinished, "start 2 floor max last"),
        (30, Reported(0, 2), ""),
        (31, Reported(1, 2), ""),
        (32, Reported(0, 1), ""),
        (33, Reported(1, 1), "put 1 of 1"),
        (40, PutCreated(1), "durable 1 of 1, put 2 of 2"),
        (41, Published(1), ""),
        (50, PutCreated(2), "durable 2 of 2"),
        (60, Published(2), "finished"),
    ];
    check(SETTINGS, 2, &script);
}

#[test]
fn does_a_stop_end_with_a_checkpoint_and_move_no_watermark() {
    let script = [
        (10, Watermarks(0, Some(7)), ""),
        (20, Stop, "start 2 stop"),
        (21, AllFinished, ""),
        (30, Reported(0, 1), "put 1 of 1"),
        (40, PutCreated(1), "durable 1 of 1"),
        (9000, Tick, ""),
        (9040, Published(1), "finished"),
    ];
    check(SETTINGS, 1, &script);
    // It waits for the checkpoint that is pending, and goes before the end of the input.
    let script = [
        (100, Tick, "start 2"),
        (110, AllFinished, ""),
        (120, Stop, ""),
        (130, Reported(0, 1), "put 1 of 1"),
        (140, PutCreated(1), "durable 1 of 1, start 3 stop"),
        (150, Reported(0, 2), "put 2 of 2"),
        (160, PutCreated(2), "durable 2 of 2"),
        (170, Published(2), "finished"),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn is_the_final_checkpoint_tried_until_the_job_has_failed() {
    let script = [
        (20, Stop, "start 2 stop"),
        (1020, Tick, "failed 1"),
        (1500, Reported(0, 1), "put 1 of 1"),
        (1600, PutCreated(1), "durable 1 of 1"),
        (1700, Published(1), "finished"),
    ];
    check(SETTINGS, 1, &script);
    let script = [
        (20, AllFinished, "start 2 floor max last"),
        (30, Reported(0, 1), "put 1 of 1"),
        (40, PutCreated(1), "durable 1 of 1"),
        // As often as it is tried.
        (50, ReportFailed(0, 2), ""),
        (150, ReportFailed(0, 2), ""),
        (1049, Tick, ""),
        (1050, Tick, "failed 2"),
        (1060, ReportFailed(0, 2), ""),
        (2050, Tick, "failed 2, job failed"),
    ];
    check(SETTINGS, 1, &script);
}

#[test]
fn does_a_failure_say_what_a_person_needs() {
    let mut coordinator = Coordinator::new(SETTINGS, 3, Epoch(1), None, ms(0));
    for (at, event) in [
        (100, Tick),
        (110, Reported(1, 1)),
        (120, ReportFailed(0, 1)),
    ] {
        call(&mut coordinator, ms(at), event);
    }
    call(&mut coordinator, ms(200), Tick);
    call(&mut coordinator, ms(210), Reported(1, 2));
    let actions = call(&mut coordinator, ms(1200), Tick);
    let Some(Action::FailJob(failure)) = actions.last() else {
        unreachable!("{actions:?}");
    };
    assert_eq!(
        failure.to_string(),
        "2 checkpoints failed in a row, `tolerable_failures` is 1; the last was that of epoch 2: it was not durable \
         after 1s: still to be written: the parts of worker 0, the parts of worker 2"
    );
    let counts = coordinator.counts();
    assert_eq!((counts.completed, counts.failed, counts.pending), (0, 2, 0));
}

#[test]
fn do_the_counts_say_how_long_the_last_checkpoint_took() {
    let mut coordinator = Coordinator::new(SETTINGS, 1, Epoch(1), None, ms(0));
    call(&mut coordinator, ms(100), Tick);
    assert_eq!(coordinator.counts().pending, 1);
    assert_eq!(coordinator.next_deadline(), Some(ms(1100)));
    call(&mut coordinator, ms(110), Reported(0, 1));
    assert_eq!(coordinator.next_deadline(), None);
    call(&mut coordinator, ms(117), PutCreated(1));
    let counts = coordinator.counts();
    assert_eq!(counts.last_duration, Some(ms(17)));
    assert_eq!(counts.last_durable, Some(Epoch(1)));
    assert_eq!((counts.completed, counts.unpublished), (1, 1));
    assert_eq!(coordinator.next_deadline(), Some(ms(200)));
}
