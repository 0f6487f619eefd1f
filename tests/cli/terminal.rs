//! What a person at a real terminal sees: the block while a job runs, and nothing of it afterwards.
//!
//! The binary runs on a pseudo-terminal of its own, and what it writes goes through a terminal emulator: the
//! tests look at the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use crate::scene::{Scene, TO_STDOUT, changed, event, generated};
use crate::waiting::{send, wait_until};

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
        let command = Command::new(env!("CARGO_BIN_EXE_slackwater"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR");
        Terminal::open(scene, columns, change(command))
    }

    /// Starts a line of a shell in the scene's folder.
    fn shell(scene: &Scene, line: &str) -> Self {
        Terminal::open(
            scene,
            COLUMNS,
            Command::new("sh")
                .args(["-c", line])
                .env("TERM", "xterm-256color"),
        )
    }

    fn open(scene: &Scene, columns: u16, command: Command) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS, columns)).unwrap();
        let pty = Arc::new(pty);
        let size = |number| NonZeroU16::new(number).unwrap();
        let shown = Arc::new(Mutex::new(Shown {
            emulator: vt100::Parser::new(size(ROWS), size(columns), 0),
            raw: Vec::new(),
        }));
        let child = command.current_dir(scene.path(".")).spawn(pts).unwrap();
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

    /// Waits until the screen is so, and gives its rows.
    fn wait_for_rows(&self, is_so: impl Fn(&[String]) -> bool) -> Vec<(String, bool)> {
        let mut rows = Vec::new();
        let is_there = || {
            rows = self.rows();
            let texts: Vec<_> = rows.iter().map(|(row, _)| row.clone()).collect();
            is_so(&texts)
        };
        assert!(wait_until(is_there), "{rows:#?}");
        rows
    }

    /// Waits until a row begins so.
    fn wait_for(&self, start: &str) -> Vec<(String, bool)> {
        self.wait_for_rows(|rows| rows.iter().any(|row| row.starts_with(start)))
    }

    fn press(&self, key: &[u8]) {
        (&*self.pty).write_all(key).unwrap();
    }

    /// Waits for the end; how it was, what is on the screen then, and all that came.
    fn end(mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().unwrap();
        self.reading.join().unwrap();
        let shown = self.shown.lock().unwrap();
        let contents = shown.emulator.screen().contents();
        let raw = String::from_utf8(shown.raw.clone()).unwrap();
        assert_eq!(shown.emulator.screen().cursor_position().1, 0, "{contents}");
        (status, contents, raw)
    }
}

/// A scene with a job that follows its input: three good events and a bad one, and no end.
fn endless() -> Scene {
    let follow = ("path = \"in.jsonl\"", "path = \"in.jsonl\"\nfollow = true");
    let events: String = [0, 1_000, 62_000].map(|at| event("u", at)).concat();
    Scene::with(&[follow], format!("{events}bad\n").as_bytes())
}

