//! What a person at a real terminal sees: the block while a job runs, and nothing of it afterwards.
//!
//! The binary runs on a pseudo-terminal of its own, and what it writes goes through a terminal emulator: the
//! tests look at the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use crate::scene::{Scene, generated};
use crate::waiting::{is_full, wait_until};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// Ctrl-C, as a keyboard sends it.
const CTRL_C: &[u8] = b"\x03";

/// An escape, with which every control code of a terminal begins.
const ESCAPE: char = '\x1b';

/// What came to a terminal.
struct Shown {
    emulator: vt100::Parser,
    raw: Vec<u8>,
}

/// A run of the binary at a terminal.
struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    shown: Arc<Mutex<Shown>>,
    reading: JoinHandle<()>,
}

impl Terminal {
    /// Starts the binary in the scene's folder; `change` may put its streams elsewhere.
    fn start(
        scene: &Scene,
        columns: u16,
        arguments: &[&str],
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS, columns)).unwrap();
        let pty = Arc::new(pty);
        let size = |number| NonZeroU16::new(number).unwrap();
        let shown = Arc::new(Mutex::new(Shown {
            emulator: vt100::Parser::new(size(ROWS), size(columns), 0),
            raw: Vec::new(),
        }));
        let command = Command::new(env!("CARGO_BIN_EXE_slackwater"))
            .args(arguments)
            .current_dir(scene.path("."))
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR");
        let child = change(command).spawn(pts).unwrap();
        let (from, to) = (Arc::clone(&pty), Arc::clone(&shown));
        let read = move || {
            let mut bytes = [0; 4096];
            // Where nobody has the terminal open any more, reading it fails.
            while let Ok(read @ 1..) = (&*from).read(&mut bytes) {
                let mut shown = to.lock().unwrap();
                shown.emulator.process(&bytes[..read]);
                shown.raw.extend_from_slice(&bytes[..read]);
            }
        };
        Terminal {
            child,
            pty,
            shown,
            reading: thread::spawn(read),
        }
    }

    /// The rows of the screen, each with whether it goes on in the next one.
    fn rows(&self) -> Vec<(String, bool)> {
        let shown = self.shown.lock().unwrap();
        let screen = shown.emulator.screen();
        let rows = screen.rows(0, screen.size().1.get());
        let wrapped = (0..).map(|row| screen.row_wrapped(row));
        rows.zip(wrapped).collect()
    }

    /// Waits until a row begins so.
    fn wait_for(&self, start: &str) {
        self.wait_for_rows(|rows| rows.iter().any(|(row, _)| row.starts_with(start)));
    }

    /// Waits for a screen that will do; between two looks it may be half drawn.
    fn wait_for_rows(&self, will_do: impl Fn(&[(String, bool)]) -> bool) -> Vec<(String, bool)> {
        let mut rows = Vec::new();
        let is_there = || {
            rows = self.rows();
            will_do(&rows)
        };
        assert!(wait_until(is_there), "{:#?}", self.rows());
        rows
    }

    fn press(&self, key: &[u8]) {
        (&*self.pty).write_all(key).unwrap();
    }

    /// [`Self::end_anywhere`], with the cursor where a line begins.
    fn end(self) -> (ExitStatus, String, String) {
        let shown = Arc::clone(&self.shown);
        let end = self.end_anywhere();
        let column = shown.lock().unwrap().emulator.screen().cursor_position().1;
        assert_eq!(column, 0, "{}", end.1);
        end
    }

    /// Waits for the end; how it was, what is on the screen then, and all that came.
    fn end_anywhere(mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().unwrap();
        self.reading.join().unwrap();
        let shown = self.shown.lock().unwrap();
        let contents = shown.emulator.screen().contents();
        let raw = String::from_utf8(shown.raw.clone()).unwrap();
        (status, contents, raw)
    }
}

/// A scene with a job that follows its input: three good events and a bad one, and no end.
fn endless() -> Scene {
    let follow = ("path = \"in.jsonl\"", "path = \"in.jsonl\"\nfollow = true");
    let event = |time: u64| {
        format!(
            r#"{{"user_id":"u","product_id":"p","category":"c","event_type":"view","timestamp_ms":{time}}}{}"#,
            '\n'
        )
    };
    let times = [1_767_225_600_000, 1_767_225_601_000, 1_767_225_662_000];
    let events: String = times.into_iter().map(event).collect();
    Scene::with(&[follow], format!("{events}bad\n").as_bytes())
}

