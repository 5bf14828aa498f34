use super::*;

const LIMIT: MaxConnectedClusters = MaxConnectedClusters::N255;

/// What is wanted on node `alpha-1`, of which everything was listed, with an API that does what it is asked for.
struct Api {
    wanted: Wanted,
    /// Requests for these endpoints fail.
    refused: Vec<&'static str>,
}

fn pod(ip: &str, app: &str) -> LocalPod {
    LocalPod {
        uid: format!("uid-{ip}"),
        labels: [("app".to_owned(), app.to_owned())].into(),
        addresses: vec![ip.to_owned()],
        ..LocalPod::default()
    }
}

fn namespace(name: &str) -> LocalEvent {
    LocalEvent::Namespace { name: name.to_owned(), namespace: Some(LocalNamespace::default()) }
}

fn pod_event(name: &str, pod: Option<LocalPod>) -> LocalEvent {
    LocalEvent::Pod { namespace: "default".to_owned(), name: name.to_owned(), pod }
}

impl Api {
    fn new() -> Self {
        let who = Describes {
            cluster: "alpha".parse().expect("a name"),
            cluster_id: ClusterId::new(1, LIMIT).expect("an ID"),
            limit: LIMIT,
            node: "alpha-1".to_owned(),
        };
        let mut api = Self { wanted: Wanted::new(who), refused: Vec::new() };
        let node = LocalNode {
            addresses: vec![("InternalIP".to_owned(), "172.18.1.11".to_owned())],
            pod_cidrs: vec!["10.1.1.0/24".to_owned()],
            ..LocalNode::default()
        };
        api.wanted.take(&LocalEvent::Node { name: "alpha-1".to_owned(), node: Some(node) });
        NEEDED.iter().for_each(|kind| api.wanted.take(&LocalEvent::Listed(*kind)));
        assert_eq!(api.requests(), ["define", "node 10.1.1.0/24"]);
        api
    }

    fn take(&mut self, event: &LocalEvent) -> Vec<String> {
        self.wanted.take(event);
        self.requests()
    }

    /// All requests until there is none, or until one fails; those are told with a `!`.
    fn requests(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(request) = self.wanted.next() {
            let text = match &request {
                Request::Define => "define".to_owned(),
                Request::Node(node) => format!("node {}", node.spec.ipam.pod_cidrs.join(" ")),
                Request::Identity(_, labels) => format!("identity {}", labels.k8s("app").unwrap_or_default()),
                Request::Endpoint(name, _) => format!("+{}", name.1),
                Request::DeleteEndpoint(name, _) => format!("-{}", name.1),
            };
            if let Request::Endpoint((_, name), _) = &request
                && self.refused.contains(&name.as_str())
            {
                told.push(format!("{text}!"));
                self.wanted.failed(request);
                return told;
            }
            told.push(text);
            let identity = match &request {
                Request::Identity(number, labels) => Some(CiliumIdentity::new(*number, labels)),
                _ => None,
            };
            self.wanted.done(request, identity);
        }
        told
    }
}

#[test]
fn pods_that_are_alike_share_an_identity() {
    let mut api = Api::new();
    api.take(&namespace("default"));
    assert_eq!(api.take(&pod_event("one", Some(pod("10.1.1.2", "web")))), ["identity web", "+one"]);
    assert_eq!(api.take(&pod_event("two", Some(pod("10.1.1.3", "web")))), ["+two"]);
    assert!(api.take(&pod_event("two", Some(pod("10.1.1.3", "web")))).is_empty(), "nothing changed");
    assert_eq!(api.take(&pod_event("two", Some(pod("10.1.1.3", "db")))), ["identity db", "+two"]);
    assert_eq!(api.take(&pod_event("one", None)), ["-one"]);
    let ended = LocalPod { addresses: Vec::new(), ..pod("", "db") };
    assert_eq!(api.take(&pod_event("two", Some(ended))), ["-two"]);
}

#[test]
fn a_pod_waits_for_its_namespace() {
    let mut api = Api::new();
    assert!(api.take(&pod_event("one", Some(pod("10.1.1.2", "web")))).is_empty());
    assert_eq!(api.take(&namespace("default")), ["identity web", "+one"]);
}

#[test]
fn whatever_others_do_to_our_endpoints_is_put_right() {
    let mut api = Api::new();
    api.take(&namespace("default"));
    api.take(&pod_event("one", Some(pod("10.1.1.2", "web"))));
    let event = |name: &str, endpoint| LocalEvent::CiliumEndpoint {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        endpoint,
    };
    assert_eq!(api.take(&event("one", None)), ["+one"], "it was deleted");
    let mut status = CiliumEndpointStatus::default();
    status.networking.node = "172.18.1.11".to_owned();
    let left_over = Box::new(CiliumEndpoint::new("default", "ghost", status.clone()));
    assert_eq!(api.take(&event("ghost", Some(left_over))), ["-ghost"], "an earlier life left it");
    status.networking.node = "172.18.1.12".to_owned();
    let foreign = Box::new(CiliumEndpoint::new("default", "theirs", status));
    assert!(api.take(&event("theirs", Some(foreign))).is_empty(), "another node's");
}

#[test]
fn an_endpoint_that_is_refused_does_not_hold_up_the_others() {
    let mut api = Api::new();
    api.take(&namespace("default"));
    api.take(&pod_event("zero", Some(pod("10.1.1.9", "web"))));
    api.refused = vec!["a"];
    assert_eq!(api.take(&pod_event("a", Some(pod("10.1.1.2", "web")))), ["+a!"]);
    assert_eq!(api.take(&pod_event("b", Some(pod("10.1.1.3", "web")))), ["+b", "+a!"]);
    api.refused.clear();
    assert_eq!(api.requests(), ["+a"]);
}

#[test]
fn the_number_of_others_is_taken() {
    let mut api = Api::new();
    api.take(&namespace("default"));
    let labels = api.wanted.labels("default", &pod("10.1.1.2", "web"));
    let number = NumericIdentity::new(65_800);
    let identity = Some(Box::new(CiliumIdentity::new(number, &labels)));
    api.take(&LocalEvent::CiliumIdentity { number, identity });
    assert_eq!(api.take(&pod_event("one", Some(pod("10.1.1.2", "web")))), ["+one"]);
    let name = ("default".to_owned(), "one".to_owned());
    assert_eq!(api.wanted.endpoints[&name].status.identity.id, 65_800);
}
