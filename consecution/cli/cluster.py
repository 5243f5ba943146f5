"""`consecution coordinator` and `consecution worker`: the processes of a cluster."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consecution.cli.cluster_connection import DEFAULT_COORDINATOR, Coordinator, CoordinatorKey, KeysFile, public_key
from consecution.cli.console import leave, print_json, told
from consecution.cli.exit_codes import ExitCode
from consecution.cli.parameters import Traceback

if TYPE_CHECKING:
    from types import FrameType

MIB = 1 << 20

ShowConfig = Annotated[
    bool,
    typer.Option("--show-config", envvar="CONSECUTION_SHOW_CONFIG", help="Print the settings that result, and end."),
]
Verbose = Annotated[bool, typer.Option("--verbose", envvar="CONSECUTION_VERBOSE", help="Log each message.")]


@told
def coordinator(
    bind: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", envvar="CONSECUTION_BIND", help="Where workers and clients come; :* finds a port."
        ),
    ] = DEFAULT_COORDINATOR,
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", metavar="DIR", envvar="CONSECUTION_DATA_DIR", help="Its state and the flows' code."),
    ] = Path("consecution-coordinator"),
    news_bind: Annotated[
        str,
        typer.Option(
            "--news-bind",
            metavar="ADDRESS",
            envvar="CONSECUTION_NEWS_BIND",
            help="Where news are published; the next port when it isn't given.",
            show_default=False,
        ),
    ] = "",
    keys: KeysFile = None,
    allowed: Annotated[
        Path | None,
        typer.Option(
            "--allowed",
            metavar="FILE",
            envvar="CONSECUTION_ALLOWED",
            help="Public keys that may connect, a line each: KEY role[,role] name. Read again when it changes.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", envvar="CONSECUTION_INSECURE", help="Let other machines in without keys."),
    ] = False,
    address_file: Annotated[
        Path | None,
        typer.Option(
            "--address-file",
            metavar="FILE",
            envvar="CONSECUTION_ADDRESS_FILE",
            help="Write the address there when it is ready; for :* and scripts.",
            show_default=False,
        ),
    ] = None,
    show_config: ShowConfig = False,
    verbose: Verbose = False,
    traceback: Traceback = False,
) -> None:
    """Run the coordinator of a cluster, until SIGTERM or Ctrl-C. What runs in the cluster goes on without it.

    Roles in the list of allowed keys: worker; submitter, who may run code on all workers; sender; reader.

    Examples:
        consecution coordinator --data-dir /var/lib/consecution

        consecution coordinator --bind tcp://10.0.0.1:7000 --keys coordinator.keys --allowed allowed.txt
    """
    from consecution_coordinator.config import CoordinatorConfig
    from consecution_coordinator.service import Coordinator as Service

    config = CoordinatorConfig(data_dir, bind, news_bind, keys, allowed, insecure)
    if show_config:
        _show(config)
        return
    _log(is_verbose=verbose)
    with Service(config) as service:

        def stop(number: int, frame: FrameType | None) -> None:
            service.stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if address_file is not None:
                partial = address_file.with_name(f".{address_file.name}.partial")
                partial.write_text(f"{service.address}\n", encoding="utf-8")
                partial.rename(address_file)
            service.serve()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@told
def worker(
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME", envvar="CONSECUTION_WORKER_NAME", help="Unique in the cluster; the host's by default."
        ),
    ] = "",
    slots: Annotated[
        int,
        typer.Option(min=0, envvar="CONSECUTION_SLOTS", help="Executors that it runs; 0: one for each core."),
    ] = 0,
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", metavar="DIR", envvar="CONSECUTION_DATA_DIR", help="Code, logs and journals."),
    ] = Path("consecution-worker"),
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            envvar="CONSECUTION_HOST",
            help="Address by which other workers reach this host; by default the one that reaches the coordinator.",
        ),
    ] = "",
    memory_limit_mib: Annotated[
        int | None,
        typer.Option(
            "--memory-limit-mib",
            min=16,
            envvar="CONSECUTION_MEMORY_LIMIT_MIB",
            help="End an executor that takes more.",
            show_default=False,
        ),
    ] = None,
    spares: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="CONSECUTION_SPARES",
            help="Processes that wait to take a dead one's place, 25 MB each; by default slots + 1, six at most.",
            show_default=False,
        ),
    ] = None,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", envvar="CONSECUTION_INSECURE", help="Let executors talk to other hosts without keys."
        ),
    ] = False,
    show_config: ShowConfig = False,
    verbose: Verbose = False,
    traceback: Traceback = False,
) -> None:
    """Run the worker of this host. SIGTERM or Ctrl-C moves its work to the others and ends it; twice ends it at once.

    Examples:
        consecution worker --coordinator tcp://10.0.0.1:7000 --name b --slots 4 --data-dir /var/lib/consecution
    """
    from consecution_worker.agent import run_worker
    from consecution_worker.config import WorkerConfig

    from consecution.client import check_address

    config = WorkerConfig(
        coordinator=check_address(coordinator),
        data_dir=data_dir,
        name=name,
        slots=slots,
        host=host,
        keys=keys,
        coordinator_key=public_key(coordinator_key),
        memory_limit_bytes=None if memory_limit_mib is None else memory_limit_mib * MIB,
        spares=spares,
        is_insecure=insecure,
    )
    if show_config:
        _show(config)
        return
    _log(is_verbose=verbose)
    code = run_worker(config)
    if code:
        leave(ExitCode.ERROR)


def _show(config: object) -> None:
    """Print settings as JSON; keys are files' names, so nothing secret is in them."""
    from consecution.cli.console import as_plain

    print_json(as_plain(config))


def _log(*, is_verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if is_verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
