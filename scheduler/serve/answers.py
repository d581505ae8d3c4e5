"""What kube-scheduler is answered, out of the mirror; the extender's verbs ask here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET

from scheduler.extender.wire import BindingArgs
from scheduler.kube.objects import PodObject
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.reading import guarded_shape
from scheduler.mirror.record import PodRecord, Stage
from scheduler.model import Pod
from scheduler.placement.judge import Verdict, refused_everywhere
from scheduler.serve.binder import Binder
from scheduler.serve.story import Stories

Preemptor = Callable[[PodRecord, Mapping[str, Sequence[str]]], Mapping[str, Sequence[str]]]


class Answers:
    """A `Cluster` for the verbs.

    Args:
        unready: empty, or why the cluster is not known well enough.
        preempt: chooses lawful victims, see `reclaimer`.
    """

    def __init__(
        self, mirror: Mirror, binder: Binder, stories: Stories, preempt: Preemptor,
        *, unready: Callable[[], str], wall: Callable[[], float],
    ) -> None:  # fmt: skip
        self._mirror, self._binder, self._stories, self._preempt = mirror, binder, stories, preempt
        self._unready, self._wall = unready, wall

    def ready(self) -> str:
        """See `Cluster.ready`."""
        return self._unready()

    def concerns(self, namespace: str) -> bool:
        """See `Cluster.concerns`; before the tenant files are read, any namespace may be a tenant's."""
        return not self._mirror.tenants.tenants or self._mirror.tenants.tenant_of(namespace) is not None

    def judge(self, pod: PodObject, names: Sequence[str]) -> Verdict:
        """Guard the walls and the quota."""
        try:
            record = self._mirror.pods.get(pod.metadata.uid) or self._mirror.read(pod)
        except ValueError as error:
            return Verdict(error=f"the pod cannot be read: {error}")
        verdict = self._verdict(record, names)
        if not verdict.fitting:
            reasons = {**verdict.unresolvable, **verdict.failed}
            code = next(iter(reasons.values()), "NoNode").partition(":")[0]
            detail = verdict.error or f"none of the {len(names):,} nodes that kube-scheduler offered"
            self._stories.add(record.uid, code, detail, self._wall())
        return verdict

    def _verdict(self, record: PodRecord, names: Sequence[str]) -> Verdict:
        if record.stage is not Stage.ASSUMED or record.node not in names:
            refusal = self._mirror.ledger.refusal(record.charge) if self._is_one_pool() else None
            if refusal is not None:
                return refused_everywhere(names, str(refusal), resolvable=True)
        return self._mirror.judge.judge(Pod(record.uid, guarded_shape(record.shape)), names)

    def _is_one_pool(self) -> bool:
        """Where pools differ by node, quota is looked at when the node is known: in bind."""
        return len(self._mirror.tenants.pools) <= 1

    async def bind(self, binding: BindingArgs) -> str:
        """See `Cluster.bind`."""
        namespace, name, uid, node = binding.namespace, binding.name, binding.uid, binding.node
        if namespace is UNSET or name is UNSET or uid is UNSET or node is UNSET:
            return "the binding names no pod or no node"
        return await self._binder.bind(namespace, name, uid, node)

    def preempt(self, pod: PodObject, candidates: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """See `Cluster.preempt`."""
        record = self._mirror.pods.get(pod.metadata.uid) or self._mirror.read(pod)
        return self._preempt(record, candidates)
