"""The files for platforms: each fits its schema, says what the others say, and names only what there is."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service import __version__, cli
from service.api.app import ROUTES
from service.contract import contract
from service.setting_values import PREFIX
from service.settings import ClientSettings, Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "docker" / "compose.yaml"
UNIT = ROOT / "deploy" / "systemd" / "taskpost@.service"
SETTINGS = {f"{PREFIX}{one.name.upper()}" for kind in (Settings, ClientSettings) for one in fields(kind)}
OF_TOOLS = ("keda.sh/", "monitoring.coreos.com/", "kustomize.config.k8s.io/")


def documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path, document


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for _, document in documents() if document["kind"] == kind]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in of_kind("Deployment"):
        yield one["metadata"]["name"], one["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_each_manifest(version: str) -> None:
    """Strictly: a misspelt field is a fault, not a comment."""
    for path, document in documents():
        if not document["apiVersion"].startswith(OF_TOOLS):
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as exc:
                pytest.fail(f"{path.name}: {exc.message}")


def test_the_kustomization_names_every_manifest() -> None:
    """And the image's tag is today's version."""
    top = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    beside = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert beside == set(top["resources"])
    assert [{"name": "taskpost", "newTag": __version__}] == top["images"]
    for component in ("with-keda", "with-prometheus"):
        named = yaml.safe_load((KUBERNETES / component / "kustomization.yaml").read_text())["resources"]
        assert {path.name for path in (KUBERNETES / component).glob("*.yaml")} - {"kustomization.yaml"} == set(named)


def test_pods_have_no_rights_that_they_do_not_need() -> None:
    """A number for the user, no root file system to write to, no capabilities, no token of the cluster's API."""
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert 10001 == pod["securityContext"]["runAsUser"], name
        assert pod["automountServiceAccountToken"] is False, name
        [container] = pod["containers"]
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"], name
        assert not rights["allowPrivilegeEscalation"], name
        assert {"drop": ["ALL"]} == rights["capabilities"], name
        assert "memory" in container["resources"]["limits"], name


def test_pods_start_parts_that_exist_and_give_them_time_to_drain() -> None:
    """A worker ends before 25 s; nothing kills it sooner."""
    for name, pod in pods():
        [container] = pod["containers"]
        assert name == f"taskpost-{container['args'][0]}"
        assert container["args"][0] in cli.PARTS
        assert pod["terminationGracePeriodSeconds"] > (25 if container["args"] == ["worker"] else 5)


def test_probes_and_monitors_ask_for_paths_that_exist() -> None:
    """Liveness is not readiness: an outage of Redis must restart nothing."""
    [web] = [pod for name, pod in pods() if name == "taskpost-web"]
    assert "/livez" == web["containers"][0]["livenessProbe"]["httpGet"]["path"]
    assert "/readyz" == web["containers"][0]["readinessProbe"]["httpGet"]["path"]
    [scaled] = of_kind("ScaledObject")
    asked, _, query = scaled["spec"]["triggers"][0]["metadata"]["url"].partition(":8080")[2].partition("?")
    monitored = of_kind("ServiceMonitor")[0]["spec"]["endpoints"][0]["path"]
    assert {asked.replace("/default/", "/{queue}/"), monitored, "/livez", "/readyz"} <= set(ROUTES)
    known = {one["name"] for one in contract()["paths"]["/v1/queues/{queue}/scale"]["get"]["parameters"]}
    assert {pair.partition("=")[0] for pair in query.split("&")} <= known


def test_every_setting_that_the_files_name_exists() -> None:
    """A typing mistake in a manifest would be a setting that does nothing."""
    texts = [path.read_text() for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    texts += [path.read_text() for path in (ROOT / "docker").rglob("*") if path.is_file()]
    named = {name for text in texts for name in re.findall(r"TASKPOST_[A-Z_]+[A-Z]", text)}
    assert set() == named - SETTINGS


def test_selectors_find_what_they_are_for() -> None:
    """Service, budgets and policies select labels that pods have."""
    labelled = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind("Deployment")]
    wanted = [one["spec"]["selector"] for one in of_kind("Service")]
    wanted += [one["spec"]["selector"]["matchLabels"] for one in of_kind("PodDisruptionBudget")]
    for labels in wanted:
        assert any(labels.items() <= pod.items() for pod in labelled), labels


def test_compose_takes_the_file() -> None:
    """By the schema of the Compose specification."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stdout


def test_compose_mounts_files_that_exist_and_starts_parts_that_do() -> None:
    """And what only some want has a profile."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name, service in services.items():
        mounted = [one.partition(":")[0] for one in service.get("volumes", []) if one.startswith(".")]
        assert [] == [one for one in mounted if not (COMPOSE.parent / one).exists()], name
        if "entrypoint" not in service and str(service.get("image", "")).startswith("taskpost:"):
            assert service["command"][0] in cli.PARTS, name
    always = {name for name, service in services.items() if "profiles" not in service}
    assert {"valkey", "web", "worker", "scheduler"} == always
    scraped = yaml.safe_load((COMPOSE.parent / "observability" / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert ["web:8080"] == scraped["static_configs"][0]["targets"]


def test_the_unit_of_systemd_starts_each_part_and_lets_workers_drain() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    assert "/opt/taskpost/bin/taskpost %i" == unit["Service"]["ExecStart"]
    assert "mixed" == unit["Service"]["KillMode"]
    assert int(unit["Service"]["TimeoutStopSec"]) > 25
    assert "yes" == unit["Service"]["DynamicUser"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="looks with systemd's own eyes where it is installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / "taskpost@web.service"
    text = UNIT.read_text().replace("/opt/taskpost/bin/taskpost", "/bin/true").replace("/opt/taskpost", "/")
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    assert [] == [line for line in done.stderr.splitlines() if copy.name in line]
