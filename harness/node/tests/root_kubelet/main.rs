//! The kubelet with real namespaces and processes, against the embedded Kubernetes API.

mod testbed;

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use meshbed_node::{
    PodState,
    exec::command_in_pod,
    http::{Afterwards, Get, Response},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream, process::Command};

use testbed::{condition_of, is_ready, on_node, until, web};

async fn get(ip: &str) -> Response {
    let mut stream = TcpStream::connect((ip, 80)).await.expect("it listens");
    Get { host: "rebel-base", path: "/", headers: &[], afterwards: Afterwards::Close }
        .send(&mut stream)
        .await
        .expect("it answers")
}

async fn page(ip: &str) -> String {
    use tokio::io::AsyncWriteExt;
    let mut stream = TcpStream::connect((ip, 80)).await.expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

fn ip_of(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.pod_ip.clone()).expect("a pod IP")
}

async fn output_in(state: &meshbed_node::PodState, program: &str, arguments: &[&str]) -> String {
    let mut command = command_in_pod(state, Path::new(program));
    command.args(arguments);
    let output = Command::from(command).output().await.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn root_a_pod_comes_answers_and_leaves_nothing() {
    on_node("web", async |testbed| {
        let service = json!({"metadata": {"name": "rebel-base"}, "spec": {"ports": [{"port": 80}]}});
        let service: Service = serde_json::from_value(service).expect("a service");
        let services: Api<Service> = Api::namespaced(testbed.client.clone(), "default");
        let service = services.create(&PostParams::default(), &service).await.expect("the API takes it");
        let config_maps: Api<ConfigMap> = Api::namespaced(testbed.client.clone(), "default");
        let config_map = |text: &str| -> ConfigMap {
            let value = json!({"metadata": {"name": "page"}, "data": {"message": text}});
            serde_json::from_value(value).expect("a config map")
        };
        let mut spec = web();
        spec["volumes"] = json!([{"name": "html", "configMap": {"name": "page", "items": [{"key": "message", "path": "index.html"}]}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "html", "mountPath": "/usr/share/nginx/html/"}]);
        let begin = Instant::now();
        testbed.create("rebel-base-1", spec).await;
        // Comes after the pod that needs it.
        config_maps.create(&PostParams::default(), &config_map("first")).await.expect("the API takes it");
        let pod = testbed.wait_ready("rebel-base-1").await;
        tracing::info!("ready after {:?}, with the node's registration", begin.elapsed());

        let ip = ip_of(&pod);
        let response = get(&ip).await;
        let header = |name| response.header(name).expect("the header").to_owned();
        assert_eq!(header("x-meshbed-cluster"), "alpha");
        assert_eq!(header("x-meshbed-pod"), "rebel-base-1");
        assert_eq!(header("x-meshbed-pod-ip"), ip);
        assert!(page(&ip).await.ends_with("first"));
        config_maps.replace("page", &PostParams::default(), &config_map("second")).await.expect("the API takes it");
        until("the page", async || page(&ip).await, |page| page.ends_with("second")).await;

        let state = testbed.state("rebel-base-1");
        assert_eq!((state.ip.to_string(), state.phase.as_str()), (ip, "Running"));
        assert_eq!(state.containers.len(), 1);
        let hosts = output_in(&state, "cat", &["/etc/hosts"]).await;
        let cluster_ip = service.spec.and_then(|spec| spec.cluster_ip).expect("a cluster IP");
        assert!(hosts.contains(&format!("{cluster_ip} rebel-base rebel-base.default ")), "{hosts}");
        assert!(!std::fs::read_to_string("/etc/hosts").expect("text").contains("rebel-base"), "only in pods");
        let cgroup = output_in(&state, "cat", &["/proc/self/cgroup"]).await;
        assert!(cgroup.contains(&state.uid), "{cgroup}");
        let links = output_in(&state, "cat", &["/proc/net/dev"]).await;
        assert!(links.contains("eth0") && !links.contains("lxc"), "{links}");

        testbed.delete("rebel-base-1").await;
        testbed.assert_clean().await;
        testbed
    });
}

#[test]
fn root_the_node_is_registered() {
    on_node("node", async |testbed| {
        let nodes: Api<Node> = Api::all(testbed.client.clone());
        let ready = |node: Option<&Node>| {
            let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        };
        let node = kube::runtime::wait::await_condition(nodes, "alpha-1", ready).await.expect("a watch");
        let node = node.expect("it is there");
        assert_eq!(node.metadata.labels.expect("labels")["kubernetes.io/os"], "linux");
        assert_eq!(node.spec.expect("a spec").pod_cidrs.expect("CIDRs"), ["10.1.1.0/24"]);
        testbed
    });
}

#[test]
fn root_a_killed_container_is_noticed_at_once_and_starts_again() {
    on_node("kill", async |testbed| {
        testbed.create("rebel-base-1", web()).await;
        testbed.wait_ready("rebel-base-1").await;
        let begin = Instant::now();
        let process = testbed.state("rebel-base-1").containers.remove(0);
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).expect("it is ours");
        let pod = testbed.wait("rebel-base-1", |pod: Option<&Pod>| !is_ready(pod)).await.expect("it is there");
        tracing::info!("not ready after {:?}", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_millis(500), "noticed by waiting, not by probing");
        let state =
            |pod: &Pod| pod.status.clone().and_then(|status| status.container_statuses).expect("statuses").remove(0);
        let terminated = state(&pod).state.and_then(|state| state.terminated).expect("it ended");
        assert_eq!((terminated.exit_code, terminated.signal), (137, Some(9)));
        assert_eq!(condition_of(Some(&pod), "ContainersReady").as_deref(), Some("False"));
        let pod = testbed.wait_ready("rebel-base-1").await;
        assert_eq!(state(&pod).restart_count, 1);
        assert_eq!(ip_of(&pod), testbed.state("rebel-base-1").ip.to_string(), "the pod keeps its address");
        assert_eq!(get(&ip_of(&pod)).await.status, 200);
        testbed.delete("rebel-base-1").await;
        testbed.assert_clean().await;
        testbed
    });
}

