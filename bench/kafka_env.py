"""The environment of every Kafka measurement: a folder, a real broker, and Kafka's own tools."""

import secrets
import shutil
import sys
import threading
from pathlib import Path

from bench.measure import Run, run_child
from bench.producer_child import send_in_transactions
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded import jars, java
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.pipeline.ingest import Ingest
from tickerlake.sources.simulator.market import Market
from tickerlake.tools.simulate import write_topic

TICKERLAKE = Path(sys.executable).parent / "tickerlake"


class KafkaEnv:
    """A running broker and its topics."""

    def __init__(self, folder: Path, broker: EmbeddedBroker) -> None:
        self.folder = folder
        self.servers = broker.bootstrap_servers
        self.admin = Admin(self.servers)
        self._java = java.find_java().path
        self._classpath = ":".join(map(str, jars.classpath(tools=True)))

    def create_topic(self) -> str:
        """Create a topic with four partitions."""
        name = f"bench.{secrets.token_hex(4)}"
        self.admin.create_topic(name, 4)
        return name

    def topic_with_records(self, keys: list[bytes], values: list[bytes]) -> str:
        """Create a topic with records in transactions, as `tickerlake produce` writes them."""
        topic = self.create_topic()
        send_in_transactions(self.servers, topic, keys, values, len(values))
        return topic

    def topic_with_trades(self, market: Market) -> str:
        """Create a topic with the trades of a market, as `tickerlake simulate` writes them."""
        ingest = Ingest(self.servers, self.create_topic())
        ingest.prepare()
        write_topic(market, ingest, threading.Event())
        return ingest.topic

    def log_path(self, name: str) -> Path:
        """Path of the output of the last child of a kind."""
        return self.folder / f"{name}.log"

    def new_group(self) -> str:
        """Name a new consumer group."""
        return f"bench.{secrets.token_hex(4)}"

    def run_tool(self, records: int, name: str, *arguments: object) -> Run:
        """Run one of Kafka's own performance tools."""
        command = (self._java, "-Xmx512m", "-cp", self._classpath, f"org.apache.kafka.tools.{name}")
        return run_child(
            records, (*command, "--bootstrap-server", self.servers, *arguments), self.log_path("tool")
        )

    def run_tickerlake(self, records: int, *arguments: object) -> Run:
        """Run a tickerlake command."""
        return run_child(records, (TICKERLAKE, *arguments), self.log_path("tickerlake"))

    def run_module(self, records: int, module: str, *arguments: object) -> Run:
        """Run a module of this package."""
        return run_child(records, (sys.executable, "-m", module, *arguments), self.log_path("script"))

    def empty_lake(self) -> Path:
        """Create an empty folder for a lake, in place of the last one."""
        folder = self.folder / "lake"
        shutil.rmtree(folder, ignore_errors=True)
        return folder
