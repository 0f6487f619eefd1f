//! Java's own tools for a broker of this machine: topics, and the console's producer and consumer. Another implementation
//! than whatever client the engine has: what it reads is what is there.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::archives::Kafka;
use super::console::{STARTING, errors, finish, finish_producer, lines};
use super::record::{FIELD, HEADER, NAME, Read, Record, from_line, to_line};
use super::wire::metadata;
use crate::random;

/// The tools end when whoever waits for them ends.
const STARTER: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
/// What reads bytes as text from which they can be told again.
const BYTES: &str = "org.apache.kafka.common.serialization.BytesDeserializer";

/// What of a topic is read, and until when.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The topic.
    pub topic: String,
    /// Only what is committed of transactions, and outside of them.
    pub committed: bool,
    /// All that is there, not only what comes from now on.
    pub from_beginning: bool,
    /// It ends after so many records.
    pub most: Option<usize>,
    /// It ends when the first record is not there by then. The tool itself takes a second, more on a busy machine.
    pub first: Option<Duration>,
    /// It ends when after a record none came for so long.
    pub idle: Option<Duration>,
}

impl Reading {
    /// All of a topic, whether committed or not, until nothing comes any more.
    pub fn of(topic: &str) -> Reading {
        Reading {
            topic: topic.to_owned(),
            committed: false,
            from_beginning: true,
            most: None,
            first: Some(Duration::from_secs(20)),
            idle: Some(Duration::from_secs(3)),
        }
    }

    /// The same of what is committed.
    #[must_use]
    pub fn committed(self) -> Reading {
        Reading {
            committed: true,
            ..self
        }
    }

    /// The same, ending after so many records: at once, but what comes after them is not seen.
    #[must_use]
    pub fn at_most(self, records: usize) -> Reading {
        Reading {
            most: Some(records),
            ..self
        }
    }
}

/// Java's tools for one broker.
#[derive(Clone, Debug)]
pub struct Tools {
    kafka: Kafka,
    port: u16,
}

impl Tools {
    /// The tools for the broker that takes clients without encryption at this port of this machine.
    pub fn new(kafka: &Kafka, port: u16) -> Tools {
        let kafka = kafka.clone();
        Tools { kafka, port }
    }

