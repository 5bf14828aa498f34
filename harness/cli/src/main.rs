//! `meshbed`: builds meshes of clusters, runs scenarios on them and says what happened.
//!
//! This crate only wires: flags to options, events to lines, verdicts to exit codes.

mod args;
mod bisection;
mod board;
mod command;
mod exit;
mod interrupt;
mod logging;
mod printer;

use clap::Parser;

use crate::{args::Cli, exit::Exit};

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    logging::init(&cli.global);
    let exit = command::dispatch(cli).unwrap_or_else(|error| {
        printer::error(&error);
        Exit::of(&error)
    });
    exit.into()
}
