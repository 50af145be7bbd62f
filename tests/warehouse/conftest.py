from support.bigquery import fake_bigquery
from support.gcs import fake_gcs

__all__ = ["fake_bigquery", "fake_gcs"]
