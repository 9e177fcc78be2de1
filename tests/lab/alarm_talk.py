"""A receiver of alarms in the lab's client host: a webhook over TLS that tells in lines of JSON what it is told."""

import subprocess
from typing import Any

from cluster_talk import PYTHON, Background, Cluster

from holdfast.bootstrap.pki import create_authority, issue_server

PORT = 8444
SERVE = """
import http.server, json, ssl, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for alarm in body["alarms"]: print(json.dumps(alarm), flush=True)
        self.send_response(204); self.end_headers()
    def log_message(self, *_): pass
for name, content in (("cert", sys.argv[3]), ("key", sys.argv[4])):
    with open(f"/tmp/webhook.{name}", "w") as file: file.write(content)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("/tmp/webhook.cert", "/tmp/webhook.key")
server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Hook)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("{}", flush=True)
server.serve_forever()
"""


class Webhook:
    """Serves until the cluster's `end`."""

    def __init__(self, cluster: Cluster) -> None:
        address = cluster.lab.host("client").address("management")
        authority = create_authority("receivers")
        cert, key = issue_server(authority, "receiver", [address])
        self.url, self.ca = f"https://{address}:{PORT}/alarms", authority.cert_pem.decode()
        argv = [PYTHON, "-c", SERVE, address, str(PORT), cert.decode(), key.decode()]
        self._client = Background(cluster.lab.popen("client", argv, stdout=subprocess.PIPE, text=True))
        cluster.running.append(self._client)
        cluster.until(self._client.lines, "the webhook listens")

    def told(self, alarm: str) -> list[dict[str, Any]]:
        """What it was told of one alarm, in this order."""
        return [line for line in self._client.lines() if line.get("id") == alarm]
