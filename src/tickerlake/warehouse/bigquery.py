"""BigQuery: the only module that uses google-cloud-bigquery; its errors become `WarehouseError`s."""

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
    GCLOUD_LOGIN_HINT,
    SetupError,
    TickerlakeError,
    UsageError,
    WarehouseError,
    WarehouseUnavailable,
)
from tickerlake.version import VERSION
from tickerlake.warehouse.manifests import check_dataset, check_project
from tickerlake.warehouse.tables import CLUSTER_FIELD, PARTITION_FIELD, TableSpec

_CLIENT_ERRORS: Final = (api.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, OSError)
_RETRYABLE_STATUSES: Final = {408, 429, 500, 502, 503, 504}
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
_CALL_OPTIONS: Final[dict[str, Any]] = {
    "timeout": 60.0,
    "retry": DEFAULT_RETRY.with_timeout(60.0),  # the client would retry for ten minutes by default
}
_JOB_TIMEOUT_S: Final = 3600.0
"""Bounds the wait for a queued job; a later run finds it again by its name."""

_UPLOAD_TIMEOUT_S: Final = 600.0
"""Enough for a batch of a million rows (about 40 MB) at 1 Mbit/s."""

_STANDARD_SQL_TYPES: Final = {"INTEGER": "INT64", "BOOLEAN": "BOOL"}
"""SQL names of types that have other names in BigQuery's API."""

_RETRY_HINT: Final = "A retry may succeed."
_Result = TypeVar("_Result")


class JobFailed(WarehouseError):
    """A job ended without effect.

    ``transient``: another attempt may succeed. ``preexisting``: an earlier attempt had started the job.
    """

    def __init__(self, message: str, hint: str, *, transient: bool, preexisting: bool) -> None:
        super().__init__(message, hint)
        self.transient, self.preexisting = transient, preexisting