#[test]
fn root_dead_pods_take_no_grace_and_stubborn_ones_all_of_it() {
    on_node("grace", async |testbed| {
        let stubborn = |grace: u32| -> Value {
            let command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
            json!({"terminationGracePeriodSeconds": grace, "containers": [{"name": "a", "image": "any", "command": command}]})
        };
        testbed.create("dead", stubborn(30)).await;
        testbed.create("stubborn", stubborn(1)).await;
        testbed.wait_ready("dead").await;
        testbed.wait_ready("stubborn").await;
        let process = testbed.state("dead").containers.remove(0);
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).expect("it is ours");
        let begin = Instant::now();
        testbed.delete("dead").await;
        assert!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
        let begin = Instant::now();
        testbed.delete("stubborn").await;
        assert!((1.0..5.0).contains(&begin.elapsed().as_secs_f64()), "it took {:?}", begin.elapsed());

        testbed.create("forced", stubborn(30)).await;
        testbed.wait_ready("forced").await;
        let begin = Instant::now();
        testbed.pods().delete("forced", &DeleteParams::default()).await.expect("the API takes it");
        let now = DeleteParams::default().grace_period(0);
        testbed.pods().delete("forced", &now).await.expect("the API takes it");
        let no_pods = |links: &Vec<String>| !links.iter().any(|link| link.starts_with("lxc"));
        until("the node's links", async || testbed.links().await, no_pods).await;
        assert!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
        testbed
    });
}

