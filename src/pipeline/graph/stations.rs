//! The workers of one key after the other: a row visits those of each key that features name, and that of the job's last.
//!
//! Rows travel whole, with what was computed of them so far, so each is in one place at any time. A job whose features are all
//! of its own key has one station, and no stage more than that needs.

use std::sync::Arc;

use slackwater_dataflow::adapter::{Events, Graph, Rejects};
use slackwater_dataflow::operator::Operator;
use slackwater_dataflow::pace::Pace;
use slackwater_dataflow::spill::TemporaryFiles;
use slackwater_operators::batch::RowBatch;
use slackwater_operators::features::{FeatureBatch, FeatureStage};
use slackwater_operators::key::Route;
use slackwater_operators::order::EventTimeOrder;
use slackwater_operators::reject::RejectBatch;
use slackwater_operators::reroute::{Reroute, ReroutePlan};
use slackwater_operators::resequence::Resequence;
use slackwater_operators::window::WindowStage;

use crate::pipeline::graph::Blueprint;
use crate::pipeline::plan::{HopPlan, stage};

/// Where rows come by the worker of a key.
struct Station {
    /// The key's fields by name; none if it is the job's.
    key: Option<String>,
    route: Route,
    /// Whether rows come from the workers of another key, and not from the source.
    behind_another: bool,
}

impl Station {
    fn of_hop(hop: &HopPlan, nth: usize) -> Self {
        Station {
            key: Some(hop.name.clone()),
            route: Route::by(hop.key.clone()),
            behind_another: nth > 0,
        }
    }

    /// The last one, behind so many hops.
    fn of_the_job(hops: usize) -> Self {
        Station {
            key: None,
            route: Route::own(),
            behind_another: hops > 0,
        }
    }

    /// What a stage is called there.
    fn name(&self, stage: &str) -> String {
        let at_hop = self.key.as_ref().map(|key| stage::at_hop(stage, key));
        at_hop.unwrap_or_else(|| stage.to_owned())
    }
}

impl Blueprint {
    /// The rows on their way to the worker of their key, each with what the workers of other keys have computed of it.
    pub(super) fn over_hops<'s>(
        &self,
        graph: &Graph<'s>,
        mut rows: Events<'s, RowBatch>,
        rejects: &mut Vec<Events<'s, RejectBatch>>,
    ) -> Events<'s, RowBatch> {
        let (hops, spread) = (&self.plans.hops, self.plans.spread);
        for (nth, hop) in hops.iter().enumerate() {
            let station = Station::of_hop(hop, nth);
            let windows = WindowStage::new(Arc::clone(&hop.windows));
            let (windowed, refused) = self.at_key(graph, &station, stage::WINDOWS, rows, windows);
            rejects.push(refused.into_stream());
            let next = hops.get(nth + 1);
            let reroute = Reroute::new(ReroutePlan {
                next: next.map_or_else(Route::own, |next| Route::by(next.key.clone())),
                behind_another: station.behind_another,
                spread,
            });
            let (rerouted, none) = graph.apply(&station.name(stage::REROUTE), windowed, reroute);
            none.none();
            rows = rerouted;
        }
        rows
    }

    /// The vectors that are computed at the workers of the job's key.
    pub(super) fn vectors<'s>(
        &self,
        graph: &Graph<'s>,
        rows: Events<'s, RowBatch>,
        rejects: &mut Vec<Events<'s, RejectBatch>>,
    ) -> Events<'s, FeatureBatch> {
        let plans = &self.plans;
        let station = Station::of_the_job(plans.hops.len());
        let features = FeatureStage::new(Arc::clone(&plans.features));
        let (vectors, refused) = match &plans.windows {
            None => self.at_key(graph, &station, stage::FEATURES, rows, features),
            Some(plan) => {
                let windows = WindowStage::new(Arc::clone(plan));
                let (rows, refused) = self.at_key(graph, &station, stage::WINDOWS, rows, windows);
                rejects.push(refused.into_stream());
                graph.apply(stage::FEATURES, rows, features)
            }
        };
        rejects.push(refused.into_stream());
        vectors
    }

    /// Applies the first stage of a station, at the workers of its key, which get each row when it is its turn.
    fn at_key<'s, Op: Operator<Input = RowBatch>>(
        &self,
        graph: &Graph<'s>,
        station: &Station,
        stage: &str,
        rows: Events<'s, RowBatch>,
        operator: Op,
    ) -> (Events<'s, Op::Output>, Rejects<'s, Op::Reject>) {
        let name = station.name(stage);
        match &self.pace {
            Some(pace) => {
                let rows = self.in_order(graph, pace, station, rows);
                graph.apply(&name, rows, operator)
            }
            // Straight from the source what comes to a worker is in order.
            None if !station.behind_another => graph.apply_at_key(&name, rows, operator),
            None => {
                let name_of = station.name(stage::RESEQUENCE);
                let rows = graph.gather_at_key(&name_of, rows, Resequence);
                graph.apply(&name, rows, operator)
            }
        }
    }

    /// The rows of the worker's own keys, each when the watermark has passed it.
    fn in_order<'s>(
        &self,
        graph: &Graph<'s>,
        pace: &Arc<Pace>,
        station: &Station,
        rows: Events<'s, RowBatch>,
    ) -> Events<'s, RowBatch> {
        let ingest = &self.plans.ingest;
        let room = graph.waiting_room(pace);
        let order = EventTimeOrder::new(
            graph.share().worker,
            ingest.spread,
            ingest.shape(),
            room.shared_by(self.plans.hops.len() + 1),
            Box::new(TemporaryFiles),
        );
        let order = order.at(station.route.clone());
        let order = match station.behind_another {
            true => order.behind_another(),
            false => order,
        };
        let (rows, none) = graph.apply_at_key(&station.name(stage::ORDER), rows, order);
        none.none();
        rows
    }
}
