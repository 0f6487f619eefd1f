//! What stands above the runs of a job: whether one that failed is followed by another.

pub mod restart;
