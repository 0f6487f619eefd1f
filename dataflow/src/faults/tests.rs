//! Is each fault found by its name, and what cannot be had refused?

use super::phases::{Phase, Point};
use super::*;

#[test]
fn has_each_fault_a_name_of_its_own() {
    for defect in Defect::ALL {
        assert_eq!(Defect::of_name(defect.name()), Some(defect));
    }
    assert_eq!(Defect::of_name("no such"), None);
    for phase in Phase::ALL {
        assert_eq!(Phase::of_name(phase.name()), Some(phase));
    }
    assert_eq!(Phase::of_name("no such"), None);
}

#[test]
fn is_each_phase_in_the_list_of_all_and_in_the_documentation() {
    let table = include_str!("phases.rs");
    for (place, phase) in Phase::ALL.into_iter().enumerate() {
        // As many as there are variants: one that is left out of the list moves the others.
        assert_eq!(phase as usize, place);
        let row = format!("//! | `{}` |", phase.name());
        assert_eq!(table.matches(&row).count(), 1, "{row}");
    }
}

fn said(defect: Option<&str>, crash: Option<&str>, list: Option<&str>) -> Said {
    Said {
        defect: defect.map(OsString::from),
        crash: crash.map(OsString::from),
        list: list.map(OsString::from),
        ..Said::default()
    }
}

#[test]
fn does_a_program_without_faults_refuse_to_be_asked_for_one() {
    let check = |of: Said, expected: Option<&'static str>| {
        let found = wanted(&of, false).err();
        assert_eq!(found, expected.map(FaultError::NotThere), "{of:?}");
    };
    check(Said::default(), None);
    check(said(Some("lost-delta"), None, None), Some(VARIABLE));
    check(said(Some(""), None, None), Some(VARIABLE));
    let crash = Some("after-claim:1");
    check(said(None, crash, None), Some(phases::VARIABLE));
    check(said(None, None, Some("list")), Some(phases::LIST));
    let outboxes = Said {
        outboxes: Some("1".into()),
        ..Said::default()
    };
    check(outboxes.clone(), Some(OUTBOXES));
    assert!(wanted(&outboxes, true).unwrap().outboxes);
    let apart = Said {
        chunks_apart: Some("1".into()),
        ..Said::default()
    };
    check(apart.clone(), Some(CHUNKS_APART));
    let apart = wanted(&apart, true).unwrap();
    assert!(apart.chunks_apart && !apart.outboxes);
    let why = FaultError::NotThere(VARIABLE).to_string();
    assert!(why.contains("SLACKWATER_FAULT is set"), "{why}");
    assert!(why.contains("Unset it"), "{why}");
}

#[test]
fn is_a_fault_that_is_not_there_refused_with_those_that_are() {
    let refused = |of: Said| wanted(&of, true).unwrap_err().to_string();
    let why = refused(said(Some("lost-detla"), None, None));
    assert!(why.starts_with("SLACKWATER_FAULT: there is no defect \"lost-detla\""));
    assert!(why.contains("lost-delta, stale-generation"), "{why}");
    refused(said(Some(""), None, None));
    let no = Said {
        outboxes: Some("no".into()),
        ..Said::default()
    };
    assert_eq!(refused(no), "SLACKWATER_OUTBOXES: expected 1, got \"no\"");
    for wrong in [
        "",
        "after-claim",
        "after-claim:",
        "after-claim:0",
        "after-claim:-1",
        "after-claim:x",
        "after-clam:1",
        "after-claim:1,",
        ",after-claim:1",
        "after-claim:1 before-claim:1",
    ] {
        let why = refused(said(None, Some(wrong), None));
        assert!(why.starts_with("SLACKWATER_CRASH: "), "{why}");
        assert!(why.contains("PHASE:TIME"), "{why}");
        assert!(why.contains("before-claim"), "{why}");
    }
    // Which of the two is meant?
    let two = Some("after-claim:1,before-claim:1");
    assert!(refused(said(None, two, None)).contains(phases::LIST));
    assert!(refused(said(None, None, Some("list"))).contains(phases::VARIABLE));
}

#[test]
fn what_is_wanted() {
    let point = |phase, time| Point { phase, time };
    let found = wanted(&said(None, Some("after-claim:12"), None), true).unwrap();
    let crash = found.crash.unwrap();
    assert_eq!(crash.points, [point(Phase::AfterClaim, 12)]);
    assert_eq!((found.defect, crash.list), (None, None));
    let several = "after-claim:1,worker-spawned:2";
    let found = wanted(
        &said(Some("poison"), Some(several), Some("/tmp/list")),
        true,
    )
    .unwrap();
    let crash = found.crash.unwrap();
    assert_eq!(found.defect, Some(Defect::Poison));
    assert_eq!(
        crash.points,
        [point(Phase::AfterClaim, 1), point(Phase::WorkerSpawned, 2)]
    );
    assert_eq!(crash.list, Some("/tmp/list".into()));
    assert_eq!(wanted(&Said::default(), true), Ok(Wanted::default()));
}

#[test]
fn is_the_time_counted_from_the_kill_before() {
    use super::phases::Counting;

    let points = [
        (Phase::AfterClaim, 1),
        (Phase::Confirmed, 2),
        (Phase::AfterClaim, 1),
    ];
    let points = points.map(|(phase, time)| Point { phase, time });
    let mut counting = Counting::default();
    let mut check = |done: usize, phase, expected: bool| {
        let point = counting.reach(&points, done, phase);
        assert_eq!(point.is_some(), expected, "{done} {phase:?}");
    };
    check(0, Phase::Confirmed, false);
    check(0, Phase::Confirmed, false);
    check(1, Phase::AfterClaim, false);
    check(1, Phase::Confirmed, false);
    // Somebody else was killed meanwhile: what was counted counts for that one.
    check(2, Phase::Confirmed, false);
    check(2, Phase::AfterClaim, true);
    let mut counting = Counting::default();
    assert!(counting.reach(&points, 1, Phase::Confirmed).is_none());
    assert_eq!(
        counting.reach(&points, 1, Phase::Confirmed),
        Some(points[1])
    );
    assert!(counting.reach(&points, 3, Phase::AfterClaim).is_none());
}
