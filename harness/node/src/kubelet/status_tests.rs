//! Statuses and patches, from records of containers.

use test_case::test_case;

use super::*;

fn pod(policy: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": "rebel-base-1", "uid": "u-1"},
        "spec": {"containers": [{"name": "web", "image": "nginx"}], "restartPolicy": policy},
        "status": {"conditions": [{"type": "example.com/gate", "status": "True"}]},
    }))
    .expect("a pod")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn running(ready: bool) -> ContainerRecord {
    let state = State::Running { pid: 7, start_ticks: 9, since: at(0), started: true };
    ContainerRecord { state, ready, ..ContainerRecord::new("web", "nginx") }
}

fn ended(exit: Exit) -> ContainerRecord {
    let state = State::Terminated(Termination { exit, since: at(0), at: at(5) });
    ContainerRecord { state, ..ContainerRecord::new("web", "nginx") }
}

fn observed(containers: &[ContainerRecord], now: i64) -> Observed<'_> {
    Observed {
        containers,
        pod_ip: Some(Ipv4Addr::new(10, 1, 1, 2)),
        node_ip: Ipv4Addr::new(172, 18, 1, 11),
        accepted: at(0),
        now: at(now),
    }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> (&'a str, Timestamp) {
    let conditions = status.conditions.as_ref().expect("conditions");
    let condition = conditions.iter().find(|condition| condition.type_ == kind).expect("it is there");
    (&condition.status, condition.last_transition_time.as_ref().expect("a time").0)
}

#[test]
fn conditions_keep_their_time_until_they_change() {
    let first = status(&pod("Always"), None, observed(&[running(false)], 1));
    let second = status(&pod("Always"), Some(&first), observed(&[running(true)], 2));
    let third = status(&pod("Always"), Some(&second), observed(&[running(true)], 3));
    assert_eq!(condition(&first, "Ready"), ("False", at(1)));
    assert_eq!(condition(&second, "Ready"), ("True", at(2)));
    assert_eq!(condition(&third, "Initialized"), ("True", at(1)));
    assert_eq!(second, third, "nothing changed, so there is nothing to patch");
}

#[test]
fn a_killed_container_is_told_as_such() {
    let killed = status(&pod("Always"), None, observed(&[ended(Exit::Signal(9))], 6));
    assert_eq!(killed.phase.as_deref(), Some("Running"), "it will be started again");
    assert_eq!(condition(&killed, "ContainersReady").0, "False");
    let patch = patch("u-1", &killed);
    assert_eq!(patch["metadata"]["uid"], "u-1");
    assert_eq!(
        patch["status"]["containerStatuses"][0]["state"],
        json!({"terminated": {
            "exitCode": 137, "signal": 9, "reason": "Error",
            "startedAt": "2023-11-14T22:13:20Z", "finishedAt": "2023-11-14T22:13:25Z",
        }})
    );
}

#[test]
fn others_conditions_stay() {
    let made = status(&pod("Always"), None, observed(&[running(true)], 1));
    let kinds: Vec<_> = made.conditions.iter().flatten().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, ["PodScheduled", "Initialized", "ContainersReady", "Ready", "example.com/gate"]);
}

#[test]
fn a_released_address_is_removed_from_the_api() {
    let mut before = observed(&[], 1);
    before.pod_ip = None;
    let patch = patch("u-1", &status(&pod("Always"), None, before));
    assert_eq!(patch["status"]["podIP"], Value::Null);
    assert!(patch["status"].as_object().expect("an object").contains_key("podIPs"));
}

#[test_case(&[ContainerRecord::new("web", "nginx")], RestartPolicy::Always => "Pending"; "not started")]
#[test_case(&[running(false)], RestartPolicy::Always => "Running"; "started")]
#[test_case(&[running(true), ContainerRecord::new("b", "b")], RestartPolicy::Always => "Pending"; "one is missing")]
#[test_case(&[ended(Exit::Code(0))], RestartPolicy::Always => "Running"; "always again")]
#[test_case(&[ended(Exit::Code(0))], RestartPolicy::OnFailure => "Succeeded"; "done")]
#[test_case(&[ended(Exit::Code(1))], RestartPolicy::OnFailure => "Running"; "once more")]
#[test_case(&[ended(Exit::Code(1))], RestartPolicy::Never => "Failed"; "failed")]
#[test_case(&[ended(Exit::Code(0)), running(true)], RestartPolicy::Never => "Running"; "one still runs")]
fn phases(containers: &[ContainerRecord], policy: RestartPolicy) -> &'static str {
    phase(containers, policy)
}

fn restored(status: &ContainerStatus, process: Option<(i32, u64)>) -> ContainerRecord {
    let container = Container { name: "web".into(), image: Some("nginx".into()), ..Container::default() };
    ContainerRecord::restored(&container, Some(status), process, at(9))
}

#[test_case(running(true), Some((7, 9)) => running(true); "still running")]
#[test_case(ended(Exit::Signal(9)), None => ended(Exit::Signal(9)); "ended by a signal")]
#[test_case(ended(Exit::Code(3)), None => ended(Exit::Code(3)); "ended with a code")]
#[test_case(ended(Exit::Unknown), None => ended(Exit::Unknown); "ended unseen")]
#[test_case(ContainerRecord::new("web", "nginx"), None => ContainerRecord::new("web", "nginx"); "never started")]
#[test_case(running(true), None => matches ContainerRecord {
    ready: false, state: State::Terminated(Termination { exit: Exit::Unknown, .. }), .. }; "its end was missed")]
fn a_later_kubelet_takes_over(record: ContainerRecord, process: Option<(i32, u64)>) -> ContainerRecord {
    restored(&record.status("u-1"), process)
}

#[test]
fn how_it_ended_before_and_how_often_is_remembered() {
    let State::Terminated(last) = ended(Exit::Signal(9)).state else { unreachable!("it has ended") };
    let record = ContainerRecord { last: Some(last), restarts: 3, ..running(false) };
    assert_eq!(restored(&record.status("u-1"), Some((7, 9))), record);
}

#[test]
fn an_unseen_end_is_told_as_containerd_does() {
    let terminated = ended(Exit::Unknown).status("u-1").state.expect("a state").terminated.expect("it ended");
    assert_eq!((terminated.exit_code, terminated.reason.as_deref()), (255, Some("Unknown")));
}

#[test]
fn what_others_changed_is_noticed() {
    let own = status(&pod("Always"), None, observed(&[running(true)], 1));
    assert!(agrees(Some(&own), &own));
    assert!(!agrees(None, &own));
    let mut unready = own.clone();
    for condition in unready.conditions.iter_mut().flatten().filter(|condition| condition.type_ == "Ready") {
        condition.status = "False".into();
    }
    assert!(!agrees(Some(&unready), &own), "the node controller did this");
    let mut rounded = own.clone();
    for condition in rounded.conditions.iter_mut().flatten() {
        condition.last_transition_time = None;
    }
    assert!(agrees(Some(&rounded), &own));
}
