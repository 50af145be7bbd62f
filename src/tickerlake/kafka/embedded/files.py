"""The files in the embedded broker's data folder, and its configuration."""

import base64
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tickerlake.durable import atomic_write_bytes
from tickerlake.errors import SetupError
from tickerlake.kafka.embedded import jars
from tickerlake.kafka.embedded.java import Java, child_environment
from tickerlake.ports import LOOPBACK, free_port

NODE_ID = 1
_PRIVATE = 0o700
_OTHERS = 0o077
_OUR_NAMES = re.compile(
    r"server\.properties|log4j2\.properties|broker\.log(\.\d+)?|jvm\.log|logs|tmp|broker\.json|start\.lock|demo\.json"
    r"|crash-.*\.log|\..*\.tmp"
)
"""A folder with files of other names is not only ours: then the files are made private, the folder is not."""
_MAX_EXPIRATION_MS = 2**31 - 1  # the maximum that Kafka accepts for ids: 24 days; reused as minutes

_MAX_STATE_BYTES = 4096
"""Many times what `BrokerState` needs."""

# Nothing expires: replayed records carry old timestamps, and a sink may be stopped for weeks.
# Few partitions of the internal topics: each costs start-up time, and there is only one node.
_BROKER_DEFAULTS: Mapping[str, object] = {
    "auto.create.topics.enable": "false",
    # after a crash, the controller waits for the old session to time out before it readmits the broker
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 3000,
    "group.initial.rebalance.delay.ms": 0,
    # a time in milliseconds that was read as microseconds would lie beyond the year 50,000
    "log.message.timestamp.after.max.ms": 86_400_000,
    "log.retention.bytes": -1,
    "log.retention.ms": -1,
    "offsets.retention.minutes": _MAX_EXPIRATION_MS,
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "producer.id.expiration.ms": _MAX_EXPIRATION_MS,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "transaction.max.timeout.ms": 3_600_000,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transactional.id.expiration.ms": _MAX_EXPIRATION_MS,
}

_LOG4J_TEMPLATE = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}} %-5p %c{{1}} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 4MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""


@dataclass(frozen=True)
class Layout:
    """Paths of all files in one data folder."""

    root: Path

    @property
    def config(self) -> Path:
        """Kafka's configuration; its path on a command line identifies the broker of this folder."""
        return self.root / "server.properties"

    @property
    def log4j(self) -> Path:
        """The configuration of Kafka's logging."""
        return self.root / "log4j2.properties"

    @property
    def log(self) -> Path:
        """Kafka's log: warnings and errors."""
        return self.root / "broker.log"

    @property
    def output(self) -> Path:
        """The output of the JVM itself since the last start."""
        return self.root / "jvm.log"

    @property
    def data(self) -> Path:
        """The partitions and the cluster's metadata."""
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """The JVM's temporary folder, for native libraries and class archives; emptied on start."""
        return self.root / "tmp"

    @property
    def state(self) -> Path:
        """The last start, see `BrokerState`."""
        return self.root / "broker.json"

    @property
    def lock(self) -> Path:
        """Locked while a process starts or stops the broker."""
        return self.root / "start.lock"


@dataclass(frozen=True)
class BrokerState:
    """The last start of a broker, stored so that other processes find it and the port stays the same.

    Parameters
    ----------
    port, pid
        Its port and its process id.
    training
        If this run writes a class archive: its name in the cache.
    temporary
        Whether a command started it for itself and stops it when it ends.
    """

    port: int
    pid: int
    training: str = ""
    temporary: bool = False

    def save(self, layout: Layout) -> None:
        """Write the state to the data folder."""
        atomic_write_bytes(layout.state, json.dumps(asdict(self)).encode())
        _deny_others(layout.state)

    @classmethod
    def load(cls, layout: Layout) -> "BrokerState | None":
        """Read the state; None if it is missing or damaged.

        The folder may be somebody else's: what it says is checked.
        """
        try:
            loaded = json.loads(_read_small_file(layout.state))
            temporary = loaded.get("temporary") is True  # missing in files of earlier versions
            state = cls(loaded["port"], loaded["pid"], loaded["training"], temporary)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        types = [type(state.port), type(state.pid), type(state.training)]
        is_valid = types == [int, int, str] and 0 < state.port < 1 << 16 and 0 < state.pid < 1 << 31
        return state if is_valid else None


