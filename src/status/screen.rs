//! The block on the terminal: drawn over itself, gone without a trace, and out of the way of all else that
//! is said.
//!
//! Between two drawings the cursor stands at the beginning of the line below the block. So whatever others
//! write meanwhile, such as the `^C` of the terminal itself, stands below the block, and goes with it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use signal_hook::consts::SIGCONT;
use signal_hook::flag;

use crate::status::Status;
use crate::status::text::lines;

/// Where the block is.
pub(super) struct Screen {
    term: Term,
    /// Characters of the lines that are on the screen; none if the block is not there.
    drawn: Vec<usize>,
    /// Nothing is to be drawn any more.
    closed: bool,
    /// The process had been stopped and goes on: what is on the terminal is not the last drawing any more.
    resumed: Arc<AtomicBool>,
}

impl Screen {
    /// The terminal at stderr, with nothing drawn.
    pub(super) fn new() -> Self {
        let resumed = Arc::new(AtomicBool::new(false));
        // Without it, a job that was stopped draws over a few lines of the shell, and no worse.
        drop(flag::register(SIGCONT, Arc::clone(&resumed)));
        Screen {
            term: Term::stderr(),
            drawn: Vec::new(),
            closed: false,
            resumed,
        }
    }

    /// Draws the block, in place of the last one, unless the terminal is another job's; gives whether it is
    /// ours.
    pub(super) fn draw(&mut self, status: &Status) -> bool {
        if !is_in_front() {
            self.drawn.clear();
            return false;
        }
        let (rows, columns) = self.term.size();
        // Never the last column, behind which some terminals wrap at once.
        let mut lines = lines(status, usize::from(columns.saturating_sub(1)));
        // One row is the cursor's.
        lines.truncate(usize::from(rows.saturating_sub(1)));
        self.replace(&lines);
        true
    }

    /// Takes the block away, for ever.
    pub(super) fn close(&mut self) {
        self.erase();
        self.closed = true;
    }

    /// Takes the block away until it is drawn again.
    pub(super) fn erase(&mut self) {
        if !self.drawn.is_empty() && is_in_front() {
            self.replace(&[]);
        }
    }

    /// Puts lines where the block is, in one write. A terminal that has gone away is no reason to fail, but
    /// one to draw nothing more.
    fn replace(&mut self, lines: &[String]) {
        if self.closed {
            return;
        }
        if self.resumed.swap(false, Ordering::Relaxed) {
            self.drawn.clear();
        }
        let (_, columns) = self.term.size();
        let up = height(&mem::take(&mut self.drawn), columns.into());
        let mut frame = String::from("\r");
        if up > 0 {
            // A text takes all that is written to it.
            let _ = write!(frame, "\x1b[{up}A");
        }
        frame.push_str("\x1b[J");
        for line in lines {
            frame.push_str(line);
            frame.push('\n');
            self.drawn.push(line.chars().count());
        }
        self.closed = io::stderr().lock().write_all(frame.as_bytes()).is_err();
    }
}

/// Rows that lines of these lengths take on a terminal that has become `columns` wide: those that are longer
/// now go over several rows. Not every terminal does that to what is there already; most do.
fn height(lines: &[usize], columns: usize) -> usize {
    let rows = lines
        .iter()
        .map(|&chars| chars.div_ceil(columns.max(1)).max(1));
    rows.sum()
}

/// Whether this process is the one that its terminal belongs to, and not one that runs in the background.
fn is_in_front() -> bool {
    // Where nobody says whose it is, nobody else is there.
    tcgetpgrp(io::stderr()).map_or(true, |group| group == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::height;

    #[test]
    fn how_many_rows_are_lines_that_no_longer_fit() {
        let check = |lines: &[usize], columns: usize, expected: usize| {
            assert_eq!(height(lines, columns), expected, "{lines:?} {columns}");
        };
        check(&[], 80, 0);
        check(&[79, 0, 12], 80, 3);
        check(&[79, 0, 12], 40, 4);
        check(&[79, 40, 41], 40, 5);
        check(&[3], 0, 3);
    }
}
