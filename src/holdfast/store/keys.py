"""Every key of the store, in one place. Keys are text below the root prefix, which the stores add themselves."""

CLUSTER = "spec/cluster"
COMPUTE = "spec/compute"
MANAGEMENT = "spec/management"

MANAGER_TERM = "manager/term"
MANAGER_ALIVE = "manager/alive"

NODES = "nodes/"
NODE_SPECS = "spec/nodes/"
INSTANCES = "spec/instances/"
SERVICES = "spec/services/"
PLACEMENTS = "placements/"
STATUSES = "status/"
EVENTS = "events/"
INCIDENTS = "incidents/"
USERS = "users/"
SESSIONS = "sessions/"
ANSWERS = "idempotency/"
"""What was answered to requests with an idempotency key."""
TASKS = "tasks/"
WORKING = "working/"
MANAGER_VIEW = "manager/view"
MOVES = "requests/moves/"
CA_KEY = "secrets/ca-key"
"""The cluster CA's private key, encrypted with the management nodes' cluster secret."""


def node_spec(node: str) -> str:
    return f"{NODE_SPECS}{node}"


def beat(node: str) -> str:
    return f"{NODES}{node}/beat"


def fence(node: str) -> str:
    return f"{NODES}{node}/fence"


def death_confirmation(node: str) -> str:
    return f"{NODES}{node}/confirmed-dead"


def instance(instance_id: str) -> str:
    return f"{INSTANCES}{instance_id}"


def service(kind: str, name: str) -> str:
    return f"{SERVICES}{kind}/{name}"


def placement(instance_id: str) -> str:
    return f"{PLACEMENTS}{instance_id}"


def status(instance_id: str) -> str:
    return f"{STATUSES}{instance_id}"


def event(sequence: int) -> str:
    """Zero-padded so that the order of the keys is the order of the events."""
    return f"{EVENTS}{sequence:020d}"


def incident(incident_id: str) -> str:
    return f"{INCIDENTS}{incident_id}"


def move(instance_id: str) -> str:
    return f"{MOVES}{instance_id}"


def user(name: str) -> str:
    return f"{USERS}{name}"


def session(token_hash: str) -> str:
    return f"{SESSIONS}{token_hash}"


def answered(digest: str) -> str:
    return f"{ANSWERS}{digest}"


def task(task_id: str) -> str:
    return f"{TASKS}{task_id}"


def working(task_id: str) -> str:
    """There as long as the process that does the task itself renews its lease."""
    return f"{WORKING}{task_id}"


def last_part(key: str) -> str:
    """`spec/nodes/n1` → `n1`."""
    return key.rsplit("/", 1)[1]


def node_of(key: str) -> str:
    """`nodes/n1/beat` → `n1`."""
    return key.split("/")[1]


SERIAL = "spec/serial"
"""Rewritten by every operation of an operator, so that two operations never interleave; says who did what last."""
KINDS = "spec/kinds/"
"""Settings of a whole kind, e.g. spec/kinds/nfs: the pool of service addresses."""


def kind(name: str) -> str:
    return f"{KINDS}{name}"


ISCSI_GROUPS = "spec/iscsi/groups/"
ISCSI_VOLUMES = "spec/iscsi/volumes/"


def iscsi_group(name: str) -> str:
    return f"{ISCSI_GROUPS}{name}"


def iscsi_volume(name: str) -> str:
    return f"{ISCSI_VOLUMES}{name}"


BACKUP_CLUSTERS = "spec/backup/clusters/"
BACKUP_USERS = "spec/backup/users/"


def backup_cluster(name: str) -> str:
    return f"{BACKUP_CLUSTERS}{name}"


def backup_users(cluster: str) -> str:
    """Prefix of all users of a cluster."""
    return f"{BACKUP_USERS}{cluster}/"


def backup_user(cluster: str, name: str) -> str:
    return f"{backup_users(cluster)}{name}"


S3_CLUSTERS = "spec/s3/clusters/"
S3_USERS = "spec/s3/users/"


def s3_cluster(name: str) -> str:
    return f"{S3_CLUSTERS}{name}"


def s3_users(cluster: str) -> str:
    """Prefix of all users of a cluster."""
    return f"{S3_USERS}{cluster}/"


def s3_user(cluster: str, user: str) -> str:
    return f"{s3_users(cluster)}{user}"


