//! An interpreter in this process.