/// A scene with a job that takes a millisecond an event.
fn paced(events: u64) -> Scene {
    let scene = Scene::new();
    let changes = [
        ("events = 1_000_000", &*format!("events = {events}")),
        ("rate = 0 ", "rate = 1_000 "),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    scene
}

/// The last row of the block.
const LAST_ROW: &str = " event time, UTC   2026-01-01 00:01:00  2.0 s behind the newest event";

/// The block on the screen, row by row. None of them goes on in the next one, nor does the last one end
/// where the terminal does.
fn block(rows: &[(String, bool)], columns: usize) -> Vec<String> {
    let titles = rows
        .iter()
        .filter(|(row, _)| row.starts_with(" user-events  "));
    assert_eq!(titles.count(), 1, "{rows:#?}");
    let last = rows
        .iter()
        .position(|(row, _)| row.starts_with(" event time"));
    let last = last.unwrap();
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
    for left in ["event time", " behind ", "mean ", "in flight  ", "^C"] {
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
    // Once a second has passed it was drawn over itself a few times. The last row is drawn last.
    let is_later =
        |row: &String| row.starts_with(" user-events  ") && !row.starts_with(" user-events  0 s");
    let rows = terminal
        .wait_for_rows(|rows| rows.iter().any(is_later) && rows.iter().any(|row| row == LAST_ROW));
    let block = block(&rows, COLUMNS.into());
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
    let said = "stopping: finishing what is in flight; once more ends at once";
    assert_eq!(*stopping, said, "{contents}");
    assert!(line.starts_with("────"), "{contents}");
    assert!(title.starts_with(" user-events "), "{contents}");
}

#[test]
fn does_the_block_fit_a_narrow_terminal() {
    let scene = endless();
    let terminal = Terminal::start(&scene, 40, &["run", "job.toml"], |it| it);
    let rows = terminal.wait_for(" event time, UTC   2026-01-01 00:01:00");
    block(&rows, 40);
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
    assert!(contents.contains("failed: cannot read in.jsonl: it was cut at byte 1"));
}

#[test]
fn is_a_known_end_shown_as_a_bar_by_features_too() {
    // Far longer than anybody waits.
    let scene = paced(1_000_000);
    let arguments = ["features", "job.toml", "--out", "rows"];
    let terminal = Terminal::start(&scene, COLUMNS, &arguments, |it| it);
    let rows = terminal.wait_for(" event time");
    let block = block(&rows, COLUMNS.into());
    assert!(block[0].contains(" %  about "), "{block:#?}");
    assert!(block[2].starts_with(" features "), "{block:#?}");
    terminal.press(CTRL_C);
    let (status, contents, raw) = terminal.end();
    assert_eq!(status.code(), Some(0), "{contents}");
    check_clean(&contents);
    check_codes(&raw);
}

#[test]
fn are_there_no_control_codes_where_nobody_could_use_them() {
    // A pipe.
    let scene = paced(1_500);
    let ran = scene.run(&["run", "job.toml"]).ended(0);
    assert!(!ran.stderr.contains([ESCAPE, '\r']), "{}", ran.stderr);
    assert!(!ran.stdout.contains([ESCAPE, '\r']), "{}", ran.stdout);
    // A terminal that says it knows none.
    let scene = paced(1_500);
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

#[test]
fn are_records_that_go_through_a_pipe_to_the_terminal_left_alone() {
    let scene = paced(1_500);
    let text = std::fs::read_to_string(scene.path("job.toml")).unwrap();
    scene.write("job.toml", changed(&text, &[TO_STDOUT]).as_bytes());
    // What reads the pipe is not the run, and writes to the same terminal.
    let binary = env!("CARGO_BIN_EXE_slackwater");
    let line = format!("'{binary}' run job.toml | cat");
    let (status, contents, raw) = Terminal::shell(&scene, &line).end();
    assert_eq!(status.code(), Some(0), "{contents}");
    assert!(!raw.contains(ESCAPE), "{raw}");
    let records = raw.lines().filter(|line| line.starts_with("{\"stream\":"));
    assert_eq!(records.count(), 1_500);
}

#[test]
fn is_what_others_wrote_while_the_run_was_stopped_left_alone() {
    let scene = endless();
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], |it| it);
    terminal.wait_for(LAST_ROW);
    send("STOP", &terminal.child);
    let state = format!("/proc/{}/stat", terminal.child.id());
    assert!(wait_until(|| std::fs::read_to_string(&state)
        .unwrap()
        .contains(") T ")));
    let mut shell = File::options()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
        .open(format!("/proc/{}/fd/2", terminal.child.id()))
        .unwrap();
    shell.write_all(b"$ fg\n").unwrap();
    drop(shell);
    send("CONT", &terminal.child);
    let rows = terminal.wait_for_rows(|rows| {
        let last = rows.iter().rposition(|row| row.starts_with(LAST_ROW));
        let shell = rows.iter().position(|row| row == "$ fg");
        last > shell && shell.is_some()
    });
    let blocks = rows.iter().filter(|(row, _)| row == LAST_ROW);
    assert_eq!(blocks.count(), 2, "{rows:#?}");
    terminal.press(CTRL_C);
    let (status, contents, _) = terminal.end();
    assert_eq!(status.code(), Some(0), "{contents}");
    assert!(contents.contains("$ fg\nstopping: "), "{contents}");
}

#[test]
fn does_ctrl_z_not_stop_for_good_a_run_that_nobody_could_continue() {
    let scene = endless();
    let terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], |it| it);
    terminal.wait_for(LAST_ROW);
    // No shell is there that has a job to bring back.
    terminal.press(b"\x1a");
    terminal.press(CTRL_C);
    terminal.wait_for("stopping: ");
    let (status, contents, _) = terminal.end();
    assert_eq!(status.code(), Some(0), "{contents}");
    check_clean(&contents);
}

#[test]
fn is_a_signal_obeyed_while_the_terminal_is_frozen() {
    let scene = endless();
    let nowhere = |it: Command| it.stdout(Stdio::null());
    let mut terminal = Terminal::start(&scene, COLUMNS, &["run", "job.toml"], nowhere);
    terminal.wait_for(LAST_ROW);
    // Ctrl-S.
    terminal.press(b"\x13");
    send("TERM", &terminal.child);
    let has_ended = wait_until(|| terminal.child.try_wait().unwrap().is_some());
    assert!(has_ended);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}
