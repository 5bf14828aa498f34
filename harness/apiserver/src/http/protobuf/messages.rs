//! The fields of the messages that `kubectl create` fills, by their numbers in Kubernetes' `generated.proto` files.

use self::Field::{BytesMap, Flag, IntOrText, Integer, Many, One, Skip, Text, TextMap, Texts};

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its name.
    pub(super) name: &'static str,
    fields: &'static [(u32, &'static str, Field)],
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// The server decides it.
    Skip,
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A whole number.
    Integer,
    /// A boolean.
    Flag,
    /// A message.
    One(&'static Message),
    /// A list of messages.
    Many(&'static Message),
    /// An `IntOrString`.
    IntOrText,
    /// A map of strings.
    TextMap,
    /// A map of bytes.
    BytesMap,
}

impl Message {
    /// Name and type of a field.
    pub(super) fn field(&self, number: u32) -> Option<(&'static str, Field)> {
        self.fields.iter().find(|(candidate, _, _)| *candidate == number).map(|(_, name, field)| (*name, *field))
    }
}

/// The message of a kind.
pub(super) fn find(kind: &str) -> Option<&'static Message> {
    [&NAMESPACE, &CONFIG_MAP, &SECRET, &SERVICE_ACCOUNT, &SERVICE, &DEPLOYMENT, &POD_DISRUPTION_BUDGET]
        .into_iter()
        .find(|message| message.name == kind)
}

static METADATA: Message = Message {
    name: "ObjectMeta",
    fields: &[
        (1, "name", Text),
        (2, "generateName", Text),
        (3, "namespace", Text),
        (4, "selfLink", Skip),
        (5, "uid", Skip),
        (6, "resourceVersion", Text),
        (7, "generation", Skip),
        (8, "creationTimestamp", Skip),
        (11, "labels", TextMap),
        (12, "annotations", TextMap),
        (13, "ownerReferences", Many(&OWNER)),
        (14, "finalizers", Texts),
    ],
};

static OWNER: Message = Message {
    name: "OwnerReference",
    fields: &[
        (1, "kind", Text),
        (3, "name", Text),
        (4, "uid", Text),
        (5, "apiVersion", Text),
        (6, "controller", Flag),
        (7, "blockOwnerDeletion", Flag),
    ],
};

static NAMESPACE_SPEC: Message = Message { name: "NamespaceSpec", fields: &[(1, "finalizers", Texts)] };

static NAMESPACE: Message = Message {
    name: "Namespace",
    fields: &[(1, "metadata", One(&METADATA)), (2, "spec", One(&NAMESPACE_SPEC)), (3, "status", Skip)],
};

static CONFIG_MAP: Message = Message {
    name: "ConfigMap",
    fields: &[
        (1, "metadata", One(&METADATA)),
        (2, "data", TextMap),
        (3, "binaryData", BytesMap),
        (4, "immutable", Flag),
    ],
};

static SECRET: Message = Message {
    name: "Secret",
    fields: &[
        (1, "metadata", One(&METADATA)),
        (2, "data", BytesMap),
        (3, "type", Text),
        (4, "stringData", TextMap),
        (5, "immutable", Flag),
    ],
};

static SERVICE_ACCOUNT: Message = Message {
    name: "ServiceAccount",
    fields: &[(1, "metadata", One(&METADATA)), (4, "automountServiceAccountToken", Flag)],
};

static SERVICE_PORT: Message = Message {
    name: "ServicePort",
    fields: &[
        (1, "name", Text),
        (2, "protocol", Text),
        (3, "port", Integer),
        (4, "targetPort", IntOrText),
        (5, "nodePort", Integer),
        (6, "appProtocol", Text),
    ],
};

static SERVICE_SPEC: Message = Message {
    name: "ServiceSpec",
    fields: &[
        (1, "ports", Many(&SERVICE_PORT)),
        (2, "selector", TextMap),
        (3, "clusterIP", Text),
        (4, "type", Text),
        (5, "externalIPs", Texts),
        (7, "sessionAffinity", Text),
        (8, "loadBalancerIP", Text),
        (9, "loadBalancerSourceRanges", Texts),
        (10, "externalName", Text),
        (11, "externalTrafficPolicy", Text),
        (12, "healthCheckNodePort", Skip),
        (13, "publishNotReadyAddresses", Flag),
        (17, "ipFamilyPolicy", Text),
        (18, "clusterIPs", Texts),
        (19, "ipFamilies", Texts),
        (20, "allocateLoadBalancerNodePorts", Flag),
        (21, "loadBalancerClass", Text),
        (22, "internalTrafficPolicy", Text),
        (23, "trafficDistribution", Text),
    ],
};

