//! Fields of built-in kinds that hold text and nothing else.
//!
//! In such a field a number or a truth value can only be meant as its text: `${{ var.port }}` becomes `8080` in quotes,
//! and one that is written without quotes is a mistake, which the API server would refuse.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::Value;

use super::evaluate::in_text;

/// The API groups of Kubernetes' own kinds. Kinds of other groups have their fields from elsewhere: of these only
/// what every object has is known.
const GROUPS: [&str; 19] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
];
const STORAGE: &str = "storage.k8s.io";

/// Fields that hold one text in every built-in type that has them, and in none anything else that is a scalar.
/// Source: the types of Kubernetes 1.37 (its OpenAPI document, by way of k8s-openapi).
const TEXTS: &str = "\
    accessMode acquireTime action address addressType allocationMode allocationTimestamp apiGroup \
    apiServerID appProtocol architecture attacher attribute audience beginRefreshAt binaryVersion bootID \
    buildDate caBundle cachingMode capacityKey certificate certificateChain certificateChainPath cidr \
    claimName clientCIDR clusterIP commonEncodingVersion compiler completedIndexes completionMode \
    completionTime component concurrencyPolicy conditionType container containerID containerName \
    containerRuntimeVersion continue counterSet creationTimestamp credentialBundlePath currentRevision \
    currentVolumeAttributesClassName datasetName datasetUUID defaultPartitionTypeAttribute \
    deletionTimestamp deprecatedFirstTimestamp deprecatedLastTimestamp deprecationWarning description \
    device deviceClassName devicePath directory diskName diskURI distinctAttribute dnsPolicy driver \
    driverName effect emulationMajor emulationMinor emulationVersion encodingVersion endpoints \
    endpointsNamespace error evaluationError eventTime expectedCompletionTime expirationTimestamp \
    expression extendedResourceName externalID externalName externalTrafficPolicy failedIndexes \
    failurePolicy field fieldPath fieldRef fieldsType finishedAt firstTimestamp format \
    fsGroupChangePolicy fsGroupPolicy fsType gateway generateName gitCommit gitTreeState gitVersion \
    gmsaCredentialSpec gmsaCredentialSpecName goVersion group groupVersion handler hardwareAddress \
    health heartbeatTime holderIdentity host hostIP hostname hostnameOverride image imageID \
    imagePullPolicy imageRef ingressClassName initiatorName intent interfaceName internalTrafficPolicy \
    ip ipFamilyPolicy ipMode iqn iscsiInterface jsonPath kernelVersion key keyPath keyType keyring \
    kubeProxyVersion kubeletConfigKey kubeletVersion labelSelectorPath lastHeartbeatTime \
    lastObservedTime lastPhaseTransitionTime lastProbeTime lastScaleTime lastScheduleTime \
    lastSuccessfulTime lastTimestamp lastTransitionTime lastUpdateTime leaseName level listKind \
    loadBalancerClass loadBalancerIP localhostProfile machineID major managedBy manager matchAttribute \
    matchPolicy medium message messageExpression minCompatibilityMajor minCompatibilityMinor minor \
    mountPath mountPropagation name namespace nodeAffinityPolicy nodeID nodeName nodeTaintsPolicy \
    nodeUID nominatedNodeName notAfter notBefore note operatingSystem operation operator osImage \
    parameterNotFoundAction parentCompositePodGroupName partitionTypeAttribute patchType path pathType \
    pdID pdName persistentVolumeName persistentVolumeReclaimPolicy phase pingTime pkixPublicKey platform \
    plural podCIDR podGroupName podIP podManagementPolicy podName podReplacementPolicy podUID policyName \
    pool poolName preemptionPolicy preferredHolder prefix priorityClassName procMount proofOfPossession \
    propagationPolicy protectionDomain protocol providerID provisioner pullPolicy qosClass rawSelector \
    reason reclaimPolicy recursiveReadOnly reference registry reinvocationPolicy renewTime \
    reportingComponent reportingController reportingInstance repository request requestName requester \
    resize resource resourceClaimName resourceClaimTemplateName resourceID resourceName resourceVersion \
    restartPolicy role rule runAsUserName runtimeClassName schedule schedulerName scheme scope scopeName \
    seLinuxChangePolicy secretFile secretName secretNamespace selectPolicy selector selfLink server \
    serverAddress service serviceAccount serviceAccountName serviceAccountUID serviceName \
    sessionAffinity shareID shareName sideEffects signerName singular singularName source \
    specReplicasPath startTime startedAt state status statusReplicasPath stopSignal storageClassName \
    storageMode storagePolicyID storagePolicyName storagePool storageVersionHash strategy string \
    stubPKCS10Request subPath subPathExpr subdomain subresource succeededIndexes system systemUUID \
    targetContainerName targetPortal targetVolumeAttributesClassName templateName tenant \
    terminationMessagePath terminationMessagePolicy time timeAdded timeZone token topologyKey \
    trafficDistribution trustBundle type unhealthyPodEvictionPolicy updateRevision url username \
    validationError valueExpression verb version volume volumeAttributesClassName volumeBindingMode \
    volumeHandle volumeID volumeMode volumeName volumeNamespace volumePath warning whenDeleted \
    whenScaled whenUnsatisfiable workingDir workloadName zone";

