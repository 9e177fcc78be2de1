"""An S3 client as applications have it: boto3, signature version 4. For tests, campaigns and benchmarks. It repeats nothing
by itself: whoever uses it sees every refusal."""

from importlib import import_module
from pathlib import Path
from typing import Any

from holdfast.errors import ConfigError, HoldfastError, NotFound

REGION = "us-east-1"
_CONNECT_S = 2.0
_TEMPORARY = 500
"""SDKs repeat what was answered with this status or a higher one."""


class NoAnswer(HoldfastError):
    """A request was not served; the same one later may be."""

    def __init__(self, message: str, advice: str = "", kind: str = "") -> None:
        super().__init__(message, advice)
        self.kind = kind
        """In a word or two."""


class Denied(HoldfastError):
    """A request was refused, and SDKs do not repeat such a one."""


class Gone(NotFound):
    """There is no such object."""


class S3Client:
    """Safe for threads."""

    def __init__(
        self,
        endpoint: str,
        access: str,
        secret: str,
        *,
        timeout_s: float = 5.0,
        path_style: bool = False,
        connections: int = 10,
    ) -> None:
        """`endpoint`: http(s)://DOMAIN[:PORT]. `timeout_s`: until an answer is given up for which the gateway is silent."""
        config = import_module("botocore.config").Config(
            signature_version="s3v4",
            region_name=REGION,
            connect_timeout=min(_CONNECT_S, timeout_s),
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1},
            max_pool_connections=connections,
            s3={"addressing_style": "path" if path_style else "virtual"},
        )
        self._errors = import_module("botocore.exceptions")
        self.sdk: Any = import_module("boto3").client(
            "s3", endpoint_url=endpoint, aws_access_key_id=access, aws_secret_access_key=secret, config=config
        )

    def make_bucket(self, bucket: str) -> None:
        """Unless it is there."""
        try:
            self._ask("create_bucket", Bucket=bucket)
        except Denied as error:
            if "BucketAlreadyOwnedByYou" not in error.message:
                raise

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._ask("put_object", Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        """Raises Gone."""
        answer = self._ask("get_object", Bucket=bucket, Key=key)
        try:
            data: bytes = answer["Body"].read()
        except self._errors.BotoCoreError as error:
            raise NoAnswer(f"get {bucket}/{key}: {error}", kind=type(error).__name__) from error
        return data

    def delete(self, bucket: str, key: str) -> None:
        self._ask("delete_object", Bucket=bucket, Key=key)

    def listing(self, bucket: str) -> dict[str, tuple[int, str]]:
        """Key → bytes, and the entity tag without its quotes."""
        found: dict[str, tuple[int, str]] = {}
        more: dict[str, str] = {}
        while True:
            answer = self._ask("list_objects_v2", Bucket=bucket, **more)
            found |= {entry["Key"]: (entry["Size"], entry["ETag"].strip('"')) for entry in answer.get("Contents", [])}
            if not answer.get("IsTruncated"):
                return found
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def _ask(self, call: str, **words: Any) -> Any:
        """Raises NoAnswer, Denied, Gone."""
        try:
            return getattr(self.sdk, call)(**words)
        except self._errors.ClientError as error:
            status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            code = str(error.response["Error"]["Code"])
            said = f"{call} {words['Bucket']}/{words.get('Key', '')}: {status} {code}"
            if status >= _TEMPORARY:
                raise NoAnswer(said, kind=f"{status} {code}") from error
            if code == "NoSuchKey":
                raise Gone(said) from error
            raise Denied(said) from error
        except self._errors.BotoCoreError as error:
            raise NoAnswer(f"{call}: {error}", kind=type(error).__name__) from error


def read_keys(path: str) -> tuple[str, str]:
    """A file with the access key and the secret, each on a line. Raises ConfigError."""
    try:
        access, secret = Path(path).read_text().split()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} has no access key: {error}", "Write access key and secret on lines of their own."
        ) from error
    return access, secret
