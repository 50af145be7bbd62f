"""Runs a real Apache Kafka broker on this machine: one KRaft node in a child process.

::

    with EmbeddedBroker(folder) as broker:
        connect_to(broker.bootstrap_servers)

The data folder holds the complete state of a broker. Any process that starts it again gets the same
cluster on the same port, also after a crash.
"""

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from platformdirs import user_data_path

from tickerlake.errors import SetupError, UsageError
from tickerlake.kafka.embedded import files, launch, process
from tickerlake.kafka.embedded.jars import ProgressCallback, classpath, exclusive_lock, repair_cache
from tickerlake.kafka.embedded.java import find_java
from tickerlake.kafka.embedded.process import Jvm
from tickerlake.ports import LOOPBACK, free_port, is_port_free, port_user

_DEFAULT_PORT = 9092
_DEFAULT_HEAP = "512m"  # enough for one node on a laptop; Kafka's own start script takes 1 GB
_START_TIMEOUT_S = 120.0  # includes the recovery of the logs after a crash
_STOP_TIMEOUT_S = 20.0
_START_ATTEMPTS = 5  # with another port each; one is enough unless many brokers start at once


@dataclass(frozen=True)
class BrokerInfo:
    """A running broker.

    Parameters
    ----------
    bootstrap_servers
        The address that clients connect to.
    pid, port
        Its process id and its port on the loopback interface.
    data_dir, log_file
        Its data folder and its log, which has warnings and errors.
    """

    bootstrap_servers: str
    pid: int
    port: int
    data_dir: Path
    log_file: Path


def default_data_dir() -> Path:
    """Return the default data folder of the current user's broker."""
    return user_data_path("tickerlake") / "broker"


def start_broker(
    data_dir: Path,
    port: int | None = None,
    *,
    background: bool = True,
    properties: Mapping[str, str] = {},
    heap: str = _DEFAULT_HEAP,
    progress: ProgressCallback | None = None,
    timeout_s: float = _START_TIMEOUT_S,
    temporary: bool = False,
) -> BrokerInfo:
    """Start the broker of a data folder unless it is running, and wait until it answers.

    Parameters
    ----------
    data_dir
        The data folder; an empty or missing one becomes a new cluster.
    port
        The port to listen on, 0 for any free one; by default the folder's last one, else 9092, else any.
    background
        Whether the broker outlives this Python process.
    properties
        Kafka settings for this start, on top of the built-in ones.
    heap
        The JVM's maximum heap size, in the format of ``-Xmx``.
    progress
        Called with a line of text before each slow step.
    timeout_s
        How long the broker may take to answer, including recovery after a crash.
    temporary
        Whether the caller stops it with `stop_temporary_broker`. Who asks for a broker that is not temporary
        keeps it running.

    Raises
    ------
    UsageError
        If the port is in use, or the broker of this folder runs on another one.
    SetupError
        If Java, the jars or the folder cannot be used, or the broker exited; includes the end of its log.
    """
    layout = _layout(data_dir)
    with _usable(layout):
        files.claim_folder(layout)
        with exclusive_lock(layout.lock):
            running = broker_status(layout.root)
            if running is not None:
                if port not in (None, 0, running.port):
                    raise UsageError(
                        f"The broker of {layout.root} already runs on port {running.port}, not {port}.",
                        "Stop it first (`tickerlake broker stop`) or omit the port.",
                    )
                if not temporary:
                    _keep(layout)
                launch.wait_ready(layout, running.pid, running.port, timeout_s)
                return running
            try:
                process.kill_strays(layout)
                info = _start(layout, port, properties, heap, progress, timeout_s, temporary=temporary)
                files.claim_folder(layout)  # again, for the files that this process has written
            except BaseException:
                process.kill_strays(layout)
                raise
    if not background:
        atexit.register(stop_broker, layout.root)
    return info


