"""Starts the BigQuery emulator in its own virtual environment, patched to be closer to the service.

It runs a job of a given id once (409 after that), also for uploads, reports how many rows a job loaded (not
how many the table has), and reads ``gs://`` from the storage emulator. It starts without the geography
extension, which it would download.
"""

import os
import tempfile
import urllib.request
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bqemulator.api.routes import jobs, upload
from bqemulator.cli import main
from bqemulator.domain.errors import ResourceRef, resource_already_exists
from bqemulator.jobs import executor
from bqemulator.storage import engine

_requested_job_id: ContextVar[str] = ContextVar("requested_job_id", default="")
_run_load, _new_job_id = upload._run_load, upload._new_job_id
_configuration = upload._load_configuration_from_envelope
_insert_load, _resolve = jobs._handle_load_job_with_async_envelope, executor._resolve_uri
_execute_load = executor.execute_load_job
_FOLDER = Path(tempfile.mkdtemp())


def _check_job_is_new(project: str, job_id: str, context: Any) -> None:
    if context.catalog.get_job(project, job_id) is not None:
        raise resource_already_exists(ResourceRef("job", project, job_id))


def _count_rows(config: dict[str, Any], context: Any) -> int:
    table = config["load"]["destinationTable"]
    name = executor.quoted_table_ref(table["projectId"], table["datasetId"], table["tableId"])
    return int(context.engine.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0])


async def execute_load(project_id: str, job_id: str, config: dict[str, Any], ctx: Any) -> Any:
    before = _count_rows(config, ctx)
    job = await _execute_load(project_id, job_id, config, ctx)
    job.statistics["load"]["outputRows"] = str(_count_rows(config, ctx) - before)
    return job


async def insert_load(project_id: str, job_id: str, config: dict[str, Any], ctx: Any) -> Any:
    _check_job_is_new(project_id, job_id, ctx)
    return await _insert_load(project_id, job_id, config, ctx)


def configuration(envelope: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = _configuration(envelope)
    return {**config, "_job": envelope.get("jobReference", {}).get("jobId", "")}


async def run_load(*, project_id: str, configuration: dict[str, Any], media_path: str, ctx: Any) -> Any:
    configuration = dict(configuration)
    if job_id := configuration.pop("_job", ""):
        _check_job_is_new(project_id, job_id, ctx)
    _requested_job_id.set(job_id)
    return await _run_load(project_id=project_id, configuration=configuration, media_path=media_path, ctx=ctx)


def resolve(uri: str, *args: Any, **kwargs: Any) -> Any:
    if not uri.startswith("gs://"):
        return _resolve(uri, *args, **kwargs)
    bucket, _, key = uri.removeprefix("gs://").partition("/")
    url = f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media"
    path = _FOLDER / quote(key, safe="")
    with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - loopback
        path.write_bytes(reply.read())
    return _resolve(f"file://{path}", *args, **kwargs)


def load_spatial(self: Any) -> None:
    # the emulator writes lambdas with a single arrow
    self._connection.execute("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")


engine.DuckDBEngine._load_spatial = load_spatial
jobs.execute_load_job = upload.execute_load_job = execute_load
jobs._handle_load_job_with_async_envelope = insert_load
upload._load_configuration_from_envelope = configuration
upload._run_load = run_load
upload._new_job_id = lambda: _requested_job_id.get() or _new_job_id()
executor._resolve_uri = resolve
main()
