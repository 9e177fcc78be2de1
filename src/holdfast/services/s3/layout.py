"""Where a part of an S3 cluster keeps its things on the shared storage.

<shared>/s3/<cluster>/<part>/dev/<device>/…   what Swift stores; `dev` itself belongs to root, so that no server can make
                                              an empty directory where a device has just been taken away
<shared>/s3/<cluster>/<part>/MARKER           says that this is the shared storage and no empty mount point
<shared>/s3/<cluster>/<part>/work             where the server tries whether it can write
<shared>/s3/<cluster>/moving/<device>         a device between two parts
"""

MARKER = ".holdfast-part"
WORK = "work"
MOVING = "moving"
PROBE_PATH = "/holdfast-probe"