DNS = "dns/"
DNS_RECORDS = "dns/records"
DNS_STATES = "dns/targets/"
DNS_SPECS = "spec/dns/"
DNS_ZONES = "spec/dns/zones/"
DNS_TARGETS = "spec/dns/targets/"
DNS_SECONDARIES = "spec/dns/secondaries/"


def dns_zone(apex: str) -> str:
    return f"{DNS_ZONES}{apex}"


def dns_target(name: str) -> str:
    return f"{DNS_TARGETS}{name}"


def dns_state(target: str) -> str:
    """What became of the updates of a target."""
    return f"{DNS_STATES}{target}"


def dns_secondary(name: str) -> str:
    return f"{DNS_SECONDARIES}{name}"


PAUSE = "spec/pause"
RULES = "spec/rules/"
LOCKS = "spec/locks/"
MAINTENANCE = "requests/maintenance/"
BRING_BACK = "requests/bring-back/"


def rule(rule_id: str) -> str:
    return f"{RULES}{rule_id}"


def lock(instance_id: str) -> str:
    return f"{LOCKS}{instance_id}"


def maintenance(node: str) -> str:
    return f"{MAINTENANCE}{node}"


def bring_back(node: str) -> str:
    return f"{BRING_BACK}{node}"


def switched_off(node: str) -> str:
    return f"{NODES}{node}/switched-off"


def health(node: str) -> str:
    """Recent failures and quarantine of a node."""
    return f"{NODES}{node}/health"


RESTORED = "spec/restored"
"""When the store was restored from a backup, and the epochs that were used before."""


UPGRADING = "upgrading"
"""The node that is being upgraded, with a lease of the command that does it: one at a time."""


DRILLS = "drills/"
DRILL_REQUESTS = "requests/drill/"


def drill(drill_id: str) -> str:
    return f"{DRILLS}{drill_id}"


def drill_request(node: str) -> str:
    """What a drill asks of the node's agent."""
    return f"{DRILL_REQUESTS}{node}"


def drill_answer(node: str) -> str:
    return f"{NODES}{node}/drill"


ALARMS = "alarms/"
RECEIVERS = "spec/alarms/receivers/"
DELIVERIES = "alarms-sent/"
REPORTS = "reports/"
MANAGER_HEALTH = "manager/health"


def alarm(alarm_id: str) -> str:
    return f"{ALARMS}{alarm_id}"


def receiver(name: str) -> str:
    return f"{RECEIVERS}{name}"


def delivery(receiver: str) -> str:
    """What a receiver of alarms was told."""
    return f"{DELIVERIES}{receiver}"


def report(node: str) -> str:
    """What a node says of itself for people."""
    return f"{REPORTS}{node}"


TOKENS = "tokens/"
TOKEN_USES = "token-uses/"  # noqa: S105 (a prefix of keys)
LOGIN_FAILURES = "login-failures/"
AUDIT = "audit/"


def token(token_hash: str) -> str:
    return f"{TOKENS}{token_hash}"


def token_use(token_id: str) -> str:
    return f"{TOKEN_USES}{token_id}"


def login_failures(what: str, subject_hash: str) -> str:
    """`what`: `pair`, `address` or `account`."""
    return f"{LOGIN_FAILURES}{what}/{subject_hash}"


def audit(revision: int, suffix: str) -> str:
    """In the order of what was done: the store's revision just before it."""
    return f"{AUDIT}{revision:020d}-{suffix}"


CA_KEY_OTHER = "secrets/ca-key-other"
"""While the authority is rotated: the key of the one to come, then of the former one. Encrypted as CA_KEY."""
TRUST = "trust/authority"
TRUST_NODES = "trust/nodes/"
SEALED = "trust/sealed/"
JOIN_TOKENS = "trust/tokens/"


def trust_node(node: str) -> str:
    """Certificates of a node, and what it asks for and has."""
    return f"{TRUST_NODES}{node}"


def sealed(node: str) -> str:
    """The shared secrets, for this node's eyes only."""
    return f"{SEALED}{node}"


def join_token(token_id: str) -> str:
    return f"{JOIN_TOKENS}{token_id}"


_NAMES = tuple(value for name, value in tuple(globals().items()) if name.isupper() and isinstance(value, str))


def known(key: str) -> bool:
    """Whether this version has a name for it. What has none was written by another one."""
    return any(key == name or (name.endswith("/") and key.startswith(name)) for name in _NAMES)
