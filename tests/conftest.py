"""Its presence puts this directory on the import path, so that helpers used by several kinds of tests can stand in it."""