#[test]
fn root_probes_of_all_kinds() {
    on_node("probes", async |testbed| {
        let curl = json!({"exec": {"command": ["curl", "-sS", "-o", "/dev/null", "localhost"]}});
        testbed
            .create(
                "x-wing",
                json!({"containers": [{
                    "name": "x-wing", "image": "quay.io/cilium/json-mock:v1.3.8",
                    "livenessProbe": curl, "readinessProbe": curl,
                }]}),
            )
            .await;
        testbed
            .create(
                "tcp",
                json!({"containers": [{
                    "name": "a", "image": "nginx", "ports": [{"name": "http", "containerPort": 80}],
                    "startupProbe": {"exec": {"command": ["true"]}},
                    "readinessProbe": {"tcpSocket": {"port": "http"}},
                }]}),
            )
            .await;
        let unhealthy = json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1});
        let pause = json!({"containers": [{"name": "a", "image": "pause", "livenessProbe": unhealthy}]});
        testbed.create("unhealthy", pause).await;
        testbed.create("unknown", json!({"containers": [{"name": "a", "image": "busybox"}]})).await;
        testbed.wait_ready("x-wing").await;
        testbed.wait_ready("tcp").await;
        let status = |pod: Option<&Pod>| pod?.status.as_ref()?.container_statuses.as_ref()?.first().cloned();
        testbed.wait("unhealthy", |pod: Option<&Pod>| status(pod).is_some_and(|it| it.restart_count > 0)).await;
        let waiting = |pod: Option<&Pod>| {
            let reason = status(pod)?.state?.waiting?;
            Some((reason.reason? == "ErrImagePull", reason.message?))
        };
        let pod = testbed.wait("unknown", |pod: Option<&Pod>| waiting(pod).is_some_and(|it| it.0)).await;
        assert!(waiting(pod.as_ref()).expect("it waits").1.contains("`busybox` is not in meshbed's catalogue"));
        for name in ["x-wing", "tcp", "unhealthy", "unknown"] {
            testbed.delete(name).await;
        }
        testbed.assert_clean().await;
        testbed
    });
}

#[test]
fn root_commands_see_their_volumes_and_their_output_is_kept() {
    on_node("command", async |testbed| {
        let config_map = json!({"metadata": {"name": "page"}, "data": {"a": "from the volume"}});
        let config_map: ConfigMap = serde_json::from_value(config_map).expect("a config map");
        let config_maps: Api<ConfigMap> = Api::namespaced(testbed.client.clone(), "default");
        config_maps.create(&PostParams::default(), &config_map).await.expect("the API takes it");
        let script = "cat /mnt/a; echo \" in $POD_NAME\"; exit 3";
        let spec = json!({
            "restartPolicy": "Never",
            "volumes": [{"name": "v", "configMap": {"name": "page"}}],
            "containers": [
                {"name": "a", "image": "any", "command": ["sh", "-c", script],
                 "volumeMounts": [{"name": "v", "mountPath": "/mnt"}]},
            ],
        });
        testbed.create("job", spec).await;
        let phase = |pod: Option<&Pod>| pod?.status.as_ref()?.phase.clone();
        testbed.wait("job", |pod: Option<&Pod>| phase(pod).as_deref() == Some("Failed")).await;
        let log = testbed.options.state_dir.join("logs/default_job_a.log");
        assert_eq!(std::fs::read_to_string(log).expect("text"), "from the volume in job\n");
        assert!(!Path::new("/mnt/a").exists(), "only in the pod");
        testbed.delete("job").await;

        testbed.create("none", json!({"containers": [{"name": "a", "image": "any", "command": ["/no/such"]}]})).await;
        let message = |pod: Option<&Pod>| {
            let statuses = pod?.status.as_ref()?.container_statuses.as_ref()?;
            statuses.first()?.state.as_ref()?.waiting.as_ref()?.message.clone()
        };
        let pod = testbed.wait("none", |pod: Option<&Pod>| message(pod).is_some()).await;
        let message = message(pod.as_ref()).expect("a message");
        assert_eq!(message, "failed to run `/no/such`: No such file or directory (os error 2)");
        testbed.delete("none").await;
        testbed.assert_clean().await;
        testbed
    });
}

