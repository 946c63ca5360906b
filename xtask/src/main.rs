//! The project's own commands: `cargo xtask COMMAND`.
#![forbid(unsafe_code)]

mod build;
mod build_ebpf;
mod ci;
mod command;
mod compiler;
mod demo;
mod fuzz;
mod lab;
mod ledger;
mod measure;
mod package;
mod setup;
mod simulate;
mod test;
mod workspace;

use clap::{Parser, Subcommand};

/// Builds, tests and shows vipd.
///
/// Start with `cargo xtask demo` (as root): it installs what is missing, builds the agent with its BPF program and
/// shows one failover between two database servers in network namespaces.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Setup(setup::Setup),
    BuildEbpf(build_ebpf::BuildEbpf),
    Build(build::Build),
    Test(test::Test),
    Ci(ci::Ci),
    Demo(demo::Demo),
    Lab(lab::Lab),
    Fuzz(fuzz::Fuzz),
    Simulate(simulate::Simulate),
    Bench(measure::Bench),
    Soak(measure::Soak),
    Package(package::Package),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Setup(task) => task.run(),
        Task::BuildEbpf(task) => task.run(),
        Task::Build(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Ci(task) => task.run(),
        Task::Demo(task) => task.run(),
        Task::Lab(task) => task.run(),
        Task::Fuzz(task) => task.run(),
        Task::Simulate(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Soak(task) => task.run(),
        Task::Package(task) => task.run(),
    }
}
