//! No code. Its dependencies name the features that the whole workspace needs of each crate, so that building one crate
//! (`cargo test -p quiver-storage`) and building all of them use the same compiled dependencies: without it, every `-p`
//! has features of its own and compiles arrow, and all that is built on it, once more.