/// The same for lists of texts.
const LISTS: &str = "\
    accessModes add addresses admissionReviewVersions apiGroups apiVersions args audiences \
    bindMountOptions bindingConditions bindingFailureConditions categories cidrs clusterIPs command \
    compatibilityGroups containers conversionReviewVersions declaredFeatures decodableVersions \
    disableResizePreemption drop dryRun except externalIPs finalizers groups hostnames hosts ipFamilies \
    ips loadBalancerSourceRanges matchLabelKeys mismatchLabelKeys monitors mountOptions names \
    nameservers namespaces nonResourceURLs operations podCIDRs policyTypes portals resourceNames \
    resources scopes searches servedVersions shortNames skipNodeOperations storedVersions strings \
    targetWWNs topologyKeys usages validationActions values verbs versions volumeLifecycleModes \
    volumesInUse wwids";

/// The same for maps of texts.
const MAPS: &str = "\
    allocatedResourceStatuses annotations attachmentMetadata binaryData deprecatedTopology labels \
    matchLabels nodeSelector options selector stringData unverifiedUserAnnotations userAnnotations \
    volumeAttributes";

static TEXT_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| TEXTS.split_whitespace().collect());
static LIST_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| LISTS.split_whitespace().collect());
static MAP_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| MAPS.split_whitespace().collect());

/// `value` is a text in the items of these lists, and a number elsewhere.
const WITH_TEXT_VALUE: [&str; 6] = ["env", "httpHeaders", "options", "sysctls", "taints", "tolerations"];

/// Maps of quantities: their keys may be called anything, and their values may be numbers.
const QUANTITIES: [&str; 12] = [
    "allocatable",
    "allocatedResources",
    "capacity",
    "default",
    "defaultRequest",
    "hard",
    "limits",
    "max",
    "min",
    "overhead",
    "requests",
    "used",
];

/// What an object is, for the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    group: &'a str,
    kind: &'a str,
}

impl<'a> Of<'a> {
    pub(super) fn object(value: &'a Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        Self { group, kind: text("kind") }
    }

    /// Whether the field at these keys, from the object's root, holds text.
    pub(super) fn is_text(self, path: &[&str]) -> bool {
        match path {
            ["apiVersion" | "kind"]
            | ["metadata", "name" | "namespace"]
            | ["metadata", "labels" | "annotations", _]
            | ["metadata", "finalizers", _] => true,
            [.., parent, name] if GROUPS.contains(&self.group) || self.group == STORAGE => {
                self.is_special(path) || (!self.is_free(path) && is_text_name(parent, name, path))
            }
            _ => false,
        }
    }

    /// Below here the object's author says what there is.
    fn is_free(self, path: &[&str]) -> bool {
        match self.kind {
            "CustomResourceDefinition" => path.contains(&"schema"),
            "ControllerRevision" => path.first() == Some(&"data"),
            "ResourceClaim" | "ResourceClaimTemplate" | "DeviceClass" | "ResourceSlice" => {
                path.contains(&"parameters") || path.contains(&"devices")
            }
            _ => false,
        }
    }

    fn is_special(self, path: &[&str]) -> bool {
        match (self.kind, path) {
            ("ConfigMap", ["data" | "binaryData", _])
            | ("Secret", ["data" | "stringData", _])
            | ("StorageClass" | "VolumeAttributesClass", ["parameters", _])
            | ("IngressClass", ["spec", "controller"])
            | (_, [.., "securityContext", "supplementalGroupsPolicy"])
            | (_, [.., "seLinuxOptions", "user"])
            | (_, [.., "ownerReferences", _, "uid"]) => true,
            (_, [.., list, _, "value"]) => WITH_TEXT_VALUE.contains(list),
            _ => false,
        }
    }
}

fn is_text_name(parent: &str, name: &str, path: &[&str]) -> bool {
    // The keys of a map of texts may be called anything.
    if MAP_NAMES.contains(parent) {
        return true;
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return LIST_NAMES.contains(parent);
    }
    // So may the keys of other maps.
    !QUANTITIES.contains(&parent) && path.len() > 1 && TEXT_NAMES.contains(name)
}

/// Gives numbers and truth values in text fields at or below `path` their text.
pub(super) fn to_text(of: Of<'_>, path: &mut Vec<String>, value: &mut Value) {
    each(path, value, &mut |path, value| {
        if matches!(value, Value::Bool(_) | Value::Number(_))
            && is_text_at(of, path)
            && let Ok(text) = in_text(value)
        {
            *value = Value::String(text);
        }
    });
}

