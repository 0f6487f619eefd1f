//! What a node is told: the text of its `server.properties`, and the name of its cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The listener that every node of ours has, for its clients on this machine.
pub const PLAIN: &str = "PLAINTEXT";
/// The one between broker and controller.
const CONTROLLER: &str = "CONTROLLER";

/// A place at which a node listens.
pub struct Address {
    /// The listener's name.
    pub name: String,
    /// What is spoken there, as Kafka calls it: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`.
    pub protocol: String,
    /// Where it listens.
    pub port: u16,
    /// Where clients are told to connect.
    pub advertised: u16,
}

/// All that a node of ours is told unless somebody wants it otherwise.
pub fn of_node(clients: &[Address], controller: u16, data: &str) -> BTreeMap<String, String> {
    let at = |name: &str, port: u16| format!("{name}://127.0.0.1:{port}");
    let all =
        |each: &dyn Fn(&Address) -> String| -> Vec<String> { clients.iter().map(each).collect() };
    let mut listeners = all(&|a| at(&a.name, a.port));
    listeners.push(at(CONTROLLER, controller));
    let mut protocols = all(&|a| format!("{}:{}", a.name, a.protocol));
    protocols.push(format!("{CONTROLLER}:PLAINTEXT"));
    let advertised = all(&|a| at(&a.name, a.advertised));
    let mut properties: BTreeMap<String, String> = FIXED
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let mut set = |key: &str, value: String| properties.insert(key.to_owned(), value);
    set(
        "controller.quorum.voters",
        format!("1@127.0.0.1:{controller}"),
    );
    set("listeners", listeners.join(","));
    set("advertised.listeners", advertised.join(","));
    set("listener.security.protocol.map", protocols.join(","));
    set("log.dirs", data.to_owned());
    properties
}

/// The same node as a controller and nothing else, which gives a broker up that it has not heard of for a moment.
pub fn of_controller(node: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut properties = node.clone();
    let own = |listener: &&str| listener.starts_with(CONTROLLER);
    let listeners = node.get("listeners").map_or("", String::as_str);
    let listener = listeners.split(',').find(own).unwrap_or_default();
    let mut set = |key: &str, value: &str| properties.insert(key.to_owned(), value.to_owned());
    set("process.roles", "controller");
    set("listeners", listener);
    set("broker.heartbeat.interval.ms", "100");
    set("broker.session.timeout.ms", "300");
    // It writes something that often, if only that there is nothing.
    set("metadata.max.idle.interval.ms", "50");
    // Those of the broker are none of its own.
    properties.remove("advertised.listeners");
    properties.remove("inter.broker.listener.name");
    properties
}

/// What does not depend on ports and folders.
const FIXED: [(&str, &str); 19] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("inter.broker.listener.name", PLAIN),
    ("controller.listener.names", CONTROLLER),
    // One node keeps everything once.
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    // Each partition of Kafka's own topics is a folder with files, made when the first client comes.
    ("offsets.topic.num.partitions", "3"),
    ("transaction.state.log.num.partitions", "3"),
    ("share.coordinator.state.topic.num.partitions", "3"),
    // A group waits for no members that might come.
    ("group.initial.rebalance.delay.ms", "0"),
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
    ),
    // A mistyped topic is an error.
    ("auto.create.topics.enable", "false"),
    // Nobody else stands for election.
    ("controller.quorum.election.timeout.ms", "100"),
    ("controller.quorum.election.backoff.max.ms", "100"),
    // A broker is given up after 9 s, as by default, but should not miss that by a few of its reports.
    ("broker.heartbeat.interval.ms", "500"),
    // Nothing deletes records behind a test's back.
    ("log.retention.ms", "-1"),
];

/// The file's text, for Java's reader of such files.
pub fn text(properties: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in properties {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}={}", escaped(key, true), escaped(value, false));
    }
    text
}

