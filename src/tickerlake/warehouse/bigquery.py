"""BigQuery: the only module that speaks to google-cloud-bigquery, in our own terms and errors."""

import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import requests
from google.api_core import exceptions as api
from google.api_core.client_info import ClientInfo
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery.format_options import ParquetOptions
from google.cloud.bigquery.retry import DEFAULT_RETRY

from tickerlake import clock
from tickerlake.errors import (
    LOG_IN,
    SetupError,
    TickerlakeError,
    UsageError,
    WarehouseError,
    WarehouseUnavailable,
)
from tickerlake.version import VERSION
from tickerlake.warehouse.manifests import check_dataset, check_project
from tickerlake.warehouse.tables import CLUSTER_FIELD, PARTITION_FIELD, TableSpec

_FOREIGN: Final = (api.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, OSError)
_RETRYABLE: Final = {408, 429, 500, 502, 503, 504}
_TRANSIENT_REASONS: Final = {
    "backendError",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "quotaExceeded",
    "tableUnavailable",
    "timeout",
}
_ROLES: Final = (
    ("bigquery.jobs.create", "roles/bigquery.jobUser on the project"),
    ("bigquery.datasets.create", "roles/bigquery.user on the project"),
    ("bigquery.", "roles/bigquery.dataEditor on the dataset"),
    ("storage.", "roles/storage.objectViewer on the bucket"),
)
_PATIENCE: Final[dict[str, Any]] = {
    "timeout": 60.0,
    "retry": DEFAULT_RETRY.with_timeout(60.0),  # by itself the client goes on for ten minutes
}
_JOB_S: Final = 3600.0
_UPLOAD_S: Final = 600.0
_STANDARD: Final = {"INTEGER": "INT64", "BOOLEAN": "BOOL"}
"""How types are called in SQL that BigQuery's interface calls otherwise."""
_Result = TypeVar("_Result")


class JobFailed(WarehouseError):
    """A job ended without effect.

    ``transient`` says that another attempt makes sense, ``earlier`` that it was found, not begun just now.
    """

    def __init__(self, message: str, hint: str, *, transient: bool, earlier: bool) -> None:
        super().__init__(message, hint)
        self.transient, self.earlier = transient, earlier


