"""The service as a Ray Serve application: replicas on a cluster behind Ray's own proxy.

    pip install 'melanoma[ray-serve]'
    MELANOMA_WEIGHTS=/shared/bundle serve run deploy.ray_serve:build most=4     # 127.0.0.1:8000

Each replica is the whole service, `create_app` over the bundles of MELANOMA_WEIGHTS, a path that
every node sees. MELANOMA_... are read where the command runs, and are every replica's. Ray's proxy
bounds neither bodies nor rates: a public address needs deploy/nginx.conf or the like before it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from api.settings import Settings, read_settings
from melanoma.errors import MelanomaError

# As under SIGTERM: what is in flight has its time, and no longer.
STOP_SECONDS = 8.0


class Scale(BaseModel):
    """What `serve run` may be given as name=value: how many replicas, and how full they get."""

    model_config = ConfigDict(extra="forbid")

    least: int = Field(default=1, ge=1)
    most: int = Field(default=8, ge=1)
    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)
    # In flight a replica on average; beyond it another one is started.
    target: int = Field(default=8, ge=1)
    # What one replica takes at once: fewer than its own queue holds (MELANOMA_QUEUE), so that who
    # waits does so at the proxy, where another replica may take it.
    ongoing: int = Field(default=16, ge=1)
    queued: int = Field(default=128, ge=0)  # waiting at a proxy; beyond it 503
    upscale_seconds: float = Field(default=10.0, ge=0)
    downscale_seconds: float = Field(default=300.0, ge=0)


@serve.ingress()
class Melanoma:
    """A replica. Its networks are loaded where it runs, and never travel."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __serve_build_asgi_app__(self) -> Any:
        from api.app import load_app

        self.service = load_app(self.settings)
        return self.service

    def check_health(self) -> None:
        """Raise where a bundle does not give its golden score: Ray starts another replica."""
        readiness = self.service.state.service.readiness
        if readiness.state == "failed":
            raise RuntimeError(f"not ready: {readiness.bundles}")


def build(scale: Scale) -> Any:
    """The application for `serve run` and `serve deploy`."""
    try:
        settings = read_settings(os.environ)
    except MelanomaError as error:
        sys.exit(f"error: {error}")
    # A replica works in a folder of its own.
    settings = replace(settings, weights=tuple(path.resolve() for path in settings.weights))
    deployment = serve.deployment(
        Melanoma,
        name="melanoma",
        max_ongoing_requests=scale.ongoing,
        max_queued_requests=scale.queued,
        graceful_shutdown_timeout_s=STOP_SECONDS,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=5,
        health_check_timeout_s=20,
        ray_actor_options={"num_cpus": scale.cpus, "num_gpus": scale.gpus},
        autoscaling_config={
            "min_replicas": scale.least,
            "max_replicas": max(scale.least, scale.most),
            "target_ongoing_requests": scale.target,
            "upscale_delay_s": scale.upscale_seconds,
            "downscale_delay_s": scale.downscale_seconds,
        },
    )
    return deployment.bind(settings)
