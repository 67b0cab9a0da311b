//! Three hundred objects of twelve kinds, the whole way: come, change, go back, shrink.

use super::{SOON, Small, config_map, namespace};
use crate::harness::{ControlPlane, shared};

const EACH: usize = 25;
const OBJECTS: usize = 300;

/// Twelve kinds, each with its plural and with what its manifests hold; `NAME` and `VALUE` are put in.
const KINDS: [(&str, &str, &str, &str); 12] = [
    ("v1", "ConfigMap", "configmaps", "data: {value: VALUE}"),
    ("v1", "Secret", "secrets", "stringData: {value: VALUE}"),
    ("v1", "ServiceAccount", "serviceaccounts", "automountServiceAccountToken: false"),
    ("v1", "Service", "services", "spec: {selector: {app: NAME}, ports: [{port: 80}]}"),
    ("v1", "LimitRange", "limitranges", "spec: {limits: [{type: Container, default: {memory: 1Gi}}]}"),
    (
        "apps/v1",
        "Deployment",
        "deployments",
        "spec: {replicas: 0, selector: {matchLabels: {app: NAME}}, template: {metadata: {labels: {app: NAME}}, \
         spec: {containers: [{name: main, image: example.com/main:1}]}}}",
    ),
    (
        "batch/v1",
        "CronJob",
        "cronjobs",
        "spec: {schedule: '0 3 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, \
         containers: [{name: main, image: example.com/main:1}]}}}}}",
    ),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "spec: {podSelector: {}}"),
    (
        "networking.k8s.io/v1",
        "Ingress",
        "ingresses",
        "spec: {defaultBackend: {service: {name: NAME, port: {number: 80}}}}",
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "spec: {minAvailable: 0, selector: {matchLabels: {app: NAME}}}",
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "Role",
        "roles",
        "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]",
    ),
    ("coordination.k8s.io/v1", "Lease", "leases", "spec: {holderIdentity: VALUE}"),
];

fn objects(ns: &str, each: usize, value: &str) -> String {
    let object = |(api_version, kind, _, rest): (&str, &str, &str, &str), number: usize| {
        let name = format!("{}-{number}", kind.to_lowercase());
        let rest = rest.replace("NAME", &name).replace("VALUE", value);
        let metadata = format!("{{name: {name}, namespace: {ns}, annotations: {{value: {value}}}}}");
        format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {metadata}\n{rest}\n")
    };
    let all = KINDS.into_iter().flat_map(|kind| (0..each).map(move |number| object(kind, number)));
    all.collect::<Vec<_>>().join("---\n")
}

/// The values of all members of the test's set, by `kubectl`.
async fn values(plane: &ControlPlane, ns: &str) -> Vec<String> {
    let kinds = KINDS.map(|(api_version, _, plural, _)| match api_version.split_once('/') {
        Some((group, _)) => format!("{plural}.{group}"),
        None => plural.to_owned(),
    });
    let path = "jsonpath={range .items[*]}{.metadata.annotations.value}{\"\\n\"}{end}";
    let get = ["get", &kinds.join(","), "-n", ns, "-l", "applyset.kubernetes.io/part-of", "-o", path];
    plane.kubectl(&get).await.unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_objects_of_twelve_kinds_come_change_and_go() {
    let plane = shared("alpha").await.unwrap();
    let ns = "many";
    let mut small = Small::new(plane, ns);
    const FILE: &str = "profiles/app/app/many.yaml";
    small.repo.edit("fleets/retail.yaml", "progressDeadline: 15s", "progressDeadline: 1m");
    small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write(FILE, &objects(ns, EACH, "one"));
    let first = small.repo.push("Three hundred");
    let mark = plane.audit().mark().await.unwrap();
    small.daemon.start();
    small.converged(&first).await;
    assert_eq!(values(plane, ns).await, vec!["one"; OBJECTS]);
    let ours = async |mark| {
        let events = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns);
        events.filter(|event| event.verb != "watch" && event.resource != "namespaces")
    };
    // One server-side apply for each object, and nothing else for it.
    let requests = ours(mark).await;
    assert_eq!(requests.verb("patch").count(), OBJECTS, "{}", requests.lines());
    assert_eq!(requests.count(), OBJECTS, "{}", requests.lines());

    let mark = plane.audit().mark().await.unwrap();
    let second = small.repo.write(FILE, &objects(ns, EACH, "two")).push("All change");
    small.converged(&second).await;
    assert_eq!(values(plane, ns).await, vec!["two"; OBJECTS]);
    assert_eq!(ours(mark).await.count(), OBJECTS);

    let third = small.repo.revert(&second);
    small.converged(&third).await;
    assert_eq!(values(plane, ns).await, vec!["one"; OBJECTS]);

    // Fewer of each; and one that others made is not counted, or touched.
    plane.kubectl_with_input(&["create", "-f", "-"], &config_map(ns, "foreign", "theirs")).await.unwrap();
    let mark = plane.audit().mark().await.unwrap();
    let fourth = small.repo.write(FILE, &objects(ns, EACH - 5, "one")).push("Five fewer of each");
    small.converged(&fourth).await;
    assert_eq!(values(plane, ns).await, vec!["one"; OBJECTS - 60]);
    let requests = ours(mark).await;
    assert_eq!(
        (requests.verb("delete").count(), requests.verb("patch").count()),
        (60, 0),
        "{}",
        requests.lines()
    );
    super::eventually("the foreign one is there", SOON, async || {
        super::value(plane, ns, "foreign").await.map(drop).ok_or_else(|| "gone".to_owned())
    })
    .await;
}
