//! A job is stopped in the middle, as often as it likes: does each stop end with a checkpoint and release nothing, and
//! is the whole what it is without?

use slackwater_dataflow::checkpoint::groups::GroupSet;
use slackwater_dataflow::checkpoint::manifest::ChainObject;
use slackwater_dataflow::checkpoint::state_merge::StateChain;

use crate::expected::{Expected, newest, visible};
use crate::sampling::{Draws, seeds, sweep};
use crate::scene::{Attempt, Ended, Scene, World};

/// Stops in a row before a run is left alone.
const STOPS: u64 = 4;

/// Events that wait for the watermark, as the last checkpoint keeps them.
fn waiting(world: &World) -> usize {
    let last = newest(world).pop().unwrap();
    let chains = last.chains.iter().filter(|chain| !chain.is_empty());
    let in_chain = |chain: &Vec<ChainObject>| {
        let objects = chain.iter().map(ChainObject::object);
        let mut chain = StateChain::open(&world.store, objects).unwrap();
        let all = GroupSet::all();
        let mut merge = chain.merge("order", &all).unwrap();
        let mut count = 0;
        while let Some(entry) = merge.next_entry().unwrap() {
            count += usize::from(entry.value.is_some());
        }
        count
    };
    chains.map(in_chain).sum()
}

fn stop_often(scene: &Scene, expected: &Expected, seed: u64) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = World::new();
    let mut stops = 0;
    for number in 0..=STOPS {
        let attempt = Attempt::new(10 * seed + number, [1, 4, 2, 3][draws.below(4)]);
        let publishes = world.sink.publishes() + draws.next() % 8;
        let ended = scene.run_watched(&world, &attempt, &|stopper| {
            if number < STOPS && world.sink.publishes() >= publishes {
                stopper.stop();
            }
        });
        let ended = ended.map_err(|failure| format!("run {number}: {failure}"))?;
        let last = newest(&world).pop().ok_or("there is no manifest")?;
        if last.complete {
            break;
        }
        let Ended::Done(totals) = ended else {
            return Err(format!("{ended:?}, and it is not complete"));
        };
        stops += 1;
        let outputs: usize = visible(&world).values().map(Vec::len).sum();
        let kept = waiting(&world);
        let outcomes: u64 = totals.outcomes.iter().sum();
        if outputs as u64 != outcomes || totals.read != outcomes + totals.dropped + kept as u64 {
            return Err(format!("{totals:?}, {outputs} outputs, {kept} wait"));
        }
    }
    expected.check(scene, &world)?;
    Ok(stops)
}

#[test]
fn is_the_whole_the_same_however_often_the_job_is_stopped() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(79, 300, order);
        let expected = Expected::of(&scene);
        let seeds = seeds(30, 1000);
        sweep(&format!("{order}, stops"), &seeds, |&seed| {
            stop_often(&scene, &expected, seed)
        });
    }
}