/// A scene with a job that takes three seconds.
fn paced() -> Scene {
    let scene = Scene::new();
    let changes = [
        ("events = 1_000_000", "events = 3_000"),
        ("rate = 0 ", "rate = 1_000 "),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    scene
}

/// The last row of the block.
const LAST_ROW: &str = " event time, UTC   2026-01-01 00:01:00  2.0 s behind the newest event";

/// The block on the screen, row by row. None of them goes on in the next one, nor does the last one end
/// where the terminal does.
fn block(terminal: &Terminal, columns: usize) -> Vec<String> {
    let row_of = |rows: &[(String, bool)], start: &str| {
        let mut rows = rows.iter();
        rows.position(|(row, _)| row.starts_with(start))
    };
    let rows = terminal.wait_for_rows(|rows| row_of(rows, " event time").is_some());
    let titles = rows
        .iter()
        .filter(|(row, _)| row.starts_with(" user-events  "));
    assert_eq!(titles.count(), 1, "{rows:#?}");
    let last = row_of(&rows, " event time").unwrap();
    let block = rows.get(last - 7..=last).unwrap();
    for (row, is_wrapped) in block {
        assert!(!is_wrapped, "{block:#?}");
        assert!(row.chars().count() < columns, "{block:#?}");
    }
    assert!(
        rows[last + 1..]
            .iter()
            .all(|(row, _)| row.trim().is_empty())
    );
    block.iter().map(|(row, _)| row.clone()).collect()
}

/// No row of a block is left.
fn check_clean(contents: &str) {
    for left in ["event time", " behind ", "mean ", "in flight", "^C"] {
        assert!(!contents.contains(left), "{left:?} in\n{contents}");
    }
}

/// Of all control codes only those that go up and that clear: nothing is coloured or hidden.
fn check_codes(raw: &str) {
    for code in raw.split(ESCAPE).skip(1) {
        let end = code.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        assert!(["A", "J"].contains(&&code[end..=end]), "{code:?}");
    }
}

#[test]
fn is_the_block_shown_and_gone_after_ctrl_c() {
    let scene = endless();
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], |it| it);
    // Drawn over itself, as its title shows, which no longer says 0 s.
    terminal.wait_for(LAST_ROW);
    terminal.wait_for_rows(|rows| {
        let mut titles = rows
            .iter()
            .filter(|(row, _)| row.starts_with(" user-events  "));
        titles
            .next()
            .is_some_and(|(row, _)| !row.starts_with(" user-events  0 s"))
    });
    let block = block(&terminal, COLUMNS.into());
    assert!(block[0].starts_with(" user-events  "), "{block:#?}");
    assert!(block[0].ends_with(" s"), "{block:#?}");
    assert!(block[1].starts_with(" read                      4  "));
    assert!(block[1].contains("/s  mean "), "{block:#?}");
    let rest = [
        " predictions               3   75.00 %",
        " validation errors         1   25.00 %",
        " processing errors         0    0.00 %",
        " late events               0    0.00 %",
        " in flight                 0    0.00 %",
        LAST_ROW,
    ];
    assert_eq!(block[2..], rest);

    terminal.press(CTRL_C);
    let (status, contents, raw) = terminal.end();
    assert_eq!(status.code(), Some(0), "{contents}");
    check_clean(&contents);
    check_codes(&raw);
    // What was said stays, in its order, with nothing in between.
    let rows: Vec<_> = contents.lines().map(str::trim_end).collect();
    let [announced, stopping, line, title, ..] = rows.as_slice() else {
        panic!("{contents}");
    };
    assert!(announced.starts_with("job `user-events` on "), "{contents}");
    let said = "stopping: finishing what has been read; once more ends at once";
    assert_eq!(*stopping, said, "{contents}");
    assert!(line.starts_with("────"), "{contents}");
    assert!(title.starts_with(" user-events "), "{contents}");
}

#[test]
fn does_the_block_fit_a_narrow_terminal() {
    let scene = endless();
    let terminal = Terminal::start(&scene, 40, &["run", "job.toml"], |it| it);
    terminal.wait_for(" event time, UTC   2026-01-01 00:01:00");
    block(&terminal, 40);
    terminal.press(CTRL_C);
    let (status, contents, _) = terminal.end();
    assert_eq!(status.code(), Some(0), "{contents}");
    check_clean(&contents);
}

