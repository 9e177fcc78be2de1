"""What is counted, because it cannot be weighed: how many instances of a kind each node carries.

A *spread set* are the instances of one kind that may run on the same nodes, e.g. all volumes of an iSCSI target group; or
what a service of several parts says (`InstanceSpec.spread`), e.g. the object servers of one S3 cluster. Of these each node
is to carry as many as the others.
"""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from holdfast.core.model import InstanceSpec

Amounts = npt.NDArray[np.int64]
SpreadSet = tuple[str, str, frozenset[str]]
"""Kind; service and word, where it says one; and the only nodes that are eligible (none: any)."""


def spread_set(spec: InstanceSpec) -> SpreadSet:
    return spec.kind, f"{spec.service} {spec.spread}" if spec.spread else "", frozenset(spec.nodes)


def kind_of(spec: InstanceSpec) -> str:
    return spec.kind


def counted(spec: InstanceSpec) -> bool:
    """Its number says how much a node carries of it: it needs nothing of what nodes have, or is to be spread by number."""
    return bool(spec.spread) or not (spec.memory_mib or spec.cpu)


class Counts:
    """One number per node for each spread set and each kind: so many instances may execute there."""

    def __init__(
        self, specs: Collection[InstanceSpec], where: Mapping[str, Collection[str]], index: Mapping[str, int]
    ) -> None:
        """`index`: node → its number."""
        self._size = len(index)
        places: dict[SpreadSet, list[int]] = {}
        for spec in specs:
            for node in where.get(spec.id, ()):
                places.setdefault(spread_set(spec), []).append(index[node])
        self._sets = {key: np.bincount(numbers, minlength=self._size) for key, numbers in places.items()}
        self._kinds: dict[str, Amounts] = {}
        for (kind, _, _), there in self._sets.items():
            self._kinds[kind] = self.of_kind(kind) + there

    def of_set(self, key: SpreadSet) -> Amounts:
        """Not to be written to."""
        found = self._sets.get(key)
        return np.zeros(self._size, np.int64) if found is None else found

    def of_kind(self, kind: str) -> Amounts:
        """Not to be written to."""
        found = self._kinds.get(kind)
        return np.zeros(self._size, np.int64) if found is None else found

    def take(self, spec: InstanceSpec, number: int, times: int) -> None:
        """`times` more may execute on the node of that number."""
        key = spread_set(spec)
        if key not in self._sets:
            self._sets[key] = self.of_set(key)
        if spec.kind not in self._kinds:
            self._kinds[spec.kind] = self.of_kind(spec.kind)
        self._sets[key][number] += times
        self._kinds[spec.kind][number] += times
