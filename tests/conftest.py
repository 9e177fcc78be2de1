"""Its presence puts this directory on the import path, so that helpers used by several kinds of tests can stand in it."""

import holdfast.services.s3.inside  # noqa: F401 - before any test imports Swift, and eventlet with it
