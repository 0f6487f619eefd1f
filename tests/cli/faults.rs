//! The binary under test has faults on purpose: does it refuse those that it does not have? That the binary as it is
//! shipped refuses all of them is a step of the gate of its own.

use crate::scene::{Scene, finish};

#[test]
fn is_a_fault_that_is_misspelt_refused() {
    let scene = Scene::new();
    let check = |environment: &[(&str, &str)], said: &str| {
        let mut command = scene.command(&["version"]);
        command.envs(environment.iter().copied());
        let ran = finish(&mut command).ended(2);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.starts_with(said), "{}", ran.stderr);
    };
    let defect =
        "refused: SLACKWATER_FAULT: there is no defect \"lost-detla\"; there are not-synced, ";
    check(&[("SLACKWATER_FAULT", "lost-detla")], defect);
    let phase = "refused: SLACKWATER_CRASH: expected PHASE:TIME with a time from 1, got \"after-clam:1\"; phases are ";
    check(&[("SLACKWATER_CRASH", "after-clam:1")], phase);
    let list = "refused: SLACKWATER_CRASHES is set without SLACKWATER_CRASH";
    check(&[("SLACKWATER_CRASHES", "list")], list);
}
