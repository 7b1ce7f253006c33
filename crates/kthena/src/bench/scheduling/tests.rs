use clap::Parser;
use rstest::rstest;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: Scheduling,
}

fn planned(flags: &[&str]) -> Result<Plan> {
    let all = ["bench", "--out", "results"].iter().chain(flags);
    plan(&Program::try_parse_from(all)?.args)
}

#[test]
fn the_published_experiment_is_run_unless_something_else_is_asked_for() {
    let plan = planned(&["--virtual-time"]).unwrap();
    assert_eq!(plan.tasks.len(), 2 * 7 * 3);
    let names: Vec<_> = plan.workloads.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["long", "long", "long", "short", "short", "short"]);
    assert!(plan.workloads.iter().all(|one| one.requests() == 256 * 32));
    assert_eq!(plan.tasks[0].fleet.knowledge, Knowledge::Published);
}

#[test]
fn by_the_wall_clock_it_is_smaller_and_the_router_is_the_real_one() {
    let plan = planned(&[]).unwrap();
    assert_eq!(plan.tasks.len(), 2 * 7);
    assert!(plan.workloads.iter().all(|one| one.requests() == 96));
    assert_eq!(plan.tasks[0].fleet.knowledge, Knowledge::Today);
}

#[rstest]
#[case::workload(&["--workload", "nothing"], "long, short, chats")]
#[case::policy(&["--policy", "nothing"], "least-request+kvcache-aware, ")]
#[case::card(&["--gpu", "abacus"], "abacus")]
#[case::routers_by_the_wall_clock(&["--routers", "3"], "--virtual-time")]
#[case::queue_by_the_wall_clock(&["--workload", "fairness"], "--virtual-time")]
fn unknown_names_are_refused_with_what_is_known(#[case] flags: &[&str], #[case] told: &str) {
    let refused = format!("{:#}", planned(flags).err().unwrap());
    assert!(refused.contains(told), "{refused}");
}
