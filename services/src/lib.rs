//! Real services that chores and tests start on this machine, so that the engine meets the programs which it will meet
//! elsewhere and not only what plays them. Nothing of the engine is known here, and nothing of this is in the engine.
//!
//! - [`cache`]: where the services' programs are kept, and the tools of the chores.

pub mod cache;