#[test]
fn root_a_probe_from_pod_to_pod_loses_nothing_when_the_server_ends_orderly() {
    on_node("traffic", async |testbed| {
        testbed.create("client", json!({"containers": [{"name": "a", "image": "pause"}]})).await;
        testbed.create("server", web()).await;
        testbed.wait_ready("client").await;
        let ip = ip_of(&testbed.wait_ready("server").await);
        let mut command = command_in_pod(&testbed.state("client"), &testbed.options.pod_program);
        command.args(["probe", "--target", &format!("{ip}:80"), "--rate", "400", "--timeout-ms", "1000"]);
        let mut probe = Command::from(command).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let mut lines =
            tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(probe.stdout.take().expect("piped")));
        let mut next = async || -> Option<Value> {
            Some(serde_json::from_str(&lines.next_line().await.expect("text")?).expect("JSON"))
        };
        for _ in 0..200 {
            let line = next().await.expect("it goes on");
            assert_eq!(
                (&line["status"], &line["pod"], &line["cluster"]),
                (&json!(200), &json!("server"), &json!("alpha"))
            );
            let (sent, done) = (line["sent_ns"].as_u64().expect("a time"), line["done_ns"].as_u64().expect("a time"));
            assert!(sent < done, "{line}");
        }
        let server = testbed.state("server").containers.remove(0);
        kill(Pid::from_raw(server.pid), Signal::SIGTERM).expect("it is ours");
        let refused = loop {
            let line = next().await.expect("it goes on");
            if line.get("error").is_some() {
                break line;
            }
        };
        assert_eq!(refused["error"], "refused", "no connection is reset by an orderly end: {refused}");
        let probe_pid = i32::try_from(probe.id().expect("it runs")).expect("a PID");
        kill(Pid::from_raw(probe_pid), Signal::SIGTERM).expect("it is ours");
        while next().await.is_some() {}
        assert!(probe.wait().await.expect("it ends").success());
        testbed.delete("client").await;
        testbed.delete("server").await;
        testbed.assert_clean().await;
        testbed
    });
}

#[test]
fn root_a_probe_tells_what_is_unreachable_and_ends_with_its_reader() {
    on_node("unreachable", async |testbed| {
        testbed.create("client", json!({"containers": [{"name": "a", "image": "pause"}]})).await;
        testbed.wait_ready("client").await;
        let mut command = command_in_pod(&testbed.state("client"), &testbed.options.pod_program);
        // The node has no route there.
        command.args(["probe", "--target", "10.101.0.10:80", "--rate", "10"]);
        let mut probe = Command::from(command).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let stdout = probe.stdout.take().expect("piped");
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
        let line: Value = serde_json::from_str(&lines.next_line().await.expect("text").expect("a line")).expect("JSON");
        assert_eq!(line["error"], "unreachable", "{line}");
        drop(lines);
        assert!(probe.wait().await.expect("it ends").success(), "it ends when nobody reads it");
        testbed.delete("client").await;
        testbed
    });
}

#[test]
fn root_many_pods_at_once_and_a_new_kubelet() {
    const PODS: usize = 20;
    on_node("many", async |mut testbed| {
        testbed.create("first", web()).await;
        testbed.wait_ready("first").await;
        let begin = Instant::now();
        testbed.create("second", web()).await;
        testbed.wait_ready("second").await;
        tracing::info!("one pod was ready after {:?}", begin.elapsed());
        let names: Vec<String> = (0..PODS).map(|number| format!("pod-{number}")).collect();
        let begin = Instant::now();
        for name in &names {
            testbed.create(name, web()).await;
        }
        let mut addresses = std::collections::BTreeSet::new();
        for name in &names {
            addresses.insert(ip_of(&testbed.wait_ready(name).await));
        }
        tracing::info!("{PODS} pods were ready after {:?}", begin.elapsed());
        assert_eq!(addresses.len(), PODS);

        testbed.stop_kubelet().await;
        let before = testbed.state("pod-0").containers.remove(0);
        assert!(before.is_alive(), "pods outlive the kubelet");
        testbed.start_kubelet();
        let patch = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
        testbed.pods().patch("pod-0", &PatchParams::default(), &patch).await.expect("the API takes it");
        let touched = |state: &PodState| state.labels.contains_key("touched");
        let state = until("the pod's state", async || testbed.state("pod-0"), touched).await;
        assert_eq!(state.containers[0], before, "the new kubelet takes over what it finds");
        assert!(before.is_alive());
        TcpStream::connect((state.ip, 80)).await.expect("it answers as before");
        let begin = Instant::now();
        for name in names.iter().map(String::as_str).chain(["first", "second"]) {
            testbed.pods().delete(name, &DeleteParams::default()).await.expect("the API takes it");
        }
        for name in names.iter().map(String::as_str).chain(["first", "second"]) {
            testbed.wait(name, |pod: Option<&Pod>| pod.is_none()).await;
        }
        tracing::info!("{} pods were gone after {:?}", PODS + 2, begin.elapsed());
        testbed.assert_clean().await;
        testbed
    });
}
