"""Removes parts of multipart uploads that belong to no object: Swift leaves them behind when such an object is overwritten.

Parts of an object KEY in BUCKET are objects KEY/UPLOAD/NUMBER in the container BUCKET+segments; while an upload is under
way there is also KEY/UPLOAD. A part is in use if its upload is under way or a manifest names it, that of the object
or of one of its older versions. Whatever cannot be read is in use: the next round will tell.

    python -m holdfast.services.s3.inside.segments SWIFT_DIR INTERNAL_CLIENT_CONF AGE_S      one round, now
"""

import importlib
import json
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from swift.common.middleware.versioned_writes import object_versioning
from swift.common.utils import Timestamp

from holdfast.services.s3.conf import ACCOUNT

SUFFIX = "+segments"
AGE_S = 3600.0
"""A part that is younger is left alone."""
_log = logging.getLogger("segments")


class Cleaner:
    """One cluster's. `client`: Swift's InternalClient, without the filters that would read a manifest as an object."""

    def __init__(self, client: Any, account: str = ACCOUNT, age_s: float = AGE_S) -> None:
        self._client = client
        self._account = account
        self._age_s = age_s

    def clean(self) -> int:
        """One round. Returns how many parts were removed. Raises what the client raises."""
        containers = [entry["name"] for entry in self._client.iter_containers(self._account)]
        return sum(self._clean_bucket(name) for name in containers if name.endswith(SUFFIX))

    def _clean_bucket(self, container: str) -> int:
        bucket = container.removesuffix(SUFFIX)
        before = Timestamp(float(Timestamp.now()) - self._age_s).isoformat
        running: set[str] = set()
        parts: defaultdict[str, list[str]] = defaultdict(list)
        for entry in self._client.iter_objects(self._account, container):
            upload, _, number = entry["name"].rpartition("/")
            if not number.isdecimal():
                running.add(entry["name"])
            elif entry["last_modified"] < before:
                parts[upload].append(entry["name"])
        removed = 0
        for upload in sorted(parts.keys() - running):
            key = upload.rpartition("/")[0]
            used = set(self._named(bucket, key))
            for part in parts[upload]:
                if f"/{container}/{part}" not in used:
                    self._client.delete_object(self._account, container, part)
                    removed += 1
        if removed:
            _log.warning("%d parts of no object removed from %s", removed, bucket)
        return removed

    def _named(self, bucket: str, key: str) -> Iterator[str]:
        """Parts of the object and of all its versions."""
        yield from self._manifest(bucket, key)
        versions = object_versioning.build_versions_container_name(bucket)
        prefix = object_versioning.build_versions_object_prefix(key)
        for entry in self._client.iter_objects(self._account, versions, prefix=prefix):
            yield from self._manifest(versions, entry["name"])

    def _manifest(self, container: str, name: str) -> Iterator[str]:
        status, headers, body = self._client.get_object(self._account, container, name, acceptable_statuses=(2, 404))
        try:
            if status == 200 and headers.get("X-Static-Large-Object", "").lower() == "true":
                for segment in json.loads(b"".join(body)):
                    yield segment["name"]
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()


def main() -> None:
    program = importlib.import_module("holdfast.services.s3.inside.program")
    swift_dir, conf, age_s = sys.argv[1:]
    program.load(swift_dir)
    internal_client = importlib.import_module("swift.common.internal_client")
    client = internal_client.InternalClient(conf, "holdfast-segments", 3)
    print(Cleaner(client, age_s=float(age_s)).clean())


if __name__ == "__main__":
    main()
