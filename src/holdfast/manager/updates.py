"""Updates of the operator's own name servers, as the manager process does them."""

from holdfast.core.dns_records import names_for
from holdfast.manager.names import Job, Push
from holdfast.net.dns.transfer import Unlock, signer
from holdfast.net.dns.update import Update, push


def updater(unlock: Unlock) -> Push:
    """`unlock`: a stored TSIG secret as Base64."""

    async def run(job: Job) -> None:
        target = job.target
        await push(
            Update(
                target.server,
                target.port,
                target.zone,
                target.ttl_s,
                signer(target.key, unlock),
                job.records.serial,
                names_for(target, job.records.names),
                job.forget,
            )
        )

    return run