fn is_text_at(of: Of<'_>, path: &[String]) -> bool {
    of.is_text(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

fn each(path: &mut Vec<String>, value: &mut Value, act: &mut dyn FnMut(&[String], &mut Value)) {
    match value {
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                path.push(key.clone());
                each(path, item, act);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                path.push(n.to_string());
                each(path, item, act);
                path.pop();
            }
        }
        scalar => act(path, scalar),
    }
}

/// The keys to the numbers and truth values that stand, without quotes, where text belongs.
pub(super) fn misplaced(object: &Value) -> Vec<Vec<String>> {
    let of = Of::object(object);
    let mut found = Vec::new();
    walk(of, object, &mut Vec::new(), &mut found);
    found
}

fn walk<'a>(
    of: Of<'_>,
    value: &'a Value,
    path: &mut Vec<std::borrow::Cow<'a, str>>,
    found: &mut Vec<Vec<String>>,
) {
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                path.push(key.as_str().into());
                walk(of, item, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                path.push(n.to_string().into());
                walk(of, item, path, found);
                path.pop();
            }
        }
        Value::Bool(_) | Value::Number(_) => {
            // An object's own identity has checks of its own.
            let keys: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
            let identity =
                matches!(keys.as_slice(), ["apiVersion" | "kind"] | ["metadata", "name" | "namespace"]);
            if !identity && of.is_text(&keys) {
                found.push(keys.into_iter().map(str::to_owned).collect());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_text(group: &str, kind: &str, path: &str) -> bool {
        Of { group, kind }.is_text(&path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn text_by_kind_and_path() {
        for (group, kind, path, expected) in [
            ("", "ConfigMap", "data/port", true),
            ("", "Secret", "stringData/port", true),
            ("", "Service", "spec/selector/tier", true),
            ("", "Service", "spec/ports/0/port", false),
            ("", "Service", "spec/ports/0/targetPort", false),
            ("", "Service", "spec/ports/0/name", true),
            ("apps", "Deployment", "spec/replicas", false),
            ("apps", "Deployment", "spec/selector/matchLabels/v", true),
            ("apps", "Deployment", "spec/template/metadata/labels/v", true),
            ("apps", "StatefulSet", "spec/template/spec/containers/0/env/2/value", true),
            ("apps", "DaemonSet", "spec/template/spec/initContainers/0/args/1", true),
            ("batch", "CronJob", "spec/jobTemplate/spec/template/spec/containers/0/command/0", true),
            ("batch", "CronJob", "spec/jobTemplate/spec/template/spec/nodeSelector/zone", true),
            ("batch", "Job", "spec/backoffLimit", false),
            ("", "Pod", "spec/containers/0/resources/limits/cpu", false),
            ("", "Pod", "spec/containers/0/resources/requests/memory", false),
            ("", "Pod", "spec/containers/0/resources/limits/name", false),
            ("", "Pod", "spec/tolerations/0/value", true),
            ("", "Pod", "spec/tolerations/0/tolerationSeconds", false),
            (
                "",
                "Pod",
                "spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/values/0",
                true,
            ),
            ("networking.k8s.io", "Ingress", "spec/rules/0/http/paths/0/path", true),
            ("networking.k8s.io", "Ingress", "spec/rules/0/http/paths/0/backend/service/port/number", false),
            ("networking.k8s.io", "Ingress", "spec/tls/0/hosts/0", true),
            ("networking.k8s.io", "NetworkPolicy", "spec/ingress/0/from/0/ipBlock/cidr", true),
            ("storage.k8s.io", "StorageClass", "parameters/iops", true),
            ("scheduling.k8s.io", "PriorityClass", "value", false),
            ("autoscaling", "HorizontalPodAutoscaler", "spec/behavior/scaleUp/policies/0/value", false),
            ("autoscaling", "HorizontalPodAutoscaler", "spec/metrics/0/resource/target/averageValue", false),
            ("example.com", "Widget", "metadata/annotations/x", true),
            ("example.com", "Widget", "spec/name", false),
            ("example.com", "Widget", "spec/template/spec/containers/0/env/0/value", false),
            (
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "spec/versions/0/schema/openAPIV3Schema/properties/image/default",
                false,
            ),
            (
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "spec/versions/0/schema/openAPIV3Schema/default/image",
                false,
            ),
        ] {
            assert_eq!(is_text(group, kind, path), expected, "{kind} {path}");
        }
    }

    #[test]
    fn a_map_of_values_becomes_text_where_it_must() {
        let mut value = json!({"a": 1, "b": true, "c": "x", "d": null});
        let of = Of { group: "", kind: "ConfigMap" };
        to_text(of, &mut vec!["data".to_owned()], &mut value);
        assert_eq!(value, json!({"a": "1", "b": "true", "c": "x", "d": null}));
    }
}