class Warehouse:
    """A dataset of BigQuery.

    Honours ``BIGQUERY_EMULATOR_HOST``; else uses the machine's Application Default Credentials.

    Parameters
    ----------
    project, dataset
        Which one.

    Raises
    ------
    SetupError
        This machine has no credentials.
    """

    def __init__(self, project: str, dataset: str) -> None:
        self.project, self.dataset = check_project(project), check_dataset(dataset)
        emulator = os.environ.get("BIGQUERY_EMULATOR_HOST", "")
        endpoint = f"http://{emulator}" if emulator and "://" not in emulator else emulator
        try:
            self._client: Any = bigquery.Client(
                project=project,
                credentials=AnonymousCredentials() if endpoint else None,  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": endpoint} if endpoint else None,
                client_info=ClientInfo(user_agent=f"tickerlake/{VERSION}"),  # type: ignore[no-untyped-call]
            )
        except auth.DefaultCredentialsError as error:
            raise SetupError(f"There are no usable Google Cloud credentials: {error}", LOG_IN) from error
        self.location = ""

    @property
    def name(self) -> str:
        """``project.dataset``."""
        return f"{self.project}.{self.dataset}"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def open(self, location: str | None = None) -> None:
        """Find the dataset, or create it in a location if one is given.

        Raises
        ------
        UsageError
            It is not there, or elsewhere.
        """
        try:
            found = self._call(lambda: self._client.get_dataset(self.name, **_PATIENCE))
        except NotThere as error:
            if location is None:
                raise UsageError(
                    f"The dataset {self.name} does not exist, or this account may not see it.",
                    "Create it with --location, for example --location EU: where the bucket is.",
                ) from error
            wanted = bigquery.Dataset(self.name)
            wanted.location = location
            found = self._call(lambda: self._client.create_dataset(wanted, exists_ok=True, **_PATIENCE))
        self.location = str(found.location or "")
        if location and self.location.upper() != location.upper():
            raise UsageError(
                f"The dataset {self.name} is in {self.location}, not in {location}.",
                "A dataset can't be moved: leave out --location, or name another dataset.",
            )

    def ensure_table(self, spec: TableSpec) -> None:
        """Create a table, or check the one there is, and add the columns that it lacks.

        Raises
        ------
        WarehouseError
            It has another schema, partitioning or clustering.
        """
        name = f"{self.name}.{spec.name}"
        wanted = bigquery.Table(name, schema=[_field(each) for each in spec.fields])
        wanted.time_partitioning = bigquery.TimePartitioning(type_=spec.partition, field=PARTITION_FIELD)
        wanted.clustering_fields = [CLUSTER_FIELD]
        found = self._existing(wanted)
        if found is None:
            return
        self._check(spec, found)
        known = {field.name for field in found.schema}
        missing = [field for field in spec.fields if field.name not in known]
        if missing:
            added = ", ".join(
                f"add column if not exists `{field.name}` "
                + (f"array<{field.type}>" if field.repeated else field.type)
                for field in missing
            )
            self.query(f"alter table `{name}` {added}")

    def _existing(self, wanted: Any) -> Any:
        """Return what is there under the name of a table; create the table and return None if nothing is."""
        try:
            return self._call(lambda: self._client.get_table(wanted.reference, **_PATIENCE))
        except NotThere:
            self._call(lambda: self._client.create_table(wanted, exists_ok=True, **_PATIENCE))
            return None

    def _check(self, spec: TableSpec, found: Any) -> None:
        remedy = "Move it away (`bq cp`, `bq rm -t`), or load into another dataset (--dataset)."
        name = f"{self.name}.{spec.name}"
        types = {
            field.name: (_STANDARD.get(field.field_type, field.field_type), field.mode == "REPEATED")
            for field in found.schema
        }
        for field in spec.fields:
            have = types.get(field.name)
            if have is not None and have != (field.type, field.repeated):
                raise WarehouseError(
                    f"The table {name} has another schema: its column {field.name} is {have[0]}"
                    f"{' (repeated)' if have[1] else ''}, not {field.type}.",
                    remedy,
                )
        for each in found.schema:
            if each.mode == "REQUIRED" and each.name not in {field.name for field in spec.fields}:
                raise WarehouseError(
                    f"The table {name} has another schema: its column {each.name} is required.", remedy
                )
        partitioning = found.time_partitioning
        if partitioning is None or (partitioning.field, partitioning.type_) != (
            PARTITION_FIELD,
            spec.partition,
        ):
            raise WarehouseError(
                f"The table {name} is not partitioned by {PARTITION_FIELD} ({spec.partition}).", remedy
            )

    def load(self, spec: TableSpec, job_id: str, source: bytes | str) -> int:
        """Load Parquet into a table by a job of a given name, or wait for the one that has that name.

        Parameters
        ----------
        source
            The file itself, or where it is: ``gs://…``.

        Returns
        -------
        int
            How many rows it loaded.

        Raises
        ------
        JobFailed
            It ended without effect.
        WarehouseUnavailable
            It may run, or not: ask again under the same name.
        """
        job = self._find(job_id)
        if job is not None:
            return self._result(job, earlier=True)
        try:
            job = self._call(lambda: self._insert(spec, job_id, source))
        except Exists:
            job = self._find(job_id)
        if job is None:
            raise WarehouseUnavailable(f"The job {job_id} can't be found.", "It is asked for again.")
        return self._result(job, earlier=False)

    def _find(self, job_id: str) -> Any:
        try:
            return self._call(
                lambda: self._client.get_job(
                    job_id, project=self.project, location=self.location or None, **_PATIENCE
                )
            )
        except NotThere:
            return None

    def _insert(self, spec: TableSpec, job_id: str, source: bytes | str) -> Any:
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            schema=[_field(each) for each in spec.fields],
        )
        config.parquet_options = _parquet()
        common = {
            "job_id": job_id,
            "job_config": config,
            "location": self.location or None,
            "project": self.project,
        }
        name = f"{self.name}.{spec.name}"
        if isinstance(source, str):
            return self._client.load_table_from_uri([source], name, **_PATIENCE, **common)
        return self._client.load_table_from_file(io.BytesIO(source), name, timeout=_UPLOAD_S, **common)

    def _result(self, job: Any, *, earlier: bool) -> int:
        try:
            job.result(timeout=_JOB_S)
        except _FOREIGN as error:
            if job.error_result is None:
                raise self._explain(error) from error
        if (failed := job.error_result) is not None:
            raise self._failed(job, failed, earlier=earlier)
        return int(job.output_rows or 0)

    def _failed(self, job: Any, failed: dict[str, Any], *, earlier: bool) -> JobFailed:
        said = str(failed.get("message", ""))
        details = {str(each.get("message", "")) for each in job.errors or ()} - {said}
        more = f" ({'; '.join(sorted(details))[:500]})" if details else ""
        transient = failed.get("reason") in _TRANSIENT_REASONS
        hint = "It is tried again." if transient else _hint_of(said)
        return JobFailed(
            f"The job {job.job_id} failed: {said}{more}", hint, transient=transient, earlier=earlier
        )

    def ensure_view(self, name: str, sql: str, about: str) -> bool:
        """Create a view, or change it if its text is another one; True if something was done."""
        place = f"{self.name}.{name}"
        wanted = bigquery.Table(place)
        wanted.view_query = sql
        wanted.description = about
        found = self._existing(wanted)
        if found is None:
            return True
        if found.table_type != "VIEW":
            raise WarehouseError(
                f"{place} is there, and is no view ({found.table_type}).",
                "Move it away (`bq cp`, `bq rm -t`), load into another dataset, or use --no-views.",
            )
        if found.view_query == sql:
            return False
        found.view_query = sql
        found.description = about
        self._call(lambda: self._client.update_table(found, ["view_query", "description"], **_PATIENCE))
        return True

    def ensure_external(self, name: str, prefix: str, uris: Sequence[str]) -> None:
        """Create a table over Parquet files in folders (``key=value``), or make it show other files."""
        place = f"{self.name}.{name}"
        config = bigquery.ExternalConfig("PARQUET")
        config.source_uris = list(uris)
        config.autodetect = True
        hive = bigquery.HivePartitioningOptions()
        hive.mode = "AUTO"
        hive.source_uri_prefix = prefix
        config.hive_partitioning = hive
        config.parquet_options = _parquet()
        wanted = bigquery.Table(place)
        wanted.external_data_configuration = config
        found = self._existing(wanted)
        if found is None:
            return
        if found.table_type != "EXTERNAL":
            raise WarehouseError(
                f"{place} is there, and is no external table ({found.table_type}).",
                "Move it away (`bq cp`, `bq rm -t`), or use another dataset.",
            )
        shown = found.external_data_configuration
        if shown is None or list(shown.source_uris) != list(uris):
            found.external_data_configuration = config
            self._call(
                lambda: self._client.update_table(
                    found, ["external_data_configuration"], autodetect_schema=True, **_PATIENCE
                )
            )

    def try_rights(self) -> list[tuple[str, str]]:
        """Do what a load does, on a table of its own that is gone afterwards; return what is not allowed.

        Returns
        -------
        list of tuple
            For each thing that is not allowed a sentence and its remedy. Empty: all is.
        """
        table = bigquery.Table(
            f"{self.name}.tickerlake_doctor", schema=[bigquery.SchemaField("checked", "INT64")]
        )
        table.expires = datetime.fromtimestamp(clock.now_ns() / 1e9 + 3600, UTC)  # should deleting fail
        dry = bigquery.QueryJobConfig(dry_run=True)
        steps: tuple[Callable[[], object], ...] = (
            lambda: self._client.query(
                "select 1", job_config=dry, location=self.location or None, retry=None
            ),
            lambda: self._client.create_table(table, exists_ok=True, **_PATIENCE),
            lambda: self._client.query(
                f"select checked from `{self.name}.tickerlake_doctor`",
                job_config=dry,
                location=self.location or None,
                retry=None,
            ),
            lambda: self._client.delete_table(table, not_found_ok=True, **_PATIENCE),
        )
        missing: list[tuple[str, str]] = []
        for step in steps:
            try:
                self._call(step)
            except WarehouseError as error:
                missing.append((error.message, error.hint))
        return missing

    def query(self, sql: str, parameters: Iterable[tuple[str, str, Any]] = ()) -> list[tuple[Any, ...]]:
        """Run a query; parameters are names, types and values, lists for arrays."""
        given: list[Any] = [
            bigquery.ArrayQueryParameter(name, kind, value)
            if isinstance(value, list)
            else bigquery.ScalarQueryParameter(name, kind, value)
            for name, kind, value in parameters
        ]
        config = bigquery.QueryJobConfig(query_parameters=given)
        rows = self._call(
            lambda: self._client.query(
                sql, job_config=config, location=self.location or None, retry=_PATIENCE["retry"]
            ).result(timeout=_JOB_S)
        )
        return [tuple(row.values()) for row in rows]

    def _call(self, action: Callable[[], _Result]) -> _Result:
        try:
            return action()
        except _FOREIGN as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> TickerlakeError:
        said = str(getattr(error, "message", "") or error).splitlines()[0][:600]
        if isinstance(error, api.GoogleAPICallError) and error.code is not None:
            status = int(error.code)
            if status == 404:
                return NotThere(f"BigQuery does not find it: {said}", _hint_of(said))
            if status == 409:
                return Exists(f"It exists already: {said}")
            if status == 401:
                return WarehouseError(f"BigQuery did not accept the credentials: {said}", LOG_IN)
            if status in _RETRYABLE or _reasons(error) & _TRANSIENT_REASONS:
                return WarehouseUnavailable(f"BigQuery can't be reached now: {said}", "It is tried again.")
            if status == 403:
                return WarehouseError(f"Access to {self.name} is denied: {said}", _role_of(said))
            return WarehouseError(f"BigQuery refused ({status}): {said}", _hint_of(said))
        if isinstance(error, auth.GoogleAuthError) and not error.retryable:
            return WarehouseError(f"Google refused the credentials: {said}", LOG_IN)
        return WarehouseUnavailable(f"BigQuery can't be reached now: {said}", "Is the network up?")


