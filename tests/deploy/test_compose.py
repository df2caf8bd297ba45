"""docker-compose.yaml and nginx.conf agree with the service's own settings and limits."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from front import CONFIGURATION, ROOT, directive

from api.bodies import MEGABYTE
from api.limits import JSON_BYTES
from api.settings import Settings, read_settings
from api.uploads import BATCH
from melanoma.serve import GRACE_SECONDS, LAST_SECONDS

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def fill_in(text: str, environment: dict[str, str]) -> str:
    """${NAME:-default} as compose fills it in."""
    return re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: environment.get(found[1]) or found[2], str(text)
    )


def settings_of(environment: dict[str, str]) -> Settings:
    given = SERVICES["app"]["environment"]
    return read_settings({name: fill_in(value, environment) for name, value in given.items()})


def test_without_an_environment_the_service_has_its_own_defaults() -> None:
    assert settings_of({}) == Settings(weights=(Path("/weights"),), device="cpu")


def test_compose_hands_on_every_setting_that_the_service_knows_and_no_other() -> None:
    named = {name for name in SERVICES["app"]["environment"] if name.startswith("MELANOMA_")}
    # The engine is two words of the environment.
    known = {field.name.upper() for field in fields(Settings)} - {"ENGINE"}
    assert named == {f"MELANOMA_{name}" for name in known | {"BACKEND", "PRECISION"}}
    for name in named - {"MELANOMA_WEIGHTS", "MELANOMA_DEVICE"}:
        special = {
            "MELANOMA_BACKEND": "torch",
            "MELANOMA_PRECISION": "bfloat16",
            "MELANOMA_TOKEN": "s3cret",
            "MELANOMA_BODY_MB": "90",
            "MELANOMA_ROOT_PATH": "/skin",
        }
        changed = special.get(name, "7")
        assert settings_of({name: changed}) != settings_of({}), name


def test_the_file_s_head_names_the_variables_that_do_not_reach_the_service() -> None:
    head = (ROOT / "docker-compose.yaml").read_text().partition("services:")[0]
    fixed = {
        name
        for name, value in SERVICES["app"]["environment"].items()
        if name.startswith("MELANOMA_") and f"${{{name}:-" not in value
    }
    assert fixed == set(re.findall(r"MELANOMA_[A-Z]+", head))


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_writes_has_rights_or_is_reached_from_afar(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert service.get("user", "") != "0"


def test_the_service_is_reached_through_nginx_alone_and_reaches_nobody() -> None:
    app, nginx = SERVICES["app"], SERVICES["nginx"]
    assert "ports" not in app
    assert all(COMPOSE["networks"][network] == {"internal": True} for network in app["networks"])
    assert set(app["networks"]) < set(nginx["networks"])
    assert "app" in nginx["depends_on"], "nginx must start after the service, and stop before it"
    # `--scale app=N` needs names and ports that are nobody's own.
    assert not {"container_name", "ports", "hostname"} & set(app)
    port = app["environment"]["PORT"]
    assert f"server app:{port} resolve " in CONFIGURATION.read_text()
    assert f"listen {nginx['ports'][0].rsplit(':', 1)[1]};" in CONFIGURATION.read_text()
    (mounted,) = nginx["volumes"]
    assert (ROOT / mounted.split(":")[0]) == CONFIGURATION


def test_who_stops_waits_for_whom() -> None:
    graceful = GRACE_SECONDS + LAST_SECONDS
    for service in SERVICES.values():
        assert seconds(service["stop_grace_period"]) > graceful
    worker = seconds(directive("worker_shutdown_timeout"))
    assert graceful <= worker < seconds(SERVICES["nginx"]["stop_grace_period"])


def test_nginx_waits_longer_than_the_service_may_take() -> None:
    assert seconds(directive("proxy_read_timeout")) > 2 * Settings().lime_seconds


def test_nginx_lets_through_what_the_service_may_take_and_keeps_it_in_memory() -> None:
    limits = {place: int(size) for place, size in sizes("client_max_body_size").items()}
    assert JSON_BYTES < limits["server"] * 2**20 < 1.2 * JSON_BYTES
    batch = BATCH.json_bytes
    assert batch < limits["/predict/batch"] * 2**20 < 1.2 * batch
    assert directive("client_body_buffer_size") == f"{limits['server']}m"
    # A batch is handed on as it comes: the service, not nginx, bounds the time that it takes.
    assert directive("proxy_request_buffering") == "off"


def test_all_the_batches_that_nginx_lets_in_have_a_deadline_and_a_budget_behind_it() -> None:
    plain = Settings()
    assert BATCH.json_bytes < plain.body_mb * MEGABYTE
    assert plain.body_seconds < seconds(directive("proxy_read_timeout"))


def sizes(name: str) -> dict[str, str]:
    """Megabytes, of the server and of the location that differs."""
    first, second = re.findall(rf"^\s*{name} (\d+)m;", CONFIGURATION.read_text(), re.MULTILINE)
    return {"server": first, "/predict/batch": second}


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))
