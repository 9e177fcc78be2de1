"""What a node opens and certifies with the secrets it holds, from its copy of the store."""

from pathlib import Path

import pytest
from api_world import memory_store
from cryptography import x509

from holdfast import locks
from holdfast.agent.node_secrets import NodeSecrets
from holdfast.bootstrap import files, pki, secrets
from holdfast.errors import ConfigError
from holdfast.ports import Entry
from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser
from holdfast.store import codec, keys
from holdfast.store.mirror import Mirror

CLUSTER = BackupCluster("main", "backup.test", {"n1": "10.78.0.171"}, "public", (), "local:/shared/backup")


def mirror(values: dict[str, object]) -> Mirror:
    made = Mirror(memory_store())
    for key, value in values.items():
        made.entries[key] = Entry(key, codec.encode(value), 1, 1)
    return made


def test_servers_are_certified_and_what_is_locked_is_opened(tmp_path: Path) -> None:
    ca, secret = pki.create_authority("x"), secrets.new_secret()
    (tmp_path / files.CLUSTER_SECRET).write_bytes(secret)
    (tmp_path / files.CA_CERT).write_bytes(ca.cert_pem)
    node = NodeSecrets(mirror({keys.CA_KEY: locks.lock(ca.key_pem, secret)}), tmp_path)
    records = node.backup_records()
    assert records.unlock(locks.lock(b"what opens it", secret)) == b"what opens it"
    certificate, key = records.certify("backup main", ("backup.test", "10.78.0.171"))
    pki.check_server(certificate, key, "backup.test")
    x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(x509.load_pem_x509_certificate(ca.cert_pem))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    ca, secret = pki.create_authority("x"), secrets.new_secret()
    with pytest.raises(ConfigError, match="holds no key of the cluster's authority"):
        NodeSecrets(mirror({}), tmp_path).certify("x", ("backup.test",))
    node = NodeSecrets(mirror({keys.CA_KEY: locks.lock(ca.key_pem, secret)}), tmp_path)
    with pytest.raises(ConfigError, match=files.CA_CERT):
        node.certify("x", ("backup.test",))
    (tmp_path / files.CA_CERT).write_bytes(ca.cert_pem)
    with pytest.raises(ConfigError, match=files.CLUSTER_SECRET):
        node.certify("x", ("backup.test",))
    (tmp_path / files.CLUSTER_SECRET).write_bytes(secrets.new_secret())
    with pytest.raises(ConfigError, match="does not unlock"):
        node.certify("x", ("backup.test",))


def test_clusters_and_their_users_as_the_store_has_them(tmp_path: Path) -> None:
    users = {name: BackupUser(name, "hash") for name in ("a", "b")}
    stored: dict[str, object] = {
        keys.backup_cluster("main"): CLUSTER,
        keys.backup_user("main2", "c"): BackupUser("c", "x"),
    }
    stored |= {keys.backup_user("main", name): user for name, user in users.items()}
    records = NodeSecrets(mirror(stored), tmp_path).backup_records()
    assert records.clusters() == {"main": CLUSTER}
    assert records.users("main") == users, "and not those of another cluster whose name begins like it"
