from support.gcs import fake_gcs

__all__ = ["fake_gcs"]
