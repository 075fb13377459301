"""The break-it exercise: for each policy of k8s/check a good manifest is broken in one place, and the policy says so.

Also here: every script that runs in the cluster, on real servers. Whether the manifests themselves are good says
`make platform-check`.
"""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "k8s"))
from check import argo, kustomize, policies, schemas, table  # noqa: E402
from check.__main__ import rows  # noqa: E402

Pages = list[dict[str, Any]]


@pytest.fixture(scope="module")
def tools() -> Path:
    "Environment of platform-check."
    if not (kustomize.TOOLS / "kubectl").is_file():
        pytest.skip("no kubectl in k8s/check/.venv; run: make platform-check")
    return kustomize.TOOLS


@pytest.fixture(scope="module")
def production(tools: Path) -> Pages:
    "What the overlay builds, and what watches it. Tests break copies."
    return policies.deployed(ROOT, "production")


@pytest.fixture(scope="module")
def workflows(tools: Path) -> Pages:
    return kustomize.build(ROOT / "k8s/workflows")


@pytest.fixture(scope="module")
def applications(tools: Path) -> Pages:
    return kustomize.build(ROOT / "k8s/argocd/apps")


def one(pages: Pages, kind: str, name: str) -> dict[str, Any]:
    "The manifest of a kind and name."
    (found,) = (page for page in pages if page["kind"] == kind and page["metadata"]["name"] == name)
    return found


def pod(pages: Pages, name: str = "api", kind: str = "Deployment") -> dict[str, Any]:
    return one(pages, kind, name)["spec"]["template"]["spec"]


def container(pages: Pages, name: str = "api", kind: str = "Deployment") -> dict[str, Any]:
    return pod(pages, name, kind)["containers"][0]


def labels(pages: Pages, name: str = "api") -> dict[str, str]:
    return one(pages, "Deployment", name)["spec"]["template"]["metadata"]["labels"]


def closed(pages: Pages) -> dict[str, Any]:
    return container(pages)["securityContext"]


def without(pages: Pages, kind: str, name: str) -> None:
    pages.remove(one(pages, kind, name))


def ingress(host: str) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 8000}}}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "new", "namespace": "geocrop"},
        "spec": {
            "tls": [{"hosts": [host], "secretName": "new-tls"}],
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    }  # fmt: skip


def route(match: str) -> dict[str, Any]:
    "Traefik's own way to claim a host."
    spec = {"routes": [{"match": match}], "tls": {}}
    return {"kind": "IngressRoute", "metadata": {"name": "sly", "namespace": "geocrop"}, "spec": spec}


def variable(name: str, value: str) -> Callable[[Pages], Any]:
    return lambda pages: container(pages)["env"].append({"name": name, "value": value})


def rule(pages: Pages, policy: str, side: str) -> dict[str, Any]:
    return one(pages, "NetworkPolicy", policy)["spec"][side][0]


