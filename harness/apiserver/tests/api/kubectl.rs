//! kubectl is the judge: what it sends must be understood, and what it prints must be what it prints elsewhere.

use super::server::{TestServer, node};

macro_rules! server_or_skip {
    () => {{
        if !TestServer::has_kubectl() {
            return;
        }
        TestServer::start().await
    }};
}

const MANIFEST: &str = indoc::indoc! {"
    apiVersion: v1
    kind: Service
    metadata:
      name: rebel-base
    spec:
      type: ClusterIP
      ports:
      - port: 80
        targetPort: http
      selector:
        name: rebel-base
    ---
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: rebel-base-response
    data:
      message: '{\"Galaxy\": \"Alderaan\", \"Cluster\": \"alpha\"}'
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: rebel-base
    spec:
      selector:
        matchLabels:
          name: rebel-base
      replicas: 2
      template:
        metadata:
          labels:
            name: rebel-base
        spec:
          containers:
          - name: rebel-base
            image: nginx:1.15.8
            ports:
            - {name: http, containerPort: 8080}
            volumeMounts:
            - {name: html, mountPath: /usr/share/nginx/html/}
          volumes:
          - name: html
            configMap:
              name: rebel-base-response
              items: [{key: message, path: index.html}]
"};

/// Says that a pod runs, as its kubelet would.
async fn report_running(server: &TestServer, pod: &str, ip: &str, ready: &str) {
    let started = ready == "True";
    let patch = format!(
        r#"{{"status":{{"phase":"Running","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],
        "conditions":[{{"type":"Ready","status":"{ready}"}}],
        "containerStatuses":[{{"name":"rebel-base","image":"a","imageID":"a","ready":{started},"restartCount":0,
        "state":{{"running":{{"startedAt":"2026-01-01T00:00:00Z"}}}}}}]}}}}"#
    );
    server.kubectl(&["patch", pod, "--subresource=status", "--type=strategic", "-p", &patch]).await;
}

