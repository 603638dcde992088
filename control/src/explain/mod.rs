//! Why does a packet go where it goes? `shunt explain` shows a frame to a shadow of the dataplane (the director itself, on a
//! copy of what it decides by) and tells what it did, step by step, and why not otherwise.
//!
//! [`command`] is the command line, which reads what an operator has (`tuple`, `hex`, `capture`); [`question`] is what
//! the daemon is asked; [`trial`] tries it there; `remedy` knows what to do about a drop; `words` is the answer
//! for a person.
//!
//! *Invariants*: a question changes nothing, in the dataplane or in the XDP program: no counter, no flow, nobody's turn.
//! Frames of one question are a sequence: what the first does, the second meets.

mod capture;
pub mod command;
mod hex;
pub mod question;
mod remedy;
pub mod trial;
pub(crate) mod tuple;
mod words;