class NotThere(WarehouseError):
    """There is no such dataset, table or job."""


class Exists(WarehouseError):
    """There is one of that name."""


def _reasons(error: api.GoogleAPICallError) -> set[str]:
    return {str(each.get("reason", "")) for each in error.errors if isinstance(each, dict)}


def _role_of(said: str) -> str:
    role = next((role for permission, role in _ROLES if permission in said), None)
    wanted = role or "roles/bigquery.jobUser on the project and roles/bigquery.dataEditor on the dataset"
    return f"Grant {wanted}."


def _hint_of(said: str) -> str:
    lower = said.lower()
    if "different location" in lower or ("locations" in lower and "source" in lower):
        return "Bucket and dataset must be in the same location: use a dataset where the bucket is."
    if "access denied" in lower or "permission" in lower:
        return _role_of(said)
    if re.search(r"project\b", lower) and "not found" in lower:
        return "Check --project; `gcloud projects list` shows those that you can use."
    return "See the message; nothing was loaded by this job."


def _parquet() -> Any:
    options: Any = ParquetOptions()  # type: ignore[no-untyped-call]
    options.enable_list_inference = True
    return options


def _field(field: Any) -> Any:
    return bigquery.SchemaField(field.name, field.type, mode="REPEATED" if field.repeated else "NULLABLE")
