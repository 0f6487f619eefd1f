//! Checkpoints: what they are made of, when one is taken, and how a run begins from one.
//!
//! `docs/checkpoint-format.md` of the repository describes every byte.
