"""What the session asks of the parts around it, as small Protocols."""

from typing import Protocol


class Workload(Protocol):
    """What runs on this node, as far as the session must know it."""

    async def stop_strict(self, grace_s: float) -> bool:
        """Stop everything strict and start nothing strict until `resume`. True only if every stop is confirmed."""
        ...

    async def stop_all(self, grace_s: float) -> bool:
        """The same for every instance."""
        ...

    def resume(self) -> None:
        """The session is active: placements may be acted on (again)."""
        ...


class Former(Protocol):
    """What this node knew of a store that was lost since (Memory)."""

    async def tell(self) -> None:
        """To be done before anything is joined. Raises StoreError if it could not be."""
        ...

    def was(self, machine_id: str) -> bool:
        """Was this node that machine?"""
        ...
