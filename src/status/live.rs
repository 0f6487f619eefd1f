//! Says how a job is, in time, while another thread runs it.
//!
//! One thread writes all of it to stderr, and nobody waits long for that thread: it may be inside a write that
//! never returns, to a terminal that was frozen or to a pipe that nobody reads.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::fd::AsFd;
use rustix::fs::{FileType, fstat, stat};
use tracing_subscriber::fmt::MakeWriter;

use crate::status::screen::Screen;
use crate::status::{Status, Watch, line};

/// Before this, nothing is drawn: what ends sooner would only flicker.
const FIRST_DRAWING: Duration = Duration::from_millis(500);

/// Between two drawings: numbers that change more often cannot be read.
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(150);

/// Between two lines of a log: often enough to see that it lives, seldom enough for a run of days.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Between two looks whether something went wrong, which a log says soon.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Longest wait until what was to be written or taken away is: far longer than a terminal needs, and short for
/// who wants the process to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a running job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A block on the terminal.
    Block,
    /// A line now and then.
    Lines,
}

impl Manner {
    /// A block, where it can be drawn over itself and nobody else writes: not where stderr is no terminal or
    /// one that knows no control codes, nor where others write to it, or people, who type.
    pub fn fit(is_shared: bool) -> Self {
        let is_terminal = io::stderr().is_terminal() && !console::is_dumb();
        if is_terminal && !is_shared {
            Manner::Block
        } else {
            Manner::Lines
        }
    }
}

/// Whether something may have another end that is at the terminal too: a person, or a program that others read.
/// A file has none, nor has `/dev/null`.
pub fn has_another_end(stream: impl AsFd) -> bool {
    // What is closed has no end at all.
    let Ok(own) = fstat(stream) else {
        return false;
    };
    let is_null = || stat("/dev/null").is_ok_and(|null| null.st_rdev == own.st_rdev);
    match FileType::from_raw_mode(own.st_mode) {
        FileType::RegularFile => false,
        FileType::CharacterDevice => !is_null(),
        _ => true,
    }
}

/// What the thread that shows a job is told.
pub(super) enum Told {
    /// To say something, above the block.
    Say(Cow<'static, str>),
    /// To take the block away for ever, and to hang up.
    StandAside(Sender<()>),
    /// That the run is over.
    Ended,
}

/// A job being shown. Ends when it is dropped, and leaves nothing on the terminal.
pub struct Live {
    voice: Voice,
    /// Hangs up when all is said.
    done: Receiver<()>,
}

impl Live {
    /// Shows a run from now on. Where the system refuses a thread, the run is not shown.
    pub fn start(mut watch: Watch, manner: Manner) -> Self {
        let (tell, told) = channel();
        let (doing, done) = channel::<()>();
        let voice = Voice::new(tell);
        if manner == Manner::Block {
            make_way_for_panics(voice.clone());
        }
        let run = move || {
            let screen = (manner == Manner::Block).then(Screen::new);
            show(&mut watch, &told, screen, io::stderr, BETWEEN_LINES);
            drop(doing);
        };
        // Without the thread, `done` has hung up already.
        drop(Builder::new().name("status".to_owned()).spawn(run));
        Live { voice, done }
    }

    /// For those who have something to say meanwhile.
    pub fn voice(&self) -> Voice {
        self.voice.clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.voice.tell(Told::Ended);
        let _ = self.done.recv_timeout(PATIENCE);
    }
}

/// Says something while a job is being shown.
#[derive(Clone)]
pub struct Voice(Sender<Told>);

impl Voice {
    pub(super) fn new(tell: Sender<Told>) -> Self {
        Voice(tell)
    }

    /// Has it said on stderr, above the block. Waits for nothing.
    pub fn say(&self, text: impl Into<Cow<'static, str>>) {
        self.tell(Told::Say(text.into()));
    }

    /// Takes the block away for ever, since others are to write or the process is to die; or gives up soon.
    pub fn stand_aside(&self) {
        let (doing, done) = channel();
        self.tell(Told::StandAside(doing));
        let _ = done.recv_timeout(PATIENCE);
    }

    fn tell(&self, what: Told) {
        // Who has ended has nothing on the terminal.
        drop(self.0.send(what));
    }
}

/// The message of a panic is written by the thread that panics; no drawing must write over it.
fn make_way_for_panics(voice: Voice) {
    let write = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        voice.stand_aside();
        write(panic);
    }));
}

/// Shows a run until it is over, or nobody can say so any more: draws on the screen while there is one and the
/// terminal is ours, else writes a line to `output` after each `pause`, and a warning when something goes wrong. A run that ends before the first line
/// writes none: its beginning and its end are said anyway.
pub(super) fn show<W>(
    watch: &mut Watch,
    told: &Receiver<Told>,
    screen: Option<Screen>,
    output: W,
    pause: Duration,
) where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (first, between) = if screen.is_some() {
        (FIRST_DRAWING, BETWEEN_DRAWINGS)
    } else {
        let between = pause.min(BETWEEN_LOOKS);
        (between, between)
    };
    let mut showing = Showing {
        screen,
        pause,
        line_due: Instant::now() + pause,
        warning_due: Instant::now(),
        has_written: false,
    };
    tracing::subscriber::with_default(line::writer(output), || {
        let mut due = Instant::now() + first;
        loop {
            match told.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {
                    showing.show(&watch.look());
                    due = Instant::now() + between;
                }
                Ok(Told::Say(text)) => showing.say(&text),
                Ok(Told::StandAside(doing)) => {
                    showing.stand_aside();
                    drop(doing);
                }
                Ok(Told::Ended) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        showing.stand_aside();
        if showing.has_written {
            line::write(&watch.look(), true);
        }
    });
}

/// Where a run is shown, and what of it was.
struct Showing {
    screen: Option<Screen>,
    pause: Duration,
    line_due: Instant,
    /// From when on another warning may be written: what lasts is said now and then, not each time.
    warning_due: Instant,
    /// A line of the log was the last that was shown.
    has_written: bool,
}

impl Showing {
    fn show(&mut self, status: &Status) {
        if self.screen.as_mut().is_some_and(|it| it.draw(status)) {
            self.has_written = false;
            return;
        }
        let now = Instant::now();
        if let Some(trouble) = status.trouble.as_ref().filter(|_| now >= self.warning_due) {
            line::warn(status, trouble);
            self.warning_due = now + self.pause;
        }
        if now >= self.line_due {
            line::write(status, false);
            self.line_due = now + self.pause;
            self.has_written = true;
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(screen) = &mut self.screen {
            screen.erase();
        }
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    fn stand_aside(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.close();
        }
    }
}