# policy -> ways to break a good overlay, each with a word of what the policy must say
BROKEN: dict[policies.Policy, list[tuple[Callable[[Pages], Any], str]]] = {
    policies.images_are_pinned: [
        (lambda p: container(p).update(image="git.techarvest.co.zw/geocrop/api:latest"), "latest"),
        (lambda p: container(p).update(image="git.techarvest.co.zw/geocrop/api"), "expected a version"),
        (lambda p: container(p).update(image="git.techarvest.co.zw:3000/geocrop/api"), "expected a version"),
        (lambda p: container(p).update(image="git.techarvest.co.zw/geocrop/api:main"), "git revision"),
        (lambda p: container(p, "redis", "StatefulSet").update(image="docker.io/valkey/valkey:9.0.1"), "sha256"),
        (lambda p: container(p, "redis", "StatefulSet").update(image="valkey/valkey:9@sha256:abc"), "sha256"),
    ],
    policies.pods_are_unprivileged: [
        (lambda p: pod(p)["securityContext"].update(runAsUser=1000), "runAsUser 1000"),
        (lambda p: closed(p).update(runAsUser=0), "runAsUser 0"),
        (lambda p: pod(p)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
        (lambda p: pod(p)["securityContext"].pop("seccompProfile"), "seccompProfile"),
        (lambda p: closed(p).update(readOnlyRootFilesystem=False), "readOnlyRootFilesystem"),
        (lambda p: closed(p).update(allowPrivilegeEscalation=True), "allowPrivilegeEscalation"),
        (lambda p: closed(p).update(privileged=True), "privileges"),
        (lambda p: closed(p).update(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}), "NET_RAW"),
        (lambda p: pod(p).update(hostNetwork=True), "hostNetwork"),
        (lambda p: pod(p)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}), "hostPath"),
        (lambda p: pod(p, "jupyter")["initContainers"][0].pop("securityContext"), "container kernel"),
    ],
    policies.tokens_are_for_readers: [
        (lambda p: pod(p).pop("automountServiceAccountToken"), "token"),
        (lambda p: pod(p).update(automountServiceAccountToken=True, serviceAccountName="secrets-reader"), "token"),
    ],
    policies.memory_is_bounded: [
        (lambda p: container(p)["resources"]["limits"].pop("memory"), "limits.memory"),
        (lambda p: container(p)["resources"]["requests"].pop("cpu"), "requests.cpu"),
        (lambda p: pod(p)["volumes"].append({"name": "heap", "emptyDir": {}}), "heap"),
    ],
    policies.sizes_are_agreed: [
        (lambda p: container(p)["resources"]["limits"].update(memory="513Mi"), "513Mi"),
        (lambda p: container(p, "worker")["resources"]["limits"].update(memory="3Gi"), "3Gi"),
        (lambda p: container(p, "mlflow")["resources"]["limits"].update(memory="512Mi"), "512Mi"),
        (
            lambda p: one(p, "PersistentVolumeClaim", "jupyter")["spec"]["resources"]["requests"].update(storage="2Gi"),
            "2Gi",
        ),
    ],
    policies.listeners_are_probed: [(lambda p: container(p).pop("livenessProbe"), "livenessProbe")],
    policies.pods_are_ranked: [
        (lambda p: pod(p).pop("priorityClassName"), "priority None"),
        (lambda p: without(p, "PriorityClass", "geocrop-data"), "geocrop-data"),
    ],
    policies.nodes_can_be_drained: [
        (lambda p: without(p, "PodDisruptionBudget", "api"), "0 disruption budgets"),
        (lambda p: one(p, "PodDisruptionBudget", "api")["spec"].update(maxUnavailable=0), "lets no pod go"),
    ],
    policies.network_is_closed: [
        (lambda p: without(p, "NetworkPolicy", "default-deny"), "denies by default"),
        (lambda p: rule(p, "redis", "ingress").pop("from"), "everybody"),
        (lambda p: rule(p, "redis", "ingress").update({"from": [{"podSelector": {}}]}), "everybody"),
    ],
    policies.openings_are_used: [
        (lambda p: labels(p).pop("geocrop.io/needs-postgres"), "api -> postgres:5433: nothing lets it out"),
        (lambda p: without(p, "NetworkPolicy", "needs-minio"), "minio:9000: nothing lets it out"),
        (lambda p: without(p, "NetworkPolicy", "redis"), "redis:6379: nothing lets it in"),
        (lambda p: rule(p, "answers", "ingress")["ports"][0].update(port=8002), "answers:8001: nothing lets it in"),
        (lambda p: labels(p).update({"geocrop.io/needs-mlflow": "true"}), "told nothing"),
    ],
    policies.addresses_lead_somewhere: [
        (lambda p: without(p, "Service", "triage"), "StatefulSet/alertmanager: is told of triage"),
        (lambda p: without(p, "Service", "postgres"), "worker: is told of postgres"),
        (variable("GEOCROP_API_ANSWERS", "http://answer:8001"), "told of answer;"),
    ],
    policies.doors_are_open: [
        (lambda p: labels(p, "mlflow").pop("geocrop.io/door"), "no door"),
        (lambda p: without(p, "Service", "jupyter"), "expected a service"),
    ],
    policies.settings_are_known: [
        (variable("GEOCROP_API_PROT", "8000"), "GEOCROP_API_PROT"),
        (variable("GEOCROP_JOBS_LEASE_S", "half a minute"), "expected float"),
        (variable("GEOCROP_API_EMBEDDED", "perhaps"), "expected bool"),
        (lambda p: one(p, "ConfigMap", "settings")["data"].update(GEOCROP_STORE_MODEL="s3://m"), "GEOCROP_STORE_MODEL"),
    ],
    policies.hosts_are_ours: [
        (lambda p: p.append(ingress("portfolio.techarvest.co.zw")), "the live page"),
        (lambda p: p.append(ingress("*.techarvest.co.zw")), "'*.techarvest.co.zw'"),
        (lambda p: p.append(ingress("portfolio.example.org")), "portfolio.example.org"),
        (lambda p: p.append(ingress("ml.techarvest.co.zw")), "claimed by"),
        (lambda p: one(p, "Ingress", "lab")["spec"].pop("tls"), "no TLS"),
        (lambda p: one(p, "Ingress", "lab")["spec"]["rules"][0].pop("host"), "host ''"),
        (lambda p: one(p, "Ingress", "lab")["spec"].update(defaultBackend={}, tls=[{"hosts": []}]), "no TLS"),
        (lambda p: p.append(route("Host(`portfolio.techarvest.co.zw`)")), "the live page"),
    ],
    policies.secrets_are_elsewhere: [
        (variable("AWS_SECRET_ACCESS_KEY", "wJalr"), "AWS_SECRET_ACCESS_KEY"),
        (lambda p: p.append({"kind": "Secret", "metadata": {"name": "open"}, "data": {"a": "Yg=="}}), "Secret/open"),
        (lambda p: one(p, "ConfigMap", "settings")["data"].update(GEOCROP_API_SECRET="a"), "GEOCROP_API_SECRET"),
    ],
    policies.references_are_there: [
        (lambda p: without(p, "ConfigMap", "tracking"), "ConfigMap tracking"),
        (lambda p: without(p, "ExternalSecret", "service"), "Secret service"),
        (lambda p: without(p, "PersistentVolumeClaim", "jupyter"), "PersistentVolumeClaim jupyter"),
        (lambda p: pod(p).update(serviceAccountName="nobody"), "ServiceAccount nobody"),
        (lambda p: one(p, "Service", "redis")["spec"].update(selector={"app": "redis"}), "chooses no pod"),
        (lambda p: one(p, "Service", "api")["spec"]["ports"][0].update(targetPort="https"), "target port https"),
        (lambda p: one(p, "ExternalSecret", "postgres")["spec"]["target"]["template"].update(data={"P": ""}), "key"),
    ],
    policies.servers_come_first: [
        (
            lambda p: one(p, "StatefulSet", "postgres")["metadata"]["annotations"].update(
                {"argocd.argoproj.io/sync-wave": "5"}
            ),
            "api: is made before StatefulSet/postgres",
        )
    ],
    policies.namespace_is_ours: [
        (lambda p: one(p, "Service", "api")["metadata"].update(namespace="default"), "default"),
        (
            lambda p: p.append(
                {"kind": "ClusterRole", "metadata": {"name": "c"}, "rules": [{"resources": ["pods"], "verbs": ["*"]}]}
            ),
            "may change the cluster",
        ),
    ],
}
CASES = [
    pytest.param(policy, broken, said, id=f"{policy.__name__}-{i}")
    for policy, ways in BROKEN.items()
    for i, (broken, said) in enumerate(ways)
]


