//! What stands above the runs of a job: a process that starts another one for each attempt, follows it, and decides
//! what comes after its end.
//!
//! The supervisor holds no data. It shares nothing with its worker but a socket in a folder of the job, over which the worker says how it is and others may ask; so whatever happens to the worker, somebody is
//! left who knows why.
//!
//! - [`restart`]: whether a job that failed is started again, and after how long.
//! - [`protocol`]: the lines on the socket.
//! - [`attempts`]: what to do on which event; no process and no socket in reach.
//! - [`control`]: the socket; [`ask`](control::ask) for those who ask.
//! - [`reporter`]: the worker's end of it.
//! - [`mod@supervise`]: the process that does what the attempts say.

pub mod restart;
pub mod protocol;
pub mod attempts;
pub mod control;
pub mod reporter;
mod supervise;

pub use supervise::{Setup, SuperviseError, supervise};
