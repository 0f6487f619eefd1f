//! Says how a job is, in time, while another thread runs it.

use std::io::{self, IsTerminal};
use std::panic;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crate::status::screen::Screen;
use crate::status::{Watch, line};

/// Before this, nothing is drawn: what ends sooner would only flicker.
const FIRST_DRAWING: Duration = Duration::from_millis(500);

/// Between two drawings: numbers that change more often cannot be read.
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(150);

/// Between two lines of a log: often enough to see that it lives, seldom enough for a run of days.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

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
    /// one that knows no control codes, nor where others may write to it, or people, who type.
    pub fn fit(is_shared: bool) -> Self {
        let is_terminal = io::stderr().is_terminal() && !console::is_dumb();
        if is_terminal && !is_shared {
            Manner::Block
        } else {
            Manner::Lines
        }
    }
}

/// A job being shown. Ends when it is dropped, and leaves nothing on the terminal.
pub struct Live {
    screen: Arc<Mutex<Screen>>,
    /// What tells the thread to end by being dropped, and what it drops when it has ended.
    showing: Option<(Sender<()>, Receiver<()>)>,
}

/// How long the end of a run waits for what is being written: where nobody reads it, it is never written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries for a screen that is being written to.
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

impl Live {
    /// Shows a run from now on. Where the system refuses a thread, the run is not shown.
    pub fn start(mut watch: Watch, manner: Manner) -> Self {
        let screen = Arc::new(Mutex::new(Screen::new()));
        if manner == Manner::Block {
            make_way_for_panics(&screen);
        }
        let shared = Arc::clone(&screen);
        let (ending, end) = channel();
        let (has_ended, ended) = channel();
        let show = move || {
            // Dropped when it ends, also by a panic.
            let _has_ended: Sender<()> = has_ended;
            match manner {
                Manner::Block => draw(&mut watch, &shared, &end),
                Manner::Lines => log(&mut watch, &end, BETWEEN_LINES, io::stderr),
            }
        };
        let thread = Builder::new().name("status".to_owned()).spawn(show);
        Live {
            screen,
            showing: thread.ok().map(|_| (ending, ended)),
        }
    }

    /// For those who have something to say meanwhile.
    pub fn voice(&self) -> Voice {
        Voice(Arc::clone(&self.screen))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some((ending, ended)) = self.showing.take() {
            drop(ending);
            // It is not waited for longer, nor is a screen that it holds while nobody reads.
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
        close(&self.screen);
    }
}

/// Says something while a job is being shown.
#[derive(Clone)]
pub struct Voice(Arc<Mutex<Screen>>);

impl Voice {
    /// Says it on stderr, above the block.
    pub fn say(&self, text: &str) {
        locked(&self.0).say(text);
    }

    /// Takes the block away before the process dies, unless that would have to be waited for.
    pub fn stand_aside(&self) {
        close(&self.0);
    }
}

/// Takes the block away for ever, unless somebody holds the screen who writes what nobody reads.
fn close(screen: &Mutex<Screen>) {
    let start = Instant::now();
    loop {
        match screen.try_lock() {
            Ok(mut screen) => return screen.close(),
            Err(TryLockError::Poisoned(screen)) => return screen.into_inner().close(),
            Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => return,
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_TRIES),
        }
    }
}

fn locked(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    // A panic half-way leaves a line too many on the terminal.
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The message of a panic is written by the thread that panics; the next drawing must not write over it.
fn make_way_for_panics(screen: &Arc<Mutex<Screen>>) {
    let screen = Arc::downgrade(screen);
    let write = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let screen = screen.upgrade();
        // Whoever holds it may be who panics.
        let mut screen = screen.as_ref().and_then(|screen| screen.try_lock().ok());
        if let Some(screen) = &mut screen {
            screen.erase();
        }
        write(panic);
    }));
}

/// Whether a pause has passed, and not the time of the run.
fn has_passed(end: &Receiver<()>, pause: Duration) -> bool {
    end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
}

fn draw(watch: &mut Watch, screen: &Mutex<Screen>, end: &Receiver<()>) {
    let mut pause = FIRST_DRAWING;
    while has_passed(end, pause) {
        let status = watch.look();
        locked(screen).draw(&status);
        pause = BETWEEN_DRAWINGS;
    }
}

/// A run that ends before the first line says nothing here: its beginning and its end are said anyway.
fn log<W: io::Write>(
    watch: &mut Watch,
    end: &Receiver<()>,
    pause: Duration,
    to: impl Fn() -> W + Send + Sync + 'static,
) {
    tracing::subscriber::with_default(line::writer(to), || {
        let mut has_written = false;
        while has_passed(end, pause) {
            line::write(&watch.look(), false);
            has_written = true;
        }
        if has_written {
            line::write(&watch.look(), true);
        }
    });
}