def test_every_policy_has_been_broken():
    assert set(BROKEN) == set(policies.POLICIES)


def test_what_is_deployed_breaks_none(production: Pages):
    assert [text for policy in policies.POLICIES for text in policy(production, "production")] == []


@pytest.mark.parametrize(("policy", "broken", "said"), CASES)
def test_a_bad_manifest_is_refused(production: Pages, policy: policies.Policy, broken: Any, said: str):
    pages = copy.deepcopy(production)
    broken(pages)
    found = list(policy(pages, "production"))
    assert any(said in text for text in found), found


def test_the_switch_and_nothing_else_claims_the_live_page(production: Pages):
    pages = [*production, ingress(policies.LIVE)]
    assert list(policies.hosts_are_ours(pages, policies.SWITCH)) == []
    assert any("the live page" in text for text in policies.hosts_are_ours(pages, "production"))


# --- schemas, workflows, applications, Terraform ----------------------------------------------------------------------


def test_a_word_that_no_schema_knows_is_found(production: Pages, workflows: Pages, applications: Pages):
    bad = copy.deepcopy(
        [
            one(production, "Deployment", "api"),
            one(production, "ExternalSecret", "service"),
            one(workflows, "CronWorkflow", "retrain-weekly"),
            one(applications, "Application", "external-secrets"),
        ]
    )
    bad[0]["spec"]["replica"] = 2
    bad[1]["spec"]["secretStoreReference"] = {"name": "here"}
    bad[2]["spec"]["scheduled"] = ["* * * * *"]
    bad[3]["spec"]["syncPolicy"]["automated"]["selfheal"] = True
    bad.append({"apiVersion": "example.org/v1", "kind": "Unheard", "metadata": {"name": "of"}})
    found = schemas.problems(bad)
    for tool, word in (
        ("kubernetes", "replica"), ("hera", "scheduled"), ("types", "secretStoreReference"), ("types", "selfheal"),
        ("nothing", "Unheard/of"),
    ):  # fmt: skip
        assert any(word in text for text in found[tool]), found
    good = [one(production, "Deployment", "api"), one(workflows, "CronWorkflow", "retrain-weekly")]
    assert not any(schemas.problems(good).values())