class Warehouse:
    """A BigQuery dataset.

    Honors ``BIGQUERY_EMULATOR_HOST``; otherwise uses the Application Default Credentials.

    Parameters
    ----------
    project, dataset
        The ids of the project and of the dataset.

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
            raise SetupError(
                f"There are no usable Google Cloud credentials: {error}", GCLOUD_LOGIN_HINT
            ) from error
        self.location = ""

    @property
    def name(self) -> str:
        """``project.dataset``."""
        return f"{self.project}.{self.dataset}"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def open(self, location: str | None = None) -> None:
        """Look up the dataset; create it if a location is specified.

        Raises
        ------
        UsageError
            It does not exist and no location is specified, or it is in another location.
        """
        try:
            dataset = self._call(lambda: self._client.get_dataset(self.name, **_CALL_OPTIONS))
        except NotFound as error:
            if location is None:
                raise UsageError(
                    f"The dataset {self.name} does not exist, or this account cannot see it.",
                    "Create it in the location of the bucket, for example with --location EU.",
                ) from error
            new_dataset = bigquery.Dataset(self.name)
            new_dataset.location = location
            dataset = self._call(
                lambda: self._client.create_dataset(new_dataset, exists_ok=True, **_CALL_OPTIONS)
            )
        self.location = str(dataset.location or "")
        if location and self.location.upper() != location.upper():
            raise UsageError(
                f"The dataset {self.name} is in {self.location}, not in {location}.",
                "A dataset cannot be moved: omit --location, or choose another dataset.",
            )

    def ensure_table(self, spec: TableSpec) -> None:
        """Create a table, or check the existing one and add missing columns to it.

        Raises
        ------
        WarehouseError
            It has another schema or partitioning.
        """
        name = f"{self.name}.{spec.name}"
        table = bigquery.Table(name, schema=[_schema_field(each) for each in spec.fields])
        table.time_partitioning = bigquery.TimePartitioning(type_=spec.granularity, field=PARTITION_FIELD)
        table.clustering_fields = [CLUSTER_FIELD]
        existing = self._get_or_create(table)
        if existing is None:
            return
        self._check_table(spec, existing)
        existing_columns = {field.name for field in existing.schema}
        missing = [field for field in spec.fields if field.name not in existing_columns]
        if missing:
            added = ", ".join(
                f"add column if not exists `{field.name}` "
                + (f"array<{field.type}>" if field.repeated else field.type)
                for field in missing
            )
            self.query(f"alter table `{name}` {added}")

    def _get_or_create(self, table: Any) -> Any:
        """Return the existing table of that name; if there is none, create it and return None."""
        try:
            return self._call(lambda: self._client.get_table(table.reference, **_CALL_OPTIONS))
        except NotFound:
            self._call(lambda: self._client.create_table(table, exists_ok=True, **_CALL_OPTIONS))
            return None

    def _check_table(self, spec: TableSpec, table: Any) -> None:
        hint = "Move it away (`bq cp`, `bq rm -t`), or load into another dataset (--dataset)."
        name = f"{self.name}.{spec.name}"
        types = {
            field.name: (
                _STANDARD_SQL_TYPES.get(field.field_type, field.field_type),
                field.mode == "REPEATED",
            )
            for field in table.schema
        }
        for field in spec.fields:
            actual = types.get(field.name)
            if actual is not None and actual != (field.type, field.repeated):
                raise WarehouseError(
                    f"The table {name} has another schema: its column {field.name} is {actual[0]}"
                    f"{' (repeated)' if actual[1] else ''}, not {field.type}.",
                    hint,
                )
        names = {field.name for field in spec.fields}
        for each in table.schema:
            if each.mode == "REQUIRED":
                relax = f"Relax it: bq query 'alter table `{name}` alter column {each.name} drop not null'"
                raise WarehouseError(
                    f"The table {name} has another schema: its column {each.name} is required.",
                    relax if each.name in names else hint,
                )
        partitioning = table.time_partitioning
        if partitioning is None or (partitioning.field, partitioning.type_) != (
            PARTITION_FIELD,
            spec.granularity,
        ):
            raise WarehouseError(
                f"The table {name} is not partitioned by {PARTITION_FIELD} ({spec.granularity}).", hint
            )

    def load(self, spec: TableSpec, job_id: str, source: bytes | str) -> int:
        """Load Parquet into a table with a named job, or wait for the existing job of that name.

        Parameters
        ----------
        job_id
            Name of the job: BigQuery runs a job of a name once.
        source
            Content of the file, or its URI: ``gs://…``.

        Returns
        -------
        int
            Number of loaded rows.

        Raises
        ------
        JobFailed
            The job ended without effect; its name cannot be used again.
        WarehouseUnavailable
            The job may be running: call again with the same name.
        """
        job = self._find_job(job_id)
        if job is not None:
            return self._wait_for_job(job, preexisting=True)
        try:
            job = self._call(lambda: self._start_job(spec, job_id, source))
        except AlreadyExists:
            job = self._find_job(job_id)
        if job is None:
            raise WarehouseUnavailable(f"The job {job_id} exists but cannot be found.", _RETRY_HINT)
        return self._wait_for_job(job, preexisting=False)

    def _find_job(self, job_id: str) -> Any:
        try:
            return self._call(
                lambda: self._client.get_job(
                    job_id, project=self.project, location=self.location or None, **_CALL_OPTIONS
                )
            )
        except NotFound:
            return None

    def _start_job(self, spec: TableSpec, job_id: str, source: bytes | str) -> Any:
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            schema=[_schema_field(each) for each in spec.fields],
        )
        config.parquet_options = _parquet_options()
        common = {
            "job_id": job_id,
            "job_config": config,
            "location": self.location or None,
            "project": self.project,
        }
        name = f"{self.name}.{spec.name}"
        if isinstance(source, str):
            return self._client.load_table_from_uri([source], name, **_CALL_OPTIONS, **common)
        return self._client.load_table_from_file(
            io.BytesIO(source), name, timeout=_UPLOAD_TIMEOUT_S, **common
        )

    def _wait_for_job(self, job: Any, *, preexisting: bool) -> int:
        try:
            job.result(timeout=_JOB_TIMEOUT_S)
        except _CLIENT_ERRORS as error:
            if job.error_result is None:
                raise self._translate_error(error) from error
        if (error_result := job.error_result) is not None:
            raise self._job_error(job, error_result, preexisting=preexisting)
        return int(job.output_rows or 0)

    def _job_error(self, job: Any, error_result: dict[str, Any], *, preexisting: bool) -> JobFailed:
        message = str(error_result.get("message", ""))
        details = {str(each.get("message", "")) for each in job.errors or ()} - {message}
        more = f" ({'; '.join(sorted(details))[:500]})" if details else ""
        transient = error_result.get("reason") in _TRANSIENT_REASONS
        hint = _RETRY_HINT if transient else _hint_for(message)
        return JobFailed(
            f"The job {job.job_id} failed: {message}{more}",
            hint,
            transient=transient,
            preexisting=preexisting,
        )

    def ensure_view(self, name: str, sql: str, description: str) -> bool:
        """Create a view, or update it if its query differs; return whether anything changed."""
        table_id = f"{self.name}.{name}"
        view = bigquery.Table(table_id)
        view.view_query = sql
        view.description = description
        existing = self._get_or_create(view)
        if existing is None:
            return True
        if existing.table_type != "VIEW":
            raise WarehouseError(
                f"{table_id} exists and is not a view ({existing.table_type}).",
                "Move it away (`bq cp`, `bq rm -t`), load into another dataset, or use --no-views.",
            )
        if existing.view_query == sql:
            return False
        existing.view_query = sql
        existing.description = description
        self._call(
            lambda: self._client.update_table(existing, ["view_query", "description"], **_CALL_OPTIONS)
        )
        return True

    def ensure_external_table(self, name: str, prefix: str, uris: Sequence[str]) -> None:
        """Create or update an external table over Parquet files.

        Parameters
        ----------
        prefix
            URI of the folder whose Hive partitions (``key=value/``) contain the files.
        uris
            URIs of the files.

        Raises
        ------
        WarehouseError
            A table of another type has that name.
        """
        table_id = f"{self.name}.{name}"
        config = bigquery.ExternalConfig("PARQUET")
        config.source_uris = list(uris)
        config.autodetect = True
        hive = bigquery.HivePartitioningOptions()
        hive.mode = "AUTO"
        hive.source_uri_prefix = prefix
        config.hive_partitioning = hive
        config.parquet_options = _parquet_options()
        table = bigquery.Table(table_id)
        table.external_data_configuration = config
        existing = self._get_or_create(table)
        if existing is None:
            return
        if existing.table_type != "EXTERNAL":
            raise WarehouseError(
                f"{table_id} exists and is not an external table ({existing.table_type}).",
                "Move it away (`bq cp`, `bq rm -t`), or use another dataset.",
            )
        current_config = existing.external_data_configuration
        if current_config is None or list(current_config.source_uris) != list(uris):
            existing.external_data_configuration = config
            self._call(
                lambda: self._client.update_table(
                    existing, ["external_data_configuration"], autodetect_schema=True, **_CALL_OPTIONS
                )
            )

    def check_permissions(self) -> list[tuple[str, str]]:
        """Run the requests of a load on a temporary table; return those that are denied.

        Returns
        -------
        list of tuple
            Message and hint of each denied request.
        """
        table = bigquery.Table(
            f"{self.name}.tickerlake_doctor", schema=[bigquery.SchemaField("checked", "INT64")]
        )
        table.expires = datetime.fromtimestamp(clock.now_ns() / 1e9 + 3600, UTC)  # in case deletion fails
        dry_run_config = bigquery.QueryJobConfig(dry_run=True)
        steps: tuple[Callable[[], object], ...] = (
            lambda: self._client.query(
                "select 1", job_config=dry_run_config, location=self.location or None, retry=None
            ),
            lambda: self._client.create_table(table, exists_ok=True, **_CALL_OPTIONS),
            lambda: self._client.query(
                f"select checked from `{self.name}.tickerlake_doctor`",
                job_config=dry_run_config,
                location=self.location or None,
                retry=None,
            ),
            lambda: self._client.delete_table(table, not_found_ok=True, **_CALL_OPTIONS),
        )
        denied: list[tuple[str, str]] = []
        for step in steps:
            try:
                self._call(step)
            except WarehouseError as error:
                denied.append((error.message, error.hint))
        return denied

    def query(self, sql: str, parameters: Iterable[tuple[str, str, Any]] = ()) -> list[tuple[Any, ...]]:
        """Run a query.

        Parameters
        ----------
        parameters
            Name, type and value of each query parameter; a list is an array.
        """
        query_parameters: list[Any] = [
            bigquery.ArrayQueryParameter(name, sql_type, value)
            if isinstance(value, list)
            else bigquery.ScalarQueryParameter(name, sql_type, value)
            for name, sql_type, value in parameters
        ]
        config = bigquery.QueryJobConfig(query_parameters=query_parameters)
        rows = self._call(
            lambda: self._client.query(
                sql, job_config=config, location=self.location or None, retry=_CALL_OPTIONS["retry"]
            ).result(timeout=_JOB_TIMEOUT_S)
        )
        return [tuple(row.values()) for row in rows]

    def _call(self, action: Callable[[], _Result]) -> _Result:
        try:
            return action()
        except _CLIENT_ERRORS as error:
            raise self._translate_error(error) from error

    def _translate_error(self, error: Exception) -> TickerlakeError:
        message = str(getattr(error, "message", "") or error).splitlines()[0][:600]
        if isinstance(error, api.GoogleAPICallError) and error.code is not None:
            status = int(error.code)
            if status == 404:
                return NotFound(f"BigQuery cannot find it: {message}", _hint_for(message))
            if status == 409:
                return AlreadyExists(f"It already exists: {message}")
            if status == 401:
                return WarehouseError(
                    f"BigQuery did not accept the credentials: {message}", GCLOUD_LOGIN_HINT
                )
            if status in _RETRYABLE_STATUSES or _reasons(error) & _TRANSIENT_REASONS:
                return WarehouseUnavailable(f"BigQuery is unavailable: {message}", _RETRY_HINT)
            if status == 403:
                return WarehouseError(f"Access to {self.name} is denied: {message}", _role_hint(message))
            return WarehouseError(f"BigQuery refused the request ({status}): {message}", _hint_for(message))
        if isinstance(error, auth.GoogleAuthError) and not error.retryable:
            return WarehouseError(f"Google did not accept the credentials: {message}", GCLOUD_LOGIN_HINT)
        return WarehouseUnavailable(f"BigQuery cannot be reached: {message}", "Check the network connection.")


class NotFound(WarehouseError):
    """The dataset, table or job does not exist."""


class AlreadyExists(WarehouseError):
    """The name is in use."""


def _reasons(error: api.GoogleAPICallError) -> set[str]:
    return {str(each.get("reason", "")) for each in error.errors if isinstance(each, dict)}


def _role_hint(message: str) -> str:
    role = next((role for permission, role in _ROLES if permission in message), None)
    roles = role or "roles/bigquery.jobUser on the project and roles/bigquery.dataEditor on the dataset"
    return f"Grant {roles}."


def _hint_for(message: str) -> str:
    lower = message.lower()
    if "different location" in lower or ("locations" in lower and "source" in lower):
        return "Bucket and dataset must be in the same location: use a dataset in that of the bucket."
    if "access denied" in lower or "permission" in lower:
        return _role_hint(message)
    if re.search(r"project\b", lower) and "not found" in lower:
        return "Check --project; `gcloud projects list` lists the projects that you can use."
    return "See the message; this request loaded nothing."


def _parquet_options() -> Any:
    options: Any = ParquetOptions()  # type: ignore[no-untyped-call]
    options.enable_list_inference = True
    return options


def _schema_field(field: Any) -> Any:
    return bigquery.SchemaField(field.name, field.type, mode="REPEATED" if field.repeated else "NULLABLE")
