"""python -m melanoma.serve: the page and POST /predict over one or more sealed bundles."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError, StorageError
from melanoma.scoring.backends.backend_catalog import list_backends
from melanoma.workflows.places import weights_folder

if TYPE_CHECKING:
    from fastapi import FastAPI

app = t.make_app()
# `docker stop` kills after ten seconds: what is in flight has seven of them, and what holds on
# after that, such as a thread amid a score, one more.
GRACE_SECONDS = 7
LAST_SECONDS = 1.0
# A tenth of Python's own: the event loop waits so long for each of the threads that decode, score
# and explain, several times for each answer.
_SWITCH_SECONDS = 0.0005


@app.command()
def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Recipe, file or name, that names the bundle."),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", help="Sealed bundle (default weights/RECIPE); repeatable."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8000,
    device: Annotated[
        str | None, typer.Option("--device", help="auto (the default), cpu or cuda.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help=f"{list_backends()} (default auto).")
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="float32 (the default) or bfloat16.")
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="N", help="Photographs that may wait for a score."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", help="What callers must send; better in the environment."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="N", help="Photographs scored together.")
    ] = None,
    batch_wait_ms: Annotated[
        str | None,
        typer.Option("--batch-wait-ms", metavar="MS", help="How long one waits for the others."),
    ] = None,
    lime_seconds: Annotated[
        str | None, typer.Option("--lime-seconds", metavar="S", help="LIME's deadline.")
    ] = None,
    body_mb: Annotated[
        str | None,
        typer.Option("--body-mb", metavar="MB", help="Uploads in memory, all together."),
    ] = None,
    body_seconds: Annotated[
        str | None,
        typer.Option("--body-seconds", metavar="S", help="How long one upload may take."),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option("--root-path", metavar="/PATH", help="The prefix that a proxy takes off."),
    ] = None,
) -> None:
    """Serve the page and the API until SIGINT or SIGTERM; scores in flight are answered, an
    explanation by LIME is stopped, and after eight seconds nothing is left.

    Each option but --config, --host and --port may stand in the environment as well, as
    MELANOMA_QUEUE for --queue; what is given here counts.
    """
    signal.signal(signal.SIGTERM, _leave)
    sys.setswitchinterval(_SWITCH_SECONDS)
    if token == "":
        # Taken as none it would open the service to everybody, as of an empty $TOKEN.
        raise RecipeError("--token: it is empty; leave the option out to serve without a token")
    chosen = {
        "WEIGHTS": _weights(weights, config),
        "DEVICE": device,
        "BACKEND": backend,
        "PRECISION": precision,
        "QUEUE": queue,
        "TOKEN": token,
        "BATCH": batch,
        "BATCH_WAIT_MS": batch_wait_ms,
        "LIME_SECONDS": lime_seconds,
        "BODY_MB": body_mb,
        "BODY_SECONDS": body_seconds,
        "ROOT_PATH": root_path,
    }
    environment = {f"MELANOMA_{name}": text for name, text in chosen.items() if text is not None}
    # Here and below, so that --help waits neither for torch nor for FastAPI.
    from api.settings import read_settings

    settings = read_settings({**os.environ, **environment})
    # The port before the weights: a port in use is known at once, hashing takes seconds.
    with _bind(host, port) as listener:
        from api.app import load_app

        served = load_app(settings)
        bundles = [scorer.bundle for scorer in served.state.service.scorers.values()]
        drawn = {True: " (trained on drawings)", False: ""}
        names = ", ".join(f"{b.name} {b.digest[:12]}{drawn[b.phantoms]}" for b in bundles)
        link = t.link(f"{_address(listener)}{settings.root_path}")
        _run(served, listener, f"{names} on {link}", grace=GRACE_SECONDS)


def _weights(weights: list[Path] | None, config: Path | None) -> str | None:
    """The folders, joined as PATH is; None where the environment names them."""
    if weights is None and config is None and os.environ.get("MELANOMA_WEIGHTS"):
        return None
    if not weights:
        recipe = t.read_recipe_options(config or t.DEFAULT_CONFIG, None, None)
        weights = [weights_folder(None, recipe)]
    if any(os.pathsep in str(folder) for folder in weights):
        raise RecipeError(f"--weights: a folder's name must not hold {os.pathsep!r}")
    return os.pathsep.join(map(str, weights))


def _bind(host: str, port: int) -> socket.socket:
    """A socket that holds the port and does not listen yet. Raises StorageError in use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise RecipeError(f"--host {host}: {error.strerror or error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StorageError(
            f"port {port} of {host}: {error.strerror}; choose another with --port"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    """Where a browser on this machine finds it: "every interface" is an address for nobody."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _run(served: FastAPI, listener: socket.socket, what: str, *, grace: int) -> None:
    import uvicorn

    from api.protocol import JsonProtocol

    class Server(uvicorn.Server):
        taken: OSError | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            try:
                await super().startup(sockets)
            except OSError as error:
                # Ended in order, or the application's end would be a traceback.
                self.taken, self.should_exit = error, True
                await self.lifespan.shutdown()
                return
            t.say(f"serving {what}; Ctrl-C ends")

    # No access log: it would hold addresses of callers and whatever they put into a query.
    config = uvicorn.Config(
        served,
        http=JsonProtocol,
        loop="asyncio",  # whatever else is installed
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace,
    )
    server = Server(config)
    signal.signal(signal.SIGTERM, _end)
    with suppress(KeyboardInterrupt):  # Ctrl-C is how a service in a terminal ends
        server.run(sockets=[listener])
    if server.taken is not None:
        # Two services may both have bound the port; only one of them can listen.
        raise StorageError(
            f"{_address(listener)}: {server.taken.strerror}; choose another with --port"
        )


def _end(number: int, frame: object) -> None:
    # uvicorn raises the signal again once the last request is answered: all is done. Python's own
    # way out waits for each thread, and takes apart what torch and OpenVINO hold: on a busy machine
    # that took more than the seconds that are left before SIGKILL, and no timer runs in it.
    del number, frame
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _leave(number: int, frame: object) -> None:
    # Before there is a server: what is half written is removed on the way out.
    del number, frame
    # Python waits for its threads, and one that never ends would keep it for ever.
    last = threading.Timer(LAST_SECONDS, os._exit, [0])
    last.daemon = True
    last.start()
    sys.exit(0)


if __name__ == "__main__":
    t.run(app)
