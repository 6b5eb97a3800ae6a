//! The only place that names sled: the journal, which is the truth, and the index derived from it.

pub mod journal;
