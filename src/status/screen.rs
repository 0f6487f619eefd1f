//! The block on the terminal: drawn over itself, gone without a trace, and out of the way of all else that
//! is said.
//!
//! Between two drawings the cursor stands at the beginning of the line below the block. So whatever others
//! write meanwhile, such as the `^C` of the terminal itself, stands below the block, and goes with it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use signal_hook::consts::SIGCONT;

use crate::status::Status;
use crate::status::text::lines;

/// Where the block is.
pub(super) struct Screen {
    term: Term,
    /// Characters of the lines that are on the screen; none if the block is not there.
    drawn: Vec<usize>,
    /// Set when the process goes on after it was stopped: what is on the screen is somebody else's by then.
    resumed: Arc<AtomicBool>,
    /// Nothing is to be drawn any more.
    closed: bool,
}

impl Screen {
    /// The terminal at stderr, with nothing drawn.
    pub(super) fn new() -> Self {
        let resumed = Arc::default();
        // Without the handler a block may be drawn over what a shell has written, which is no harm to the run.
        drop(signal_hook::flag::register(SIGCONT, Arc::clone(&resumed)));
        Screen {
            term: Term::stderr(),
            drawn: Vec::new(),
            resumed,
            closed: false,
        }
    }

    /// Draws the block, in place of the last one.
    pub(super) fn draw(&mut self, status: &Status) {
        if self.closed {
            return;
        }
        let was_stopped = self.resumed.swap(false, Ordering::SeqCst);
        let is_in_front = is_in_front();
        if was_stopped || !is_in_front {
            // What is on the terminal is not the last drawing any more.
            self.drawn.clear();
        }
        if !is_in_front {
            return;
        }
        let (rows, columns) = self.term.size();
        // Never the last column, behind which some terminals wrap at once.
        let mut lines = lines(status, usize::from(columns.saturating_sub(1)));
        // One row is the cursor's.
        lines.truncate(usize::from(rows.saturating_sub(1)));
        self.replace(&lines);
    }

    /// Says something for good: above the block, if there is one.
    pub(super) fn say(&mut self, text: &str) {
        self.erase();
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// Takes the block away.
    pub(super) fn erase(&mut self) {
        if !self.drawn.is_empty() && is_in_front() {
            self.replace(&[]);
        }
    }

    /// Takes the block away, for ever.
    pub(super) fn close(&mut self) {
        self.erase();
        self.closed = true;
    }

    /// Writes one drawing at once. A terminal that refuses one gets no other.
    fn replace(&mut self, lines: &[String]) {
        let (_, columns) = self.term.size();
        let mut frame = "\r".to_owned();
        let up = height(&self.drawn, columns.into());
        if up > 0 {
            frame.push_str(&format!("\x1b[{up}A"));
        }
        frame.push_str("\x1b[J");
        self.drawn.clear();
        for line in lines {
            frame.push_str(line);
            frame.push('\n');
            self.drawn.push(line.chars().count());
        }
        if io::stderr().lock().write_all(frame.as_bytes()).is_err() {
            self.closed = true;
        }
    }
}

/// Rows that lines of these lengths take on a terminal that has become `columns` wide: those that are longer
/// now go over several rows.
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
