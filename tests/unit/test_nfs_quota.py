"""Limits where the file system cannot enforce them. (Where it can, ext4 and XFS with prjquota, needs another kernel.)"""

from pathlib import Path

import pytest

from holdfast.services import quota


@pytest.fixture
def unlimited(tmp_path: Path) -> Path:
    try:
        quota.require(tmp_path)
    except quota.QuotaUnsupported:
        return tmp_path
    pytest.skip("this file system has project quotas")


def test_a_limit_that_cannot_be_kept_is_refused_with_advice(unlimited: Path) -> None:
    with pytest.raises(quota.QuotaUnsupported, match="prjquota"):
        quota.require(unlimited)
    with pytest.raises(quota.QuotaUnsupported, match=str(unlimited)):
        quota.set_limit(unlimited, 10 << 20)


def test_lifting_a_limit_works_everywhere(unlimited: Path) -> None:
    quota.tag(unlimited)
    quota.set_limit(unlimited, None)


def test_a_directory_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        quota.set_limit(tmp_path / "missing", 1 << 20)