def _read_small_file(path: Path) -> bytes:
    """Return the content of a regular file of at most `_MAX_STATE_BYTES`; not through a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_size > _MAX_STATE_BYTES:
            raise ValueError("not a state")
        return file.read(_MAX_STATE_BYTES)


def claim_folder(layout: Layout) -> None:
    """Create the data folder, or make what is ours in one inaccessible to other users.

    Raises
    ------
    SetupError
        If it belongs to another user.
    OSError
        If it cannot be used.
    """
    root = layout.root
    root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    user = os.geteuid()
    if user not in (0, owner := root.stat().st_uid):
        raise SetupError(
            f"The broker's folder {root} belongs to another user (uid {owner}).",
            "Choose another with --data-dir.",
        )
    entries = [entry for entry in root.iterdir() if not entry.is_symlink()]
    ours = [entry for entry in entries if _OUR_NAMES.fullmatch(entry.name)]
    if len(ours) == len(entries):
        _deny_others(root)
    for entry in ours:
        if _deny_others(entry) and entry.is_dir():
            for path in entry.rglob("*"):
                if not path.is_symlink():
                    _deny_others(path)


def _deny_others(path: Path) -> bool:
    """Deny other users all access to a file or folder; return whether they had any."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:
        return False  # a running broker deletes files
    return bool(mode & _OTHERS)


def read_cluster_id(layout: Layout) -> str:
    """Return the id of the cluster whose data are in this folder."""
    for line in (layout.data / "meta.properties").read_text(encoding="utf-8").splitlines():
        if line.startswith("cluster.id="):
            return line.removeprefix("cluster.id=").strip()
    raise SetupError(
        f"{layout.data / 'meta.properties'} has no cluster id.",
        "The folder is damaged: move it away and start with an empty one.",
    )


def write_config(layout: Layout, port: int, properties: Mapping[str, str]) -> None:
    """Write the configuration of Kafka and its logging for this start."""
    layout.log4j.write_text(_LOG4J_TEMPLATE.format(log=layout.log.as_posix()), encoding="utf-8")
    controller = free_port()
    while controller == port:
        controller = free_port()
    layout.config.write_text(_render_properties(layout.data, port, controller, properties), encoding="utf-8")


def format_storage(layout: Layout, java: Java, classpath: str) -> None:
    """Format an empty folder as a new cluster; leave a formatted one alone."""
    meta = layout.data / "meta.properties"
    if meta.exists():
        return
    layout.data.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_bootstrap_checkpoint(java, classpath), layout.data / "bootstrap.checkpoint")
    lines = ("version=1", f"cluster.id={_random_id()}", f"node.id={NODE_ID}", f"directory.id={_random_id()}")
    # last, because its presence means that the folder is formatted
    atomic_write_bytes(meta, ("\n".join(lines) + "\n").encode())


def _bootstrap_checkpoint(java: Java, classpath: str) -> Path:
    """Return the feature levels of a new cluster: the same for all, written once by Kafka's own tool."""
    cached = jars.cache_dir() / "bootstrap.checkpoint"
    if not cached.exists():
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "server.properties"
            data = Path(folder) / "logs"
            config.write_text(_render_properties(data, 1, 2, {}), encoding="utf-8")
            command = [str(java.path), "-XX:TieredStopAtLevel=1", "-cp", classpath]
            command += ["kafka.tools.StorageTool", "format", "-t", _random_id(), "-c", str(config)]
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, env=child_environment()
            )
            if result.returncode:
                output = (result.stderr or result.stdout).strip()
                raise SetupError(
                    f"Kafka's storage tool failed ({result.returncode}): {output}",
                    "Check that JAVA_HOME is a complete Java runtime.",
                )
            atomic_write_bytes(cached, (data / "bootstrap.checkpoint").read_bytes())
    return cached


def _random_id() -> str:
    """Return a random id in Kafka's format, without a leading dash, which would look like an option."""
    random_id = "-"
    while random_id.startswith("-"):
        random_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return random_id


def _render_properties(data: Path, port: int, controller: int, properties: Mapping[str, str]) -> str:
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data.as_posix(),
        **_BROKER_DEFAULTS,
        **properties,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
