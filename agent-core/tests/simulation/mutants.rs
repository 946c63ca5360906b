use crate::faults::{Case, Family};
use crate::shrink;
use crate::world::World;

/// A mistake of a driver or of a host that the simulation has to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The core is told of advertisements that could not be sent.
    LeaseWithoutAdvert,
    /// A result comes back with the ticket of the step before.
    ForeignTicket,
    /// The deadlines fire before the advertisements that wait are handed in.
    ClockBeforeRing,
    /// The gate opens and never closes again.
    GateStaysOpen,
    /// The gate does not look at the lease.
    GateWithoutLease,
    /// Every advertisement is taken to have the host's own interval.
    IntervalNotLearned,
    /// Advertisements of those that go after this host are dropped.
    RivalsUnheard,
    /// The core is told the moment when it should have woken up.
    LateWakeHidden,
    /// What others do to the addresses is not told.
    AddressNewsDropped,
    /// The core learns of a change of addresses after the end of the step that made it.
    AddressNewsLate,
}

/// Runs seeds until one fails as expected.
fn catch(mutant: Mutant, families: &[Family], expected: &[&str]) {
    for seed in 0..1500 {
        for &family in families {
            let case = Case::of_seed(seed, family);
            if let Err(violation) = World::new(&case, Some(mutant)).run() {
                println!("{mutant:?}: seed {seed} {family:?}: {violation}");
                if expected.contains(&violation.kind) {
                    return;
                }
            }
        }
    }
    panic!("the simulation does not notice {mutant:?}");
}

const ALL: [Family; 4] = [Family::Calm, Family::Hostile, Family::Sleepy, Family::Single];

#[test]
fn the_simulation_catches_a_lease_that_is_renewed_without_an_advertisement() {
    catch(Mutant::LeaseWithoutAdvert, &ALL, &["two serve"]);
}

#[test]
fn the_simulation_catches_results_with_the_ticket_of_another_step() {
    catch(Mutant::ForeignTicket, &ALL, &["nobody serves", "stuck"]);
}

#[test]
fn the_simulation_catches_deadlines_that_fire_before_waiting_advertisements() {
    catch(Mutant::ClockBeforeRing, &ALL, &["false takeover", "two serve"]);
}

#[test]
fn the_simulation_catches_a_gate_that_never_closes() {
    catch(Mutant::GateStaysOpen, &ALL, &["serves read-only", "two serve"]);
}

#[test]
fn the_simulation_catches_a_gate_that_does_not_look_at_the_lease() {
    catch(Mutant::GateWithoutLease, &ALL, &["two serve"]);
}

#[test]
fn the_simulation_catches_an_interval_that_is_not_learned() {
    catch(Mutant::IntervalNotLearned, &ALL, &["false takeover", "two serve"]);
}

#[test]
fn the_simulation_catches_a_host_that_does_not_wait_for_the_lease_of_a_rival() {
    catch(Mutant::RivalsUnheard, &ALL, &["false takeover", "two serve"]);
}

#[test]
fn the_simulation_catches_an_agent_that_does_not_notice_that_it_slept() {
    catch(Mutant::LateWakeHidden, &[Family::Sleepy], &["two serve", "serves after its lease"]);
}

#[test]
fn the_simulation_catches_news_of_addresses_that_are_dropped() {
    catch(Mutant::AddressNewsDropped, &ALL, &["nobody serves", "stray address"]);
}

#[test]
fn the_simulation_catches_news_of_addresses_that_come_after_the_step_that_made_them() {
    catch(Mutant::AddressNewsLate, &ALL, &["blames others"]);
}

#[test]
fn a_story_shrinks_to_a_few_faults_and_can_be_told_again() {
    let mutant = Mutant::GateWithoutLease;
    let failing = (0..1000).map(|seed| Case::of_seed(seed, Family::Calm));
    let mut failing = failing.filter(|case| case.plan.strikes.len() >= 4 && case.configuration.hosts > 2);
    let case = failing.find(|case| World::new(case, Some(mutant)).run().is_err_and(|found| found.kind == "two serve"));
    let shrunk = shrink::shrink(&case.expect("a mutant that is noticed"), Some(mutant));
    assert!(shrunk.plan.strikes.len() <= 3, "{:?}", shrunk.plan.strikes);
    assert!((2..=3).contains(&shrunk.configuration.hosts), "{:?}", shrunk.configuration);
    assert_eq!(shrunk.configuration.routers, 1);
    let read = serde_json::from_str(&shrink::text(&shrunk)).expect("the text of a case");
    assert_eq!(shrunk, read);
    assert_eq!(World::new(&read, Some(mutant)).run().expect_err("the same violation").kind, "two serve");
}
