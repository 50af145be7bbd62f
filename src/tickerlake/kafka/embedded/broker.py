"""A real Apache Kafka broker on this machine: one KRaft node in a child process.

::

    with EmbeddedBroker(folder) as broker:
        connect_to(broker.bootstrap_servers)

The data folder holds all there is to a broker. Whoever starts it again, from whichever process, gets
the same cluster on the same port, also after a crash.
"""

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from platformdirs import user_data_path

from tickerlake.errors import SetupError, UsageError
from tickerlake.kafka.embedded import files, launch, process
from tickerlake.kafka.embedded.jars import ProgressCallback, classpath, exclusive_lock
from tickerlake.kafka.embedded.java import find_java
from tickerlake.kafka.embedded.process import Jvm

_DEFAULT_PORT = 9092


@dataclass(frozen=True)
class BrokerInfo:
    """A running broker.

    Parameters
    ----------
    bootstrap_servers
        Where clients connect to.
    pid, port
        Its process and its port on the loopback interface.
    data_dir, log_file
        Where it keeps its data, and what it complained about.
    """

    bootstrap_servers: str
    pid: int
    port: int
    data_dir: Path
    log_file: Path


def default_data_dir() -> Path:
    """Return the folder of the user's own broker."""
    return user_data_path("tickerlake") / "broker"


def start(
    data_dir: Path,
    port: int | None = None,
    *,
    background: bool = True,
    properties: Mapping[str, str] = {},
    heap: str = "512m",
    progress: ProgressCallback | None = None,
    timeout_s: float = 120,
) -> BrokerInfo:
    """Start the broker of a data folder, unless it runs already, and wait until it answers.

    Parameters
    ----------
    data_dir
        Its folder; an empty or missing one becomes a new cluster.
    port
        The port to listen on; by default the last one of this folder, else 9092, else any free one.
    background
        Whether the broker outlives this Python process.
    properties
        Kafka settings for this start, on top of the built-in ones.
    heap
        The JVM's largest heap, as ``-Xmx`` takes it.
    progress
        Called with a line of text at each longer step.
    timeout_s
        How long the broker may take to answer; recovery after a crash is part of it.

    Raises
    ------
    UsageError
        The port is in use, or the broker of this folder runs on another one.
    SetupError
        Java, the jars or the folder are not usable, or the broker died; with the end of its log.
    """
    layout = _layout(data_dir)
    report = progress or (lambda _line: None)
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(layout.lock):
            running = status(layout.root)
            if running is not None:
                if port not in (None, running.port):
                    raise UsageError(
                        f"The broker of {layout.root} already runs on port {running.port}, not {port}.",
                        "Stop it first (tickerlake broker stop) or leave the port out.",
                    )
                launch.wait_ready(layout, running.pid, running.port, timeout_s)
                return running
            selected_port = _choose_port(layout, port)
            jvm = Jvm(find_java(), os.pathsep.join(str(path) for path in classpath(progress=progress)), heap)
            files.format_storage(layout, jvm.java, jvm.classpath)

            def launch_on(chosen: int) -> BrokerInfo:
                report(f"Starting Apache Kafka on port {chosen}")
                files.write_config(layout, chosen, properties)
                return _broker_info(layout, launch.launch(layout, jvm, chosen, timeout_s))

            try:
                info = launch_on(selected_port)
            except launch.BrokerExitedError:
                if port is not None or files.is_port_free(selected_port):
                    raise
                # another process took it meanwhile
                info = launch_on(files.free_port())
    except OSError as error:
        raise SetupError(
            f"The broker's folder {layout.root} cannot be used: {error}.", "Choose another with --data-dir."
        ) from error
    if not background:
        atexit.register(stop, layout.root)
    return info


def stop(data_dir: Path, timeout_s: float = 20) -> bool:
    """Stop the broker of a data folder and wait until it is gone; whether there was one.

    Parameters
    ----------
    data_dir
        Its folder.
    timeout_s
        How long it may take to close its files before it is killed, which costs a recovery.
    """
    layout = _layout(data_dir)
    if not layout.root.is_dir():
        return False
    with exclusive_lock(layout.lock):
        state = files.BrokerState.load(layout)
        if state is None or not process.is_broker(state.pid, layout):
            return False
        exited_cleanly = process.terminate(state.pid, layout, timeout_s)
        launch.save_archive(state.training, exited_cleanly)
    return True


def status(data_dir: Path) -> BrokerInfo | None:
    """Return the broker that runs on a data folder, if one does."""
    layout = _layout(data_dir)
    state = files.BrokerState.load(layout)
    if state is None or not process.is_broker(state.pid, layout):
        return None
    return _broker_info(layout, state)


class EmbeddedBroker:
    """A broker for a ``with`` block, and the accidents that may befall it.

    Parameters
    ----------
    data_dir, port, properties, heap
        As for `start`.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        properties: Mapping[str, str] = {},
        heap: str = "512m",
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._properties = dict(properties)
        self._heap = heap
        self._info: BrokerInfo | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def info(self) -> BrokerInfo:
        """The last start."""
        if self._info is None:
            raise RuntimeError("the broker was never started")
        return self._info

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect to; stays the same over restarts."""
        return self.info.bootstrap_servers

    def start(self) -> BrokerInfo:
        """Start it, on the port it had before."""
        port = self._info.port if self._info else self._port
        self._info = start(self._data_dir, port, properties=self._properties, heap=self._heap)
        return self._info

    def stop(self) -> None:
        """Stop it in an orderly way."""
        stop(self._data_dir)

    def kill(self) -> None:
        """End it as a power cut would."""
        process.kill(self.info.pid, _layout(self._data_dir))

    def pause(self) -> None:
        """Let it hang, connections open."""
        process.pause(self.info.pid)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        process.resume(self.info.pid)

    def restart(self) -> BrokerInfo:
        """Stop it and start it again on the same port."""
        self.stop()
        return self.start()


def _layout(data_dir: Path) -> files.Layout:
    return files.Layout(data_dir.expanduser().resolve())


def _broker_info(layout: files.Layout, state: files.BrokerState) -> BrokerInfo:
    return BrokerInfo(f"{files.HOST}:{state.port}", state.pid, state.port, layout.root, layout.log)


def _choose_port(layout: files.Layout, port: int | None) -> int:
    if port is not None:
        if not files.is_port_free(port):
            raise UsageError(
                f"Port {port} is in use by another process.", "Stop that one or choose another with --port."
            )
        return port
    last = files.BrokerState.load(layout)
    for candidate in (last.port if last else _DEFAULT_PORT, _DEFAULT_PORT):
        if files.is_port_free(candidate):
            return candidate
    return files.free_port()