/// A key or a value as Java reads it back. Its files are Latin-1, the rest is written as UTF-16 units.
fn escaped(text: &str, key: bool) -> String {
    let mut escaped = String::new();
    for (at, unit) in text.encode_utf16().enumerate() {
        let plain = u8::try_from(unit)
            .ok()
            .filter(|byte| (b' '..=b'~').contains(byte));
        match plain.map(char::from) {
            Some(c) => {
                let special = c == '\\' || (c == ' ' && at == 0) || (key && " :=#!".contains(c));
                if special {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
            None => {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// The name of a cluster as Kafka wants it: 16 bytes in the alphabet of URLs. The first bit is dropped, so that no name
/// begins with a hyphen: Kafka's programs would take it for an option.
pub fn cluster_id(mut random: [u8; 16]) -> String {
    random[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(random)
}

/// The name of the cluster that a folder of data belongs to, if it is one.
///
/// # Errors
/// When Kafka's file about it is there and cannot be read.
pub fn cluster_in(data: &Path) -> Result<Option<String>> {
    let file = data.join("meta.properties");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let name = text
                .lines()
                .find_map(|line| line.strip_prefix("cluster.id="));
            let name = name.with_context(|| format!("{} names no cluster", file.display()))?;
            Ok(Some(name.to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::{Address, cluster_id, cluster_in, of_controller, of_node, text};

    fn address(name: &str, protocol: &str, port: u16, advertised: u16) -> Address {
        Address {
            name: name.to_owned(),
            protocol: protocol.to_owned(),
            port,
            advertised,
        }
    }

    #[test]
    fn does_a_node_listen_where_it_should_and_say_where_clients_go() {
        let clients = [
            address("PLAINTEXT", "PLAINTEXT", 9092, 9092),
            address("TLS", "SSL", 9094, 19094),
        ];
        let properties = of_node(&clients, 9093, "/d");
        let check = |key: &str, expected: &str| {
            assert_eq!(properties.get(key).map(String::as_str), Some(expected));
        };
        check(
            "listeners",
            "PLAINTEXT://127.0.0.1:9092,TLS://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093",
        );
        check(
            "advertised.listeners",
            "PLAINTEXT://127.0.0.1:9092,TLS://127.0.0.1:19094",
        );
        check(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT",
        );
        check("controller.quorum.voters", "1@127.0.0.1:9093");
        check("log.dirs", "/d");
        check("process.roles", "broker,controller");
        check("auto.create.topics.enable", "false");
    }

    #[test]
    fn does_a_controller_alone_listen_for_brokers_only() {
        let clients = [address("PLAINTEXT", "PLAINTEXT", 9092, 9092)];
        let alone = of_controller(&of_node(&clients, 9093, "/d"));
        let check = |key: &str, expected: Option<&str>| {
            assert_eq!(alone.get(key).map(String::as_str), expected);
        };
        check("process.roles", Some("controller"));
        check("listeners", Some("CONTROLLER://127.0.0.1:9093"));
        check("advertised.listeners", None);
        check("log.dirs", Some("/d"));
    }

    #[test]
    fn does_java_read_back_what_is_written() {
        let check = |key: &str, value: &str, expected: &str| {
            let properties = [(key.to_owned(), value.to_owned())].into();
            assert_eq!(text(&properties), format!("{expected}\n"));
        };
        check(
            "a.b",
            "PLAINTEXT://127.0.0.1:1,b=c d",
            "a.b=PLAINTEXT://127.0.0.1:1,b=c d",
        );
        check("a b:c", "\\d", "a\\ b\\:c=\\\\d");
        check("a", " b", "a=\\ b");
        check("a", "ä\n𝄞", "a=\\u00e4\\u000a\\ud834\\udd1e");
    }

    #[test]
    fn is_a_clusters_name_one_that_kafka_takes() {
        // Its alphabet is that of base64 for URLs, without padding; a program's argument must not begin with `-`.
        assert_eq!(cluster_id([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(cluster_id([0xfb; 16]), "e_v7-_v7-_v7-_v7-_v7-w");
        for first in 0..=u8::MAX {
            let mut random = [0xff; 16];
            random[0] = first;
            let name = cluster_id(random);
            assert_eq!(name.len(), 22);
            assert!(!name.starts_with('-'), "{name}");
        }
    }

    #[test]
    fn which_cluster_does_data_belong_to() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(cluster_in(data.path()).unwrap(), None);
        let file = data.path().join("meta.properties");
        fs::write(&file, "#\nnode.id=1\ncluster.id=abc\nversion=1\n").unwrap();
        assert_eq!(cluster_in(data.path()).unwrap().as_deref(), Some("abc"));
        fs::write(&file, "node.id=1\n").unwrap();
        assert!(cluster_in(data.path()).is_err());
    }
}