async fn names(server: &TestServer, arguments: &[&str]) -> Vec<String> {
    let out = server.kubectl(&[&["get", "-o", "name"], arguments].concat()).await;
    out.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_comes_up_and_is_described() {
    let server = server_or_skip!();
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-1")).await;
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-2")).await;
    let out = server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    assert_eq!(
        out,
        "service/rebel-base created\nconfigmap/rebel-base-response created\ndeployment.apps/rebel-base created\n"
    );
    let out = server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    assert_eq!(out.matches(" unchanged").count(), 3, "{out}");

    let pods = names(&server, &["pods"]).await;
    assert_eq!(pods.len(), 2, "{pods:?}");
    let nodes = server.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"]).await;
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["alpha-1", "alpha-2"], "pods are spread");
    report_running(&server, &pods[0], "10.1.1.2", "True").await;
    report_running(&server, &pods[1], "10.1.2.2", "True").await;

    let out = server.kubectl(&["rollout", "status", "deployment/rebel-base", "--timeout=10s"]).await;
    assert!(out.contains("successfully rolled out"), "{out}");
    let out = server.kubectl(&["describe", "service", "rebel-base"]).await;
    assert!(out.contains("Endpoints:                10.1.1.2:8080,10.1.2.2:8080"), "{out}");
    assert!(out.contains("IP:                       10.101.1.0"), "{out}");
    let out = server.kubectl(&["get", "endpoints", "rebel-base"]).await;
    assert!(out.contains("10.1.1.2:8080,10.1.2.2:8080"), "{out}");
    let out = server.kubectl(&["get", "all"]).await;
    for line in ["deployment.apps/rebel-base   2/2     2            2 ", "service/kubernetes", "2         2         2 "]
    {
        assert!(out.contains(line), "no `{line}` in\n{out}");
    }
    for (kind, words) in [
        ("deployment", "2 desired | 2 updated | 2 total | 2 available | 0 unavailable"),
        ("pod", "Successfully assigned default/rebel-base-"),
        ("node", "Non-terminated Pods:          (1 in total)"),
        ("cm", "Alderaan"),
        ("replicaset", "2 current / 2 desired"),
        ("endpointslice", "TargetRef:  Pod/rebel-base-"),
        ("namespace", "Active"),
    ] {
        let out = server.kubectl(&["describe", kind]).await;
        assert!(out.contains(words), "no `{words}` in\n{out}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_have_the_columns_of_kubernetes() {
    let server = server_or_skip!();
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-1")).await;
    server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    let heading = async |arguments: &[&str]| {
        let out = server.kubectl(&[&["get"], arguments].concat()).await;
        out.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (arguments, expected) in [
        (&["pods"][..], "NAME READY STATUS RESTARTS AGE"),
        (&["pods", "-o", "wide"], "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"),
        (&["pods", "-A"], "NAMESPACE NAME READY STATUS RESTARTS AGE"),
        (&["svc"], "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"),
        (&["svc", "-o", "wide"], "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR"),
        (&["deploy"], "NAME READY UP-TO-DATE AVAILABLE AGE"),
        (&["rs", "-o", "wide"], "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR"),
        (&["nodes"], "NAME STATUS ROLES AGE VERSION"),
        (&["cm"], "NAME DATA AGE"),
        (&["endpointslices"], "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
        (&["events"], "LAST SEEN TYPE REASON OBJECT MESSAGE"),
        (&["ns", "--show-labels"], "NAME STATUS AGE LABELS"),
        (&["sa"], "NAME SECRETS AGE"),
        (&["pods", "--sort-by=.metadata.name"], "NAME READY STATUS RESTARTS AGE"),
    ] {
        assert_eq!(heading(arguments).await, expected, "{arguments:?}");
    }
    let out = server.kubectl(&["get", "svc", "-l", "component in (apiserver),!nothing", "-o", "name"]).await;
    assert_eq!(out, "service/kubernetes\n");
    let out = server.kubectl(&["get", "pods", "--field-selector", "status.phase=Running"]).await;
    assert_eq!(out, "");
    let out = server.kubectl(&["get", "cm", "rebel-base-response", "-o", "yaml"]).await;
    assert!(out.starts_with("apiVersion: v1\ndata:\n"), "{out}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_all_sorts() {
    let server = server_or_skip!();
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-1")).await;
    server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    let get = async |path: &str| server.kubectl(&["get", "svc/rebel-base", "-o", &format!("jsonpath={path}")]).await;
    let address = get("{.spec.clusterIP}").await;

    server.kubectl(&["annotate", "service", "rebel-base", "service.cilium.io/global=true"]).await;
    assert_eq!(get("{.metadata.annotations.service\\.cilium\\.io/global}").await, "true");
    server.kubectl(&["annotate", "service", "rebel-base", "service.cilium.io/global-"]).await;
    assert_eq!(get("{.metadata.annotations.service\\.cilium\\.io/global}").await, "");
    server.kubectl(&["label", "service", "rebel-base", "side=light"]).await;
    assert_eq!(get("{.metadata.labels.side}").await, "light");

    // Applying again leaves what others added, and takes away what it applied before.
    let two_ports =
        MANIFEST.replace("  - port: 80\n    targetPort: http\n", "  - {port: 80, name: a}\n  - {port: 81, name: b}\n");
    server.kubectl_with(&["apply", "-f", "-"], &two_ports).await;
    assert_eq!(get("{.spec.ports[*].name}").await, "a b");
    server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    assert_eq!(get("{.spec.ports[*].port}").await, "80");
    assert_eq!(get("{.spec.ports[*].name}").await, "");
    assert_eq!(get("{.metadata.labels.side}").await, "light");
    assert_eq!(get("{.spec.clusterIP}").await, address, "an address stays");

    server
        .kubectl(&[
            "patch",
            "svc",
            "rebel-base",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/metadata/labels/x","value":"y"}]"#,
        ])
        .await;
    server.kubectl(&["patch", "svc", "rebel-base", "--type=merge", "-p", r#"{"spec":{"type":"NodePort"}}"#]).await;
    assert_eq!(get("{.metadata.labels.x}/{.spec.type}/{.spec.ports[0].nodePort}").await, "y/NodePort/30000");

    server.kubectl(&["scale", "deployment/rebel-base", "--replicas=3"]).await;
    assert_eq!(names(&server, &["pods"]).await.len(), 3);
    server.kubectl(&["scale", "deployment/rebel-base", "--replicas=0", "--current-replicas=3"]).await;
    let out = server.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.deletionGracePeriodSeconds}"]).await;
    assert_eq!(out, "30 30 30", "bound pods end gracefully");
    let out = server.kubectl(&["get", "pods"]).await;
    assert!(out.contains("Terminating"), "{out}");

    let applied = server
        .kubectl_with(
            &["apply", "--server-side", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: b, c: d}",
        )
        .await;
    assert_eq!(applied, "configmap/s serverside-applied\n");
    server
        .kubectl_with(
            &["apply", "--server-side", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: b}",
        )
        .await;
    assert_eq!(server.kubectl(&["get", "cm/s", "-o", "jsonpath={.data}"]).await, r#"{"a":"b"}"#);
    server.kubectl(&["set", "image", "deployment/rebel-base", "rebel-base=nginx:2"]).await;
    assert_eq!(names(&server, &["rs"]).await.len(), 2);
    server.kubectl(&["rollout", "undo", "deployment/rebel-base"]).await;
    let out =
        server.kubectl(&["get", "deploy/rebel-base", "-o", "jsonpath={.spec.template.spec.containers[0].image}"]).await;
    assert_eq!(out, "nginx:1.15.8");
    server.kubectl(&["cordon", "alpha-1"]).await;
    assert!(server.kubectl(&["get", "nodes"]).await.contains("Ready,SchedulingDisabled"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_takes_what_is_owned_along() {
    let server = server_or_skip!();
    server.kubectl_with(&["create", "-f", "-"], &node("alpha-1")).await;
    server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    let pods = names(&server, &["pods"]).await;
    // The kubelet's side of a graceful deletion.
    let out = server.kubectl(&["delete", "deployment", "rebel-base"]).await;
    assert!(out.contains(r#"deployment.apps "rebel-base" deleted"#), "{out}");
    assert!(names(&server, &["rs"]).await.is_empty());
    assert_eq!(names(&server, &["pods"]).await, pods, "pods wait for their kubelet");
    for pod in &pods {
        server.kubectl(&["delete", pod, "--grace-period=0", "--force"]).await;
    }
    assert!(names(&server, &["pods"]).await.is_empty());
    server.kubectl(&["delete", "service", "rebel-base"]).await;
    assert_eq!(
        names(&server, &["endpointslices,endpoints"]).await,
        ["endpointslice.discovery.k8s.io/kubernetes", "endpoints/kubernetes"]
    );

    server.kubectl(&["create", "namespace", "hoth"]).await;
    server.kubectl_with(&["apply", "-n", "hoth", "-f", "-"], MANIFEST).await;
    server.kubectl(&["cordon", "alpha-1"]).await;
    server.kubectl(&["delete", "pods", "-n", "hoth", "--all", "--grace-period=0", "--force"]).await;
    server.kubectl(&["delete", "namespace", "hoth"]).await;
    let error = server.kubectl_fails(&["get", "namespace", "hoth"], "").await;
    assert_eq!(error, "Error from server (NotFound): namespaces \"hoth\" not found\n");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_words_of_kubernetes() {
    let server = server_or_skip!();
    server.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    for (arguments, input, expected) in [
        (&["get", "svc", "x"][..], "", r#"Error from server (NotFound): services "x" not found"#),
        (&["get", "deploy", "x"], "", r#"Error from server (NotFound): deployments.apps "x" not found"#),
        (
            &["create", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: rebel-base}\nspec: {ports: [{port: 80}]}",
            r#"services "rebel-base" already exists"#,
        ),
        (
            &["create", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: 1a}\nspec: {ports: [{port: 80}]}",
            "a DNS-1035 label must consist of",
        ),
        (
            &["create", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}",
            "The Service \"a\" is invalid: spec.ports: Required value",
        ),
        (
            &["apply", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 1, ports: [{port: 80}]}",
            r#"strict decoding error: unknown field "spec.port""#,
        ),
        (
            &["apply", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: x}]}",
            "cannot be handled as a Service",
        ),
        (
            &["create", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.101.1.0, ports: [{port: 80}]}",
            "failed to allocate IP 10.101.1.0: provided IP is already allocated",
        ),
        (&["create", "-n", "nowhere", "cm", "a"], "", r#"namespaces "nowhere" not found"#),
        (
            &["patch", "svc", "rebel-base", "-p", r#"{"spec":{"clusterIP":"10.101.0.9"}}"#],
            "",
            "spec.clusterIPs[0]: Invalid value: \"10.101.0.9\": may not change once set",
        ),
        (&["get", "pods", "--field-selector", "spec.x=y"], "", "field label not supported: spec.x"),
        (&["get", "foos"], "", r#"error: the server doesn't have a resource type "foos""#),
    ] {
        let error = server.kubectl_fails(arguments, input).await;
        assert!(error.contains(expected), "{arguments:?}: no `{expected}` in\n{error}");
    }
    let stale = server.kubectl(&["get", "cm/rebel-base-response", "-o", "yaml"]).await;
    server.kubectl(&["label", "cm/rebel-base-response", "a=b"]).await;
    let error = server.kubectl_fails(&["replace", "-f", "-"], &stale).await;
    let expected = "the object has been modified; please apply your changes to the latest version and try again";
    assert!(error.contains("Conflict") && error.contains(expected), "{error}");
    let out = server
        .kubectl_with(
            &["apply", "--dry-run=server", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dry}",
        )
        .await;
    assert_eq!(out, "configmap/dry created (server dry run)\n");
    server.kubectl_fails(&["get", "cm", "dry"], "").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_tells_about_itself() {
    let server = server_or_skip!();
    let out = server.kubectl(&["api-resources"]).await;
    let rows: Vec<String> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for row in [
        "services svc v1 true Service",
        "deployments deploy apps/v1 true Deployment",
        "endpointslices discovery.k8s.io/v1 true EndpointSlice",
        "nodes no v1 false Node",
    ] {
        assert!(rows.iter().any(|found| found == row), "no `{row}` in\n{out}");
    }
    let out = server.kubectl(&["api-versions"]).await;
    assert_eq!(
        out,
        "apiextensions.k8s.io/v1\napps/v1\ncoordination.k8s.io/v1\ndiscovery.k8s.io/v1\nnetworking.k8s.io/v1\npolicy/v1\nv1\n"
    );
    let out = server.kubectl(&["version"]).await;
    assert!(out.contains("Server Version: v1.32.4+meshbed"), "{out}");
    let out = server.kubectl(&["cluster-info"]).await;
    assert!(out.contains("Kubernetes control plane"), "{out}");
    assert_eq!(server.kubectl(&["get", "--raw", "/readyz"]).await, "ok");
    let out = server.kubectl(&["describe", "service", "kubernetes"]).await;
    assert!(
        out.contains("IP:                       10.101.0.1") && out.contains("Endpoints:                127.0.0.1:"),
        "{out}"
    );
    let error = server.kubectl_fails(&["--token=wrong", "get", "ns"], "").await;
    assert!(error.contains("Unauthorized") || error.contains("must be logged in"), "{error}");
    let config = server.path("kubeconfig.certificate");
    let out = server.kubectl(&["--kubeconfig", config.to_str().unwrap(), "get", "ns", "-o", "name"]).await;
    assert!(out.contains("namespace/kube-system"), "{out}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_created_without_a_file() {
    let server = server_or_skip!();
    for arguments in [
        &["namespace", "hoth"][..],
        &["configmap", "a", "--from-literal=k=v"],
        &["secret", "generic", "a", "--from-literal=k=v"],
        &["serviceaccount", "a"],
        &["service", "clusterip", "a", "--tcp=80:8080"],
        &["service", "nodeport", "b", "--tcp=80:http"],
        &["deployment", "a", "--image=web:1", "--replicas=2", "--port=8080", "--", "web", "--quiet"],
    ] {
        server.kubectl(&[&["create"], arguments].concat()).await;
    }
    let get =
        async |object: &str, path: &str| server.kubectl(&["get", object, "-o", &format!("jsonpath={path}")]).await;
    assert_eq!(get("secret/a", "{.data.k}").await, "dg==");
    assert_eq!(get("svc/a", "{.spec.ports[0].targetPort}/{.spec.selector.app}").await, "8080/a");
    assert_eq!(get("svc/b", "{.spec.ports[0].targetPort}/{.spec.ports[0].nodePort}").await, "http/30000");
    assert_eq!(
        get("deploy/a", "{.spec.replicas}/{.spec.template.spec.containers[0].command}").await,
        r#"2/["web","--quiet"]"#
    );
    server.kubectl(&["expose", "deployment", "a", "--name=c", "--port=80"]).await;
    server.kubectl(&["run", "lonely", "--image=web:1"]).await;
    let out = server.kubectl(&["get", "pod/lonely"]).await;
    assert!(out.contains("0/1     Pending"), "{out}");
    let out = server.kubectl(&["describe", "pod", "lonely"]).await;
    assert!(out.contains("FailedScheduling") && out.contains("0/0 nodes are available."), "{out}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_and_wait_follow_changes() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let server = server_or_skip!();
    let mut child = server.kubectl_command(&["get", "cm", "-w", "--output-watch-events"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    server.kubectl(&["create", "cm", "one"]).await;
    let mut seen = Vec::new();
    let follow = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let done = line.starts_with("DELETED");
            seen.push(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
            if line.contains("one") && line.starts_with("ADDED") {
                server.kubectl(&["delete", "cm", "one"]).await;
            }
            if done {
                break;
            }
        }
    };
    tokio::time::timeout(super::server::DEADLINE, follow).await.expect("the watch shows everything");
    assert_eq!(seen, ["EVENT NAME", "ADDED one", "DELETED one"]);
    child.kill().await.unwrap();

    server.kubectl(&["create", "cm", "two"]).await;
    let waiting = server.kubectl_command(&["wait", "cm/two", "--for=delete", "--timeout=20s"]).spawn().unwrap();
    server.kubectl(&["delete", "cm", "two"]).await;
    let output = waiting.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.stop().await;
}

const DEFINITION: &str = indoc::indoc! {"
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: ciliumnodes.cilium.io}
    spec:
      group: cilium.io
      scope: Cluster
      names: {plural: ciliumnodes, singular: ciliumnode, kind: CiliumNode, shortNames: [cn]}
      versions:
      - name: v2
        served: true
        storage: true
        schema:
          openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
        subresources: {status: {}}
"};

const CUSTOM: &str = indoc::indoc! {"
    apiVersion: cilium.io/v2
    kind: CiliumNode
    metadata: {name: alpha-1}
    spec: {ipam: {podCIDRs: [10.1.1.0/24]}}
"};

#[tokio::test(flavor = "multi_thread")]
async fn clients_define_kinds_of_their_own() {
    if !TestServer::has_kubectl() {
        return;
    }
    let server = TestServer::customised(|options, directory| options.data_dir = Some(directory.join("data"))).await;
    let error = server.kubectl_fails(&["get", "ciliumnodes"], "").await;
    assert!(error.contains("the server doesn't have a resource type"), "{error}");
    server.kubectl_with(&["apply", "-f", "-"], DEFINITION).await;
    server.kubectl(&["wait", "crd/ciliumnodes.cilium.io", "--for=condition=Established", "--timeout=10s"]).await;
    let out = server.kubectl(&["api-resources", "--api-group=cilium.io", "--cached=false", "--no-headers"]).await;
    assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" "), "ciliumnodes cn cilium.io/v2 false CiliumNode");

    server.kubectl_with(&["apply", "-f", "-"], CUSTOM).await;
    let out = server.kubectl_with(&["apply", "-f", "-"], CUSTOM).await;
    assert_eq!(out, "ciliumnode.cilium.io/alpha-1 unchanged\n");
    let patch = |json: &'static str| ["patch", "cn", "alpha-1", "--type=merge", "-p", json];
    server.kubectl(&patch(r#"{"spec":{"any":{"thing":1}},"status":{"lost":true}}"#)).await;
    let status = [&patch(r#"{"status":{"kept":true},"spec":{"lost":true}}"#)[..], &["--subresource=status"]].concat();
    server.kubectl(&status).await;
    let get = async |server: &TestServer| {
        server.kubectl(&["get", "cn/alpha-1", "-o", "jsonpath={.metadata.generation} {.spec} {.status}"]).await
    };
    let expected = r#"2 {"any":{"thing":1},"ipam":{"podCIDRs":["10.1.1.0/24"]}} {"kept":true}"#;
    assert_eq!(get(&server).await, expected);
    let out = server.kubectl(&["get", "cn"]).await;
    assert_eq!(out.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), ["NAME", "AGE"]);

    let server = server.restart().await;
    assert_eq!(get(&server).await, expected, "they outlive the process as well");
    server.kubectl(&["delete", "crd", "ciliumnodes.cilium.io"]).await;
    let error = server.kubectl_fails(&["get", "--raw", "/apis/cilium.io/v2/ciliumnodes"], "").await;
    assert!(error.contains("NotFound"), "{error}");
    server.kubectl_with(&["apply", "-f", "-"], DEFINITION).await;
    assert_eq!(server.kubectl(&["get", "cn", "-o", "name"]).await, "", "a kind that is gone takes its objects along");
    let wrong = DEFINITION.replace("name: ciliumnodes.cilium.io", "name: nodes.cilium.io");
    let error = server.kubectl_fails(&["apply", "-f", "-"], &wrong).await;
    assert!(error.contains("must be spec.names.plural+\".\"+spec.group: ciliumnodes.cilium.io"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_objects_is_applied() {
    let server = server_or_skip!();
    let list = indoc::indoc! {"
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}
    "};
    let applied = server.kubectl_with(&["apply", "-f", "-"], list).await;
    assert_eq!(applied, "configmap/one created\nconfigmap/two created\n");
}
