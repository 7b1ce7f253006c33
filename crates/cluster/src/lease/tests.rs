use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use rstest::rstest;
use tokio::time::Instant;

use super::judge::{Observation, Verdict, judge};

fn held_by(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    }
}

#[rstest]
#[case::own_lease_is_renewed("me", 0, Verdict::Renew)]
#[case::own_lease_is_renewed_however_old("me", 60, Verdict::Renew)]
#[case::foreign_lease_is_respected("you", 14, Verdict::Wait)]
#[case::foreign_lease_runs_out("you", 15, Verdict::Take { transitions: 4 })]
#[case::released_lease_is_taken_at_once("", 0, Verdict::Take { transitions: 4 })]
#[tokio::test(start_paused = true)]
async fn r102_judges_a_lease_by_the_time_since_it_changed(
    #[case] holder: &str,
    #[case] seconds: u64,
    #[case] expected: Verdict,
) {
    let spec = held_by(holder);
    let mut seen = Observation::default();
    let first_look = Instant::now();
    seen.note(Some(&spec), first_look);

    let verdict = judge(
        Some(&spec),
        &mut seen,
        "me",
        first_look + Duration::from_secs(seconds),
    );

    assert_eq!(verdict, expected);
}

#[tokio::test(start_paused = true)]
async fn r102_a_renewed_foreign_lease_starts_anew() {
    let mut spec = held_by("you");
    let mut seen = Observation::default();
    let first_look = Instant::now();
    seen.note(Some(&spec), first_look);

    spec.lease_transitions = Some(4);
    let later = first_look + Duration::from_secs(20);

    assert_eq!(judge(Some(&spec), &mut seen, "me", later), Verdict::Wait);
    assert_eq!(
        judge(
            Some(&spec),
            &mut seen,
            "me",
            later + Duration::from_secs(15)
        ),
        Verdict::Take { transitions: 5 }
    );
}
