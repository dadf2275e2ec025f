//! The `quiver` program: reads arguments, runs a command, turns an error into a message and an exit code.

mod allocator;
mod cli;
mod config;
mod demo;
mod http;
mod server;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quiver: {error}");
            if let Some(detail) = error.detail() {
                eprintln!("detail: {detail}");
            }
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