#[test]
fn is_the_block_gone_after_a_failure() {
    let scene = endless();
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], |it| it);
    terminal.wait_for(LAST_ROW);
    let input = File::options().write(true).open(scene.path("in.jsonl"));
    input.unwrap().set_len(1).unwrap();
    let (status, contents, raw) = terminal.end();
    assert_eq!(status.code(), Some(1), "{contents}");
    check_clean(&contents);
    check_codes(&raw);
    assert!(contents.contains("failed: cannot read in.jsonl: it was cut to 1 bytes"));
}

/// Who reads the records may write to the same terminal: then there is no block, which would erase that.
#[test]
fn does_a_second_ctrl_c_end_a_run_whose_records_nobody_reads() {
    let scene = endless();
    let sink = "kind = \"file\"\npath = \"out\"\nshards = 2\n";
    let text = std::fs::read_to_string(scene.path("job.toml")).unwrap();
    scene.write(
        "job.toml",
        text.replace(sink, "kind = \"stdout\"\n").as_bytes(),
    );
    // More than a pipe holds, and nobody reads it: the run cannot finish.
    let events = std::fs::read_to_string(scene.path("in.jsonl")).unwrap();
    scene.write("in.jsonl", events.repeat(1_000).as_bytes());
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], |it| {
        it.stdout(Stdio::piped())
    });
    let unread = terminal.child.stdout.as_ref().unwrap();
    assert!(wait_until(|| is_full(unread)));
    terminal.press(CTRL_C);
    // Behind the terminal's own `^C`.
    terminal.wait_for_rows(|rows| rows.iter().any(|(row, _)| row.contains("stopping: ")));
    terminal.press(CTRL_C);
    let (status, contents, raw) = terminal.end_anywhere();
    assert_eq!(status.code(), None, "{contents}");
    assert!(!raw.contains(ESCAPE), "{raw}");
}

#[test]
fn is_a_known_end_shown_as_a_bar_by_features_too() {
    let scene = paced();
    let arguments = ["features", "job.toml", "--out", "rows"];
    let terminal = Terminal::start(&scene, COLUMNS, &arguments, |it| it);
    terminal.wait_for(" event time");
    let title = block(&terminal, COLUMNS.into()).remove(0);
    assert!(
        title.contains('█') && title.contains(" %  about "),
        "{title}"
    );
    let (status, contents, raw) = terminal.end();
    assert_eq!(status.code(), Some(0), "{contents}");
    check_clean(&contents);
    check_codes(&raw);
}

#[test]
fn are_there_no_control_codes_where_nobody_could_use_them() {
    // A pipe.
    let scene = paced();
    let ran = scene.run(&["run", "job.toml"]).ended(0);
    assert!(!ran.stderr.contains([ESCAPE, '\r']), "{}", ran.stderr);
    assert!(!ran.stdout.contains([ESCAPE, '\r']), "{}", ran.stdout);
    // A terminal that says it knows none.
    let scene = paced();
    let dumb = |it: Command| it.env("TERM", "dumb");
    let (status, _, raw) = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], dumb).end();
    assert_eq!(status.code(), Some(0), "{raw}");
    assert!(!raw.contains(ESCAPE), "{raw}");
    // A terminal on which a person types the records.
    let scene = endless();
    let text = std::fs::read_to_string(scene.path("job.toml")).unwrap();
    let typed = text.replace("path = \"in.jsonl\"\nfollow = true", "path = \"-\"");
    scene.write("job.toml", typed.as_bytes());
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], |it| it);
    terminal.wait_for("job `user-events`");
    // A line, and Ctrl-D.
    terminal.press(b"hello\n\x04");
    let (status, contents, raw) = terminal.end();
    assert_eq!(status.code(), Some(0), "{raw}");
    assert!(!raw.contains(ESCAPE), "{raw}");
    assert!(
        contents.contains(" validation errors        1   100.00 %"),
        "{contents}"
    );
}

#[test]
fn does_no_color_leave_the_block_which_has_none() {
    let scene = endless();
    let plain = |it: Command| it.env("NO_COLOR", "1");
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], plain);
    terminal.wait_for(LAST_ROW);
    terminal.press(CTRL_C);
    let (status, _, raw) = terminal.end();
    assert_eq!(status.code(), Some(0));
    check_codes(&raw);
}