def stop_broker(data_dir: Path, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
    """Stop the broker of a data folder and wait until it has exited; return whether one was running.

    Parameters
    ----------
    data_dir
        The data folder.
    timeout_s
        How long it may take to close its files before it is killed; the next start then has to recover.

    Raises
    ------
    SetupError
        If the folder cannot be used.
    """
    return _stop(_layout(data_dir), timeout_s, only_temporary=False)


def stop_temporary_broker(data_dir: Path) -> bool:
    """Stop the broker of a data folder unless it is to keep running; return whether it was stopped.

    Raises
    ------
    SetupError
        If the folder cannot be used.
    """
    return _stop(_layout(data_dir), _STOP_TIMEOUT_S, only_temporary=True)


def _stop(layout: files.Layout, timeout_s: float, *, only_temporary: bool) -> bool:
    if not layout.root.is_dir():
        return False
    with _usable(layout), exclusive_lock(layout.lock):
        state = files.BrokerState.load(layout)
        if state is None or not process.is_broker(state.pid, layout):
            return False
        if only_temporary and not state.temporary:
            return False
        exited_cleanly = process.terminate(state.pid, layout, timeout_s)
        launch.save_archive(layout, state.training, exited_cleanly)
    return True


def broker_status(data_dir: Path) -> BrokerInfo | None:
    """Return the running broker of a data folder, or None."""
    layout = _layout(data_dir)
    state = files.BrokerState.load(layout)
    if state is None or not process.is_broker(state.pid, layout):
        return None
    return _broker_info(layout, state)


class EmbeddedBroker:
    """A broker for a ``with`` block that can also be killed, paused and restarted, for tests.

    Parameters
    ----------
    data_dir, port, properties, heap
        As for `start_broker`.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        properties: Mapping[str, str] = {},
        heap: str = _DEFAULT_HEAP,
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
        """The broker as of the last start."""
        if self._info is None:
            raise RuntimeError("the broker was never started")
        return self._info

    @property
    def bootstrap_servers(self) -> str:
        """The address that clients connect to; a restart does not change it."""
        return self.info.bootstrap_servers

    def start(self) -> BrokerInfo:
        """Start the broker on the port it had before."""
        port = self._info.port if self._info else self._port
        self._info = start_broker(self._data_dir, port, properties=self._properties, heap=self._heap)
        return self._info

    def stop(self) -> None:
        """Shut the broker down cleanly."""
        stop_broker(self._data_dir)

    def kill(self) -> None:
        """Kill the broker without warning (SIGKILL)."""
        process.kill(self.info.pid, _layout(self._data_dir))

    def pause(self) -> None:
        """Suspend the broker; its connections stay open."""
        process.pause(self.info.pid)

    def resume(self) -> None:
        """Continue a paused broker."""
        process.resume(self.info.pid)

    def restart(self) -> BrokerInfo:
        """Stop the broker and start it again on the same port."""
        self.stop()
        return self.start()


def _layout(data_dir: Path) -> files.Layout:
    # unlike Path.resolve, realpath accepts a link to itself: what uses the folder names it
    return files.Layout(Path(os.path.realpath(data_dir.expanduser())))


def _broker_info(layout: files.Layout, state: files.BrokerState) -> BrokerInfo:
    return BrokerInfo(f"{LOOPBACK}:{state.port}", state.pid, state.port, layout.root, layout.log)


def _start(
    layout: files.Layout,
    port: int | None,
    properties: Mapping[str, str],
    heap: str,
    progress: ProgressCallback | None,
    timeout_s: float,
    *,
    temporary: bool,
) -> BrokerInfo:
    report = progress or (lambda _line: None)
    listen_port, is_named = _choose_port(layout, port), port not in (None, 0)
    jvm = Jvm(find_java(), os.pathsep.join(str(path) for path in classpath(progress=progress)), heap)
    files.format_storage(layout, jvm.java, jvm.classpath)
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        report(f"Starting Apache Kafka on port {listen_port}")
        files.write_config(layout, listen_port, properties)
        try:
            state = launch.launch(layout, jvm, listen_port, timeout_s, temporary=temporary)
        except launch.BrokerExitedError as error:
            if not attempts_left:
                raise
            # another program took the port after it was chosen, or that of the controller
            if error.port_taken:
                if is_named and not is_port_free(listen_port):
                    raise _port_in_use(listen_port) from error
                listen_port = listen_port if is_named else free_port()
            elif error.has_known_cause or not repair_cache(progress):
                raise
        else:
            return _broker_info(layout, state)
    raise AssertionError("unreachable")


def _keep(layout: files.Layout) -> None:
    state = files.BrokerState.load(layout)
    if state and state.temporary:
        replace(state, temporary=False).save(layout)


@contextmanager
def _usable(layout: files.Layout) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"The broker's folder {layout.root} cannot be used: {error}.", "Choose another with --data-dir."
        ) from error


def _port_in_use(port: int) -> UsageError:
    return UsageError(
        f"Port {port} is in use by {port_user(port)}.", "Stop it, or choose another port with --port."
    )


def _choose_port(layout: files.Layout, port: int | None) -> int:
    if port == 0:
        return free_port()
    if port is not None:
        if not is_port_free(port):
            raise _port_in_use(port)
        return port
    last = files.BrokerState.load(layout)
    for candidate in (last.port if last else _DEFAULT_PORT, _DEFAULT_PORT):
        if is_port_free(candidate):
            return candidate
    return free_port()