    /// Creates a topic with so many partitions and these settings of its own.
    ///
    /// # Errors
    /// What the tool says, such as that there is one of that name.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let settings = settings.iter().map(|(key, value)| format!("{key}={value}"));
        let settings = settings.flat_map(|setting| ["--config".to_owned(), setting]);
        let mut tool = self.topic_tool("--create", name);
        tool.args(["--partitions", &partitions.to_string()])
            .args(settings);
        finish(tool).with_context(|| format!("cannot create the topic `{name}`"))?;
        Ok(())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// What the tool says, such as that there is none.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        finish(self.topic_tool("--delete", name))
            .with_context(|| format!("cannot delete the topic `{name}`"))?;
        Ok(())
    }

    /// Gives a topic more partitions: as many as this in all.
    ///
    /// # Errors
    /// What the tool says, such as that there are as many.
    pub fn set_partitions(&self, name: &str, partitions: u32) -> Result<()> {
        let mut tool = self.topic_tool("--alter", name);
        tool.args(["--partitions", &partitions.to_string()]);
        finish(tool)
            .with_context(|| format!("cannot give the topic `{name}` {partitions} partitions"))?;
        Ok(())
    }

    /// Gives a topic another setting of its own.
    ///
    /// # Errors
    /// What the tool says, such as that there is no such setting.
    pub fn set(&self, topic: &str, setting: &str, value: &str) -> Result<()> {
        let mut tool = self.tool("kafka.admin.ConfigCommand");
        tool.args(["--alter", "--topic", topic, "--add-config"])
            .arg(format!("{setting}={value}"));
        finish(tool).with_context(|| format!("cannot set `{setting}` of the topic `{topic}`"))?;
        Ok(())
    }

    /// The topics' names, without Kafka's own.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn topics(&self) -> Result<Vec<String>> {
        let mut tool = self.tool("org.apache.kafka.tools.TopicCommand");
        tool.args(["--list", "--exclude-internal"]);
        let said = finish(tool).context("cannot list the topics")?;
        // It says none as an empty line.
        let names = said.lines().filter(|name| !name.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    /// Deletes what a partition holds before an offset, as a topic's retention would.
    ///
    /// # Errors
    /// What the tool says.
    pub fn delete_records(&self, topic: &str, partition: u32, before: u64) -> Result<()> {
        // The name of a topic needs no escapes.
        let list = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{before}}}]}}"
        );
        let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        write!(file, "{list}").context("cannot write a temporary file")?;
        let mut tool = self.tool("org.apache.kafka.tools.DeleteRecordsCommand");
        tool.arg("--offset-json-file").arg(file.path());
        finish(tool).with_context(|| format!("cannot delete records of the topic `{topic}`"))?;
        Ok(())
    }

    /// How many records of each topic and partition a consumer group is behind, by what it was told.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn lag(&self, group: &str) -> Result<Vec<(String, u32, u64)>> {
        let mut tool = self.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand");
        tool.args(["--describe", "--group", group]);
        let said = finish(tool).with_context(|| format!("cannot ask for the group `{group}`"))?;
        // A table whose first line names its columns: group, topic, partition, offset, end, lag.
        let rows = said.lines().filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let topic = columns.next()?.to_owned();
            let partition = columns.next()?.parse().ok()?;
            Some((topic, partition, columns.nth(2)?.parse().ok()?))
        });
        Ok(rows.collect())
    }

    /// Transactional ids that the broker knows, and the state of the last transaction of each.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn transactions(&self) -> Result<Vec<(String, String)>> {
        let mut tool = self.tool("org.apache.kafka.tools.TransactionsCommand");
        tool.arg("list");
        let said = finish(tool).context("cannot list the transactions")?;
        // A table whose first line names its columns: id, coordinator, producer, state.
        let rows = said.lines().skip(1).filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?.to_owned(), columns.nth(2)?.to_owned()))
        });
        Ok(rows.collect())
    }

    /// Opens a transaction with a record or some in a topic that takes records without a key, by a producer that never ends
    /// it; the broker does after a minute.
    ///
    /// # Errors
    /// When there is no such topic, or the broker does not take the record.
    pub fn open_transaction(&self, id: &str, topic: &str) -> Result<()> {
        self.expect_topic(topic)?;
        let mut tool = self.tool("org.apache.kafka.tools.ProducerPerformance");
        tool.args(["--topic", topic, "--transactional-id", id])
            .args(["--num-records", "3600", "--throughput", "1"])
            .args(["--record-size", "1", "--transaction-duration-ms", "3600000"])
            .stdout(Stdio::null());
        let mut child = tool.spawn().context(STARTING)?;
        let opened = loop {
            let open = (id.to_owned(), "Ongoing".to_owned());
            match self.transactions() {
                Ok(known) if !known.contains(&open) => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
            if let Some(status) = child.try_wait().context(STARTING)? {
                break Err(anyhow::anyhow!("the tool ended with {status}"));
            }
        };
        // Killed, it cannot end what it has begun.
        drop(child.kill());
        child.wait().context(STARTING)?;
        opened.with_context(|| format!("cannot open a transaction in the topic `{topic}`"))
    }

    /// Ends the transaction that has begun at this place, in this partition, as if it had never been.
    ///
    /// # Errors
    /// What the tool says, such as that none has.
    pub fn abort_transaction(&self, topic: &str, partition: u32, start: u64) -> Result<()> {
        let mut tool = self.tool("org.apache.kafka.tools.TransactionsCommand");
        tool.args(["abort", "--topic", topic])
            .args(["--partition", &partition.to_string()])
            .args(["--start-offset", &start.to_string()]);
        finish(tool).with_context(|| format!("cannot end a transaction in the topic `{topic}`"))?;
        Ok(())
    }

    /// Produces records and waits until the broker has all of them. Which partition one goes to follows from its key.
    ///
    /// # Errors
    /// When a record cannot be given to the tool ([`to_line`]); when the topic is not there or the broker does not take
    /// a record, after which some others may be there.
    pub fn produce(&self, topic: &str, records: &[Record]) -> Result<()> {
        let null = mark()?;
        let lines = records.iter().map(|record| to_line(record, &null));
        let lines = lines.collect::<Result<String>>()?;
        let mut tool = self.producer(topic)?;
        let told = [
            ("parse.headers", "true"),
            ("parse.key", "true"),
            ("headers.delimiter", &FIELD.to_string()),
            ("headers.separator", &HEADER.to_string()),
            ("headers.key.separator", &NAME.to_string()),
            ("key.separator", &FIELD.to_string()),
            ("null.marker", &null),
        ];
        for (key, value) in told {
            tool.args(["--reader-property", &format!("{key}={value}")]);
        }
        let mut child = tool.stdin(Stdio::piped()).spawn().context(STARTING)?;
        let mut input = child.stdin.take().context(STARTING)?;
        // It ends early when the tool does.
        let writer = thread::spawn(move || drop(input.write_all(lines.as_bytes())));
        let produced = finish_producer(child);
        drop(writer.join());
        produced.with_context(|| format!("cannot produce to the topic `{topic}`"))
    }

    /// Produces each line of an input, and waits until the broker has all of them; with a separator, what stands before
    /// the first one in a line is the key.
    ///
    /// # Errors
    /// As [`Tools::produce`]; when a line has no separator.
    pub fn produce_lines(
        &self,
        topic: &str,
        input: Stdio,
        key_separator: Option<&str>,
    ) -> Result<()> {
        let mut tool = self.producer(topic)?;
        if let Some(separator) = key_separator {
            tool.args(["--reader-property", "parse.key=true", "--reader-property"]);
            tool.arg(format!("key.separator={separator}"));
        }
        let child = tool.stdin(input).spawn().context(STARTING)?;
        finish_producer(child).with_context(|| format!("cannot produce to the topic `{topic}`"))
    }

    /// Reads a topic.
    ///
    /// # Errors
    /// As [`Tools::each`].
    pub fn consume(&self, reading: &Reading) -> Result<Vec<Read>> {
        let mut records = Vec::new();
        self.each(reading, |read| {
            records.push(read);
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }

    /// Reads a topic and hands over each record as it comes, until there is enough.
    ///
    /// # Errors
    /// When there is no such topic, the broker does not answer, or the tool fails.
    pub fn each(
        &self,
        reading: &Reading,
        mut take: impl FnMut(Read) -> ControlFlow<()>,
    ) -> Result<()> {
        self.expect_topic(&reading.topic)?;
        let null = mark()?;
        let mut child = self.consumer(reading, &null).spawn().context(STARTING)?;
        let (lines, said) = (lines(&mut child)?, errors(&mut child)?);
        let mut count = 0;
        let outcome = loop {
            if reading.most.is_some_and(|most| count >= most) {
                break Ok(());
            }
            let patience = if count == 0 {
                reading.first
            } else {
                reading.idle
            };
            let line = match patience {
                Some(patience) => lines.recv_timeout(patience),
                None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match line {
                Ok(line) => match from_line(&line, &null).map(&mut take) {
                    Ok(ControlFlow::Continue(())) => count += 1,
                    Ok(ControlFlow::Break(())) => break Ok(()),
                    Err(error) => break Err(error),
                },
                Err(RecvTimeoutError::Timeout) => break Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(anyhow::anyhow!("the tool ended"));
                }
            }
        };
        // It has nothing to finish. An error, when it has ended.
        drop(child.kill());
        child.wait().context(STARTING)?;
        drop(lines);
        let said = said.join().unwrap_or_default();
        outcome
            .with_context(|| format!("cannot read the topic `{}`: {}", reading.topic, said.trim()))
    }

    /// The console's consumer, which writes records so that they can be told apart.
    fn consumer(&self, reading: &Reading, null: &str) -> Command {
        let mut tool = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
        tool.args(["--topic", &reading.topic]);
        if reading.from_beginning {
            tool.arg("--from-beginning");
        }
        if reading.committed {
            tool.args(["--isolation-level", "read_committed"]);
        }
        let told = [
            ("print.timestamp", "true"),
            ("print.partition", "true"),
            ("print.offset", "true"),
            ("print.headers", "true"),
            ("print.key", "true"),
            ("key.separator", &FIELD.to_string()),
            ("headers.separator", &HEADER.to_string()),
            ("null.literal", null),
            ("key.deserializer", BYTES),
            ("value.deserializer", BYTES),
            ("headers.deserializer", BYTES),
        ];
        for (key, value) in told {
            tool.args(["--formatter-property", &format!("{key}={value}")]);
        }
        tool
    }

    /// The console's producer, with more patience than it has by itself, but less for what will never come.
    fn producer(&self, topic: &str) -> Result<Command> {
        self.expect_topic(topic)?;
        let mut tool = self.tool("org.apache.kafka.tools.ConsoleProducer");
        tool.args(["--topic", topic])
            .args(["--request-timeout-ms", "30000", "--max-block-ms", "30000"])
            .args(["--message-send-max-retries", "1000000"])
            .stdout(Stdio::null());
        Ok(tool)
    }

    /// The tools wait for a topic that is not there; nobody here creates one while they do.
    fn expect_topic(&self, name: &str) -> Result<()> {
        let topics = metadata(self.port)?.topics;
        if !topics.iter().any(|topic| topic == name) {
            bail!(
                "there is no topic `{name}`; there are: {}",
                topics.join(", ")
            );
        }
        Ok(())
    }

    fn topic_tool(&self, what: &str, name: &str) -> Command {
        let mut tool = self.tool("org.apache.kafka.tools.TopicCommand");
        tool.args([what, "--topic", name]);
        tool
    }

    /// A tool by the name of its class, for this broker.
    fn tool(&self, class: &str) -> Command {
        let mut tool = self.kafka.java(&STARTER, "error");
        tool.args([class, "--bootstrap-server"])
            .arg(format!("127.0.0.1:{}", self.port))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        tool
    }
}

/// A text that is in no data, for what is not there at all.
fn mark() -> Result<String> {
    Ok(format!(
        "nothing-{}",
        URL_SAFE_NO_PAD.encode(random::bytes::<16>()?)
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{Reading, Tools, mark};
    use crate::kafka::Kafka;

    fn words(command: &Command) -> String {
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    #[test]
    fn what_is_the_consumer_told() {
        let tools = Tools::new(&Kafka::below(Path::new("home"), "17"), 9092);
        let all = words(&tools.consumer(&Reading::of("t"), "N"));
        assert!(
            all.contains("--bootstrap-server 127.0.0.1:9092 --topic t --from-beginning"),
            "{all}"
        );
        assert!(all.contains("null.literal=N"), "{all}");
        assert!(!all.contains("read_committed"), "{all}");
        let committed = words(&tools.consumer(&Reading::of("t").committed(), "N"));
        assert!(
            committed.contains("--isolation-level read_committed"),
            "{committed}"
        );
    }

    #[test]
    fn is_the_mark_of_nothing_another_one_each_time() {
        assert_ne!(mark().unwrap(), mark().unwrap());
    }
}
