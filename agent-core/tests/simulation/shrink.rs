//! From a run that fails to the shortest story that fails the same way.

use crate::faults::{Case, Fault, Plan};
use crate::mutants::Mutant;
use crate::world::World;

/// More runs than this are not worth it.
const RUNS: usize = 3000;

/// The simplest case found that violates the same invariant; the case itself if it violates none.
pub(crate) fn shrink(case: &Case, mutant: Option<Mutant>) -> Case {
    let Err(violation) = World::new(case, mutant).run() else { return case.clone() };
    let fails = |case: &Case| World::new(case, mutant).run().is_err_and(|found| found.kind == violation.kind);
    let mut best = case.clone();
    let mut runs = 0;
    loop {
        let next = simpler(&best).into_iter().find(|case| {
            runs += 1;
            runs <= RUNS && fails(case)
        });
        match next {
            Some(simpler) => best = simpler,
            None => break,
        }
    }
    best
}

/// The case in one line, which `CASE='..'` runs again.
pub(crate) fn text(case: &Case) -> String {
    serde_json::to_string(case).expect("numbers, names and lists")
}

/// Cases that are a little simpler, the simplest first.
fn simpler(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let count = case.plan.strikes.len();
    let with_plan = |plan: Plan| Case { plan, ..case.clone() };
    for length in [count / 2, count / 4, 1] {
        for start in (0..count).step_by(length.max(1)).filter(|_| length > 0) {
            let mut plan = case.plan.clone();
            plan.strikes.drain(start..(start + length).min(count));
            all.push(with_plan(plan));
        }
    }
    all.extend((0..case.configuration.hosts).filter_map(|host| without_host(case, host)));
    all.extend(case.configuration.simpler().into_iter().map(|configuration| {
        let mut plan = case.plan.clone();
        plan.strikes.retain(|strike| strike.fault.is_possible(&configuration));
        Case { configuration, plan, ..case.clone() }
    }));
    let mut calmer = |change: &dyn Fn(&mut Plan)| {
        let mut plan = case.plan.clone();
        change(&mut plan);
        if plan != case.plan {
            all.push(with_plan(plan));
        }
    };
    calmer(&|plan| plan.loss = 0);
    calmer(&|plan| plan.duplication = 0);
    calmer(&|plan| plan.longest_delay = 100);
    for index in 0..count {
        calmer(&|plan| plan.strikes[index].lasts = plan.strikes[index].lasts / 2 / 1000 * 1000);
        calmer(&|plan| plan.strikes[index].lasts = plan.strikes[index].lasts / 100_000 * 100_000);
        calmer(&|plan| plan.strikes[index].at = plan.strikes[index].at / 100_000 * 100_000);
    }
    all
}

/// The case without a host; `None` if only two are left.
fn without_host(case: &Case, gone: usize) -> Option<Case> {
    let mut without = case.clone();
    let configuration = &mut without.configuration;
    if configuration.hosts == 2 {
        return None;
    }
    configuration.hosts -= 1;
    configuration.intervals.remove(gone);
    configuration.priorities.remove(gone);
    let renumbered = |host: usize| if host > gone { host - 1 } else { host };
    without.plan.strikes.retain(|strike| strike.host != gone && strike.fault != Fault::Cut { to: gone });
    for strike in &mut without.plan.strikes {
        strike.host = renumbered(strike.host);
        if let Fault::Cut { to } = &mut strike.fault {
            *to = renumbered(*to);
        }
    }
    Some(without)
}
