//! Topics that get more partitions while a job writes to them.

use std::time::{Duration, Instant};

use slackwater_dataflow::sink::OutputStream;

use crate::client::Fault;
use crate::sink::config::SinkConfig;
use crate::topics::Topics;

/// How often to look whether topics have got more partitions.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks now and then whether topics have got more partitions: what is encoded from then on uses them.
pub(crate) struct Growth {
    asking: Topics,
    looked_at: Instant,
}

impl Growth {
    pub(crate) fn of(config: &SinkConfig) -> Result<Self, Fault> {
        Ok(Growth {
            asking: Topics::of(&config.cluster)?,
            looked_at: Instant::now(),
        })
    }

    /// To be called when brokers are there to answer, such as right after something was published. `ask` has all who send
    /// to a topic ask for its partitions, so that they know them, and gives how many they all know.
    pub(crate) fn look(
        &mut self,
        config: &SinkConfig,
        ask: impl Fn(&str) -> Result<Option<u32>, Fault>,
    ) {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked_at = Instant::now();
        for (stream, topic) in OutputStream::ALL.into_iter().zip(&config.topics) {
            let known = config.destinations.of(stream);
            // A client that sends refuses partitions of which it has not heard itself.
            if let Ok(Some(there)) = self.asking.partitions(topic)
                && there > known.partitions()
                && let Ok(Some(heard_of)) = ask(topic)
            {
                known.grow(heard_of.min(there));
            }
        }
    }
}
