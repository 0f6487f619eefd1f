//! Bad pipeline files, each a change of a small good one, and exactly what is said about them.

/// A change of `SMALL` (an empty `old` appends) and the exact mistakes it causes.
pub(super) struct Bad {
    pub(super) old: &'static str,
    pub(super) new: &'static str,
    pub(super) expected: &'static [&'static str],
}

pub(super) const fn bad(
    old: &'static str,
    new: &'static str,
    expected: &'static [&'static str],
) -> Bad {
    Bad { old, new, expected }
}

#[rustfmt::skip] // One case a paragraph reads as a table.
pub(super) const BAD: &[Bad] = &[
    bad("name = \"small\"", "nmae = \"small\"", &[
        "2:1: unknown key `nmae` in [job], did you mean `name`?",
    ]),
    bad("name = \"small\"", "name = \"a/b\"", &[
        "2:8: `name`: expected letters, digits, `-`, `_` or `.`, at most 64, got \"a/b\"",
    ]),
    bad("name = \"small\"", "name = \"small\"\nwokers = 2", &[
        "3:1: unknown key `wokers` in [job], did you mean `workers`?",
    ]),
    bad("name = \"small\"", "name = \"small\"\nzzz = 2", &[
        "3:1: unknown key `zzz` in [job], known are `name`, `workers`, `order`, `key_groups`",
    ]),
    bad("[job]\nname", "tolerable_failures = 3\n[job]\nretain = 2\nname", &[
        "1:1: unknown key `tolerable_failures` outside of any table, it belongs to [checkpoint]",
        "3:1: unknown key `retain` in [job], it belongs to [checkpoint]",
    ]),
    bad("key = [\"user\"]", "key = [5, \"user\", true]", &[
        "9:8: `key`: expected a string, got 5",
        "9:19: `key`: expected a string, got true",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwhere = { user = 1.5, price = [[], \"x\"], at = {} }", &[
        "33:32: `where`: expected a string, a number or a boolean, got a list",
        "33:47: `where`: expected a string, a number or a boolean, got a table",
    ]),
    bad("name = \"small\"", "name = \"small\"\nworkers = \"2\"", &[
        "3:11: `workers`: expected a whole number, got \"2\"",
    ]),
    bad("name = \"small\"", "name = \"small\"\nworkers = -1", &[
        "3:11: `workers`: must be from 0 to 256, got -1",
    ]),
    bad("name = \"small\"", "name = \"small\"\nworkers = 8\nkey_groups = 4", &[
        "3:11: `workers`: 8 workers need at least as many key_groups, got 4",
    ]),
    bad("name = \"small\"", "name = \"small\"\nrecord = true", &[
        "3:1: `record` in [job] is not supported in this version",
    ]),
    bad("name = \"small\"", "name = \"small\"\nname = \"again\"", &[
        "3:1: this key or table is already set above, it can stand only once",
    ]),
    bad("name = \"small\"", "name = small", &[
        "2:8: expected a value; a string must stand in quotes",
    ]),
    bad("[job]", "[job", &[
        "1:5: unclosed table, expected `]`",
    ]),
    bad("[job]", "[jbo]", &[
        "1:2: unknown table [jbo], did you mean [job]?",
    ]),
    bad("kind = \"file\"", "kind = \"fil\"", &[
        "5:8: `kind`: unknown value \"fil\", did you mean \"file\"?",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\ntopic = \"t\"\ntpic = 1", &[
        "4:1: [source] needs `brokers` with kind = \"kafka\"",
        "7:1: unknown key `tpic` in [source], did you mean `topic`?",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"", &[
        "4:1: [source] needs `topic` with kind = \"kafka\"",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\ntopics = [\"u\"]", &[
        "8:10: `topics`: leave it out, or leave `topic` out",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopics = [\"u\", \"t\", \"u\"]", &[
        "7:21: topic \"u\" is listed twice",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\nstart = \"first\"", &[
        "8:9: `start`: expected \"earliest\", \"latest\" or { timestamp = \"2026-01-01T00:00:00Z\" }, got \"first\"",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\nstart = { timestamp = \"today\" }", &[
        "8:9: `start`: expected a time such as \"2026-01-01T00:00:00Z\", got \"today\"",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\nproperties = { \"isolation.level\" = \"read_uncommitted\", \"ssl.ca.location\" = [] }", &[
        "8:76: `properties`: \"ssl.ca.location\": expected a string, a number, a boolean, { env = \"NAME\" } or { file = \"PATH\" }, got a list",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\nproperties = { sasl.password = \"canary\" }", &[
        "8:16: `properties`: \"sasl\": expected a string, a number, a boolean, { env = \"NAME\" } or { file = \"PATH\" }, got a table; \
         a name with dots stands in quotes, as in \"sasl.mechanism\"",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\nproperties = { \"sasl.mechanism\" = \"GSSAPI\" }", &[
        "8:16: `properties`: \"sasl.mechanism\": expected one of `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\nproperties = { \"isolation.level\" = \"read_uncommitted\" }", &[
        "8:16: `properties`: \"isolation.level\": the job sets it itself, and what is exactly once rests on it",
    ]),
    bad("path = \"in.jsonl\"", "", &[
        "4:1: [source] needs `path` with kind = \"file\"",
    ]),
    bad("path = \"in.jsonl\"", "path = \"in.csv.gz\"\nfollow = true", &[
        "7:10: `follow`: where the records of a compressed file end is known when it has ended: \
         follow a plain file, or leave `follow` out",
    ]),
    bad("path = \"in.jsonl\"", "path = \"-\"\nfollow = true", &[
        "7:10: `follow`: the standard input is read until it ends, whenever that is: leave `follow` out",
    ]),
    bad("path = \"in.jsonl\"", "follow = true\npath = \"in/*.jsonl.zst\"", &[
        "6:10: `follow`: where the records of a compressed file end is known when it has ended: \
         follow a plain file, or leave `follow` out",
    ]),
    bad("key = [\"user\"]", "key = [\"user\"]\nidle_timeout = \"10s\"", &[
        "10:16: `idle_timeout`: a file that is not followed ends where it ends, and is never silent: set `[source] \
         follow = true`, or leave `idle_timeout` out",
    ]),
    bad("key = [\"user\"]", "key = [\"user\"]\nidle_timeout = \"0s\"", &[
        "10:16: `idle_timeout`: must be from 1ms to 3650d, got \"0s\"",
    ]),
    bad("path = \"in.jsonl\"", "path = \"in.jsonl\"\nseed = 3", &[
        "7:1: `seed` does not go with kind = \"file\", only with \"generator\"",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"generator\"\ninvalid = 0.7\nlate = 0.4\nrate = 1.5", &[
        "7:8: `late`: invalid and late must add up to at most 1, got 0.7 + 0.4",
        "8:8: `rate`: expected a whole number, got 1.5",
    ]),
    bad("key = [\"user\"]", "key = [\"usr\", \"price\", \"at\", \"at\"]", &[
        "9:8: unknown field \"usr\", did you mean \"user\"?",
        "9:15: key field \"price\" must be a string or an int, it is a float",
        "9:30: field \"at\" is listed twice",
    ]),
    bad("key = [\"user\"]", "key = []\nmax_ahead = 5\nmax_bytes = \"1KB\"", &[
        "9:7: `key`: needs at least one field",
        "10:13: `max_ahead`: expected a duration such as \"2s\", got 5",
        "11:13: `max_bytes`: expected a size such as \"64KiB\", got \"1KB\"",
    ]),
    bad("time = { field = \"at\", unit = \"ms\" }", "time = { field = \"user\", unit = \"s\" }", &[
        "10:18: time field \"user\" must be an int",
    ]),
    bad("time = { field = \"at\", unit = \"ms\" }", "time = \"record\"", &[
        "10:8: `time`: \"record\" is the timestamp that Kafka has of a record, a line of a file has none: name the field that \
         says the time, { field = \"...\", unit = \"ms\" }",
    ]),
    bad("time = { field = \"at\", unit = \"ms\" }", "time = { field = \"at\" }", &[
        "10:8: [event.time] needs `unit`",
    ]),
    bad("name = \"price\"", "name = \"at\"", &[
        "21:8: field \"at\" is declared twice",
    ]),
    bad("type = \"float\"", "type = \"flaot\"", &[
        "22:8: `type`: unknown value \"flaot\", did you mean \"float\"?",
    ]),
    bad("type = \"float\"", "type = \"list<bool>\"", &[
        "22:8: `type`: expected \"string\", \"int\", \"float\", \"bool\", \"list<float>\" or \"list<string>\", got \"list<bool>\"",
    ]),
    bad("ttl = \"1h\"", "ttl = 3600", &[
        "27:7: `ttl`: expected a duration such as \"2s\", got 3600",
    ]),
    bad("fields = [\"user\"]", "fields = [\"user\", \"user\", \"prise\"]", &[
        "28:19: field \"user\" is listed twice",
        "28:27: unknown field \"prise\", did you mean \"price\"?",
    ]),
    bad("[history]\nevents = 5\nttl = \"1h\"\nfields = [\"user\"]\n", "", &[
        "28:6: of = \"count\" over a history needs [history], or another `window`, such as \"1h\" or \"last 20\"",
    ]),
    bad("of = \"count\"", "of = \"cuont\"", &[
        "32:6: `of`: unknown value \"cuont\", did you mean \"count\"?",
    ]),
    bad("of = \"count\"", "of = \"sum\"\nfield = \"user\"", &[
        "33:9: of = \"sum\" needs a field of type int, float, bool, \"user\" is of type string",
    ]),
    bad("of = \"count\"", "of = \"mean\"\nwindow = \"1h\"", &[
        "30:1: [[feature]] needs `field` with of = \"mean\"",
    ]),
    bad("of = \"count\"", "of = \"table\"", &[
        "32:6: `of`: \"table\" is not supported in this version",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwindow = \"last 0\"", &[
        "33:10: `window`: expected \"last N\" with N from 1 to 65536, got \"last 0\"",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwindow = \"an hour\"", &[
        "33:10: `window`: expected \"history\", \"last N\" or a duration such as \"1h\", got \"an hour\"",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwindow = \"4000d\"", &[
        "33:10: `window`: must be from 1ms to 3650d, got \"4000d\"",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwindow = \"1h\"\nkey = [\"price\", \"usr\"]", &[
        "34:8: key field \"price\" must be a string or an int, it is a float",
        "34:17: unknown field \"usr\", did you mean \"user\"?",
    ]),
    bad("of = \"count\"", "of = \"constant\"\nvalue = 1\nwindow = \"1h\"", &[
        "34:1: `window` does not go with of = \"constant\", only with \"count\", \"sum\", \"mean\", \"min\", \"max\", \"std\", \"last\", \"distinct\", \"share\", \"since_previous\", \"mean_gap\"",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwhere = { price = 3, user = 4 }", &[
        "33:29: the field is of type string, got 4",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwhere = \"usr == 'a'\"\nwindow = \"1h\"", &[
        "33:10: `where`: unknown field \"usr\", did you mean \"user\"?",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwhere = 7\nwindow = \"1h\"", &[
        "33:9: `where`: expected { field = value } or an expression, got 7",
    ]),
    bad("of = \"count\"", "of = \"expr\"\nexpr = \"1.0 + seen\"", &[
        "33:15: `expr`: feature \"seen\" is not above this one: an expression sees the features above it",
    ]),
    bad("of = \"count\"", "of = \"expr\"", &[
        "30:1: [[feature]] needs `expr` with of = \"expr\"",
    ]),
    bad("of = \"count\"", "of = \"count\"\n[[feature]]\nname = \"twice\"\nof = \"expr\"\nexpr = \"sean * 2.0\"", &[
        "36:9: `expr`: unknown feature \"sean\", did you mean \"seen\"?",
    ]),
    bad("of = \"count\"", "of = \"one_hot\"\nfield = \"user\"\nvalues = [\"a\", \"b\"]\n[[feature]]\nname = \"twice\"\nof = \"expr\"\nexpr = \"seen * 2.0\"", &[
        "38:9: `expr`: feature \"seen\" is more than one number",
    ]),
    bad("of = \"count\"", "of = \"count\"\nwhere = { price = 3 }", &[
        "33:11: field \"price\" is not kept: add it to [history] fields",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\nfields = [\"user\", \"usr\", \"user\"]", &[
        "39:19: unknown field \"usr\", did you mean \"user\"?",
        "39:26: field \"user\" is listed twice",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\nfields = [\"at\", \"price\"]\n[model.output]\nname = \"price\"", &[
        "39:17: a prediction has a \"price\" of its own: leave it out of `fields`",
    ]),
    bad("path = \"m.onnx\"", "path = \"m.onnx\"\noutput = { name = \"event_time\" }", &[
        "36:19: a prediction has a \"event_time\" of its own: name the score otherwise",
    ]),
    bad("path = \"m.onnx\"", "path = \"m.onnx\"\noutputs = [{ name = \"event_time\" }, { name = \"a\", index = 70_000 }, { name = \"a\" }, { tensor = \"t\" }]", &[
        "36:21: a prediction has a \"event_time\" of its own: name the score otherwise",
        "36:59: `index`: must be from 0 to 65535, got 70000",
        "36:78: output \"a\" is declared twice",
        "36:85: [[model.outputs]] needs `name`",
    ]),
    bad("path = \"m.onnx\"", "path = \"m.onnx\"\noutputs = []", &[
        "36:11: at least one [[model.outputs]] is needed",
    ]),
    bad("path = \"m.onnx\"", "path = \"m.onnx\"\noutput = { name = \"a\" }\noutputs = [{ name = \"b\" }]", &[
        "36:1: `output` does not go with `outputs`: leave one out",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\nfields = [\"user\", \"price\"]\n[[model.outputs]]\nname = \"other\"\n[[model.outputs]]\nname = \"price\"", &[
        "39:19: a prediction has a \"price\" of its own: leave it out of `fields`",
    ]),
    bad("[history]", "[[check]]\nfield = \"at\"\nrule = \"not_empty\"\nstage = \"feature\"\n[history]", &[
        "28:9: the key and the time of an event are needed before stage \"feature\": leave `stage` out",
    ]),
    bad("of = \"count\"", "of = \"hash\"\nfield = \"price\"", &[
        "30:1: [[feature]] needs `buckets` with of = \"hash\"",
        "33:9: of = \"hash\" needs a field of type string, \"price\" is of type float",
    ]),
    bad("of = \"count\"", "of = \"share\"\ntransform = [\"log2p\", \"clip(2, 1)\", \"scale(0, 0)\", \"fill(1)\", \"clip(1)\"]", &[
        "30:1: [[feature]] needs `where` with of = \"share\"",
        "33:14: unknown transform \"log2p\", did you mean \"log1p\"?",
        "33:23: transform \"clip(2, 1)\": the first bound is above the second",
        "33:37: transform \"scale(0, 0)\": divides by 0",
        "33:52: fill is a key of the feature, write fill = 0.0 instead",
        "33:63: transform \"clip(1)\": expected clip(a,b)",
    ]),
    bad("[history]\nevents = 5\nttl = \"1h\"\nfields = [\"user\"]\n\n[[feature]]\nname = \"seen\"\nof = \"count\"", "[[feature]]\nname = \"seen\"\nof = \"cuont\"", &[
        "27:6: `of`: unknown value \"cuont\", did you mean \"count\"?",
    ]),
    bad("[[feature]]", "[feature]", &[
        "30:1: expected a list of tables, write [[feature]] instead of [feature]",
    ]),
    bad("path = \"m.onnx\"", "path = \"builtin:user-event\"\ndigest = \"sha256:12\"\nbatch = 0\nfeatures = [\"sen\", \"seen\", \"seen\"]", &[
        "35:8: unknown builtin model \"user-event\", did you mean \"user-events\"?",
        "36:10: `digest`: expected \"sha256:\" and 64 hexadecimal digits, got \"sha256:12\"",
        "37:9: `batch`: must be from 1 to 4096, got 0",
        "38:13: unknown feature \"sen\", did you mean \"seen\"?",
        "38:28: feature \"seen\" is listed twice",
    ]),
    bad("[model]\npath = \"m.onnx\"\n", "[modle]\npath = \"m.onnx\"\n", &[
        "34:2: unknown table [modle], did you mean [model]?",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"", "kind = \"kafka\"\nbrokers = \"b:9092?password=secret\"\ntopic = \"t\"", &[
        "6:11: `brokers`: expected `HOST:PORT`, several with commas between them: who comes is said in `properties`, with `sasl.username` and `sasl.password`",
    ]),
    bad("kind = \"discard\"", "kind = \"kafka\"\nbrokers = \"me:secret@host:1\"", &[
        "37:1: kind = \"kafka\" needs [checkpoint]: outputs are published when the checkpoint behind them is durable",
        "39:11: `brokers`: expected `HOST:PORT`, several with commas between them: who comes is said in `properties`, with `sasl.username` and `sasl.password`",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\nshards = 129\ndelivery = \"exactly_once\"\nlate_events = \"ml_predictions\"", &[
        "39:10: `shards`: must be from 1 to 128, got 129",
        "40:12: `delivery`: \"exactly_once\" needs [checkpoint]",
        "41:15: `late_events`: \"ml_predictions\" is already the stream of `predictions`",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\ndelivery = \"once\"\n[checkpoint]", &[
        "39:12: `delivery`: expected \"exactly_once\" or \"at_least_once\", got \"once\"",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\ndelivery = \"at_least_once\"\n[checkpoint]", &[
        "39:12: `delivery`: with [checkpoint] each output of this kind comes out once, at no cost: leave \
         \"at_least_once\" out",
    ]),
    bad("kind = \"discard\"", "kind = \"stdout\"\ndelivery = \"exactly_once\"\n[checkpoint]", &[
        "39:12: `delivery`: what was written to the standard output cannot be taken back after a crash, so with \
         kind = \"stdout\" it is \"at_least_once\"",
    ]),
    bad("kind = \"discard\"", "kind = \"stdout\"\ndelivery = \"exactly_once\"", &[
        "39:12: `delivery`: what was written to the standard output cannot be taken back after a crash, so with \
         kind = \"stdout\" it is \"at_least_once\"",
    ]),
    bad("kind = \"discard\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\ndelivery = \"at_least_once\"\nnew_producer_each_epoch = true\n[checkpoint]", &[
        "41:27: `new_producer_each_epoch`: with delivery = \"at_least_once\" outputs are sent as they come, without \
         transactions that a new producer could guard: leave it out, or choose \"exactly_once\"",
    ]),
    bad("kind = \"discard\"", "kind = \"kafka\"\nbrokers = \"b:9092\"\nnew_producer_each_epoch = \"yes\"\n[checkpoint]", &[
        "40:27: `new_producer_each_epoch`: expected true or false, got \"yes\"",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\nnew_producer_each_epoch = true\n[checkpoint]", &[
        "39:1: `new_producer_each_epoch` does not go with kind = \"discard\", only with \"kafka\"",
    ]),
    bad("path = \"in.jsonl\"", "path = \"-\"\n[checkpoint]", &[
        "6:8: `path`: the standard input cannot be read again after a crash, which [checkpoint] is there for: \
         write it to a file first, or leave [checkpoint] out",
    ]),
    bad("", "[checkpoint]\nstore = \"s3://bucket//prefix\"\ninterval = \"0s\"\nmin_pause = \"2d\"\ntimeout = 30\nmax_concurrent = 0\ntolerable_failures = -1\nretain = 0\n", &[
        "40:9: `store`: expected \"s3://BUCKET/PREFIX\", with letters, digits and `-`, `_`, `.`, `=` in each part, got \"s3://bucket//prefix\"",
        "41:12: `interval`: must be from 1ms to 1d, got \"0s\"",
        "42:13: `min_pause`: must be from 0ms to 1d, got \"2d\"",
        "43:11: `timeout`: expected a duration such as \"2s\", got 30",
        "44:18: `max_concurrent`: must be from 1 to 16, got 0",
        "45:22: `tolerable_failures`: must be from 0 to 1000000, got -1",
        "46:10: `retain`: must be from 1 to 1000, got 0",
    ]),
    bad("", "[checkpoint]\nstore = \"state\"\n", &[
        "40:9: `store`: expected \"file:FOLDER\", for example \"file:state\", or \"s3://BUCKET/PREFIX\", got \"state\"",
    ]),
    bad("", "[checkpoint]\nstore = \"file:\"\nintervall = \"1s\"\n", &[
        "40:9: `store`: expected \"file:FOLDER\", for example \"file:state\", or \"s3://BUCKET/PREFIX\", got \"file:\"",
        "41:1: unknown key `intervall` in [checkpoint], did you mean `interval`?",
    ]),
    bad("", "[checkpoint]\nstore = \"file://host/state\"\n", &[
        "40:9: `store`: expected \"file:FOLDER\", for example \"file:state\", or \"s3://BUCKET/PREFIX\", got \"file://host/state\"",
    ]),
    bad("", "[restart]\nstrategy = \"none\"\n", &[
        "39:1: [restart] needs [checkpoint]: without one the job would begin again and write its outputs a second time",
    ]),
    // Nor is a table that is misspelt, or broken, said to be missing.
    bad("", "[chekpoint]\n[restart]\nattempts = 1\n", &[
        "39:2: unknown table [chekpoint], did you mean [checkpoint]?",
    ]),
    bad("kind = \"discard\"", "kind = \"discard\"\ndelivery = \"exactly_once\"\n[checkpoint\n[restart]", &[
        "40:12: unclosed table, expected `]`",
    ]),
    bad("", "[checkpoint]\n[restart]\nstrategy = \"fixed\"\nattempts = -1\nmultiplier = 0.5\njitter = 2\nfirst_at_once = 1\n", &[
        "41:12: `strategy`: expected \"exponential_delay\", \"fixed_delay\" or \"none\", got \"fixed\"",
        "42:12: `attempts`: must be from 0 to 1000000, got -1",
        "43:14: `multiplier`: must be from 1 to 100, got 0.5",
        "44:10: `jitter`: must be from 0 to 1, got 2",
        "45:17: `first_at_once`: expected true or false, got 1",
    ]),
    bad("", "[checkpoint]\n[restart]\nstrategy = \"fixed_delay\"\nmax = \"1m\"\n", &[
        "42:1: `max` does not go with strategy = \"fixed_delay\", only with \"exponential_delay\"",
    ]),
    bad("", "[checkpoint]\n[restart]\nstrategy = \"none\"\nattempts = 2\n", &[
        "42:1: `attempts` does not go with strategy = \"none\", only with \"exponential_delay\", \"fixed_delay\"",
    ]),
    bad("", "[checkpoint]\n[restart]\ninitial = \"1m\"\n", &[
        "41:11: `initial`: must be at most `max`, 30s, got 1m",
    ]),
    bad("", "[checkpoint]\n[restart]\nmax = \"1s\"\n", &[
        "41:7: `max`: must be at least `initial`, 3s, got 1s",
    ]),
    bad("", "[[check]]\nfield = \"user\"\nrule = \"min\"\nvalue = 1\n[[check]]\nfield = \"at\"\nrule = \"one_of\"\nvalues = [1, \"x\"]\n[[check]]\nwhen = \"price > 1\"\n", &[
        "41:8: rule \"min\" is for ints and floats, the field is a string",
        "46:14: the field is of type int, got \"x\"",
        "47:1: [[check]] needs `message` with `when`",
    ]),
    bad("", "[[check]]\nfield = \"at\"\nrule = \"max_length\"\nvalue = 2\n[[check]]\nfield = \"at\"\nrule = \"max\"\nvalue = 1.5\n[[check]]\nfield = \"at\"\nrule = \"max\"\n", &[
        "41:8: rule \"max_length\" is for strings and lists, at is of type int",
        "46:9: `value`: the field is an int, expected a whole number, got 1.5",
        "47:1: [[check]] needs `value` with rule = \"max\"",
    ]),
    bad("", "[api]\nlisten = \"x\"\n[dead_letter]\nform = \"rwa\"\n", &[
        "39:1: [api] is not supported in this version",
        "42:8: `form`: unknown value \"rwa\", did you mean \"raw\"?",
    ]),
    bad("", "[mirror]\n", &[
        "39:1: [mirror] needs `redis`",
    ]),
    bad("", "[mirror.redis]\nurl = \"x\"\nlayout = \"user:{at}\"\n", &[
        "39:1: [mirror.redis] needs [checkpoint]: it is written after each of these",
        "40:7: `url`: expected `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS",
        "41:10: `layout`: lists of different keys would be one: add the key's field \"user\" in braces",
        "41:10: `layout`: there is one list for each key, and \"at\" is no field of `key` in [event]",
    ]),
    bad("", "[mirror.redis]\nurl = \"redis://h\"\nlayout = \"{user}{user}\"\n[checkpoint]\n", &[
        "41:10: `layout`: any key could be one of its lists: begin it with a word, as in \"visitor:{visitor}\"",
    ]),
    bad("", "[mirror.redis]\nurl = \"redis://h\"\nlayout = \"u:{user}{user}\"\n[checkpoint]\n", &[
        "41:10: `layout`: where one field ends and the next begins is not to be seen: write a text between them",
    ]),
    bad("", "[mirror.redis]\nurl = \"redis://h\"\nlayout = \"slackwater:{user}\"\n[checkpoint]\n", &[
        "41:10: `layout`: keys that begin so are the mirror's own: begin it with another word",
    ]),
    bad("", "[[lookup]]\nname = \"profile\"\n", &[
        "39:1: [[lookup]] needs `store`",
        "39:1: [[lookup]] needs `url`",
        "39:1: [[lookup]] needs `key`",
        "39:1: [[lookup]] needs `read`",
        "39:1: [[lookup]] needs [[lookup.fields]]",
    ]),
    bad("", "[[lookup]]\nname = \"p\"\nstore = \"redys\"\nurl = \"http://h\"\nkey = \"p:{usr\"\nread = \"hash\"\nfields = [{ name = \"a\", type = \"flat\" }]\npassword = \"hunter2\"\n", &[
        "41:9: `store`: unknown value \"redys\", did you mean \"redis\"?",
        "42:7: `url`: expected `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS",
        "43:7: `key`: a brace is not closed",
        "45:32: `type`: unknown value \"flat\", did you mean \"float\"?",
        "46:12: `password`: expected { env = \"NAME\" } or { file = \"PATH\" }: a secret does not stand in the file",
    ]),
    bad("", "[[feature]]\nname = \"w\"\nof = \"lookup\"\nfrom = \"profil.weight\"\n[[feature]]\nname = \"v\"\nof = \"lookup\"\nfrom = \"profile.wieght\"\nfill = 1.0\n[[lookup]]\nname = \"profile\"\nstore = \"redis\"\nurl = \"redis://h/x\"\nkey = \"p\"\nread = \"string\"\nfields = [{ name = \"weight\" }, { name = \"weight\" }]\non_error = \"last_known\"\n", &[
        "42:8: unknown lookup \"profil\", did you mean \"profile\"?",
        "46:8: unknown field \"wieght\", did you mean \"weight\"?",
        "47:8: `fill` with of = \"lookup\": what is not there is the `default` of the lookup's field",
        "51:7: `url`: expected `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS",
        "52:7: `key`: names no field, so it would be the same for all events: write one in braces, as in \"profile:{visitor}\"",
        "54:32: read = \"string\" gives one value: declare one field",
        "54:41: field \"weight\" is declared twice",
        "55:12: on_error = \"last_known\" needs a cache: add cache = { ttl = \"5s\" }",
    ]),
    // What is wrong with one key of a lookup hides nothing of the others.
    bad("", "[[lookup]]\nname = \"profile\"\nstore = \"redis\"\nurl = \"redis://h\"\nkey = \"p:{user}\"\nread = \"hsh\"\nfields = [{ name = \"a\" }, { name = \"a\" }]\non_error = \"last_known\"\nusername = { env = \"U\" }\ncertificate = { file = \"c\" }\n", &[
        "44:8: `read`: unknown value \"hsh\", did you mean \"hash\"?",
        "45:36: field \"a\" is declared twice",
        "46:12: on_error = \"last_known\" needs a cache: add cache = { ttl = \"5s\" }",
        "47:12: `username` needs `password`",
        "48:15: `certificate` belongs to TLS: write `rediss://` in `url`",
        "48:15: `certificate` needs `certificate_key`",
    ]),
    bad("", "[[lokup]]\nname = 1\n", &[
        "39:3: unknown table [[lokup]], did you mean [[lookup]]?",
    ]),
    bad("", "é = 1\n", &[
        "39:1: invalid unquoted key, expected letters, numbers, `-`, `_`",
    ]),
    bad("[[event.field]]\nname = \"at\"", "[[event.field]\nname = \"at\"", &[
        "16:15: unclosed array table, expected `]`",
    ]),
    bad("key = [\"user\"]", "key = [\"user\"", &[
        "10:1: the list or inline table above is not closed, or lacks a comma",
    ]),
    bad("key = [\"user\"]", "key = [\"user\",", &[
        "10:1: the list or inline table above is not closed, or lacks a comma",
    ]),
    bad("unit = \"ms\" }", "unit = \"ms\"", &[
        "12:1: the list or inline table above is not closed, or lacks a comma",
    ]),
    bad("name = \"small\"", "name = \"small", &[
        "2:14: invalid basic string, expected `\"`",
    ]),
    bad("ttl = \"1h\"", "ttl =", &[
        "27:6: the value is missing",
    ]),
    bad("events = 5", "events = 5x", &[
        "26:10: expected a value; a string must stand in quotes",
    ]),
    bad("path = \"m.onnx\"", "path = \"m.onnx\"\noutput = { nam = \"p\", index = -1 }", &[
        "36:12: unknown key `nam` in [model.output], did you mean `name`?",
        "36:31: `index`: must be from 0 to 65535, got -1",
    ]),
    bad("[sink]\nkind = \"discard\"", "[history]\n[[sink]]\nkind = \"discard\"", &[
        "37:2: this key or table is already set above, it can stand only once",
        "38:1: expected one table [sink], got a list",
    ]),
];