def steps(pages: Pages) -> list[str]:
    "All that is said of workflows and of what starts them."
    templates = {page["metadata"]["name"]: page for page in pages if page["kind"] == "WorkflowTemplate"}
    said = [text for page in templates.values() for text in argo.workflow(page, pages)]
    for page in pages:
        if page["kind"] in ("CronWorkflow", "WorkflowEventBinding"):
            said += argo.submits(page, templates)
    pods = [pod for page in templates.values() for pod in argo.pods(page)]
    return said + [text for policy in argo.OF_PODS for text in policy(pods, "workflows")]


def retrain(pages: Pages) -> dict[str, Any]:
    return one(pages, "WorkflowTemplate", "retrain")["spec"]


def template(pages: Pages, number: int = 0) -> dict[str, Any]:
    return retrain(pages)["templates"][number]


def task(pages: Pages, number: int) -> dict[str, Any]:
    return template(pages)["dag"]["tasks"][number]


def passed(pages: Pages) -> list[dict[str, str]]:
    "Parameters that the binding of drift passes on."
    return one(pages, "WorkflowEventBinding", "drift")["spec"]["submit"]["arguments"]["parameters"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda p: template(p).update(name="train"), "entrypoint retrain"),
        (lambda p: task(p, 1).update(template="scripts"), "template scripts"),
        (lambda p: task(p, 3).update(depends="gate"), "depends on gate"),
        (lambda p: task(p, 2)["arguments"]["parameters"][0].update(value="reproduce.sh"), "script reproduce.sh"),
        (lambda p: task(p, 2)["arguments"]["parameters"].pop(), "passes ['script']"),
        (lambda p: template(p, 2).update(inputs={"parameters": [{"name": "script"}]}), "uses input words"),
        (lambda p: template(p, 2)["container"].update(image="geocrop-lab"), "expected a version"),
        (lambda p: template(p, 2)["container"]["securityContext"].pop("readOnlyRootFilesystem"), "write to its image"),
        (lambda p: without(p, "ServiceAccount", "argo-executor"), "executor argo-executor"),
        (lambda p: retrain(p).pop("podMetadata"), "needs-kubernetes"),
        (
            lambda p: one(p, "WorkflowTemplate", "retrain")["spec"]["arguments"]["parameters"].pop(),
            "parameter approval",
        ),
        (lambda p: one(p, "CronWorkflow", "retrain-weekly")["spec"].update(schedules=["weekly"]), "'weekly'"),
        (lambda p: one(p, "CronWorkflow", "retrain-weekly")["spec"].update(timezone="Harare"), "timezone Harare"),
        (lambda p: one(p, "CronWorkflow", "retrain-weekly")["spec"].pop("concurrencyPolicy"), "twice at once"),
        (lambda p: passed(p)[0].update(name="why"), "passes why"),
        (lambda p: passed(p).pop(), "without anybody's leave"),
    ],
)
def test_a_workflow_that_lacks_something_is_refused(workflows: Pages, broken: Any, said: str):
    assert steps(workflows) == []
    pages = copy.deepcopy(workflows)
    broken(pages)
    assert any(said in text for text in steps(pages)), steps(pages)


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        ("external-secrets", lambda s: s["syncPolicy"]["automated"].update(prune=False), "expected prune"),
        ("external-secrets", lambda s: s["syncPolicy"].pop("automated"), "expected prune"),
        ("external-secrets", lambda s: s["source"].update(targetRevision="2.*"), "exact version"),
        (
            "geocrop",
            lambda s: s["template"]["spec"]["source"].update(path="k8s/overlay/{{ .name }}"),
            "k8s/overlay/edge",
        ),
    ],
)
def test_an_application_that_leads_nowhere_is_refused(applications: Pages, name: str, broken: Any, said: str):
    (page,) = (copy.deepcopy(page) for page in applications if page["kind"].startswith("Application")
               and page["metadata"]["name"] == name)  # fmt: skip
    assert list(argo.application(page, ROOT)) == []
    broken(page["spec"])
    assert any(said in text for text in argo.application(page, ROOT)), list(argo.application(page, ROOT))


