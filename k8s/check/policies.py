"""What the house asks of its manifests, each rule a function over what an overlay builds.

A policy says what is wrong, with the manifest it is wrong in. That each of them can say so at all is shown by
tests/test_platform.py, which breaks a good manifest for each.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from .kustomize import Document, build, name
from .table import Row

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "geocrop"
UID = 10_000  # above those of a node's own users
LIVE = "portfolio.techarvest.co.zw"  # of the page that is there already
SWITCH = "switch"  # the one overlay that may claim it
EDGE = "edge"  # workers alone; what watches them is in the first cluster
DOMAIN = "techarvest.co.zw"
OURS = "/geocrop/"  # in the name of an image that we build
RELEASE = re.compile(r"\d+\.\d+\.\d+|[0-9a-f]{40}")  # tag of an image of ours: a version, or a git revision
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SIZES_MI = {"api": 512, "web": 512, "tiles": 512, "worker": 2048, "jupyter": 2048, "mlflow": 768}  # of memory, at most
MLFLOW_MI = 768  # at least: 418 were measured, twice as many with job execution on
LABORATORY_GI = 20
CLUSTERWIDE = {"PriorityClass", "ClusterRole", "ClusterRoleBinding"}
READING = {"get", "list", "watch"}
SECRET_WORDS = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE|CREDENTIAL|(^|_)KEY($|_)")
GIVEN = {"given", "control-plane"}  # secrets that come from outside, docs/platform.md
OF_THE_CLUSTER = {"kube-root-ca.crt"}
ASKED_AS = {"MLFLOW_SERVER_ALLOWED_HOSTS"}  # variables that say by which names a server is asked, not whom it asks
UNITS_MI = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "M": 1e6 / 2**20, "G": 1e9 / 2**20}


# --- reading manifests -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    "Something that makes pods."

    page: Document
    pod: dict[str, Any]  # Its pod's spec
    labels: dict[str, str]  # Its pods' labels

    @property
    def called(self) -> str:
        return name(self.page)

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def stays(self) -> bool:
        return self.page["kind"] in ("Deployment", "StatefulSet", "DaemonSet")


def of_kind(pages: Iterable[Document], *kinds: str) -> list[Document]:
    return [page for page in pages if page["kind"] in kinds]


def workloads(pages: Iterable[Document]) -> Iterator[Workload]:
    "All that makes pods."
    for page in pages:
        spec = page.get("spec", {})
        if page["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if page["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
            template = spec["template"]
            yield Workload(page, template["spec"], template.get("metadata", {}).get("labels", {}))
        elif page["kind"] == "Pod":
            yield Workload(page, spec, page["metadata"].get("labels", {}))


def chosen(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    "Whether a selector chooses labels; an empty one chooses everything, none chooses nothing."
    if selector is None:
        return False
    for rule in selector.get("matchExpressions", []):
        value, operator = labels.get(rule["key"]), rule["operator"]
        if not {
            "In": value in rule.get("values", []),
            "NotIn": value not in rule.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[operator]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def serves(service: Document, workload: Workload) -> bool:
    "Whether a service leads to a workload's pods; one without selector leads to an address."
    selector = service["spec"].get("selector")
    return bool(selector) and chosen({"matchLabels": selector}, workload.labels)


def mebibytes(quantity: str) -> float:
    "A quantity of memory."
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(quantity)).groups()  # type: ignore[union-attr]
    return float(number) * UNITS_MI.get(unit, 2**-20)


def secrets(pages: Iterable[Document]) -> dict[str, dict[str, str]]:
    "What operators will make: secret -> key -> template of its value."
    made = {}
    for page in of_kind(pages, "ExternalSecret"):
        target = page["spec"].get("target", {})
        keys = dict(target.get("template", {}).get("data", {}))
        for source in page["spec"].get("dataFrom", []):
            for rewrite in source.get("rewrite", []):
                keys[rewrite["regexp"]["target"]] = ""
        keys |= {entry["secretKey"]: "" for entry in page["spec"].get("data", []) if not target.get("template")}
        made[target.get("name", page["metadata"]["name"])] = keys
    return made


def told(workload: Workload, pages: list[Document]) -> Iterator[tuple[str, str]]:
    "All a workload's containers are told: (name of the variable or place, text)."
    maps = {page["metadata"]["name"]: page.get("data", {}) for page in of_kind(pages, "ConfigMap")}
    made = secrets(pages)
    for container in workload.containers:
        yield from (("command", str(word)) for word in [*container.get("command", []), *container.get("args", [])])
        for entry in container.get("env", []):
            source = entry.get("valueFrom", {})
            if ref := source.get("secretKeyRef"):
                yield entry["name"], made.get(ref["name"], {}).get(ref["key"], "")
            elif ref := source.get("configMapKeyRef"):
                yield entry["name"], maps.get(ref["name"], {}).get(ref["key"], "")
            else:
                yield entry["name"], str(entry.get("value", ""))
        for source in container.get("envFrom", []):
            known = maps if "configMapRef" in source else made
            yield from known.get((source.get("configMapRef") or source["secretRef"])["name"], {}).items()
    for volume in workload.pod.get("volumes", []):
        if ref := volume.get("configMap"):
            yield from maps.get(ref["name"], {}).items()
        elif ref := volume.get("secret"):
            yield from made.get(ref["secretName"], {}).items()


def uses(workload: Workload, pages: list[Document]) -> Iterator[tuple[Document, dict[str, Any]]]:
    "Services that a workload is told of, with the port."
    texts = list(told(workload, pages))
    for service in of_kind(pages, "Service"):
        if serves(service, workload):
            continue  # itself
        called = re.escape(service["metadata"]["name"])
        for port in service["spec"]["ports"]:
            address = re.compile(rf"(?<![\w.-]){called}(\.{NAMESPACE}(\.svc[\w.]*)?)?:{port['port']}(?!\d)")
            here = service["metadata"]["name"]
            if any(
                (address.search(text) and key not in ASKED_AS) or (key == "PGHOST" and text == here)
                for key, text in texts
            ):
                yield service, port


# --- policies --------------------------------------------------------------------------------------------------------

Policy = Callable[[list[Document], str], Iterator[str]]


def images_are_pinned(pages: list[Document], overlay: str) -> Iterator[str]:
    "Ours by version or git revision, others' by version and digest; never latest."
    for workload in workloads(pages):
        for container in workload.containers:
            image = container["image"]
            place, _, digest = image.partition("@")
            tag = place.rpartition("/")[2].partition(":")[2]
            if not tag or tag == "latest":
                yield f"{workload.called}: found image {image}; expected a version"
            elif OURS in place and not RELEASE.fullmatch(tag):
                yield f"{workload.called}: found image {image}; expected the tag a version x.y.z or a git revision"
            elif OURS not in place and not DIGEST.fullmatch(digest):
                yield f"{workload.called}: found image {image}; expected @sha256:..., from k8s/images/pin.sh"


def pods_are_unprivileged(pages: list[Document], overlay: str) -> Iterator[str]:
    "Nobody is root or may become it, writes to an image, has a capability, or sees the node."
    for workload in workloads(pages):
        pod = workload.pod.get("securityContext", {})
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if workload.pod.get(key):
                yield f"{workload.called}: found {key}; expected a pod of its own"
        if any("hostPath" in volume for volume in workload.pod.get("volumes", [])):
            yield f"{workload.called}: found a hostPath; expected a claim or an emptyDir"
        for container in workload.containers:
            own = container.get("securityContext", {})
            both = pod | own
            at = f"{workload.called}, container {container['name']}"
            for key in ("runAsUser", "runAsGroup"):
                if not (both.get(key) or 0) > UID:
                    yield f"{at}: found {key} {both.get(key)}; expected one above {UID}"
            if both.get("runAsNonRoot") is not True:
                yield f"{at}: found no runAsNonRoot"
            if both.get("seccompProfile", {}).get("type") != "RuntimeDefault":
                yield f"{at}: found no seccompProfile RuntimeDefault"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{at}: may gain privileges; expected allowPrivilegeEscalation: false"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{at}: may write to its image; expected readOnlyRootFilesystem: true"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{at}: found capabilities {own.get('capabilities')}; expected all dropped"


def tokens_are_for_readers(pages: list[Document], overlay: str) -> Iterator[str]:
    "No pod holds a key of the cluster, but for one whose account may read alone."
    roles = {(p["kind"], p["metadata"]["name"]): p.get("rules", []) for p in of_kind(pages, "Role", "ClusterRole")}
    reading = set()
    for binding in of_kind(pages, "RoleBinding", "ClusterRoleBinding"):
        rules = roles.get((binding["roleRef"]["kind"], binding["roleRef"]["name"]))
        if rules and all(set(rule["verbs"]) <= READING and "secrets" not in rule["resources"] for rule in rules):
            reading |= {subject["name"] for subject in binding.get("subjects", [])}
    for workload in workloads(pages):
        account = workload.pod.get("serviceAccountName")
        if workload.pod.get("automountServiceAccountToken") is not False and account not in reading:
            yield f"{workload.called}: mounts a token; expected automountServiceAccountToken: false"


def memory_is_bounded(pages: list[Document], overlay: str) -> Iterator[str]:
    "Every container says what it needs and what it may take; every scratch folder has an end."
    for workload in workloads(pages):
        for container in workload.containers:
            resources = container.get("resources", {})
            for kind, key in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                if key not in resources.get(kind, {}):
                    yield f"{workload.called}, container {container['name']}: found no {kind}.{key}"
        for volume in workload.pod.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{workload.called}: found emptyDir {volume['name']} without sizeLimit"


def sizes_are_agreed(pages: list[Document], overlay: str) -> Iterator[str]:
    "512 Mi for what is asked, 2 Gi for maps and notebooks, 768 Mi for MLflow, 20 Gi for the laboratory."
    for workload in workloads(pages):
        role = workload.labels.get("app.kubernetes.io/name", "")
        for container in workload.pod["containers"] if role in SIZES_MI and workload.stays else []:
            found = container.get("resources", {}).get("limits", {}).get("memory", "0")
            if mebibytes(found) > SIZES_MI[role] or (role == "mlflow" and mebibytes(found) < MLFLOW_MI):
                yield f"{workload.called}: found limit {found} of memory; expected {SIZES_MI[role]} Mi"
    for claim in of_kind(pages, "PersistentVolumeClaim"):
        found = claim["spec"]["resources"]["requests"]["storage"]
        if claim["metadata"]["name"] == "jupyter" and mebibytes(found) != LABORATORY_GI * 1024:
            yield f"{name(claim)}: found {found}; expected {LABORATORY_GI} Gi"


def listeners_are_probed(pages: list[Document], overlay: str) -> Iterator[str]:
    "Who listens is asked whether it is ready, and whether it lives."
    for workload in workloads(pages):
        for container in workload.pod["containers"] if workload.stays else []:
            for probe in ("readinessProbe", "livenessProbe"):
                if container.get("ports") and probe not in container:
                    yield f"{workload.called}, container {container['name']}: found no {probe}"


def pods_are_ranked(pages: list[Document], overlay: str) -> Iterator[str]:
    "Every pod has a priority that is there."
    known = {page["metadata"]["name"] for page in of_kind(pages, "PriorityClass")}
    for workload in workloads(pages):
        if (found := workload.pod.get("priorityClassName")) not in known:
            yield f"{workload.called}: found priority {found}; expected one of {', '.join(sorted(known))}"


def nodes_can_be_drained(pages: list[Document], overlay: str) -> Iterator[str]:
    "What stays has one disruption budget, and that lets a pod go."
    budgets = of_kind(pages, "PodDisruptionBudget")
    for workload in workloads(pages):
        if workload.page["kind"] in ("Deployment", "StatefulSet"):
            mine = [budget for budget in budgets if chosen(budget["spec"].get("selector"), workload.labels)]
            if len(mine) != 1:
                yield f"{workload.called}: found {len(mine)} disruption budgets; expected one"
            for budget in mine:
                most, least = budget["spec"].get("maxUnavailable"), budget["spec"].get("minAvailable")
                if most == 0 or (isinstance(least, int) and least >= workload.page["spec"].get("replicas", 1)):
                    yield f"{name(budget)}: lets no pod go; expected maxUnavailable: 1"


def network_is_closed(pages: list[Document], overlay: str) -> Iterator[str]:
    "A policy denies everything that no other allows, and none allows everything."
    policies = of_kind(pages, "NetworkPolicy")
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if not any(page["spec"] == deny for page in policies):
        yield f"{overlay}: found no NetworkPolicy that denies by default"
    for page in policies:
        rules = [*page["spec"].get("ingress", []), *page["spec"].get("egress", [])]
        peers = [rule.get("from") or rule.get("to") for rule in rules]
        if any(not peer for peer in peers) or any(one in ({}, {"podSelector": {}}) for peer in peers for one in peer):
            yield f"{name(page)}: lets everybody in or out; expected peers by label or address"


def openings_are_used(pages: list[Document], overlay: str) -> Iterator[str]:
    "Who is told of a server may reach it, from both sides; nothing is open that nobody is told of."
    every = list(workloads(pages))
    for workload in every:
        told_of = set()
        for service, port in uses(workload, pages):
            told_of.add(service["metadata"]["name"])
            behind = [one for one in every if serves(service, one)]
            at = f"{workload.called} -> {service['metadata']['name']}:{port['port']}"
            for server in behind:
                number = _number(port, server)
                if not _lets(pages, "Egress", workload.labels, server.labels, number):
                    yield f"{at}: nothing lets it out"
                if not _lets(pages, "Ingress", server.labels, workload.labels, number):
                    yield f"{at}: nothing lets it in"
            if not behind and not _lets(pages, "Egress", workload.labels, None, port.get("targetPort", port["port"])):
                yield f"{at}: nothing lets it out to the address behind"
        for label in workload.labels:
            need = label.removeprefix("geocrop.io/needs-")
            if need != label and need not in ("internet", "kubernetes") and need not in told_of:
                yield f"{workload.called}: is let out to {need}, of which it is told nothing"


def _number(port: dict[str, Any], server: Workload) -> int | str:
    "Number of a service's target port."
    target = port.get("targetPort", port["port"])
    named = {p.get("name"): p["containerPort"] for c in server.pod["containers"] for p in c.get("ports", [])}
    return named.get(target, target)


def _lets(pages: list[Document], way: str, mine: dict[str, str], other: dict[str, str] | None, port: int | str) -> bool:
    "Whether a policy of the pods `mine` opens a way to pods, or to an address where `other` is None."
    side, peers = ("ingress", "from") if way == "Ingress" else ("egress", "to")
    for page in of_kind(pages, "NetworkPolicy"):
        spec = page["spec"]
        if way in spec["policyTypes"] and chosen(spec["podSelector"], mine):
            for rule in spec.get(side, []):
                if rule.get("ports") and port not in [opened["port"] for opened in rule["ports"]]:
                    continue
                for peer in rule.get(peers, []):
                    if other is None and "ipBlock" in peer and "except" not in peer["ipBlock"]:
                        return True
                    if other is not None and "namespaceSelector" not in peer and chosen(peer.get("podSelector"), other):
                        return True
    return False


def addresses_lead_somewhere(pages: list[Document], overlay: str) -> Iterator[str]:
    "A server that a pod is told of by a name of the cluster is there."
    there = {page["metadata"]["name"] for page in of_kind(pages, "Service")} | {"localhost"}
    address = re.compile(rf"(?:https?://|@)([a-z][a-z0-9-]*)(?:\.{NAMESPACE}(?:\.svc[\w.]*)?)?:\d")
    for workload in workloads(pages):
        for _, text in told(workload, pages):
            for host in sorted(set(address.findall(text)) - there):
                yield f"{workload.called}: is told of {host}; expected one of the services"


def doors_are_open(pages: list[Document], overlay: str) -> Iterator[str]:
    "Traefik may reach what a host leads to, and the way leads somewhere."
    services = {page["metadata"]["name"]: page for page in of_kind(pages, "Service")}
    for page in of_kind(pages, "Ingress"):
        for path in [path for rule in page["spec"].get("rules", []) for path in rule["http"]["paths"]]:
            backend = path["backend"]["service"]
            service = services.get(backend["name"])
            if service is None or backend["port"].get("number") not in [p["port"] for p in service["spec"]["ports"]]:
                yield f"{name(page)}: found the way to {backend}; expected a service and a port of it"
                continue
            for workload in workloads(pages):
                if serves(service, workload) and workload.labels.get("geocrop.io/door") != "true":
                    yield f"{name(page)}: {workload.called} is no door; expected its label geocrop.io/door"


def settings_are_known(pages: list[Document], overlay: str) -> Iterator[str]:
    "Variables are those that geocrop.settings reads, with values of their kind."
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from geocrop.settings import SETTINGS, _meant  # the standard library and yaml are all it needs

    kinds = {f"GEOCROP_{s}_{k}".upper(): kind for s, cls in SETTINGS.items() for k, kind in get_type_hints(cls).items()}
    kinds |= {"GEOCROP_HOME": str, "GEOCROP_TODAY": str}
    for workload in workloads(pages):
        for variable, text in told(workload, pages):
            if variable.startswith("GEOCROP_"):
                if variable not in kinds:
                    yield f"{workload.called}: found {variable}; expected a key of geocrop.settings"
                elif kinds[variable] is not str and not isinstance(_meant(text, kinds[variable]), kinds[variable]):
                    yield f"{workload.called}: found {variable}={text!r}; expected {kinds[variable].__name__}"


def hosts_are_ours(pages: list[Document], overlay: str) -> Iterator[str]:
    "Each host is named, of our domain, encrypted and claimed once; that of the live page only by the switch."
    claimed = dict[str, str]()
    for page in pages:
        rules = page.get("spec", {}).get("rules", []) if page["kind"] == "Ingress" else []
        routes = page.get("spec", {}).get("routes", []) if page["kind"].startswith("IngressRoute") else []
        hosts = [rule.get("host", "") for rule in rules]
        hosts += [host for route in routes for host in re.findall(r"`([^`]*)`", route.get("match", "")) or [""]]
        if page["kind"] == "Ingress" and page["spec"].get("defaultBackend"):
            yield f"{name(page)}: claims every host; expected rules"
        tls = page.get("spec", {}).get("tls", [])
        covered = {host for entry in tls for host in entry.get("hosts", [])} if isinstance(tls, list) else set(hosts)
        for host in set(hosts):
            if host == LIVE and overlay != SWITCH:
                yield f"{name(page)}: claims {host}, the live page; only the overlay {SWITCH} may"
            if not host or "*" in host or not host.endswith("." + DOMAIN):
                yield f"{name(page)}: found host {host!r}; expected a name under {DOMAIN}"
            if host not in covered:
                yield f"{name(page)}: found no TLS for {host}"
            if host in claimed:
                yield f"{name(page)}: {host} is claimed by {claimed[host]} as well"
            claimed[host] = name(page)


def secrets_are_elsewhere(pages: list[Document], overlay: str) -> Iterator[str]:
    "No secret stands in a manifest."
    for page in of_kind(pages, "Secret"):
        yield f"{name(page)}: a secret in git; expected an ExternalSecret"
    for workload in workloads(pages):
        for container in workload.containers:
            for entry in container.get("env", []):
                if SECRET_WORDS.search(entry["name"]) and entry.get("value"):
                    yield f"{workload.called}: found the value of {entry['name']}; expected secretKeyRef"
    for page in of_kind(pages, "ConfigMap"):
        for key in page.get("data", {}):
            if SECRET_WORDS.search(key):
                yield f"{name(page)}: found {key}; expected it in an ExternalSecret"


def references_are_there(pages: list[Document], overlay: str) -> Iterator[str]:
    "ConfigMaps, secrets and their keys, claims and accounts that a pod names are made by the same overlay."
    named = {kind: {p["metadata"]["name"] for p in of_kind(pages, kind)} for kind in
             ("ConfigMap", "PersistentVolumeClaim", "ServiceAccount")}  # fmt: skip
    keys = {p["metadata"]["name"]: set(p.get("data", {})) for p in of_kind(pages, "ConfigMap")}
    made = secrets(pages)
    for workload in workloads(pages):
        wanted: list[tuple[str, str, str | None]] = []
        for container in workload.containers:
            for entry in container.get("env", []):
                source = entry.get("valueFrom", {})
                wanted += [("Secret", ref["name"], ref["key"]) for ref in [source.get("secretKeyRef")] if ref]
                wanted += [("ConfigMap", ref["name"], ref["key"]) for ref in [source.get("configMapKeyRef")] if ref]
            for source in container.get("envFrom", []):
                wanted += [("Secret", ref["name"], None) for ref in [source.get("secretRef")] if ref]
                wanted += [("ConfigMap", ref["name"], None) for ref in [source.get("configMapRef")] if ref]
        for volume in workload.pod.get("volumes", []):
            if ref := volume.get("secret"):
                wanted += [("Secret", ref["secretName"], item["key"]) for item in ref.get("items", [])]
                wanted += [("Secret", ref["secretName"], None)]
            if (ref := volume.get("configMap")) and not ref.get("optional"):
                wanted += [("ConfigMap", ref["name"], None)]
            if ref := volume.get("persistentVolumeClaim"):
                wanted += [("PersistentVolumeClaim", ref["claimName"], None)]
        if account := workload.pod.get("serviceAccountName"):
            wanted += [("ServiceAccount", account, None)]
        for kind, which, key in wanted:
            there = which in (made if kind == "Secret" else named[kind]) or which in GIVEN | OF_THE_CLUSTER
            if not there or (key and key not in (made if kind == "Secret" else keys).get(which, {key})):
                yield f"{workload.called}: found {kind} {which}{f', key {key}' if key else ''}; nothing here makes it"
    for service in of_kind(pages, "Service"):
        behind = [workload for workload in workloads(pages) if serves(service, workload)]
        ports = {p.get("name") for w in behind for c in w.pod["containers"] for p in c.get("ports", [])}
        ports |= {p["containerPort"] for w in behind for c in w.pod["containers"] for p in c.get("ports", [])}
        if service["spec"].get("selector") and not behind:
            yield f"{name(service)}: chooses no pod"
        for port in service["spec"]["ports"] if behind else []:
            if port.get("targetPort", port["port"]) not in ports:
                yield f"{name(service)}: found target port {port.get('targetPort')}; expected one of {ports}"


def servers_come_first(pages: list[Document], overlay: str) -> Iterator[str]:
    "In the order of waves, a server comes before those that are told of it."
    every = list(workloads(pages))
    for workload in every:
        for service, _ in uses(workload, pages):
            for server in every:
                if serves(service, server) and wave(server.page) > wave(workload.page):
                    yield f"{workload.called}: is made before {server.called}, which it needs"


def wave(page: Document) -> int:
    "Sync wave of a manifest; without one it is in the wave 0, and what runs by the clock comes last."
    annotations = page["metadata"].get("annotations", {})
    return int(annotations.get("argocd.argoproj.io/sync-wave", 99 if page["kind"] == "CronJob" else 0))


def namespace_is_ours(pages: list[Document], overlay: str) -> Iterator[str]:
    "All is in one namespace; of the cluster there are priorities and what a reader may see."
    for page in pages:
        if page["kind"] in CLUSTERWIDE:
            if page["kind"] == "ClusterRole" and any(set(rule["verbs"]) - READING for rule in page["rules"]):
                yield f"{name(page)}: may change the cluster; expected {', '.join(sorted(READING))}"
        elif page["metadata"].get("namespace") != NAMESPACE:
            yield f"{name(page)}: found namespace {page['metadata'].get('namespace')}; expected {NAMESPACE}"


POLICIES: tuple[Policy, ...] = (
    images_are_pinned, pods_are_unprivileged, tokens_are_for_readers, memory_is_bounded, sizes_are_agreed,
    listeners_are_probed, pods_are_ranked, nodes_can_be_drained, network_is_closed, openings_are_used,
    addresses_lead_somewhere, doors_are_open, settings_are_known, hosts_are_ours, secrets_are_elsewhere,
    references_are_there, servers_come_first, namespace_is_ours,
)  # fmt: skip


def deployed(root: Path, overlay: str) -> list[Document]:
    "What is in a cluster of an overlay: what watches is deployed beside it, but for the edge, which the first watches."
    return build(root / "k8s/overlays" / overlay) + (build(root / "k8s/monitoring") if overlay != EDGE else [])


def rows(root: Path) -> Iterator[Row]:
    "Each policy over each overlay."
    overlays = sorted(path.parent for path in (root / "k8s/overlays").glob("*/kustomization.yaml"))
    built = {folder.name: deployed(root, folder.name) for folder in overlays}
    for policy in POLICIES:
        wrong = [f"{overlay}: {text}" for overlay, pages in built.items() for text in policy(pages, overlay)]
        called = policy.__name__.replace("_", " ")
        yield Row(f"policy: {called}", sum(map(len, built.values())), (policy.__doc__ or "").rstrip("."), wrong, [])