static SERVICE: Message = Message {
    name: "Service",
    fields: &[(1, "metadata", One(&METADATA)), (2, "spec", One(&SERVICE_SPEC)), (3, "status", Skip)],
};

static EXPRESSION: Message = Message {
    name: "LabelSelectorRequirement",
    fields: &[(1, "key", Text), (2, "operator", Text), (3, "values", Texts)],
};

static SELECTOR: Message = Message {
    name: "LabelSelector",
    fields: &[(1, "matchLabels", TextMap), (2, "matchExpressions", Many(&EXPRESSION))],
};

static POD_DISRUPTION_BUDGET_SPEC: Message = Message {
    name: "PodDisruptionBudgetSpec",
    fields: &[
        (1, "minAvailable", IntOrText),
        (2, "selector", One(&SELECTOR)),
        (3, "maxUnavailable", IntOrText),
        (4, "unhealthyPodEvictionPolicy", Text),
    ],
};

static POD_DISRUPTION_BUDGET: Message = Message {
    name: "PodDisruptionBudget",
    fields: &[(1, "metadata", One(&METADATA)), (2, "spec", One(&POD_DISRUPTION_BUDGET_SPEC)), (3, "status", Skip)],
};

static CONTAINER_PORT: Message = Message {
    name: "ContainerPort",
    fields: &[
        (1, "name", Text),
        (2, "hostPort", Skip),
        (3, "containerPort", Integer),
        (4, "protocol", Text),
        (5, "hostIP", Text),
    ],
};

static VARIABLE: Message = Message { name: "EnvVar", fields: &[(1, "name", Text), (2, "value", Text)] };

static NOTHING: Message = Message { name: "ResourceRequirements", fields: &[] };

static CONTAINER: Message = Message {
    name: "Container",
    fields: &[
        (1, "name", Text),
        (2, "image", Text),
        (3, "command", Texts),
        (4, "args", Texts),
        (5, "workingDir", Text),
        (6, "ports", Many(&CONTAINER_PORT)),
        (7, "env", Many(&VARIABLE)),
        (8, "resources", One(&NOTHING)),
        (13, "terminationMessagePath", Text),
        (14, "imagePullPolicy", Text),
        (16, "stdin", Flag),
        (17, "stdinOnce", Flag),
        (18, "tty", Flag),
        (20, "terminationMessagePolicy", Text),
    ],
};

static POD_SPEC: Message = Message {
    name: "PodSpec",
    fields: &[
        (2, "containers", Many(&CONTAINER)),
        (3, "restartPolicy", Text),
        (4, "terminationGracePeriodSeconds", Integer),
        (5, "activeDeadlineSeconds", Integer),
        (6, "dnsPolicy", Text),
        (7, "nodeSelector", TextMap),
        (8, "serviceAccountName", Text),
        (9, "serviceAccount", Text),
        (10, "nodeName", Text),
        (11, "hostNetwork", Flag),
        (12, "hostPID", Flag),
        (13, "hostIPC", Flag),
        (16, "hostname", Text),
        (17, "subdomain", Text),
        (19, "schedulerName", Text),
        (20, "initContainers", Many(&CONTAINER)),
        (24, "priorityClassName", Text),
    ],
};

static TEMPLATE: Message =
    Message { name: "PodTemplateSpec", fields: &[(1, "metadata", One(&METADATA)), (2, "spec", One(&POD_SPEC))] };

static ROLLING: Message = Message {
    name: "RollingUpdateDeployment",
    fields: &[(1, "maxUnavailable", IntOrText), (2, "maxSurge", IntOrText)],
};

static STRATEGY: Message =
    Message { name: "DeploymentStrategy", fields: &[(1, "type", Text), (2, "rollingUpdate", One(&ROLLING))] };

static DEPLOYMENT_SPEC: Message = Message {
    name: "DeploymentSpec",
    fields: &[
        (1, "replicas", Integer),
        (2, "selector", One(&SELECTOR)),
        (3, "template", One(&TEMPLATE)),
        (4, "strategy", One(&STRATEGY)),
        (5, "minReadySeconds", Integer),
        (6, "revisionHistoryLimit", Integer),
        (7, "paused", Flag),
        (9, "progressDeadlineSeconds", Integer),
    ],
};

static DEPLOYMENT: Message = Message {
    name: "Deployment",
    fields: &[(1, "metadata", One(&METADATA)), (2, "spec", One(&DEPLOYMENT_SPEC)), (3, "status", Skip)],
};