def test_terraform_that_makes_more_or_less_is_refused(tools: Path, tmp_path: Path):
    changes = {  # file, what stands there, what instead; a word of what is said
        "good": ("quotas.tf", "", "", ""),
        "more": ("namespaces.tf", '_namespace_v1" "argocd"', '_secret_v1" "argocd"', "kubernetes_secret_v1.argocd"),
        "open": ("namespaces.tf", '"restricted"', '"privileged"', "pod security privileged"),
        "unknown": ("quotas.tf", "default_request", "default_requests", "defaultRequests"),
        "other": ("versions.tf", '"2.38.0"', '">= 2"', "version ['>= 2']"),
        "runs": ("versions.tf", "provider ", 'module "all" { source = "./all" }\nprovider ', "module"),
    }  # fmt: skip
    for name, (file, old, new, _) in changes.items():
        folder = shutil.copytree(ROOT / "k8s/terraform", tmp_path / name)
        (folder / file).write_text(
            (folder / file).read_text().replace(old, new) if old else (folder / file).read_text()
        )
    program = (
        "import json, pathlib, sys; from check import terraform as t; "
        "print(json.dumps({p.name: list(t.problems(t.read(p))) for p in pathlib.Path(sys.argv[1]).iterdir()}))"
    )
    done = subprocess.run([tools / "python", "-c", program, tmp_path], capture_output=True, text=True, cwd=ROOT / "k8s")
    said = json.loads(done.stdout)
    assert said.pop("good") == []
    for name, found in said.items():
        assert any(changes[name][3] in text for text in found), (name, found)


# --- the table -------------------------------------------------------------------------------------------------------


def test_a_check_that_dies_or_skips_or_finds_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (row,) = rows(tmp_path, ("nowhere",))
    assert not row.good and "No module named" in row.problems[0]
    assert table.Row("pods", 1, "by eye", [], []).good
    assert not table.Row("pods", 0, "by eye", [], []).good
    assert not table.Row("pods", 1, "by eye", [], ["no eye"]).good
    shown = table.shown(
        [table.Row("pods", 2, "by eye", ["one is blue"], ["no eye"]), table.Row("rules", 0, "", [], [])]
    )
    assert shown.splitlines()[2].split() == ["pods", "2", "by", "eye", "1", "1"]
    assert "PROBLEM pods: one is blue" in shown and "SKIPPED pods: no eye" in shown and "rules: found none" in shown
