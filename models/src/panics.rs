//! Keeps a panic of the runtime inside the call that made it: one error, no noise.
//!
//! The runtime panics on some models and rows. Such a panic is an answer, which a caller gets as an error
//! and may get once per row; the process's panic message on stderr would be the same text over and over.
//! So while a thread is inside [`contain`], its panics go to the caller only. All others are reported as
//! before.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// Where a thread's panic message goes.
enum Listener {
    /// To the hook that was there before.
    Process,
    /// To the caller of [`contain`], who waits for it.
    Caller(String),
}

thread_local! {
    static LISTENER: RefCell<Listener> = const { RefCell::new(Listener::Process) };
}

static INSTALL: Once = Once::new();

/// Runs `call`; if it panics, gives the panic's message. What the call was changing must not be trusted
/// after that.
pub(crate) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    INSTALL.call_once(install);
    let before = LISTENER.replace(Listener::Caller(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    let heard = LISTENER.replace(before);
    result.map_err(|_| match heard {
        Listener::Caller(message) => message,
        Listener::Process => String::new(),
    })
}

fn install() {
    let process = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !hear(panic) {
            process(panic);
        }
    }));
}

/// Keeps the message for a caller that waits for it; false if none does.
fn hear(panic: &PanicHookInfo<'_>) -> bool {
    LISTENER.with_borrow_mut(|listener| match listener {
        Listener::Process => false,
        Listener::Caller(message) => {
            *message = panic.payload_as_str().unwrap_or("no message").to_owned();
            true
        }
    })
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use crate::panics::contain;

    #[test]
    fn a_panic_is_an_answer_with_its_message() {
        assert_eq!(contain(|| 7), Ok(7));
        let answer = contain(|| -> u8 { panic!("index {} is out of range", 3) });
        assert_eq!(answer, Err("index 3 is out of range".to_owned()));
        assert_eq!(contain(|| 8), Ok(8));
    }
}
