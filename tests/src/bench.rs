//! Measurements: the same fault again and again, the client's gap and the phases of each takeover.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::pair::{Failover, Fault, Pair, Setting};

/// Lets each fault happen `rounds` times, now to one host and now to the other, and prints a table.
pub fn run(faults: &[Fault], rounds: usize, setting: &Setting, json: bool) -> Result<()> {
    let mut pair = Pair::start("bench", setting)?;
    let measured = measure(&mut pair, faults, rounds, json);
    if measured.is_err() {
        pair.run.keep_logs();
    }
    measured
}

fn measure(pair: &mut Pair, faults: &[Fault], rounds: usize, json: bool) -> Result<()> {
    pair.start_writer()?;
    let mut all = Vec::new();
    for &fault in faults {
        let mut failovers = Vec::new();
        for _ in 0..rounds {
            let active = pair.wait_settled(Duration::from_secs(30))?;
            std::thread::sleep(Duration::from_millis(500));
            failovers.push(pair.fail_over(fault)?);
            std::thread::sleep(Duration::from_millis(300));
            pair.repair(fault, active)?;
        }
        if !json {
            print(fault, &failovers);
        }
        all.extend(failovers);
    }
    pair.wait_settled(Duration::from_secs(30))?;
    let verdict = pair.verify_rows()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({"failovers": all, "rows": verdict}))?);
    } else {
        println!("{} acknowledged writes, each exactly once on both servers", verdict.acknowledged);
    }
    Ok(())
}

fn print(fault: Fault, failovers: &[Failover]) {
    let title = format!("{}, {} rounds", fault.as_str(), failovers.len());
    println!("{title:<50} {:>8} {:>8} {:>8}", "min", "median", "max");
    let gaps = failovers.iter().map(|failover| failover.gap_ms).collect();
    println!("  {:<48} {}", "gap between acknowledged writes, ms", spread(gaps));
    for (name, of) in [
        ("fault to announcement on the wire, ms", (|failover| failover.announced_ms) as fn(&Failover) -> Option<f64>),
        ("priority 0 to announcement on the wire, ms", |failover| failover.handed_over_ms),
    ] {
        let lengths: Vec<f64> = failovers.iter().filter_map(of).collect();
        if !lengths.is_empty() {
            println!("  {name:<48} {}", spread(lengths));
        }
    }
    let holders = failovers.iter().map(|failover| failover.two_holders_ms).collect();
    println!("  {:<48} {}", "two hosts with the address, ms", spread(holders));
    let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, length) in failovers.iter().flat_map(|failover| &failover.takeover.phases_ms) {
        phases.entry(name).or_default().push(*length);
    }
    for (name, lengths) in phases {
        println!("  {:<48} {}", format!("takeover: {name}, ms"), spread(lengths));
    }
}

/// Minimum, median and maximum.
pub(crate) fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    format!("{:8.1} {:8.1} {:8.1}", at(0), at(last / 2), at(last))
}
