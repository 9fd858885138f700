"""A server of a character language model: many clients at once, a step at a time over a WebSocket.

    python examples/serve.py                         a small network learns to write first (about a
                                                     minute); then open http://127.0.0.1:8000
    python examples/serve.py --net NET.safetensors   a network of your own, as `rnn.save` writes it
    python examples/serve.py --exported NET.safetensors
                                                     one that `rnn.export` wrote; without its gates
    python examples/serve.py --check-load            its latency, and ten minutes of clients good
                                                     and bad against it

The page writes the network's text live and shows its gates as they open. docs/serving.md has the
protocol. Ctrl-C or SIGTERM end it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import pathlib
import socket
import sys
from typing import Any

from support import experiments
from support.serving.model import load, load_exported, trained
from support.serving.protocol import Limits


def parser() -> argparse.ArgumentParser:
    made = experiments.parser("serve", __doc__, steps=3000, batch=32, lr=8e-3)
    add, positive = made.add_argument, experiments.positive
    file = made.add_mutually_exclusive_group().add_argument
    file("--net", type=pathlib.Path, metavar="FILE", help="by default one is trained, in --out")
    file("--exported", type=pathlib.Path, metavar="FILE", help="as `rnn.export` writes it")
    add("--cell", choices=("lstm", "gru"), default="lstm", help="of the one that is trained")
    add("--hidden", type=positive, default=128, help="its units (default: %(default)s)")
    add("--host", default="127.0.0.1", help="(default: %(default)s, this machine alone)")
    add("--port", type=int, default=8000, help="0 for any free one (default: %(default)s)")
    add(
        "--clients",
        type=positive,
        default=Limits.clients,
        help="places, and the rows of every step (default: %(default)s)",
    )
    add(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="a page elsewhere that may connect too, as https://example.org; may be repeated",
    )
    add(
        "--messages",
        type=float,
        default=Limits.messages,
        help="a client may send a second, in the long run (default: %(default)s)",
    )
    add("--check-load", action="store_true", help="measure, and write the record")
    add(
        "--soak",
        type=positive,
        default=600,
        metavar="SECONDS",
        help="of --check-load (default: %(default)s)",
    )
    return made


def work(args: argparse.Namespace) -> None:
    net = args.net or args.exported or trained(args)
    if args.check_load:
        check_load(args, net)
    else:
        run(args, net)


def run(args: argparse.Namespace, net: pathlib.Path) -> None:
    """Serve until a signal ends it."""
    import uvicorn

    from support.serving.app import made
    from support.serving.engine import Engine

    burst = max(Limits.burst, int(2 * args.messages))
    limits = Limits(clients=args.clients, messages=args.messages, burst=burst)
    model = load_exported(net) if args.exported else load(net)
    app = made(Engine(model, args.clients), limits, args.origin)
    config = uvicorn.Config(
        app,
        http="h11",  # it bounds the size of headers
        log_level="warning",
        access_log=False,
        ws_max_size=limits.frame,
        ws_per_message_deflate=False,  # small frames, and a client's memory stays small
        limit_concurrency=2 * args.clients + 64,  # connections of all kinds: more get a 503
        timeout_graceful_shutdown=5,
    )
    logging.getLogger("uvicorn.error").addFilter(short)
    with contextlib.closing(listening(args.host, args.port, limits.stall)) as bound:
        host, port = bound.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        print(f"serving {net} at http://{name}:{port} (Ctrl-C ends it)", flush=True)
        uvicorn.Server(config).run(sockets=[bound])


def listening(host: str, port: int, stall: float) -> socket.socket:
    """A socket whose connections end where the other side takes nothing for `stall` seconds, also
    those that the server has closed and that still hold what was to be sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=512)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * stall))
    return bound


def short(record: logging.LogRecord) -> bool:
    """A text frame that is no UTF-8 is its sender's mistake: a line in the log, no traceback."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = None
    return True


def check_load(args: argparse.Namespace, net: pathlib.Path) -> None:
    """Latency and the soak, against a server of its own; the record."""
    from support.serving import soak

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        file = "--exported" if args.exported else "--net"
        command = [sys.executable, __file__, file, str(net), "--port", "0"]
        return soak.checked([*command, "--clients", str(args.clients)], args.soak, seed)

    aside = ("net", "exported", "host", "port", "origin", "messages", "check_load")
    runs = experiments.seeds(args, one, aside)
    experiments.report(
        args,
        runs,
        soak.tables(runs),
        shape="the next character, for many at once",
        data="a network trained on the source of Python's standard library",
        shows="a server: a state for each client, one step for all",
        notes=soak.NOTES,
    )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
